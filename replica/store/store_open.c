/* What a start reads, in which order, and what it puts in order afterwards (docs/disk-format.md).
 * Nothing is changed before all of it was read and is whole. */
#include <errno.h>
#include <string.h>

#include "replica/store/store_state.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_recover.h"

struct opening {
    struct store *s;
    const struct store_reader *reader;
    struct buf *why;
    struct wal_cut cut;
    bool has_cut;
    bool next; /* a snapshot was installed, and what was before it is not gone */
    struct wal_recovery rec;
};

static bool give_piece(void *ctx, struct slice piece) {
    struct opening *o = ctx;
    return o->reader->snap_chunk(o->reader->ctx, piece);
}

static int refuse_without_epoch(struct opening *o) {
    epoch_file_names(&o->s->dir, o->why);
    buf_printf(o->why,
               ": both are missing, and a history is there; the epoch that this replica has "
               "promised may not be forgotten; nothing was touched: restore them, or empty this "
               "directory and let the replica come back from the others of its ensemble");
    return -EBADMSG;
}

/* A log whose promises were not kept in a file, by the version before that: it promised no more
 * than the last epoch that it has. */
static int epoch_of_old_log(struct opening *o, uint32_t *ret_epoch) {
    struct wal_recovery rec;
    wal_recovery_init(&rec, &o->s->dir, NULL, o->why);
    int err = wal_recovery_read(&rec, 0, 0, NULL, NULL, NULL);
    *ret_epoch = zxid_epoch(rec.end.last_zxid);
    bool old = true;
    for (size_t i = 0; i < rec.segments.count; i++)
        old = old && rec.segments.list[i].version == WAL_VERSION_MIN;
    wal_recovery_close(&rec);
    return err < 0 || old ? err : refuse_without_epoch(o);
}

static int read_epoch(struct opening *o, bool snapshot_there) {
    uint32_t epoch = o->s->epoch.epoch;
    int err = 0;
    if (epoch == 0)
        err = o->has_cut || snapshot_there ? refuse_without_epoch(o) : epoch_of_old_log(o, &epoch);
    if (err == 0)
        o->reader->epoch(o->reader->ctx, epoch);
    return err;
}

/* Whether a file of that name is there: 1, 0 or negative errno. */
static int there(struct opening *o, const char *name) {
    int fd = store_file_open(&o->s->dir, name, 0);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0) {
        buf_printf(o->why, "%s/%s: cannot be opened: %s", o->s->dir.path, name, strerror(-fd));
        return fd;
    }
    o->s->dir.files->close(o->s->dir.files->ctx, fd);
    return 1;
}

/* Finds out which snapshot counts: its name, or NULL. */
static int find_snapshot(struct opening *o, const char **ret_name) {
    *ret_name = NULL;
    int next = there(o, SNAP_FILE_NEXT);
    if (next != 0) {
        o->next = next > 0;
        *ret_name = SNAP_FILE_NEXT;
        return next < 0 ? next : 0;
    }
    if (o->has_cut && o->cut.drop_snapshot)
        return 0;
    int found = there(o, SNAP_FILE_NAME);
    if (found > 0)
        *ret_name = SNAP_FILE_NAME;
    return found < 0 ? found : 0;
}

static int read_snapshot(struct opening *o, const char *name) {
    struct store *s = o->s;
    if (name == NULL)
        return 0;
    int err = snap_file_read(&s->dir, name, give_piece, o, &s->base, o->why);
    if (err == 0 && !o->reader->snap_end(o->reader->ctx, s->base.begun, s->base.ended)) {
        buf_printf(o->why, "%s/%s: the snapshot is whole and cannot be loaded", s->dir.path, name);
        err = -EBADMSG;
    }
    return err;
}

/* An installed snapshot takes the place of everything else. */
static int finish_installation(struct opening *o) {
    struct store *s = o->s;
    /* A start after a failed sync may see a name that the disk does not have yet. */
    int err = store_file_sync_dir(&s->dir);
    if (err == 0)
        err = wal_recovery_remove_all(&o->rec);
    if (err == 0)
        err = store_file_sync_dir(&s->dir);
    if (err == 0)
        err = store_file_rename(&s->dir, SNAP_FILE_NEXT, SNAP_FILE_NAME);
    if (err == 0)
        err = store_file_sync_dir(&s->dir);
    if (err == 0)
        wal_rebase(&s->wal, s->base.begun, s->base.checksum);
    else if (o->why->len == 0)
        buf_printf(o->why, "%s: an installed snapshot cannot take its place: %s", s->dir.path,
                   strerror(-err));
    return err;
}

/* Files that a crash left unfinished. */
static int remove_leftovers(struct opening *o) {
    static const char *const names[] = {SNAP_FILE_NEW, WAL_CUT_NAME ".new", "epoch.1.new",
                                        "epoch.2.new"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int err = store_file_remove(&o->s->dir, names[i]);
        if (err < 0) {
            buf_printf(o->why, "%s/%s: cannot be removed: %s", o->s->dir.path, names[i],
                       strerror(-err));
            return err;
        }
    }
    return 0;
}

static int repair(struct opening *o) {
    struct store *s = o->s;
    int err = remove_leftovers(o);
    if (err < 0)
        return err;
    err = o->next ? finish_installation(o) : wal_recovery_repair(&o->rec);
    if (err < 0)
        return err;
    if (!o->next)
        wal_recovery_take(&o->rec, &s->wal);
    err = epoch_file_repair(&s->epoch, &s->dir, o->why);
    if (err < 0) {
        buf_reset(o->why);
        epoch_file_names(&s->dir, o->why);
        buf_printf(o->why, ": cannot be written: %s", strerror(-err));
    }
    return err;
}

int store_recover(struct store *s, const struct store_reader *reader, struct buf *ret_why) {
    struct opening o = {.s = s, .reader = reader, .why = ret_why};
    const char *snapshot = NULL;
    int err = epoch_file_read(&s->dir, &s->epoch, ret_why);
    if (err == 0)
        err = wal_cut_read(&s->dir, &o.has_cut, &o.cut, ret_why);
    if (err == 0)
        err = find_snapshot(&o, &snapshot);
    if (err == 0)
        err = read_epoch(&o, snapshot != NULL);
    if (err == 0)
        err = read_snapshot(&o, snapshot);
    if (err < 0)
        return err;
    wal_recovery_init(&o.rec, &s->dir, o.has_cut ? &o.cut : NULL, ret_why);
    if (!o.next)
        err = wal_recovery_read(&o.rec, s->base.begun, s->base.checksum, reader->record,
                                reader->ctx, &s->index);
    if (err == 0)
        err = repair(&o);
    wal_recovery_close(&o.rec);
    return err;
}
