#include "tests/fuzz/replica_world.h"

#include "common/acl.h"
#include "common/blob.h"
#include "common/check.h"
#include "common/mem.h"
#include "common/zkerr.h"

#include <string.h>

static void step(struct world *w, struct event ev);

static struct world_client *client_of(struct world *w, conn_id_t conn) {
    for (int i = 0; i < WORLD_CLIENTS; i++)
        if (w->clients[i].conn == conn && conn != 0)
            return &w->clients[i];
    return NULL;
}

static void forget_connection(struct world_client *c) {
    c->conn = 0;
    c->is_word = c->said_hello = c->greeted = c->paused = c->lawless = false;
    c->asked_count = 0;
    c->auths = 0;
    c->last_zxid = 0;
}

static void remember_path(struct world *w, struct slice path) {
    if (w->path_count == WORLD_PATHS)
        return;
    struct blob *b = blob_from_slice(path);
    CHECK(b);
    for (size_t i = 0; i < w->path_count; i++) {
        if (blob_equal(w->paths[i], b)) {
            blob_unref(b);
            return;
        }
    }
    w->paths[w->path_count++] = b;
}

static void on_greeting(struct world_client *c, struct cursor *frame) {
    struct proto_connect_response r;
    CHECK(proto_decode(frame, PROTO_connect_response, &r));
    CHECK(cursor_left(frame) == 0);
    CHECK(r.passwd.len == PASSWD_BYTES);
    CHECK((r.session_id == 0) == (r.timeout_ms == 0));
    c->greeted = true;
    if (r.session_id == 0)
        return;
    c->session_id = r.session_id;
    memcpy(c->passwd, r.passwd.p, PASSWD_BYTES);
}

/* The results of a multi: headers with records, or only errors. */
static void on_multi_body(struct cursor *body) {
    for (;;) {
        struct proto_multi_header h;
        CHECK(proto_decode(body, PROTO_multi_header, &h));
        if (h.done)
            return;
        const struct opcode_info *info = opcode_find(h.type);
        CHECK(info);
        union {
            struct proto_path_response path;
            struct proto_create2_response create2;
            struct proto_stat_response stat;
            struct proto_get_data_response data;
            struct proto_get_children_response children;
            struct proto_error_response error;
        } r;
        CHECK(info->response == PROTO_empty || proto_decode(body, info->response, &r));
    }
}

static void on_body(struct world *w, int32_t opcode, struct cursor *body) {
    const struct opcode_info *info = opcode_find(opcode);
    CHECK(info);
    if (opcode == OP_MULTI || opcode == OP_MULTI_READ) {
        on_multi_body(body);
    } else if (opcode == OP_CREATE) {
        struct proto_path_response r;
        CHECK(proto_decode(body, PROTO_path_response, &r));
        remember_path(w, r.path);
    } else {
        union {
            struct proto_create2_response a;
            struct proto_get_data_response b;
            struct proto_get_children2_response c;
            struct proto_get_acl_response d;
            struct proto_who_am_i_response e;
            struct proto_get_ephemerals_response f;
        } r;
        CHECK(proto_decode(body, info->response, &r));
        if (info->response == PROTO_create2_response)
            remember_path(w, r.a.path);
    }
    CHECK(cursor_left(body) == 0);
}

static void on_event_frame(struct cursor *frame) {
    struct proto_watcher_event e;
    CHECK(proto_decode(frame, PROTO_watcher_event, &e));
    CHECK(cursor_left(frame) == 0);
}

static void keep_reply(struct world_client *c, int32_t err, const struct cursor *body) {
    blob_unref(c->last_reply);
    c->last_err = err;
    c->last_reply = blob_new(body->p, cursor_left(body));
}

static void on_reply(struct world *w, struct world_client *c, struct cursor *frame) {
    struct proto_reply_header h;
    CHECK(proto_decode(frame, PROTO_reply_header, &h));
    CHECK(h.err == 0 || cursor_left(frame) == 0);
    if (c->lawless)
        return;
    if (h.xid == XID_NOTIFICATION) {
        on_event_frame(frame);
        return;
    }
    if (h.xid == XID_AUTH) {
        CHECK(c->auths > 0);
        c->auths--;
        return;
    }
    CHECK(c->asked_count > 0);
    struct asked asked = c->asked[0];
    c->asked_count--;
    memmove(c->asked, c->asked + 1, c->asked_count * sizeof *c->asked);
    CHECK(h.xid == asked.xid);
    /* What is not implemented has the zxid -1, as ZooKeeper answers it. */
    if (h.xid >= 0 && !(h.err == ZK_UNIMPLEMENTED && h.zxid == -1)) {
        CHECK(h.zxid >= c->last_zxid);
        c->last_zxid = h.zxid;
    }
    keep_reply(c, h.err, frame);
    if (h.err == 0)
        on_body(w, asked.opcode, frame);
}

static void on_send(struct world *w, const struct update *u) {
    struct world_client *c = client_of(w, u->conn);
    CHECK(c);
    CHECK(u->bytes.len > 0);
    if (c->is_word)
        return;
    struct cursor stream;
    cursor_init(&stream, u->bytes.p, (size_t)u->bytes.len);
    while (cursor_left(&stream) > 0) {
        uint32_t len = cursor_u32be(&stream);
        const uint8_t *p = cursor_bytes(&stream, len);
        CHECK(p);
        struct cursor frame;
        cursor_init(&frame, p, len);
        if (c->greeted)
            on_reply(w, c, &frame);
        else
            on_greeting(c, &frame);
    }
}

/* The servers understand each other: what is sent can be read. */
static void on_peer_send(struct world *w, const struct update *u) {
    struct peer_message m;
    CHECK(u->peer >= 2);
    CHECK(u->peer <= WORLD_PEERS);
    struct world_peer *p = &w->peers[u->peer];
    CHECK(p->up);
    CHECK(peer_decode(u->bytes, &m));
    if (p->inbox_count == WORLD_INBOX) {
        peer_message_close(&p->inbox[0]);
        p->inbox_count--;
        memmove(p->inbox, p->inbox + 1, p->inbox_count * sizeof *p->inbox);
    }
    p->inbox[p->inbox_count++] = m;
}

static void link_down(struct world_peer *p) {
    for (size_t i = 0; i < p->inbox_count; i++)
        peer_message_close(&p->inbox[i]);
    p->inbox_count = 0;
    p->up = false;
}

static void on_update(struct world *w, const struct update *u) {
    struct world_client *c = client_of(w, u->conn);
    if (disk_update(&w->disk, u))
        return;
    switch (u->type) {
    case UPD_PEER_SEND:
        on_peer_send(w, u);
        break;
    case UPD_PEER_DROP:
        CHECK(u->peer <= WORLD_PEERS);
        CHECK(w->peers[u->peer].up);
        link_down(&w->peers[u->peer]);
        break;
    case UPD_SEND:
        on_send(w, u);
        break;
    case UPD_CLOSE:
        CHECK(c);
        CHECK(u->bytes.len >= 0);
        forget_connection(c);
        break;
    case UPD_PAUSE:
    case UPD_RESUME:
        CHECK(c);
        c->paused = u->type == UPD_PAUSE;
        break;
    case UPD_DEADLINE:
    case UPD_NOTE:
        break;
    case UPD_STOP:
    case UPD_START_OVER:
        /* A leader may send what fits no history, and say that this server's is wrong. */
        CHECK(w->ensemble);
        w->stopped = true;
        break;
    default:
        CHECK(u->type == UPD_NOTE);
    }
}

static void step(struct world *w, struct event ev) {
    if (w->stopped)
        return;
    ev.mono_ms = w->now_ms;
    ev.wall_ms = 1000000 + w->now_ms;
    struct updates updates = replica_step(w->replica, &ev);
    for (size_t i = 0; i < updates.count; i++)
        on_update(w, &updates.list[i]);
    if (!w->hold_log)
        world_sync_log(w);
}

void world_sync_log(struct world *w) {
    struct event answer;
    if (w->syncing)
        return; /* the loop below goes on with what this step asked for */
    w->syncing = true;
    while (!w->stopped && disk_next(&w->disk, &answer))
        step(w, answer);
    w->syncing = false;
}

static void read_event(void *ctx, const struct event *ev) { step(ctx, *ev); }

static struct world *make(const struct world *disk, bool ensemble) {
    static const uint8_t random[RANDOM_BYTES] = {1, 2, 3, 4, 5};
    static const struct quorum_server servers[] = {
        {1, true, 0, 1}, {2, true, 0, 1}, {3, true, 0, 1}, {4, false, 0, 1}};
    struct replica_config config = {.tick_ms = 2000,
                                    .min_session_timeout_ms = 4000,
                                    .max_session_timeout_ms = 40000,
                                    .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
                                    .max_conns_per_ip = 3,
                                    .max_outstanding = 8,
                                    .extended_types = true,
                                    .container_check_ms = 1000,
                                    .containers_per_minute = 600,
                                    .container_never_used_ms = 5000,
                                    .leader_serves = true,
                                    .read_only_mode = true,
                                    .word_whitelist = "*",
                                    .version = "fuzz",
                                    .data_dir = "/d",
                                    .data_log_dir = "/d",
                                    .client_port = 2181};
    if (ensemble) {
        config.server_id = 1;
        config.ensemble = (struct quorum_config){servers, 4};
    }
    struct world *w = mem_zalloc(sizeof *w);
    w->ensemble = ensemble;
    w->replica = replica_new(&config);
    w->now_ms = disk ? disk->now_ms : 1000;
    if (disk) {
        disk_copy(&w->disk, &disk->disk);
        disk_read(&w->disk, read_event, w);
    }
    step(w, (struct event){.type = EV_START, .random = random});
    return w;
}

struct world *world_new(const struct world *disk) {
    return make(disk, false);
}

struct world *world_new_member(const struct world *disk) {
    return make(disk, true);
}

void world_free(struct world *w) {
    replica_free(w->replica);
    for (int i = 0; i < WORLD_CLIENTS; i++)
        blob_unref(w->clients[i].last_reply);
    for (size_t i = 0; i < w->path_count; i++)
        blob_unref(w->paths[i]);
    for (size_t i = 0; i <= WORLD_PEERS; i++)
        link_down(&w->peers[i]);
    disk_close(&w->disk);
    mem_free(w);
}

/* With room for what is still to come of what was asked: expiries, the end of the script. */
bool world_log_full(const struct world *w) {
    return w->disk.count > DISK_RECORDS - 64 || w->disk.job_count > DISK_JOBS / 2;
}

void world_open(struct world *w, int client, uint8_t addr) {
    struct world_client *c = &w->clients[client];
    uint8_t bytes[4] = {127, 0, 0, addr};
    if (c->conn != 0)
        return;
    forget_connection(c);
    c->conn = ++w->next_conn;
    step(w,
         (struct event){.type = EV_CLIENT_OPEN, .conn = c->conn, .addr = {bytes, 4}, .port = 1234});
}

void world_hang_up(struct world *w, int client) {
    struct world_client *c = &w->clients[client];
    conn_id_t conn = c->conn;
    if (conn == 0)
        return;
    forget_connection(c);
    step(w, (struct event){.type = EV_CLIENT_CLOSED, .conn = conn});
}

static bool may_send(const struct world_client *c) {
    return c->conn != 0 && !c->is_word && !c->paused && c->asked_count < WORLD_ASKED;
}

static void send_frame(struct world *w, struct world_client *c, struct slice frame) {
    c->said_hello = true;
    step(w, (struct event){.type = EV_CLIENT_FRAME, .conn = c->conn, .bytes = frame});
}

void world_connect(struct world *w, int client, int32_t timeout_ms, bool again, bool wrong_passwd) {
    struct world_client *c = &w->clients[client];
    uint8_t passwd[PASSWD_BYTES];
    memcpy(passwd, c->passwd, sizeof passwd);
    passwd[3] ^= wrong_passwd;
    struct proto_connect_request r = {.timeout_ms = timeout_ms,
                                      .session_id = again ? c->session_id : 0,
                                      .passwd = {passwd, PASSWD_BYTES},
                                      .has_read_only = timeout_ms & 1};
    if (!may_send(c) || c->said_hello)
        return;
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &r);
    send_frame(w, c, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

/* Notes what a frame asks for. The special xids are answered as such, whatever the request was. */
static void note_asked(struct world_client *c, int32_t xid, int32_t opcode) {
    bool usual = xid >= 0 || (xid == XID_PING && opcode == OP_PING) ||
                 (xid == XID_SET_WATCHES && opcode == OP_SET_WATCHES);
    if (opcode == OP_AUTH && xid == XID_AUTH)
        c->auths++; /* answered at once, before what is queued */
    else if (opcode == OP_AUTH || !usual)
        c->lawless = true;
    else
        /* Whatever its xid was, a ping is answered as one. */
        c->asked[c->asked_count++] = (struct asked){opcode == OP_PING ? XID_PING : xid, opcode};
}

void world_frame(struct world *w, int client, struct slice frame) {
    struct world_client *c = &w->clients[client];
    struct proto_request_header h;
    struct cursor cur;
    if (!may_send(c))
        return;
    cursor_init(&cur, frame.p, (size_t)frame.len);
    if (c->said_hello && proto_decode(&cur, PROTO_request_header, &h)) {
        /* Clients wait for their greeting before an addauth, for it is answered at once. */
        if (h.type == OP_AUTH && !c->greeted)
            return;
        note_asked(c, h.xid, h.type);
    }
    send_frame(w, c, frame);
}

void world_request(struct world *w, int client, int32_t opcode, struct slice record) {
    struct world_client *c = &w->clients[client];
    struct proto_request_header h = {.xid = ++c->next_xid, .type = opcode};
    if (opcode == OP_PING)
        h.xid = XID_PING;
    if (opcode == OP_AUTH)
        h.xid = XID_AUTH;
    if (opcode == OP_SET_WATCHES)
        h.xid = XID_SET_WATCHES;
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_request_header, &h);
    if (record.len > 0)
        buf_put(&b, record.p, (size_t)record.len);
    world_frame(w, client, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

void world_word(struct world *w, int client, struct slice word) {
    static const struct process_info process = {5, 1024, 4096, 4096};
    struct world_client *c = &w->clients[client];
    if (!may_send(c) || c->said_hello)
        return;
    c->is_word = true;
    step(w, (struct event){
                .type = EV_CLIENT_WORD, .conn = c->conn, .bytes = word, .process = &process});
}

void world_tick(struct world *w, int64_t ms) {
    w->now_ms += ms;
    step(w, (struct event){.type = EV_TICK});
}

void world_peer_up(struct world *w, uint8_t peer) {
    if (w->peers[peer].up)
        return;
    w->peers[peer].up = true;
    step(w, (struct event){.type = EV_PEER_UP, .peer = peer});
}

void world_peer_down(struct world *w, uint8_t peer) {
    if (!w->peers[peer].up)
        return;
    link_down(&w->peers[peer]);
    step(w, (struct event){.type = EV_PEER_DOWN, .peer = peer});
}

void world_peer_bytes(struct world *w, uint8_t peer, struct slice bytes) {
    if (w->peers[peer].up)
        step(w, (struct event){.type = EV_PEER_MESSAGE, .peer = peer, .bytes = bytes});
}

void world_peer_zab(struct world *w, uint8_t peer, const struct zab_msg *m) {
    struct buf b = BUF_INIT;
    peer_zab_encode(&b, m);
    world_peer_bytes(w, peer, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

bool world_peer_take(struct world *w, uint8_t peer, struct peer_message *ret_message) {
    struct world_peer *p = &w->peers[peer];
    if (p->inbox_count == 0)
        return false;
    *ret_message = p->inbox[0];
    p->inbox_count--;
    memmove(p->inbox, p->inbox + 1, p->inbox_count * sizeof *p->inbox);
    return true;
}
