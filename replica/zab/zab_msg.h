/* What the servers of an ensemble say to each other. Plain structs: proto/peer_codec makes bytes of
 * them. A link is FIFO, between two servers, and carries everything: votes, the phases of Zab, and
 * the server room's own messages.
 *
 *   looking             discovery              synchronisation              broadcast
 *   VOTE <-> VOTE       F: FOLLOWERINFO ->     L: SYNC(DIFF|TRUNC|SNAP) ->  L: PROPOSAL ->
 *                       L: LEADERINFO ->         [SNAPCHUNK..., SNAPEND ->] F: ACK ->
 *                       F: ACKEPOCH ->         F: SYNCREADY ->              L: COMMIT ->
 *                                              L: PROPOSAL... ->            L: PING -> F: PONG
 *                                              (that of (e,0) is NEWLEADER,
 *                                               its ACK is ACK-LD)
 *                                              L: UPTODATE ->
 */
#ifndef ZKFS_REPLICA_ZAB_ZAB_MSG_H
#define ZKFS_REPLICA_ZAB_ZAB_MSG_H

#include "common/blob.h"
#include "common/types.h"

/* The newest epochs of a history that a learner tells its leader. One that shares none of them is
 * sent a snapshot. An epoch is one leader's term: 64 reach back further than any log is kept. */
#define ZAB_EPOCHS_MAX 64u

enum zab_msg_type {
    ZM_VOTE = 1,
    ZM_FOLLOWERINFO, /* CEPOCH of the paper: epoch is acceptedEpoch; zxid the last; observer; round:
                        of this attachment, another each time that the learner begins anew */
    ZM_LEADERINFO,   /* NEWEPOCH: epoch; round: the FOLLOWERINFO's. What comes before it on the link
                        is   of an earlier attachment */
    ZM_ACKEPOCH,     /* ACK-E: epoch; counted; epochs: the history's newest epochs */
    ZM_SYNC,         /* mode; zxid: the last common record; committed; ended: where the leader's
                        history ends now */
    ZM_SNAPCHUNK,    /* bytes */
    ZM_SNAPEND,      /* zxid: where the walk began; ended */
    ZM_SYNCREADY,    /* zxid: the learner's history ends here, durably */
    ZM_PROPOSAL,     /* record kind, zxid, payload; also of history that is long committed */
    ZM_ACK,          /* zxid: durable up to here */
    ZM_COMMIT,       /* zxid: committed up to here */
    ZM_INFORM,       /* as ZM_PROPOSAL, committed: to observers */
    ZM_UPTODATE,     /* zxid: committed up to here; serve */
    ZM_PING,         /* round; zxid: committed up to here */
    ZM_PONG,         /* round; full. Round 0: only the latter */
    ZM_APP, /* bytes: the server room's; only between a leader and who it brought up to date.
               zxid: what the leader had committed; comes behind that at the learner */
    ZM_TYPE_END
};

enum zab_role { ZAB_LOOKING, ZAB_FOLLOWING, ZAB_OBSERVING, ZAB_LEADING };

enum zab_sync_mode { ZAB_SYNC_DIFF = 1, ZAB_SYNC_TRUNC, ZAB_SYNC_SNAP };

enum zab_record_kind { ZAB_TXN = 1, ZAB_EPOCH = 2 }; /* as enum log_kind */

/* A vote: who should lead, and why (Z1). currentEpoch is the epoch of the last zxid, because epochs
 * are records of the log (docs/zab.md). */
struct zab_vote {
    enum zab_role role; /* of the sender */
    uint64_t round;     /* the sender's election round (logicalclock) */
    uint8_t leader;     /* whom it votes for, follows, or itself when it leads; 0: none */
    zxid_t leader_zxid; /* the last zxid of that one */
    uint32_t epoch;     /* FOLLOWING, LEADING: the epoch that is led; 0 while not known */
    bool blank;         /* the sender's own history is empty (Z12) */
    bool leader_blank;
    bool answer;      /* in answer to a vote: needs no answer itself */
    bool lossy;       /* the sender may have acknowledged what it does not have */
    bool leader_full; /* the disk of that one has no room (Z10) */
};

struct zab_msg {
    enum zab_msg_type type;
    uint32_t epoch;
    zxid_t zxid;
    zxid_t committed;
    zxid_t ended;
    uint64_t round;
    bool counted; /* ACKEPOCH: the promise is new, so it may be counted (R7) */
    bool observer;
    bool blank; /* FOLLOWERINFO, ACKEPOCH: the sender's history is empty */
    bool lossy; /* FOLLOWERINFO, ACKEPOCH: as in a vote */
    bool full;  /* PONG: the sender's disk has no room */
    enum zab_sync_mode mode;
    enum zab_record_kind kind;
    struct zab_vote vote;
    /* ACKEPOCH: the last zxid of each of the newest epochs, newest first. `base` is where the
     * history begins: 0, or what a snapshot stands for. */
    zxid_t epochs[ZAB_EPOCHS_MAX];
    uint32_t epoch_count;
    zxid_t base;
    struct blob *payload; /* PROPOSAL, INFORM, APP, SNAPCHUNK: bytes; borrowed. NULL: none */
};

#endif
