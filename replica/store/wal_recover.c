#include "replica/store/wal_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/wal_reader.h"

#define WHAT_TO_DO                                                                                 \
    "; the log is damaged and was not touched: keep a copy, then restore this directory from a "   \
    "backup or from an intact replica"

struct recovery {
    const struct env_files *files;
    const char *dir;
    wal_record_fn *fn;
    void *ctx;
    struct buf *why;
    zxid_t *segments; /* first zxids, ascending */
    size_t count;
    size_t cap;
    zxid_t empty; /* with has_empty: a last segment that holds nothing and is dropped */
    bool has_empty;
    bool empty_torn; /* it has the torn beginning of a batch */
    struct wal_reader reader;
    struct wal_end end;
    uint64_t seal;      /* checksum of the current segment's seal; 0: not sealed */
    uint64_t seal_at;   /* its offset */
    zxid_t next_zxid;   /* what it says comes next */
    uint64_t mark_end;  /* behind the current segment's last mark */
    uint64_t cut_bytes; /* of an unfinished write, 0: none */
    uint64_t cut_at;    /* its offset */
    zxid_t cut_zxid;    /* and segment */
};

char *wal_path(const char *dir, const char *name) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s/%s", dir, name);
    char *path = mem_strndup((const char *)b.data, b.len);
    buf_close(&b);
    return path;
}

static char *segment_path(const struct recovery *rec, zxid_t first_zxid) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(first_zxid, name);
    return wal_path(rec->dir, name);
}

/* Puts "DIR/log.X: offset N: " into why and returns err. The caller appends what is wrong. */
static int refuse(struct recovery *rec, zxid_t first_zxid, uint64_t offset, int err) {
    char *path = segment_path(rec, first_zxid);
    buf_printf(rec->why, "%s: offset %" PRIu64 ": ", path, offset);
    mem_free(path);
    return err;
}

static int damaged(struct recovery *rec, uint64_t offset, const char *what) {
    int err = refuse(rec, rec->end.first_zxid, offset, -EBADMSG);
    buf_printf(rec->why, "%s" WHAT_TO_DO, what);
    return err;
}

static int failed(struct recovery *rec, zxid_t first_zxid, const char *what, int err) {
    char *path = segment_path(rec, first_zxid);
    buf_printf(rec->why, "%s: %s: %s", path, what, strerror(-err));
    mem_free(path);
    return err;
}

static void collect(void *arg, const char *name) {
    struct recovery *rec = arg;
    zxid_t zxid = 0;
    if (!wal_segment_parse(name, &zxid))
        return;
    if (rec->count == rec->cap) {
        rec->cap = rec->cap == 0 ? 16 : rec->cap * 2;
        rec->segments = mem_realloc(rec->segments, rec->cap * sizeof *rec->segments);
    }
    rec->segments[rec->count++] = zxid;
}

static int compare_zxid(const void *a, const void *b) {
    zxid_t x = *(const zxid_t *)a;
    zxid_t y = *(const zxid_t *)b;
    return (x > y) - (x < y);
}

static int list_segments(struct recovery *rec) {
    int err = rec->files->list(rec->files->ctx, rec->dir, collect, rec);
    if (err < 0) {
        buf_printf(rec->why, "%s: cannot be listed: %s", rec->dir, strerror(-err));
        return err;
    }
    if (rec->count > 0)
        qsort(rec->segments, rec->count, sizeof *rec->segments, compare_zxid);
    return 0;
}

static void close_segment(struct recovery *rec) {
    wal_reader_close(&rec->reader);
    if (rec->end.fd >= 0)
        rec->files->close(rec->files->ctx, rec->end.fd);
    rec->end.fd = -1;
}

static int open_segment(struct recovery *rec, zxid_t first_zxid) {
    char *path = segment_path(rec, first_zxid);
    int fd = rec->files->open(rec->files->ctx, path, O_RDWR | O_CLOEXEC, 0);
    mem_free(path);
    if (fd < 0)
        return failed(rec, first_zxid, "cannot be opened", fd);
    rec->end.fd = fd;
    rec->end.first_zxid = first_zxid;
    int err = wal_reader_init(&rec->reader, rec->files, fd);
    if (err < 0)
        return failed(rec, first_zxid, "its size cannot be read", err);
    rec->end.size_bytes = rec->reader.size_bytes;
    return 0;
}

/* Says why a header was refused. */
static int header_refused(struct recovery *rec, int err) {
    if (err == -EPROTONOSUPPORT) {
        refuse(rec, rec->end.first_zxid, 0, err);
        buf_printf(rec->why,
                   "the log has a newer format than this program knows (version %u); "
                   "start it with the version that wrote it",
                   WAL_VERSION);
        return err;
    }
    return damaged(rec, 0, "the segment's header is broken");
}

/* A frame at `at` of the last segment is bad. Was it acknowledged? Marks behind it tell
 * (Protocol-Aware Recovery, FAST'18, section 3.3): none: the write never ended, so no sync of it
 * did. One of a later batch: a sync of this one did end before. Only its own batch's: then the
 * whole write went to the disk, but a crash may have kept some of its sectors from it, and those
 * are zeros where it wrote none. */
static int judge_tail(struct recovery *rec, uint64_t at) {
    struct wal_mark mark;
    uint64_t content_end = 0;
    int err = wal_reader_content_end(&rec->reader, at, &content_end);
    int found = err < 0 ? err : wal_reader_find_mark(&rec->reader, at, &mark);
    if (found > 0) {
        struct wal_mark later;
        uint64_t zero_pieces = 0;
        if (mark.batch_start > at)
            return damaged(rec, at, "a frame is broken, and batches behind it are whole");
        found = wal_reader_find_mark(&rec->reader, mark.offset + WAL_MARK_BYTES, &later);
        if (found > 0)
            return damaged(rec, at, "a frame is broken, and a batch behind it is whole");
        if (found == 0)
            found =
                wal_reader_zero_pieces(&rec->reader, mark.batch_start, mark.offset, &zero_pieces);
        if (found == 0 && zero_pieces <= mark.zero_pieces)
            return damaged(rec, at, "a frame is broken, and its batch was written whole");
    }
    if (found < 0)
        return failed(rec, rec->end.first_zxid, "cannot be read", found);
    rec->cut_bytes = content_end - at;
    rec->cut_at = at;
    rec->cut_zxid = rec->end.first_zxid;
    return 0;
}

/* Whether the open segment, the last, never came to hold a whole record: it has nothing but zeros
 * behind its header, which may be incomplete, or the torn beginning of its first batch. 1, 0 or an
 * error. */
static int holds_nothing(struct recovery *rec) {
    uint64_t content_end = 0;
    int err = wal_reader_content_end(&rec->reader, WAL_HEADER_BYTES, &content_end);
    const uint8_t *p = err < 0 ? NULL : wal_reader_view(&rec->reader, 0, WAL_HEADER_BYTES);
    if (p == NULL)
        return failed(rec, rec->end.first_zxid, "cannot be read", rec->reader.err);
    struct wal_header header;
    err = wal_header_decode(p, &header, &rec->reader.identity);
    if (err == -EPROTONOSUPPORT)
        return header_refused(rec, err);
    if (content_end == WAL_HEADER_BYTES)
        return 1;
    /* The header was durable before anything behind it was written. */
    if (err < 0)
        return header_refused(rec, err);
    struct wal_frame frame;
    err = wal_reader_frame(&rec->reader, WAL_HEADER_BYTES, &frame);
    if (err < 0)
        return failed(rec, rec->end.first_zxid, "cannot be read", err);
    if (frame.kind != WAL_FRAME_BAD)
        return 0;
    err = judge_tail(rec, WAL_HEADER_BYTES);
    return err < 0 ? err : 1;
}

/* A crash before a segment's first batch is durable leaves a last segment that holds nothing. It
 * does not count: the segment before it is the last, and the next append begins a new one under its
 * own name. */
static int set_empty_segment_aside(struct recovery *rec) {
    if (rec->count == 0)
        return 0;
    zxid_t last = rec->segments[rec->count - 1];
    int err = open_segment(rec, last);
    int nothing = err < 0 ? err : holds_nothing(rec);
    if (nothing < 0)
        return nothing;
    if (nothing > 0) {
        rec->empty = last;
        rec->has_empty = true;
        rec->empty_torn = rec->cut_bytes > 0;
        rec->count--;
    }
    close_segment(rec);
    return 0;
}

static int read_header(struct recovery *rec) {
    const uint8_t *p = wal_reader_view(&rec->reader, 0, WAL_HEADER_BYTES);
    if (p == NULL)
        return failed(rec, rec->end.first_zxid, "cannot be read", rec->reader.err);
    struct wal_header header;
    int err = wal_header_decode(p, &header, &rec->reader.identity);
    if (err < 0)
        return header_refused(rec, err);
    if (header.first_zxid != rec->end.first_zxid)
        return damaged(rec, 0, "the header belongs to a segment of another name");
    if (header.prev_zxid != rec->end.last_zxid)
        return damaged(rec, 0, "the segment before this one is missing");
    if (header.prev_seal != rec->seal)
        return damaged(rec, 0, "the segment before this one is not the one that it continues");
    return 0;
}

/* The rule of the sequence: the counter goes up by one, and a new epoch begins with its own record.
 */
static const char *sequence_error(const struct recovery *rec, const struct log_record *r) {
    zxid_t last = rec->end.last_zxid;
    if (r->kind == LOG_EPOCH) {
        if (zxid_counter(r->zxid) != 0 || zxid_epoch(r->zxid) == 0 || r->zxid < 0)
            return "a record begins an epoch and has a zxid that cannot";
        return zxid_epoch(r->zxid) > zxid_epoch(last) ? NULL : "an epoch begins a second time";
    }
    if (last == 0)
        return "the log does not begin with an epoch";
    if (zxid_epoch(r->zxid) != zxid_epoch(last) ||
        zxid_counter(r->zxid) != zxid_counter(last) + 1u || zxid_counter(r->zxid) == 0)
        return "a record's zxid does not follow the one before it";
    return NULL;
}

static int take_record(struct recovery *rec, uint64_t at, const struct wal_frame *frame) {
    struct log_record record;
    if (!log_record_decode(frame->body, &record))
        return damaged(rec, at, "a record has the right checksum and cannot be decoded");
    const char *wrong = sequence_error(rec, &record);
    if (wrong == NULL && at == WAL_HEADER_BYTES && record.zxid != rec->end.first_zxid)
        wrong = "the first record is not the one that the segment is named after";
    if (wrong != NULL)
        return damaged(rec, at, wrong);
    rec->end.last_zxid = record.zxid;
    rec->fn(rec->ctx, &record);
    return 0;
}

static int take_mark(struct recovery *rec, uint64_t at, const struct wal_frame *frame) {
    const struct wal_mark *mark = &frame->mark;
    bool seal = mark->next_zxid != 0;
    bool in_place = mark->offset == at && mark->last_zxid == rec->end.last_zxid &&
                    mark->batch_start <= at && mark->batch_start >= rec->mark_end &&
                    seal == (mark->batch_start == at);
    if (!in_place)
        return damaged(rec, at, "a persist mark does not fit the records before it");
    if (seal) {
        rec->seal = frame->checksum;
        rec->seal_at = at;
        rec->next_zxid = mark->next_zxid;
        return 0;
    }
    rec->end.batch_start = mark->batch_start;
    rec->mark_end = at + frame->size_bytes;
    return 0;
}

/* Reads the open segment's frames up to its seal or its end. */
static int read_frames(struct recovery *rec, bool last) {
    uint64_t at = WAL_HEADER_BYTES;
    rec->mark_end = at;
    rec->end.batch_start = at;
    rec->seal = 0;
    while (rec->seal == 0) {
        struct wal_frame frame;
        int err = wal_reader_frame(&rec->reader, at, &frame);
        if (err < 0)
            return failed(rec, rec->end.first_zxid, "cannot be read", err);
        if (frame.kind == WAL_FRAME_END)
            break;
        if (frame.kind == WAL_FRAME_RECORD)
            err = take_record(rec, at, &frame);
        else if (frame.kind == WAL_FRAME_MARK)
            err = take_mark(rec, at, &frame);
        else
            err = last ? judge_tail(rec, at) : damaged(rec, at, "a frame is broken");
        if (err < 0)
            return err;
        if (frame.kind == WAL_FRAME_BAD)
            break;
        if (rec->seal == 0)
            at += frame.size_bytes;
    }
    rec->end.tail = at;
    rec->end.identity = rec->reader.identity;
    return 0;
}

/* Whether the segment after the one just read is the one that its seal names. */
static int check_successor(struct recovery *rec, size_t i) {
    bool last = i + 1 == rec->count;
    /* Nothing is written into a segment before the seal that names it is durable. */
    bool next_has_content = !last || rec->empty_torn;
    if (rec->seal == 0 && !next_has_content)
        return 0;
    if (rec->seal == 0)
        return damaged(rec, rec->end.tail, "the segment has a successor and ends without a seal");
    zxid_t next = last ? rec->empty : rec->segments[i + 1];
    if ((!last || rec->has_empty) && next == rec->next_zxid)
        return 0;
    int err = refuse(rec, rec->next_zxid, 0, -EBADMSG);
    buf_printf(rec->why, "this segment is missing" WHAT_TO_DO);
    return err;
}

static int read_segments(struct recovery *rec) {
    for (size_t i = 0; i < rec->count; i++) {
        bool last = i + 1 == rec->count;
        int err = open_segment(rec, rec->segments[i]);
        if (err == 0)
            err = read_header(rec);
        if (err == 0)
            err = read_frames(rec, last);
        if (err == 0)
            err = check_successor(rec, i);
        if (err < 0)
            return err;
        if (!last) {
            rec->end.older_bytes += rec->end.size_bytes;
            close_segment(rec);
        }
    }
    return 0;
}

static int cut_tail(struct recovery *rec) {
    const struct env_files *files = rec->files;
    /* A seal whose successor is dropped goes too: the next append begins that segment anew. */
    if (rec->cut_bytes == 0 && rec->seal == 0)
        return 0;
    int err = files->truncate(files->ctx, rec->end.fd, (int64_t)rec->end.tail);
    if (err == 0)
        err = files->sync(files->ctx, rec->end.fd);
    if (err < 0)
        return failed(rec, rec->end.first_zxid, "the unfinished end cannot be cut", err);
    rec->end.size_bytes = rec->end.tail;
    return 0;
}

/* A sync that failed may have left its batch in the kernel's cache, marked clean, and not on the
 * disk; what this start read would then be lost by a later power cut, though it was served. So the
 * last batch is written once more, the same bytes to the same place, and synced. */
static int write_last_batch_again(struct recovery *rec) {
    const struct env_files *files = rec->files;
    for (uint64_t at = rec->end.batch_start; at < rec->end.tail;) {
        uint64_t left = rec->end.tail - at;
        size_t n = left < WAL_READER_WINDOW_BYTES ? (size_t)left : WAL_READER_WINDOW_BYTES;
        const uint8_t *p = wal_reader_view(&rec->reader, at, n);
        int err =
            p == NULL ? rec->reader.err : files->pwrite(files->ctx, rec->end.fd, p, n, (int64_t)at);
        if (err < 0)
            return err;
        at += n;
    }
    return files->sync(files->ctx, rec->end.fd);
}

/* First back to what it was before its first batch, then without the seal that names it, then gone:
 * a crash at any point leaves a log that the rules above take for what it is. */
static int empty_segment_cut(struct recovery *rec) {
    const struct env_files *files = rec->files;
    if (!rec->empty_torn)
        return 0;
    char *path = segment_path(rec, rec->empty);
    int fd = files->open(files->ctx, path, O_RDWR | O_CLOEXEC, 0);
    mem_free(path);
    int err = fd < 0 ? fd : files->truncate(files->ctx, fd, WAL_HEADER_BYTES);
    if (err == 0)
        err = files->sync(files->ctx, fd);
    if (fd >= 0)
        files->close(files->ctx, fd);
    return err < 0 ? failed(rec, rec->empty, "the unfinished end cannot be cut", err) : 0;
}

static int empty_segment_remove(struct recovery *rec, bool no_sync) {
    const struct env_files *files = rec->files;
    if (!rec->has_empty)
        return 0;
    char *path = segment_path(rec, rec->empty);
    int err = files->unlink(files->ctx, path);
    mem_free(path);
    if (err == 0 && !no_sync)
        err = files->sync_dir(files->ctx, rec->dir);
    return err < 0 ? failed(rec, rec->empty, "the empty segment cannot be removed", err) : 0;
}

static int repair(struct recovery *rec, bool no_sync) {
    int err = empty_segment_cut(rec);
    if (err == 0 && rec->count > 0)
        err = cut_tail(rec);
    if (err == 0)
        err = empty_segment_remove(rec, no_sync);
    if (err < 0 || no_sync || rec->count == 0)
        return err;
    err = write_last_batch_again(rec);
    return err < 0 ? failed(rec, rec->end.first_zxid, "what was read cannot be made durable", err)
                   : 0;
}

static void say_what_was_cut(struct recovery *rec) {
    if (rec->cut_bytes == 0)
        return;
    refuse(rec, rec->cut_zxid, rec->cut_at, 0);
    buf_printf(rec->why, "cut %" PRIu64 " bytes of an unfinished write that was never acknowledged",
               rec->cut_bytes);
}

int wal_recover(const struct env_files *files, const char *dir, bool no_sync, wal_record_fn *fn,
                void *ctx, struct wal_end *ret_end, struct buf *ret_why) {
    struct recovery rec = {
        .files = files, .dir = dir, .fn = fn, .ctx = ctx, .why = ret_why, .end = {.fd = -1}};
    int err = list_segments(&rec);
    if (err == 0)
        err = set_empty_segment_aside(&rec);
    if (err == 0)
        err = read_segments(&rec);
    if (err == 0)
        err = repair(&rec, no_sync);
    if (err == 0) {
        say_what_was_cut(&rec);
        wal_reader_close(&rec.reader);
        *ret_end = rec.end;
    } else {
        close_segment(&rec);
    }
    mem_free(rec.segments);
    return err;
}
