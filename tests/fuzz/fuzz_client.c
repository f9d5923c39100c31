/* The client session against a server that says anything: the input is a script of what the server,
 * the network, the clock and the callers do. Whatever comes, every request is answered exactly
 * once, what is sent is well formed, and closing ends. */
#include "common/check.h"
#include "common/client.h"
#include "common/jute.h"
#include "tests/fuzz/fuzz.h"

#define TOKENS 64
#define XIDS 256

enum token_state { TOKEN_NEW, TOKEN_WAITING, TOKEN_CANCELLED, TOKEN_ANSWERED };

struct world {
    struct client *client;
    int64_t now_ms;
    int64_t deadline_ms;
    bool asked; /* CU_CONNECT came, and the socket was neither lost nor dropped since */
    bool up;
    bool greeted; /* the connect request was sent on this connection */
    bool closed;
    enum token_state tokens[TOKENS];
    uint64_t next_token;
    int32_t xids[XIDS]; /* of what was sent and not answered by reply() yet */
    size_t xid_count;
};

static volatile uint8_t sink;

static void touch(struct slice s) {
    for (int32_t i = 0; i < s.len; i++)
        sink = s.p[i];
}

static void drop_socket(struct world *w) {
    w->asked = false;
    w->up = false;
    w->greeted = false;
    w->xid_count = 0;
}

/* Each update of sending holds whole frames; the first of a connection is the connect request. */
static void on_send(struct world *w, struct slice bytes) {
    struct cursor c;
    CHECK(w->up);
    cursor_init(&c, bytes.p, (size_t)bytes.len);
    while (cursor_left(&c) > 0) {
        uint32_t len = cursor_u32be(&c);
        const uint8_t *p = cursor_bytes(&c, len);
        CHECK(p);
        struct cursor frame;
        cursor_init(&frame, p, len);
        if (!w->greeted) {
            struct proto_connect_request hello;
            CHECK(proto_decode(&frame, PROTO_connect_request, &hello));
            w->greeted = true;
            continue;
        }
        struct proto_request_header h;
        CHECK(proto_decode(&frame, PROTO_request_header, &h));
        CHECK(opcode_find(h.type));
        if (w->xid_count < XIDS)
            w->xids[w->xid_count++] = h.xid;
    }
}

static void on_reply(struct world *w, const struct client_update *u) {
    CHECK(u->token < w->next_token);
    CHECK(w->tokens[u->token] == TOKEN_WAITING);
    w->tokens[u->token] = TOKEN_ANSWERED;
    touch(u->bytes);
}

static void on_update(struct world *w, const struct client_update *u) {
    switch (u->type) {
    case CU_CONNECT:
        drop_socket(w);
        w->asked = true;
        break;
    case CU_DISCONNECT:
        CHECK(w->asked);
        drop_socket(w);
        break;
    case CU_SEND:
        on_send(w, u->bytes);
        break;
    case CU_REPLY:
        on_reply(w, u);
        break;
    case CU_WATCH:
        touch(u->bytes);
        break;
    case CU_GAP:
        break;
    case CU_STATE:
        CHECK(u->state <= CLIENT_CLOSED);
        break;
    case CU_DEADLINE:
        w->deadline_ms = u->mono_ms;
        break;
    case CU_CLOSED:
        CHECK(!w->closed);
        w->closed = true;
        break;
    }
}

static void step(struct world *w, struct client_event ev) {
    ev.mono_ms = w->now_ms;
    struct client_updates updates = client_step(w->client, &ev);
    for (size_t i = 0; i < updates.count; i++)
        on_update(w, &updates.list[i]);
}

static void bytes_in(struct world *w, const void *p, size_t n) {
    if (w->up)
        step(w, (struct client_event){.type = CE_BYTES, .bytes = {p, (int32_t)n}});
}

/* Sends a frame with this body to the client, in chunks of `cut` bytes. */
static void frame_in(struct world *w, struct slice body, size_t cut) {
    struct buf b = BUF_INIT;
    jute_write_slice(&b, body);
    for (size_t at = 0; at < b.len; at += cut)
        bytes_in(w, b.data + at, b.len - at < cut ? b.len - at : cut);
    buf_close(&b);
}

static void connect_response(struct world *w, struct cursor *c) {
    static const uint8_t passwd[PASSWD_BYTES] = {1, 2, 3};
    uint8_t choice = cursor_u8(c);
    struct proto_connect_response r = {
        .timeout_ms = choice & 1 ? 4000 : choice,
        .session_id = choice & 2 ? 0 : 0x100 + choice,
        .passwd = {passwd, choice & 4 ? PASSWD_BYTES - 1 : PASSWD_BYTES},
        .has_read_only = choice & 8};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_response, &r);
    frame_in(w, (struct slice){b.data, (int32_t)b.len}, b.len + 4);
    buf_close(&b);
}

/* Answers what was sent first, with any error and body; or, with the xid -1, is an event. */
static void reply(struct world *w, struct cursor *c, bool event) {
    uint8_t choice = cursor_u8(c);
    struct slice body = fuzz_piece(c);
    struct proto_reply_header h = {
        .xid = XID_NOTIFICATION, .zxid = choice >> 3, .err = choice & 7 ? 0 : -101 - choice / 8};
    if (!event && w->xid_count > 0) {
        h.xid = w->xids[0];
        for (size_t i = 1; i < w->xid_count; i++)
            w->xids[i - 1] = w->xids[i];
        w->xid_count--;
    }
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_reply_header, &h);
    if (event) {
        struct proto_watcher_event e = {choice & 7, STATE_SYNC_CONNECTED, body};
        proto_encode(&b, PROTO_watcher_event, &e);
    } else {
        buf_put(&b, body.p, (size_t)body.len);
    }
    frame_in(w, (struct slice){b.data, (int32_t)b.len}, 4096);
    buf_close(&b);
}

/* The caller is one of us: its records are well formed, though the path may be any. */
static void request(struct world *w, struct cursor *c) {
    static const int32_t opcodes[] = {OP_EXISTS,   OP_GET_DATA, OP_GET_CHILDREN, OP_GET_CHILDREN2,
                                      OP_SET_DATA, OP_SYNC,     OP_DELETE,       OP_PING};
    uint8_t choice = cursor_u8(c);
    uint8_t wait_ms = cursor_u8(c);
    struct slice path = fuzz_piece(c);
    if (w->next_token == TOKENS)
        return;
    int32_t opcode = opcodes[choice % 8];
    if (opcode == OP_PING && (choice & 32))
        opcode = choice & 64 ? OP_ADD_WATCH : OP_REMOVE_WATCHES;
    struct buf b = BUF_INIT;
    jute_write_slice(&b, path);
    if (opcode == OP_SET_DATA)
        jute_write_slice(&b, SLICE_NULL);
    if (opcode == OP_SET_DATA || opcode == OP_DELETE)
        jute_write_int(&b, -1);
    else if (opcode == OP_ADD_WATCH || opcode == OP_REMOVE_WATCHES)
        jute_write_int(&b, (choice >> 3 & 3) + (choice >> 7));
    else if (opcode != OP_SYNC)
        jute_write_bool(&b, choice & 8);
    uint64_t token = w->next_token++;
    w->tokens[token] = TOKEN_WAITING;
    step(w, (struct client_event){.type = CE_REQUEST,
                                  .token = token,
                                  .opcode = opcode,
                                  .deadline_ms = wait_ms ? w->now_ms + 10 * wait_ms : 0,
                                  .bytes = {b.data, (int32_t)b.len}});
    buf_close(&b);
}

static void cancel(struct world *w, uint8_t which) {
    if (w->next_token == 0)
        return;
    uint64_t token = which % w->next_token;
    if (w->tokens[token] == TOKEN_WAITING)
        w->tokens[token] = TOKEN_CANCELLED;
    step(w, (struct client_event){.type = CE_CANCEL, .token = token});
}

static void socket_event(struct world *w, bool made) {
    if (!w->asked || (made && w->up))
        return;
    if (made)
        w->up = true;
    else
        drop_socket(w);
    step(w, (struct client_event){.type = made ? CE_CONNECTED : CE_LOST});
}

static void one_action(struct world *w, struct cursor *c) {
    switch (cursor_u8(c) % 12) {
    case 0: {
        struct slice raw = fuzz_piece(c);
        bytes_in(w, raw.p, (size_t)raw.len);
        break;
    }
    case 1:
        frame_in(w, fuzz_piece(c), 4096);
        break;
    case 2:
        frame_in(w, fuzz_piece(c), 3);
        break;
    case 3:
        connect_response(w, c);
        break;
    case 4:
        reply(w, c, false);
        break;
    case 5:
        reply(w, c, true);
        break;
    case 6:
        w->now_ms += (int64_t)cursor_u8(c) * cursor_u8(c);
        step(w, (struct client_event){.type = CE_TICK});
        break;
    case 7:
        socket_event(w, true);
        break;
    case 8:
        socket_event(w, false);
        break;
    case 9:
        request(w, c);
        break;
    case 10:
        cancel(w, cursor_u8(c));
        break;
    default:
        client_add_auth(w->client, "digest", fuzz_piece(c));
    }
}

/* After CE_CLOSE the clock alone has to end it, and to answer everybody. */
static void close_and_end(struct world *w) {
    step(w, (struct client_event){.type = CE_CLOSE});
    for (int i = 0; i < 100 && !w->closed; i++) {
        w->now_ms = w->now_ms + 100 > w->deadline_ms ? w->now_ms + 100 : w->deadline_ms;
        step(w, (struct client_event){.type = CE_TICK});
    }
    CHECK(w->closed);
    for (uint64_t token = 0; token < w->next_token; token++)
        CHECK(w->tokens[token] != TOKEN_WAITING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct client_config config = {.server_count = 2, .timeout_ms = 4000, .max_frame_bytes = 65536};
    struct world w = {.client = client_new(&config), .now_ms = 1000};
    struct cursor c;
    cursor_init(&c, data, size);
    step(&w, (struct client_event){.type = CE_TICK});
    for (int i = 0; i < 500 && cursor_left(&c) > 0; i++)
        one_action(&w, &c);
    close_and_end(&w);
    client_free(w.client);
    return 0;
}
