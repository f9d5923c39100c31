#include "replica/store/wal_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/store/snap_name.h"
#include "replica/store/wal_format.h"

/* Puts "DIR/log.X: " into why. */
static void name_segment(struct wal_recovery *rec, zxid_t first_zxid) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(first_zxid, name);
    buf_printf(rec->why, "%s%s/%s: ", rec->why->len > 0 ? "; " : "", rec->dir->path, name);
}

int wal_recovery_refuse(struct wal_recovery *rec, zxid_t first_zxid, uint64_t offset, int err) {
    name_segment(rec, first_zxid);
    buf_printf(rec->why, "offset %" PRIu64 ": ", offset);
    return err;
}

static int damaged(struct wal_recovery *rec, uint64_t offset, const char *what) {
    int err = wal_recovery_refuse(rec, rec->end.first_zxid, offset, -EBADMSG);
    buf_printf(rec->why, "%s", what);
    return err;
}

int wal_recovery_failed(struct wal_recovery *rec, zxid_t first_zxid, const char *what, int err) {
    name_segment(rec, first_zxid);
    buf_printf(rec->why, "%s: %s", what, strerror(-err));
    return err;
}

static void collect(void *arg, const char *name) {
    struct wal_recovery *rec = arg;
    zxid_t zxid = 0;
    if (!wal_segment_parse(name, &zxid))
        return;
    if (rec->count == rec->cap) {
        rec->cap = rec->cap == 0 ? 16 : rec->cap * 2;
        rec->names = mem_realloc(rec->names, rec->cap * sizeof *rec->names);
    }
    rec->names[rec->count++] = zxid;
}

static int compare_zxid(const void *a, const void *b) {
    zxid_t x = *(const zxid_t *)a;
    zxid_t y = *(const zxid_t *)b;
    return (x > y) - (x < y);
}

static int list_segments(struct wal_recovery *rec) {
    int err = rec->dir->files->list(rec->dir->files->ctx, rec->dir->path, collect, rec);
    if (err < 0) {
        buf_printf(rec->why, "%s: cannot be listed: %s", rec->dir->path, strerror(-err));
        return err;
    }
    if (rec->count > 0)
        qsort(rec->names, rec->count, sizeof *rec->names, compare_zxid);
    return 0;
}

void wal_recovery_close_segment(struct wal_recovery *rec) {
    wal_reader_close(&rec->reader);
    if (rec->end.fd >= 0)
        rec->dir->files->close(rec->dir->files->ctx, rec->end.fd);
    rec->end.fd = -1;
}

static int open_segment(struct wal_recovery *rec, zxid_t first_zxid) {
    int fd = wal_segment_open(rec->dir, first_zxid, O_RDWR);
    if (fd < 0)
        return wal_recovery_failed(rec, first_zxid, "cannot be opened", fd);
    rec->end.fd = fd;
    rec->end.first_zxid = first_zxid;
    int err = wal_reader_init(&rec->reader, rec->dir->files, fd);
    if (err < 0)
        return wal_recovery_failed(rec, first_zxid, "its size cannot be read", err);
    rec->end.size_bytes = rec->reader.size_bytes;
    return 0;
}

/* Says why a header was refused. */
static int header_refused(struct wal_recovery *rec, int err) {
    if (err == -EPROTONOSUPPORT) {
        wal_recovery_refuse(rec, rec->end.first_zxid, 0, err);
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
static int judge_tail(struct wal_recovery *rec, uint64_t at) {
    struct wal_mark mark;
    uint64_t content_end = 0;
    int err = wal_reader_content_end(&rec->reader, at, &content_end);
    int found = err < 0 ? err : wal_reader_find_mark(&rec->reader, at, &mark);
    if (found > 0 && !MUTANT(TORN_WHATEVER_FOLLOWS)) {
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
        return wal_recovery_failed(rec, rec->end.first_zxid, "cannot be read", found);
    rec->cut_bytes = content_end - at;
    rec->cut_at = at;
    rec->cut_zxid = rec->end.first_zxid;
    return 0;
}

/* Whether the open segment, the last, never came to hold a whole record: it has nothing but zeros
 * behind its header, which may be incomplete, or the torn beginning of its first batch. 1, 0 or an
 * error. */
static int holds_nothing(struct wal_recovery *rec) {
    uint64_t content_end = 0;
    int err = wal_reader_content_end(&rec->reader, WAL_HEADER_BYTES, &content_end);
    const uint8_t *p = err < 0 ? NULL : wal_reader_view(&rec->reader, 0, WAL_HEADER_BYTES);
    if (p == NULL)
        return wal_recovery_failed(rec, rec->end.first_zxid, "cannot be read", rec->reader.err);
    struct wal_header header;
    err = wal_header_decode(p, &header, &rec->reader.identity);
    if (err == -EPROTONOSUPPORT)
        return header_refused(rec, err);
    rec->empty_headless = err < 0 || header.first_zxid != rec->end.first_zxid;
    if (content_end == WAL_HEADER_BYTES)
        return 1;
    /* The header was durable before anything behind it was written. */
    if (err < 0)
        return header_refused(rec, err);
    struct wal_frame frame;
    err = wal_reader_frame(&rec->reader, WAL_HEADER_BYTES, &frame);
    if (err < 0)
        return wal_recovery_failed(rec, rec->end.first_zxid, "cannot be read", err);
    if (frame.kind != WAL_FRAME_BAD)
        return 0;
    err = judge_tail(rec, WAL_HEADER_BYTES);
    return err < 0 ? err : 1;
}

/* A crash before a segment's first batch is durable leaves a last segment that holds nothing. It
 * does not count: the segment before it is the last, and the next append begins a new one under its
 * own name. */
static int set_empty_segment_aside(struct wal_recovery *rec) {
    /* What a cut leaves at the end has records. */
    if (rec->count == 0 || rec->has_cut)
        return 0;
    zxid_t last = rec->names[rec->count - 1];
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
    wal_recovery_close_segment(rec);
    return 0;
}

static int read_header(struct wal_recovery *rec) {
    const uint8_t *p = wal_reader_view(&rec->reader, 0, WAL_HEADER_BYTES);
    if (p == NULL)
        return wal_recovery_failed(rec, rec->end.first_zxid, "cannot be read", rec->reader.err);
    struct wal_header header;
    int err = wal_header_decode(p, &header, &rec->reader.identity);
    if (err < 0)
        return header_refused(rec, err);
    if (header.first_zxid != rec->end.first_zxid)
        return damaged(rec, 0, "the header belongs to a segment of another name");
    bool first = rec->segments.count == 0;
    /* What was before the first one was purged: a snapshot has it. */
    if (first && header.prev_zxid <= rec->base && (header.prev_zxid > 0 || header.prev_seal == 0))
        rec->end.last_zxid = rec->log_base = header.prev_zxid;
    else if (first || header.prev_zxid != rec->end.last_zxid)
        return damaged(rec, 0, "the segment before this one is missing");
    else if (header.prev_seal != rec->seal)
        return damaged(rec, 0, "the segment before this one is not the one that it continues");
    struct wal_segment segment = {.first_zxid = header.first_zxid,
                                  .prev_zxid = header.prev_zxid,
                                  .identity = rec->reader.identity,
                                  .size_bytes = rec->end.size_bytes,
                                  .version = header.version};
    wal_segments_add(&rec->segments, &segment);
    /* Another snapshot of that name has another checksum. */
    if (first && rec->base_replaces && header.prev_zxid == rec->base && rec->base > 0 &&
        header.prev_seal != rec->base_seal)
        return damaged(rec, 0, "the snapshot before this segment is not the one that it continues");
    rec->end.identity = rec->reader.identity;
    return 0;
}

/* The rule of the sequence: the counter goes up by one, and a new epoch begins with its own record.
 */
static const char *sequence_error(const struct wal_recovery *rec, const struct log_record *r) {
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

/* The epoch of the last record has ended. */
static void note_epoch_end(struct wal_recovery *rec) {
    if (rec->end.last_zxid <= rec->log_base)
        return;
    if (rec->epoch_end_count == rec->epoch_end_cap) {
        rec->epoch_end_cap = rec->epoch_end_cap == 0 ? 16 : rec->epoch_end_cap * 2;
        rec->epoch_ends =
            mem_realloc(rec->epoch_ends, rec->epoch_end_cap * sizeof *rec->epoch_ends);
    }
    rec->epoch_ends[rec->epoch_end_count++] = rec->end.last_zxid;
}

/* How far back the log reaches, before the first record that is given. */
static void tell_older(struct wal_recovery *rec) {
    if (rec->older_told || rec->sink == NULL)
        return;
    rec->older_told = true;
    if (rec->log_base < rec->base)
        rec->sink->older(rec->sink->ctx, rec->log_base, rec->epoch_ends, rec->epoch_end_count);
}

static int take_record(struct wal_recovery *rec, uint64_t at, const struct wal_frame *frame) {
    struct log_record record;
    if (!log_record_decode(frame->body, &record))
        return damaged(rec, at, "a record has the right checksum and cannot be decoded");
    const char *wrong = sequence_error(rec, &record);
    if (wrong == NULL && at == WAL_HEADER_BYTES && record.zxid != rec->end.first_zxid)
        wrong = "the first record is not the one that the segment is named after";
    if (wrong != NULL)
        return damaged(rec, at, wrong);
    struct wal_point point = {rec->end.last_zxid, rec->end.first_zxid, rec->end.identity, at};
    if (rec->index != NULL)
        wal_index_offer(rec->index, &point);
    if (record.kind == LOG_EPOCH && record.zxid <= rec->base)
        note_epoch_end(rec);
    rec->end.last_zxid = record.zxid;
    if (rec->sink != NULL && record.zxid > rec->base) {
        tell_older(rec);
        rec->sink->record(rec->sink->ctx, &record);
    }
    return 0;
}

static int take_mark(struct wal_recovery *rec, uint64_t at, const struct wal_frame *frame) {
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

/* The segment at which a cut was decided on is read up to there: what stands behind is to go. */
static int limit_to_cut(struct wal_recovery *rec) {
    if (rec->reader.size_bytes < rec->cut.offset)
        return damaged(rec, rec->reader.size_bytes,
                       "it ends before the place where it is to be cut");
    wal_reader_limit(&rec->reader, rec->cut.offset);
    return 0;
}

/* Everything that a cut leaves was durable before: there is no unfinished write. */
static int check_cut(struct wal_recovery *rec, uint64_t at) {
    uint64_t unmarked = at > rec->mark_end ? rec->mark_end : 0;
    if (at != rec->cut.offset || rec->seal != 0 || rec->end.last_zxid != rec->cut.last_zxid ||
        rec->cut.batch_start != unmarked)
        return damaged(rec, at, "this is not the place where the log is to be cut");
    return 0;
}

/* Reads the open segment's frames up to its seal or its end. */
static int read_frames(struct wal_recovery *rec, bool last) {
    uint64_t at = WAL_HEADER_BYTES;
    bool to_cut = last && rec->has_cut;
    rec->mark_end = at;
    rec->end.batch_start = at;
    rec->seal = 0;
    int err = to_cut ? limit_to_cut(rec) : 0;
    while (err == 0 && rec->seal == 0) {
        struct wal_frame frame;
        err = wal_reader_frame(&rec->reader, at, &frame);
        if (err < 0)
            return wal_recovery_failed(rec, rec->end.first_zxid, "cannot be read", err);
        if (frame.kind == WAL_FRAME_END)
            break;
        if (frame.kind == WAL_FRAME_RECORD)
            err = take_record(rec, at, &frame);
        else if (frame.kind == WAL_FRAME_MARK)
            err = take_mark(rec, at, &frame);
        else
            err = last && !to_cut ? judge_tail(rec, at) : damaged(rec, at, "a frame is broken");
        if (frame.kind == WAL_FRAME_BAD)
            break;
        if (rec->seal == 0)
            at += frame.size_bytes;
    }
    rec->end.tail = at;
    return err < 0 || !to_cut ? err : check_cut(rec, at);
}

/* Whether the segment after the one just read is the one that its seal names. */
static int check_successor(struct wal_recovery *rec, size_t i) {
    bool last = i + 1 == rec->count;
    if (last && rec->has_cut)
        return 0;
    /* Nothing is written into a segment before the seal that names it is durable. */
    bool next_has_content = !last || rec->empty_torn;
    if (rec->seal == 0 && !next_has_content)
        return 0;
    if (rec->seal == 0)
        return damaged(rec, rec->end.tail, "the segment has a successor and ends without a seal");
    zxid_t next = last ? rec->empty : rec->names[i + 1];
    if (last && rec->has_empty && next == rec->next_zxid && rec->empty_headless) {
        /* It was durable before the seal: all that it had is gone with it. */
        int err = wal_recovery_refuse(rec, next, 0, -EBADMSG);
        buf_printf(rec->why, "the segment's header is gone, and it was there");
        return err;
    }
    if ((!last || rec->has_empty) && next == rec->next_zxid)
        return 0;
    int err = wal_recovery_refuse(rec, rec->next_zxid, 0, -EBADMSG);
    buf_printf(rec->why, "this segment is missing");
    return err;
}

static int read_segments(struct wal_recovery *rec) {
    for (size_t i = 0; i < rec->count; i++) {
        bool last = i + 1 == rec->count;
        int err = open_segment(rec, rec->names[i]);
        if (err == 0)
            err = read_header(rec);
        if (err == 0)
            err = read_frames(rec, last);
        if (err == 0)
            err = check_successor(rec, i);
        if (err < 0)
            return err;
        if (!last)
            wal_recovery_close_segment(rec);
    }
    return 0;
}

/* The segments that a cut removes count no more. */
static int set_doomed_aside(struct wal_recovery *rec) {
    if (!rec->has_cut)
        return 0;
    size_t all = rec->count;
    while (rec->count > 0 && rec->names[rec->count - 1] > rec->cut.segment)
        rec->count--;
    rec->doomed = all - rec->count;
    zxid_t last = rec->count > 0 ? rec->names[rec->count - 1] : 0;
    if (last == rec->cut.segment)
        return 0;
    wal_recovery_refuse(rec, rec->cut.segment, rec->cut.offset, -EBADMSG);
    buf_printf(rec->why, "the log is to be cut here, and the segment is missing");
    return -EBADMSG;
}

void wal_recovery_init(struct wal_recovery *rec, const struct store_dir *d,
                       const struct wal_cut *cut, struct buf *ret_why) {
    *rec = (struct wal_recovery){.dir = d, .why = ret_why, .end = {.fd = -1}};
    if (cut != NULL) {
        rec->cut = *cut;
        rec->has_cut = true;
    }
}

void wal_recovery_close(struct wal_recovery *rec) {
    wal_recovery_close_segment(rec);
    wal_segments_close(&rec->segments);
    mem_free(rec->names);
    mem_free(rec->epoch_ends);
    rec->names = rec->epoch_ends = NULL;
}

/* The log has the record that a checkpoint is named after: a purge leaves that one, too. A rebuild
 * that has nothing to put behind one makes another snapshot of it, and a cut says what it took. */
static int refuse_lost_log(struct wal_recovery *rec) {
    char name[SNAP_NAME_BYTES];
    if (rec->base == 0) {
        buf_printf(rec->why,
                   "%s%s: the log is lost, or nothing but zeros is left of it, and with it what "
                   "was acknowledged",
                   rec->why->len > 0 ? "; " : "", rec->dir->path);
        return -EBADMSG;
    }
    snap_name_print(rec->base, name);
    buf_printf(rec->why,
               "%s%s/%s: a log stood behind this snapshot, and no log is there: what was "
               "acknowledged behind it is lost; what it has itself can be a beginning again "
               "(zkreplica --restore)",
               rec->why->len > 0 ? "; " : "", rec->dir->path, name);
    return -EBADMSG;
}

/* A snapshot is of what was durable in the log, which has records up to there at least. */
static int check_reach(struct wal_recovery *rec) {
    bool has_record = rec->end.last_zxid > rec->log_base;
    if ((rec->base_beside || rec->had_log) && !has_record && !rec->has_cut)
        return refuse_lost_log(rec);
    if (rec->end.last_zxid < rec->base || rec->end.last_zxid < rec->reach)
        return damaged(rec, rec->end.tail, "the log ends before the snapshot does: it was longer");
    tell_older(rec);
    return 0;
}

int wal_recovery_read(struct wal_recovery *rec, zxid_t base, uint64_t base_seal,
                      const struct store_reader *sink, struct wal_index *index) {
    rec->sink = sink;
    rec->index = index;
    rec->end.last_zxid = rec->base = rec->log_base = base;
    rec->base_seal = base_seal;
    int err = list_segments(rec);
    if (err == 0)
        err = set_doomed_aside(rec);
    if (err == 0)
        err = set_empty_segment_aside(rec);
    if (err == 0)
        err = read_segments(rec);
    return err < 0 ? err : check_reach(rec);
}

void wal_recovery_take(struct wal_recovery *rec, struct wal *w) {
    if (rec->segments.count > 0)
        rec->segments.list[rec->segments.count - 1].size_bytes = rec->end.size_bytes;
    w->segments = rec->segments;
    w->fd = rec->end.fd;
    w->tail = rec->end.tail;
    w->last_zxid = rec->end.last_zxid;
    w->base_seal = rec->base_seal;
    rec->segments = (struct wal_segments){0};
    rec->end.fd = -1;
}

int wal_recovery_remove_all(struct wal_recovery *rec) {
    int err = list_segments(rec);
    for (size_t i = rec->count; err == 0 && i > 0; i--) {
        err = wal_segment_remove(rec->dir, rec->names[i - 1]);
        if (err < 0)
            wal_recovery_failed(rec, rec->names[i - 1], "cannot be removed", err);
    }
    return err < 0 ? err : store_file_remove(rec->dir, WAL_CUT_NAME);
}
