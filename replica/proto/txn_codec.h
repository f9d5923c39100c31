/* Transactions and log records as Protocol Buffers (log.proto). protobuf-c's structs never leave
 * this folder. Null data, empty data, null and empty lists stay apart. */
#ifndef ZKFS_REPLICA_PROTO_TXN_CODEC_H
#define ZKFS_REPLICA_PROTO_TXN_CODEC_H

#include "common/blob.h"
#include "common/buf.h"
#include "replica/tree/txn.h"

/* A new blob. The zxid is not in it: it is the log record's. The txn is one that can be read back
 * (CHECK of txn_invalid_reason: better no process than a log that is refused at the next start).
 * What is longer than TXN_ENCODED_MAX is for admission to refuse: log_record_encode CHECKs it. */
struct blob *txn_encode(const struct txn *t);
/* A new txn with this zxid, or NULL when the bytes are no transaction (unknown type, op or field,
 * missing path, ACL bytes that are no vector<ACL>, more than TXN_ENCODED_MAX bytes …;
 * txn_invalid_reason). */
struct txn *txn_decode(struct slice bytes, zxid_t zxid);

/* A record of the log: a transaction, or the start of an epoch (zxid's counter is 0; no payload).
 */
enum log_kind { LOG_TXN = 1, LOG_EPOCH = 2 };

/* Greatest encoded record. A multi of many small ops grows when it gets its results; admission
 * (server/prep) refuses what would not fit, so that a log can always be read back. */
#define LOG_RECORD_MAX (16u << 20)
/* Greatest encoded transaction: the rest is for the record around it. */
#define TXN_ENCODED_MAX (LOG_RECORD_MAX - 32u)

struct log_record {
    enum log_kind kind;
    zxid_t zxid;
    zxid_t committed;     /* how far was known to be committed when this was appended; 0: nothing */
    struct slice payload; /* LOG_TXN: as txn_encode made it */
};

void log_record_encode(struct buf *out, const struct log_record *r);
/* False when malformed. Borrows from bytes; *ret_record untouched on failure. */
bool log_record_decode(struct slice bytes, struct log_record *ret_record);

#endif
