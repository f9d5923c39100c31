#include "replica/server/digest.h"

#include "common/mem.h"
#include "replica/server/judge.h"
#include "replica/server/limits.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_scrub.h"

#include <stdarg.h>
#include <stdio.h>

struct digests {
    struct {
        zxid_t zxid;
        uint64_t digest;
    } ring[DIGEST_RING];
    uint64_t count; /* ever put in since the reset: the last is ring[(count - 1) % DIGEST_RING] */
    int64_t period_ms; /* of the scrub and the questions */
    int64_t due_ms;    /* mono: of the next */
    uint64_t mismatches;
    bool told_differs; /* from the leader's; until they are equal again */
};

void digest_init(struct replica *r) {
    struct zab_config z;
    zab_config_defaults(&z);
    int64_t period_ms = r->config.heartbeat_ms > 0 ? r->config.heartbeat_ms : z.heartbeat_ms;
    r->digests = mem_zalloc(sizeof *r->digests);
    r->digests->period_ms =
        period_ms < DIGEST_PERIOD_MS_MAX ? period_ms : (int64_t)DIGEST_PERIOD_MS_MAX;
    r->digests->mismatches = r->config.start_overs;
    judge_init(r);
    digest_reset(r);
}

void digest_close(struct replica *r) {
    judge_close(r);
    mem_free(r->digests);
    r->digests = NULL;
}

/* Before the tree is exact its digest means nothing. */
static void append(struct replica *r) {
    struct digests *d = r->digests;
    zxid_t zxid = core_last_zxid(r);
    if (zxid == 0 || !tree_exact(r->tree))
        return;
    size_t at = d->count++ % DIGEST_RING;
    d->ring[at].zxid = zxid;
    d->ring[at].digest = tree_digest(r->tree);
}

void digest_reset(struct replica *r) {
    r->digests->count = 0;
    r->digests->told_differs = false;
    append(r);
}

/* The i-th newest, from 0. */
static size_t newest(const struct digests *d, uint64_t i) {
    return (d->count - 1 - i) % DIGEST_RING;
}

static uint64_t kept(const struct digests *d) {
    return d->count < DIGEST_RING ? d->count : DIGEST_RING;
}

bool digest_find(const struct replica *r, zxid_t zxid, uint64_t *ret_digest) {
    const struct digests *d = r->digests;
    /* What is asked for was applied a moment ago. */
    for (uint64_t i = 0; i < kept(d) && d->ring[newest(d, i)].zxid >= zxid; i++) {
        if (d->ring[newest(d, i)].zxid != zxid)
            continue;
        *ret_digest = d->ring[newest(d, i)].digest;
        return true;
    }
    return false;
}

zxid_t digest_newest(const struct replica *r) {
    const struct digests *d = r->digests;
    return d->count > 0 ? d->ring[newest(d, 0)].zxid : 0;
}

void digest_start_over(struct replica *r, bool distrust, const char *why, const char *details,
                       ...) {
    char more[256];
    va_list ap;
    va_start(ap, details);
    (void)vsnprintf(more, sizeof more, details, ap);
    va_end(ap);
    digest_count_mismatch(r);
    out_text(&r->out, UPD_NOTE, 0, LOG_ERROR, "%s: this replica stops serving, and %s %s", why,
             distrust ? "discards its memory and its disk, to come back through a snapshot of its "
                        "leader"
                      : "discards its memory, to start over from its disk",
             more);
    core_start_over(r, distrust, "%s", why);
}

/* False when the core is gone. The disk is not to blame for what memory does, however often: it is
 * verified when it is read. While it is being read nobody is there yet to start over. */
static bool is_sound(struct replica *r) {
    static const char why[] = "a znode in memory does not have its own checksum any more";
    const char *path = tree_altered(r->tree);
    unsigned long long zxid = (unsigned long long)core_last_zxid(r);
    if (!path)
        return true;
    if (r->started)
        digest_start_over(r, false, why, "zxid=0x%llx path=%s", zxid, path);
    else
        core_stop(r, "%s zxid=0x%llx path=%s", why, zxid, path);
    return false;
}

bool digest_applied(struct replica *r) {
    append(r);
    return is_sound(r);
}

void digest_run(struct replica *r) {
    struct digests *d = r->digests;
    if (r->mono_ms >= d->due_ms) {
        d->due_ms = r->mono_ms + d->period_ms;
        (void)tree_scrub(r->tree, (size_t)(SCRUB_ZNODES_PER_MS * d->period_ms));
        if (is_sound(r) && r->leading)
            judge_ask(r);
    }
    if (!r->stopped)
        judge_run(r);
}

int64_t digest_deadline(const struct replica *r) { return r->digests->due_ms; }

/* The leader's digest stands in its question so that both are in this server's log, too, should the
 * leader not live to judge. */
static void answer(struct replica *r, const struct app_msg *question) {
    struct app_msg m = {.type = APP_DIGEST, .body = SLICE_NULL, .zxid = question->zxid};
    m.has_digest = digest_find(r, m.zxid, &m.digest);
    bool both = m.has_digest && question->has_digest;
    bool differs = both && m.digest != question->digest;
    if (differs && !r->digests->told_differs)
        out_text(&r->out, UPD_NOTE, 0, LOG_WARN,
                 "this replica's tree and its leader's differ zxid=0x%llx digest=0x%016llx "
                 "leader_digest=0x%016llx",
                 (unsigned long long)m.zxid, (unsigned long long)m.digest,
                 (unsigned long long)question->digest);
    if (both)
        r->digests->told_differs = differs;
    (void)zab_send_app(r->zab, r->leader, app_encode(&m));
}

/* False when this server has the digest that is held against it. */
static bool quarantine(struct replica *r, const struct app_msg *m) {
    uint64_t own = 0;
    bool known = digest_find(r, m->zxid, &own);
    if (known && own == m->digest)
        return false;
    bool distrust = m->distrust && judge_fresh(r);
    const char *why = "this replica's tree is not what the other servers have";
    unsigned long long zxid = (unsigned long long)m->zxid, theirs = m->digest;
    if (known)
        digest_start_over(r, distrust, why, "zxid=0x%llx digest=0x%016llx theirs=0x%016llx", zxid,
                          (unsigned long long)own, theirs);
    else
        digest_start_over(r, distrust, why, "zxid=0x%llx theirs=0x%016llx", zxid, theirs);
    return true;
}

bool digest_message(struct replica *r, const struct app_msg *m) {
    if (m->type == APP_QUARANTINE)
        return quarantine(r, m);
    if (m->type == APP_DIGEST)
        answer(r, m);
    return m->type == APP_DIGEST;
}

uint64_t digest_mismatches(const struct replica *r) { return r->digests->mismatches; }

void digest_count_mismatch(struct replica *r) { r->digests->mismatches++; }

void digest_print(const struct replica *r, struct buf *out) {
    const struct digests *d = r->digests;
    uint64_t lines = kept(d) < HASH_WORD_LINES ? kept(d) : HASH_WORD_LINES;
    for (uint64_t i = lines; i > 0; i--)
        buf_printf(out, "0x%llx %016llx\n", (unsigned long long)d->ring[newest(d, i - 1)].zxid,
                   (unsigned long long)d->ring[newest(d, i - 1)].digest);
}
