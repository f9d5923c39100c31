/* One-shot watches: remembered from the answer that set them to the event that uses them up, so
 * that they can be armed again on another connection. */
#include "common/client_impl.h"

#include <string.h>

enum creq_watch client_watch_of(int32_t opcode, struct slice record) {
    enum creq_watch kind;
    switch (opcode) {
    case OP_GET_DATA:
        kind = CREQ_WATCH_DATA;
        break;
    case OP_EXISTS:
        kind = CREQ_WATCH_EXISTS;
        break;
    case OP_GET_CHILDREN:
    case OP_GET_CHILDREN2:
        kind = CREQ_WATCH_CHILD;
        break;
    default:
        return CREQ_WATCH_NONE;
    }
    struct cursor in;
    cursor_init(&in, record.p, record.len > 0 ? (size_t)record.len : 0);
    struct proto_path_watch_request req;
    if (!proto_decode(&in, PROTO_path_watch_request, &req) || !req.watch || req.path.len <= 0)
        return CREQ_WATCH_NONE;
    return kind;
}

static void watch_add(struct client *c, struct slice path, unsigned kind) {
    struct cwatch *w;
    HASH_FIND(hh, c->watches, path.p, (unsigned)path.len, w);
    if (!w) {
        w = mem_zalloc(sizeof(*w) + (size_t)path.len);
        w->path_len = (uint32_t)path.len;
        memcpy(w->path, path.p, (size_t)path.len);
        HASH_ADD_KEYPTR(hh, c->watches, w->path, w->path_len, w);
    }
    w->kinds |= kind;
}

void client_watch_answered(struct client *c, const struct creq *r, int32_t err) {
    if (r->watch == CREQ_WATCH_NONE)
        return;
    unsigned kind = 0;
    if (err == ZK_OK)
        kind = r->watch == CREQ_WATCH_CHILD ? CWATCH_CHILD : CWATCH_DATA;
    else if (err == ZK_NONODE && r->watch == CREQ_WATCH_EXISTS)
        kind = CWATCH_EXIST;
    if (kind == 0)
        return;
    struct cursor in;
    cursor_init(&in, r->record, r->record_len);
    struct proto_path_watch_request req;
    bool ok = proto_decode(&in, PROTO_path_watch_request, &req);
    CHECK(ok); /* client_watch_of has decoded the same bytes */
    watch_add(c, req.path, kind);
}

static unsigned kinds_used_up(int32_t event_type) {
    switch (event_type) {
    case EVENT_NODE_CREATED:
    case EVENT_NODE_DATA_CHANGED:
        return CWATCH_DATA | CWATCH_EXIST;
    case EVENT_NODE_DELETED:
        return CWATCH_DATA | CWATCH_EXIST | CWATCH_CHILD;
    case EVENT_NODE_CHILDREN_CHANGED:
        return CWATCH_CHILD;
    default:
        return 0;
    }
}

void client_watch_fired(struct client *c, int32_t event_type, struct slice path) {
    if (path.len <= 0)
        return;
    struct cwatch *w;
    HASH_FIND(hh, c->watches, path.p, (unsigned)path.len, w);
    if (!w)
        return;
    w->kinds &= ~kinds_used_up(event_type);
    if (w->kinds != 0)
        return;
    HASH_DEL(c->watches, w);
    mem_free(w);
}

/* The three vectors of one setWatches frame while they are gathered. */
struct watch_frame {
    struct buf data, exist, child;
    int32_t data_count, exist_count, child_count;
};

static size_t frame_bytes(const struct watch_frame *f) {
    return f->data.len + f->exist.len + f->child.len;
}

static void frame_flush(struct client *c, struct watch_frame *f) {
    struct proto_set_watches req = {
        .relative_zxid = c->reply_zxid,
        .data_watches = {f->data_count, {f->data.data, (int32_t)f->data.len}},
        .exist_watches = {f->exist_count, {f->exist.data, (int32_t)f->exist.len}},
        .child_watches = {f->child_count, {f->child.data, (int32_t)f->child.len}},
    };
    size_t at = client_frame_begin(c, XID_SET_WATCHES, OP_SET_WATCHES);
    proto_encode(&c->tx, PROTO_set_watches, &req);
    client_frame_end(c, at);
    buf_reset(&f->data);
    buf_reset(&f->exist);
    buf_reset(&f->child);
    f->data_count = f->exist_count = f->child_count = 0;
}

static void frame_add(struct client *c, struct watch_frame *f, const struct cwatch *w) {
    struct slice path = {.p = w->path, .len = (int32_t)w->path_len};
    size_t each = 4 + (size_t)w->path_len;
    if (frame_bytes(f) > 0 && frame_bytes(f) + 3 * each > CLIENT_WATCH_FRAME_BYTES)
        frame_flush(c, f);
    if (w->kinds & CWATCH_DATA) {
        jute_write_slice(&f->data, path);
        f->data_count++;
    }
    if (w->kinds & CWATCH_EXIST) {
        jute_write_slice(&f->exist, path);
        f->exist_count++;
    }
    if (w->kinds & CWATCH_CHILD) {
        jute_write_slice(&f->child, path);
        f->child_count++;
    }
}

void client_send_watches(struct client *c) {
    struct watch_frame f = {0};
    for (struct cwatch *w = c->watches; w; w = w->hh.next)
        frame_add(c, &f, w);
    if (frame_bytes(&f) > 0)
        frame_flush(c, &f);
    buf_close(&f.data);
    buf_close(&f.exist);
    buf_close(&f.child);
}

void client_watch_close(struct client *c) {
    struct cwatch *w, *next;
    HASH_ITER(hh, c->watches, w, next) {
        HASH_DEL(c->watches, w);
        mem_free(w);
    }
}
