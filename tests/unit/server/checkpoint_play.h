/* The disk's part in a core's checkpoints, played by the test: pieces are kept, the log is read
 * back, and a core can be started from them. One harness at a time. */
#ifndef ZKFS_TESTS_UNIT_SERVER_CHECKPOINT_PLAY_H
#define ZKFS_TESTS_UNIT_SERVER_CHECKPOINT_PLAY_H

#include "tests/unit/server/harness.h"

#define PLAY_PIECES_MAX 4096

struct play_snapshot {
    struct blob *pieces[PLAY_PIECES_MAX];
    size_t count;
    zxid_t zxid; /* 0: not ended */
};

struct play {
    struct play_snapshot coming, saved;
    size_t told;    /* pieces of `coming` that were said to be written */
    bool under_way; /* begun, and not ended, failed or abandoned */
    uint32_t begun, ended, abandoned;
    bool read_asked;
    zxid_t read_after;
    size_t read_max; /* records in an answer; 0: all that there are */
    bool read_fails; /* the log does not reach back so far */
    bool refused;    /* the snapshot of a start */
    char refused_why[256];
    const struct play_snapshot *start_from; /* NULL: from the log's beginning */
    zxid_t reset_first; /* not 0: another one comes before, and proves damaged */
};

extern struct play play;

/* A core that takes checkpoints after so many transactions; it serves. */
struct harness *play_started(int64_t snap_count);
struct harness *play_started_as(uint8_t server_id, int64_t snap_count, int64_t size_bytes);
void play_update(struct harness *h, const struct update *u); /* a harness's `other` */
void play_free(struct harness *h);
/* The disk has written what it was given. */
void play_written(struct harness *h);
/* The log was read as it was asked for. */
void play_range(struct harness *h);
/* Everything that the checkpoint needs to come to its end, and it is durable; false when there is
 * none under way. */
bool play_to_end(struct harness *h);
void play_saved(struct harness *h);
/* A start from play.saved and the log behind it. The core is there, started or stopped. */
void play_restart(struct harness *h);
void play_snapshot_clear(struct play_snapshot *s);
void play_snapshot_add(struct play_snapshot *s, const struct buf *piece);

#endif
