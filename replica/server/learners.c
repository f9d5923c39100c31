#include "replica/server/learners.h"

#include "common/mem.h"
#include "replica/proto/peer_codec.h"
#include "replica/server/forward.h"
#include "replica/server/full.h"
#include "replica/server/judge.h"
#include "replica/server/limits.h"
#include "replica/server/peer.h"
#include "replica/server/prep.h"
#include "replica/server/sync.h"
#include "replica/server/touch.h"

/* What a learner asks for, as far as it matters to what may go before what. */
struct errand {
    uint8_t peer;
    session_id_t session;
    bool small;  /* it goes on while writes are held (full.h) */
    bool begins; /* a session */
    bool sync;   /* not one session's */
};

struct backlog {
    struct backlog *next;
    uint64_t arrival;
    struct errand errand;
    struct blob *payload;
};

static struct errand errand_of(uint8_t peer, const struct app_msg *m) {
    bool request = m->type == APP_REQUEST;
    return (struct errand){.peer = peer,
                           .session = m->session_id,
                           .small = !request || m->opcode == OP_CLOSE_SESSION ||
                                    m->opcode == OP_CREATE_SESSION,
                           .begins = request && m->opcode == OP_CREATE_SESSION,
                           .sync = m->type == APP_SYNC};
}

static void backlog_add(struct replica *r, const struct errand *errand, struct blob *payload) {
    uint8_t peer = errand->peer;
    struct peer *p = &r->peers[peer];
    if (p->backlog_bytes + payload->len > BACKLOG_BYTES_MAX) {
        peer_cut(r, peer, "it sends more requests than its clients may have");
        return;
    }
    p->backlog_bytes += payload->len;
    struct backlog *b = mem_alloc(sizeof *b);
    *b =
        (struct backlog){.arrival = ++r->arrivals, .errand = *errand, .payload = blob_ref(payload)};
    if (r->backlog_last)
        r->backlog_last->next = b;
    else
        r->backlog_first = b;
    r->backlog_last = b;
}

static void backlog_free(struct replica *r, struct backlog *b) {
    r->peers[b->errand.peer].backlog_bytes -= b->payload->len;
    blob_unref(b->payload);
    mem_free(b);
}

static struct backlog *backlog_take(struct replica *r) {
    struct backlog *b = r->backlog_first;
    r->backlog_first = b->next;
    if (!b->next)
        r->backlog_last = NULL;
    return b;
}

void learners_forget(struct replica *r, uint8_t peer) {
    struct backlog **at = &r->backlog_first;
    r->backlog_last = NULL;
    while (*at) {
        struct backlog *b = *at;
        if (b->errand.peer == peer) {
            *at = b->next;
            backlog_free(r, b);
            continue;
        }
        r->backlog_last = b;
        at = &b->next;
    }
    sync_forget_remote(r, peer);
    judge_forget(r, peer);
}

void learners_forget_all(struct replica *r) {
    while (r->backlog_first)
        backlog_free(r, backlog_take(r));
    sync_forget_all(r);
    judge_forget_all(r);
}

uint64_t learners_backlog_arrival(const struct replica *r) {
    return r->backlog_first ? r->backlog_first->arrival : UINT64_MAX;
}

/* False when an identity is of no scheme that we know, or there are too many. */
static bool take_ids(const struct app_msg *m, struct auth_ids *ids) {
    bool ok = m->auth_count <= AUTH_IDS_MAX + 2;
    for (size_t i = 0; ok && i < m->auth_count; i++)
        ok = auth_take(ids, m->auth_ids[i].scheme, m->auth_ids[i].id);
    return ok;
}

static void take_request(struct replica *r, uint8_t peer, const struct app_msg *m) {
    struct auth_ids ids = {0};
    if (take_ids(m, &ids)) {
        struct demand d = {.session_id = m->session_id,
                           .cxid = m->cxid,
                           .opcode = m->opcode,
                           .timeout_ms = m->timeout_ms,
                           .retries = m->retries,
                           .body = m->body.p ? m->body : (struct slice){NULL, 0},
                           .ids = &ids,
                           .auth_count = ids.count,
                           .from = peer};
        prep_demand(r, &d);
    } else {
        peer_cut(r, peer, "a request with identities of an unknown kind");
    }
    auth_close(&ids);
}

static void take_revalidate(struct replica *r, uint8_t peer, const struct app_msg *m) {
    struct demand d = {.session_id = m->session_id,
                       .cxid = forward_token(peer, m->tag),
                       .timeout_ms = m->timeout_ms,
                       .from = peer};
    if (!prep_reconnect(r, &d))
        sync_remote(r, peer, m->tag, true);
}

/* m is what has to keep its order among the peer's requests. */
static void take_in_order(struct replica *r, uint8_t peer, const struct app_msg *m) {
    if (m->type == APP_SYNC)
        sync_remote(r, peer, m->tag, false);
    else if (m->type == APP_REVALIDATE)
        take_revalidate(r, peer, m);
    else
        take_request(r, peer, m);
}

static void release(struct replica *r, struct backlog *b) {
    struct app_msg m;
    struct app_memory *memory;
    if (app_decode(blob_slice(b->payload), &m, &memory)) {
        take_in_order(r, b->errand.peer, &m);
        app_close(memory);
    }
    backlog_free(r, b);
}

void learners_release(struct replica *r) { release(r, backlog_take(r)); }

/* Whether something before `end` waits that e has to stay behind: of the same session; and for a
 * sync anything of the same peer, for it may ask what becomes of all that. */
static bool waits_behind(const struct replica *r, const struct errand *e,
                         const struct backlog *end) {
    const struct backlog *b = r->backlog_first;
    while (b != end && (b->errand.peer != e->peer || (!e->sync && b->errand.session != e->session)))
        b = b->next;
    return b != end;
}

/* Whether e, behind all that waits before `end`, may go out while writes are held. */
static bool admit(struct replica *r, const struct errand *e, const struct backlog *end) {
    if (!e->small || !zab_ready(r->zab) || waits_behind(r, e, end))
        return false;
    return !e->begins || full_admit_session(r);
}

void learners_release_small(struct replica *r) {
    struct backlog *before = NULL, *b = r->backlog_first;
    if (!r->backlog_small || !zab_ready(r->zab))
        return;
    r->backlog_small = false;
    while (b && zab_ready(r->zab)) {
        struct backlog *next = b->next;
        if (!admit(r, &b->errand, b)) {
            before = b;
            b = next;
            continue;
        }
        if (before)
            before->next = next;
        else
            r->backlog_first = next;
        if (!next)
            r->backlog_last = before;
        uint8_t peer = b->errand.peer;
        release(r, b);
        b = next;
        if (!r->peers[peer].up) { /* what waited of it is gone as well: from the beginning, later */
            r->backlog_small = true;
            return;
        }
    }
    r->backlog_small = b != NULL;
}

/* What has to keep its order. */
static void take_request_message(struct replica *r, uint8_t peer, const struct app_msg *m,
                                 struct blob *payload) {
    struct errand e = errand_of(peer, m);
    bool holds = full_holds(r) && zab_ready(r->zab);
    bool goes = holds ? admit(r, &e, NULL) : !r->held && !r->backlog_first && forward_ready(r);
    if (goes) {
        take_in_order(r, peer, m);
        return;
    }
    backlog_add(r, &e, payload);
    r->backlog_small |= e.small && !holds;
}

void learners_message(struct replica *r, uint8_t peer, struct blob *payload) {
    struct app_msg m;
    struct app_memory *memory;
    if (!app_decode(blob_slice(payload), &m, &memory)) {
        peer_cut(r, peer, "a message of the servers that is malformed");
        return;
    }
    switch (m.type) {
    case APP_TOUCH:
        touch_take(r, peer, &m);
        break;
    case APP_DIGEST:
        judge_take(r, peer, &m);
        break;
    case APP_REQUEST:
    case APP_REVALIDATE:
    case APP_SYNC:
        take_request_message(r, peer, &m, payload);
        break;
    case APP_REVALIDATED:
    case APP_SYNCED:
    case APP_QUARANTINE:
    case APP_TYPE_END:
        peer_cut(r, peer, "an answer to a question that a leader does not ask");
        break;
    }
    app_close(memory);
}
