/* What is on a replica's disk, as text: one line for each thing. */
#ifndef ZKFS_REPLICA_OFFLINE_DUMP_TEXT_H
#define ZKFS_REPLICA_OFFLINE_DUMP_TEXT_H

#include "common/buf.h"
#include "replica/proto/snap_codec.h"
#include "replica/proto/txn_codec.h"
#include "replica/store/wal_format.h"

/* Each appends a line and its end. Secrets are not shown, only that there is one; of data the
 * length, and the first bytes. */
void dump_text_head(struct buf *out, const struct snap_head *h);
void dump_text_znode(struct buf *out, const struct znode_image *image);
void dump_text_session(struct buf *out, const struct snap_session *s);
/* One line, and for each further operation of a multi one more. */
void dump_text_record(struct buf *out, const struct log_record *r);
void dump_text_mark(struct buf *out, const struct wal_mark *m);

#endif
