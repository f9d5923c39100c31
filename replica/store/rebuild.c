#include "replica/store/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/epoch_file.h"
#include "replica/store/rebuild_swap.h"
#include "replica/store/snap_name.h"
#include "replica/store/wal_state.h"

/* What is written and synced at once. */
#define BATCH_BYTES (1u << 20)

struct rebuild {
    const struct store_dir *dir; /* borrowed */
    struct store_dir new_dir;    /* the same, with REBUILD_PREFIX */
    struct wal wal;
    struct wal_batch batch;
    struct rebuild_plan plan;
    struct snap_base base;
    char base_name[SNAP_NAME_BYTES]; /* in new_dir when it was received, else in dir */
    int fd;                          /* of the snapshot that is being received; -1: none */
    uint64_t received;
};

int rebuild_begin(const struct store_dir *d, int64_t segment_bytes, uint64_t salt,
                  struct rebuild **ret_rebuild) {
    int err = rebuild_remove_unfinished(d);
    if (err < 0)
        return err;
    struct rebuild *b = mem_zalloc(sizeof *b);
    b->dir = d;
    b->new_dir = *d;
    b->new_dir.prefix = REBUILD_PREFIX;
    int64_t max = segment_bytes > 0 ? segment_bytes : WAL_SEGMENT_BYTES_DEFAULT;
    b->wal = (struct wal){.dir = &b->new_dir, .max_bytes = (uint64_t)max, .salt = salt, .fd = -1};
    b->fd = -1;
    *ret_rebuild = b;
    return 0;
}

static int close_received(struct rebuild *b) {
    int err = b->fd >= 0 ? b->dir->files->close(b->dir->files->ctx, b->fd) : 0;
    b->fd = -1;
    return err;
}

void rebuild_free(struct rebuild *b) {
    if (b == NULL)
        return;
    (void)close_received(b);
    wal_close(&b->wal);
    buf_close(&b->batch.frames);
    mem_free(b);
}

/* ---- the base ---- */

static void set_base(struct rebuild *b, const char *name, const struct snap_base *base) {
    b->base = *base;
    (void)snprintf(b->base_name, sizeof b->base_name, "%s", name);
    b->plan.base_begun = base->begun;
    wal_rebase(&b->wal, base->begun, base->checksum);
}

void rebuild_base(struct rebuild *b, const char *name, const struct snap_base *base) {
    CHECK(b->wal.segments.count == 0);
    set_base(b, name, base);
    b->plan.base = strcmp(name, SNAP_FILE_NAME) == 0   ? REBUILD_BASE_PLAIN
                   : strcmp(name, SNAP_FILE_NEXT) == 0 ? REBUILD_BASE_NEXT
                                                       : REBUILD_BASE_OWN;
    if (b->plan.base == REBUILD_BASE_OWN)
        CHECK(snap_name_parse(name, &b->plan.base_begun)); /* what it is called, it is called */
}

int rebuild_snapshot_begin(struct rebuild *b) {
    int err = close_received(b);
    if (err < 0)
        return err;
    int fd = store_file_open(&b->new_dir, SNAP_FILE_NAME, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0)
        return fd;
    b->fd = fd;
    b->received = 0;
    return 0;
}

int rebuild_snapshot_put(struct rebuild *b, struct slice bytes) {
    CHECK(b->fd >= 0);
    size_t n = bytes.len > 0 ? (size_t)bytes.len : 0;
    int err =
        n == 0 ? 0
               : b->dir->files->pwrite(b->dir->files->ctx, b->fd, bytes.p, n, (int64_t)b->received);
    b->received += n;
    return err;
}

static bool ignore_piece(void *ctx, struct slice piece) { return true; }

int rebuild_snapshot_end(struct rebuild *b, struct snap_base *ret_base) {
    CHECK(b->fd >= 0);
    struct snap_base base = {0};
    struct buf why = BUF_INIT;
    int err = store_file_sync(b->dir, b->fd);
    int close_err = close_received(b);
    if (err == 0)
        err = close_err;
    if (err == 0)
        err = snap_file_read(&b->new_dir, SNAP_FILE_NAME, ignore_piece, NULL, &base, &why);
    buf_close(&why);
    if (err < 0)
        return err;
    char name[SNAP_NAME_BYTES];
    snap_name_print(b->plan.base_begun, name);
    if (b->plan.base == REBUILD_BASE_NEW)
        err = store_file_remove(&b->new_dir, name);
    snap_name_print(base.begun, name);
    if (err == 0)
        err = store_file_rename(&b->new_dir, SNAP_FILE_NAME, name);
    wal_batch_reset(&b->batch);
    if (err == 0)
        err = wal_remove_all(&b->wal);
    if (err < 0)
        return err;
    set_base(b, name, &base);
    b->plan.base = REBUILD_BASE_NEW;
    *ret_base = base;
    return 0;
}

struct copying {
    struct rebuild *b;
    struct snap_writer writer;
    int err;
};

static bool copy_piece(void *ctx, struct slice piece) {
    struct copying *c = ctx;
    c->err = snap_writer_chunk(&c->writer, &c->b->new_dir, piece);
    return c->err == 0;
}

/* A checkpoint behind which nothing is known is the history by itself from here on. It is written
 * anew, so that it says so: else the next start would miss the log beside which it was made. */
static int replace_checkpoint(struct rebuild *b) {
    struct copying c = {.b = b, .writer = {.fd = -1}};
    struct snap_base base = {0};
    struct buf why = BUF_INIT;
    char name[SNAP_NAME_BYTES];
    snap_name_print(b->base.begun, name);
    bool received = b->plan.base == REBUILD_BASE_NEW;
    int err =
        snap_writer_begin(&c.writer, &b->new_dir, SNAP_FILE_NAME, b->wal.salt++, SNAP_REPLACES);
    if (err == 0)
        err = snap_file_read(received ? &b->new_dir : b->dir, b->base_name, copy_piece, &c, &base,
                             &why);
    buf_close(&why);
    if (c.err < 0)
        err = c.err;
    if (err == 0)
        err = snap_writer_end(&c.writer, &b->new_dir, name, b->base.begun, b->base.ended, &base);
    snap_writer_close(&c.writer, &b->new_dir);
    if (err < 0)
        return err;
    set_base(b, name, &base);
    b->plan.base = REBUILD_BASE_NEW;
    return 0;
}

/* ---- the records ---- */

static int flush(struct rebuild *b) {
    if (b->batch.frames.len == 0)
        return 0;
    int err = wal_write(&b->wal, &b->batch);
    wal_batch_reset(&b->batch);
    return err;
}

int rebuild_append(struct rebuild *b, const struct log_record *r) {
    wal_batch_add(&b->batch, r);
    return b->batch.frames.len >= BATCH_BYTES ? flush(b) : 0;
}

int rebuild_commit(struct rebuild *b, uint32_t epoch, bool lossy) {
    int err = flush(b);
    if (err == 0 && b->wal.segments.count == 0 && b->base.kind == SNAP_BESIDE)
        err = replace_checkpoint(b);
    bool log = b->wal.segments.count > 0;
    uint32_t last = zxid_epoch(b->wal.last_zxid);
    epoch = epoch > last ? epoch : last;
    if (epoch == 0 && b->plan.base != REBUILD_BASE_NONE)
        epoch = 1; /* no history is without a promise */
    wal_close(&b->wal);
    if (err == 0)
        err = store_file_sync_dir(b->dir);
    /* Before the history that lacks something counts. */
    if (err == 0)
        err = epoch_file_restore(b->dir, epoch, (lossy ? EPOCH_LOSSY : 0) | (log ? EPOCH_LOG : 0),
                                 log ? 0 : EPOCH_LOG);
    if (err == 0)
        err = rebuild_decide(b->dir, &b->plan);
    if (err < 0)
        return err;
    struct buf why = BUF_INIT;
    err = rebuild_finish(b->dir, &why);
    buf_close(&why);
    return err;
}
