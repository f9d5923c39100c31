/* The inside of struct repair, for its two halves. */
#ifndef ZKFS_REPLICA_SERVER_REPAIR_STATE_H
#define ZKFS_REPLICA_SERVER_REPAIR_STATE_H

#include "replica/proto/peer_codec.h"
#include "replica/server/out.h"
#include "replica/server/repair.h"

/* Who has been asked for what is missing and could not give it is asked again after this time: it
 * may have come back from its own damage, or a record may have become durable. */
#define REPAIR_RETRY_MS 1000
/* An answer may be a read from a slow disk and a quarter of a MiB over a slow line. */
#define REPAIR_ANSWER_MS 5000

enum repair_phase {
    REPAIR_COPYING,  /* UPD_REBUILD_COPY is under way */
    REPAIR_ASKING,   /* a hole: records come */
    REPAIR_FETCHING, /* a snapshot comes */
    REPAIR_SETTLING, /* it is made durable */
    REPAIR_ENDED,
};

/* What a peer has said to the question at hand. */
enum repair_said {
    REPAIR_SAID_NOTHING,
    REPAIR_SAID_NO,     /* it cannot give it */
    REPAIR_SAID_PURGED, /* likewise; it may have a snapshot */
    REPAIR_SAID_SPENT,  /* its snapshot was of no use either */
};

struct repair_peer {
    bool up, known;
    bool reading; /* for its question */
    bool foreign; /* its history is another one */
    bool absent;  /* it said that what lies in this hole is not in its history */
    enum repair_said said;
};

struct repair_client {
    conn_id_t conn;
    int64_t opened_ms;
};

struct repair {
    uint8_t self;
    struct quorum_config ensemble;
    char *whitelist; /* NULL: the default */
    char *version;
    uint64_t config_hash;
    struct out out;
    bool started;
    int64_t mono_ms;
    int64_t deadline_ms;
    struct repair_peer peers[256];
    struct repair_client *clients; /* in the order in which they came */
    size_t client_count, client_cap;

    /* What this server has. */
    zxid_t base;
    struct repair_island *islands;
    size_t island_count;
    size_t next; /* those before it are written */
    zxid_t known_end;
    bool lossy;
    char *damage;

    enum repair_phase phase;
    zxid_t at;     /* what is written so far */
    zxid_t target; /* COPYING: up to here; ASKING: the record behind the hole, or in its end */
    uint8_t asked; /* the peer whose answer is awaited; 0: none */
    int64_t asked_ms;
    int64_t retry_ms;   /* ASKING, and nobody is asked: when to ask all again */
    bool check_first;   /* another server's copy of the record behind the hole was seen */
    uint64_t first_sum; /* its checksum */
    uint8_t first_from;
    zxid_t first_before; /* what was known of it before */
    uint8_t giver;       /* who gave the last records, and goes on */
    zxid_t snap_begun;   /* FETCHING; 0: not known yet */
    uint64_t snap_offset, snap_size;
    uint64_t got;      /* records of others */
    bool met;          /* some peer, or a while has passed */
    zxid_t waited_for; /* of which the log has spoken */
};

/* repair_fill.c */
void repair_fill_begin(struct repair *r);
void repair_fill_copied(struct repair *r, const struct event *ev);
void repair_fill_answer(struct repair *r, uint8_t peer, const struct repair_msg *m);
void repair_fill_installed(struct repair *r, zxid_t begun);
void repair_fill_refused(struct repair *r); /* the snapshot that came is damaged */
void repair_fill_peer_up(struct repair *r, uint8_t peer);
void repair_fill_peer_down(struct repair *r, uint8_t peer);
void repair_fill_clock(struct repair *r);
int64_t repair_fill_deadline(const struct repair *r);
/* What is missing, in a few words; false: nothing is. */
bool repair_fill_text(const struct repair *r, struct buf *out);

/* repair.c */
/* Closes the link: it is made anew. */
void repair_drop_peer(struct repair *r, uint8_t peer, const char *why);
void repair_send(struct repair *r, uint8_t peer, const struct repair_msg *m);
void repair_note(struct repair *r, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
