/* A write whose connection broke before its answer came: after the reconnect a sync, then a look at
 * each znode it was about, then the verdict of zk_write_check.c: done, send it again, or unknown. A
 * sequential create is looked for among the children (zk_lost_seq.c). */
#include "fs/zk_lost.h"

#include "common/path.h"

#include <string.h>

void zk_lost_free(struct lost *lost) {
    if (!lost)
        return;
    for (size_t i = 0; i < lost->candidate_count; i++)
        mem_free(lost->candidates[i].path);
    mem_free(lost->ops);
    mem_free(lost->results);
    mem_free(lost->found);
    buf_close(&lost->record);
    mem_free(lost);
}

void zk_lost_ask(struct zk *zk, struct zk_call *call, int32_t opcode, struct slice path) {
    struct lost *lost = call->lost;
    buf_reset(&lost->record);
    if (opcode == OP_SYNC || opcode == OP_GET_ACL) {
        struct proto_path_request req = {.path = path};
        proto_encode(&lost->record, PROTO_path_request, &req);
    } else {
        struct proto_path_watch_request req = {.path = path};
        proto_encode(&lost->record, PROTO_path_watch_request, &req);
    }
    lost->asked = opcode;
    zk_call_queue(zk, call);
}

void zk_lost_begin(struct zk *zk, struct zk_call *call) {
    struct lost *lost = mem_zalloc(sizeof(*lost));
    buf_init(&lost->record, 0);
    call->lost = lost;
    struct slice request = {call->request.data, (int32_t)call->request.len};
    lost->op_count = wc_decode(call->opcode, request, call->exclusive, &lost->ops);
    size_t n = lost->op_count > 0 ? lost->op_count : 1;
    lost->results = mem_zalloc(n * sizeof(*lost->results));
    lost->found = mem_zalloc(n * sizeof(*lost->found));
    struct slice root = {.p = (const uint8_t *)"/", .len = 1};
    zk_lost_ask(zk, call, OP_SYNC, root);
}

/* It is for the caller to decide; perhaps it was done. */
static void give_up(struct zk *zk, struct zk_call *call) {
    zk_call_fail(zk, call, ZK_CONNECTIONLOSS);
}

static void send_again(struct zk *zk, struct zk_call *call) {
    if (call->sends >= ZK_SENDS_MAX) {
        give_up(zk, call);
        return;
    }
    zk_lost_free(call->lost);
    call->lost = NULL;
    zk_call_queue(zk, call);
}

static void finish_done(struct zk *zk, struct zk_call *call, zxid_t zxid) {
    struct lost *lost = call->lost;
    if (zxid != 0)
        zk_own_add(zk, call, zxid);
    struct zk_result res = {.zxid = zxid,
                            .data = SLICE_NULL,
                            .path = SLICE_NULL,
                            .children = {.count = -1},
                            .acl = {.count = -1}};
    for (size_t i = 0; i < lost->op_count; i++)
        lost->found[i].path = lost->ops[i].type == WC_CREATE ? lost->ops[i].path : SLICE_NULL;
    if (call->kind == CALL_MULTI) {
        res.ops = lost->found;
        res.op_count = lost->op_count;
    } else {
        res.stat = lost->found[0].stat;
        res.path = lost->found[0].path;
    }
    zk_call_finish(zk, call, &res);
}

void zk_lost_decide(struct zk *zk, struct zk_call *call, struct wc_result r) {
    bool is_anothers = r.verdict == WC_DONE && r.zxid != 0 && zk_own_has(zk, call, r.zxid);
    if (is_anothers || r.verdict == WC_AGAIN || r.verdict == WC_MAYBE_AGAIN)
        send_again(zk, call);
    else if (r.verdict == WC_DONE)
        finish_done(zk, call, r.zxid);
    else
        give_up(zk, call);
}

/* A later operation on the same path hides what this one did. */
static bool is_hidden(const struct lost *lost, size_t at) {
    for (size_t i = at + 1; i < lost->op_count; i++) {
        if (lost->ops[i].type != WC_CHECK && slice_equal(lost->ops[i].path, lost->ops[at].path))
            return true;
    }
    return false;
}

static int32_t look_opcode(enum wc_op_type type) {
    switch (type) {
    case WC_DELETE:
        return OP_EXISTS;
    case WC_SET_ACL:
        return OP_GET_ACL;
    default:
        return OP_GET_DATA;
    }
}

/* Asks for the next znode that tells something, or decides when all were looked at. */
static void look_on(struct zk *zk, struct zk_call *call) {
    struct lost *lost = call->lost;
    for (; lost->at < lost->op_count; lost->at++) {
        const struct wc_op *op = &lost->ops[lost->at];
        if (op->type == WC_CHECK || is_hidden(lost, lost->at))
            continue;
        zk_lost_ask(zk, call, look_opcode(op->type), op->path);
        return;
    }
    if (call->kind == CALL_MULTI)
        zk_lost_decide(zk, call, write_check_multi(lost->results, lost->op_count));
    else
        zk_lost_decide(zk, call, lost->results[0]);
}

bool zk_lost_decode_look(int32_t opcode, const struct client_update *u, struct wc_look *ret) {
    *ret = (struct wc_look){.data = SLICE_NULL};
    if (u->err == ZK_NONODE)
        return true;
    if (u->err != 0)
        return false;
    ret->exists = true;
    struct cursor in;
    cursor_init(&in, u->bytes.p, u->bytes.len > 0 ? (size_t)u->bytes.len : 0);
    struct proto_get_data_response data;
    struct proto_get_acl_response acl;
    struct proto_stat_response stat;
    switch (opcode) {
    case OP_GET_DATA:
        if (!proto_decode(&in, PROTO_get_data_response, &data))
            return false;
        ret->data_is_known = true;
        ret->data = data.data;
        ret->stat = data.stat;
        return true;
    case OP_GET_ACL:
        if (!proto_decode(&in, PROTO_get_acl_response, &acl))
            return false;
        ret->acl = acl.acl;
        ret->stat = acl.stat;
        return true;
    default:
        if (!proto_decode(&in, PROTO_stat_response, &stat))
            return false;
        ret->stat = stat.stat;
        return true;
    }
}

static void on_look(struct zk *zk, struct zk_call *call, const struct client_update *u) {
    struct lost *lost = call->lost;
    const struct wc_op *op = &lost->ops[lost->at];
    if (u->err == ZK_NOAUTH && lost->asked == OP_GET_DATA) {
        zk_lost_ask(zk, call, OP_EXISTS, op->path); /* Stat needs no permission. */
        return;
    }
    struct wc_look look;
    if (!zk_lost_decode_look(lost->asked, u, &look)) {
        give_up(zk, call);
        return;
    }
    lost->results[lost->at] = write_check(op, call->before, client_session_id(zk->client), &look);
    lost->found[lost->at].stat = look.stat;
    lost->at++;
    look_on(zk, call);
}

void zk_lost_reply(struct zk *zk, struct zk_call *call, const struct client_update *u) {
    struct lost *lost = call->lost;
    if (lost->asked == OP_SYNC && u->err == 0) {
        if (call->kind == CALL_CREATE && call->sequential)
            zk_lost_seq_begin(zk, call);
        else if (call->sequential)
            give_up(zk, call); /* Inside a multi its name cannot be found out. */
        else
            look_on(zk, call);
    } else if (lost->asked == OP_SYNC) {
        give_up(zk, call);
    } else if (call->sequential) {
        zk_lost_seq_reply(zk, call, u);
    } else {
        on_look(zk, call, u);
    }
}
