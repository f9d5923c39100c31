#include "replica/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/store/store_lock.h"
#include "replica/store/store_state.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_truncate.h"

/* Keeps the salts of checkpoints apart from the segments'. */
#define CHECKPOINT_SALT 0x636865636b706e74u

/* ---- the queue ---- */

static struct job *job_add(struct store *s, enum job_type type) {
    struct job *j = NULL;
    if (type == JOB_APPEND && s->spare != NULL) {
        j = s->spare;
        s->spare = NULL;
    } else {
        j = mem_zalloc(sizeof *j);
    }
    j->type = type;
    if (s->waiting.last == NULL)
        s->waiting.first = j;
    else
        s->waiting.last->next = j;
    s->waiting.last = j;
    return j;
}

static void job_free(struct job *j) {
    buf_close(&j->batch.frames);
    buf_close(&j->bytes);
    mem_free(j);
}

static void job_done(struct store *s, struct job *j) {
    if (j->type != JOB_APPEND || s->spare != NULL) {
        job_free(j);
        return;
    }
    wal_batch_reset(&j->batch);
    j->written = false;
    j->next = NULL;
    s->spare = j;
}

static void queue_drop(struct store *s, struct job_queue *q) {
    while (q->first != NULL) {
        struct job *j = q->first;
        q->first = j->next;
        job_done(s, j);
    }
    q->last = NULL;
}

/* ---- jobs ---- */

void store_append(struct store *s, const struct log_record *r) {
    if (s->stopped)
        return;
    struct job *j = s->waiting.last;
    if (j == NULL || j->type != JOB_APPEND)
        j = job_add(s, JOB_APPEND);
    wal_batch_add(&j->batch, r);
}

void store_truncate(struct store *s, zxid_t zxid) {
    if (s->stopped)
        return;
    CHECK(zxid >= 0);
    job_add(s, JOB_TRUNCATE)->zxid = zxid;
    s->cuts++;
}

void store_save_epoch(struct store *s, uint32_t accepted_epoch) {
    if (s->stopped)
        return;
    CHECK(accepted_epoch > 0);
    job_add(s, JOB_SAVE_EPOCH)->epoch = accepted_epoch;
}

void store_save_whole(struct store *s) {
    if (!s->stopped)
        job_add(s, JOB_SAVE_WHOLE);
}

/* What no sync has taken of the snapshot that is being received goes: on a full disk that may be
 * all of it, and so with the next one, which is begun in its place. One that has ended stays. */
static void drop_snap_jobs(struct store *s) {
    size_t ends = 0;
    for (const struct job *j = s->waiting.first; j != NULL; j = j->next)
        ends += j->type == JOB_SNAP_END;
    s->waiting.last = NULL;
    for (struct job **at = &s->waiting.first; *at != NULL;) {
        struct job *j = *at;
        if (ends == 0 && (j->type == JOB_SNAP_BEGIN || j->type == JOB_SNAP_CHUNK)) {
            *at = j->next;
            job_done(s, j);
        } else {
            ends -= j->type == JOB_SNAP_END;
            s->waiting.last = j;
            at = &j->next;
        }
    }
}

void store_snap_begin(struct store *s) {
    if (s->stopped)
        return;
    if (s->snap_begun)
        drop_snap_jobs(s);
    s->snap_begun = true;
    job_add(s, JOB_SNAP_BEGIN);
}

void store_snap_chunk(struct store *s, struct slice piece) {
    if (s->stopped)
        return;
    CHECK(s->snap_begun);
    struct job *j = job_add(s, JOB_SNAP_CHUNK);
    if (piece.len > 0)
        buf_put(&j->bytes, piece.p, (size_t)piece.len);
}

void store_snap_end(struct store *s, zxid_t begun, zxid_t ended) {
    if (s->stopped)
        return;
    CHECK(s->snap_begun);
    s->snap_begun = false;
    struct job *j = job_add(s, JOB_SNAP_END);
    j->zxid = begun;
    j->ended = ended;
    s->cuts++;
}

void store_snap_abandon(struct store *s) {
    if (s->stopped || !s->snap_begun)
        return;
    s->snap_begun = false;
    drop_snap_jobs(s);
    if (s->waiting.last == NULL || s->waiting.last->type != JOB_SNAP_ABANDON)
        job_add(s, JOB_SNAP_ABANDON);
}

/* ---- carrying them out ---- */

/* From the first record that is durable on, the promise says that there is a log. */
static int append(struct store *s, struct job *j) {
    int err = j->written ? 0 : wal_write(&s->wal, &j->batch);
    j->written = err == 0; /* for when there is no room for the rest */
    return err < 0 ? err : epoch_file_set(&s->epoch, &s->dir, EPOCH_LOG);
}

static bool leaves_record(const struct store *s, const struct job *j) {
    const struct wal_segments *all = &s->wal.segments;
    return !j->dropped && all->count > 0 && j->zxid >= all->list[0].first_zxid;
}

static int truncate_log(struct store *s, struct job *j) {
    /* A snapshot that has effects of what goes has to go as well (Z5), and with it everything. */
    zxid_t newest = s->base.ended > s->base.begun ? s->base.ended : s->base.begun;
    j->dropped = s->base.size_bytes > 0 && j->zxid < newest;
    int err = leaves_record(s, j) ? 0 : epoch_file_clear(&s->epoch, &s->dir, EPOCH_LOG);
    if (err == 0)
        err = wal_truncate(&s->wal, j->zxid, j->dropped);
    if (err == 0 && j->dropped)
        s->base = (struct snap_base){0};
    return err;
}

static int take_place(struct store *s, const struct snap_base *base) {
    char name[SNAP_NAME_BYTES];
    snap_name(base->begun, name);
    int err = snap_list_remove_all(&s->dir);
    if (err == 0)
        err = store_file_sync_dir(&s->dir);
    if (err == 0)
        err = store_file_rename(&s->dir, SNAP_FILE_NEXT, name);
    return err < 0 ? err : store_file_sync_dir(&s->dir);
}

/* At the rename in snap_writer_end the snapshot takes the place of everything; the rest a start
 * would do as well. */
static int install(struct store *s, struct job *j) {
    int err = epoch_file_clear(&s->epoch, &s->dir, EPOCH_LOG);
    /* An earlier try may have come further than that rename: then the file is closed. */
    if (err == 0 && s->snap.fd >= 0)
        err = snap_writer_end(&s->snap, &s->dir, SNAP_FILE_NEXT, j->zxid, j->ended, &j->base);
    if (err == 0)
        err = wal_remove_all(&s->wal);
    if (err == 0)
        err = take_place(s, &j->base);
    if (err < 0)
        return err;
    s->base = j->base;
    wal_rebase(&s->wal, j->zxid, j->base.checksum);
    return 0;
}

static int run(struct store *s, struct job *j) {
    switch (j->type) {
    case JOB_APPEND:
        return append(s, j);
    case JOB_TRUNCATE:
        return truncate_log(s, j);
    case JOB_SAVE_EPOCH:
        return epoch_file_save(&s->epoch, &s->dir, j->epoch);
    case JOB_SAVE_WHOLE:
        return epoch_file_clear(&s->epoch, &s->dir, EPOCH_LOSSY);
    case JOB_SNAP_BEGIN:
        return snap_writer_begin(&s->snap, &s->dir, SNAP_FILE_NEW, s->wal.salt++, SNAP_REPLACES);
    case JOB_SNAP_CHUNK:
        return snap_writer_chunk(&s->snap, &s->dir,
                                 (struct slice){j->bytes.data, (int32_t)j->bytes.len});
    case JOB_SNAP_END:
        return install(s, j);
    case JOB_SNAP_ABANDON:
        return snap_writer_abandon(&s->snap, &s->dir);
    default:
        break;
    }
    return -EINVAL;
}

/* Where there is no room, the reserve is given up and the job tried once more. */
static int run_for_room(struct store *s, struct job *j) {
    int err = run(s, j);
    if (!reserve_lacks_room(err))
        return err;
    s->full = s->wal.tight = true;
    if (!s->reserve.held)
        return err;
    err = reserve_give_up(&s->reserve, &s->dir);
    return err < 0 ? err : run(s, j);
}

/* Whether the disk is full still: it is until the reserve is there again. */
static int look_for_room(struct store *s) {
    int err = reserve_make(&s->reserve, &s->dir);
    if (reserve_lacks_room(err))
        return 0;
    s->full = s->wal.tight = err < 0;
    return err;
}

bool store_pending(const struct store *s) {
    return s->retry || (s->waiting.first != NULL && !s->held_up);
}

bool store_held_up(const struct store *s) { return s->held_up; }

bool store_full(const struct store *s) { return s->shown_full; }

void store_retry(struct store *s) {
    s->retry = s->shown_full && !s->stopped;
    store_checkpoint_retry(s);
}

void store_sync_begin(struct store *s) {
    CHECK(s->running.first == NULL || s->held_up);
    s->syncing = true;
    if (s->running.last == NULL)
        s->running.first = s->waiting.first;
    else
        s->running.last->next = s->waiting.first;
    if (s->waiting.last != NULL)
        s->running.last = s->waiting.last;
    s->waiting = (struct job_queue){0};
    s->retrying = s->retry;
    s->retry = false;
}

int store_sync_run(struct store *s) {
    s->stuck = NULL;
    for (struct job *j = s->running.first; j != NULL && s->dead == 0; j = j->next) {
        int err = run_for_room(s, j);
        if (reserve_lacks_room(err) && MUTANT(FULL_IS_WRITTEN))
            continue;
        if (reserve_lacks_room(err)) {
            s->stuck = j;
            return STORE_FULL;
        }
        s->dead = err;
    }
    if (s->dead == 0 && s->full && s->retrying)
        s->dead = look_for_room(s);
    return s->dead;
}

/* ---- what the loop knows of it afterwards ---- */

/* What a job that was carried out took away, and what it says. */
static void note_job(struct store *s, const struct job *j, struct store_done *done) {
    switch (j->type) {
    case JOB_APPEND:
        done->appended = true;
        break;
    case JOB_TRUNCATE:
        done->truncated = true;
        s->cuts--;
        wal_index_cut(&s->index, j->dropped ? -1 : j->zxid);
        if (j->dropped)
            s->snaps.count = 0;
        break;
    case JOB_SAVE_EPOCH:
        done->epoch = j->epoch;
        break;
    case JOB_SNAP_END:
        done->installed = true;
        s->cuts--;
        wal_index_cut(&s->index, -1);
        store_checkpoint_replaced(s);
        snap_list_add(&s->snaps, s->base.begun, s->base.size_bytes);
        break;
    default:
        break;
    }
}

/* Tells the index of segments that it does not know, and of the place where the log ended before
 * this sync, if that still has its segment. */
static void note_segments(struct store *s) {
    const struct wal_segments *all = &s->wal.segments;
    zxid_t known = s->index.count > 0 ? s->index.points[s->index.count - 1].segment : -1;
    size_t i = all->count;
    while (i > 0 && all->list[i - 1].first_zxid > known)
        i--;
    for (; i < all->count; i++) {
        struct wal_point begin = {all->list[i].prev_zxid, all->list[i].first_zxid,
                                  all->list[i].identity, WAL_HEADER_BYTES};
        wal_index_offer(&s->index, &begin);
    }
}

static void note_end(struct store *s) {
    const struct wal_segments *all = &s->wal.segments;
    s->durable_zxid = s->wal.last_zxid;
    s->base_zxid = all->count > 0 ? all->list[0].prev_zxid : s->wal.last_zxid;
    s->log_bytes = wal_bytes(&s->wal);
    s->durable_end = (struct wal_point){.after = s->durable_zxid};
    if (all->count > 0) {
        const struct wal_segment *last = &all->list[all->count - 1];
        s->durable_end.segment = last->first_zxid;
        s->durable_end.identity = last->identity;
        s->durable_end.offset = s->wal.tail;
    }
}

/* What was carried out leaves the queue; what there was no room for stays. */
static void note_jobs(struct store *s, struct store_done *done) {
    while (s->running.first != s->stuck) {
        struct job *j = s->running.first;
        s->running.first = j->next;
        note_job(s, j, done);
        job_done(s, j);
    }
    if (s->stuck == NULL)
        s->running.last = NULL;
}

void store_sync_end(struct store *s, struct store_done *ret_done) {
    struct store_done done = {0};
    s->stopped = s->dead != 0;
    s->shown_full = s->full;
    s->held_up = s->dead == 0 && s->stuck != NULL;
    s->syncing = false;
    if (s->dead == 0) {
        size_t cuts = s->cuts;
        note_jobs(s, &done);
        bool same_segment = s->index.count > 0 &&
                            s->index.points[s->index.count - 1].segment == s->durable_end.segment;
        if (done.appended && cuts == s->cuts && same_segment)
            wal_index_offer(&s->index, &s->durable_end);
        note_segments(s);
        note_end(s);
    } else {
        queue_drop(s, &s->waiting);
        queue_drop(s, &s->running);
    }
    done.log_zxid = s->durable_zxid;
    *ret_done = done;
}

int store_read(struct store *s, zxid_t after, size_t max_bytes, wal_record_fn *fn, void *ctx) {
    /* What is appended and not durable will be read later, and so will what a cut leaves: until it
     * has ended, the runner may be at any of it. */
    if (s->cuts > 0 || after >= s->durable_zxid)
        return 0;
    return wal_read(&s->dir, &s->index, s->base_zxid, after, s->durable_zxid, max_bytes, fn, ctx);
}

int64_t store_size_bytes(const struct store *s) {
    return (int64_t)(s->log_bytes + snap_list_bytes(&s->snaps));
}

/* ---- opening and closing ---- */

int store_open(const struct env_files *files, const struct wal_config *config,
               const struct store_reader *reader, struct store **ret_store, struct buf *ret_why) {
    struct store *s = mem_zalloc(sizeof *s);
    s->dir = (struct store_dir){
        .files = files, .path = mem_strdup(config->dir), .no_sync = config->no_sync};
    int64_t max = config->segment_bytes > 0 ? config->segment_bytes : WAL_SEGMENT_BYTES_DEFAULT;
    s->wal =
        (struct wal){.dir = &s->dir, .max_bytes = (uint64_t)max, .salt = config->salt, .fd = -1};
    s->snap.fd = s->checkpoint.writer.fd = -1;
    s->checkpoint.salt = config->salt ^ CHECKPOINT_SALT;
    s->checkpoint.retain =
        config->snap_retain > 0 ? (size_t)config->snap_retain : SNAP_RETAIN_DEFAULT;
    s->reserve.size_bytes = config->reserve_bytes > 0 ? (uint64_t)config->reserve_bytes : 0;
    s->lock_fd = -1;
    int err = store_file_make_dirs(files, s->dir.path);
    if (err < 0)
        buf_printf(ret_why, "%s: cannot be made: %s", s->dir.path, strerror(-err));
    if (err == 0)
        err = store_lock(&s->dir, &s->lock_fd, ret_why);
    if (err == 0)
        err = store_recover(s, reader, ret_why);
    if (err < 0) {
        store_close(s);
        return err;
    }
    note_end(s);
    s->shown_full = s->full;
    s->checkpoint.purge_due = true; /* the process before may have ended between the two */
    *ret_store = s;
    return 0;
}

void store_close(struct store *s) {
    if (s == NULL)
        return;
    snap_writer_close(&s->snap, &s->dir);
    store_checkpoint_close(s);
    wal_close(&s->wal);
    wal_index_close(&s->index);
    /* The lock goes with its file, and last: from here on another process may write. */
    if (s->lock_fd >= 0)
        s->dir.files->close(s->dir.files->ctx, s->lock_fd);
    queue_drop(s, &s->waiting);
    queue_drop(s, &s->running);
    if (s->spare != NULL)
        job_free(s->spare);
    mem_free(s->dir.path);
    mem_free(s);
}
