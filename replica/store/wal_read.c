/* Reading the log again, while it is written: bounded, from anywhere. */
#include <errno.h>
#include <fcntl.h>

#include "replica/store/wal_index.h"
#include "replica/store/wal_reader.h"

/* A read takes a little more than it was asked for, for what stands around the payloads. */
#define WINDOW_MIN_BYTES (64u << 10)

struct log_read {
    const struct store_dir *d;
    struct wal_index *index;
    struct wal_reader reader;
    struct wal_point at; /* the next frame */
    zxid_t after, limit;
    size_t max_bytes;
    wal_record_fn *fn;
    void *ctx;
    bool found; /* the place behind `after` */
    size_t bytes;
    int count;
};

static int open_at(struct log_read *r, bool first) {
    int fd = wal_segment_open(r->d, r->at.segment, O_RDONLY);
    /* It was there, and nobody but this store removes it: that is damage, not an early `after`. */
    if (fd == -ENOENT)
        return -EBADMSG;
    if (fd < 0)
        return fd;
    int err = 0;
    if (first) {
        err = wal_reader_init(&r->reader, r->d->files, fd);
        r->reader.window_bytes = r->max_bytes < WINDOW_MIN_BYTES ? WINDOW_MIN_BYTES
                                 : r->max_bytes < WAL_READER_WINDOW_BYTES
                                     ? r->max_bytes + r->max_bytes / 4
                                     : WAL_READER_WINDOW_BYTES;
    } else {
        err = wal_reader_move(&r->reader, fd);
    }
    if (err < 0) {
        r->d->files->close(r->d->files->ctx, fd);
        return err;
    }
    r->reader.fd = fd;
    r->reader.identity = r->at.identity;
    return 0;
}

static void close_segment(struct log_read *r) {
    r->d->files->close(r->d->files->ctx, r->reader.fd);
}

static int go_over(struct log_read *r) {
    zxid_t segment = r->at.segment;
    if (!wal_index_find_segment(r->index, r->at.after, &r->at) || r->at.segment == segment)
        return -EBADMSG;
    close_segment(r);
    int err = open_at(r, false);
    if (err < 0)
        r->reader.fd = -1;
    return err;
}

/* 1 when it was taken, 0 when it is too much now. */
static int take_record(struct log_read *r, const struct wal_frame *frame) {
    struct log_record record;
    if (!log_record_decode(frame->body, &record) || record.zxid <= r->at.after)
        return -EBADMSG;
    if (record.zxid > r->after && !r->found)
        return -ENOENT;
    size_t bytes = record.payload.len > 0 ? (size_t)record.payload.len : 0;
    if (r->found && r->count > 0 && (bytes > r->max_bytes || r->bytes > r->max_bytes - bytes))
        return 0;
    r->at.after = record.zxid;
    r->at.offset += frame->size_bytes;
    if (r->found) {
        r->bytes += bytes;
        r->count++;
        r->fn(r->ctx, &record);
    }
    r->found = r->found || record.zxid == r->after;
    return 1;
}

static int read_on(struct log_read *r) {
    while (r->at.after < r->limit) {
        struct wal_frame frame;
        int err = wal_reader_frame(&r->reader, r->at.offset, &frame);
        if (err < 0)
            return err;
        /* What is durable was read or written by this process: anything else is damage. */
        if (frame.kind == WAL_FRAME_BAD || frame.kind == WAL_FRAME_END)
            return -EBADMSG;
        if (frame.kind == WAL_FRAME_RECORD) {
            err = take_record(r, &frame);
            if (err <= 0)
                return err;
        } else if (frame.mark.next_zxid != 0) {
            err = go_over(r);
            if (err < 0)
                return err;
        } else {
            r->at.offset += frame.size_bytes;
        }
    }
    return r->found ? 0 : -ENOENT;
}

int wal_read(const struct store_dir *d, struct wal_index *x, zxid_t base, zxid_t after,
             zxid_t limit, size_t max_bytes, wal_record_fn *fn, void *ctx) {
    struct log_read r = {.d = d,
                         .index = x,
                         .after = after,
                         .limit = limit,
                         .max_bytes = max_bytes,
                         .fn = fn,
                         .ctx = ctx};
    if (after < base || after > limit)
        return -ENOENT;
    if (after == limit)
        return 0;
    if (!wal_index_find(x, after, &r.at))
        return -ENOENT;
    r.found = r.at.after == after;
    int err = open_at(&r, true);
    if (err < 0)
        return err;
    err = read_on(&r);
    if (err == 0)
        wal_index_remember(x, &r.at);
    if (r.reader.fd >= 0)
        close_segment(&r);
    wal_reader_close(&r.reader);
    return err < 0 ? err : r.count;
}
