#include "replica/store/snap_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "common/cursor.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_reader.h"

#define MAGIC "zkfs-snp"
#define MAGIC_PIECE 0x7a6b5370u /* "zkSp" */
#define MAGIC_END 0x7a6b5365u   /* "zkSe" */
#define END_BODY_BYTES 24
#define END_BYTES (WAL_FRAME_BYTES + END_BODY_BYTES)

/* ---- writing ---- */

int snap_writer_begin(struct snap_writer *w, const struct store_dir *d, uint64_t salt) {
    snap_writer_close(w, d);
    uint8_t head[STORE_FILE_BYTES];
    struct store_file file = {.words = {salt}};
    uint64_t identity = store_file_encode(MAGIC, &file, head);
    int fd = store_file_open(d, SNAP_FILE_NEW, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0)
        return fd;
    *w = (struct snap_writer){.fd = fd, .identity = identity, .at = STORE_FILE_BYTES};
    return d->files->pwrite(d->files->ctx, fd, head, sizeof head, 0);
}

static int put_frame(struct snap_writer *w, const struct store_dir *d, uint32_t magic,
                     struct slice body, uint64_t *ret_checksum) {
    struct buf b = BUF_INIT;
    size_t at = wal_frame_begin(&b, magic);
    if (body.len > 0)
        buf_put(&b, body.p, (size_t)body.len);
    wal_frame_end(&b, at);
    *ret_checksum = wal_frame_stamp(b.data, b.len, w->identity, w->at);
    int err = d->files->pwrite(d->files->ctx, w->fd, b.data, b.len, (int64_t)w->at);
    w->at += b.len;
    buf_close(&b);
    return err;
}

int snap_writer_chunk(struct snap_writer *w, const struct store_dir *d, struct slice piece) {
    CHECK(w->fd >= 0);
    uint64_t checksum = 0;
    w->pieces++;
    return put_frame(w, d, MAGIC_PIECE, piece, &checksum);
}

int snap_writer_end(struct snap_writer *w, const struct store_dir *d, zxid_t begun, zxid_t ended,
                    struct snap_base *ret_base) {
    CHECK(w->fd >= 0);
    struct buf body = BUF_INIT;
    struct snap_base base = {.begun = begun, .ended = ended};
    buf_put_u64be(&body, (uint64_t)begun);
    buf_put_u64be(&body, (uint64_t)ended);
    buf_put_u64be(&body, w->pieces);
    int err =
        put_frame(w, d, MAGIC_END, (struct slice){body.data, (int32_t)body.len}, &base.checksum);
    buf_close(&body);
    base.size_bytes = w->at;
    if (err == 0)
        err = store_file_sync(d, w->fd);
    snap_writer_close(w, d);
    if (err == 0)
        err = store_file_rename(d, SNAP_FILE_NEW, SNAP_FILE_NEXT);
    if (err == 0)
        err = store_file_sync_dir(d);
    if (err == 0)
        *ret_base = base;
    return err;
}

int snap_writer_abandon(struct snap_writer *w, const struct store_dir *d) {
    snap_writer_close(w, d);
    return store_file_remove(d, SNAP_FILE_NEW);
}

void snap_writer_close(struct snap_writer *w, const struct store_dir *d) {
    if (w->fd >= 0)
        d->files->close(d->files->ctx, w->fd);
    w->fd = -1;
}

/* ---- reading ---- */

struct reading {
    const struct store_dir *d;
    const char *name;
    struct wal_reader reader;
    uint64_t at;
    struct buf *why;
};

static int damaged(struct reading *r, uint64_t offset, const char *what) {
    buf_printf(r->why,
               "%s/%s: offset %" PRIu64
               ": %s; the snapshot is damaged and nothing was touched: keep a copy, then empty "
               "this directory and let the replica come back from the others of its ensemble, or "
               "restore a backup",
               r->d->path, r->name, offset, what);
    return -EBADMSG;
}

static int failed(struct reading *r, int err) {
    buf_printf(r->why, "%s/%s: cannot be read: %s", r->d->path, r->name, strerror(-err));
    return err;
}

static int read_head(struct reading *r) {
    const uint8_t *p = wal_reader_view(&r->reader, 0, STORE_FILE_BYTES);
    if (p == NULL)
        return failed(r, r->reader.err);
    struct store_file file;
    int err = store_file_decode(MAGIC, p, &file, &r->reader.identity);
    if (err == -EPROTONOSUPPORT)
        buf_printf(r->why,
                   "%s/%s: the snapshot has a newer format than this program knows; start it with "
                   "the version that wrote it",
                   r->d->path, r->name);
    r->at = STORE_FILE_BYTES;
    return err == -EBADMSG ? damaged(r, 0, "its head is broken") : err;
}

/* The frame at r->at, whose body is valid until the next call. */
static int read_frame(struct reading *r, struct wal_frame_head *ret_head, struct slice *ret_body) {
    uint64_t left = r->reader.size_bytes - r->at;
    if (left < WAL_FRAME_BYTES)
        return damaged(r, r->at, "it ends too early");
    const uint8_t *p = wal_reader_view(&r->reader, r->at, WAL_FRAME_BYTES);
    if (p == NULL)
        return failed(r, r->reader.err);
    struct wal_frame_head head = wal_frame_head(p);
    if (head.body_bytes > INT32_MAX || wal_frame_size(head.body_bytes) > left)
        return damaged(r, r->at, "a piece is broken");
    size_t size = wal_frame_size(head.body_bytes);
    p = wal_reader_view(&r->reader, r->at, size);
    if (p == NULL)
        return failed(r, r->reader.err);
    if (!wal_frame_valid(p, size, r->reader.identity, r->at))
        return damaged(r, r->at, "a piece is broken");
    *ret_head = head;
    *ret_body = (struct slice){p + WAL_FRAME_BYTES, (int32_t)head.body_bytes};
    return 0;
}

static int read_end(struct reading *r, const struct wal_frame_head *head, struct slice body,
                    uint64_t pieces, struct snap_base *ret_base) {
    struct cursor c;
    cursor_init(&c, body.p, (size_t)body.len);
    struct snap_base base = {.checksum = head->checksum, .size_bytes = r->reader.size_bytes};
    base.begun = (zxid_t)cursor_u64be(&c);
    base.ended = (zxid_t)cursor_u64be(&c);
    uint64_t count = cursor_u64be(&c);
    if (c.bad || cursor_left(&c) > 0 || count != pieces)
        return damaged(r, r->at, "its end does not fit what is before");
    if (r->at + END_BYTES != r->reader.size_bytes)
        return damaged(r, r->at + END_BYTES, "something stands behind its end");
    *ret_base = base;
    return 0;
}

static int read_pieces(struct reading *r, snap_piece_fn *fn, void *ctx,
                       struct snap_base *ret_base) {
    for (uint64_t pieces = 0;; pieces++) {
        struct wal_frame_head head = {0};
        struct slice body = SLICE_NULL;
        int err = read_frame(r, &head, &body);
        if (err < 0)
            return err;
        if (head.magic == MAGIC_END)
            return read_end(r, &head, body, pieces, ret_base);
        if (head.magic != MAGIC_PIECE)
            return damaged(r, r->at, "a piece is of no known kind");
        if (!fn(ctx, body))
            return damaged(r, r->at, "a piece is whole and cannot be loaded");
        r->at += wal_frame_size(head.body_bytes);
    }
}

int snap_file_read(const struct store_dir *d, const char *name, snap_piece_fn *fn, void *ctx,
                   struct snap_base *ret_base, struct buf *ret_why) {
    struct reading r = {.d = d, .name = name, .why = ret_why};
    int fd = store_file_open(d, name, O_RDONLY);
    if (fd == -ENOENT)
        return fd;
    if (fd < 0)
        return failed(&r, fd);
    int err = wal_reader_init(&r.reader, d->files, fd);
    if (err < 0)
        failed(&r, err);
    if (err == 0)
        err = read_head(&r);
    if (err == 0)
        err = read_pieces(&r, fn, ctx, ret_base);
    wal_reader_close(&r.reader);
    d->files->close(d->files->ctx, fd);
    return err;
}
