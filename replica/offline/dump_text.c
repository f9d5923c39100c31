#include "replica/offline/dump_text.h"

#include "common/acl.h"
#include "common/ephemeral_type.h"
#include "common/zkerr.h"

#include <inttypes.h>
#include <time.h>

#define DATA_SHOWN 48

static void put_quoted(struct buf *out, struct slice s, int32_t most) {
    int32_t n = s.len < most ? s.len : most;
    buf_put_u8(out, '"');
    for (int32_t i = 0; i < n; i++) {
        uint8_t c = s.p[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c >= 0x20 && c < 0x7f)
            buf_put_u8(out, c);
        else
            buf_printf(out, "\\x%02x", c);
    }
    buf_put_u8(out, '"');
    if (n < s.len)
        buf_printf(out, "...");
}

static void put_path(struct buf *out, const struct blob *path) {
    buf_printf(out, " path=");
    put_quoted(out, blob_slice(path), INT32_MAX);
}

static void put_data(struct buf *out, const struct blob *data) {
    if (!data) {
        buf_printf(out, " data=null");
        return;
    }
    buf_printf(out, " data=%u ", data->len);
    put_quoted(out, blob_slice(data), DATA_SHOWN);
}

static void put_acl(struct buf *out, const struct blob *acl) {
    struct jvec v = acl_view(acl);
    buf_printf(out, " acl=");
    acl_print(out, &v);
}

static void put_time(struct buf *out, const char *name, int64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms < 0 || !gmtime_r(&seconds, &tm) || tm.tm_year > 8000) {
        buf_printf(out, " %s=%" PRId64 "ms", name, ms);
        return;
    }
    char text[32];
    if (strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) > 0)
        buf_printf(out, " %s=%s.%03dZ", name, text, (int)(ms % 1000));
}

static void put_owner(struct buf *out, session_id_t owner) {
    buf_printf(out, " owner=0x%" PRIx64, owner);
    if (ephemeral_type(owner) == EPHEMERAL_CONTAINER)
        buf_printf(out, " container");
    else if (ephemeral_type(owner) == EPHEMERAL_TTL)
        buf_printf(out, " ttl_ms=%" PRId64, ephemeral_ttl_ms(owner));
}

void dump_text_head(struct buf *out, const struct snap_head *h) {
    buf_printf(out, "head secret=%s\n", h->secret.len < 0 ? "none" : "present");
}

void dump_text_znode(struct buf *out, const struct znode_image *image) {
    const struct zstat *s = &image->stat;
    buf_printf(out, "znode path=");
    put_quoted(out, image->path, INT32_MAX);
    put_data(out, image->data);
    put_acl(out, image->acl);
    buf_printf(out, " czxid=0x%" PRIx64 " mzxid=0x%" PRIx64 " pzxid=0x%" PRIx64, s->czxid, s->mzxid,
               s->pzxid);
    put_time(out, "ctime", s->ctime_ms);
    put_time(out, "mtime", s->mtime_ms);
    buf_printf(out, " version=%d aversion=%d creates=%d", s->version, s->aversion, image->creates);
    put_owner(out, s->ephemeral_owner);
    buf_put_u8(out, '\n');
}

void dump_text_session(struct buf *out, const struct snap_session *s) {
    buf_printf(out, "session id=0x%" PRIx64 " timeout_ms=%d retries=%s results=%zu\n", s->id,
               s->timeout_ms, s->retries ? "yes" : "no", s->result_count);
}

static void put_op(struct buf *out, const struct txn_op *op) {
    static const char *const names[] = {
        [TXN_OP_CREATE] = "create",  [TXN_OP_DELETE] = "delete", [TXN_OP_SET_DATA] = "setData",
        [TXN_OP_SET_ACL] = "setACL", [TXN_OP_CHECK] = "check",
    };
    buf_printf(out, " %s", names[op->type]);
    put_path(out, op->path);
    if (op->type == TXN_OP_CREATE || op->type == TXN_OP_SET_DATA)
        put_data(out, op->data);
    if (op->type == TXN_OP_CREATE || op->type == TXN_OP_SET_ACL)
        put_acl(out, op->acl);
    if (op->type == TXN_OP_SET_DATA || op->type == TXN_OP_SET_ACL)
        buf_printf(out, " version=%d", op->version);
    if (op->type == TXN_OP_CREATE) {
        put_owner(out, op->owner);
        buf_printf(out, " parent_creates=%d", op->parent_creates);
    }
}

static void put_ops(struct buf *out, const struct txn *t) {
    if (t->op_count == 1 && !t->multi && t->type == TXN_OPS) {
        put_op(out, &t->ops[0]);
        return;
    }
    if (t->type == TXN_OPS)
        buf_printf(out, " %s ops=%u", t->multi ? "multi" : "ops", t->op_count);
    for (uint32_t i = 0; i < t->op_count; i++) {
        buf_printf(out, "\n   ");
        put_op(out, &t->ops[i]);
    }
}

static void put_txn(struct buf *out, const struct txn *t) {
    buf_printf(out, " session=0x%" PRIx64 " cxid=%d", t->session_id, t->cxid);
    put_time(out, "time", t->time_ms);
    switch (t->type) {
    case TXN_OPS:
        put_ops(out, t);
        return;
    case TXN_ERROR:
        buf_printf(out, " error err=%d (%s)", t->err, zkerr_text(t->err));
        if (t->multi)
            buf_printf(out, " multi ops=%u index=%u", t->op_count, t->error_index);
        return;
    case TXN_CREATE_SESSION:
        buf_printf(out, " createSession timeout_ms=%d retries=%s", t->timeout_ms,
                   t->retries ? "yes" : "no");
        return;
    case TXN_CLOSE_SESSION:
        buf_printf(out, " closeSession ephemerals=%u", t->op_count);
        put_ops(out, t);
        return;
    case TXN_ENSEMBLE:
        buf_printf(out, " ensemble secret=present");
        return;
    }
}

void dump_text_record(struct buf *out, const struct log_record *r) {
    buf_printf(out, "0x%" PRIx64, r->zxid);
    if (r->kind == LOG_EPOCH) {
        buf_printf(out, " epoch %u begins\n", zxid_epoch(r->zxid));
        return;
    }
    struct txn *t = txn_decode(r->payload, r->zxid);
    if (t)
        put_txn(out, t);
    else
        buf_printf(out, " DAMAGED: a record with the right checksum that is no transaction");
    buf_put_u8(out, '\n');
    txn_free(t);
}

void dump_text_mark(struct buf *out, const struct wal_mark *m) {
    buf_printf(out, "%s offset=%" PRIu64 " last_zxid=0x%" PRIx64, m->next_zxid ? "seal" : "mark",
               m->offset, m->last_zxid);
    if (m->next_zxid)
        buf_printf(out, " next_zxid=0x%" PRIx64 "\n", m->next_zxid);
    else
        buf_printf(out, " batch_start=%" PRIu64 " zero_pieces=%" PRIu64 "\n", m->batch_start,
                   m->zero_pieces);
}
