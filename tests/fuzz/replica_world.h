/* A shell around replica_step for fuzzing: clients, a disk, a clock; and the checks of all
 * that the core sends. Replies are whole frames, come in the order of the requests and decode as
 * what was asked for; the zxids of one connection never go back; every logged record can be read
 * again. */
#ifndef ZKFS_TESTS_FUZZ_REPLICA_WORLD_H
#define ZKFS_TESTS_FUZZ_REPLICA_WORLD_H

#include "common/buf.h"
#include "common/proto.h"
#include "replica/proto/peer_codec.h"
#include "replica/server/replica.h"
#include "tests/fuzz/world_disk.h"

#define WORLD_CLIENTS 4
#define WORLD_ASKED 256
#define WORLD_PATHS 48
#define WORLD_PEERS 4
#define WORLD_INBOX 32

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

/* Another server of an ensemble: the script speaks for it. */
struct world_peer {
    bool up;
    struct peer_message inbox[WORLD_INBOX]; /* what came and was not looked at, oldest first */
    size_t inbox_count;
    uint32_t epoch; /* that it leads */
    zxid_t last;    /* of its history */
};

struct world {
    struct replica *replica;
    bool ensemble; /* one of three voters, and an observer; else alone */
    bool stopped;  /* UPD_STOP: the process has ended. Not of one that is alone */
    int64_t now_ms;
    bool hold_log; /* the disk does nothing for now */
    bool syncing;  /* its answers are being given */
    struct world_disk disk;
    struct world_peer peers[WORLD_PEERS + 1]; /* by id, 2 to 4 */
    struct world_client clients[WORLD_CLIENTS];
    conn_id_t next_conn;
    struct blob *paths[WORLD_PATHS]; /* that creates were answered with */
    size_t path_count;
};

/* A replica that has read what stands on `disk` (NULL: nothing); alone it serves. */
struct world *world_new(const struct world *disk);
/* The server 1 of an ensemble. */
struct world *world_new_member(const struct world *disk);
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
/* Links to peers 2 to 4. Nothing happens where there is one already, or none. */
void world_peer_up(struct world *w, uint8_t peer);
void world_peer_down(struct world *w, uint8_t peer);
void world_peer_bytes(struct world *w, uint8_t peer, struct slice bytes);
void world_peer_zab(struct world *w, uint8_t peer, const struct zab_msg *m);
/* The oldest message that came to the peer; the caller closes it. False when there is none. */
bool world_peer_take(struct world *w, uint8_t peer, struct peer_message *ret_message);
/* The disk does all that it was asked. */
void world_sync_log(struct world *w);

#endif
