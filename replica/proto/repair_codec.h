/* What a server that is being repaired asks the others, and what they answer (docs/recovery.md,
 * "Holes"). Messages of a link beside Zab's: peer_codec.h reads and writes them. */
#ifndef ZKFS_REPLICA_PROTO_REPAIR_CODEC_H
#define ZKFS_REPLICA_PROTO_REPAIR_CODEC_H

#include "common/buf.h"
#include "common/cursor.h"
#include "replica/proto/txn_codec.h"

enum repair_type {
    REPAIR_ASK = 1,    /* after, until: the records between, the last one included. The asker's
                          history has, or had, both (after 0: its beginning) */
    REPAIR_RECORDS,    /* after, until: as asked; records: the first ones behind `after` */
    REPAIR_NONE,       /* after, until; reason */
    REPAIR_SNAP_ASK,   /* begun: which snapshot, 0 the newest; offset: from there on in its file */
    REPAIR_SNAP_PIECE, /* begun, ended, size_bytes: the snapshot's; offset, bytes: of its file */
    REPAIR_SNAP_NONE,  /* begun: there is no such snapshot (any more) */
    REPAIR_TYPE_END
};

/* Why there are no records. */
enum repair_reason {
    REPAIR_UNKNOWN = 1, /* this server cannot tell: it is damaged itself, or may lack something */
    REPAIR_ABSENT,      /* what was asked for is not in this server's history */
    REPAIR_PURGED,      /* this server's log does not reach back so far; it has a snapshot */
    REPAIR_REASON_END
};

struct repair_msg {
    enum repair_type type;
    enum repair_reason reason;
    zxid_t after, until;
    zxid_t begun, ended;
    uint64_t offset, size_bytes;
    struct slice bytes;
    const struct log_record *records;
    size_t record_count;
};

/* For peer_codec.c. The message without its type. */
void repair_encode(struct buf *out, const struct repair_msg *m);
/* False when malformed. m->type is set; ret borrows from the bytes, and its records from
 * *ret_memory, which mem_free gives back (NULL on failure). */
bool repair_decode(struct cursor *c, struct repair_msg *m, void **ret_memory);

#endif
