/* Records that a store lends for a call each, kept for one event that has all of them. */
#ifndef ZKFS_REPLICA_RECORD_LIST_H
#define ZKFS_REPLICA_RECORD_LIST_H

#include "common/buf.h"
#include "replica/proto/txn_codec.h"

struct record_list {
    struct log_record *records;
    size_t count, cap;
    struct buf bytes; /* their payloads */
};

/* For a store's reader; list: a struct record_list. */
void record_list_add(void *list, const struct log_record *r);
/* Behind the last one: before it, their payloads point to what was lent. */
void record_list_end(struct record_list *list);
void record_list_close(struct record_list *list);

#endif
