#include "tests/unit/store/model.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"

#define PIECES_MAX 6
#define PAYLOAD_MAX 3000

void model_init(struct model *m) {
    *m = (struct model){.files = mem_files_new(), .count = 1, .segment_bytes = 4096, .salt = 1};
    m->snap_retain = 3;
}

void model_close(struct model *m) {
    model_store_close(m);
    mem_files_free(m->files);
    buf_close(&m->why);
}

struct model *model_clone(const struct model *m) {
    struct model *c = mem_dup(m, sizeof *m);
    c->files = mem_files_clone(m->files);
    c->store = NULL;
    c->why = BUF_INIT;
    return c;
}

void model_free(struct model *m) {
    model_close(m);
    mem_free(m);
}

struct model_state *model_newest(struct model *m) {
    return &m->states[m->count - 1];
}

zxid_t model_last_zxid(const struct model_state *s) {
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

size_t model_piece_count(uint32_t id) { return id % (PIECES_MAX + 1); }

void model_piece(struct buf *b, uint32_t id, size_t i) {
    size_t n = piece_bytes(id, i);
    buf_reset(b);
    if (n > 0)
        fill(b, id, n);
}

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

static struct model_record record_of(struct model *m, const struct log_record *r) {
    struct model_record record = {.zxid = r->zxid};
    if (r->kind == LOG_EPOCH) {
        record.id = (uint32_t)r->committed;
        return record;
    }
    record.id = id_of(r->payload);
    if (!holds(r->payload, record.id, record_bytes(record.id)) || r->committed != (zxid_t)record.id)
        m->wrong = true;
    return record;
}

static void take_epoch(void *ctx, uint32_t accepted_epoch) {
    struct model *m = ctx;
    m->read.epoch = accepted_epoch;
}

static bool take_piece(void *ctx, struct slice piece) {
    struct model *m = ctx;
    uint32_t id = id_of(piece);
    if (id != 0 && m->read.snap != 0 && id != m->read.snap)
        m->wrong = true;
    if (id != 0)
        m->read.snap = id;
    m->read_pieces++;
    return !m->refuse_piece;
}

static bool take_snap(void *ctx, zxid_t begun, zxid_t ended) {
    struct model *m = ctx;
    m->read.begun = m->read_base = begun;
    m->read.ended = ended;
    /* All pieces of a snapshot may be empty; its zxids tell then. */
    if (m->read.snap == 0)
        m->read.snap = UINT32_MAX;
    return !m->refuse_snap;
}

static void take_reset(void *ctx, zxid_t begun) {
    struct model *m = ctx;
    m->read.snap = 0;
    m->read.begun = m->read.ended = m->read_base = 0;
    m->read_pieces = 0;
    m->resets++;
}

static void take_older(void *ctx, zxid_t base, const zxid_t *ends, size_t count) {
    struct model *m = ctx;
    if (base >= m->read.begun || m->read.count > 0)
        m->wrong = true;
    m->read_base = base;
    m->read_ends = count;
    m->read_end = count > 0 ? ends[count - 1] : 0;
}

static void take_record(void *ctx, const struct log_record *r) {
    struct model *m = ctx;
    CHECK(m->read.count < MODEL_RECORDS_MAX);
    m->read.records[m->read.count++] = record_of(m, r);
}

/* Whether the snapshot that was read, or that none was, is the state's own. */
static bool found_own_snapshot(const struct model *m, const struct model_state *s) {
    const struct model_state *r = &m->read;
    if (r->begun != s->begun || r->ended != s->ended || (r->snap == 0) != (s->snap == 0))
        return false;
    return s->snap == 0 || (m->read_pieces == model_piece_count(s->snap) &&
                            (r->snap == UINT32_MAX || r->snap == s->snap));
}

static bool equal(const struct model *m, const struct model_state *s) {
    const struct model_state *r = &m->read;
    size_t next = 0; /* the first record behind the snapshot */
    if (r->epoch != s->epoch)
        return false;
    if (!model_found_checkpoint(m, s, &next) && !found_own_snapshot(m, s))
        return false;
    if (model_misses_checkpoint(m, s))
        return false;
    if (r->count != s->count - next)
        return false;
    for (size_t i = 0; i < r->count; i++)
        if (r->records[i].zxid != s->records[next + i].zxid ||
            r->records[i].id != s->records[next + i].id)
            return false;
    return true;
}

/* ---- the store ---- */

void model_store_close(struct model *m) {
    store_close(m->store);
    m->store = NULL;
}

int model_open(struct model *m) {
    struct wal_config config = {.dir = MODEL_DIR,
                                .segment_bytes = m->segment_bytes,
                                .reserve_bytes = m->reserve_bytes,
                                .salt = m->salt += 1000,
                                .snap_retain = m->snap_retain};
    const struct store_reader reader = {.ctx = m,
                                        .epoch = take_epoch,
                                        .snap_chunk = take_piece,
                                        .snap_end = take_snap,
                                        .snap_reset = take_reset,
                                        .older = take_older,
                                        .record = take_record};
    m->read = (struct model_state){0};
    m->read_pieces = m->resets = 0;
    m->read_base = 0;
    buf_reset(&m->why);
    return store_open(mem_files_env(m->files), &config, &reader, &m->store, &m->why);
}

static void say(const char *what, const struct model_state *s) {
    fprintf(stderr, "# %s: epoch %u snapshot %u %llx with %zu records, last %llx\n", what, s->epoch,
            s->snap, (unsigned long long)s->begun, s->count,
            (unsigned long long)model_last_zxid(s));
}

bool model_accept(struct model *m) {
    size_t i = m->count;
    while (i > 0 && !equal(m, &m->states[i - 1]))
        i--;
    m->wrong = m->wrong || (m->resets > 0 && !m->may_reset);
    if (i == 0 || m->wrong) {
        say(m->wrong ? "found bytes that nobody wrote" : "found", &m->read);
        model_checkpoints_say(m);
        for (size_t k = 0; k < m->count; k++)
            say("allowed", &m->states[k]);
        return false;
    }
    m->states[0] = m->states[i - 1];
    m->count = 1;
    m->handed = 0;
    m->writing = 0;
    m->cut_pending = false;
    model_checkpoints_accepted(m);
    return true;
}

/* ---- jobs ---- */

static struct model_state *next_state(struct model *m) {
    m->states[m->count] = m->states[m->count - 1];
    return &m->states[m->count++];
}

void model_save_epoch(struct model *m, uint32_t epoch) {
    struct model_state *s = next_state(m);
    s->epoch = epoch > s->epoch ? epoch : s->epoch;
    store_save_epoch(m->store, epoch);
}

void model_append(struct model *m, bool epoch) {
    struct model_state *s = next_state(m);
    struct model_record record = {.id = ++m->ids};
    struct log_record r = {.kind = LOG_EPOCH, .payload = SLICE_NULL, .committed = record.id};
    struct buf payload = BUF_INIT;
    record.zxid = epoch ? zxid_make(s->epoch, 0) : model_last_zxid(s) + 1;
    r.zxid = record.zxid;
    if (!epoch) {
        fill(&payload, record.id, record_bytes(record.id));
        r.kind = LOG_TXN;
        r.payload = (struct slice){payload.data, (int32_t)payload.len};
    }
    CHECK(s->count < MODEL_RECORDS_MAX);
    s->records[s->count++] = record;
    store_append(m->store, &r);
    buf_close(&payload);
}

static void clear(struct model *m, struct model_state *s) {
    s->history = ++m->histories;
    s->snap = 0;
    s->begun = s->ended = 0;
    s->count = 0;
}

void model_truncate(struct model *m, zxid_t zxid) {
    struct model_state *s = next_state(m);
    if (s->snap != 0 && (zxid < s->begun || zxid < s->ended))
        clear(m, s);
    while (s->count > 0 && s->records[s->count - 1].zxid > zxid)
        s->count--;
    store_truncate(m->store, zxid);
    m->cut_pending = true;
}

void model_snap_begin(struct model *m) {
    m->writing = ++m->ids;
    m->pieces = 0;
    store_snap_begin(m->store);
}

bool model_snap_chunk(struct model *m) {
    struct buf b = BUF_INIT;
    if (m->pieces == model_piece_count(m->writing))
        return false;
    model_piece(&b, m->writing, m->pieces++);
    store_snap_chunk(m->store, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
    return true;
}

void model_snap_end(struct model *m, zxid_t begun, zxid_t ended) {
    struct model_state *s = next_state(m);
    clear(m, s);
    s->snap = m->writing;
    s->begun = begun;
    s->ended = ended;
    store_snap_end(m->store, begun, ended);
    m->writing = 0;
    m->cut_pending = true;
}

void model_snap_abandon(struct model *m) {
    m->writing = 0;
    store_snap_abandon(m->store);
}

void model_snapshot(struct model *m, size_t pieces, zxid_t begun, zxid_t ended) {
    CHECK(pieces <= PIECES_MAX);
    while (model_piece_count(m->ids + 1) != pieces)
        m->ids++;
    model_snap_begin(m);
    while (model_snap_chunk(m))
        ;
    model_snap_end(m, begun, ended);
}

int model_sync_end(struct model *m, int result) {
    store_sync_end(m->store, &m->done);
    if (result != 0)
        return result;
    CHECK(m->done.log_zxid == model_last_zxid(&m->states[m->handed - 1]));
    m->states[0] = m->states[m->handed - 1];
    memmove(m->states + 1, m->states + m->handed, (m->count - m->handed) * sizeof m->states[0]);
    m->count -= m->handed - 1;
    m->cut_pending = m->count > 1 && m->cut_pending;
    model_checkpoints_synced(m);
    return 0;
}

int model_sync(struct model *m) {
    m->handed = m->count;
    store_sync_begin(m->store);
    return model_sync_end(m, store_sync_run(m->store));
}

/* ---- reading ---- */

struct expected {
    struct model *m;
    size_t at;
    size_t bytes;
};

static void expect_record(void *ctx, const struct log_record *r) {
    struct expected *e = ctx;
    const struct model_state *s = &e->m->states[0];
    struct model_record record = record_of(e->m, r);
    CHECK(e->at < s->count);
    CHECK(record.zxid == s->records[e->at].zxid);
    CHECK(record.id == s->records[e->at].id);
    e->at++;
    e->bytes += r->payload.len > 0 ? (size_t)r->payload.len : 0;
}

bool model_holds(const struct model_state *s, zxid_t zxid, size_t *ret_next) {
    *ret_next = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->records[i].zxid <= zxid)
            *ret_next = i + 1;
    return zxid == s->begun || (*ret_next > 0 && s->records[*ret_next - 1].zxid == zxid);
}

int model_read(struct model *m, zxid_t after, size_t max_bytes) {
    struct expected e = {.m = m};
    model_holds(&m->states[0], after, &e.at);
    size_t first = e.at;
    int n = store_read(m->store, after, max_bytes, expect_record, &e);
    CHECK(n < 0 || (size_t)n == e.at - first);
    CHECK(n <= 1 || e.bytes <= max_bytes);
    CHECK(!m->wrong);
    return n;
}
