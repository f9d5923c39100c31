#include "replica/store/snap_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "common/cursor.h"
#include "common/mutant.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_reader.h"

#define MAGIC "zkfs-snp"
#define MAGIC_PIECE 0x7a6b5370u /* "zkSp" */
#define MAGIC_END 0x7a6b5365u   /* "zkSe" */
#define END_BODY_BYTES 24
#define END_BYTES (WAL_FRAME_BYTES + END_BODY_BYTES)

/* So much is written before it is brought to the disk. At the end of a snapshot of 150 MiB a sync
 * of all of it kept the log's next sync waiting for 80 ms; behind these it takes as long as that of
 * a small file. Of 2 MiB at once the log's syncs still noticed something, of 8 MiB twice as much
 * (docs/benchmarks.md). */
#define WRITE_BACK_BYTES (128u << 10)
#define CUT_BYTES (4 << 20)

/* ---- writing ---- */

/* A checkpoint may find the file of an older one, and writes over it: what is left of that behind
 * its end goes at the end. Not over one that has another name as well: that is somebody's backup.
 */
static int open_written(const struct store_dir *d, const char *name, enum snap_kind kind) {
    const struct env_files *files = d->files;
    int flags = O_RDWR | O_CREAT | (kind == SNAP_BESIDE ? 0 : O_TRUNC);
    int fd = store_file_open(d, name, flags);
    int64_t links = fd < 0 || kind != SNAP_BESIDE ? 1 : files->links(files->ctx, fd);
    if (links == 1)
        return fd;
    files->close(files->ctx, fd);
    int err = links < 0 ? (int)links : store_file_remove(d, name);
    return err < 0 ? err : store_file_open(d, name, flags);
}

int snap_writer_begin(struct snap_writer *w, const struct store_dir *d, const char *name,
                      uint64_t salt, enum snap_kind kind) {
    snap_writer_close(w, d);
    uint8_t head[STORE_FILE_BYTES];
    struct store_file file = {.words = {salt, kind}};
    uint64_t identity = store_file_encode(MAGIC, &file, head);
    int fd = open_written(d, name, kind);
    if (fd < 0)
        return fd;
    *w = (struct snap_writer){.name = name,
                              .fd = fd,
                              .identity = identity,
                              .at = STORE_FILE_BYTES,
                              .writes_back = kind == SNAP_BESIDE && !d->no_sync};
    return d->files->pwrite(d->files->ctx, fd, head, sizeof head, 0);
}

/* Not of a snapshot that replaces the history: nobody is served meanwhile, and what went wrong here
 * could not be tried again, as a write can (a full disk). */
static int write_back(struct snap_writer *w, const struct store_dir *d) {
    const struct env_files *files = d->files;
    uint64_t n = w->at - w->written_back;
    if (!w->writes_back || files->write_back == NULL || n < WRITE_BACK_BYTES)
        return 0;
    int64_t from = (int64_t)w->written_back;
    w->written_back = w->at;
    return files->write_back(files->ctx, w->fd, from, (int64_t)n);
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
    if (err == 0)
        w->at += b.len;
    buf_close(&b);
    return err < 0 ? err : write_back(w, d);
}

int snap_writer_chunk(struct snap_writer *w, const struct store_dir *d, struct slice piece) {
    CHECK(w->fd >= 0);
    uint64_t checksum = 0;
    int err = put_frame(w, d, MAGIC_PIECE, piece, &checksum);
    if (err == 0)
        w->pieces++;
    return err;
}

/* What is left behind the end of an older one, in pieces that no sync of the log has to wait for.
 */
static int cut_rest(struct snap_writer *w, const struct store_dir *d) {
    const struct env_files *files = d->files;
    int64_t end = (int64_t)w->at;
    int64_t size = files->size(files->ctx, w->fd);
    while (size > end) {
        size = size - end > CUT_BYTES ? size - CUT_BYTES : end;
        int err = files->truncate(files->ctx, w->fd, size);
        if (err < 0)
            return err;
    }
    return size < 0 ? (int)size : 0;
}

int snap_writer_end(struct snap_writer *w, const struct store_dir *d, const char *name,
                    zxid_t begun, zxid_t ended, struct snap_base *ret_base) {
    CHECK(w->fd >= 0);
    struct buf body = BUF_INIT;
    struct snap_base base = {.begun = begun, .ended = ended};
    buf_put_u64be(&body, (uint64_t)begun);
    buf_put_u64be(&body, (uint64_t)ended);
    buf_put_u64be(&body, w->pieces);
    uint64_t end_at = w->at;
    int err =
        put_frame(w, d, MAGIC_END, (struct slice){body.data, (int32_t)body.len}, &base.checksum);
    buf_close(&body);
    if (err == 0)
        err = cut_rest(w, d);
    base.size_bytes = w->at;
    w->at = end_at; /* should it have to be tried again */
    bool synced = strcmp(w->name, SNAP_FILE_TMP) != 0 || !MUTANT(CHECKPOINT_NOT_SYNCED);
    if (err == 0 && synced)
        err = store_file_sync(d, w->fd);
    if (err == 0)
        err = store_file_rename(d, w->name, name);
    if (err < 0)
        return err;
    snap_writer_close(w, d);
    err = store_file_sync_dir(d);
    if (err == 0)
        *ret_base = base;
    return err;
}

int snap_writer_abandon(struct snap_writer *w, const struct store_dir *d) {
    snap_writer_close(w, d);
    return w->name == NULL ? 0 : store_file_remove(d, w->name);
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
    enum snap_kind kind;
    struct buf *why;
};

static int damaged(struct reading *r, uint64_t offset, const char *what) {
    buf_printf(r->why, "%s/%s: offset %" PRIu64 ": %s; the snapshot is damaged", r->d->path,
               r->name, offset, what);
    return -EBADMSG;
}

static int failed(struct reading *r, int err) {
    buf_printf(r->why, "%s/%s: cannot be read: %s", r->d->path, r->name, strerror(-err));
    return err;
}

static enum snap_kind kind_of(const struct store_file *head) {
    return head->words[1] == SNAP_BESIDE ? SNAP_BESIDE : SNAP_REPLACES;
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
    if (err == 0)
        r->kind = kind_of(&file);
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
    struct snap_base base = {
        .kind = r->kind, .checksum = head->checksum, .size_bytes = r->reader.size_bytes};
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

int snap_file_peek(const struct store_dir *d, int fd, struct snap_base *ret_base) {
    struct wal_reader r;
    struct store_file file = {0};
    int err = wal_reader_init(&r, d->files, fd);
    if (err < 0)
        return err;
    r.window_bytes = STORE_FILE_BYTES;
    uint64_t end = r.size_bytes - END_BYTES;
    const uint8_t *p = wal_reader_view(&r, 0, STORE_FILE_BYTES);
    err = r.size_bytes < STORE_FILE_BYTES + END_BYTES ? -EBADMSG
          : p == NULL                                 ? r.err
                      : store_file_decode(MAGIC, p, &file, &r.identity);
    if (err == 0)
        p = wal_reader_view(&r, end, END_BYTES);
    if (err == 0 && p == NULL)
        err = r.err;
    if (err == 0 &&
        (wal_frame_head(p).magic != MAGIC_END || wal_frame_head(p).body_bytes != END_BODY_BYTES ||
         !wal_frame_valid(p, END_BYTES, r.identity, end)))
        err = -EBADMSG;
    if (err == 0) {
        struct cursor c;
        cursor_init(&c, p + WAL_FRAME_BYTES, END_BODY_BYTES);
        *ret_base = (struct snap_base){.kind = kind_of(&file),
                                       .checksum = wal_frame_head(p).checksum,
                                       .size_bytes = r.size_bytes};
        ret_base->begun = (zxid_t)cursor_u64be(&c);
        ret_base->ended = (zxid_t)cursor_u64be(&c);
    }
    wal_reader_close(&r);
    return err;
}

zxid_t snap_file_begun(const struct store_dir *d, const char *name) {
    struct snap_base base = {0};
    int fd = store_file_open(d, name, O_RDONLY);
    if (fd < 0)
        return 0;
    int err = snap_file_peek(d, fd, &base);
    d->files->close(d->files->ctx, fd);
    return err == 0 ? base.begun : 0;
}
