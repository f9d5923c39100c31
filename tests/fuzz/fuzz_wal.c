/* The store's recovery, over files in memory. An even first byte: the input describes a segment
 * frame by frame, and every checksum is made right, so that what lies behind them is reached. An
 * odd one: a real log is written, with a promise and perhaps behind a snapshot, then damaged as the
 * input says. */
#include "common/check.h"
#include "common/mem.h"
#include "replica/store/rebuild.h"
#include "replica/store/store.h"
#include "replica/store/survey.h"
#include "replica/store/wal_format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/mem_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define DIR "/d"
#define EPOCH_1 0x100000000
#define RECORDS_MAX 64

struct history {
    zxid_t zxids[RECORDS_MAX];
    uint8_t first[RECORDS_MAX]; /* byte of the payload, 0 without one */
    size_t count;
    uint32_t epoch; /* promised */
    struct {
        size_t bytes; /* of all pieces */
        uint64_t sum;
        zxid_t begun, ended;
    } snapshot;
};

static void remember_epoch(void *ctx, uint32_t epoch) {
    struct history *h = ctx;
    h->epoch = epoch;
}

static bool remember_piece(void *ctx, struct slice piece) {
    struct history *h = ctx;
    for (int32_t i = 0; i < piece.len; i++)
        h->snapshot.sum = h->snapshot.sum * 31 + piece.p[i];
    h->snapshot.bytes += (size_t)piece.len;
    return true;
}

static bool remember_end(void *ctx, zxid_t begun, zxid_t ended) {
    struct history *h = ctx;
    CHECK(h->count == 0);
    h->snapshot.begun = begun;
    h->snapshot.ended = ended;
    return true;
}

static void forget_snapshot(void *ctx, zxid_t begun) {
    struct history *h = ctx;
    CHECK(h->count == 0);
    memset(&h->snapshot, 0, sizeof h->snapshot);
}

static void remember_older(void *ctx, zxid_t base, const zxid_t *ends, size_t count) {
    const struct history *h = ctx;
    CHECK(h->count == 0);
    CHECK(base < h->snapshot.begun);
    for (size_t i = 0; i < count; i++)
        CHECK(ends[i] > (i > 0 ? ends[i - 1] : base));
}

static void remember(void *ctx, const struct log_record *r) {
    struct history *h = ctx;
    CHECK(h->count == 0 || r->zxid > h->zxids[h->count - 1]);
    if (h->count == RECORDS_MAX)
        return;
    h->zxids[h->count] = r->zxid;
    h->first[h->count++] = r->payload.len > 0 ? r->payload.p[0] : 0;
}

static int open_log(struct mem_files *files, struct history *h, struct store **ret_store) {
    struct wal_config config = {.dir = DIR, .segment_bytes = 2048, .salt = 7};
    struct buf why = BUF_INIT;
    const struct store_reader reader = {.ctx = h,
                                        .epoch = remember_epoch,
                                        .snap_chunk = remember_piece,
                                        .snap_end = remember_end,
                                        .snap_reset = forget_snapshot,
                                        .older = remember_older,
                                        .record = remember};
    *h = (struct history){.count = 0};
    int err = store_open(mem_files_env(files), &config, &reader, ret_store, &why);
    CHECK(err <= 0);
    CHECK(err == 0 || why.len > 0);
    buf_close(&why);
    return err;
}

/* Opens the log, and what was accepted once more: it says the same. A refusal changes nothing. */
static int recover(struct mem_files *files, struct history *h) {
    size_t before = 0;
    char *path = mem_files_last(files, DIR, "log.", 0);
    uint8_t *copy = NULL;
    if (path) {
        const uint8_t *bytes = mem_files_bytes(files, path, &before);
        copy = mem_dup(bytes, before);
    }
    struct store *s = NULL;
    int err = open_log(files, h, &s);
    if (err == 0) {
        store_close(s);
        struct history again;
        CHECK(open_log(files, &again, &s) == 0);
        store_close(s);
        CHECK(again.count == h->count);
        CHECK(again.epoch == h->epoch);
        CHECK(again.snapshot.sum == h->snapshot.sum);
    } else if (path) {
        size_t after = 0;
        const uint8_t *bytes = mem_files_bytes(files, path, &after);
        CHECK(bytes);
        CHECK(after == before);
        CHECK(after == 0 || memcmp(bytes, copy, after) == 0);
    }
    mem_free(copy);
    mem_free(path);
    return err;
}

static void put_header(struct buf *b, struct cursor *c, uint64_t *ret_identity) {
    uint8_t choice = cursor_u8(c);
    struct wal_header h = {.version = choice & 1 ? choice : WAL_VERSION,
                           .first_zxid = choice & 2 ? choice : EPOCH_1,
                           .prev_zxid = choice & 4 ? choice : 0,
                           .prev_seal = choice & 8 ? choice : 0,
                           .salt = choice};
    uint8_t bytes[WAL_HEADER_BYTES];
    *ret_identity = wal_header_encode(&h, bytes);
    buf_put(b, bytes, sizeof bytes);
}

/* A record of the input's: well formed, or any body. */
static void put_record(struct buf *b, struct cursor *c, zxid_t *zxid) {
    uint8_t choice = cursor_u8(c);
    struct slice body = fuzz_piece(c);
    if (choice & 1) {
        buf_put(b, body.p, (size_t)body.len);
        return;
    }
    struct log_record r = {.kind = LOG_TXN, .payload = body};
    r.zxid = choice & 2 ? *zxid + (choice >> 2) : ++*zxid;
    if (zxid_counter(r.zxid) == 0)
        r.kind = LOG_EPOCH;
    if (r.kind == LOG_EPOCH)
        r.payload = SLICE_NULL;
    log_record_encode(b, &r);
}

static void put_mark(struct buf *b, struct cursor *c, zxid_t zxid, uint64_t *batch_start) {
    uint8_t choice = cursor_u8(c);
    struct wal_mark m = {.offset = b->len,
                         .batch_start = choice & 1 ? b->len : *batch_start,
                         .last_zxid = zxid + (choice & 2),
                         .next_zxid = choice & 4 ? zxid + 1 : 0,
                         .zero_pieces = choice >> 3};
    wal_mark_append(b, &m);
    *batch_start = b->len;
}

static void described_segment(struct cursor *c, struct buf *b) {
    uint64_t identity = 0;
    zxid_t zxid = EPOCH_1 - 1;
    uint64_t batch_start = WAL_HEADER_BYTES;
    put_header(b, c, &identity);
    for (int i = 0; i < RECORDS_MAX && cursor_left(c) > 0; i++) {
        uint8_t choice = cursor_u8(c);
        size_t at = b->len;
        if (choice % 4 == 3) {
            struct slice raw = fuzz_piece(c);
            buf_put(b, raw.p, (size_t)raw.len);
            continue;
        }
        if (choice % 4 == 2) {
            put_mark(b, c, zxid, &batch_start);
        } else {
            wal_frame_begin(b, WAL_MAGIC_RECORD);
            put_record(b, c, &zxid);
            wal_frame_end(b, at);
        }
        if (!(choice & 8))
            wal_frame_stamp(b->data + at, b->len - at, identity, at);
        if (choice % 4 == 2)
            batch_start = b->len;
    }
}

struct mending {
    struct rebuild *b;
    zxid_t at;
};

static void mend_record(void *ctx, const struct log_record *r) {
    struct mending *m = ctx;
    CHECK(r->zxid > m->at);
    m->at = r->zxid;
    CHECK(rebuild_append(m->b, r) == 0);
}

/* What a survey finds whole of a log that was refused is a log, up to the first hole. */
static void mend(struct mem_files *files) {
    struct store_dir d = {.files = mem_files_env(files), .path = (char *)DIR};
    struct survey sv;
    struct survey_island island;
    struct mending m = {0};
    struct history h = {0};
    struct buf why = BUF_INIT;
    int err = survey_take(&sv, &d, NULL, 0, &why);
    buf_close(&why);
    if (err < 0) {
        CHECK(err == -EPROTONOSUPPORT);
        return;
    }
    CHECK(rebuild_begin(&d, 600, 5, &m.b) == 0);
    if (sv.has_base)
        rebuild_base(m.b, sv.base_name, &sv.base);
    m.at = sv.has_base ? sv.base.begun : 0;
    for (size_t i = 0; survey_island(&sv, m.at, i, &island); i++)
        CHECK(survey_has(&sv, island.first) == 1);
    while (survey_read(&sv, m.at, INT64_MAX, 400, mend_record, &m) > 0)
        ;
    CHECK(m.at <= sv.known_end);
    CHECK(rebuild_commit(m.b, sv.epoch, true) == 0);
    rebuild_free(m.b);
    survey_close(&sv);
    CHECK(recover(files, &h) == 0);
    CHECK(h.count == 0 || h.zxids[h.count - 1] == m.at);
}

static zxid_t sync_store(struct store *s) {
    struct store_done done;
    store_sync_begin(s);
    CHECK(store_sync_run(s) == 0);
    store_sync_end(s, &done);
    return done.log_zxid;
}

static void from_description(struct cursor *c, struct mem_files *files) {
    const struct env_files *env = mem_files_env(files);
    struct buf b = BUF_INIT;
    struct history h;
    struct store *s = NULL;
    described_segment(c, &b);
    /* A log of this version has a promise beside it. */
    CHECK(open_log(files, &h, &s) == 0);
    store_save_epoch(s, 1);
    sync_store(s);
    store_close(s);
    int fd = env->open(env->ctx, DIR "/log.0000000100000000", O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0);
    CHECK(env->pwrite(env->ctx, fd, b.data, b.len, 0) == 0);
    CHECK(env->close(env->ctx, fd) == 0);
    if (recover(files, &h) == -EBADMSG)
        mend(files);
    buf_close(&b);
}

static void write_snapshot(struct store *s, int pieces, struct history *h) {
    uint8_t bytes[200];
    store_snap_begin(s);
    for (int i = 0; i < pieces; i++) {
        memset(bytes, 'a' + i, sizeof bytes);
        struct slice piece = {bytes, 1 + i * 60};
        store_snap_chunk(s, piece);
        CHECK(remember_piece(h, piece));
    }
    store_snap_end(s, EPOCH_1 - 1, EPOCH_1 + 3);
    CHECK(remember_end(h, EPOCH_1 - 1, EPOCH_1 + 3));
    CHECK(sync_store(s) == EPOCH_1 - 1);
}

/* A promise, perhaps a snapshot, a log of one epoch record and `n` others; a sync behind each where
 * `batches` has a bit. */
static void write_log(struct mem_files *files, uint8_t n, uint8_t batches, uint8_t pieces,
                      struct history *h) {
    struct store *s = NULL;
    uint8_t payload[300];
    CHECK(open_log(files, h, &s) == 0);
    store_save_epoch(s, 1 + n);
    h->epoch = 1 + n;
    sync_store(s);
    if (pieces > 0)
        write_snapshot(s, pieces, h);
    for (int i = 0; i <= n; i++) {
        struct log_record r = {.kind = i ? LOG_TXN : LOG_EPOCH, .zxid = EPOCH_1 + i};
        memset(payload, i, sizeof payload);
        r.payload = i ? (struct slice){payload, (i * 37) % 300 + 1} : SLICE_NULL;
        r.committed = i % 3 ? EPOCH_1 + i - 1 : 0;
        store_append(s, &r);
        remember(h, &r);
        if (i == n || batches >> (i % 8) & 1)
            CHECK(sync_store(s) == r.zxid);
    }
    store_close(s);
}

/* Damages the last segment, or the one before it, or one of the other files. Returns the number of
 * bits that it flipped, or 100 when it did worse. */
static int damage(struct cursor *c, struct mem_files *files) {
    uint8_t choice = cursor_u8(c);
    uint64_t where = (uint64_t)cursor_u8(c) << 8;
    where |= cursor_u8(c);
    static const char *const names[] = {"log.", "log.", "epoch.", "snapshot"};
    char *path = mem_files_last(files, DIR, names[(choice >> 4) % 4], choice >> 7);
    size_t size = 0;
    int harm = 100;
    if (!path)
        return 0;
    mem_files_bytes(files, path, &size);
    if (size == 0) {
        mem_free(path);
        return 0;
    }
    if (choice % 4 < 2) {
        mem_files_flip_bit(files, path, where % (size * 8));
        harm = 1;
    } else if (choice % 4 == 2) {
        mem_files_cut(files, path, where % size);
    } else {
        struct slice bytes = fuzz_piece(c);
        size_t room = size - where % size;
        size_t n = (size_t)bytes.len < room ? (size_t)bytes.len : room;
        if (n > 0)
            mem_files_put(files, path, where % size, bytes.p, n);
    }
    mem_free(path);
    return harm;
}

/* Whatever the damage: what comes back is a prefix of what was written. When it is one flipped bit,
 * all of it comes back, or nothing. */
static void from_damage(struct cursor *c, struct mem_files *files) {
    struct history written = {0};
    struct history read = {0};
    uint8_t choice = cursor_u8(c);
    write_log(files, choice % 32, cursor_u8(c), choice >> 5 & 3, &written);
    int harm = 0;
    for (int i = 0; i < 8 && cursor_left(c) > 0; i++)
        harm += damage(c, files);
    if (recover(files, &read) != 0) {
        CHECK(harm > 0);
        mend(files);
        return;
    }
    CHECK(read.count <= written.count);
    CHECK(memcmp(read.zxids, written.zxids, read.count * sizeof *read.zxids) == 0);
    CHECK(memcmp(read.first, written.first, read.count) == 0);
    CHECK(harm > 1 || read.count == written.count);
    CHECK(read.epoch == written.epoch);
    CHECK(read.snapshot.bytes == written.snapshot.bytes);
    CHECK(read.snapshot.sum == written.snapshot.sum);
    CHECK(read.snapshot.begun == written.snapshot.begun);
    CHECK(read.snapshot.ended == written.snapshot.ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mem_files *files = mem_files_new();
    struct cursor c;
    cursor_init(&c, data, size);
    if (cursor_u8(&c) % 2)
        from_damage(&c, files);
    else
        from_description(&c, files);
    mem_files_free(files);
    return 0;
}
