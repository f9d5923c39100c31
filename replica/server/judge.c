#include "replica/server/judge.h"

#include "common/mem.h"
#include "replica/server/digest.h"
#include "replica/server/limits.h"

/* Questions about one zxid. It lives until every one of those asked has answered or is given up. */
struct round {
    struct round *next;
    zxid_t zxid;
    int64_t asked_ms;
    bool everyone; /* no learner that is up to date was left out */
    struct quorum_set waiting, told;
    struct quorum_set known; /* whose digest is here; this server's too */
    uint64_t digests[256];
};

struct judge {
    struct round *first;        /* in no order that counts */
    struct quorum_set owing;    /* asked, and not answered yet: in one round's `waiting` each */
    struct quorum_set doubts;   /* told to start over without a quorum that says so */
    struct quorum_set hopeless; /* of these, those that differ still; and the log says so */
    zxid_t asked[256];          /* about which zxid last; 0: not yet, over this link */
    bool everyone; /* the servers differed, and some were left out: the next round waits for all */
    bool dirty;    /* something to judge */
};

void judge_init(struct replica *r) { r->judge = mem_zalloc(sizeof *r->judge); }

void judge_close(struct replica *r) {
    judge_forget_all(r);
    mem_free(r->judge);
    r->judge = NULL;
}

static bool is_empty(const struct quorum_set *s) {
    return (s->bits[0] | s->bits[1] | s->bits[2] | s->bits[3]) == 0;
}

void judge_forget(struct replica *r, uint8_t peer) {
    struct judge *j = r->judge;
    j->asked[peer] = 0;
    if (!quorum_has(&j->owing, peer))
        return;
    quorum_remove(&j->owing, peer);
    for (struct round *round = j->first; round; round = round->next)
        quorum_remove(&round->waiting, peer);
    j->dirty = true;
}

static void round_free(struct round **at) {
    struct round *round = *at;
    *at = round->next;
    mem_free(round);
}

void judge_forget_all(struct replica *r) {
    struct judge *j = r->judge;
    while (j->first)
        round_free(&j->first);
    /* Who is in doubt stays so: this server may lead again in a moment. */
    *j = (struct judge){.doubts = j->doubts, .hopeless = j->hopeless};
}

/* An answer that never comes: the learner has begun anew on the same link, or stands still. */
static void give_up_late(struct replica *r) {
    struct judge *j = r->judge;
    for (struct round *round = j->first; round; round = round->next) {
        bool late = r->mono_ms - round->asked_ms >= DIGEST_ANSWER_MS;
        for (unsigned id = 0; late && id < 256; id++) {
            if (quorum_has(&round->waiting, (uint8_t)id))
                judge_forget(r, (uint8_t)id);
        }
    }
}

/* Whether somebody is to be asked that was not, about this zxid. Learners that are not up to date
 * owe nothing. */
static bool is_news(struct replica *r, zxid_t zxid) {
    struct judge *j = r->judge;
    struct zab_learner_info info;
    bool news = false;
    for (size_t i = 0; zab_learner_info(r->zab, i, &info); i++) {
        if (!info.serving)
            judge_forget(r, info.id);
        else if (!quorum_has(&j->owing, info.id))
            news = news || j->everyone || j->asked[info.id] != zxid;
    }
    return news && (!j->everyone || is_empty(&j->owing));
}

static void ask(struct replica *r, struct round *round, uint8_t id) {
    struct judge *j = r->judge;
    struct app_msg m = {.type = APP_DIGEST,
                        .body = SLICE_NULL,
                        .zxid = round->zxid,
                        .has_digest = true,
                        .digest = round->digests[r->config.server_id]};
    if (!zab_send_app(r->zab, id, app_encode(&m)))
        return;
    j->asked[id] = round->zxid;
    quorum_add(&j->owing, id);
    quorum_add(&round->waiting, id);
}

void judge_ask(struct replica *r) {
    struct judge *j = r->judge;
    zxid_t zxid = digest_newest(r);
    uint64_t own;
    give_up_late(r);
    if (!digest_find(r, zxid, &own) || !is_news(r, zxid))
        return;
    struct round *round = mem_zalloc(sizeof *round);
    round->zxid = zxid;
    round->asked_ms = r->mono_ms;
    round->everyone = is_empty(&j->owing);
    round->digests[r->config.server_id] = own;
    quorum_add(&round->known, r->config.server_id);
    struct zab_learner_info info;
    for (size_t i = 0; zab_learner_info(r->zab, i, &info); i++) {
        if (info.serving && !quorum_has(&j->owing, info.id))
            ask(r, round, info.id);
    }
    round->next = j->first;
    j->first = round;
    j->everyone = false;
    j->dirty = true;
}

void judge_take(struct replica *r, uint8_t peer, const struct app_msg *m) {
    struct judge *j = r->judge;
    for (struct round *round = j->first; round; round = round->next) {
        if (round->zxid != m->zxid || !quorum_has(&round->waiting, peer))
            continue;
        quorum_remove(&j->owing, peer);
        quorum_remove(&round->waiting, peer);
        round->digests[peer] = m->digest;
        if (m->has_digest)
            quorum_add(&round->known, peer);
        j->dirty = true;
        return;
    }
}

static struct quorum_set servers_with(const struct replica *r, const struct round *round,
                                      uint64_t digest) {
    struct quorum_set set = {0};
    for (uint32_t i = 0; i < r->config.ensemble.count; i++) {
        const struct quorum_server *s = &r->config.ensemble.servers[i];
        if (quorum_has(&round->known, s->id) && round->digests[s->id] == digest)
            quorum_add(&set, s->id);
    }
    return set;
}

/* What a quorum has, in which only voters count; two quorums have a voter in common, so there is
 * one at most. */
static bool is_decided(const struct replica *r, const struct round *round, uint64_t *ret_right) {
    for (uint32_t i = 0; i < r->config.ensemble.count; i++) {
        const struct quorum_server *s = &r->config.ensemble.servers[i];
        if (!quorum_has(&round->known, s->id))
            continue;
        struct quorum_set set = servers_with(r, round, round->digests[s->id]);
        if (!quorum_holds(&r->config.ensemble, &set))
            continue;
        *ret_right = round->digests[s->id];
        return true;
    }
    return false;
}

static bool differs(const struct round *round, uint8_t id, uint64_t right) {
    return quorum_has(&round->known, id) && round->digests[id] != right;
}

/* Tells a learner to start over. False when it is gone: it is asked again when it is back. */
static bool tell(struct replica *r, struct round *round, uint8_t id, uint64_t right, bool distrust,
                 const char *why) {
    struct app_msg m = {.type = APP_QUARANTINE,
                        .body = SLICE_NULL,
                        .zxid = round->zxid,
                        .has_digest = true,
                        .digest = right,
                        .distrust = distrust};
    if (quorum_has(&round->told, id) || !zab_send_app(r->zab, id, app_encode(&m)))
        return false;
    quorum_add(&round->told, id);
    digest_count_mismatch(r);
    out_text(&r->out, UPD_NOTE, 0, LOG_ERROR,
             "%s: it has to start over peer=%u zxid=0x%llx digest=0x%016llx right=0x%016llx", why,
             id, (unsigned long long)round->zxid, (unsigned long long)round->digests[id],
             (unsigned long long)right);
    return true;
}

static void trust(struct judge *j, uint8_t id) {
    quorum_remove(&j->doubts, id);
    quorum_remove(&j->hopeless, id);
}

bool judge_fresh(const struct replica *r) {
    return r->config.start_overs > 0 && r->mono_ms - r->started_ms < DIGEST_FRESH_MS;
}

static void judge_decided(struct replica *r, struct round *round, uint64_t right) {
    uint8_t self = r->config.server_id;
    if (differs(round, self, right)) {
        digest_start_over(
            r, judge_fresh(r),
            "this replica leads, and its tree is not what a quorum of the servers has",
            "zxid=0x%llx digest=0x%016llx theirs=0x%016llx", (unsigned long long)round->zxid,
            (unsigned long long)round->digests[self], (unsigned long long)right);
        return;
    }
    for (uint32_t i = 0; i < r->config.ensemble.count; i++) {
        uint8_t id = r->config.ensemble.servers[i].id;
        if (differs(round, id, right))
            (void)tell(r, round, id, right, true,
                       "a server's tree is not what a quorum of them has");
        else if (quorum_has(&round->known, id))
            trust(r->judge, id);
    }
}

static bool is_known_of_all(const struct replica *r, const struct round *round) {
    for (uint32_t i = 0; i < r->config.ensemble.count; i++) {
        const struct quorum_server *s = &r->config.ensemble.servers[i];
        if (s->voter && !quorum_has(&round->known, s->id))
            return false;
    }
    return true;
}

/* This leader's tree and that of a learner differ. The learner looks at its disk first. When both
 * have, the leader's tree counts, for it must come to an end; but not while a voter is missing: its
 * digest may tell which one is right, and a history that was given up could not be had back. */
static void doubt(struct replica *r, struct round *round, uint8_t id) {
    struct judge *j = r->judge;
    uint64_t own = round->digests[r->config.server_id];
    bool again = quorum_has(&j->doubts, id);
    if (!again || is_known_of_all(r, round)) {
        if (tell(r, round, id, own, again,
                 "a server's tree differs from this leader's, and no quorum says which is right"))
            quorum_add(&j->doubts, id);
        return;
    }
    if (quorum_has(&j->hopeless, id))
        return;
    quorum_add(&j->hopeless, id);
    out_text(&r->out, UPD_NOTE, 0, LOG_ERROR,
             "a server's tree and this leader's differ although both have read their disks: all "
             "goes on like that until the voters that are missing can say which one is right "
             "peer=%u zxid=0x%llx digest=0x%016llx own=0x%016llx",
             id, (unsigned long long)round->zxid, (unsigned long long)round->digests[id],
             (unsigned long long)own);
}

/* It has started over in vain, and this leader may have to do so as well. */
static bool is_unclear(const struct judge *j, uint8_t id) {
    return quorum_has(&j->doubts, id) && !quorum_has(&j->hopeless, id);
}

/* All have answered, and nobody can say which tree is right. */
static void judge_tie(struct replica *r, struct round *round) {
    struct judge *j = r->judge;
    const struct quorum_config *q = &r->config.ensemble;
    uint64_t own = round->digests[r->config.server_id];
    bool any = false, again = false;
    for (uint32_t i = 0; i < q->count; i++) {
        bool one = differs(round, q->servers[i].id, own);
        any = any || one;
        again = again || (one && is_unclear(j, q->servers[i].id));
    }
    if (any && !round->everyone) {
        j->everyone = true;
        return;
    }
    if (again && !judge_fresh(r)) {
        digest_start_over(r, false,
                          "this replica leads, another one's tree differs still although it has "
                          "started over, and no quorum says which is right",
                          "zxid=0x%llx digest=0x%016llx", (unsigned long long)round->zxid,
                          (unsigned long long)own);
        return;
    }
    for (uint32_t i = 0; i < q->count; i++) {
        if (differs(round, q->servers[i].id, own))
            doubt(r, round, q->servers[i].id);
    }
}

void judge_run(struct replica *r) {
    struct judge *j = r->judge;
    if (!j->dirty)
        return;
    j->dirty = false;
    for (struct round **at = &j->first; *at && !r->stopped;) {
        struct round *round = *at;
        uint64_t right;
        bool ended = is_empty(&round->waiting);
        if (is_decided(r, round, &right))
            judge_decided(r, round, right);
        else if (ended)
            judge_tie(r, round);
        if (ended)
            round_free(at);
        else
            at = &round->next;
    }
}
