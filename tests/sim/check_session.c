/* Sessions: who may be expired, and who may not. */
#include "tests/sim/check_state.h"

#include "common/mem.h"
#include "replica/proto/txn_codec.h"
#include "tests/sim/sim_client.h"

struct check_session *check_session_find(const struct check *k, session_id_t id) {
    for (size_t i = k->session_count; i > 0; i--)
        if (k->sessions[i - 1].id == id)
            return &k->sessions[i - 1];
    return NULL;
}

bool check_session_alive(const struct check *k, session_id_t id) {
    const struct check_session *s = check_session_find(k, id);
    return s && !s->closed;
}

struct sim_client *check_session_client(struct world *w, session_id_t id) {
    const struct check_session *s = check_session_find(w->check, id);
    return s && s->client < w->plan.clients ? w->clients[s->client] : NULL;
}

void check_session_order(struct world *w, const struct txn *t) {
    struct check_session *s = check_session_find(w->check, t->session_id);
    if (t->cxid <= s->last_cxid)
        world_fail(w, "session %llx: request %d stands behind request %d",
                   (unsigned long long)t->session_id, t->cxid, s->last_cxid);
    s->last_cxid = t->cxid;
}

static void created(struct check *k, const struct txn *t) {
    struct check_session *known = check_session_find(k, t->session_id);
    if (known) { /* it came back, perhaps at another server and with another timeout */
        if (known->closed)
            world_fail(k->w, "session %llx comes back after its end",
                       (unsigned long long)t->session_id);
        return;
    }
    if (k->session_count == k->session_cap) {
        k->session_cap = k->session_cap ? 2 * k->session_cap : 16;
        k->sessions = mem_realloc(k->sessions, k->session_cap * sizeof *k->sessions);
    }
    k->sessions[k->session_count++] = (struct check_session){
        .id = t->session_id, .timeout_ms = t->timeout_ms, .client = SIM_CLIENTS_MAX};
}

void check_session_txn(struct world *w, const struct txn *t) {
    if (t->type == TXN_CREATE_SESSION)
        created(w->check, t);
    struct check_session *s = check_session_find(w->check, t->session_id);
    if (t->type == TXN_CLOSE_SESSION && s)
        s->closed = true;
}

/* ---- contact ---- */

static void note_contact(struct sim_host *m, struct check_session *s) {
    if (!m->serving)
        return;
    uint32_t at = s->contact_count++ % CONTACTS;
    s->contacts[at].at_us = m->w->now_us;
    s->contacts[at].host = m->index;
    s->contacts[at].serving_us = m->check.serving_us;
}

void check_client_frame(struct sim_host *m, struct sim_wire *wire, struct slice frame) {
    struct check_session *s =
        wire->session != 0 ? check_session_find(m->w->check, wire->session) : NULL;
    if (!s)
        return;
    note_contact(m, s);
    struct cursor in;
    cursor_init(&in, frame.p, (size_t)frame.len);
    struct proto_request_header h;
    if (proto_decode(&in, PROTO_request_header, &h) && h.type == OP_CLOSE_SESSION)
        s->client_closes = true;
}

void check_peer_message(struct sim_host *to, struct sim_host *from, int64_t sent_us) {
    to->check.heard_us[from->index] = sent_us;
}

/* When a leader closes a session by itself: its contacts that the leader must have heard of are
 * older than the timeout, and so is its leadership. A learner reports with each heartbeat; the
 * leader has heard of a contact when it has heard what the learner sent two of them later. */
static void check_expiry(struct sim_host *m, const struct check_session *s) {
    struct world *w = m->w;
    int64_t allowed_us = (int64_t)s->timeout_ms * MS - (int64_t)s->timeout_ms * 2 - 2 * MS;
    if (w->now_us - m->check.serving_us < allowed_us) {
        world_fail(w, "session %llx (timeout %d ms) expires %lld ms after its leader began",
                   (unsigned long long)s->id, s->timeout_ms,
                   (long long)(w->now_us - m->check.serving_us) / MS);
        return;
    }
    int64_t margin_us = 2 * w->plan.heartbeat_ms * MS + 150 * MS;
    for (uint32_t i = 0; i < CONTACTS && i < s->contact_count; i++) {
        int64_t at = s->contacts[i].at_us;
        uint32_t host = s->contacts[i].host;
        const struct sim_host *from = &w->hosts[host];
        bool goes_on = from->serving && from->check.serving_us == s->contacts[i].serving_us;
        if (w->now_us - at >= allowed_us || !goes_on || at < m->check.serving_us)
            continue;
        if (host == m->index || m->check.heard_us[host] >= at + margin_us)
            world_fail(w, "session %llx (timeout %d ms) expires %lld ms after server %u heard it",
                       (unsigned long long)s->id, s->timeout_ms, (long long)(w->now_us - at) / MS,
                       host + 1);
    }
}

void check_propose(struct sim_host *m, struct slice payload) {
    fault_trigger(m, MOMENT_PROPOSE);
    struct txn *t = txn_decode(payload, 1);
    if (t && t->type == TXN_CLOSE_SESSION) {
        struct check_session *s = check_session_find(m->w->check, t->session_id);
        if (s && !s->client_closes)
            check_expiry(m, s);
        if (s)
            s->close_proposed = true;
        SAY(m->w, "%u proposes the end of session %llx", m->id, (unsigned long long)t->session_id);
    }
    txn_free(t);
}

/* ---- handshakes ---- */

void check_session_sent(struct sim_host *m, struct sim_wire *wire, session_id_t id,
                        int32_t timeout_ms) {
    struct world *w = m->w;
    if (id == 0)
        return;
    struct check_session *s = check_session_find(w->check, id);
    if (!s) {
        world_fail(w, "server %u gives out session %llx, which is in no history", m->id,
                   (unsigned long long)id);
        return;
    }
    if (wire->client == SIM_INTRUDER) {
        world_fail(w, "server %u gives session %llx to one without its password", m->id,
                   (unsigned long long)id);
        return;
    }
    uint32_t life = w->clients[wire->client]->lives;
    if (s->client == SIM_CLIENTS_MAX) {
        s->client = wire->client;
        s->life = life;
    } else if (s->client != wire->client) {
        world_fail(w, "session %llx goes to clients %u and %u", (unsigned long long)id, s->client,
                   wire->client);
    }
    s->timeout_ms = timeout_ms < s->timeout_ms ? timeout_ms : s->timeout_ms;
    wire->session = id;
    note_contact(m, s);
}

/* A session that lives and that nobody wants to end is not refused to its owner. */
void check_session_heard(struct sim_client *c, struct sim_wire *wire, session_id_t id,
                         int32_t timeout_ms) {
    struct world *w = c->w;
    session_id_t mine = client_session_id(c->client);
    if (id != 0) {
        if (mine != 0 && id != mine)
            world_fail(w, "client %u asked for session %llx and got %llx", c->index,
                       (unsigned long long)mine, (unsigned long long)id);
        return;
    }
    const struct check_session *s = mine != 0 ? check_session_find(w->check, mine) : NULL;
    if (mine == 0 || (s && !s->closed && !s->close_proposed && !s->client_closes))
        world_fail(w, "server %u refuses session %llx of client %u, which lives", wire->member + 1,
                   (unsigned long long)mine, c->index);
}

void check_intruder(struct world *w, struct sim_wire *wire, struct slice bytes) {
    struct cursor in;
    cursor_init(&in, bytes.p, (size_t)bytes.len);
    (void)cursor_u32be(&in);
    struct proto_connect_response r;
    if (!wire->answered && proto_decode(&in, PROTO_connect_response, &r) && r.session_id != 0)
        world_fail(w, "session %llx was given to one without its password",
                   (unsigned long long)r.session_id);
    wire->answered = true;
}
