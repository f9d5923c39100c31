/* What servers say to clients: never ahead of what they applied, never behind what this client has
 * seen, and always what the model says. */
#include "tests/sim/check_state.h"

#include "common/mem.h"
#include "common/path.h"
#include "common/zkerr.h"
#include "tests/sim/sim_client.h"

#include <string.h>

zxid_t check_acknowledged(const struct check *k) { return k->acknowledged; }

void check_client_new_life(struct sim_client *c) {
    c->check.seen = c->check.replied = 0;
    c->check.watch_count = 0;
    c->check.staying_count = 0;
}

void check_client_close(struct sim_client *c) {
    mem_free(c->check.watches);
    mem_free(c->check.staying);
}

/* ---- at the server ---- */

static bool next_frame(struct cursor *in, struct cursor *ret_frame) {
    if (cursor_left(in) == 0)
        return false;
    uint32_t len = cursor_u32be(in);
    const uint8_t *p = cursor_bytes(in, len);
    if (!p)
        return false;
    cursor_init(ret_frame, p, len);
    return true;
}

void check_server_sends(struct sim_host *m, struct sim_wire *wire, struct slice bytes) {
    struct world *w = m->w;
    struct cursor in, frame;
    cursor_init(&in, bytes.p, (size_t)bytes.len);
    while (!w->failed && next_frame(&in, &frame)) {
        if (!wire->server_answered) {
            struct proto_connect_response r;
            wire->server_answered = true;
            if (!proto_decode(&frame, PROTO_connect_response, &r))
                world_fail(w, "server %u's first answer is no ConnectResponse", m->id);
            else if (r.read_only)
                wire->read_only = true;
            else
                check_session_sent(m, wire, r.session_id, r.timeout_ms);
            continue;
        }
        struct proto_reply_header h;
        if (!proto_decode(&frame, PROTO_reply_header, &h))
            world_fail(w, "server %u sends no reply", m->id);
        else if (h.zxid > m->check.applied)
            world_fail(w, "server %u answers at %u.%u and has applied %u.%u", m->id,
                       zxid_epoch(h.zxid), zxid_counter(h.zxid), zxid_epoch(m->check.applied),
                       zxid_counter(m->check.applied));
    }
    if (in.bad)
        world_fail(w, "server %u sends a part of a frame", m->id);
}

/* ---- at the client: reads ---- */

static void wrong(struct sim_client *c, const struct sim_op *op, zxid_t zxid, const char *what) {
    world_fail(c->w, "client %u: the answer to operation %llu (%s) at %u.%u has the wrong %s",
               c->index, (unsigned long long)op->token, opcode_find(op->opcode)->name,
               zxid_epoch(zxid), zxid_counter(zxid), what);
}

static bool same_stat(const struct zstat *a, const struct zstat *b) {
    return a->czxid == b->czxid && a->mzxid == b->mzxid && a->ctime_ms == b->ctime_ms &&
           a->mtime_ms == b->mtime_ms && a->version == b->version && a->cversion == b->cversion &&
           a->aversion == b->aversion && a->ephemeral_owner == b->ephemeral_owner &&
           a->data_length == b->data_length && a->num_children == b->num_children &&
           a->pzxid == b->pzxid;
}

static bool stat_is(struct cursor *in, const struct model_version *v) {
    struct zstat have, want;
    jute_read_stat(in, &have);
    model_stat(v, &want);
    return !in->bad && same_stat(&have, &want);
}

/* The same names, each once. */
static bool children_are(struct world *w, struct cursor *in, uint32_t path, zxid_t zxid) {
    struct model *m = w->check->model;
    struct jvec names = jute_read_strings(in);
    if (in->bad || names.count != model_at(m, path, zxid)->children)
        return false;
    uint64_t stamp = model_stamp(m);
    struct slice name;
    for (int32_t at = 0; jvec_next_string(&names, &at, &name);) {
        bool found = false;
        for (uint32_t i = model_path(m, path)->first_child; i != MODEL_NO_PATH;
             i = model_path(m, i)->next_sibling) {
            struct model_path *p = model_path(m, i);
            if (!slice_equal(path_name(slice_from_str(p->name)), name))
                continue;
            found = p->stamp != stamp && model_at(m, i, zxid)->exists;
            p->stamp = stamp;
            break;
        }
        if (!found)
            return false;
    }
    return true;
}

static void check_read_body(struct sim_client *c, const struct sim_op *op, uint32_t path,
                            zxid_t zxid, struct cursor *in) {
    const struct model_version *v = model_at(c->w->check->model, path, zxid);
    if (op->opcode == OP_GET_DATA) {
        struct slice data = jute_read_slice(in);
        if (!slice_equal(data, v->data))
            wrong(c, op, zxid, "data");
    }
    if (op->opcode == OP_GET_CHILDREN || op->opcode == OP_GET_CHILDREN2)
        if (!children_are(c->w, in, path, zxid))
            wrong(c, op, zxid, "children");
    if (op->opcode != OP_GET_CHILDREN && !stat_is(in, v))
        wrong(c, op, zxid, "stat");
}

static void set_watch(struct sim_client *c, const struct sim_op *op, struct slice path, zxid_t zxid,
                      int32_t err) {
    if (err == ZK_OK)
        check_watch_set(c, path,
                        op->opcode == OP_GET_DATA || op->opcode == OP_EXISTS ? WATCHED_DATA
                                                                             : WATCHED_CHILDREN,
                        zxid);
    else if (op->opcode == OP_EXISTS)
        check_watch_set(c, path, WATCHED_ABSENT, zxid);
}

/* A read does not see what its own session asked for after it. */
static void check_own_order(struct sim_client *c, const struct sim_op *op, zxid_t zxid) {
    for (size_t i = (size_t)op->token; i < c->op_count; i++) {
        const struct sim_op *later = c->ops[i];
        if (later->committed != 0 && later->committed <= zxid && later->life == op->life &&
            later->sent_session == op->sent_session && later->sent_xid > op->xid)
            world_fail(c->w,
                       "client %u: operation %llu is answered at %u.%u, behind its own later "
                       "operation %llu",
                       c->index, (unsigned long long)op->token, zxid_epoch(zxid),
                       zxid_counter(zxid), (unsigned long long)later->token);
    }
}

/* Exactly those that the session owns. */
static void check_ephemerals(struct sim_client *c, const struct sim_op *op, zxid_t zxid,
                             struct cursor *in) {
    struct model *m = c->w->check->model;
    struct jvec paths = jute_read_strings(in);
    check_own_order(c, op, zxid);
    uint64_t stamp = model_stamp(m);
    struct slice path;
    int32_t good = 0;
    for (int32_t at = 0; !in->bad && jvec_next_string(&paths, &at, &path);) {
        uint32_t i = model_find(m, path);
        const struct model_version *v = model_at(m, i, zxid);
        if (!v->exists || v->owner != op->sent_session || model_path(m, i)->stamp == stamp)
            break;
        model_path(m, i)->stamp = stamp;
        good++;
    }
    if (in->bad || good != paths.count || (uint32_t)good != model_owned(m, op->sent_session, zxid))
        wrong(c, op, zxid, "ephemerals");
}

static void check_read(struct sim_client *c, const struct sim_op *op, zxid_t zxid, int32_t err,
                       struct cursor *in) {
    struct cursor record;
    struct proto_path_watch_request req;
    cursor_init(&record, op->record.data, op->record.len);
    if (!proto_decode(&record, PROTO_path_watch_request, &req))
        return;
    check_own_order(c, op, zxid);
    uint32_t path = model_find(c->w->check->model, req.path);
    bool exists = model_at(c->w->check->model, path, zxid)->exists;
    if (err != (exists ? ZK_OK : ZK_NONODE)) {
        wrong(c, op, zxid, err == ZK_OK ? "success" : "error");
        return;
    }
    if (err == ZK_OK)
        check_read_body(c, op, path, zxid, in);
    if (req.watch)
        set_watch(c, op, req.path, zxid, err);
}

/* ---- writes ---- */

static bool result_is(struct world *w, int32_t opcode, const struct check_result *r,
                      struct cursor *in) {
    const struct model_path *p = model_path(w->check->model, r->path);
    switch (opcode) {
    case OP_CREATE:
        return slice_equal_str(jute_read_slice(in), p->name);
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return slice_equal_str(jute_read_slice(in), p->name) &&
               stat_is(in, &p->versions[r->version]);
    case OP_SET_DATA:
    case OP_SET_ACL:
        return stat_is(in, &p->versions[r->version]);
    default:
        return true;
    }
}

static bool multi_is(struct sim_client *c, const struct sim_op *op, int32_t err,
                     struct cursor *in) {
    struct proto_multi_header h;
    uint32_t i = 0;
    for (; proto_decode(in, PROTO_multi_header, &h) && !h.done; i++) {
        if (err != ZK_OK) {
            int32_t each = jute_read_int(in);
            if (h.type != OP_ERROR || each != h.err ||
                (each != ZK_OK && each != err && each != ZK_RUNTIMEINCONSISTENCY))
                return false;
        } else if (i >= op->result_count || !result_is(c->w, h.type, &op->results[i], in)) {
            return false;
        }
    }
    return !in->bad && h.done && (err != ZK_OK || i == op->result_count);
}

static void check_write(struct sim_client *c, struct sim_op *op, zxid_t zxid, int32_t err,
                        struct cursor *in) {
    struct world *w = c->w;
    if (err == ZK_SESSIONMOVED || err == ZK_SESSIONEXPIRED)
        return;
    int32_t why = 0;
    if (check_entry_op(w->check, zxid, &why) != op) {
        world_fail(w, "client %u: operation %llu (%s) is answered with %u.%u, which is not its own",
                   c->index, (unsigned long long)op->token, opcode_find(op->opcode)->name,
                   zxid_epoch(zxid), zxid_counter(zxid));
        return;
    }
    if (zxid > w->check->acknowledged)
        w->check->acknowledged = zxid;
    bool multi = op->opcode == OP_MULTI && err == ZK_OK;
    if (!multi && err != why)
        wrong(c, op, zxid, "error");
    else if (multi && !multi_is(c, op, why, in))
        wrong(c, op, zxid, "results");
    else if (!multi && err == ZK_OK && !result_is(w, op->opcode, &op->results[0], in))
        wrong(c, op, zxid, "result");
}

/* ---- frames ---- */

static void hear_any_zxid(struct sim_client *c, zxid_t zxid) {
    if (zxid > c->check.replied)
        c->check.replied = zxid;
    check_staying_reply(c, zxid);
}

static void hear_zxid(struct sim_client *c, zxid_t zxid) {
    if (zxid < c->check.seen)
        world_fail(c->w, "client %u has seen %u.%u and is shown %u.%u", c->index,
                   zxid_epoch(c->check.seen), zxid_counter(c->check.seen), zxid_epoch(zxid),
                   zxid_counter(zxid));
    c->check.seen = zxid;
    check_watch_reply(c, zxid);
    hear_any_zxid(c, zxid);
}

static void hear_reply(struct sim_client *c, struct sim_wire *wire,
                       const struct proto_reply_header *h, struct cursor *in) {
    struct world *w = c->w;
    if (h->xid == c->close_xid && c->closing)
        return;
    struct sim_op *op = client_op_of_xid(c, h->xid);
    if (!op) {
        world_fail(w, "client %u gets an answer that nobody waits for: xid %d", c->index, h->xid);
        return;
    }
    hear_any_zxid(c, h->zxid);
    if (h->err == ZK_SESSIONMOVED || h->err == ZK_SESSIONEXPIRED) {
        wire->given_up = true; /* the client takes no more from it */
        return;
    }
    SAY(w, "client %u: operation %llu gets %d at %u.%u", c->index, (unsigned long long)op->token,
        h->err, zxid_epoch(h->zxid), zxid_counter(h->zxid));
    bool writes = (opcode_find(op->opcode)->flags & OPF_WRITE) != 0;
    if (h->err == ZK_RESULTFORGOTTEN || h->err == ZK_NOTREADONLY)
        return; /* not done, or nobody knows */
    /* The first answer to a write that was sent again is as old as it is. */
    if (!writes || op->sends == 1)
        hear_zxid(c, h->zxid);
    if (op->opcode == OP_SYNC) {
        if (h->zxid < op->floor)
            world_fail(w, "client %u has synchronised to %u.%u; %u.%u was acknowledged before",
                       c->index, zxid_epoch(h->zxid), zxid_counter(h->zxid), zxid_epoch(op->floor),
                       zxid_counter(op->floor));
        return;
    }
    if (check_staying_answered(c, op, h->zxid, h->err))
        return;
    if (writes)
        check_write(c, op, h->zxid, h->err, in);
    else if (op->opcode == OP_GET_EPHEMERALS)
        check_ephemerals(c, op, h->zxid, in);
    else
        check_read(c, op, h->zxid, h->err, in);
}

static void hear_frame(struct sim_client *c, struct sim_wire *wire, struct cursor *in) {
    struct proto_reply_header h;
    if (!proto_decode(in, PROTO_reply_header, &h)) {
        world_fail(c->w, "client %u gets no reply", c->index);
        return;
    }
    switch (h.xid) {
    case XID_NOTIFICATION: {
        struct proto_watcher_event e;
        if (proto_decode(in, PROTO_watcher_event, &e)) {
            SAY(c->w, "client %u hears event %d of %.*s", c->index, e.type, e.path.len,
                (const char *)e.path.p);
            check_watch_event(c, wire, e.type, e.path, h.zxid);
        }
        break;
    }
    case XID_SET_WATCHES:
        check_watch_again(c, h.zxid);
        check_staying_set(c, h.zxid, h.err);
        hear_zxid(c, h.zxid);
        wire->set_watches = false;
        break;
    case XID_PING:
        hear_zxid(c, h.zxid);
        break;
    default:
        hear_reply(c, wire, &h, in);
        break;
    }
}

void check_client_hears(struct sim_client *c, struct sim_wire *wire, struct slice bytes) {
    struct cursor in, frame;
    cursor_init(&in, bytes.p, (size_t)bytes.len);
    while (!c->w->failed && !wire->given_up && next_frame(&in, &frame)) {
        if (wire->answered) {
            hear_frame(c, wire, &frame);
            continue;
        }
        wire->answered = true;
        check_staying_again(c);
        struct proto_connect_response r;
        if (proto_decode(&frame, PROTO_connect_response, &r) && !r.read_only)
            check_session_heard(c, wire, r.session_id, r.timeout_ms);
    }
}

/* ---- what its caller was told ---- */

void check_client_answered(struct sim_client *c, struct sim_op *op) {
    bool excused = op->err == ZK_OK || op->err == ZK_NONODE || op->err == ZK_CONNECTIONLOSS ||
                   op->err == ZK_SESSIONMOVED || op->err == ZK_SESSIONEXPIRED ||
                   op->err == ZK_NOTREADONLY;
    if (op->demanded && !excused)
        world_fail(c->w, "client %u: operation %llu (%s) fails with %d in a healthy ensemble",
                   c->index, (unsigned long long)op->token, opcode_find(op->opcode)->name, op->err);
}

/* Never sent, or refused for the session's sake: surely not done. */
void check_refusals(struct world *w) {
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        const struct sim_client *c = w->clients[i];
        for (size_t k = 0; k < c->op_count; k++) {
            const struct sim_op *op = c->ops[k];
            bool surely_not = op->err == ZK_OPERATIONTIMEOUT || op->err == ZK_SESSIONMOVED ||
                              op->err == ZK_SESSIONEXPIRED;
            if (op->done && surely_not && op->results)
                world_fail(w, "client %u: operation %llu was refused with %d, and is done", i,
                           (unsigned long long)op->token, op->err);
        }
    }
}
