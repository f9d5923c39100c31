#include "tests/unit/server/harness.h"

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slice h_slice(const char *s) {
    return slice_from_str(s);
}

struct replica_config h_config(void) {
    return (struct replica_config){.server_id = 0,
                                   .tick_ms = 2000,
                                   .min_session_timeout_ms = 4000,
                                   .max_session_timeout_ms = 40000,
                                   .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
                                   .max_conns_per_ip = 60,
                                   .max_outstanding = 1000,
                                   .version = "test",
                                   .data_dir = "/d",
                                   .data_log_dir = "/l",
                                   .client_port = 2181,
                                   .listen_backlog = 50};
}

struct harness *h_new(const struct replica_config *config) {
    struct harness *h = mem_zalloc(sizeof *h);
    h->config = config ? *config : h_config();
    h->counter_limit = ZAB_COUNTER_LIMIT;
    h->mono_ms = 1000;
    h->wall_ms = 1700000000000;
    h->random_byte = 7;
    h->r = core_new(&h->config, h->counter_limit);
    return h;
}

void h_free(struct harness *h) {
    replica_free(h->r);
    for (size_t i = 0; i < h->log_count; i++)
        blob_unref(h->log[i].payload);
    mem_free(h->log);
    for (size_t i = 0; i < H_CONNS_MAX; i++)
        buf_close(&h->conns[i].in);
    mem_free(h);
}

static void trace_add(struct harness *h, const void *p, size_t n) {
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h->trace = (h->trace ^ b[i]) * 0x100000001b3ULL;
}

static void trace_update(struct harness *h, const struct update *u) {
    trace_add(h, &u->type, sizeof u->type);
    trace_add(h, &u->conn, sizeof u->conn);
    trace_add(h, &u->mono_ms, sizeof u->mono_ms);
    trace_add(h, &u->record.zxid, sizeof u->record.zxid);
    if (u->record.payload.len > 0)
        trace_add(h, u->record.payload.p, (size_t)u->record.payload.len);
    if (u->bytes.len > 0)
        trace_add(h, u->bytes.p, (size_t)u->bytes.len);
}

static void keep_record(struct harness *h, const struct log_record *rec) {
    if (h->log_count == h->log_cap) {
        h->log_cap = h->log_cap ? h->log_cap * 2 : 64;
        h->log = mem_realloc(h->log, h->log_cap * sizeof *h->log);
    }
    h->log[h->log_count++] =
        (struct h_record){rec->kind, rec->zxid, rec->committed, blob_from_slice(rec->payload)};
}

void h_append_record(struct harness *h, struct blob *take_payload) {
    struct log_record rec = {.kind = LOG_TXN,
                             .zxid = h->log[h->log_count - 1].zxid + 1,
                             .payload = blob_slice(take_payload)};
    keep_record(h, &rec);
    blob_unref(take_payload);
    h->synced = h->log_count;
}

static void copy_text(char *to, size_t cap, struct slice text) {
    (void)snprintf(to, cap, "%.*s", text.len > 0 ? text.len : 0,
                   text.p ? (const char *)text.p : "");
}

static void carry_out(struct harness *h, const struct update *u) {
    trace_update(h, u);
    ck_assert(u->conn < H_CONNS_MAX);
    struct h_conn *c = &h->conns[u->conn];
    switch (u->type) {
    case UPD_LOG_APPEND:
        keep_record(h, &u->record);
        break;
    case UPD_SAVE_EPOCH:
        h->epoch = u->epoch;
        h->epoch_asked = true;
        break;
    case UPD_LOG_RETRY:
        h->log_retries++;
        break;
    case UPD_LOG_TRUNCATE:
    case UPD_LOG_READ:
    case UPD_REPAIR_READ:
    case UPD_SNAP_READ:
    case UPD_SNAP_BEGIN:
    case UPD_SNAP_CHUNK:
    case UPD_SNAP_END:
    case UPD_SNAP_ABANDON:
    case UPD_SNAP_REFUSED:
    case UPD_CHECKPOINT_BEGIN:
    case UPD_CHECKPOINT_CHUNK:
    case UPD_CHECKPOINT_END:
    case UPD_CHECKPOINT_ABANDON:
    case UPD_SAVE_WHOLE:
    case UPD_START_OVER:
    case UPD_PEER_SEND:
    case UPD_PEER_DROP:
        ck_assert_msg(h->other != NULL, "an ensemble of one has no use for update %d", u->type);
        h->other(h, u);
        break;
    case UPD_SEND:
        ck_assert_msg(!c->closed, "sent to a connection that was closed");
        buf_put(&c->in, u->bytes.p, (size_t)u->bytes.len);
        break;
    case UPD_CLOSE:
        ck_assert_msg(!c->closed, "closed twice");
        c->closed = true;
        copy_text(c->why, sizeof c->why, u->bytes);
        break;
    case UPD_PAUSE:
    case UPD_RESUME:
        ck_assert_msg(!c->closed, "paused after it was closed");
        ck_assert(c->paused == (u->type == UPD_RESUME));
        c->paused = u->type == UPD_PAUSE;
        break;
    case UPD_DEADLINE:
        h->deadline_ms = u->mono_ms;
        break;
    case UPD_NOTE:
        copy_text(h->last_note, sizeof h->last_note, u->bytes);
        break;
    case UPD_REBUILD_BEGIN:
    case UPD_REBUILD_COPY:
    case UPD_REBUILD_END:
        ck_abort_msg("no core rebuilds a history");
    case UPD_STOP:
        h->stopped = true;
        copy_text(h->stop_why, sizeof h->stop_why, u->bytes);
        break;
    }
}

static void one_step(struct harness *h, struct event ev) {
    ev.mono_ms = h->mono_ms;
    ev.wall_ms = h->wall_ms;
    struct updates ups = replica_step(h->r, &ev);
    h->updates = ups.count;
    for (size_t i = 0; i < ups.count; i++)
        carry_out(h, &ups.list[i]);
}

static void answer_epoch(struct harness *h) {
    while (h->epoch_asked && !h->stopped) {
        h->epoch_asked = false;
        one_step(h, (struct event){.type = EV_EPOCH_SAVED, .epoch = h->epoch});
    }
}

void h_sync(struct harness *h) {
    while (h->synced < h->log_count && !h->stopped) {
        h->synced = h->log_count;
        one_step(h, (struct event){.type = EV_LOG_SYNCED, .zxid = h->log[h->log_count - 1].zxid});
        if (!h->settle)
            answer_epoch(h);
    }
}

void h_step(struct harness *h, struct event ev) {
    one_step(h, ev);
    if (h->settle) {
        h->settle(h);
        return;
    }
    answer_epoch(h);
    if (!h->hold_log)
        h_sync(h);
}

void h_event(struct harness *h, struct event ev) { one_step(h, ev); }

void h_start(struct harness *h) {
    uint8_t random[RANDOM_BYTES];
    memset(random, h->random_byte++, sizeof random);
    h_step(h, (struct event){.type = EV_START, .random = random});
}

struct harness *h_started(void) {
    struct harness *h = h_new(NULL);
    h_start(h);
    return h;
}

void h_recover(struct harness *h) {
    replica_free(h->r);
    h->r = core_new(&h->config, h->counter_limit);
    for (size_t i = 0; i < H_CONNS_MAX; i++) {
        buf_reset(&h->conns[i].in);
        h->conns[i].closed = h->conns[i].open;
    }
    h->deadline_ms = 0;
    for (size_t i = h->synced; i < h->log_count; i++)
        blob_unref(h->log[i].payload);
    h->log_count = h->synced;
    h->epoch_asked = false;
    if (h->epoch > 0)
        one_step(h, (struct event){.type = EV_EPOCH, .epoch = h->epoch});
    if (h->recover)
        h->recover(h);
    for (size_t i = 0; i < h->log_count && !h->stopped; i++) {
        if (h->log[i].zxid <= h->recover_after)
            continue;
        struct log_record rec = {h->log[i].kind, h->log[i].zxid, h->log[i].committed,
                                 blob_slice(h->log[i].payload)};
        one_step(h, (struct event){.type = EV_LOG_RECORD, .record = &rec});
    }
}

void h_restart(struct harness *h) {
    h_recover(h);
    if (!h->stopped)
        h_start(h);
}

void h_advance(struct harness *h, int64_t ms) {
    int64_t end = h->mono_ms + ms, wall = h->wall_ms - h->mono_ms;
    while (h->deadline_ms > 0 && h->deadline_ms <= end) {
        if (h->deadline_ms > h->mono_ms)
            h->mono_ms = h->deadline_ms;
        h->wall_ms = wall + h->mono_ms;
        h->deadline_ms = 0;
        h_step(h, (struct event){.type = EV_TICK});
    }
    h->mono_ms = end;
    h->wall_ms = wall + end;
}

conn_id_t h_open_from(struct harness *h, const uint8_t *addr, int32_t len) {
    conn_id_t id = ++h->last_conn;
    ck_assert(id < H_CONNS_MAX);
    h->conns[id].open = true;
    h_step(h, (struct event){.type = EV_CLIENT_OPEN,
                             .conn = id,
                             .addr = {addr, len},
                             .port = (uint16_t)(40000 + id)});
    return id;
}

conn_id_t h_open(struct harness *h) {
    /* 16 clients from each address, to stay below the limit. */
    uint8_t addr[4] = {10, 0, (uint8_t)(h->last_conn / 16), 1};
    return h_open_from(h, addr, 4);
}

void h_close(struct harness *h, conn_id_t conn) {
    h->conns[conn].closed = true;
    h_step(h, (struct event){.type = EV_CLIENT_CLOSED, .conn = conn});
}

void h_frame(struct harness *h, conn_id_t conn, const void *p, size_t n) {
    /* Of its own allocation, so that ASan sees a read beyond the frame. */
    uint8_t *copy = mem_dup(n ? p : "", n ? n : 1);
    h_step(h, (struct event){.type = EV_CLIENT_FRAME, .conn = conn, .bytes = {copy, (int32_t)n}});
    mem_free(copy);
}

void h_send_connect(struct harness *h, conn_id_t conn, int32_t timeout_ms, session_id_t session,
                    const uint8_t *passwd, zxid_t seen) {
    static const uint8_t zeros[PASSWD_BYTES];
    struct proto_connect_request req = {.last_zxid_seen = seen,
                                        .timeout_ms = timeout_ms,
                                        .session_id = session,
                                        .passwd = {passwd ? passwd : zeros, PASSWD_BYTES},
                                        .has_read_only = true};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    h_frame(h, conn, b.data, b.len);
    buf_close(&b);
}

bool h_take_connect(struct harness *h, conn_id_t conn) {
    struct h_conn *c = &h->conns[conn];
    ck_assert_msg(c->in.len >= 4 + 36, "no ConnectResponse");
    struct cursor cur;
    cursor_init(&cur, c->in.data, c->in.len);
    uint32_t len = cursor_u32be(&cur);
    ck_assert_uint_eq(len, 37);
    struct proto_connect_response resp;
    cursor_init(&cur, c->in.data + 4, len);
    ck_assert(proto_decode(&cur, PROTO_connect_response, &resp));
    ck_assert(resp.has_read_only);
    ck_assert(!resp.read_only);
    ck_assert_int_eq(resp.passwd.len, PASSWD_BYTES);
    c->session = resp.session_id;
    c->timeout_ms = resp.timeout_ms;
    memcpy(c->passwd, resp.passwd.p, PASSWD_BYTES);
    buf_consume(&c->in, 4 + len);
    return resp.session_id != 0;
}

conn_id_t h_client_timeout(struct harness *h, int32_t timeout_ms) {
    conn_id_t conn = h_open(h);
    h_send_connect(h, conn, timeout_ms, 0, NULL, 0);
    ck_assert(h_take_connect(h, conn));
    return conn;
}

conn_id_t h_client(struct harness *h) { return h_client_timeout(h, 40000); }

void h_send_bytes(struct harness *h, conn_id_t conn, int32_t xid, int32_t opcode, const void *body,
                  size_t n) {
    struct buf b = BUF_INIT;
    jute_write_int(&b, xid);
    jute_write_int(&b, opcode);
    buf_put(&b, body, n);
    h_frame(h, conn, b.data, b.len);
    buf_close(&b);
}

void h_send(struct harness *h, conn_id_t conn, int32_t xid, int32_t opcode,
            enum proto_record record, const void *rec) {
    struct buf b = BUF_INIT;
    if (rec)
        proto_encode(&b, record, rec);
    h_send_bytes(h, conn, xid, opcode, b.data, b.len);
    buf_close(&b);
}

void h_send_path(struct harness *h, conn_id_t conn, int32_t xid, int32_t opcode, const char *path,
                 bool watch) {
    struct proto_path_watch_request req = {.path = h_slice(path), .watch = watch};
    h_send(h, conn, xid, opcode, PROTO_path_watch_request, &req);
}

static void send_create(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                        const char *data, int32_t flags, const char *acl_text) {
    const char *why = NULL;
    struct blob *acl = acl_parse(h_slice(acl_text), &why);
    ck_assert_msg(acl != NULL, "%s", why);
    struct proto_create_request req = {
        .path = h_slice(path), .data = h_slice(data), .acl = acl_view(acl), .flags = flags};
    h_send(h, conn, xid, OP_CREATE, PROTO_create_request, &req);
    blob_unref(acl);
}

void h_send_create(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                   const char *data, int32_t flags) {
    send_create(h, conn, xid, path, data, flags, "world:anyone:cdrwa");
}

void h_send_create_acl(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                       const char *acl) {
    send_create(h, conn, xid, path, "", 0, acl);
}

void h_send_delete(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                   int32_t version) {
    struct proto_delete_request req = {.path = h_slice(path), .version = version};
    h_send(h, conn, xid, OP_DELETE, PROTO_delete_request, &req);
}

void h_send_set(struct harness *h, conn_id_t conn, int32_t xid, const char *path, const char *data,
                int32_t version) {
    struct proto_set_data_request req = {
        .path = h_slice(path), .data = h_slice(data), .version = version};
    h_send(h, conn, xid, OP_SET_DATA, PROTO_set_data_request, &req);
}

void h_send_set_acl(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                    const char *acl_text, int32_t version) {
    const char *why = NULL;
    struct blob *acl = acl_parse(h_slice(acl_text), &why);
    ck_assert_msg(acl != NULL, "%s", why);
    struct proto_set_acl_request req = {
        .path = h_slice(path), .acl = acl_view(acl), .version = version};
    h_send(h, conn, xid, OP_SET_ACL, PROTO_set_acl_request, &req);
    blob_unref(acl);
}

void h_send_auth(struct harness *h, conn_id_t conn, const char *scheme, const char *auth) {
    struct proto_auth_packet req = {.scheme = h_slice(scheme), .auth = h_slice(auth)};
    h_send(h, conn, XID_AUTH, OP_AUTH, PROTO_auth_packet, &req);
}

void h_word(struct harness *h, conn_id_t conn, const char *word) {
    static const struct process_info info = {11, 22, 33, 44, 24, 17000, 12900};
    h_step(h, (struct event){
                  .type = EV_CLIENT_WORD, .conn = conn, .bytes = h_slice(word), .process = &info});
}

bool h_take(struct harness *h, conn_id_t conn, struct h_reply *ret_reply) {
    struct buf *in = &h->conns[conn].in;
    if (in->len == 0)
        return false;
    struct cursor cur;
    cursor_init(&cur, in->data, in->len);
    uint32_t len = cursor_u32be(&cur);
    ck_assert(len >= 16);
    ck_assert(len <= sizeof ret_reply->bytes);
    ck_assert(in->len >= 4 + (size_t)len);
    memcpy(ret_reply->bytes, in->data + 4, len);
    ret_reply->len = len;
    buf_consume(in, 4 + len);
    cursor_init(&ret_reply->body, ret_reply->bytes, len);
    ret_reply->xid = jute_read_int(&ret_reply->body);
    ret_reply->zxid = jute_read_long(&ret_reply->body);
    ret_reply->err = jute_read_int(&ret_reply->body);
    return true;
}

int h_err(struct harness *h, conn_id_t conn, int32_t xid) {
    static struct h_reply reply;
    ck_assert_msg(h_take(h, conn, &reply), "no answer to %d", xid);
    ck_assert_int_eq(reply.xid, xid);
    if (reply.err != ZK_OK)
        ck_assert_msg(cursor_left(&reply.body) == 0, "an error has no record");
    return reply.err;
}

struct slice h_string(struct h_reply *reply) {
    struct slice s = jute_read_slice(&reply->body);
    ck_assert(!reply->body.bad);
    return s;
}

struct zstat h_stat(struct h_reply *reply) {
    struct zstat s;
    jute_read_stat(&reply->body, &s);
    ck_assert(!reply->body.bad);
    return s;
}

void h_expect_event(struct harness *h, conn_id_t conn, enum zk_event type, const char *path) {
    static struct h_reply reply;
    ck_assert_msg(h_take(h, conn, &reply), "no event %d %s", type, path);
    ck_assert_int_eq(reply.xid, XID_NOTIFICATION);
    ck_assert_int_eq(reply.zxid, -1);
    ck_assert_int_eq(reply.err, 0);
    struct proto_watcher_event e;
    ck_assert(proto_decode(&reply.body, PROTO_watcher_event, &e));
    ck_assert_int_eq(e.type, type);
    ck_assert_int_eq(e.state, STATE_SYNC_CONNECTED);
    ck_assert(slice_equal_str(e.path, path));
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
}

void h_expect_nothing(struct harness *h, conn_id_t conn) {
    ck_assert_uint_eq(h->conns[conn].in.len, 0);
}

const char *h_text(struct harness *h, conn_id_t conn) {
    buf_put_u8(&h->conns[conn].in, 0);
    return (const char *)h->conns[conn].in.data;
}

int h_create_mode(struct harness *h, conn_id_t conn, const char *path, int32_t flags) {
    h_send_create(h, conn, 9001, path, "d", flags);
    return h_err(h, conn, 9001);
}

int h_create(struct harness *h, conn_id_t conn, const char *path) {
    return h_create_mode(h, conn, path, CREATE_PERSISTENT);
}

int h_delete(struct harness *h, conn_id_t conn, const char *path, int32_t version) {
    h_send_delete(h, conn, 9002, path, version);
    return h_err(h, conn, 9002);
}

int h_set(struct harness *h, conn_id_t conn, const char *path, const char *data, int32_t version) {
    h_send_set(h, conn, 9003, path, data, version);
    return h_err(h, conn, 9003);
}

int h_exists(struct harness *h, conn_id_t conn, const char *path, struct zstat *ret_stat) {
    static struct h_reply reply;
    h_send_path(h, conn, 9004, OP_EXISTS, path, false);
    ck_assert(h_take(h, conn, &reply));
    ck_assert_int_eq(reply.xid, 9004);
    if (reply.err == ZK_OK && ret_stat)
        *ret_stat = h_stat(&reply);
    return reply.err;
}

int h_get(struct harness *h, conn_id_t conn, const char *path, char *out, int32_t *ret_len) {
    static struct h_reply reply;
    h_send_path(h, conn, 9005, OP_GET_DATA, path, false);
    ck_assert(h_take(h, conn, &reply));
    ck_assert_int_eq(reply.xid, 9005);
    if (reply.err != ZK_OK)
        return reply.err;
    struct slice data = h_string(&reply);
    *ret_len = data.len;
    if (data.len > 0)
        memcpy(out, data.p, (size_t)data.len);
    out[data.len > 0 ? data.len : 0] = '\0';
    return ZK_OK;
}

void h_multi_op(struct buf *b, int32_t type, enum proto_record record, const void *rec) {
    struct proto_multi_header mh = {.type = type, .done = false, .err = -1};
    proto_encode(b, PROTO_multi_header, &mh);
    proto_encode(b, record, rec);
}

void h_multi_create(struct buf *b, const char *path, int32_t flags) {
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request req = {
        .path = h_slice(path), .data = h_slice("m"), .acl = acl_view(acl), .flags = flags};
    h_multi_op(b, OP_CREATE, PROTO_create_request, &req);
    blob_unref(acl);
}

void h_multi_delete(struct buf *b, const char *path, int32_t version) {
    struct proto_delete_request req = {.path = h_slice(path), .version = version};
    h_multi_op(b, OP_DELETE, PROTO_delete_request, &req);
}

void h_multi_set(struct buf *b, const char *path, const char *data, int32_t version) {
    struct proto_set_data_request req = {
        .path = h_slice(path), .data = h_slice(data), .version = version};
    h_multi_op(b, OP_SET_DATA, PROTO_set_data_request, &req);
}

void h_multi_check(struct buf *b, const char *path, int32_t version) {
    struct proto_check_version_request req = {.path = h_slice(path), .version = version};
    h_multi_op(b, OP_CHECK, PROTO_check_version_request, &req);
}

void h_multi_end(struct buf *b) {
    struct proto_multi_header mh = {.type = -1, .done = true, .err = -1};
    proto_encode(b, PROTO_multi_header, &mh);
}
