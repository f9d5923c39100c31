#include "tests/unit/fs/fake_zk.h"

#include "common/mem.h"
#include "common/path.h"
#include "common/zkerr.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

struct fake_znode *fake_find(struct fake_zk *f, const char *path) {
    for (size_t i = 0; i < f->count; i++) {
        if (strcmp(f->znodes[i].path, path) == 0)
            return &f->znodes[i];
    }
    return NULL;
}

static struct fake_znode *find_slice(struct fake_zk *f, struct slice path) {
    char text[256];
    snprintf(text, sizeof(text), "%.*s", (int)path.len, (const char *)path.p);
    return fake_find(f, text);
}

static void touch_parent(struct fake_zk *f, const char *path, int change) {
    struct slice parent = path_parent(slice_from_str(path));
    struct fake_znode *z = parent.len > 0 ? find_slice(f, parent) : NULL;
    if (z) {
        z->stat.num_children += change;
        z->stat.cversion++;
        z->stat.pzxid = f->zxid;
    }
}

static struct fake_znode *add(struct fake_zk *f, struct slice path, struct slice data) {
    ck_assert_uint_lt(f->count, FAKE_ZNODES_MAX);
    struct fake_znode *z = &f->znodes[f->count++];
    *z = (struct fake_znode){.data = blob_from_slice(data)};
    snprintf(z->path, sizeof(z->path), "%.*s", (int)path.len, (const char *)path.p);
    z->stat.czxid = z->stat.mzxid = z->stat.pzxid = f->zxid;
    z->stat.data_length = data.len > 0 ? data.len : 0;
    touch_parent(f, z->path, 1);
    return z;
}

static void change(struct fake_zk *f, struct fake_znode *z, struct slice data) {
    blob_unref(z->data);
    z->data = blob_from_slice(data);
    z->stat.mzxid = f->zxid;
    z->stat.version++;
    z->stat.data_length = data.len > 0 ? data.len : 0;
}

static void drop_znode(struct fake_zk *f, struct fake_znode *z) {
    touch_parent(f, z->path, -1);
    blob_unref(z->data);
    *z = f->znodes[--f->count];
}

struct fake_znode *fake_create(struct fake_zk *f, const char *path, const char *data) {
    f->zxid++;
    return add(f, slice_from_str(path), slice_from_str(data));
}

void fake_set(struct fake_zk *f, const char *path, const char *data) {
    f->zxid++;
    change(f, fake_find(f, path), slice_from_str(data));
}

void fake_delete(struct fake_zk *f, const char *path) {
    f->zxid++;
    drop_znode(f, fake_find(f, path));
}

static void on_closed(uv_handle_t *handle) { mem_free(handle); }

void fake_drop(struct fake_zk *f) {
    if (f->conn)
        uv_close((uv_handle_t *)f->conn, on_closed);
    f->conn = NULL;
    buf_reset(&f->in);
}

static void answer(struct fake_zk *f, const struct buf *body) {
    struct buf b = BUF_INIT;
    buf_put_u32be(&b, (uint32_t)body->len);
    buf_put(&b, body->data, body->len);
    uv_buf_t piece = uv_buf_init((char *)b.data, (unsigned)b.len);
    int n = uv_try_write((uv_stream_t *)f->conn, &piece, 1);
    ck_assert_int_eq(n, (int)b.len);
    buf_close(&b);
}

static void answer_connect(struct fake_zk *f, struct slice frame) {
    struct proto_connect_request req;
    struct cursor in;
    cursor_init(&in, frame.p, (size_t)frame.len);
    ck_assert(proto_decode(&in, PROTO_connect_request, &req));
    uint8_t passwd[PASSWD_BYTES] = "0123456789abcde";
    bool expired = req.session_id != 0 && req.session_id != f->session;
    if (req.session_id == 0)
        f->session = f->next_session++;
    struct proto_connect_response res = {
        .protocol_version = f->ours ? PROTOCOL_VERSION_RETRIES : 0,
        .timeout_ms = expired ? 0 : req.timeout_ms,
        .session_id = expired ? 0 : f->session,
        .passwd = {.p = passwd, .len = PASSWD_BYTES},
        .has_read_only = true,
    };
    struct buf body = BUF_INIT;
    proto_encode(&body, PROTO_connect_response, &res);
    answer(f, &body);
    buf_close(&body);
    f->greeted = true;
    if (expired)
        fake_drop(f);
}

static int do_create(struct fake_zk *f, struct cursor *in, struct buf *out) {
    struct proto_create_request req;
    ck_assert(proto_decode(in, PROTO_create_request, &req));
    char path[256];
    bool sequential = (req.flags & 2) != 0;
    int n = snprintf(path, sizeof(path), "%.*s", (int)req.path.len, (const char *)req.path.p);
    if (sequential)
        snprintf(path + n, sizeof(path) - (size_t)n, "%010d", f->sequence++);
    if (fake_find(f, path))
        return ZK_NODEEXISTS;
    struct slice parent = path_parent(slice_from_str(path));
    if (parent.len > 1 && !find_slice(f, parent))
        return ZK_NONODE;
    struct fake_znode *z = add(f, slice_from_str(path), req.data);
    if (req.flags & CREATE_EPHEMERAL)
        z->stat.ephemeral_owner = f->session;
    struct proto_create2_response res = {.path = slice_from_str(z->path), .stat = z->stat};
    proto_encode(out, PROTO_create2_response, &res);
    return 0;
}

static int do_set(struct fake_zk *f, struct cursor *in, struct buf *out) {
    struct proto_set_data_request req;
    ck_assert(proto_decode(in, PROTO_set_data_request, &req));
    struct fake_znode *z = find_slice(f, req.path);
    if (!z)
        return ZK_NONODE;
    if (req.version != -1 && req.version != z->stat.version)
        return ZK_BADVERSION;
    change(f, z, req.data);
    struct proto_stat_response res = {.stat = z->stat};
    proto_encode(out, PROTO_stat_response, &res);
    return 0;
}

static int do_delete(struct fake_zk *f, struct cursor *in) {
    struct proto_delete_request req;
    ck_assert(proto_decode(in, PROTO_delete_request, &req));
    struct fake_znode *z = find_slice(f, req.path);
    if (!z)
        return ZK_NONODE;
    drop_znode(f, z);
    return 0;
}

static int do_write(struct fake_zk *f, int32_t opcode, struct cursor *in, struct buf *out);

/* No roll back: the tests only send multis that pass, or fail with their first operation. */
static int do_multi(struct fake_zk *f, struct cursor *in, struct buf *out) {
    for (;;) {
        struct proto_multi_header h;
        ck_assert(proto_decode(in, PROTO_multi_header, &h));
        if (h.done)
            break;
        struct buf one = BUF_INIT;
        int err = do_write(f, h.type, in, &one);
        struct proto_multi_header rh = {.type = err ? OP_ERROR : h.type, .err = err};
        proto_encode(out, PROTO_multi_header, &rh);
        if (err)
            jute_write_int(out, err);
        buf_put(out, one.data, one.len);
        buf_close(&one);
        if (err)
            break;
    }
    struct proto_multi_header end = {.type = -1, .done = true, .err = -1};
    proto_encode(out, PROTO_multi_header, &end);
    return 0;
}

static int do_write(struct fake_zk *f, int32_t opcode, struct cursor *in, struct buf *out) {
    switch (opcode) {
    case OP_CREATE2:
        return do_create(f, in, out);
    case OP_SET_DATA:
        return do_set(f, in, out);
    case OP_DELETE:
        return do_delete(f, in);
    case OP_MULTI:
        return do_multi(f, in, out);
    default:
        return ZK_UNIMPLEMENTED;
    }
}

static void list_children(struct fake_zk *f, const struct fake_znode *dir, struct buf *out) {
    struct buf items = BUF_INIT;
    int32_t count = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct slice path = slice_from_str(f->znodes[i].path);
        if (path.len > 1 && slice_equal(path_parent(path), slice_from_str(dir->path))) {
            jute_write_slice(&items, path_name(path));
            count++;
        }
    }
    struct proto_get_children2_response res = {
        .children = {count, {items.data, (int32_t)items.len}}, .stat = dir->stat};
    proto_encode(out, PROTO_get_children2_response, &res);
    buf_close(&items);
}

static int do_read(struct fake_zk *f, int32_t opcode, struct cursor *in, struct buf *out) {
    struct slice path = jute_read_slice(in);
    struct fake_znode *z = find_slice(f, path);
    if (opcode == OP_SYNC) {
        jute_write_slice(out, path);
        return 0;
    }
    if (!z)
        return ZK_NONODE;
    if (opcode == OP_GET_DATA && f->hide_data)
        return ZK_NOAUTH;
    if (opcode == OP_EXISTS) {
        jute_write_stat(out, &z->stat);
    } else if (opcode == OP_GET_CHILDREN2) {
        list_children(f, z, out);
    } else if (opcode == OP_GET_DATA) {
        jute_write_slice(out, blob_slice(z->data));
        jute_write_stat(out, &z->stat);
    } else {
        return ZK_UNIMPLEMENTED;
    }
    return 0;
}

static int do_watch(struct fake_zk *f, int32_t opcode, struct cursor *in, struct buf *out) {
    struct proto_add_watch_request req;
    if (opcode == OP_SET_WATCHES || opcode == OP_SET_WATCHES2)
        return opcode == OP_SET_WATCHES2 ? f->again_err : 0;
    ck_assert(proto_decode(in, PROTO_add_watch_request, &req));
    bool adds = opcode == OP_ADD_WATCH;
    snprintf(adds ? f->added.path : f->removed.path, 256, "%.*s", (int)req.path.len,
             (const char *)req.path.p);
    if (adds) {
        f->added.mode = req.mode;
        jute_write_int(out, 0);
        return f->add_err;
    }
    f->removed.mode = req.mode;
    return f->old_types && req.mode > WATCHER_ANY ? ZK_MARSHALLINGERROR : 0;
}

static bool is_watch(int32_t opcode) {
    return opcode == OP_ADD_WATCH || opcode == OP_REMOVE_WATCHES || opcode == OP_SET_WATCHES ||
           opcode == OP_SET_WATCHES2;
}

void fake_event(struct fake_zk *f, enum zk_event type, const char *path, zxid_t zxid) {
    struct proto_reply_header rh = {.xid = XID_NOTIFICATION, .zxid = zxid};
    struct proto_watcher_event e = {type, STATE_SYNC_CONNECTED, slice_from_str(path)};
    struct buf body = BUF_INIT;
    proto_encode(&body, PROTO_reply_header, &rh);
    proto_encode(&body, PROTO_watcher_event, &e);
    answer(f, &body);
    buf_close(&body);
}

static void lose(struct fake_zk *f) {
    if (--f->lose_times <= 0)
        f->lose = FAKE_KEEP;
    fake_drop(f);
    if (f->after_loss)
        f->after_loss(f);
}

static void answer_request(struct fake_zk *f, struct slice frame) {
    struct cursor in;
    cursor_init(&in, frame.p, (size_t)frame.len);
    struct proto_request_header h;
    ck_assert(proto_decode(&in, PROTO_request_header, &h));
    if (h.type >= 0 && h.type < 128)
        f->requests[h.type]++;
    if (h.type == OP_CLOSE_SESSION)
        f->closes++;
    const struct opcode_info *info = opcode_find(h.type);
    bool is_write = info && (info->flags & OPF_WRITE) && h.type != OP_CLOSE_SESSION;
    if (f->deaf)
        return;
    bool is_lost = is_write && f->lose != FAKE_KEEP && f->keep_first-- <= 0;
    if (is_lost && f->lose == FAKE_LOSE_UNDONE) {
        lose(f);
        return;
    }
    struct buf record = BUF_INIT, body = BUF_INIT;
    int err = 0;
    if (is_write)
        f->zxid++;
    if (is_write && f->refuse_writes)
        err = f->refuse_writes;
    else if (is_write)
        err = do_write(f, h.type, &in, &record);
    else if (is_watch(h.type))
        err = do_watch(f, h.type, &in, &record);
    else if (h.type != OP_PING && h.type != OP_CLOSE_SESSION)
        err = do_read(f, h.type, &in, &record);
    bool is_mute = (is_write && f->mute_first && f->lose != FAKE_KEEP) ||
                   (h.type == OP_ADD_WATCH && f->mute_adds);
    if (is_lost) {
        lose(f);
    } else if (!is_mute) {
        struct proto_reply_header rh = {.xid = h.xid, .zxid = f->zxid, .err = err};
        proto_encode(&body, PROTO_reply_header, &rh);
        if (err == 0 && record.len > f->cut)
            buf_put(&body, record.data, record.len - f->cut);
        answer(f, &body);
    }
    buf_close(&record);
    buf_close(&body);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret) {
    static char space[65536];
    *ret = uv_buf_init(space, sizeof(space));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct fake_zk *f = stream->data;
    if ((uv_stream_t *)f->conn != stream || n == 0)
        return;
    if (n < 0) {
        fake_drop(f);
        return;
    }
    f->reads++;
    buf_put(&f->in, buf->base, (size_t)n);
    while (f->conn && f->in.len >= 4) {
        struct cursor in;
        cursor_init(&in, f->in.data, f->in.len);
        uint32_t len = cursor_u32be(&in);
        if (cursor_left(&in) < len)
            return;
        uint8_t *copy = mem_dup(in.p, len + 1);
        buf_consume(&f->in, 4 + (size_t)len);
        struct slice frame = {.p = copy, .len = (int32_t)len};
        if (f->greeted)
            answer_request(f, frame);
        else
            answer_connect(f, frame);
        mem_free(copy);
    }
}

void fake_read(struct fake_zk *f) { uv_read_start((uv_stream_t *)f->conn, on_alloc, on_read); }

static void on_connection(uv_stream_t *listener, int status) {
    struct fake_zk *f = listener->data;
    ck_assert_int_eq(status, 0);
    fake_drop(f);
    uv_tcp_t *conn = mem_zalloc(sizeof(*conn));
    uv_tcp_init(f->loop, conn);
    conn->data = f;
    ck_assert_int_eq(uv_accept(listener, (uv_stream_t *)conn), 0);
    f->conn = conn;
    f->greeted = false;
    f->connections++;
    if (f->refuse)
        fake_drop(f);
    else
        fake_read(f);
}

void fake_start(struct fake_zk *f, uv_loop_t *loop) {
    *f = (struct fake_zk){.loop = loop, .zxid = 1000, .next_session = 0x100};
    struct sockaddr_in addr;
    int len = sizeof(addr);
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_init(loop, &f->listener);
    f->listener.data = f;
    ck_assert_int_eq(uv_tcp_bind(&f->listener, (struct sockaddr *)&addr, 0), 0);
    ck_assert_int_eq(uv_listen((uv_stream_t *)&f->listener, 16, on_connection), 0);
    ck_assert_int_eq(uv_tcp_getsockname(&f->listener, (struct sockaddr *)&addr, &len), 0);
    f->port = ntohs(addr.sin_port);
    add(f, slice_from_str("/"), slice_from_str(""));
}

void fake_stop(struct fake_zk *f) {
    fake_drop(f);
    uv_close((uv_handle_t *)&f->listener, NULL);
    while (f->count > 0)
        drop_znode(f, &f->znodes[f->count - 1]);
    buf_close(&f->in);
}
