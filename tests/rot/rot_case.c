/* One case: clones of a base's disks are damaged and started, and this is what must hold:
 *   all serve within a bounded time, or the damaged one says why it does not, and the others serve;
 *   the tree has every acknowledged write, and of those that were under way the first few, in
 *   order, and nothing else; sessions are what they were; all trees are equal;
 *   writes go on, and behind a power cut all of it is there again, and no disk is found damaged. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/tree_digest.h"
#include "tests/rot/rot.h"

/* What an ensemble has to come back, and two of its servers before the third comes. */
#define LIMIT_MS 40000
#define PAIR_MS 6000

struct running {
    const struct rot_case *c;
    struct rot_damage damage[ROT_HOSTS];
    struct members ms;
    struct mem_files *damaged[ROT_HOSTS]; /* as it was started, to see whether it was touched */
    bool changed[ROT_HOSTS];              /* by damage */
    bool refused[ROT_HOSTS];
    bool repairing[ROT_HOSTS], lossy[ROT_HOSTS], shorter[ROT_HOSTS];
    bool cannot_tell;
    uint64_t digest; /* of the tree behind the last write */
    struct rot_verdict *v;
};

jmp_buf *rot_on_check;
char rot_check_text[ROT_WHY_BYTES];

_Noreturn void __real_check_failed(const char *file, int line, const char *condition);
_Noreturn void __wrap_check_failed(const char *file, int line, const char *condition);

_Noreturn void __wrap_check_failed(const char *file, int line, const char *condition) {
    if (rot_on_check == NULL)
        __real_check_failed(file, line, condition);
    (void)snprintf(rot_check_text, sizeof rot_check_text, "%s:%d: CHECK(%s)", file, line,
                   condition);
    longjmp(*rot_on_check, 1);
}

static bool wrong(struct running *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct running *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (r->v->outcome != ROT_WRONG)
        (void)vsnprintf(r->v->why, sizeof r->v->why, fmt, ap);
    va_end(ap);
    r->v->outcome = ROT_WRONG;
    return false;
}

/* ---- what has to be there ---- */

/* So many servers that nothing was done to have every acknowledged write. */
static size_t intact(const struct running *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->c->base->count; i++)
        n += r->c->base->has_all[i] && !r->changed[i];
    return n;
}

/* Whether an acknowledged write may be missing: no quorum held it intact, and what is damaged looks
 * as if it had never been written. */
static bool may_lack(const struct running *r) {
    bool unwritten = false;
    if (2 * intact(r) > r->c->base->count)
        return false;
    for (size_t i = 0; i < r->c->damage_count; i++)
        unwritten =
            unwritten || rot_looks_unwritten(r->c->base->disks[r->damage[i].host], &r->damage[i]);
    return unwritten;
}

static bool check_sessions(struct running *r, size_t i) {
    const struct rot_base *b = r->c->base;
    session_id_t ids[ROT_SESSIONS_MAX];
    size_t n = rot_sessions(members_core(&r->ms, i), ids);
    if (n != b->session_count || memcmp(ids, b->sessions, n * sizeof *ids) != 0)
        return wrong(r, "%zu: its sessions are others", i + 1);
    return true;
}

/* The tree of host i, before anything is written. */
static bool check_tree(struct running *r, size_t i) {
    const struct rot_history *h = &r->c->base->history;
    int at = rot_history_find(h, tree_digest(members_core(&r->ms, i)->tree));
    if (at >= (int)h->acked)
        return check_sessions(r, i);
    if (at < 0)
        return wrong(r, "%zu: its tree was never the ensemble's", i + 1);
    if (!may_lack(r))
        return wrong(r, "%zu: acknowledged writes are lost: its tree is the one %d writes before",
                     i + 1, (int)h->acked - at);
    r->cannot_tell = true;
    return true;
}

static bool check_equal(struct running *r) {
    bool first = true;
    uint64_t digest = 0;
    for (size_t i = 0; i < r->ms.count; i++) {
        const struct replica *core = members_core(&r->ms, i);
        if (!members_serves(&r->ms, i))
            continue;
        if (!first && tree_digest(core->tree) != digest)
            return wrong(r, "%zu: its tree is not the others'", i + 1);
        digest = tree_digest(core->tree);
        first = false;
    }
    r->digest = digest;
    return true;
}

/* ---- starting ---- */

static bool is_damaged(const struct running *r, size_t i) { return r->changed[i]; }

static bool start(struct running *r, size_t i) {
    const struct rot_base *b = r->c->base;
    if (members_start(&r->ms, i) < 0) {
        r->refused[i] = true;
        return is_damaged(r, i) || wrong(r, "%zu: undamaged, and does not start", i + 1);
    }
    const struct replica *core = members_core(&r->ms, i);
    r->repairing[i] = members_repairing(&r->ms, i);
    if (r->ms.hosts[i].stopped || r->repairing[i])
        return true;
    r->lossy[i] = zab_lossy(core->zab);
    r->shorter[i] = zab_last_zxid(core->zab) < b->last[i];
    return true;
}

static bool out_of_it(const struct running *r, size_t i) {
    return r->refused[i] || r->ms.hosts[i].stopped;
}

/* Until everyone that was started serves: false when that does not come. */
static bool come_up(struct running *r, int64_t limit_ms) {
    int64_t end_ms = r->ms.now_ms + limit_ms;
    for (;;) {
        bool all = true;
        for (size_t i = 0; i < r->ms.count; i++) {
            const struct members_host *h = &r->ms.hosts[i];
            all = all && (h->member == NULL || h->stopped || members_serves(&r->ms, i));
        }
        if (all)
            return true;
        if (r->ms.now_ms >= end_ms)
            return false;
        members_run(&r->ms, 50);
    }
}

static bool check_all_serve(struct running *r) {
    if (come_up(r, LIMIT_MS))
        return true;
    for (size_t i = 0; i < r->ms.count; i++)
        if (!out_of_it(r, i) && !members_serves(&r->ms, i))
            return wrong(r, "%zu: does not serve (%s)", i + 1,
                         members_repairing(&r->ms, i) ? "it waits for what is missing"
                                                      : "no leader, or behind it");
    return true;
}

/* Two of three: what they serve, if they do, has to be right; and a write. */
static bool run_pair(struct running *r) {
    size_t damaged = r->damage[0].host, partner = r->c->partner;
    bool first = r->c->seed % 2 == 0;
    if (!start(r, first ? damaged : partner) || !start(r, first ? partner : damaged))
        return false;
    bool up = come_up(r, PAIR_MS) && members_leader(&r->ms) < r->ms.count;
    size_t third = ROT_HOSTS - damaged - partner;
    if (up && (!check_tree(r, damaged) || !check_tree(r, partner)))
        return false;
    if (up && !rot_create(&r->ms, members_leader(&r->ms), "/rot-pair"))
        return wrong(r, "two serve, and take no write");
    r->v->waited = !up;
    return start(r, third);
}

static bool start_all(struct running *r) {
    size_t n = r->ms.count;
    if (r->c->mode == ROT_PAIR)
        return run_pair(r);
    for (size_t k = 0; k < n; k++)
        if (!start(r, (k + r->c->seed) % n))
            return false;
    return true;
}

/* ---- the run ---- */

static bool has_path(const struct replica *core, const char *path) {
    return tree_find(core->tree, slice_from_str(path)) != NULL;
}

static size_t any_serving(const struct running *r, size_t behind) {
    for (size_t k = 1; k <= r->ms.count; k++)
        if (members_serves(&r->ms, (behind + k) % r->ms.count))
            return (behind + k) % r->ms.count;
    return r->ms.count;
}

/* Through the leader, and through another one. */
static bool write_on(struct running *r) {
    bool paired = r->c->mode == ROT_PAIR && !r->v->waited;
    size_t leader = members_leader(&r->ms);
    if (leader >= r->ms.count)
        return wrong(r, "nobody leads");
    if (!rot_create(&r->ms, leader, "/rot-1") ||
        !rot_create(&r->ms, any_serving(r, leader), "/rot-2"))
        return wrong(r, "all serve, and take no write");
    members_run(&r->ms, 400);
    for (size_t i = 0; i < r->ms.count; i++) {
        const struct replica *core = members_core(&r->ms, i);
        if (!members_serves(&r->ms, i))
            continue;
        if (!has_path(core, "/rot-1") || !has_path(core, "/rot-2") ||
            (paired && !has_path(core, "/rot-pair")))
            return wrong(r, "%zu: lacks what was just written", i + 1);
        if (zab_lossy(core->zab))
            return wrong(r, "%zu: serves, and stays lossy", i + 1);
    }
    return check_equal(r);
}

/* Nobody may touch a disk that it refuses. */
static bool check_untouched(struct running *r, size_t i) {
    struct rot_file before[ROT_FILES_MAX], now[ROT_FILES_MAX];
    size_t n = rot_files(r->damaged[i], before), m = rot_files(r->ms.hosts[i].files, now);
    for (size_t k = 0; k < n && n == m; k++) {
        char path[sizeof MEMBERS_DIR + ROT_NAME_BYTES + 1];
        size_t size = 0, size_now = 0;
        (void)snprintf(path, sizeof path, "%s/%.*s", MEMBERS_DIR, ROT_NAME_BYTES, before[k].name);
        const uint8_t *p = mem_files_bytes(r->damaged[i], path, &size);
        const uint8_t *q = mem_files_bytes(r->ms.hosts[i].files, path, &size_now);
        if (q == NULL || size != size_now || memcmp(p, q, size) != 0)
            return wrong(r, "%zu: it refused the disk, and changed %s", i + 1, before[k].name);
    }
    return n == m || wrong(r, "%zu: it refused the disk, and changed its files", i + 1);
}

static bool found_damaged(const struct running *r, size_t i) {
    static const char *const texts[] = {"damage",  "passed over", "unfinished",
                                        "missing", "lossy",       "written anew"};
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++)
        if (members_noted(&r->ms, i, texts[k]))
            return true;
    return false;
}

/* The power goes for all, and they start from their disks once more. */
static bool start_again(struct running *r) {
    members_kill_all(&r->ms);
    for (size_t i = 0; i < r->ms.count; i++) {
        mem_files_power_cut(r->ms.hosts[i].files, MEM_CUT_LOSE, 0);
        buf_reset(&r->ms.hosts[i].notes);
        if (r->refused[i])
            continue;
        if (members_start(&r->ms, i) < 0)
            return wrong(r, "%zu: it does not start again", i + 1);
    }
    if (!check_all_serve(r))
        return false;
    members_run(&r->ms, 300);
    uint64_t digest = r->digest;
    if (!check_equal(r))
        return false;
    if (r->digest != digest)
        return wrong(r, "behind another start the tree is another one");
    for (size_t i = 0; i < r->ms.count; i++)
        if (!out_of_it(r, i) && (found_damaged(r, i) || r->ms.hosts[i].stopped))
            return wrong(r, "%zu: damage is found once more at the second start: %.*s", i + 1,
                         (int)r->ms.hosts[i].notes.len, (const char *)r->ms.hosts[i].notes.data);
    return true;
}

static bool run(struct running *r) {
    bool paired = false;
    if (!start_all(r))
        return false;
    if (r->c->base->count == 1 && r->refused[0])
        return check_untouched(r, 0);
    if (!check_all_serve(r))
        return false;
    members_run(&r->ms, 400);
    paired = r->c->mode == ROT_PAIR && !r->v->waited;
    for (size_t i = 0; i < r->ms.count; i++)
        if (!paired && members_serves(&r->ms, i) && !check_tree(r, i))
            return false;
    if (!check_equal(r) || !write_on(r))
        return false;
    for (size_t i = 0; i < r->ms.count; i++) {
        /* It has what the others have lost, and knows that it was committed (Z11). */
        bool lone = r->ms.hosts[i].stopped && !is_damaged(r, i);
        if (lone && !(r->cannot_tell && members_noted(&r->ms, i, "stopped: ")))
            return wrong(r, "%zu: undamaged, and stopped", i + 1);
        if (r->refused[i] && !check_untouched(r, i))
            return false;
        r->refused[i] = out_of_it(r, i);
    }
    return true;
}

/* ---- what it was ---- */

/* The message of the last line that begins so, without its numbers: so that equal ones are equal.
 */
static void take_message(const struct running *r, size_t i, const char *begin, char *out) {
    const struct buf *b = &r->ms.hosts[i].notes;
    const char *at = NULL, *end = (const char *)b->data + b->len;
    for (const char *p = (const char *)b->data; p != NULL && p < end; p++)
        if ((size_t)(end - p) >= strlen(begin) && memcmp(p, begin, strlen(begin)) == 0)
            at = p;
    size_t n = 0;
    for (; at != NULL && at < end && *at != '\n' && n + 1 < ROT_WHY_BYTES; at++)
        out[n++] = *at;
    out[n] = '\0';
}

static enum rot_outcome outcome_of(struct running *r, size_t i) {
    if (!r->changed[i])
        return ROT_SAME;
    if (r->cannot_tell)
        return ROT_CANNOT_TELL;
    if (out_of_it(r, i)) {
        take_message(
            r, i, r->refused[i] && !r->ms.hosts[i].stopped ? "no start: " : "stopped: ", r->v->why);
        return ROT_REFUSED;
    }
    if (members_noted(&r->ms, i, "discards its memory"))
        return ROT_OVER;
    if (r->lossy[i] || members_noted(&r->ms, i, "more may have been there") ||
        members_noted(&r->ms, i, "was never committed"))
        return ROT_LOSSY;
    if (r->repairing[i])
        return ROT_OTHERS;
    if (r->shorter[i])
        return ROT_RESYNCED;
    if (members_noted(&r->ms, i, "history is written anew") ||
        members_noted(&r->ms, i, "is written anew from the other copy"))
        return ROT_LOCAL;
    if (members_noted(&r->ms, i, "of an unfinished write") && !r->c->base->torn[i])
        return ROT_TORN;
    return members_noted(&r->ms, i, "passed over") ? ROT_PASSED : ROT_HARMLESS;
}

/* Of several the one that cost most. */
static void judge(struct running *r) {
    for (size_t i = 0; i < r->c->damage_count; i++) {
        enum rot_outcome o = outcome_of(r, r->damage[i].host);
        if (o > r->v->outcome)
            r->v->outcome = o;
    }
}

static void prepare(struct running *r) {
    const struct rot_base *b = r->c->base;
    rot_members(&r->ms, b->count);
    r->ms.now_ms = b->now_ms;
    for (size_t i = 0; i < b->count; i++) {
        r->ms.hosts[i].randoms = r->c->seed;
        members_take_disk(&r->ms, i, mem_files_clone(b->disks[i]));
    }
    memcpy(r->damage, r->c->damage, sizeof r->damage);
    for (size_t i = 0; i < r->c->damage_count; i++) {
        size_t host = r->damage[i].host;
        bool changed = rot_apply(r->ms.hosts[host].files, b, &r->damage[i]);
        r->changed[host] = r->changed[host] || changed;
        mem_files_free(r->damaged[host]);
        r->damaged[host] = mem_files_clone(r->ms.hosts[host].files);
    }
}

static void end(struct running *r) {
    members_close(&r->ms);
    for (size_t i = 0; i < ROT_HOSTS; i++)
        mem_files_free(r->damaged[i]);
    mem_free(r);
}

void rot_run(const struct rot_case *c, bool say, struct rot_verdict *ret_verdict) {
    jmp_buf on_check;
    *ret_verdict = (struct rot_verdict){0};
    struct running *volatile r = mem_zalloc(sizeof *r);
    r->c = c;
    r->v = ret_verdict;
    rot_on_check = &on_check;
    if (setjmp(on_check) != 0) {
        /* What is inside a step cannot be closed. */
        wrong(r, "%s", rot_check_text);
        rot_on_check = NULL;
        return;
    }
    prepare(r);
    r->ms.say = say;
    for (size_t i = 0; say && i < c->damage_count; i++)
        printf("# %s%s\n", r->damage[i].what,
               r->changed[r->damage[i].host] ? "" : " (nothing is changed)");
    bool any = r->changed[0] || r->changed[1] || r->changed[2];
    if (any && run(r)) {
        judge(r);
        if (!(c->base->count == 1 && r->refused[0]))
            (void)start_again(r);
    }
    rot_on_check = NULL;
    end(r);
}
