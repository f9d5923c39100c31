/* The second half of a start: the log is whole, and its end is put in order. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "replica/store/wal_format.h"
#include "replica/store/wal_recover.h"

static int cut_tail(struct wal_recovery *rec) {
    const struct env_files *files = rec->dir->files;
    /* A seal whose successor is dropped goes too: the next append begins that segment anew. */
    if (rec->cut_bytes == 0 && rec->seal == 0)
        return 0;
    int err = files->truncate(files->ctx, rec->end.fd, (int64_t)rec->end.tail);
    if (err == 0)
        err = store_file_lost(files->sync(files->ctx, rec->end.fd));
    if (err < 0)
        return wal_recovery_failed(rec, rec->end.first_zxid, "the unfinished end cannot be cut",
                                   err);
    rec->end.size_bytes = rec->end.tail;
    return 0;
}

/* A sync that failed may have left its batch in the kernel's cache, marked clean, and not on the
 * disk; what this start read would then be lost by a later power cut, though it was served. So the
 * last batch is written once more, the same bytes to the same place, and synced. */
static int write_last_batch_again(struct wal_recovery *rec, uint64_t end) {
    const struct env_files *files = rec->dir->files;
    for (uint64_t at = rec->end.batch_start; at < end;) {
        uint64_t left = end - at;
        size_t n = left < WAL_READER_WINDOW_BYTES ? (size_t)left : WAL_READER_WINDOW_BYTES;
        const uint8_t *p = wal_reader_view(&rec->reader, at, n);
        int err =
            p == NULL ? rec->reader.err : files->pwrite(files->ctx, rec->end.fd, p, n, (int64_t)at);
        if (err < 0)
            return err;
        at += n;
    }
    return store_file_lost(files->sync(files->ctx, rec->end.fd));
}

/* First back to what it was before its first batch, then without the seal that names it, then gone:
 * a crash at any point leaves a log that the rules above take for what it is. */
static int empty_segment_cut(struct wal_recovery *rec) {
    const struct env_files *files = rec->dir->files;
    if (!rec->empty_torn)
        return 0;
    int fd = wal_segment_open(rec->dir, rec->empty, O_RDWR);
    int err = fd < 0 ? fd : files->truncate(files->ctx, fd, WAL_HEADER_BYTES);
    if (err == 0)
        err = store_file_lost(files->sync(files->ctx, fd));
    if (fd >= 0)
        files->close(files->ctx, fd);
    return err < 0 ? wal_recovery_failed(rec, rec->empty, "the unfinished end cannot be cut", err)
                   : 0;
}

static int empty_segment_remove(struct wal_recovery *rec) {
    if (!rec->has_empty)
        return 0;
    int err = wal_segment_remove(rec->dir, rec->empty);
    if (err == 0)
        err = store_file_sync_dir(rec->dir);
    return err < 0
               ? wal_recovery_failed(rec, rec->empty, "the empty segment cannot be removed", err)
               : 0;
}

/* The end of a cut that a crash came between. */
static int finish_cut(struct wal_recovery *rec) {
    uint64_t tail = 0;
    int err = wal_cut_finish(rec->dir, &rec->cut, rec->names + rec->count, rec->doomed, rec->end.fd,
                             rec->end.identity, &tail);
    if (err < 0)
        return wal_recovery_failed(rec, rec->cut.segment, "a cut cannot be carried out", err);
    rec->end.tail = tail;
    rec->end.size_bytes = tail;
    return 0;
}

static void say_what_was_cut(struct wal_recovery *rec) {
    if (rec->cut_bytes == 0)
        return;
    wal_recovery_refuse(rec, rec->cut_zxid, rec->cut_at, 0);
    buf_printf(rec->why, "cut %" PRIu64 " bytes of an unfinished write that was never acknowledged",
               rec->cut_bytes);
}

int wal_recovery_repair(struct wal_recovery *rec) {
    uint64_t end = rec->end.tail;
    int err = rec->has_cut ? finish_cut(rec) : empty_segment_cut(rec);
    if (err == 0 && !rec->has_cut && rec->count > 0)
        err = cut_tail(rec);
    if (err == 0)
        err = empty_segment_remove(rec);
    if (err == 0 && !rec->dir->no_sync && rec->count > 0) {
        err = write_last_batch_again(rec, end);
        if (err < 0)
            wal_recovery_failed(rec, rec->end.first_zxid, "what was read cannot be made durable",
                                err);
    }
    if (err == 0)
        say_what_was_cut(rec);
    return err;
}
