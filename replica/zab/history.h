/* The part of the log that is in memory: everything that was not applied yet, and of what was
 * applied the newest records, for learners that are a little behind. Beside them, where each epoch
 * ends: what two servers need to find the last common record of their logs (R6). */
#ifndef ZKFS_REPLICA_ZAB_HISTORY_H
#define ZKFS_REPLICA_ZAB_HISTORY_H

#include "replica/zab/zab_msg.h"

struct history_record {
    zxid_t zxid;
    struct blob *payload;
};

/* What a record costs besides its payload, so that empty ones count as well. */
#define HISTORY_RECORD_BYTES 64u
#define HISTORY_RECENT_MAX 65536u

struct history {
    struct history_record *ring; /* [first, first + count), `cap` is a power of two */
    uint32_t cap, first, count;
    uint32_t applied_count; /* the ring's first ones; the others wait */
    uint64_t applied_bytes, held_bytes;
    uint64_t recent_bytes_max;
    zxid_t before; /* the record (or base) before the ring's first */
    zxid_t base;   /* what the log begins behind: 0, or a record that was there. Not beyond what was
                      applied; where older log is kept behind a snapshot, before that */
    zxid_t last, durable, committed, applied;
    zxid_t *epochs; /* the last record of each epoch that the log has, that of `base` included,
                       oldest first */
    uint32_t epoch_count, epoch_cap;
};

void history_init(struct history *h, uint32_t recent_bytes_max);
void history_close(struct history *h);

static inline enum zab_record_kind history_kind(zxid_t zxid) {
    return zxid_counter(zxid) == 0 ? ZAB_EPOCH : ZAB_TXN;
}
static inline uint64_t history_cost(const struct blob *payload) {
    return HISTORY_RECORD_BYTES + (payload ? payload->len : 0);
}

/* Whether a record may stand behind the last: the next counter, or an epoch's first (R5). */
bool history_follows(const struct history *h, enum zab_record_kind kind, zxid_t zxid);
/* Not durable yet. It must follow (CHECK). */
void history_append(struct history *h, zxid_t zxid, struct blob *take_payload);
/* Removes what is behind zxid, which is not before what was applied (CHECK). */
void history_truncate(struct history *h, zxid_t zxid);
/* Everything is replaced by a snapshot that stands for all up to `base`. What was known to be
 * committed still is. */
void history_reset(struct history *h, zxid_t base);
/* Directly after history_reset: the log reaches back to behind `base`, before the snapshot. `ends`
 * are the last records of the epochs between them, ascending, without the snapshot's own epoch.
 * False, and nothing is changed, when this cannot be. */
bool history_reach_back(struct history *h, zxid_t base, const zxid_t *ends, size_t count);
/* The log begins behind `base` from now on; what was not applied stays all the same. The list of
 * epochs forgets those that ended before. */
void history_purge(struct history *h, zxid_t base);
/* The next record that is committed and durable; it counts as applied from now on. A reference for
 * the caller. */
bool history_apply(struct history *h, struct history_record *ret_record);

/* Whether all records behind zxid are in memory; *ret_index is the first of them (== count: none).
 */
bool history_after(const struct history *h, zxid_t zxid, uint32_t *ret_index);
static inline const struct history_record *history_at(const struct history *h, uint32_t index) {
    return &h->ring[(h->first + index) & (h->cap - 1)];
}
static inline uint32_t history_held(const struct history *h) { return h->count - h->applied_count; }

/* Whether zxid is known to be in it: what stands before `base` is not, `base` itself is. */
bool history_has(const struct history *h, zxid_t zxid);
/* The newest ZAB_EPOCHS_MAX epochs' last records, newest first; returns the count. */
uint32_t history_epochs(const struct history *h, zxid_t ret_epochs[ZAB_EPOCHS_MAX]);
/* The last common record of this history and one with these epochs: (E, min(c1, c2)), E the
 * greatest epoch that both have; it may stand before `base`. 0 when they share none (or it ended
 * before `base`). */
zxid_t history_common(const struct history *h, const zxid_t *epochs, uint32_t count);
/* The last record of this history whose epoch is less; 0: none, or it stands before `base`. */
zxid_t history_before_epoch(const struct history *h, uint32_t epoch);
void history_check(const struct history *h); /* walks all of it: for DCHECK */

#endif
