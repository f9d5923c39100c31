/* Watches, remembered so that they can be armed again on another connection: one-shot ones from the
 * answer that set them to the event that uses them up, persistent ones to their removal. */
#include "common/client_impl.h"
#include "common/path.h"

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
    case OP_ADD_WATCH:
        return CREQ_WATCH_ADD;
    case OP_REMOVE_WATCHES:
        return CREQ_WATCH_REMOVE;
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

static struct cwatch *watch_find(struct client *c, struct slice path) {
    struct cwatch *w;
    HASH_FIND(hh, c->watches, path.p, (unsigned)path.len, w);
    return w;
}

/* Counts those that stay, and forgets the path when nothing is left of it. */
static void set_kinds(struct client *c, struct cwatch *w, unsigned kinds) {
    c->staying += (kinds & CWATCH_STAYS) != 0;
    c->staying -= (w->kinds & CWATCH_STAYS) != 0;
    w->kinds = kinds;
    if (kinds != 0)
        return;
    HASH_DEL(c->watches, w);
    mem_free(w);
}

static void watch_add(struct client *c, struct slice path, unsigned kind) {
    struct cwatch *w = watch_find(c, path);
    if (!w) {
        w = mem_zalloc(sizeof(*w) + (size_t)path.len);
        w->path_len = (uint32_t)path.len;
        memcpy(w->path, path.p, (size_t)path.len);
        HASH_ADD_KEYPTR(hh, c->watches, w->path, w->path_len, w);
    }
    set_kinds(c, w, w->kinds | kind);
}

static void added(struct client *c, struct cursor *in, int32_t err) {
    struct proto_add_watch_request req;
    if (err == ZK_OK && proto_decode(in, PROTO_add_watch_request, &req) && req.path.len > 0)
        watch_add(c, req.path,
                  req.mode == ADD_WATCH_RECURSIVE ? CWATCH_RECURSIVE : CWATCH_PERSISTENT);
}

static unsigned kinds_of_type(int32_t type) {
    switch (type) {
    case WATCHER_CHILDREN:
        return CWATCH_CHILD;
    case WATCHER_DATA:
        return CWATCH_DATA | CWATCH_EXIST;
    case WATCHER_PERSISTENT:
        return CWATCH_PERSISTENT;
    case WATCHER_RECURSIVE:
        return CWATCH_RECURSIVE;
    case WATCHER_ANY:
        return ~0u;
    default:
        return 0;
    }
}

/* A server that has no such watch leaves none to be armed again either. */
static void removed(struct client *c, struct cursor *in, int32_t err) {
    struct proto_remove_watches_request req;
    if ((err != ZK_OK && err != ZK_NOWATCHER) ||
        !proto_decode(in, PROTO_remove_watches_request, &req) || req.path.len <= 0)
        return;
    struct cwatch *w = watch_find(c, req.path);
    if (w)
        set_kinds(c, w, w->kinds & ~kinds_of_type(req.type));
}

void client_watch_answered(struct client *c, const struct creq *r, int32_t err) {
    if (r->watch == CREQ_WATCH_NONE)
        return;
    struct cursor in;
    cursor_init(&in, r->record, r->record_len);
    if (r->watch == CREQ_WATCH_ADD || r->watch == CREQ_WATCH_REMOVE) {
        if (r->watch == CREQ_WATCH_ADD)
            added(c, &in, err);
        else
            removed(c, &in, err);
        return;
    }
    unsigned kind = 0;
    if (err == ZK_OK)
        kind = r->watch == CREQ_WATCH_CHILD ? CWATCH_CHILD : CWATCH_DATA;
    else if (err == ZK_NONODE && r->watch == CREQ_WATCH_EXISTS)
        kind = CWATCH_EXIST;
    if (kind == 0)
        return;
    struct proto_path_watch_request req;
    bool ok = proto_decode(&in, PROTO_path_watch_request, &req);
    CHECK(ok); /* client_watch_of has decoded the same bytes */
    watch_add(c, req.path, kind);
}

unsigned client_watch_used_up(int32_t event_type) {
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

bool client_watch_fired(struct client *c, int32_t event_type, struct slice path) {
    struct cwatch *w = path.len > 0 ? watch_find(c, path) : NULL;
    unsigned used = w ? w->kinds & client_watch_used_up(event_type) : 0;
    if (used)
        set_kinds(c, w, w->kinds & ~used);
    return used != 0;
}

static void note_heard(struct cheard *h, zxid_t zxid, int32_t type, struct slice path) {
    if (zxid < h->zxid)
        return;
    if (zxid > h->zxid)
        buf_reset(&h->events);
    h->zxid = zxid;
    jute_write_int(&h->events, type);
    jute_write_slice(&h->events, path);
}

/* Of equal ones in a transaction each counts once. */
static bool take_heard(struct cheard *h, int32_t type, struct slice path) {
    struct cursor in;
    cursor_init(&in, h->events.data, h->events.len);
    while (cursor_left(&in) > 0) {
        size_t at = h->events.len - cursor_left(&in);
        int32_t known_type = jute_read_int(&in);
        struct slice known = jute_read_slice(&in);
        if (known_type != type || !slice_equal(known, path))
            continue;
        buf_patch_u32be(&h->events, at, 0);
        return true;
    }
    return false;
}

bool client_watch_repeated(struct client *c, zxid_t zxid, int32_t event_type, struct slice path) {
    if (zxid <= 0 || c->staying == 0)
        return false;
    bool again = c->again_frames > 0;
    if (again && zxid < c->again.zxid)
        return true;
    if (again && zxid == c->again.zxid && take_heard(&c->again, event_type, path))
        return true;
    if (!again || !c->again_split)
        note_heard(&c->heard, zxid, event_type, path);
    return false;
}

/* What was heard so far is not to be told anew. */
static void begin_again(struct client *c, uint32_t staying_frames) {
    c->again_split = staying_frames > 1;
    c->again.zxid = c->heard.zxid;
    buf_reset(&c->again.events);
    if (c->heard.events.len > 0)
        buf_put(&c->again.events, c->heard.events.data, c->heard.events.len);
}

enum { LIST_DATA, LIST_EXIST, LIST_CHILD, LIST_PERSISTENT, LIST_RECURSIVE, LISTS };

static const unsigned kind_of_list[LISTS] = {CWATCH_DATA, CWATCH_EXIST, CWATCH_CHILD,
                                             CWATCH_PERSISTENT, CWATCH_RECURSIVE};

/* The vectors of one setWatches or setWatches2 frame while they are gathered. */
struct watch_frame {
    struct buf list[LISTS];
    int32_t count[LISTS];
    uint32_t staying_frames; /* sent so far */
};

static size_t frame_bytes(const struct watch_frame *f) {
    size_t n = 0;
    for (int i = 0; i < LISTS; i++)
        n += f->list[i].len;
    return n;
}

static struct jvec frame_list(const struct watch_frame *f, int i) {
    return (struct jvec){f->count[i], {f->list[i].data, (int32_t)f->list[i].len}};
}

/* setWatches where nothing stays: servers before 3.6 know no other. Where something does, every
 * frame is a setWatches2, so that the server knows that the state of znodes is no news to this
 * client. */
static void frame_flush(struct client *c, struct watch_frame *f) {
    struct proto_set_watches2 req = {
        .relative_zxid = c->reply_zxid,
        .data_watches = frame_list(f, LIST_DATA),
        .exist_watches = frame_list(f, LIST_EXIST),
        .child_watches = frame_list(f, LIST_CHILD),
        .persistent_watches = frame_list(f, LIST_PERSISTENT),
        .persistent_recursive_watches = frame_list(f, LIST_RECURSIVE),
    };
    struct proto_set_watches old = {req.relative_zxid, req.data_watches, req.exist_watches,
                                    req.child_watches};
    bool stays = c->staying > 0;
    size_t at = client_frame_begin(c, XID_SET_WATCHES, stays ? OP_SET_WATCHES2 : OP_SET_WATCHES);
    if (stays)
        proto_encode(&c->tx, PROTO_set_watches2, &req);
    else
        proto_encode(&c->tx, PROTO_set_watches, &old);
    client_frame_end(c, at);
    c->again_frames++;
    f->staying_frames += f->count[LIST_PERSISTENT] + f->count[LIST_RECURSIVE] > 0;
    for (int i = 0; i < LISTS; i++) {
        buf_reset(&f->list[i]);
        f->count[i] = 0;
    }
}

static void frame_add(struct client *c, struct watch_frame *f, const struct cwatch *w) {
    struct slice path = {.p = w->path, .len = (int32_t)w->path_len};
    size_t each = 4 + (size_t)w->path_len;
    if (frame_bytes(f) > 0 && frame_bytes(f) + LISTS * each > CLIENT_WATCH_FRAME_BYTES)
        frame_flush(c, f);
    for (int i = 0; i < LISTS; i++) {
        if ((w->kinds & kind_of_list[i]) == 0)
            continue;
        jute_write_slice(&f->list[i], path);
        f->count[i]++;
    }
}

/* Those that stay come first, so that what they missed comes in one piece, and a one-shot watch of
 * the same path with it. */
static void send_all(struct client *c, struct watch_frame *f, bool staying) {
    for (struct cwatch *w = c->watches; w; w = w->hh.next)
        if (((w->kinds & CWATCH_STAYS) != 0) == staying)
            frame_add(c, f, w);
}

void client_send_watches(struct client *c) {
    struct watch_frame f = {0};
    if (c->staying > 0) {
        if (!c->retries || c->read_only)
            client_emit(c, CU_GAP);
        send_all(c, &f, true);
    }
    send_all(c, &f, false);
    if (frame_bytes(&f) > 0)
        frame_flush(c, &f);
    begin_again(c, f.staying_frames);
    for (int i = 0; i < LISTS; i++)
        buf_close(&f.list[i]);
}

/* A server of an older kind refuses setWatches2; one of ours says ZK_WATCHGAP. Of the others it is
 * said at once. */
void client_watches_set(struct client *c, int32_t err) {
    if (c->again_frames > 0)
        c->again_frames--;
    if (err != ZK_OK && c->staying > 0 && c->retries && !c->read_only)
        client_emit(c, CU_GAP);
}

void client_watch_close(struct client *c) {
    buf_close(&c->heard.events);
    buf_close(&c->again.events);
    struct cwatch *w, *next;
    HASH_ITER(hh, c->watches, w, next) {
        HASH_DEL(c->watches, w);
        mem_free(w);
    }
}
