#include "replica/store/wal_state.h"

#include <fcntl.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/store/reserve.h"
#include "replica/store/wal_format.h"

/* One write call's share of a long batch: a bound on what the kernel is handed at once. */
#define WRITE_BYTES (4u << 20)
/* A batch buffer that grew beyond this is given back after its sync. */
#define KEEP_BYTES (256u << 10)
/* Space is allocated ahead of the tail, for a sync of an appending write costs a third more than
 * one into blocks that are there; as much as there is already, so that a small log stays small, up
 * to the upper bound. */
#define AHEAD_MIN_BYTES (32u << 10)
#define AHEAD_MAX_BYTES (1u << 20)

/* ---- segments ---- */

void wal_segments_add(struct wal_segments *s, const struct wal_segment *segment) {
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 16 : s->cap * 2;
        s->list = mem_realloc(s->list, s->cap * sizeof *s->list);
    }
    s->list[s->count++] = *segment;
}

void wal_segments_close(struct wal_segments *s) {
    mem_free(s->list);
    *s = (struct wal_segments){0};
}

int wal_segment_open(const struct store_dir *d, zxid_t first_zxid, int flags) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(first_zxid, name);
    return store_file_open(d, name, flags);
}

int wal_segment_remove(const struct store_dir *d, zxid_t first_zxid) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(first_zxid, name);
    return store_file_remove(d, name);
}

struct names {
    zxid_t *list;
    size_t count, cap;
};

static void collect(void *arg, const char *name) {
    struct names *n = arg;
    zxid_t zxid = 0;
    if (!wal_segment_parse(name, &zxid))
        return;
    if (n->count == n->cap) {
        n->cap = n->cap == 0 ? 16 : n->cap * 2;
        n->list = mem_realloc(n->list, n->cap * sizeof *n->list);
    }
    n->list[n->count++] = zxid;
}

int wal_segments_remove_all(const struct store_dir *d) {
    struct names names = {0};
    int err = d->files->list(d->files->ctx, d->path, collect, &names);
    for (size_t i = 0; err == 0 && i < names.count; i++)
        err = wal_segment_remove(d, names.list[i]);
    mem_free(names.list);
    return err;
}

static struct wal_segment *last_segment(struct wal *w) {
    CHECK(w->segments.count > 0);
    return &w->segments.list[w->segments.count - 1];
}

uint64_t wal_bytes(const struct wal *w) {
    uint64_t sum = 0;
    for (size_t i = 0; i < w->segments.count; i++)
        sum += w->segments.list[i].size_bytes;
    return sum;
}

static void close_last(struct wal *w) {
    if (w->fd >= 0)
        w->dir->files->close(w->dir->files->ctx, w->fd);
    w->fd = -1;
}

void wal_close(struct wal *w) {
    close_last(w);
    wal_segments_close(&w->segments);
}

int wal_remove_all(struct wal *w) {
    close_last(w);
    return wal_segments_remove_all(w->dir);
}

void wal_rebase(struct wal *w, zxid_t zxid, uint64_t seal) {
    close_last(w);
    w->segments.count = 0;
    w->tail = 0;
    w->last_zxid = zxid;
    w->base_seal = seal;
}

/* ---- batches ---- */

void wal_batch_add(struct wal_batch *b, const struct log_record *r) {
    if (b->frames.len == 0)
        b->first_zxid = r->zxid;
    b->last_zxid = r->zxid;
    size_t at = wal_frame_begin(&b->frames, WAL_MAGIC_RECORD);
    log_record_encode(&b->frames, r);
    /* Admission refuses what would not fit, so that a log can always be read back. */
    CHECK(b->frames.len - at - WAL_FRAME_BYTES <= LOG_RECORD_MAX);
    wal_frame_end(&b->frames, at);
}

void wal_batch_reset(struct wal_batch *b) {
    if (b->frames.cap > KEEP_BYTES)
        buf_close(&b->frames);
    buf_reset(&b->frames);
}

static int write_all(struct wal *w, const uint8_t *p, size_t n, uint64_t offset) {
    while (n > 0) {
        size_t piece = n < WRITE_BYTES ? n : WRITE_BYTES;
        int err = w->dir->files->pwrite(w->dir->files->ctx, w->fd, p, piece, (int64_t)offset);
        if (err < 0)
            return err;
        p += piece;
        n -= piece;
        offset += piece;
    }
    return 0;
}

/* Creates the segment, with its header and its name durable. */
static int create_segment(struct wal *w, const struct wal_header *header, int *ret_fd,
                          uint64_t *ret_identity) {
    uint8_t bytes[WAL_HEADER_BYTES];
    uint64_t identity = wal_header_encode(header, bytes);
    const struct env_files *files = w->dir->files;
    int fd = wal_segment_open(w->dir, header->first_zxid, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return fd;
    int err = files->pwrite(files->ctx, fd, bytes, sizeof bytes, 0);
    if (err == 0)
        err = store_file_sync(w->dir, fd);
    if (err == 0)
        err = store_file_sync_dir(w->dir);
    if (err < 0) {
        files->close(files->ctx, fd);
        return err;
    }
    *ret_fd = fd;
    *ret_identity = identity;
    return 0;
}

/* Writes and syncs the seal of the last segment, that `bytes` is, and closes it. */
static int end_segment(struct wal *w, const struct buf *seal) {
    int err = write_all(w, seal->data, seal->len, w->tail);
    if (err == 0)
        err = store_file_datasync(w->dir, w->fd);
    if (err < 0)
        return err;
    err = store_file_close(w->dir, w->fd);
    w->fd = -1;
    return err;
}

/* Without room the segment is made anew, from its name on: what is there of it holds nothing. */
static int take_segment_back(struct wal *w, zxid_t first_zxid, int err) {
    int gone = reserve_lacks_room(err) ? wal_segment_remove(w->dir, first_zxid) : 0;
    return gone < 0 ? gone : err;
}

/* Ends the current segment and goes over to a new one. The new one is durable before the old one's
 * seal names it, and the seal is durable before anything is in the new one: so a segment with
 * records always follows a sealed one, and a seal always has its successor. */
static int next_segment(struct wal *w, zxid_t first_zxid) {
    bool first = w->fd < 0;
    /* A segment that is begun again, after its first life was cut away, must not take the old
     * bytes for its own: no two have the same salt. */
    struct wal_header header = {.version = WAL_VERSION,
                                .first_zxid = first_zxid,
                                .prev_zxid = w->last_zxid,
                                .prev_seal = w->base_seal,
                                .salt = w->salt++};
    struct buf seal = BUF_INIT;
    if (!first) {
        struct wal_mark mark = {.offset = w->tail,
                                .batch_start = w->tail,
                                .last_zxid = w->last_zxid,
                                .next_zxid = first_zxid};
        wal_mark_append(&seal, &mark);
        header.prev_seal = wal_frame_stamp(seal.data, seal.len, last_segment(w)->identity, w->tail);
    }
    struct wal_segment segment = {.first_zxid = first_zxid,
                                  .prev_zxid = w->last_zxid,
                                  .size_bytes = WAL_HEADER_BYTES,
                                  .version = WAL_VERSION};
    int fd = -1;
    int err = create_segment(w, &header, &fd, &segment.identity);
    if (err == 0 && !first)
        err = end_segment(w, &seal);
    if (err == 0) {
        wal_segments_add(&w->segments, &segment);
        w->fd = fd;
        w->tail = WAL_HEADER_BYTES;
    } else {
        if (fd >= 0)
            w->dir->files->close(w->dir->files->ctx, fd);
        err = take_segment_back(w, first_zxid, err);
    }
    buf_close(&seal);
    return err;
}

/* Gives the batch's frames the checksums of their places and puts the persist mark behind them. */
static void finish_batch(struct wal *w, struct wal_batch *b) {
    struct buf *frames = &b->frames;
    uint64_t identity = last_segment(w)->identity;
    for (size_t at = 0; at < frames->len;) {
        uint8_t *frame = frames->data + at;
        size_t size = wal_frame_size(wal_frame_head(frame).body_bytes);
        wal_frame_stamp(frame, size, identity, w->tail + at);
        at += size;
    }
    size_t mark_at = frames->len;
    struct wal_mark mark = {.offset = w->tail + mark_at,
                            .batch_start = w->tail,
                            .last_zxid = b->last_zxid,
                            .zero_pieces = wal_zero_pieces(frames->data, mark_at, w->tail)};
    wal_mark_append(frames, &mark);
    wal_frame_stamp(frames->data + mark_at, frames->len - mark_at, identity, mark.offset);
}

/* Writes zeros behind the tail, when the batch that ends there goes beyond what is allocated; as
 * many as there is room for. */
static int allocate_ahead(struct wal *w, uint64_t tail) {
    static const uint8_t zeros[32 << 10];
    struct wal_segment *segment = last_segment(w);
    if (tail <= segment->size_bytes)
        return 0;
    segment->size_bytes = tail;
    if (w->tight)
        return 0;
    uint64_t ahead = tail < AHEAD_MIN_BYTES ? AHEAD_MIN_BYTES : tail;
    if (ahead > AHEAD_MAX_BYTES)
        ahead = AHEAD_MAX_BYTES;
    if (tail + ahead > w->max_bytes)
        ahead = tail < w->max_bytes ? w->max_bytes - tail : 0;
    uint64_t size = tail + ahead;
    while (tail < size) {
        uint64_t left = size - tail;
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        int err = w->dir->files->pwrite(w->dir->files->ctx, w->fd, zeros, n, (int64_t)tail);
        if (err < 0)
            return reserve_lacks_room(err) ? 0 : err;
        tail += n;
        segment->size_bytes = tail;
    }
    return 0;
}

int wal_write(struct wal *w, struct wal_batch *b) {
    int err = 0;
    if (w->fd < 0 || w->tail >= w->max_bytes || last_segment(w)->version != WAL_VERSION)
        err = next_segment(w, b->first_zxid);
    if (err < 0)
        return err;
    size_t records_len = b->frames.len;
    finish_batch(w, b);
    err = write_all(w, b->frames.data, b->frames.len, w->tail);
    if (err < 0) {
        /* Tried again, it is written to the same place with the same bytes. So whatever a crash
         * keeps of either try is the beginning of one batch, and a start takes it for torn. */
        b->frames.len = records_len;
        return err;
    }
    err = allocate_ahead(w, w->tail + b->frames.len);
    if (err == 0)
        err = MUTANT(LOG_NOT_SYNCED) ? 0 : store_file_datasync(w->dir, w->fd);
    if (err < 0)
        return err;
    w->tail += b->frames.len;
    w->last_zxid = b->last_zxid;
    return 0;
}
