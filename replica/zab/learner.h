/* What this server knows of one other server: its link, its last vote, and, while this one leads,
 * how far it has brought it. */
#ifndef ZKFS_REPLICA_ZAB_LEARNER_H
#define ZKFS_REPLICA_ZAB_LEARNER_H

#include "replica/zab/zab_msg.h"

/*   NONE -> INFO -> PROMISE -> PROMISED -> SYNC -----------> STREAM
 *                                     \--> SNAP (the pieces) --^
 *   Any of them -> NONE: it left, or its link is gone. */
enum learner_state {
    LEARNER_NONE,     /* does not follow this server */
    LEARNER_INFO,     /* FOLLOWERINFO came */
    LEARNER_PROMISE,  /* LEADERINFO was sent */
    LEARNER_PROMISED, /* ACKEPOCH came */
    LEARNER_SYNC,     /* SYNC was sent; SYNCREADY is awaited */
    LEARNER_SNAP,     /* as before, and the snapshot is on its way */
    LEARNER_STREAM,   /* gets the records behind `sent` */
};

/* How many bytes are under way: marks at some of the records sent, each with the bytes since the
 * mark before it. Acknowledged marks go from the front. */
#define LEARNER_MARKS 256u
struct learner_window {
    struct {
        zxid_t zxid;
        uint64_t bytes;
    } marks[LEARNER_MARKS];
    uint32_t first, count;
    uint64_t bytes;
};

struct learner {
    uint8_t id;
    bool observer; /* by the configuration */
    bool up;
    int64_t heard_ms; /* when the link came up, or its last message */
    bool spoken;      /* `vote` is its last on this link */
    struct zab_vote vote;
    int64_t vote_ms;
    bool looked; /* it has voted since this server looks: vote.blank is not old */

    enum learner_state state;
    uint64_t attachment; /* FOLLOWERINFO's round */
    uint32_t accepted;   /* the promise that it came with */
    uint32_t promised;   /* what it has promised to this leader: it gets no record beyond */
    bool blank, lossy;
    bool room, full;       /* its disk, as it has said; one that is full says so at once */
    bool counted, refused; /* its promise: new, or given before; neither: it is out */
    zxid_t common;         /* its last common record with this history; and where its own ends: */
    zxid_t last;
    bool foreign;       /* there is no last common record */
    zxid_t snap_needed; /* a snapshot must reach this far, or it would take away what was acked */
    zxid_t sent, acked, commit_sent;
    bool uptodate;
    struct learner_window window;
    bool reading; /* a ZAB_LOG_READ is under way, behind: */
    zxid_t read_after;
    bool snap_streaming; /* ZAB_SNAP_SEND was said, zab_snap_sent did not come */
    zxid_t snap_begun;
    uint64_t snap_sent, snap_passed; /* bytes; passed: the learner has taken them */
    uint64_t snap_ping_round, snap_ping_sent;
};

/* Forgets all that a leader knows of it; the link and the vote stay. A read under way stays too. */
void learner_reset(struct learner *l);
void learner_window_add(struct learner_window *w, zxid_t zxid, uint64_t bytes,
                        uint64_t window_bytes);
void learner_window_acked(struct learner_window *w, zxid_t zxid);

#endif
