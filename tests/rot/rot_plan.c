/* The list of cases: first what can be done to a file as a whole, each file and each moment of it;
 * then random places. */
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "tests/rot/rot.h"

/* How often a random place is of that kind of file: by what it may cost, not by its size. */
static const uint8_t weights[ROT_KINDS] = {
    [ROT_LOG_LAST] = 30,  [ROT_LOG_NEEDED] = 24, [ROT_LOG_OLD] = 10,   [ROT_SNAP_NEWEST] = 14,
    [ROT_SNAP_OLDER] = 6, [ROT_EPOCH] = 10,      [ROT_CUT] = 10,       [ROT_SNAP_NEXT] = 14,
    [ROT_REBUILD] = 10,   [ROT_NEW] = 20,        [ROT_UNFINISHED] = 1, [ROT_RESERVE] = 1,
};

struct listing {
    struct rot_file files[ROT_FILES_MAX];
    size_t count;
};

static struct rot_case *add_case(struct rot_plan *p, const struct rot_base *b, enum rot_mode mode,
                                 struct prng *r) {
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 1024 : p->cap * 2;
        p->cases = mem_realloc(p->cases, p->cap * sizeof *p->cases);
    }
    struct rot_case *c = &p->cases[p->count];
    *c = (struct rot_case){
        .number = (uint32_t)p->count++, .base = b, .mode = mode, .seed = prng_next(r)};
    return c;
}

static void set_damage(struct rot_case *c, size_t host, const struct rot_file *file,
                       enum rot_fault fault, struct prng *r) {
    struct rot_damage *d = &c->damage[c->damage_count++];
    *d = (struct rot_damage){
        .host = (uint8_t)host, .file = *file, .fault = fault, .draw = prng_next(r)};
    c->partner = (host + 1 + prng_below(r, 2)) % ROT_HOSTS;
}

/* In each mode that there is for this base. */
static void add_whole(struct rot_plan *p, const struct rot_base *b, size_t host,
                      const struct rot_file *file, enum rot_fault fault, size_t older,
                      struct prng *r) {
    enum rot_mode modes[] = {b->count == 1 ? ROT_ALONE : ROT_ALL, ROT_PAIR};
    for (size_t m = 0; m < (b->count == 1 ? 1 : 2); m++) {
        struct rot_case *c = add_case(p, b, modes[m], r);
        set_damage(c, host, file, fault, r);
        c->damage[0].older = older;
    }
}

/* Each different copy, once. */
static void add_older(struct rot_plan *p, const struct rot_base *b, size_t host,
                      const struct rot_file *file, struct prng *r) {
    char path[64];
    (void)snprintf(path, sizeof path, "%s/%s", MEMBERS_DIR, file->name);
    for (size_t k = 0; k < b->older_count[host]; k++) {
        size_t size = 0, next_size = 0;
        const uint8_t *next = NULL;
        const uint8_t *old = mem_files_bytes(b->older[host][k], path, &size);
        if (k + 1 < b->older_count[host])
            next = mem_files_bytes(b->older[host][k + 1], path, &next_size);
        bool again =
            old != NULL && next != NULL && size == next_size && memcmp(old, next, size) == 0;
        if (!again && rot_older_differs(b, host, k, file->name))
            add_whole(p, b, host, file, ROT_OLDER, k, r);
    }
}

static void add_file(struct rot_plan *p, const struct rot_base *b, size_t host,
                     const struct rot_file *file, struct prng *r) {
    add_whole(p, b, host, file, ROT_LOST, 0, r);
    if (file->size == 0)
        return;
    add_whole(p, b, host, file, ROT_ZEROED, 0, r);
    for (int k = 0; k < 2; k++)
        add_whole(p, b, host, file, ROT_SHORTER, 0, r);
    add_older(p, b, host, file, r);
}

/* Files that were removed: the newest copy of each that there is. */
static void add_back(struct rot_plan *p, const struct rot_base *b, size_t host, struct prng *r) {
    struct listing l;
    char path[64];
    size_t size = 0;
    for (size_t k = b->older_count[host]; k > 0; k--) {
        l.count = rot_files(b->older[host][k - 1], l.files);
        for (size_t i = 0; i < l.count; i++) {
            bool later = false;
            (void)snprintf(path, sizeof path, "%s/%s", MEMBERS_DIR, l.files[i].name);
            for (size_t n = k; n < b->older_count[host]; n++)
                later = later || mem_files_bytes(b->older[host][n], path, &size) != NULL;
            if (!later && mem_files_bytes(b->disks[host], path, &size) == NULL)
                add_whole(p, b, host, &l.files[i], ROT_BACK, k - 1, r);
        }
    }
}

static size_t draw_file(const struct rot_base *b, const struct listing *lists, struct prng *r,
                        const struct rot_file **ret_file) {
    uint64_t sum = 0;
    bool there[ROT_KINDS] = {0};
    for (size_t h = 0; h < b->count; h++)
        for (size_t i = 0; i < lists[h].count; i++)
            there[lists[h].files[i].kind] = true;
    for (size_t k = 0; k < ROT_KINDS; k++)
        sum += there[k] ? weights[k] : 0;
    uint64_t at = prng_below(r, sum);
    size_t kind = 0;
    for (;; kind++) {
        uint64_t weight = there[kind] ? weights[kind] : 0;
        if (at < weight)
            break;
        at -= weight;
    }
    for (;;) {
        size_t h = (size_t)prng_below(r, b->count);
        size_t i = (size_t)prng_below(r, lists[h].count);
        if (lists[h].files[i].kind == kind) {
            *ret_file = &lists[h].files[i];
            return h;
        }
    }
}

static enum rot_fault draw_fault(struct prng *r) {
    static const enum rot_fault faults[] = {ROT_BIT,    ROT_BIT,  ROT_BYTE,     ROT_BYTE,
                                            ROT_SECTOR, ROT_PAGE, ROT_MISPLACED};
    return faults[prng_below(r, sizeof faults / sizeof faults[0])];
}

static enum rot_mode draw_mode(const struct rot_base *b, struct prng *r) {
    return b->count == 1 ? ROT_ALONE : prng_chance(r, 2, 5) ? ROT_PAIR : ROT_ALL;
}

static void add_random(struct rot_plan *p, const struct rot_base *b, const struct listing *lists,
                       uint32_t count, struct prng *r) {
    for (uint32_t k = 0; k < count; k++) {
        const struct rot_file *file = NULL;
        struct rot_case *c = add_case(p, b, draw_mode(b, r), r);
        size_t host = draw_file(b, lists, r, &file);
        set_damage(c, host, file, draw_fault(r), r);
    }
}

static void add_every(struct rot_plan *p, const struct rot_base *b, const struct listing *lists,
                      uint32_t count, struct prng *r) {
    for (size_t h = 0; h < b->count; h++) {
        for (size_t i = 0; i < lists[h].count; i++) {
            for (uint32_t k = 0; k < count && lists[h].files[i].size > 0; k++) {
                struct rot_case *c = add_case(p, b, draw_mode(b, r), r);
                set_damage(c, h, &lists[h].files[i], draw_fault(r), r);
            }
        }
    }
}

static void add_two(struct rot_plan *p, const struct rot_base *b, const struct listing *lists,
                    uint32_t count, struct prng *r) {
    for (uint32_t k = 0; k < count; k++) {
        const struct rot_file *file = NULL;
        struct rot_case *c = add_case(p, b, b->count == 1 ? ROT_ALONE : ROT_TWO, r);
        size_t host = draw_file(b, lists, r, &file);
        for (int n = 0; n < 2; n++) {
            set_damage(c, host, file, prng_chance(r, 1, 3) ? ROT_LOST : draw_fault(r), r);
            do
                file = &lists[host].files[prng_below(r, lists[host].count)];
            while (file->size == 0);
        }
    }
}

/* Of one alone nobody could tell. */
static void add_directories(struct rot_plan *p, const struct rot_base *b, size_t host,
                            struct prng *r) {
    static const struct rot_file whole = {.name = "everything", .kind = ROT_WHOLE};
    if (b->count == 1)
        return;
    add_whole(p, b, host, &whole, ROT_LOST, 0, r);
    for (size_t k = 0; k < b->older_count[host]; k++)
        add_whole(p, b, host, &whole, ROT_OLDER, k, r);
}

/* Segments whose records another one's damage does not concern. */
static bool apart(const struct rot_file *a, const struct rot_file *b) {
    return (a->until != 0 && a->until <= b->first) || (b->until != 0 && b->until <= a->first);
}

static bool is_log(const struct rot_file *f) { return f->kind <= ROT_LOG_OLD; }

/* What is lost here has to be known to be lost: another one's end would be overlooked. */
static enum rot_fault draw_each_fault(const struct rot_file *f, struct prng *r) {
    static const enum rot_fault last[] = {ROT_BIT, ROT_BYTE, ROT_LOST};
    static const enum rot_fault others[] = {ROT_LOST, ROT_ZEROED, ROT_SHORTER};
    if (f->kind == ROT_LOG_LAST)
        return last[prng_below(r, 3)];
    return prng_chance(r, 1, 3) ? others[prng_below(r, 3)] : draw_fault(r);
}

static void add_each(struct rot_plan *p, const struct rot_base *b, const struct listing *lists,
                     uint32_t count, struct prng *r) {
    for (uint32_t n = 0; n < count; n++) {
        const struct rot_file *files[ROT_HOSTS];
        /* One of them may have lost something else than a segment. */
        size_t other = (size_t)prng_below(r, ROT_HOSTS * 2);
        for (bool fits = false; !fits;) {
            fits = true;
            for (size_t h = 0; h < ROT_HOSTS; h++) {
                files[h] = &lists[h].files[prng_below(r, lists[h].count)];
                fits = fits && is_log(files[h]) == (h != other) && files[h]->size > 0 &&
                       files[h]->kind != ROT_RESERVE;
            }
            for (size_t h = 0; fits && h < ROT_HOSTS; h++)
                for (size_t k = 0; k < h; k++)
                    fits = fits && (h == other || k == other || apart(files[h], files[k]));
        }
        struct rot_case *c = add_case(p, b, ROT_EACH, r);
        for (size_t h = 0; h < ROT_HOSTS; h++)
            set_damage(c, h, files[h], draw_each_fault(files[h], r), r);
    }
}

/* The first `ensembles` bases are ensembles. */
static void plan_base(struct rot_plan *p, const struct rot_base *b, size_t number, size_t ensembles,
                      const struct rot_amounts *amounts, struct prng *r) {
    struct listing *lists = mem_zalloc(ROT_HOSTS * sizeof *lists);
    for (size_t h = 0; h < b->count; h++) {
        lists[h].count = rot_files(b->disks[h], lists[h].files);
        for (size_t i = 0; i < lists[h].count; i++)
            add_file(p, b, h, &lists[h].files[i], r);
        add_back(p, b, h, r);
        add_directories(p, b, h, r);
    }
    if (number == 0 || number == ensembles)
        add_every(p, b, lists, amounts->every, r);
    add_random(p, b, lists, amounts->offsets, r);
    add_two(p, b, lists, amounts->two, r);
    if (number == 0 || number + 1 == ensembles)
        add_each(p, b, lists, amounts->each, r);
    mem_free(lists);
}

void rot_plan_make(struct rot_plan *p, const struct rot_set *set, uint64_t seed,
                   const struct rot_amounts *amounts) {
    struct prng r;
    *p = (struct rot_plan){.seed = seed};
    size_t ensembles = 0;
    prng_init(&r, seed);
    while (ensembles < set->count && set->bases[ensembles].count > 1)
        ensembles++;
    for (size_t i = 0; i < set->count; i++)
        plan_base(p, &set->bases[i], i, ensembles, amounts, &r);
}

void rot_plan_close(struct rot_plan *p) {
    mem_free(p->cases);
    *p = (struct rot_plan){0};
}
