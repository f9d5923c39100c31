/* The callers' requests: from CE_REQUEST to the one answer of each. */
#include "common/client_impl.h"

void creq_list_init(struct creq_list *l) {
    l->head = NULL;
    l->tail = &l->head;
}

static void list_push(struct creq_list *l, struct creq *r) {
    r->next = NULL;
    *l->tail = r;
    l->tail = &r->next;
}

struct creq *creq_list_pop(struct creq_list *l) {
    struct creq *r = l->head;
    if (!r)
        return NULL;
    l->head = r->next;
    if (!l->head)
        l->tail = &l->head;
    return r;
}

static void list_remove(struct creq_list *l, const struct creq *r) {
    struct creq **at = &l->head;
    while (*at && *at != r)
        at = &(*at)->next;
    CHECK(*at == r);
    *at = r->next;
    if (!*at)
        l->tail = at;
}

void client_free_request(struct creq *r) {
    mem_free(r->record);
    mem_free(r);
}

static void emit_reply(struct client *c, uint64_t token, int32_t err, zxid_t zxid,
                       struct slice record) {
    struct client_update *u = client_emit(c, CU_REPLY);
    u->token = token;
    u->err = err;
    u->zxid = zxid;
    u->bytes = record;
}

void client_answer(struct client *c, struct creq *r, int32_t err, zxid_t zxid,
                   struct slice record) {
    if (r->abandoned)
        return;
    r->abandoned = true;
    HASH_DEL(c->by_token, r);
    emit_reply(c, r->token, err, zxid, record);
}

static struct creq *request_new(struct client *c, const struct client_event *ev) {
    const struct opcode_info *info = opcode_find(ev->opcode);
    struct creq *r = mem_zalloc(sizeof(*r));
    r->token = ev->token;
    r->opcode = ev->opcode;
    r->deadline_ms = ev->deadline_ms;
    r->is_write = !info || (info->flags & OPF_WRITE) != 0;
    r->watch = client_watch_of(ev->opcode, ev->bytes);
    if (r->is_write)
        r->xid = ev->xid != 0 ? ev->xid : client_take_xid(c);
    r->sends = ev->xid != 0 ? 1 : 0;
    HASH_ADD(hh, c->by_token, token, sizeof(r->token), r);
    if (r->deadline_ms > 0 && r->deadline_ms < c->request_deadline_ms)
        c->request_deadline_ms = r->deadline_ms;
    return r;
}

/* Whether the request may have to be put on a wire later, so that its bytes have to be kept. */
static bool keeps_record(const struct client *c, const struct creq *r) {
    return !r->is_write || c->retries || c->state != CLIENT_CONNECTED;
}

void client_request(struct client *c, const struct client_event *ev) {
    struct creq *known;
    HASH_FIND(hh, c->by_token, &ev->token, sizeof(ev->token), known);
    CHECK(!known);
    if (c->closing || c->state == CLIENT_CLOSED) {
        emit_reply(c, ev->token, ZK_OPERATIONTIMEOUT, 0, SLICE_NULL);
        return;
    }
    if (HASH_COUNT(c->by_token) >= CLIENT_REQUESTS_MAX) {
        emit_reply(c, ev->token, ZK_THROTTLEDOP, 0, SLICE_NULL);
        return;
    }
    struct creq *r = request_new(c, ev);
    if (r->sends > 0 && c->state == CLIENT_CONNECTED && !c->retries) {
        client_answer(c, r, ZK_CONNECTIONLOSS, 0, SLICE_NULL);
        client_free_request(r);
        return;
    }
    if (keeps_record(c, r) && ev->bytes.len > 0) {
        r->record = mem_dup(ev->bytes.p, (size_t)ev->bytes.len);
        r->record_len = (uint32_t)ev->bytes.len;
    }
    if (c->state == CLIENT_CONNECTED) {
        client_send_request(c, r, ev->bytes);
        r->on_wire = true;
        list_push(&c->sent, r);
    } else {
        list_push(&c->waiting, r);
    }
}

int32_t client_xid_of(const struct client *c, uint64_t token) {
    struct creq *r;
    HASH_FIND(hh, c->by_token, &token, sizeof(token), r);
    return r && r->is_write ? r->xid : 0;
}

void client_cancel(struct client *c, uint64_t token) {
    struct creq *r;
    HASH_FIND(hh, c->by_token, &token, sizeof(token), r);
    if (!r)
        return;
    HASH_DEL(c->by_token, r);
    r->abandoned = true;
    if (r->on_wire)
        return;
    list_remove(&c->waiting, r);
    client_free_request(r);
}

bool client_was_sent(const struct client *c, uint64_t token) {
    struct creq *r;
    HASH_FIND(hh, c->by_token, &token, sizeof(token), r);
    return r && r->sends > 0;
}

void client_send_waiting(struct client *c) {
    struct creq_list keep;
    creq_list_init(&keep);
    struct creq *r;
    while ((r = creq_list_pop(&c->waiting))) {
        if (c->read_only && r->is_write && r->sends > 0) {
            list_push(&keep, r);
            continue;
        }
        struct slice record = {.p = r->record, .len = (int32_t)r->record_len};
        client_send_request(c, r, record);
        if (r->is_write && !c->retries) {
            mem_free(r->record);
            r->record = NULL;
            r->record_len = 0;
        }
        r->on_wire = true;
        list_push(&c->sent, r);
    }
    while ((r = creq_list_pop(&keep)))
        list_push(&c->waiting, r);
}

/* A write keeps its xid: by it the server knows it again. */
static bool goes_again(const struct client *c, const struct creq *r) {
    return !r->abandoned && r->sends < CLIENT_SENDS_MAX && (!r->is_write || c->retries);
}

void client_settle_sent(struct client *c) {
    struct creq_list again;
    creq_list_init(&again);
    struct creq *r;
    /* What waits while there is a connection is what a read-only server was not sent again: it is
     * older than what that one was sent. */
    while ((r = creq_list_pop(&c->waiting)))
        list_push(&again, r);
    while ((r = creq_list_pop(&c->sent))) {
        r->on_wire = false;
        if (!goes_again(c, r)) {
            client_answer(c, r, ZK_CONNECTIONLOSS, 0, SLICE_NULL);
            client_free_request(r);
            continue;
        }
        if (!r->is_write)
            r->xid = 0;
        list_push(&again, r);
    }
    while ((r = creq_list_pop(&again)))
        list_push(&c->waiting, r);
}

void client_fail_retries(struct client *c) {
    struct creq_list keep;
    creq_list_init(&keep);
    struct creq *r;
    while ((r = creq_list_pop(&c->waiting))) {
        if (r->is_write && r->sends > 0) {
            client_answer(c, r, ZK_CONNECTIONLOSS, 0, SLICE_NULL);
            client_free_request(r);
        } else {
            list_push(&keep, r);
        }
    }
    while ((r = creq_list_pop(&keep)))
        list_push(&c->waiting, r);
}

static void note_deadline(struct client *c, const struct creq *r) {
    if (!r->abandoned && r->deadline_ms > 0 && r->deadline_ms < c->request_deadline_ms)
        c->request_deadline_ms = r->deadline_ms;
}

static bool is_late(const struct client *c, const struct creq *r) {
    return !r->abandoned && r->deadline_ms > 0 && r->deadline_ms <= c->now_ms;
}

void client_expire_requests(struct client *c) {
    c->request_deadline_ms = INT64_MAX;
    for (struct creq *r = c->sent.head; r; r = r->next) {
        if (is_late(c, r))
            client_answer(c, r, ZK_CONNECTIONLOSS, 0, SLICE_NULL);
        note_deadline(c, r);
    }
    struct creq_list keep;
    creq_list_init(&keep);
    struct creq *r;
    while ((r = creq_list_pop(&c->waiting))) {
        if (is_late(c, r)) {
            int32_t err = r->sends > 0 ? ZK_CONNECTIONLOSS : ZK_OPERATIONTIMEOUT;
            client_answer(c, r, err, 0, SLICE_NULL);
            client_free_request(r);
        } else {
            note_deadline(c, r);
            list_push(&keep, r);
        }
    }
    while ((r = creq_list_pop(&keep)))
        list_push(&c->waiting, r);
}

void client_fail_all(struct client *c, int32_t sent_err, int32_t waiting_err) {
    struct creq *r;
    while ((r = creq_list_pop(&c->sent))) {
        client_answer(c, r, sent_err, 0, SLICE_NULL);
        client_free_request(r);
    }
    while ((r = creq_list_pop(&c->waiting))) {
        client_answer(c, r, r->sends > 0 ? sent_err : waiting_err, 0, SLICE_NULL);
        client_free_request(r);
    }
    c->request_deadline_ms = INT64_MAX;
}
