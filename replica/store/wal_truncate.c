#include "replica/store/wal_truncate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/reserve.h"
#include "replica/store/snap_list.h"
#include "replica/store/wal_reader.h"

#define MAGIC "zkfs-cut"
/* Flags of the last word. */
#define DROP_SNAPSHOT 1u

/* ---- the file ---- */

static int put_cut(const struct store_dir *d, const struct wal_cut *cut) {
    struct store_file file = {.words = {(uint64_t)cut->last_zxid, (uint64_t)cut->segment,
                                        cut->offset, cut->batch_start,
                                        cut->drop_snapshot ? DROP_SNAPSHOT : 0}};
    return store_file_create(d, WAL_CUT_NAME, MAGIC, &file);
}

int wal_cut_read(const struct store_dir *d, bool *ret_there, struct wal_cut *ret_cut,
                 struct buf *ret_why) {
    struct store_file file;
    int err = store_file_read(d, WAL_CUT_NAME, MAGIC, &file);
    *ret_there = err == 0;
    if (err == -ENOENT)
        return 0;
    if (err < 0) {
        buf_printf(ret_why, "%s/%s: ", d->path, WAL_CUT_NAME);
        if (err == -EBADMSG)
            buf_printf(ret_why, "it says where the log was being cut, and is damaged");
        else if (err == -EPROTONOSUPPORT)
            buf_printf(ret_why, "this file has a newer format than this program knows; start it "
                                "with the version that wrote it");
        else
            buf_printf(ret_why, "cannot be read: %s", strerror(-err));
        return err;
    }
    *ret_cut = (struct wal_cut){.last_zxid = (zxid_t)file.words[0],
                                .segment = (zxid_t)file.words[1],
                                .offset = file.words[2],
                                .batch_start = file.words[3],
                                .drop_snapshot = (file.words[4] & DROP_SNAPSHOT) != 0};
    return 0;
}

/* ---- carrying it out ---- */

/* The mark that the last batch lost. Its batch is the part that stays. */
static int put_mark(const struct store_dir *d, const struct wal_cut *cut, int fd, uint64_t identity,
                    uint64_t *ret_tail) {
    struct wal_reader r;
    int err = wal_reader_init(&r, d->files, fd);
    if (err < 0)
        return err;
    struct wal_mark mark = {
        .offset = cut->offset, .batch_start = cut->batch_start, .last_zxid = cut->last_zxid};
    struct buf b = BUF_INIT;
    err = wal_reader_zero_pieces(&r, cut->batch_start, cut->offset, &mark.zero_pieces);
    if (err == 0) {
        wal_mark_append(&b, &mark);
        wal_frame_stamp(b.data, b.len, identity, cut->offset);
        err = d->files->pwrite(d->files->ctx, fd, b.data, b.len, (int64_t)cut->offset);
        *ret_tail = cut->offset + b.len;
    }
    buf_close(&b);
    wal_reader_close(&r);
    return err;
}

static int cut_segment(const struct store_dir *d, const struct wal_cut *cut, int fd,
                       uint64_t identity, uint64_t *ret_tail) {
    *ret_tail = cut->offset;
    int err = d->files->truncate(d->files->ctx, fd, (int64_t)cut->offset);
    if (err == 0 && cut->batch_start > 0)
        err = put_mark(d, cut, fd, identity, ret_tail);
    if (reserve_lacks_room(err)) {
        /* Half a mark would look like damage when it is tried again. */
        int back = d->files->truncate(d->files->ctx, fd, (int64_t)cut->offset);
        err = back < 0 ? back : err;
    }
    return err < 0 ? err : store_file_sync(d, fd);
}

int wal_cut_finish(const struct store_dir *d, const struct wal_cut *cut, const zxid_t *doomed,
                   size_t doomed_count, int fd, uint64_t identity, uint64_t *ret_tail) {
    int err = 0;
    *ret_tail = 0;
    for (size_t i = doomed_count; err == 0 && i > 0; i--)
        err = wal_segment_remove(d, doomed[i - 1]);
    /* One that waits for its purge would be taken for a log whose next segment is missing. */
    if (err == 0 && cut->segment == 0)
        err = wal_segments_remove_all(d);
    if (err == 0 && cut->drop_snapshot)
        err = snap_list_remove_all(d);
    if (err == 0 && cut->segment != 0)
        err = cut_segment(d, cut, fd, identity, ret_tail);
    if (err == 0)
        err = store_file_sync_dir(d);
    /* Only when nothing is left that it would have to remove once more. */
    if (err == 0)
        err = store_file_remove(d, WAL_CUT_NAME);
    return err < 0 ? err : store_file_sync_dir(d);
}

/* ---- deciding on it ---- */

/* Finds where the segment's records behind zxid begin. The first record is one that stays. */
static int find_offset(struct wal_reader *r, zxid_t zxid, struct wal_cut *cut) {
    uint64_t at = WAL_HEADER_BYTES;
    uint64_t mark_end = at;
    for (;;) {
        struct wal_frame frame;
        struct log_record record;
        int err = wal_reader_frame(r, at, &frame);
        if (err < 0)
            return err;
        if (frame.kind == WAL_FRAME_BAD)
            return -EBADMSG;
        if (frame.kind == WAL_FRAME_END ||
            (frame.kind == WAL_FRAME_MARK && frame.mark.next_zxid != 0))
            break;
        if (frame.kind == WAL_FRAME_RECORD) {
            if (!log_record_decode(frame.body, &record))
                return -EBADMSG;
            if (record.zxid > zxid)
                break;
            cut->last_zxid = record.zxid;
        }
        at += frame.size_bytes;
        if (frame.kind == WAL_FRAME_MARK)
            mark_end = at;
    }
    cut->offset = at;
    cut->batch_start = at > mark_end ? mark_end : 0;
    return 0;
}

/* Decides on the cut inside the i-th segment, and leaves it open in *ret_fd. */
static int decide(struct wal *w, size_t i, zxid_t zxid, struct wal_cut *cut, int *ret_fd) {
    const struct wal_segment *segment = &w->segments.list[i];
    int fd = wal_segment_open(w->dir, segment->first_zxid, O_RDWR);
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    struct wal_reader r;
    int err = wal_reader_init(&r, w->dir->files, fd);
    if (err < 0)
        return err;
    r.identity = segment->identity;
    cut->segment = segment->first_zxid;
    err = find_offset(&r, zxid, cut);
    wal_reader_close(&r);
    return err;
}

static int cut_at(struct wal *w, size_t keep, const struct wal_cut *cut, int fd) {
    int err = put_cut(w->dir, cut);
    if (err < 0)
        return err;
    size_t doomed_count = w->segments.count - keep;
    zxid_t *doomed = mem_alloc((doomed_count + 1) * sizeof *doomed);
    for (size_t i = 0; i < doomed_count; i++)
        doomed[i] = w->segments.list[keep + i].first_zxid;
    uint64_t identity = keep > 0 ? w->segments.list[keep - 1].identity : 0;
    uint64_t tail = 0;
    err = wal_cut_finish(w->dir, cut, doomed, doomed_count, fd, identity, &tail);
    mem_free(doomed);
    if (err < 0)
        return err;
    w->segments.count = keep;
    w->tail = tail;
    w->last_zxid = cut->last_zxid;
    if (keep > 0)
        w->segments.list[keep - 1].size_bytes = tail;
    if (cut->drop_snapshot)
        w->base_seal = 0;
    return 0;
}

int wal_truncate(struct wal *w, zxid_t zxid, bool drop_snapshot) {
    if (zxid >= w->last_zxid && !drop_snapshot)
        return 0;
    size_t keep = 0;
    while (!drop_snapshot && keep < w->segments.count && w->segments.list[keep].first_zxid <= zxid)
        keep++;
    /* What the log begins behind: it stays, when no record does. */
    zxid_t base = w->segments.count > 0 ? w->segments.list[0].prev_zxid : w->last_zxid;
    struct wal_cut cut = {.last_zxid = drop_snapshot ? 0 : base, .drop_snapshot = drop_snapshot};
    int fd = -1;
    int err = keep > 0 ? decide(w, keep - 1, zxid, &cut, &fd) : 0;
    if (w->fd >= 0)
        w->dir->files->close(w->dir->files->ctx, w->fd);
    w->fd = fd;
    return err < 0 ? err : cut_at(w, keep, &cut, fd);
}
