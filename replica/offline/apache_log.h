/* A file of Apache ZooKeeper's transaction log: a header, then records, each with its Adler-32,
 * its length and an end mark, then zeros that were allocated ahead. */
#ifndef ZKFS_REPLICA_OFFLINE_APACHE_LOG_H
#define ZKFS_REPLICA_OFFLINE_APACHE_LOG_H

#include "common/types.h"

struct apache_log {
    const uint8_t *bytes; /* the whole file, borrowed */
    size_t len;
    size_t at; /* of the next record */
};

/* NULL, or why this is no such file (static text). One that was made and never written to is one
 * without records. */
const char *apache_log_open(struct apache_log *l, const uint8_t *bytes, size_t len);

enum apache_log_item {
    APACHE_LOG_RECORD,
    APACHE_LOG_END,
    APACHE_LOG_TORN,    /* a record that is not whole, at l->at, and no whole one behind it */
    APACHE_LOG_DAMAGED, /* one that is not whole, at l->at, and a whole one behind it */
};

/* A record's payload is borrowed, and l->at behind it then. */
enum apache_log_item apache_log_next(struct apache_log *l, struct slice *ret_payload);

#endif
