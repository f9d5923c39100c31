#include "replica/store/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_recover.h"

/* One write call's share of a long batch: a bound on what the kernel is handed at once. */
#define WRITE_BYTES (4u << 20)
/* A batch buffer that grew beyond this is given back after its sync. */
#define KEEP_BYTES (256u << 10)
/* Space is allocated ahead of the tail, for a sync of an appending write costs a third more than
 * one into blocks that are there; as much as there is already, so that a small log stays small, up
 * to the upper bound. */
#define AHEAD_MIN_BYTES (32u << 10)
#define AHEAD_MAX_BYTES (1u << 20)

/* What was appended since the last sync began: frames without their checksums. */
struct batch {
    struct buf frames;
    zxid_t first_zxid;
    zxid_t last_zxid;
};

struct wal {
    const struct env_files *files;
    char *dir;
    uint64_t segment_bytes;
    uint64_t salt;
    bool no_sync;
    int lock_fd;
    /* The loop's. */
    struct batch appending;
    zxid_t durable_zxid;
    uint64_t shown_bytes;
    bool stopped; /* an ended sync had failed */
    /* Handed over by begin, the runner's until end. */
    struct batch syncing;
    struct wal_end end;
    int dead; /* the first error, negative */
};

static bool batch_empty(const struct batch *b) { return b->frames.len == 0; }

static void batch_reset(struct batch *b) {
    if (b->frames.cap > KEEP_BYTES)
        buf_close(&b->frames);
    buf_reset(&b->frames);
}

/* Makes dir and what is missing above it, each durable in its parent. */
static int make_dirs(const struct env_files *files, const char *dir) {
    char *path = mem_strdup(dir);
    int err = 0;
    for (char *p = path; err == 0 && p != NULL;) {
        char *slash = strchr(p + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        err = files->mkdir(files->ctx, path, 0750);
        if (err == 0) {
            char *end = strrchr(path, '/');
            char *parent = end == NULL   ? mem_strdup(".")
                           : end == path ? mem_strdup("/")
                                         : mem_strndup(path, (size_t)(end - path));
            err = files->sync_dir(files->ctx, parent);
            mem_free(parent);
        } else if (err == -EEXIST) {
            err = 0;
        }
        if (slash != NULL)
            *slash = '/';
        p = slash;
    }
    mem_free(path);
    return err;
}

static int take_lock(struct wal *w, struct buf *ret_why) {
    char *path = wal_path(w->dir, "lock");
    int fd = w->files->open(w->files->ctx, path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    int err = fd < 0 ? fd : w->files->lock(w->files->ctx, fd);
    if (err == -EAGAIN)
        buf_printf(ret_why, "%s: the log is in use by another process", path);
    else if (err < 0)
        buf_printf(ret_why, "%s: cannot be locked: %s", path, strerror(-err));
    if (err < 0 && fd >= 0)
        w->files->close(w->files->ctx, fd);
    mem_free(path);
    if (err < 0)
        return err;
    w->lock_fd = fd;
    return 0;
}

int wal_open(const struct env_files *files, const struct wal_config *config, wal_record_fn *fn,
             void *ctx, struct wal **ret_wal, struct buf *ret_why) {
    struct wal *w = mem_zalloc(sizeof *w);
    w->files = files;
    w->dir = mem_strdup(config->dir);
    w->segment_bytes =
        (uint64_t)(config->segment_bytes > 0 ? config->segment_bytes : WAL_SEGMENT_BYTES_DEFAULT);
    w->salt = config->salt;
    w->no_sync = config->no_sync;
    w->lock_fd = -1;
    w->end.fd = -1;
    int err = make_dirs(files, w->dir);
    if (err < 0)
        buf_printf(ret_why, "%s: cannot be made: %s", w->dir, strerror(-err));
    if (err == 0)
        err = take_lock(w, ret_why);
    if (err == 0)
        err = wal_recover(files, w->dir, w->no_sync, fn, ctx, &w->end, ret_why);
    if (err < 0) {
        wal_close(w);
        return err;
    }
    w->durable_zxid = w->end.last_zxid;
    w->shown_bytes = w->end.older_bytes + w->end.size_bytes;
    *ret_wal = w;
    return 0;
}

void wal_close(struct wal *w) {
    if (w == NULL)
        return;
    if (w->end.fd >= 0)
        w->files->close(w->files->ctx, w->end.fd);
    /* The lock goes with its file, and last: from here on another process may write. */
    if (w->lock_fd >= 0)
        w->files->close(w->files->ctx, w->lock_fd);
    buf_close(&w->appending.frames);
    buf_close(&w->syncing.frames);
    mem_free(w->dir);
    mem_free(w);
}

void wal_append(struct wal *w, const struct log_record *r) {
    if (w->stopped)
        return;
    struct batch *b = &w->appending;
    if (batch_empty(b))
        b->first_zxid = r->zxid;
    b->last_zxid = r->zxid;
    size_t at = wal_frame_begin(&b->frames, WAL_MAGIC_RECORD);
    log_record_encode(&b->frames, r);
    /* Admission refuses what would not fit, so that a log can always be read back. */
    CHECK(b->frames.len - at - WAL_FRAME_BYTES <= LOG_RECORD_MAX);
    wal_frame_end(&b->frames, at);
}

bool wal_pending(const struct wal *w) { return !batch_empty(&w->appending); }

void wal_sync_begin(struct wal *w) {
    CHECK(batch_empty(&w->syncing));
    struct batch taken = w->appending;
    w->appending = w->syncing;
    w->syncing = taken;
}

static int write_all(struct wal *w, const uint8_t *p, size_t n, uint64_t offset) {
    while (n > 0) {
        size_t piece = n < WRITE_BYTES ? n : WRITE_BYTES;
        int err = w->files->pwrite(w->files->ctx, w->end.fd, p, piece, (int64_t)offset);
        if (err < 0)
            return err;
        p += piece;
        n -= piece;
        offset += piece;
    }
    return 0;
}

static int sync_data(struct wal *w) {
    return w->no_sync ? 0 : w->files->datasync(w->files->ctx, w->end.fd);
}

/* Creates the segment, with its header and its name durable. */
static int create_segment(struct wal *w, const struct wal_header *header, int *ret_fd,
                          uint64_t *ret_identity) {
    char name[WAL_NAME_BYTES];
    uint8_t bytes[WAL_HEADER_BYTES];
    wal_segment_name(header->first_zxid, name);
    uint64_t identity = wal_header_encode(header, bytes);
    const struct env_files *files = w->files;
    char *path = wal_path(w->dir, name);
    int fd = files->open(files->ctx, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    mem_free(path);
    if (fd < 0)
        return fd;
    int err = files->pwrite(files->ctx, fd, bytes, sizeof bytes, 0);
    if (err == 0 && !w->no_sync)
        err = files->sync(files->ctx, fd);
    if (err == 0 && !w->no_sync)
        err = files->sync_dir(files->ctx, w->dir);
    if (err < 0) {
        files->close(files->ctx, fd);
        return err;
    }
    *ret_fd = fd;
    *ret_identity = identity;
    return 0;
}

/* Ends the current segment and goes over to a new one. The new one is durable before the old one's
 * seal names it, and the seal is durable before anything is in the new one: so a segment with
 * records always follows a sealed one, and a seal always has its successor. */
static int next_segment(struct wal *w, zxid_t first_zxid) {
    struct wal_end *end = &w->end;
    bool first = end->fd < 0;
    struct wal_header header = {.version = WAL_VERSION,
                                .first_zxid = first_zxid,
                                .prev_zxid = end->last_zxid,
                                .salt = w->salt};
    struct buf seal = BUF_INIT;
    if (!first) {
        struct wal_mark mark = {.offset = end->tail,
                                .batch_start = end->tail,
                                .last_zxid = end->last_zxid,
                                .next_zxid = first_zxid};
        wal_mark_append(&seal, &mark);
        header.prev_seal = wal_frame_stamp(seal.data, seal.len, end->identity, end->tail);
    }
    int fd = -1;
    uint64_t identity = 0;
    int err = create_segment(w, &header, &fd, &identity);
    if (err == 0 && !first)
        err = write_all(w, seal.data, seal.len, end->tail);
    if (err == 0 && !first)
        err = sync_data(w);
    if (err == 0 && !first)
        err = w->files->close(w->files->ctx, end->fd);
    if (err < 0 && fd >= 0) {
        w->files->close(w->files->ctx, fd);
    } else if (err == 0) {
        uint64_t old_bytes = first ? 0 : end->size_bytes;
        *end = (struct wal_end){.fd = fd,
                                .identity = identity,
                                .first_zxid = first_zxid,
                                .tail = WAL_HEADER_BYTES,
                                .size_bytes = WAL_HEADER_BYTES,
                                .older_bytes = end->older_bytes + old_bytes,
                                .last_zxid = end->last_zxid};
    }
    buf_close(&seal);
    return err;
}

/* Gives the batch's frames the checksums of their places and puts the persist mark behind them. */
static void finish_batch(struct wal *w) {
    struct buf *frames = &w->syncing.frames;
    uint64_t tail = w->end.tail;
    for (size_t at = 0; at < frames->len;) {
        uint8_t *frame = frames->data + at;
        size_t size = wal_frame_size(wal_frame_head(frame).body_bytes);
        wal_frame_stamp(frame, size, w->end.identity, tail + at);
        at += size;
    }
    size_t mark_at = frames->len;
    struct wal_mark mark = {.offset = tail + mark_at,
                            .batch_start = tail,
                            .last_zxid = w->syncing.last_zxid,
                            .zero_pieces = wal_zero_pieces(frames->data, mark_at, tail)};
    wal_mark_append(frames, &mark);
    wal_frame_stamp(frames->data + mark_at, frames->len - mark_at, w->end.identity, mark.offset);
}

/* Writes zeros behind the tail, when the batch that ends there goes beyond what is allocated. */
static int allocate_ahead(struct wal *w, uint64_t tail) {
    static const uint8_t zeros[32 << 10];
    if (tail <= w->end.size_bytes)
        return 0;
    uint64_t ahead = tail < AHEAD_MIN_BYTES ? AHEAD_MIN_BYTES : tail;
    if (ahead > AHEAD_MAX_BYTES)
        ahead = AHEAD_MAX_BYTES;
    if (tail + ahead > w->segment_bytes)
        ahead = tail < w->segment_bytes ? w->segment_bytes - tail : 0;
    uint64_t size = tail + ahead;
    while (tail < size) {
        uint64_t left = size - tail;
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        int err = w->files->pwrite(w->files->ctx, w->end.fd, zeros, n, (int64_t)tail);
        if (err < 0)
            return err;
        tail += n;
    }
    w->end.size_bytes = size;
    return 0;
}

static int run(struct wal *w) {
    int err = 0;
    if (w->end.fd < 0 || w->end.tail >= w->segment_bytes)
        err = next_segment(w, w->syncing.first_zxid);
    if (err < 0)
        return err;
    finish_batch(w);
    const struct buf *frames = &w->syncing.frames;
    err = write_all(w, frames->data, frames->len, w->end.tail);
    if (err == 0)
        err = allocate_ahead(w, w->end.tail + frames->len);
    if (err == 0)
        err = sync_data(w);
    if (err < 0)
        return err;
    w->end.batch_start = w->end.tail;
    w->end.tail += frames->len;
    w->end.last_zxid = w->syncing.last_zxid;
    return 0;
}

int wal_sync_run(struct wal *w) {
    if (w->dead == 0 && !batch_empty(&w->syncing))
        w->dead = run(w);
    return w->dead;
}

zxid_t wal_sync_end(struct wal *w) {
    batch_reset(&w->syncing);
    w->stopped = w->dead != 0;
    if (w->dead == 0) {
        w->durable_zxid = w->end.last_zxid;
        w->shown_bytes = w->end.older_bytes + w->end.size_bytes;
    } else {
        batch_reset(&w->appending);
    }
    return w->durable_zxid;
}

int64_t wal_size_bytes(const struct wal *w) { return (int64_t)w->shown_bytes; }
