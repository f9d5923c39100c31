/* multiRead: several getData and getChildren in one request, each with its own result or error. */
#include "replica/server/read.h"

#include "replica/server/limits.h"
#include "replica/server/reply.h"

static void write_header(struct buf *b, int32_t type, bool done, int32_t err) {
    struct proto_multi_header h = {.type = type, .done = done, .err = err};
    proto_encode(b, PROTO_multi_header, &h);
}

/* Whether the record after the header is well formed; only the kinds that read may stand here. */
static bool next_op(struct read *rd, struct proto_multi_header *h,
                    struct proto_path_watch_request *req) {
    if (!proto_decode(&rd->body, PROTO_multi_header, h))
        return false;
    if (h->done)
        return true;
    if (h->type != OP_GET_DATA && h->type != OP_GET_CHILDREN)
        return false;
    return proto_decode(&rd->body, PROTO_path_watch_request, req) && req->path.len >= 0;
}

static void write_op(struct read *rd, struct buf *b, int32_t type, struct slice path) {
    const struct znode *n = NULL;
    enum zk_err err = read_find(rd, path, PERM_READ, &n);
    if (err != ZK_OK) {
        write_header(b, OP_ERROR, false, err);
        jute_write_int(b, err);
        return;
    }
    write_header(b, type, false, 0);
    if (type == OP_GET_CHILDREN) {
        read_write_children(b, n);
        return;
    }
    struct zstat stat;
    znode_stat(n, &stat);
    jute_write_slice(b, blob_slice(znode_data(n)));
    jute_write_stat(b, &stat);
}

enum zk_err read_multi(struct read *rd) {
    struct buf *b = read_begin(rd);
    for (;;) {
        struct proto_multi_header h;
        struct proto_path_watch_request req;
        bool fits = b->len - rd->r->out.frame_at <= MULTI_READ_BYTES_MAX;
        if (!fits || !next_op(rd, &h, &req)) {
            reply_drop(rd->r);
            return ZK_MARSHALLINGERROR;
        }
        if (h.done)
            break;
        write_op(rd, b, h.type, req.path);
    }
    write_header(b, -1, true, -1);
    read_end(rd);
    return ZK_OK;
}
