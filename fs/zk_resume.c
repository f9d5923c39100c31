/* What of the client outlives the worker, in the journal: the session, and each write of a FUSE
 * request until the request is answered. The next worker goes on with the session, and when the
 * kernel sends such a request again, the same write is not new: it was sent, and its connection is
 * lost. With exactly-once retries it is sent again, as its record has it: all of them before any
 * new write and in the order of their xids, as the server knows them, though the requests come to
 * them at any time and in any order. Their answers wait for the requests. */
#include "fs/zk_impl.h"

#include <string.h>
#include <utlist.h>

/* The records' bytes; a journal is read by the program that wrote it. */
struct session_record {
    session_id_t session_id;
    uint8_t passwd[PASSWD_BYTES];
};

struct write_record {
    session_id_t session_id;
    zxid_t before;
    int32_t opcode;
    int32_t unused;
    /* the request follows */
};

static void on_session(void *ctx, const struct journal_record *r) {
    struct client_resume *resume = ctx;
    struct session_record s;
    if (r->bytes.len != (int32_t)sizeof s)
        return;
    memcpy(&s, r->bytes.p, sizeof s);
    resume->session_id = s.session_id;
    memcpy(resume->passwd, s.passwd, PASSWD_BYTES);
}

static void on_session_ref(void *ctx, const struct journal_record *r) { *(uint32_t *)ctx = r->ref; }

void zk_journal_load(struct zk *zk, struct client_resume *ret) {
    *ret = (struct client_resume){0};
    journal_each(zk->journal, JOURNAL_SESSION, on_session, ret);
    journal_each(zk->journal, JOURNAL_SESSION, on_session_ref, &zk->session_ref);
    zk->session_kept = ret->session_id;
    ret->last_zxid = (zxid_t)journal_counter(zk->journal, JOURNAL_LAST_ZXID);
    ret->next_xid = (int32_t)journal_counter(zk->journal, JOURNAL_NEXT_XID);
}

/* Before anything of a step goes to the server, and before any of its answers is told. A session
 * that expired stays until there is another: that it did has to be told to all who held something
 * by it, and the next worker hears so again. */
void zk_journal_note(struct zk *zk) {
    if (!zk->journal)
        return;
    struct client_resume now;
    client_get_resume(zk->client, &now);
    journal_set_counter(zk->journal, JOURNAL_NEXT_XID, (uint64_t)now.next_xid);
    journal_set_counter(zk->journal, JOURNAL_LAST_ZXID, (uint64_t)now.last_zxid);
    if (now.session_id == 0 || now.session_id == zk->session_kept)
        return;
    struct session_record s = {.session_id = now.session_id};
    memcpy(s.passwd, now.passwd, PASSWD_BYTES);
    journal_put(zk->journal, &zk->session_ref, JOURNAL_SESSION, 1, 0, &s, sizeof s);
    zk->session_kept = now.session_id;
}

static struct zk_call *find(struct zk *zk, uint64_t token) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &token, sizeof(token), call);
    return call;
}

void zk_keep(struct zk *zk, uint64_t token, uint64_t unique, uint32_t *ref) {
    struct zk_call *call = find(zk, token);
    if (!zk->journal || !call || !zk_call_is_write(call) || call->local_err != 0)
        return;
    struct write_record w = {.session_id = client_session_id(zk->client),
                             .before = client_last_zxid(zk->client),
                             .opcode = call->opcode};
    struct buf bytes = BUF_INIT;
    buf_put(&bytes, &w, sizeof w);
    buf_put(&bytes, call->request.data, call->request.len);
    journal_put(zk->journal, ref, JOURNAL_WRITE, unique, 0, bytes.data, bytes.len);
    buf_close(&bytes);
    call->kept = *ref;
    call->unique = unique;
    call->kept_before = w.before;
}

void zk_call_kept_xid(struct zk *zk, struct zk_call *call) {
    if (call->kept != 0)
        journal_set_word(zk->journal, call->kept,
                         (uint64_t)(uint32_t)client_xid_of(zk->client, call->token));
}

bool zk_sent_read(const struct journal_record *r, struct zk_sent *ret) {
    struct write_record w;
    if (r->bytes.len < (int32_t)sizeof w)
        return false;
    memcpy(&w, r->bytes.p, sizeof w);
    *ret = (struct zk_sent){.ref = r->ref,
                            .unique = r->key,
                            .session_id = w.session_id,
                            .before = w.before,
                            .xid = (int32_t)(uint32_t)r->word,
                            .opcode = w.opcode};
    buf_init(&ret->request, 0);
    buf_put(&ret->request, r->bytes.p + sizeof w, (size_t)r->bytes.len - sizeof w);
    return true;
}

static struct zk_resent *find_resent(struct zk *zk, uint32_t ref) {
    struct zk_resent *r;
    DL_FOREACH(zk->resent, r) if (r->sent.ref == ref) return r;
    return NULL;
}

static void resent_free(struct zk *zk, struct zk_resent *r) {
    DL_DELETE(zk->resent, r);
    if (r->call)
        r->call->resent = NULL;
    buf_close(&r->sent.request);
    buf_close(&r->bytes);
    mem_free(r);
}

void zk_resent_drop(struct zk *zk, struct zk_resent *r) {
    if (r->is_fed && !r->is_answered)
        zk_cancel_in_client(zk, r->token);
    resent_free(zk, r);
}

void zk_resent_close(struct zk *zk) {
    while (zk->resent)
        resent_free(zk, zk->resent);
}

void zk_resend(struct zk *zk, const struct zk_sent *sent) {
    if (sent->xid == 0 || find_resent(zk, sent->ref))
        return;
    struct zk_resent *r = mem_zalloc(sizeof(*r));
    r->sent = *sent;
    buf_init(&r->sent.request, 0);
    buf_put(&r->sent.request, sent->request.data, sent->request.len);
    r->token = ++zk->last_token;
    DL_APPEND(zk->resent, r);
    zk->resent_waits = true;
}

void zk_forget(struct zk *zk, const struct zk_sent *sent) {
    struct zk_resent *r = find_resent(zk, sent->ref);
    if (r && !r->call)
        zk_resent_drop(zk, r);
}

static void keep_answer(struct zk_resent *r, const struct client_update *u) {
    r->is_answered = true;
    r->answer = *u;
    buf_init(&r->bytes, 0);
    if (u->bytes.len > 0)
        buf_put(&r->bytes, u->bytes.p, (size_t)u->bytes.len);
}

struct zk_call *zk_resent_answered(struct zk *zk, const struct client_update *u) {
    struct zk_resent *r;
    DL_FOREACH(zk->resent, r) {
        if (r->token != u->token)
            continue;
        struct zk_call *call = r->call;
        if (call && !call->is_queued) {
            resent_free(zk, r);
            return call;
        }
        keep_answer(r, u);
        return NULL;
    }
    return NULL;
}

void zk_resent_take(struct zk *zk, struct zk_call *call) {
    struct zk_resent *r = call->resent;
    if (!r->is_answered)
        return;
    struct buf bytes = r->bytes;
    struct client_update u = r->answer;
    u.token = call->token;
    u.bytes.p = bytes.data;
    buf_init(&r->bytes, 0);
    resent_free(zk, r);
    zk_on_reply(zk, &u);
    buf_close(&bytes);
}

/* The xid counts in its own session only. */
static void feed_resent(struct zk *zk, struct zk_resent *r) {
    struct slice request = {.p = r->sent.request.data, .len = (int32_t)r->sent.request.len};
    struct client_event ev = {.type = CE_REQUEST,
                              .bytes = request,
                              .token = r->token,
                              .opcode = r->sent.opcode,
                              .xid = r->sent.xid};
    struct client_update lost = {.type = CU_REPLY, .err = ZK_CONNECTIONLOSS, .bytes = SLICE_NULL};
    r->is_fed = true;
    if (r->sent.session_id == client_session_id(zk->client))
        zk_feed(zk, &ev);
    else
        keep_answer(r, &lost);
}

static int by_age(const struct zk_resent *a, const struct zk_resent *b) {
    return (a->age < b->age) - (a->age > b->age);
}

static struct zk_resent *first_waiting(const struct zk *zk) {
    struct zk_resent *r;
    DL_FOREACH(zk->resent, r) if (!r->is_fed) return r;
    return NULL;
}

void zk_resent_flush(struct zk *zk) {
    if (!zk->resent_waits)
        return;
    zk->resent_waits = false;
    struct client_resume now;
    client_get_resume(zk->client, &now);
    struct zk_resent *r;
    /* xids begin again behind the greatest. */
    DL_FOREACH(zk->resent, r)
    r->age = ((uint32_t)now.next_xid - (uint32_t)r->sent.xid) & 0x7fffffffu;
    DL_SORT(zk->resent, by_age);
    while ((r = first_waiting(zk)))
        feed_resent(zk, r);
}

/* Where the xid is 0 the write had not left, for it is known before that, and is done as a new one.
 */
bool zk_repeat(struct zk *zk, uint64_t token, const struct zk_sent *sent) {
    struct zk_call *call = find(zk, token);
    if (!call || !zk_call_is_write(call) || call->local_err != 0)
        return false;
    if (call->opcode != sent->opcode || call->request.len != sent->request.len ||
        memcmp(call->request.data, sent->request.data, sent->request.len) != 0) {
        call->local_err = ZK_CONNECTIONLOSS;
        return true;
    }
    call->kept = sent->ref;
    call->unique = sent->unique;
    call->kept_before = sent->before;
    if (sent->xid == 0)
        return true;
    zk_resend(zk, sent);
    call->resent = find_resent(zk, sent->ref);
    call->resent->call = call;
    call->before = sent->before;
    call->sends = 2; /* by that worker, and by this one */
    return true;
}
