#include "tests/unit/client/driver.h"

#include "common/mem.h"
#include "tests/lib/unit.h"

#include <string.h>

static void forget_updates(struct driver *d) {
    for (size_t i = 0; i < d->count; i++)
        mem_free((void *)(uintptr_t)d->updates[i].bytes.p);
    d->count = 0;
    d->sends = 0;
}

void driver_init(struct driver *d, int servers, int timeout_ms) {
    struct client_config config = {
        .server_count = servers, .timeout_ms = timeout_ms, .max_frame_bytes = 4096};
    driver_init_config(d, &config);
}

void driver_init_config(struct driver *d, const struct client_config *config) {
    *d = (struct driver){.now = 1000000, .deadline = INT64_MAX};
    d->c = client_new(config);
}

void driver_close(struct driver *d) {
    forget_updates(d);
    client_free(d->c);
    buf_close(&d->sent);
}

void driver_step(struct driver *d, const struct client_event *event) {
    struct client_event ev = *event;
    ev.mono_ms = d->now;
    if (ev.type == CE_TICK)
        d->deadline = INT64_MAX;
    forget_updates(d);
    struct client_updates ups = client_step(d->c, &ev);
    ck_assert_uint_le(ups.count, DRIVER_UPDATES);
    for (size_t i = 0; i < ups.count; i++) {
        struct client_update *u = &d->updates[d->count++];
        *u = ups.list[i];
        if (u->bytes.len >= 0)
            u->bytes.p = mem_dup(u->bytes.len ? u->bytes.p : (const void *)"",
                                 (size_t)u->bytes.len + (u->bytes.len == 0));
        else
            u->bytes.p = NULL;
        if (u->type == CU_SEND) {
            buf_put(&d->sent, u->bytes.p, (size_t)u->bytes.len);
            d->sends++;
        } else if (u->type == CU_DEADLINE) {
            d->deadline = u->mono_ms;
        } else if (u->type == CU_CONNECT || u->type == CU_DISCONNECT) {
            buf_reset(&d->sent);
        }
    }
}

void driver_event(struct driver *d, enum client_event_type type) {
    struct client_event ev = {.type = type};
    driver_step(d, &ev);
}

void driver_sleep(struct driver *d) {
    ck_assert_int_ne(d->deadline, INT64_MAX);
    if (d->deadline > d->now)
        d->now = d->deadline;
    driver_event(d, CE_TICK);
}

void driver_tick(struct driver *d, int64_t ms) {
    d->now += ms;
    driver_event(d, CE_TICK);
}

void driver_bytes(struct driver *d, const void *p, size_t n) {
    struct client_event ev = {.type = CE_BYTES, .bytes = {.p = p, .len = (int32_t)n}};
    driver_step(d, &ev);
}

static void frame_end(struct buf *b, size_t at) {
    buf_patch_u32be(b, at, (uint32_t)(b->len - at - 4));
}

void driver_connect_response(struct driver *d, session_id_t session, int timeout_ms) {
    uint8_t passwd[PASSWD_BYTES];
    memset(passwd, session ? 'p' : 0, sizeof(passwd));
    struct proto_connect_response res = {.protocol_version = d->grant,
                                         .timeout_ms = timeout_ms,
                                         .session_id = session,
                                         .passwd = {.p = passwd, .len = PASSWD_BYTES},
                                         .read_only = d->read_only,
                                         .has_read_only = true};
    struct buf b = BUF_INIT;
    buf_put_u32be(&b, 0);
    proto_encode(&b, PROTO_connect_response, &res);
    frame_end(&b, 0);
    driver_bytes(d, b.data, b.len);
    buf_close(&b);
}

void driver_establish(struct driver *d) {
    driver_event(d, CE_TICK);
    driver_event(d, CE_CONNECTED);
    driver_connect_response(d, 0x1234, 9000);
    driver_drop_sent(d);
}

void put_reply(struct buf *b, int32_t xid, zxid_t zxid, int32_t err, struct slice record) {
    size_t at = b->len;
    buf_put_u32be(b, 0);
    struct proto_reply_header h = {.xid = xid, .zxid = zxid, .err = err};
    proto_encode(b, PROTO_reply_header, &h);
    if (record.len > 0)
        buf_put(b, record.p, (size_t)record.len);
    frame_end(b, at);
}

void driver_reply(struct driver *d, int32_t xid, zxid_t zxid, int32_t err, struct slice record) {
    struct buf b = BUF_INIT;
    put_reply(&b, xid, zxid, err, record);
    driver_bytes(d, b.data, b.len);
    buf_close(&b);
}

void driver_watch(struct driver *d, int32_t type, zxid_t zxid, const char *path) {
    struct proto_watcher_event e = {.type = type, .state = 3, .path = slice_from_str(path)};
    struct buf record = BUF_INIT;
    proto_encode(&record, PROTO_watcher_event, &e);
    driver_reply(d, XID_NOTIFICATION, zxid, 0,
                 (struct slice){.p = record.data, .len = (int32_t)record.len});
    buf_close(&record);
}

static void request(struct driver *d, uint64_t token, int32_t opcode, enum proto_record record,
                    const void *src, int64_t deadline_ms) {
    struct buf b = BUF_INIT;
    proto_encode(&b, record, src);
    struct client_event ev = {.type = CE_REQUEST,
                              .bytes = {.p = b.data, .len = (int32_t)b.len},
                              .token = token,
                              .opcode = opcode,
                              .deadline_ms = deadline_ms};
    driver_step(d, &ev);
    buf_close(&b);
}

void driver_request(struct driver *d, uint64_t token, int32_t opcode, const char *path, bool watch,
                    int64_t deadline_ms) {
    struct proto_path_watch_request req = {.path = slice_from_str(path), .watch = watch};
    request(d, token, opcode, PROTO_path_watch_request, &req, deadline_ms);
}

void driver_staying(struct driver *d, uint64_t token, int32_t opcode, const char *path,
                    int32_t mode) {
    struct proto_add_watch_request req = {.path = slice_from_str(path), .mode = mode};
    request(d, token, opcode, PROTO_add_watch_request, &req, 0);
}

void driver_write(struct driver *d, uint64_t token, const char *path, int64_t deadline_ms) {
    struct proto_set_data_request req = {
        .path = slice_from_str(path), .data = slice_from_str("v"), .version = -1};
    request(d, token, OP_SET_DATA, PROTO_set_data_request, &req, deadline_ms);
}

const struct client_update *driver_find(const struct driver *d, enum client_update_type type) {
    for (size_t i = 0; i < d->count; i++) {
        if (d->updates[i].type == type)
            return &d->updates[i];
    }
    return NULL;
}

size_t driver_count(const struct driver *d, enum client_update_type type) {
    size_t n = 0;
    for (size_t i = 0; i < d->count; i++)
        n += d->updates[i].type == type;
    return n;
}

const struct client_update *driver_reply_to(const struct driver *d, uint64_t token) {
    for (size_t i = 0; i < d->count; i++) {
        if (d->updates[i].type == CU_REPLY && d->updates[i].token == token)
            return &d->updates[i];
    }
    return NULL;
}

void driver_drop_sent(struct driver *d) { buf_reset(&d->sent); }

/* The frames stay in memory until the next step: they are only skipped. */
bool driver_take(struct driver *d, bool has_header, struct driver_frame *ret) {
    static uint8_t kept[1 << 20];
    struct cursor in;
    cursor_init(&in, d->sent.data, d->sent.len);
    if (cursor_left(&in) < 4)
        return false;
    uint32_t len = cursor_u32be(&in);
    ck_assert_uint_le(len, sizeof(kept));
    const uint8_t *p = cursor_bytes(&in, len);
    ck_assert_ptr_nonnull(p);
    memcpy(kept, p, len);
    buf_consume(&d->sent, 4 + (size_t)len);
    cursor_init(&in, kept, len);
    *ret = (struct driver_frame){0};
    if (has_header) {
        ret->xid = jute_read_int(&in);
        ret->opcode = jute_read_int(&in);
    }
    ret->body = (struct slice){.p = in.p, .len = (int32_t)cursor_left(&in)};
    return true;
}
