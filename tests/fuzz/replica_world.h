/* A shell around replica_step for fuzzing: clients, a log in memory, a clock; and the checks of all
 * that the core sends. Replies are whole frames, come in the order of the requests and decode as
 * what was asked for; the zxids of one connection never go back; every logged record can be read
 * again. */
#ifndef ZKFS_TESTS_FUZZ_REPLICA_WORLD_H
#define ZKFS_TESTS_FUZZ_REPLICA_WORLD_H

#include "common/buf.h"
#include "common/proto.h"
#include "replica/server/replica.h"

#define WORLD_CLIENTS 4
#define WORLD_ASKED 256
#define WORLD_PATHS 48
#define WORLD_LOG 512

struct asked {
    int32_t xid, opcode;
};

struct world_client {
    conn_id_t conn;  /* 0: not connected */
    bool is_word;    /* sent an admin word: what comes is text */
    bool said_hello; /* the first frame was sent: the connect request */
    bool greeted;    /* the connect response came */
    bool paused;
    bool lawless; /* sent a frame with an xid that means something else: replies are not matched */
    int32_t next_xid;
    zxid_t last_zxid;
    struct asked asked[WORLD_ASKED]; /* not answered yet, in order */
    size_t asked_count;
    size_t auths;            /* not answered yet */
    session_id_t session_id; /* the last one: kept over connections */
    uint8_t passwd[PASSWD_BYTES];
    struct blob *last_reply; /* the body of the last good reply */
    int32_t last_err;
};

struct world {
    struct replica *replica;
    int64_t now_ms;
    bool hold_log; /* do not answer UPD_LOG_APPEND for now */
    zxid_t appended, synced;
    struct world_client clients[WORLD_CLIENTS];
    conn_id_t next_conn;
    struct blob *paths[WORLD_PATHS]; /* that creates were answered with */
    size_t path_count;
    struct {
        enum log_kind kind;
        zxid_t zxid;
        struct blob *payload;
    } log[WORLD_LOG];
    size_t log_count;
};

/* A replica that has read `log`'s records (NULL: none) and serves. */
struct world *world_new(const struct world *log);
void world_free(struct world *w);
bool world_log_full(const struct world *w);

void world_open(struct world *w, int client, uint8_t addr);
void world_hang_up(struct world *w, int client);
void world_connect(struct world *w, int client, int32_t timeout_ms, bool again, bool wrong_passwd);
/* A request with the next xid, or a frame as it is. Nothing happens while the core reads no more
 * from the client, or too much is unanswered. */
void world_request(struct world *w, int client, int32_t opcode, struct slice record);
void world_frame(struct world *w, int client, struct slice frame);
void world_word(struct world *w, int client, struct slice word);
void world_tick(struct world *w, int64_t ms);
/* Answers all that was appended. */
void world_sync_log(struct world *w);

#endif
