/* Long chains of random jobs, with crashes anywhere, held against a model: after a crash the store
 * is as one of the jobs left it, none that was acknowledged is missing, and nothing is mixed.
 * ZKFS_SEED runs one chain, ZKFS_CHAINS so many. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/prng.h"
#include "replica/store/store.h"
#include "tests/lib/mem_files.h"
#include "tests/lib/unit.h"

#define DIR "/d"
#define RECORDS_MAX 200
#define STATES_MAX 120
#define PIECES_MAX 6
#define PAYLOAD_MAX 3000

/* A record is its zxid and a number that no other record ever has: what was cut away and comes back
 * under the same zxid is found out. */
struct record {
    zxid_t zxid;
    uint32_t id;
};

struct state {
    uint32_t epoch;
    uint32_t snap; /* its number, 0: none */
    zxid_t begun, ended;
    size_t count;
    struct record records[RECORDS_MAX];
};

struct chain {
    uint64_t seed;
    struct prng prng;
    struct mem_files *files;
    struct store *store;
    struct state states[STATES_MAX]; /* as each job leaves it; [0] is acknowledged */
    size_t count;
    size_t handed; /* of them, those that the sync under way covers */
    uint32_t ids;
    uint32_t writing; /* the number of the snapshot that is being written, 0 none */
    size_t pieces;
    int64_t segment_bytes;
    bool cut_pending;
    /* What a start read. */
    struct state read;
    size_t read_pieces;
    bool wrong;
    struct buf why;
};

static uint32_t below(struct chain *c, uint32_t bound) {
    return (uint32_t)prng_below(&c->prng, bound);
}

static struct state *newest(struct chain *c) { return &c->states[c->count - 1]; }

static zxid_t last_zxid(const struct state *s) {
    return s->count > 0 ? s->records[s->count - 1].zxid : s->begun;
}

/* The bytes of record or piece `id`: nothing else has them. */
static void fill(struct buf *b, uint32_t id, size_t n) {
    buf_reset(b);
    buf_put_u32be(b, id);
    while (b->len < n)
        buf_put_u8(b, id % 5 == 0 ? 0 : (uint8_t)(b->len * 13 + id));
}

static size_t record_bytes(uint32_t id) {
    return 4 + (id % 7 == 0 ? id * 2654435761u % PAYLOAD_MAX : id % 60);
}

static size_t piece_bytes(uint32_t id, size_t i) {
    uint32_t r = (id * 31 + (uint32_t)i) * 2654435761u;
    return r % 11 == 0 ? 0 : r % 5 == 0 ? 4 + r % 20000 : 4 + r % 100;
}

static size_t piece_count(uint32_t id) { return id % (PIECES_MAX + 1); }

static bool holds(struct slice bytes, uint32_t id, size_t n) {
    struct buf b = BUF_INIT;
    fill(&b, id, n);
    bool same =
        n == 0 ? bytes.len == 0 : (size_t)bytes.len == b.len && memcmp(bytes.p, b.data, b.len) == 0;
    buf_close(&b);
    return same;
}

/* ---- what is read ---- */

static uint32_t id_of(struct slice bytes) {
    return bytes.len < 4 ? 0
                         : (uint32_t)bytes.p[0] << 24 | (uint32_t)bytes.p[1] << 16 |
                               (uint32_t)bytes.p[2] << 8 | bytes.p[3];
}

static struct record record_of(struct chain *c, const struct log_record *r) {
    struct record record = {.zxid = r->zxid};
    if (r->kind == LOG_EPOCH) {
        record.id = (uint32_t)r->committed;
        return record;
    }
    record.id = id_of(r->payload);
    if (!holds(r->payload, record.id, record_bytes(record.id)) || r->committed != (zxid_t)record.id)
        c->wrong = true;
    return record;
}

static void take_epoch(void *ctx, uint32_t accepted_epoch) {
    struct chain *c = ctx;
    c->read.epoch = accepted_epoch;
}

static bool take_piece(void *ctx, struct slice piece) {
    struct chain *c = ctx;
    uint32_t id = id_of(piece);
    if (id != 0)
        c->read.snap = id;
    c->read_pieces++;
    return true;
}

static bool take_snap(void *ctx, zxid_t begun, zxid_t ended) {
    struct chain *c = ctx;
    c->read.begun = begun;
    c->read.ended = ended;
    /* All pieces of a snapshot may be empty; its zxids tell then. */
    if (c->read.snap == 0)
        c->read.snap = UINT32_MAX;
    return true;
}

static void take_record(void *ctx, const struct log_record *r) {
    struct chain *c = ctx;
    CHECK(c->read.count < RECORDS_MAX);
    c->read.records[c->read.count++] = record_of(c, r);
}

static bool equal(const struct chain *c, const struct state *s) {
    const struct state *r = &c->read;
    if (r->epoch != s->epoch || r->begun != s->begun || r->ended != s->ended ||
        (r->snap == 0) != (s->snap == 0) || r->count != s->count)
        return false;
    if (s->snap != 0 &&
        (c->read_pieces != piece_count(s->snap) || (r->snap != UINT32_MAX && r->snap != s->snap)))
        return false;
    for (size_t i = 0; i < s->count; i++)
        if (r->records[i].zxid != s->records[i].zxid || r->records[i].id != s->records[i].id)
            return false;
    return true;
}

/* ---- the store ---- */

static int open_store(struct chain *c) {
    struct wal_config config = {
        .dir = DIR, .segment_bytes = c->segment_bytes, .salt = prng_next(&c->prng)};
    const struct store_reader reader = {.ctx = c,
                                        .epoch = take_epoch,
                                        .snap_chunk = take_piece,
                                        .snap_end = take_snap,
                                        .record = take_record};
    c->read = (struct state){0};
    c->read_pieces = 0;
    buf_reset(&c->why);
    return store_open(mem_files_env(c->files), &config, &reader, &c->store, &c->why);
}

/* From the states that the jobs may have left, the one that was found counts from now on. */
static void accept_read(struct chain *c) {
    size_t i = c->count;
    while (i > 0 && !equal(c, &c->states[i - 1]))
        i--;
    if (i == 0 || c->wrong) {
        fprintf(stderr,
                "# seed %llu: found epoch %u snapshot %u %llx with %zu records, last %llx\n",
                (unsigned long long)c->seed, c->read.epoch, c->read.snap,
                (unsigned long long)c->read.begun, c->read.count,
                (unsigned long long)last_zxid(&c->read));
        for (size_t k = 0; k < c->count; k++)
            fprintf(stderr, "# allowed: epoch %u snapshot %u %llx with %zu records, last %llx\n",
                    c->states[k].epoch, c->states[k].snap, (unsigned long long)c->states[k].begun,
                    c->states[k].count, (unsigned long long)last_zxid(&c->states[k]));
    }
    ck_assert(!c->wrong);
    ck_assert_uint_gt(i, 0);
    struct state found = c->states[i - 1];
    c->states[0] = found;
    c->count = 1;
    c->handed = 0;
    c->writing = 0;
    c->cut_pending = false;
}

static void power(struct chain *c) {
    switch (below(c, 4)) {
    case 0:
        mem_files_kill(c->files);
        break;
    case 1:
        mem_files_power_cut(c->files, MEM_CUT_KEEP, 0);
        break;
    case 2:
        mem_files_power_cut(c->files, MEM_CUT_LOSE, 0);
        break;
    default:
        mem_files_power_cut(c->files, MEM_CUT_TEAR, prng_next(&c->prng));
        break;
    }
}

static enum mem_fault any_fault(struct chain *c) {
    return below(c, 2) == 0 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER;
}

/* A start, and often one that does not come to its end before. */
static void restart(struct chain *c) {
    store_close(c->store);
    c->store = NULL;
    power(c);
    while (below(c, 3) == 0) {
        mem_files_fault(c->files, 1 + below(c, 40), any_fault(c), 0);
        int err = open_store(c);
        ck_assert(err == 0 || mem_files_fault_happened(c->files));
        if (err == 0)
            accept_read(c);
        store_close(c->store);
        c->store = NULL;
        power(c);
    }
    int err = open_store(c);
    if (err < 0)
        fprintf(stderr, "# seed %llu: %.*s\n", (unsigned long long)c->seed, (int)c->why.len,
                (const char *)c->why.data);
    ck_assert_int_eq(err, 0);
    accept_read(c);
}

/* ---- jobs ---- */

static struct state *next_state(struct chain *c) {
    c->states[c->count] = c->states[c->count - 1];
    return &c->states[c->count++];
}

static void save_epoch(struct chain *c, uint32_t epoch) {
    struct state *s = next_state(c);
    s->epoch = epoch > s->epoch ? epoch : s->epoch;
    store_save_epoch(c->store, epoch);
}

static void append(struct chain *c, bool epoch) {
    struct buf payload = BUF_INIT;
    if (newest(c)->count == RECORDS_MAX)
        return;
    if (epoch && zxid_epoch(last_zxid(newest(c))) >= newest(c)->epoch)
        save_epoch(c, zxid_epoch(last_zxid(newest(c))) + 1 + below(c, 2));
    struct state *s = next_state(c);
    struct record record = {.id = ++c->ids};
    struct log_record r = {.kind = LOG_EPOCH, .payload = SLICE_NULL, .committed = record.id};
    record.zxid = epoch ? zxid_make(s->epoch, 0) : last_zxid(s) + 1;
    r.zxid = record.zxid;
    if (!epoch) {
        fill(&payload, record.id, record_bytes(record.id));
        r.kind = LOG_TXN;
        r.payload = (struct slice){payload.data, (int32_t)payload.len};
    }
    s->records[s->count++] = record;
    store_append(c->store, &r);
    buf_close(&payload);
}

static void clear(struct state *s) {
    s->snap = 0;
    s->begun = s->ended = 0;
    s->count = 0;
}

static zxid_t any_cut(struct chain *c) {
    const struct state *s = newest(c);
    switch (below(c, 8)) {
    case 0:
        return 0;
    case 1:
        return s->begun;
    case 2:
        return last_zxid(s) + below(c, 3);
    case 3:
        return s->count > 0 ? s->records[below(c, (uint32_t)s->count)].zxid + below(c, 4) : 0;
    default:
        return s->count > 0
                   ? s->records[s->count - 1 - below(c, s->count < 12 ? (uint32_t)s->count : 12)]
                         .zxid
                   : last_zxid(s);
    }
}

static void truncate_log(struct chain *c) {
    zxid_t zxid = any_cut(c);
    struct state *s = next_state(c);
    if (s->snap != 0 && (zxid < s->begun || zxid < s->ended))
        clear(s);
    while (s->count > 0 && s->records[s->count - 1].zxid > zxid)
        s->count--;
    store_truncate(c->store, zxid);
    c->cut_pending = true;
}

static void put_piece(struct chain *c) {
    struct buf b = BUF_INIT;
    size_t n = piece_bytes(c->writing, c->pieces);
    if (n > 0)
        fill(&b, c->writing, n);
    c->pieces++;
    store_snap_chunk(c->store, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

static void end_snapshot(struct chain *c) {
    while (c->pieces < piece_count(c->writing))
        put_piece(c);
    uint32_t epoch = newest(c)->epoch;
    struct state *s = next_state(c);
    clear(s);
    s->snap = c->writing;
    s->begun = zxid_make(epoch, below(c, 20));
    s->ended = s->begun + below(c, 6);
    store_snap_end(c->store, s->begun, s->ended);
    c->writing = 0;
    c->cut_pending = true;
}

static void snapshot(struct chain *c) {
    if (c->writing == 0 || below(c, 10) == 0) {
        c->writing = ++c->ids;
        c->pieces = 0;
        store_snap_begin(c->store);
    } else if (below(c, 8) == 0) {
        c->writing = 0;
        store_snap_abandon(c->store);
    } else if (c->pieces < piece_count(c->writing)) {
        put_piece(c);
    } else if (newest(c)->epoch > 0) {
        end_snapshot(c);
    }
}

/* ---- reading ---- */

struct expected {
    struct chain *c;
    const struct state *s;
    size_t at;
    size_t bytes;
};

static void expect_record(void *ctx, const struct log_record *r) {
    struct expected *e = ctx;
    struct record record = record_of(e->c, r);
    ck_assert_uint_lt(e->at, e->s->count);
    ck_assert_int_eq(record.zxid, e->s->records[e->at].zxid);
    ck_assert_uint_eq(record.id, e->s->records[e->at].id);
    e->at++;
    e->bytes += r->payload.len > 0 ? (size_t)r->payload.len : 0;
}

static bool in_history(const struct state *s, zxid_t zxid, size_t *ret_next) {
    *ret_next = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->records[i].zxid <= zxid)
            *ret_next = i + 1;
    return zxid == s->begun || (*ret_next > 0 && s->records[*ret_next - 1].zxid == zxid);
}

/* Reads behind any place of what is durable. While a cut is on its way, less may come. */
static void read_some(struct chain *c) {
    const struct state *s = &c->states[0];
    struct expected e = {.c = c, .s = s};
    zxid_t after = s->begun;
    if (s->count > 0 && below(c, 8) > 0)
        after = s->records[below(c, (uint32_t)s->count)].zxid;
    if (below(c, 6) == 0)
        after += (zxid_t)below(c, 5) - 2;
    bool there = in_history(s, after, &e.at);
    size_t first = e.at;
    size_t max_bytes = below(c, 4) == 0 ? 0 : below(c, 6000);
    int n = store_read(c->store, after, max_bytes, expect_record, &e);
    bool behind_end = after >= last_zxid(s);
    ck_assert(n >= 0 || n == -ENOENT);
    if (n >= 0)
        ck_assert_uint_eq((size_t)n, e.at - first);
    if (n > 1)
        ck_assert_uint_le(e.bytes, max_bytes);
    ck_assert(n <= 0 || there);
    if (c->cut_pending)
        return;
    if (n == -ENOENT && there)
        fprintf(stderr, "# seed %llu: after %llx, base %llx, last %llx\n",
                (unsigned long long)c->seed, (unsigned long long)after,
                (unsigned long long)s->begun, (unsigned long long)last_zxid(s));
    ck_assert(n != -ENOENT || !there);
    ck_assert(!there || behind_end || n > 0);
    ck_assert(there || behind_end || n == -ENOENT);
}

/* ---- chains ---- */

/* False when a fault stopped it. */
static bool sync_now(struct chain *c) {
    c->handed = c->count;
    store_sync_begin(c->store);
    if (below(c, 4) == 0)
        read_some(c);
    bool fault = below(c, 6) == 0;
    if (fault)
        mem_files_fault(c->files, 1 + below(c, 25),
                        below(c, 3) == 0 ? MEM_FAULT_ERROR : any_fault(c), -EIO);
    int err = store_sync_run(c->store);
    if (err == 0 && fault && mem_files_fault_happened(c->files))
        return false;
    mem_files_fault(c->files, 0, MEM_FAULT_ERROR, 0);
    if (err == 0 && below(c, 4) == 0)
        read_some(c);
    struct store_done done;
    store_sync_end(c->store, &done);
    if (err < 0)
        return false;
    ck_assert_int_eq(done.log_zxid, last_zxid(&c->states[c->handed - 1]));
    struct state now = c->states[c->handed - 1];
    memmove(c->states + 1, c->states + c->handed, (c->count - c->handed) * sizeof now);
    c->states[0] = now;
    c->count -= c->handed - 1;
    c->cut_pending = c->count > 1 && c->cut_pending;
    return true;
}

static void any_job(struct chain *c) {
    if (c->count > STATES_MAX - 4)
        return;
    uint32_t r = below(c, 100);
    bool empty = newest(c)->count == 0 && newest(c)->snap == 0;
    if (r < 66)
        append(c, empty || below(c, 12) == 0);
    else if (r < 74)
        save_epoch(c, newest(c)->epoch + 1 + below(c, 2));
    else if (r < 82 && newest(c)->epoch > 0)
        truncate_log(c);
    else
        snapshot(c);
}

static void run_chain(uint64_t seed) {
    struct chain *c = mem_zalloc(sizeof *c);
    c->seed = seed;
    prng_init(&c->prng, seed);
    c->files = mem_files_new();
    c->count = 1;
    c->segment_bytes = 600 + (int64_t)below(c, 3) * 3000;
    ck_assert_int_eq(open_store(c), 0);
    for (int i = 0; i < 25; i++) {
        for (uint32_t jobs = below(c, 12); jobs > 0; jobs--)
            any_job(c);
        if (below(c, 5) == 0)
            read_some(c);
        bool alive = !store_pending(c->store) || sync_now(c);
        if (!alive || below(c, 12) == 0)
            restart(c);
    }
    restart(c);
    store_close(c->store);
    mem_files_free(c->files);
    buf_close(&c->why);
    mem_free(c);
}

START_TEST(any_chain_of_jobs_with_crashes_anywhere_leaves_a_state_that_was_asked_for) {
    const char *one = getenv("ZKFS_SEED");
    const char *many = getenv("ZKFS_CHAINS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : 1500;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (seed % 100 == 0 || one != NULL)
            fprintf(stderr, "# seed %llu\n", (unsigned long long)seed);
        run_chain(seed);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store_chain");
    TCase *t = tcase_create("store_chain");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, any_chain_of_jobs_with_crashes_anywhere_leaves_a_state_that_was_asked_for);
    suite_add_tcase(s, t);
    return s;
}
