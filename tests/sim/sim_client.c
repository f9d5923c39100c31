#include "tests/sim/sim_client.h"

#include "common/check.h"
#include "common/mem.h"

#include <string.h>

#define DEMANDS 3 /* operations of each client in the second phase */

static void feed(struct sim_client *c, struct client_event ev);

static void new_life(struct sim_client *c) {
    struct world *w = c->w;
    c->lives++;
    struct client_config config = {
        .server_count = (int32_t)w->host_count,
        .first_server = (int32_t)prng_below(&w->work, w->host_count),
        .timeout_ms = w->plan.session_timeout_ms * (int32_t)prng_range(&w->work, 1, 3),
        .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
        .retries = prng_chance(&w->work, 1, 2),
        .read_only_ok = w->plan.read_only && prng_chance(&w->work, 1, 2)};
    c->client = client_new(&config);
    c->watches_for_good = w->plan.staying && config.retries;
    c->wire = 0;
    c->timer_us = c->timer_armed_us = INT64_MAX;
    c->gen++;
    c->last_xid = 0;
    memset(c->by_xid, 0, c->xid_cap * sizeof(*c->by_xid));
    c->closing = c->closed = false;
    check_client_new_life(c);
    feed(c, (struct client_event){.type = CE_TICK});
}

void clients_init(struct world *w) {
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = mem_zalloc(sizeof *c);
        c->w = w;
        c->index = i;
        c->xid_cap = 64;
        c->by_xid = mem_zalloc(c->xid_cap * sizeof(*c->by_xid));
        w->clients[i] = c;
        new_life(c);
        world_push(w, prng_range(&w->work, 0, 300 * MS), SE_CLIENT_OP, i, c->gen);
    }
}

void clients_close(struct world *w) {
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = w->clients[i];
        client_free(c->client);
        for (size_t k = 0; k < c->op_count; k++) {
            buf_close(&c->ops[k]->record);
            mem_free(c->ops[k]->results);
            mem_free(c->ops[k]);
        }
        mem_free(c->ops);
        mem_free(c->by_xid);
        check_client_close(c);
        mem_free(c);
    }
}

/* ---- what is sent ---- */

/* The oldest operation that waits and is this request. */
static struct sim_op *op_of_frame(struct sim_client *c, int32_t opcode, struct slice record) {
    for (size_t i = c->first_open; i < c->op_count; i++) {
        struct sim_op *op = c->ops[i];
        /* A write that was sent before goes out with its number, if at all. */
        bool sent = op->sends > 0 && (opcode_find(opcode)->flags & OPF_WRITE) != 0;
        if (!op->done && op->xid == 0 && !sent && op->opcode == opcode &&
            op->record.len == (size_t)record.len &&
            memcmp(op->record.data, record.p, op->record.len) == 0)
            return op;
    }
    return NULL;
}

/* A write that was lost goes out with its number again. */
static struct sim_op *op_sent_again(struct sim_client *c, int32_t xid, int32_t opcode,
                                    struct slice record) {
    struct sim_op *op = client_op_of_xid(c, xid);
    bool same = op && !op->done && op->xid == 0 && op->sent_xid == xid && op->opcode == opcode &&
                op->record.len == (size_t)record.len &&
                memcmp(op->record.data, record.p, op->record.len) == 0;
    return same ? op : NULL;
}

static void note_xid(struct sim_client *c, struct sim_op *op, int32_t xid) {
    while ((size_t)xid >= c->xid_cap) {
        c->by_xid = mem_realloc(c->by_xid, 2 * c->xid_cap * sizeof(*c->by_xid));
        memset(c->by_xid + c->xid_cap, 0, c->xid_cap * sizeof(*c->by_xid));
        c->xid_cap *= 2;
    }
    c->by_xid[xid] = op;
    op->xid = xid;
    op->sends++;
    op->sent_xid = xid;
    op->sent_session = client_session_id(c->client);
    SAY(c->w, "client %u: operation %llu is sent as %d of session %llx", c->index,
        (unsigned long long)op->token, xid, (unsigned long long)op->sent_session);
}

struct sim_op *client_op_of_cxid(struct sim_client *c, session_id_t session, int32_t cxid) {
    for (size_t i = c->op_count; i > 0; i--) {
        struct sim_op *op = c->ops[i - 1];
        if (op->sent_xid == cxid && op->sent_session == session)
            return op;
    }
    return NULL;
}

struct sim_op *client_op_of_xid(struct sim_client *c, int32_t xid) {
    return xid > 0 && (size_t)xid < c->xid_cap ? c->by_xid[xid] : NULL;
}

/* Remembers which request has which number: the transactions of the history say it again. */
static void note_sent(struct sim_client *c, struct slice frames) {
    struct sim_wire *wire = wire_find(c->w, c->wire);
    struct cursor in;
    cursor_init(&in, frames.p, (size_t)frames.len);
    while (cursor_left(&in) > 0) {
        uint32_t len = cursor_u32be(&in);
        const uint8_t *p = cursor_bytes(&in, len);
        CHECK(p);
        if (!wire->connected)
            continue; /* the ConnectRequest, nothing else comes before its answer */
        struct cursor frame;
        cursor_init(&frame, p, len);
        struct proto_request_header h;
        CHECK(proto_decode(&frame, PROTO_request_header, &h));
        if (h.xid == XID_SET_WATCHES)
            wire->set_watches = true;
        if (h.type == OP_CLOSE_SESSION)
            c->close_xid = h.xid;
        if (h.xid <= 0 || h.type == OP_CLOSE_SESSION)
            continue;
        struct slice record = {frame.p, (int32_t)cursor_left(&frame)};
        struct sim_op *op = op_sent_again(c, h.xid, h.type, record);
        if (!op)
            op = op_of_frame(c, h.type, record);
        if (!op) {
            world_fail(c->w, "client %u sends a request that nobody asked for", c->index);
            return;
        }
        note_xid(c, op, h.xid);
    }
}

/* ---- what the session code wants ---- */

static void lose_wire(struct sim_client *c) {
    wire_client_close(c->w, c->wire);
    c->wire = 0;
    for (size_t i = c->first_open; i < c->op_count; i++)
        c->ops[i]->xid = 0;
}

static void arm(struct sim_client *c, int64_t at_us) {
    if (at_us < c->w->now_us)
        at_us = c->w->now_us;
    if (at_us >= c->timer_armed_us)
        return;
    c->timer_armed_us = at_us;
    world_push(c->w, at_us, SE_CLIENT_TIMER, c->index, c->gen);
}

static void answered(struct sim_client *c, const struct client_update *u) {
    CHECK(u->token >= 1 && u->token <= c->op_count);
    struct sim_op *op = c->ops[u->token - 1];
    if (op->done) {
        world_fail(c->w, "client %u: operation %llu is answered twice", c->index,
                   (unsigned long long)op->token);
        return;
    }
    op->done = true;
    op->err = u->err;
    c->open_count--;
    while (c->first_open < c->op_count && c->ops[c->first_open]->done)
        c->first_open++;
    world_trace(c->w, op->token, (uint64_t)(int64_t)u->err);
    SAY(c->w, "client %u: operation %llu is answered: %d", c->index, (unsigned long long)op->token,
        u->err);
    check_client_answered(c, op);
}

static void carry_out(struct sim_client *c, const struct client_update *u) {
    struct world *w = c->w;
    switch (u->type) {
    case CU_CONNECT:
        lose_wire(c);
        c->wire = wire_open(w, c->index, (uint32_t)u->server);
        break;
    case CU_DISCONNECT:
        lose_wire(c);
        break;
    case CU_SEND:
        note_sent(c, u->bytes);
        wire_client_send(w, c->wire, u->bytes);
        break;
    case CU_REPLY:
        answered(c, u);
        break;
    case CU_WATCH: /* the frames were looked at already */
        check_staying_told(c, u->err, u->bytes, u->zxid);
        break;
    case CU_GAP:
        check_staying_gap(c);
        break;
    case CU_STATE:
        SAY(w, "client %u is in state %d, session %llx", c->index, (int)u->state,
            (unsigned long long)client_session_id(c->client));
        break;
    case CU_DEADLINE:
        c->timer_us = u->mono_ms * MS;
        arm(c, c->timer_us);
        break;
    case CU_CLOSED:
        c->closed = true;
        break;
    }
}

static void feed(struct sim_client *c, struct client_event ev) {
    ev.mono_ms = c->w->now_us / MS;
    struct client_updates u = client_step(c->client, &ev);
    for (size_t i = 0; i < u.count && !c->w->failed; i++)
        carry_out(c, &u.list[i]);
}

/* ---- what comes ---- */

/* In one piece or in two, wherever it breaks. */
static void feed_bytes(struct sim_client *c, conn_id_t wire, struct slice bytes) {
    struct prng *p = &c->w->net;
    if (bytes.len > 1 && prng_chance(p, 1, 20)) {
        int32_t cut = (int32_t)prng_range(p, 1, bytes.len - 1);
        feed(c, (struct client_event){.type = CE_BYTES, .bytes = {bytes.p, cut}});
        bytes = (struct slice){bytes.p + cut, bytes.len - cut};
    }
    if (c->wire == wire && !c->w->failed)
        feed(c, (struct client_event){.type = CE_BYTES, .bytes = bytes});
}

void client_hear(struct sim_client *c, struct sim_wire *wire, const struct sim_item *item) {
    if (c->wire != wire->id)
        return;
    switch (item->type) {
    case ITEM_UP:
        feed(c, (struct client_event){.type = CE_CONNECTED});
        wire->connected = true; /* the ConnectRequest went before */
        break;
    case ITEM_BYTES: {
        struct slice bytes = {item->bytes, item->len};
        check_client_hears(c, wire, bytes);
        if (!c->w->failed)
            feed_bytes(c, wire->id, bytes);
        break;
    }
    case ITEM_DOWN:
        lose_wire(c);
        feed(c, (struct client_event){.type = CE_LOST});
        break;
    }
}

void client_timer(struct sim_client *c, uint64_t gen) {
    if (gen != c->gen || c->w->now_us < c->timer_armed_us)
        return;
    c->timer_armed_us = INT64_MAX;
    if (c->w->now_us < c->timer_us) {
        if (c->timer_us != INT64_MAX)
            arm(c, c->timer_us);
        return;
    }
    c->timer_us = INT64_MAX;
    if (!c->closed)
        feed(c, (struct client_event){.type = CE_TICK});
}

/* ---- the work ---- */

static void issue(struct sim_client *c, bool demanded) {
    struct world *w = c->w;
    if (c->op_count == c->op_cap) {
        c->op_cap = c->op_cap ? 2 * c->op_cap : 64;
        c->ops = mem_realloc(c->ops, c->op_cap * sizeof *c->ops);
    }
    struct sim_op *op = mem_zalloc(sizeof *op);
    c->ops[c->op_count++] = op;
    op->token = c->op_count;
    op->issued_us = w->now_us;
    op->life = c->lives;
    op->floor = check_acknowledged(w->check);
    op->demanded = demanded;
    if (demanded)
        work_draw_demand(c, op);
    else
        work_draw(c, op);
    c->open_count++;
    SAY(w, "client %u: operation %llu is %s", c->index, (unsigned long long)op->token,
        opcode_find(op->opcode)->name);
    int64_t deadline_ms = !demanded && prng_chance(&w->work, 1, 8)
                              ? w->now_us / MS + prng_range(&w->work, 5, 800)
                              : 0;
    feed(c, (struct client_event){.type = CE_REQUEST,
                                  .token = op->token,
                                  .opcode = op->opcode,
                                  .bytes = {op->record.data, (int32_t)op->record.len},
                                  .deadline_ms = deadline_ms});
}

static void end_life(struct sim_client *c) {
    lose_wire(c);
    client_free(c->client);
    c->client = NULL;
    c->gen++;
}

static void work_on(struct sim_client *c) {
    struct world *w = c->w;
    int64_t pause_us = prng_range(&w->work, 1, 2 * w->plan.think_us);
    if (!c->client) {
        new_life(c);
    } else if (c->closed) {
        end_life(c);
        pause_us += 20 * MS;
    } else if (!w->healing && !c->closing && prng_chance(&w->work, 1, 60)) {
        c->closing = true;
        SAY(w, "client %u closes its session", c->index);
        feed(c, (struct client_event){.type = CE_CLOSE});
    } else if (!c->closing && !w->healing && c->open_count < w->plan.pipeline) {
        issue(c, false);
    } else if (!c->closing && w->healing && c->demands_left > 0 && c->open_count == 0) {
        c->demands_left--;
        issue(c, true);
    }
    world_push(w, w->now_us + pause_us, SE_CLIENT_OP, c->index, c->gen);
}

void client_work(struct sim_client *c) { work_on(c); }

void client_demand(struct sim_client *c) {
    c->demands_left = DEMANDS;
    c->demanding = true;
}

bool client_is_content(const struct sim_client *c) {
    return c->client && !c->closing && c->demands_left == 0 && c->open_count == 0;
}
