/* The inside of struct member, for its own files. */
#ifndef ZKFS_REPLICA_MEMBER_STATE_H
#define ZKFS_REPLICA_MEMBER_STATE_H

#include "replica/member.h"
#include "replica/mender.h"

#define ADDR_MAX_BYTES 16

/* An event that came while another one's updates were being carried out. */
struct waiting {
    struct waiting *next;
    struct event event;
    struct blob *bytes;
    uint8_t addr[ADDR_MAX_BYTES];
};

/* A read of the log, or of a snapshot, that a peer needs, until it is answered. */
struct log_read {
    struct log_read *next;
    enum update_type type;
    uint8_t peer;
    zxid_t after, until;
    uint64_t offset;
};

struct member {
    const struct env *env;
    struct member_config config;
    struct replica *replica;
    struct store *store;
    struct mender *mender; /* in the place of both, while the disk is damaged */
    bool over;           /* it starts over when nothing is under way; nothing comes in till then */
    bool left;           /* what was open is closed for that */
    bool waits_for_room; /* the disk is full: it starts over with a later tick */
    uint64_t lives;      /* how often it began */
    bool distrust;       /* and its history counts as lost */
    zxid_t taken;        /* at a start: the last snapshot that the core was given whole */
    zxid_t *refused;     /* snapshots that are whole and cannot be loaded */
    size_t refused_count;
    bool stepping; /* a step's updates are being carried out: another step would take them away */
    bool flushing;
    bool syncing;       /* between store_sync_begin and member_log_synced */
    bool checkpointing; /* between store_checkpoint_start and member_checkpoint_ran */
    bool snap_refused;  /* at a start, by the core; why: */
    struct buf snap_why;
    bool full;    /* the core was told that the disk is full, and not yet that it has room */
    bool stopped; /* the core asked for the end: nothing more goes in or out */
    struct waiting *first_waiting;
    struct waiting **last_waiting;
    struct log_read *first_read; /* in the order in which they were asked for */
    struct log_read **last_read;
    int64_t start_mono_ms, start_wall_ms; /* asked once: the clock is dearer than a record */
    struct buf *start_why;                /* while the log is read: where a stop says why */
};

/* member.c */
void member_step(struct member *m, const struct event *ev);
void member_stamp(struct member *m, struct event *ev);
/* Feeds one event, with the time and what only the shell knows, and after it those that its updates
 * brought about. */
void member_feed(struct member *m, struct event *ev);
void member_carry_out(struct member *m, const struct update *u);
void member_stop(struct member *m, struct slice why);
/* Tells the core when the disk is found full, or to have room again. */
void member_feed_full(struct member *m);
/* What is superfluous since a snapshot was saved goes; not while the log's runner is at work. */
void member_purge(struct member *m);
/* Forgets what waits, and turns away who came. */
void member_forget_waiting(struct member *m);

/* member_start.c */
/* Starts over from the disk, as soon as nothing is written any more, and there is room for it:
 * m->over is set. Not behind a stop. */
void member_go_over(struct member *m);
/* Who comes while it waits for that is turned away: they will come again. */
void member_turn_away(struct member *m, const struct event *ev);

/* While the disk is read: the snapshot that the core took is none that can be loaded after all. */
void member_refuse_taken(struct member *m);

static inline struct slice member_text(const struct buf *b) {
    return (struct slice){b->data, (int32_t)b->len};
}

#endif
