/* What a start reads, in which order, and what it puts in order afterwards (docs/disk-format.md).
 * Nothing is changed before all of it was read and is whole. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "replica/store/rebuild.h"
#include "replica/store/store_state.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_recover.h"

struct opening {
    struct store *s;
    const struct store_reader *reader;
    struct buf *why;
    struct wal_cut cut;
    bool has_cut;
    zxid_t reach;  /* the newest snapshot's, whole or not: the log was as long once */
    bool next;     /* a snapshot was installed, and what was before it is not gone */
    bool old_name; /* the snapshot is the one that had no zxid in its name */
    struct snap_list damaged;
    struct buf passed; /* snapshots that were passed over, and why */
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
               "promised may not be forgotten");
    return -EBADMSG;
}

/* A log whose promises were not kept in a file, by the version before that: it promised no more
 * than the last epoch that it has. */
static int epoch_of_old_log(struct opening *o, uint32_t *ret_epoch) {
    struct wal_recovery rec;
    wal_recovery_init(&rec, &o->s->dir, NULL, o->why);
    int err = wal_recovery_read(&rec, 0, 0, NULL, NULL);
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
    if (err == 0 && (o->s->epoch.flags & EPOCH_LOSSY) != 0 && o->reader->lossy != NULL)
        o->reader->lossy(o->reader->ctx);
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

/* Reads the snapshot of that name. 1; 0 when it is damaged or cannot be loaded, with a sentence in
 * `why`; or the system's error, or that of a newer format. */
static int read_snapshot(struct opening *o, const char *name, struct buf *why) {
    struct store *s = o->s;
    int err = snap_file_read(&s->dir, name, give_piece, o, &s->base, why);
    if (err == 0 && !o->reader->snap_end(o->reader->ctx, s->base.begun, s->base.ended)) {
        buf_printf(why, "%s/%s: the snapshot is whole and cannot be loaded", s->dir.path, name);
        err = -EBADMSG;
    }
    if (err == 0)
        return 1;
    s->base = (struct snap_base){0};
    o->reader->snap_reset(o->reader->ctx, snap_file_begun(&s->dir, name));
    return err == -EBADMSG ? 0 : err;
}

/* Another sentence is to follow. */
static void join(struct buf *b) {
    if (b->len > 0)
        buf_printf(b, "; ");
}

/* An installed snapshot that was not given its name is the history: there is nothing older. */
static int read_next(struct opening *o) {
    int found = read_snapshot(o, SNAP_FILE_NEXT, o->why);
    return found == 0 ? -EBADMSG : found < 0 ? found : 0;
}

/* The newest that is whole. One that is damaged is passed over: the log goes on behind the one
 * before it as well, and is as long as the oldest one needs it. */
static int read_newest(struct opening *o) {
    struct store *s = o->s;
    for (size_t i = s->snaps.count; i > 0; i--) {
        char name[SNAP_NAME_BYTES];
        snap_name(s->snaps.list[i - 1].begun, name);
        struct buf why = BUF_INIT;
        int found = read_snapshot(o, name, &why);
        if (found == 0)
            join(&o->passed);
        if (found <= 0)
            buf_put(found < 0 ? o->why : &o->passed, why.data, why.len);
        buf_close(&why);
        if (found < 0)
            return found;
        if (found > 0 && s->snaps.list[i - 1].begun != 0 &&
            s->snaps.list[i - 1].begun != s->base.begun) {
            buf_printf(o->why, "%s/%s: the snapshot is one of another name", s->dir.path, name);
            return -EBADMSG;
        }
        if (found > 0) {
            o->old_name = s->snaps.list[i - 1].begun == 0;
            s->snaps.list[i - 1].size_bytes = s->base.size_bytes;
            return 0;
        }
        buf_printf(&o->passed, ", and passed over");
        snap_list_add(&o->damaged, s->snaps.list[i - 1].begun, 0);
        snap_list_remove(&s->snaps, i - 1);
    }
    return 0;
}

static int read_snapshots(struct opening *o) {
    struct store *s = o->s;
    if (o->has_cut && o->cut.drop_snapshot)
        s->snaps.count = 0; /* they go */
    if (s->snaps.count > 0)
        o->reach = s->snaps.list[s->snaps.count - 1].begun;
    if (o->next)
        return read_next(o);
    bool any = s->snaps.count > 0;
    int err = read_newest(o);
    if (err == 0 && any && s->snaps.count == 0 && o->reach == 0) {
        buf_put(o->why, o->passed.data, o->passed.len);
        buf_printf(o->why, "; there is no other");
        err = -EBADMSG;
    }
    return err;
}

/* Which snapshots are there. */
static int find_snapshots(struct opening *o) {
    struct store *s = o->s;
    int next = there(o, SNAP_FILE_NEXT);
    if (next < 0)
        return next;
    o->next = next > 0;
    int err = snap_list_read(&s->snaps, &s->dir);
    if (err < 0)
        buf_printf(o->why, "%s: cannot be listed: %s", s->dir.path, strerror(-err));
    return err;
}

/* An installed snapshot takes the place of everything else. */
static int finish_installation(struct opening *o) {
    struct store *s = o->s;
    char name[SNAP_NAME_BYTES];
    snap_name(s->base.begun, name);
    int err = wal_recovery_remove_all(&o->rec);
    if (err == 0)
        err = snap_list_remove_all(&s->dir);
    if (err == 0)
        err = store_file_sync_dir(&s->dir);
    if (err == 0)
        err = store_file_rename(&s->dir, SNAP_FILE_NEXT, name);
    if (err == 0)
        err = store_file_sync_dir(&s->dir);
    if (err == 0) {
        wal_rebase(&s->wal, s->base.begun, s->base.checksum);
        s->snaps.count = 0;
        snap_list_add(&s->snaps, s->base.begun, s->base.size_bytes);
    } else if (o->why->len == 0) {
        buf_printf(o->why, "%s: an installed snapshot cannot take its place: %s", s->dir.path,
                   strerror(-err));
    }
    return err;
}

/* The snapshot of the format's first version gets a name like the others'. */
static int give_name(struct opening *o) {
    struct store *s = o->s;
    char name[SNAP_NAME_BYTES];
    if (!o->old_name)
        return 0;
    snap_name(s->base.begun, name);
    int err = store_file_rename(&s->dir, SNAP_FILE_NAME, name);
    if (err == 0)
        err = store_file_sync_dir(&s->dir);
    if (err < 0)
        buf_printf(o->why, "%s/%s: cannot be renamed: %s", s->dir.path, SNAP_FILE_NAME,
                   strerror(-err));
    snap_list_remove(&s->snaps, 0);
    snap_list_add(&s->snaps, s->base.begun, s->base.size_bytes);
    return err;
}

/* Snapshots that were passed over: the log behind an older one is whole, so nobody needs them. */
static int remove_damaged(struct opening *o) {
    struct store *s = o->s;
    for (size_t i = 0; i < o->damaged.count; i++) {
        char name[SNAP_NAME_BYTES];
        snap_name(o->damaged.list[i].begun, name);
        int err = store_file_remove(&s->dir, name);
        if (err < 0) {
            buf_printf(o->why, "%s/%s: cannot be removed: %s", s->dir.path, name, strerror(-err));
            return err;
        }
    }
    /* Else a power cut brings them back, and nobody would purge them then. */
    int err = o->damaged.count > 0 ? store_file_sync_dir(&s->dir) : 0;
    if (err < 0)
        buf_printf(o->why, "%s: cannot be synced: %s", s->dir.path, strerror(-err));
    return err;
}

/* Sizes of those that were not read, for who asks how much there is. */
static int learn_sizes(struct opening *o) {
    struct store *s = o->s;
    const struct env_files *files = s->dir.files;
    for (size_t i = 0; i < s->snaps.count; i++) {
        struct snap_entry *e = &s->snaps.list[i];
        char name[SNAP_NAME_BYTES];
        if (e->size_bytes > 0)
            continue;
        snap_name(e->begun, name);
        int fd = store_file_open(&s->dir, name, O_RDONLY);
        int64_t size = fd < 0 ? fd : files->size(files->ctx, fd);
        if (fd >= 0)
            files->close(files->ctx, fd);
        if (size < 0) {
            buf_printf(o->why, "%s/%s: cannot be read: %s", s->dir.path, name,
                       strerror((int)-size));
            return (int)size;
        }
        e->size_bytes = (uint64_t)size;
    }
    return 0;
}

/* Files that a crash left unfinished. */
static int remove_leftovers(struct opening *o) {
    static const char cut[] = WAL_CUT_NAME ".new";
    static const char *const names[] = {SNAP_FILE_NEW, SNAP_FILE_TMP, cut, "epoch.1.new",
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

/* The process before may have ended between a change of names and its sync: what this start saw,
 * and what it did not see any more, must be so after the next power cut, too, and before anything
 * is made of it. Else the half of a cut would be done, and the cut forgotten; or one that was
 * carried out long ago would come back, and take away what was appended behind it. */
static int sync_names(struct opening *o) {
    int err = store_file_sync_dir(&o->s->dir);
    if (err < 0)
        buf_printf(o->why, "%s: cannot be synced: %s", o->s->dir.path, strerror(-err));
    return err;
}

static int repair_log(struct opening *o) {
    return o->next ? finish_installation(o) : wal_recovery_repair(&o->rec);
}

static int repair_epoch(struct opening *o) {
    struct store *s = o->s;
    int err = epoch_file_repair(&s->epoch, &s->dir, o->why);
    /* Of the version before, or a crash came between the first record and that. */
    if (err == 0 && s->wal.segments.count > 0)
        err = epoch_file_set(&s->epoch, &s->dir, EPOCH_LOG);
    if (err < 0) {
        buf_reset(o->why);
        epoch_file_names(&s->dir, o->why);
        buf_printf(o->why, ": cannot be written: %s", strerror(-err));
    }
    return err;
}

static void opening_close(struct opening *o) {
    snap_list_close(&o->damaged);
    buf_close(&o->passed);
}

/* A start that finds no room gives the reserve up as well, and tries once more. */
static int repair_for_room(struct opening *o, int (*part)(struct opening *o)) {
    struct store *s = o->s;
    int err = part(o);
    if (!reserve_lacks_room(err) || !s->reserve.held)
        return err;
    s->full = s->wal.tight = true;
    buf_reset(o->why);
    err = reserve_give_up(&s->reserve, &s->dir);
    return err < 0 ? err : part(o);
}

static int repair(struct opening *o) {
    struct store *s = o->s;
    int err = sync_names(o);
    if (err == 0)
        err = remove_leftovers(o);
    if (err == 0)
        err = repair_for_room(o, repair_log);
    if (err < 0)
        return err;
    if (!o->next)
        wal_recovery_take(&o->rec, &s->wal);
    err = give_name(o);
    if (err == 0)
        err = remove_damaged(o);
    if (err == 0)
        err = learn_sizes(o);
    if (err < 0)
        return err;
    err = repair_for_room(o, repair_epoch);
    /* One copy is whole, and the next promise is written to both. */
    return reserve_lacks_room(err) ? 0 : err;
}

/* A disk that has no room for it is full from the start. */
static int put_reserve(struct store *s, struct buf *ret_why) {
    int err = s->full ? 0 : reserve_make(&s->reserve, &s->dir);
    if (reserve_lacks_room(err)) {
        s->full = s->wal.tight = true;
        return 0;
    }
    if (err < 0)
        buf_printf(ret_why, "%s/" RESERVE_NAME ": cannot be made: %s", s->dir.path, strerror(-err));
    return err;
}

int store_recover(struct store *s, const struct store_reader *reader, struct buf *ret_why) {
    struct opening o = {.s = s, .reader = reader, .why = ret_why, .passed = BUF_INIT};
    int err = rebuild_finish(&s->dir, ret_why);
    if (err < 0)
        return err;
    err = reserve_find(&s->reserve, &s->dir);
    if (err < 0)
        buf_printf(ret_why, "%s/" RESERVE_NAME ": cannot be opened: %s", s->dir.path,
                   strerror(-err));
    if (err == 0)
        err = epoch_file_read(&s->dir, &s->epoch, ret_why);
    if (err == 0)
        err = wal_cut_read(&s->dir, &o.has_cut, &o.cut, ret_why);
    if (err == 0)
        err = find_snapshots(&o);
    if (err == 0)
        err = read_epoch(&o, o.next || s->snaps.count > 0);
    if (err == 0)
        err = read_snapshots(&o);
    if (err < 0) {
        opening_close(&o);
        return err;
    }
    wal_recovery_init(&o.rec, &s->dir, o.has_cut ? &o.cut : NULL, ret_why);
    o.rec.reach = o.next ? 0 : o.reach;
    o.rec.base_replaces = s->base.size_bytes > 0 && s->base.kind == SNAP_REPLACES;
    o.rec.base_beside = s->base.size_bytes > 0 && s->base.kind == SNAP_BESIDE;
    o.rec.had_log = (s->epoch.flags & EPOCH_LOG) != 0;
    if (!o.next)
        err = wal_recovery_read(&o.rec, s->base.begun, s->base.checksum, reader, &s->index);
    if (err == 0)
        err = repair(&o);
    if (err == 0)
        err = put_reserve(s, ret_why);
    wal_recovery_close(&o.rec);
    /* Where it ends well, this is worth a warning; else a part of the reason. */
    if (o.passed.len > 0) {
        join(ret_why);
        buf_put(ret_why, o.passed.data, o.passed.len);
    }
    opening_close(&o);
    return err;
}
