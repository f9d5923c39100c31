/* Exactly-once retries (DESIGN 4): the last results of a session, kept by every replica as it
 * applies transactions, so that a write which is sent again with the same xid gets its first answer
 * instead of being done twice, through whichever server and leader it comes. */
#ifndef ZKFS_REPLICA_SERVER_RETRY_H
#define ZKFS_REPLICA_SERVER_RETRY_H

#include "common/blob.h"
#include "replica/tree/tree_apply.h"

/* Results of one session. A client that has more writes unanswered when its connection breaks is
 * told that the oldest are forgotten. */
#define RETRY_RESULTS_MAX 256u
/* Their bytes together: a thousand mounts cost 64 MiB at the very most, ordinarily 30 bytes a
 * write. */
#define RETRY_BYTES_MAX (64u << 10)

struct retry_result {
    int32_t cxid;
    zxid_t zxid;
    struct blob *bytes; /* retry_encode's; NULL: was too long to be kept */
};

/* A ring, oldest first. All zeros is an empty one. */
struct retry_window {
    struct retry_result *results;
    uint32_t cap, first, count;
    uint32_t bytes;
};

void retry_close(struct retry_window *w);
/* The result of txn, which was just applied with these changes. Nothing happens when its zxid is
 * not above the newest one's (a replay over a snapshot that has it), nor for refusals that say
 * nothing about the request (the session moved or expired). */
void retry_record(struct retry_window *w, const struct txn *txn,
                  const struct tree_changes *changes);
/* Puts a result as a snapshot has it behind the others. False when it is out of order or malformed.
 */
bool retry_load(struct retry_window *w, int32_t cxid, zxid_t zxid, struct slice bytes);
/* The i-th, oldest first; i < count. */
const struct retry_result *retry_at(const struct retry_window *w, uint32_t i);

enum retry_answer {
    RETRY_NEW,       /* never seen: do it */
    RETRY_KNOWN,     /* ret_result */
    RETRY_FORGOTTEN, /* seen, but its result is not kept: ZK_RESULTFORGOTTEN */
};
enum retry_answer retry_find(const struct retry_window *w, int32_t cxid,
                             const struct retry_result **ret_result);

/* A result's bytes back as what reply.c renders from: types and paths of the operations, their
 * Stats, or the error. The caller frees the txn and closes the changes. NULL when malformed. */
struct txn *retry_decode(const struct retry_result *result, struct tree_changes *ret_changes);

#endif
