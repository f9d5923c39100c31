/* What changed lately: so that a client whose connection broke can be told what its persistent
 * watches missed (ZooKeeper loses that). Every transaction that is applied is noted, at a start
 * those of the log too; the oldest are forgotten beyond a bound of number and of bytes. */
#ifndef ZKFS_REPLICA_SERVER_RECENT_H
#define ZKFS_REPLICA_SERVER_RECENT_H

#include "common/blob.h"
#include "common/proto.h"
#include "replica/tree/txn.h"

struct recent_change {
    zxid_t zxid;
    enum zk_event event; /* created, deleted or changed; that the parent's list of children changed
                            follows from it */
    struct blob *path;
};

/* A ring, oldest first. All zeros is an empty one, in which nothing is missing. */
struct recent {
    struct recent_change *changes;
    uint32_t cap, first, count;
    uint64_t bytes;
    zxid_t floor; /* everything behind it is here */
};

void recent_close(struct recent *r);
/* Begins anew, with a tree as it was at zxid. */
void recent_reset(struct recent *r, zxid_t zxid);
/* txn, which is behind all that came before, is part of the history. */
void recent_note(struct recent *r, const struct txn *txn);
/* Whether everything behind `since` is here. */
bool recent_reaches(const struct recent *r, zxid_t since);
/* The index of the first change behind `since`; r->count when there is none. */
uint32_t recent_behind(const struct recent *r, zxid_t since);
/* i < count. */
const struct recent_change *recent_at(const struct recent *r, uint32_t i);

#endif
