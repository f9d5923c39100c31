#include "tests/unit/store/harness.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"

void world_init(struct world *w) {
    *w = (struct world){.files = mem_files_new(), .payload_bytes = 40, .salt = 4711};
}

void world_close(struct world *w) {
    world_store_close(w);
    mem_files_free(w->files);
    buf_close(&w->why);
}

void world_clone(const struct world *w, struct world *ret_clone) {
    *ret_clone = *w;
    ret_clone->files = mem_files_clone(w->files);
    ret_clone->store = NULL;
    ret_clone->why = BUF_INIT;
}

/* The payload of record i: bytes that a log cannot take for something else and that no other has.
 */
static void fill_payload(struct buf *b, size_t i, size_t n) {
    buf_reset(b);
    buf_printf(b, "record %zu ", i);
    while (b->len < n)
        buf_put_u8(b, (uint8_t)(b->len * 31 + i * 7));
}

static bool is_record(const struct world *w, size_t i, const struct log_record *r) {
    struct buf payload = BUF_INIT;
    bool known = i < w->appended && r->zxid == w->zxids[i];
    bool epoch = zxid_counter(r->zxid) == 0;
    if (known && r->committed != (i > 2 ? w->zxids[i - 2] : 0))
        known = false;
    if (known && !epoch) {
        fill_payload(&payload, i, w->payloads[i]);
        known = r->kind == LOG_TXN && (size_t)r->payload.len == payload.len &&
                memcmp(r->payload.p, payload.data, payload.len) == 0;
    } else if (known) {
        known = r->kind == LOG_EPOCH;
    }
    buf_close(&payload);
    return known;
}

static void take(void *ctx, const struct log_record *r) {
    struct world *w = ctx;
    if (!is_record(w, w->read++, r))
        w->wrong = true;
}

bool world_is_record(const struct world *w, const struct log_record *r, size_t *ret_index) {
    for (size_t i = 0; i < w->appended; i++) {
        if (w->zxids[i] != r->zxid)
            continue;
        *ret_index = i;
        return is_record(w, i, r);
    }
    return false;
}

static bool take_piece(void *ctx, struct slice piece) { return true; }

static bool take_snap(void *ctx, zxid_t begun, zxid_t ended) {
    struct world *w = ctx;
    while (w->read < w->appended && w->zxids[w->read] <= begun)
        w->read++;
    return true;
}

static void take_epoch(void *ctx, uint32_t accepted_epoch) {
    struct world *w = ctx;
    w->epoch = accepted_epoch;
}

int world_open(struct world *w) {
    const struct store_reader reader = {.ctx = w,
                                        .epoch = take_epoch,
                                        .snap_chunk = take_piece,
                                        .snap_end = take_snap,
                                        .record = take};
    struct wal_config config = {
        .dir = DIR, .segment_bytes = w->segment_bytes, .no_sync = w->no_sync, .salt = w->salt};
    w->read = 0;
    w->wrong = false;
    buf_reset(&w->why);
    const struct env_files *env = w->env != NULL ? w->env : mem_files_env(w->files);
    return store_open(env, &config, &reader, &w->store, &w->why);
}

void world_store_close(struct world *w) {
    store_close(w->store);
    w->store = NULL;
}

void world_append(struct world *w, bool epoch) {
    size_t i = w->appended++;
    CHECK(i < sizeof w->zxids / sizeof w->zxids[0]);
    zxid_t last = i == 0 ? 0 : w->zxids[i - 1];
    w->zxids[i] = epoch ? zxid_make(zxid_epoch(last) + 1, 0) : last + 1;
    w->payloads[i] = w->payload_bytes;
    struct buf payload = BUF_INIT;
    struct log_record r = {.kind = LOG_EPOCH, .zxid = w->zxids[i], .payload = SLICE_NULL};
    r.committed = i > 2 ? w->zxids[i - 2] : 0;
    if (epoch) {
        if (zxid_epoch(r.zxid) > w->asked)
            w->asked = zxid_epoch(r.zxid);
        store_save_epoch(w->store, zxid_epoch(r.zxid));
    } else {
        fill_payload(&payload, i, w->payload_bytes);
        r.kind = LOG_TXN;
        r.payload = (struct slice){payload.data, (int32_t)payload.len};
    }
    store_append(w->store, &r);
    buf_close(&payload);
}

zxid_t world_sync_end(struct world *w) {
    struct store_done done;
    store_sync_end(w->store, &done);
    if (done.epoch > 0)
        w->promised = done.epoch;
    return done.log_zxid;
}

int world_sync(struct world *w) {
    CHECK(store_pending(w->store));
    store_sync_begin(w->store);
    int err = store_sync_run(w->store);
    zxid_t durable = world_sync_end(w);
    if (err < 0)
        return err;
    CHECK(w->appended == 0 || durable == w->zxids[w->appended - 1]);
    w->durable = w->appended;
    return 0;
}

void world_promise(struct world *w, uint32_t epoch) {
    w->asked = epoch;
    store_save_epoch(w->store, epoch);
    CHECK(world_sync(w) == 0);
}

void world_batch(struct world *w, size_t n) {
    for (size_t i = 0; i < n; i++)
        world_append(w, w->appended == 0);
    CHECK(world_sync(w) == 0);
}

void world_continue(struct world *w) {
    w->appended = w->read;
    world_append(w, true);
}

void world_check_history(const struct world *w) {
    CHECK(!w->wrong);
    CHECK(w->read <= w->appended);
    CHECK(w->read >= w->durable);
    CHECK(w->epoch >= w->promised);
    CHECK(w->epoch <= w->asked);
}

bool world_named_place(const struct world *w) {
    char text[512];
    size_t n = w->why.len < sizeof text - 1 ? w->why.len : sizeof text - 1;
    memcpy(text, w->why.len > 0 ? w->why.data : (const uint8_t *)"", n);
    text[n] = '\0';
    const char *file = strstr(text, DIR "/log.");
    return file != NULL && strstr(file, ": offset ") != NULL;
}

const char *world_segment(const struct world *w, size_t from_last) {
    static char path[128];
    char *found = mem_files_last(w->files, DIR, "log.", from_last);
    CHECK(found != NULL);
    snprintf(path, sizeof path, "%s", found);
    mem_free(found);
    return path;
}
