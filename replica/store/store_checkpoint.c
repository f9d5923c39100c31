/* Checkpoints, and what they make superfluous. Their jobs have a queue and a runner of their own,
 * so that no sync of the log waits behind a snapshot's. */
#include <errno.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/store/purge.h"
#include "replica/store/store_state.h"
#include "replica/store/wal_format.h"

/* ---- the queue ---- */

static void queue_add(struct job_queue *q, struct job *j) {
    *(q->last == NULL ? &q->first : &q->last->next) = j;
    q->last = j;
}

static struct job *job_add(struct store *s, enum job_type type) {
    struct job *j = mem_zalloc(sizeof *j);
    j->type = type;
    queue_add(&s->checkpoint.waiting, j);
    return j;
}

static void queue_drop(struct job_queue *q) {
    while (q->first != NULL) {
        struct job *j = q->first;
        q->first = j->next;
        buf_close(&j->bytes);
        mem_free(j);
    }
    q->last = NULL;
}

void store_checkpoint_begin(struct store *s) {
    s->checkpoint.begun = true;
    store_checkpoint_retry(s);
    job_add(s, JOB_CHECKPOINT_BEGIN);
}

void store_checkpoint_chunk(struct store *s, struct slice piece) {
    CHECK(s->checkpoint.begun);
    struct job *j = job_add(s, JOB_CHECKPOINT_CHUNK);
    if (piece.len > 0)
        buf_put(&j->bytes, piece.p, (size_t)piece.len);
}

void store_checkpoint_end(struct store *s, zxid_t zxid) {
    CHECK(s->checkpoint.begun);
    CHECK(zxid > 0);
    s->checkpoint.begun = false;
    struct job *j = job_add(s, JOB_CHECKPOINT_END);
    j->zxid = zxid;
    /* No record of that zxid is in the log, which begins behind a snapshot of the same. */
    for (size_t i = 0; i < s->snaps.count; i++)
        if (s->base_zxid == zxid && s->snaps.list[i].begun == zxid)
            j->kept_bytes = s->snaps.list[i].size_bytes;
}

/* What runs now, or has run, is of no interest any more. */
void store_checkpoint_abandon(struct store *s) {
    s->checkpoint.begun = false;
    s->checkpoint.ignore_running = true;
    for (struct job *j = s->checkpoint.waiting.first; j != NULL; j = j->next)
        j->ignored = true;
    job_add(s, JOB_CHECKPOINT_ABANDON);
}

bool store_checkpoint_pending(const struct store *s) { return s->checkpoint.waiting.first != NULL; }

/* ---- the purge ---- */

void store_checkpoint_retry(struct store *s) {
    s->checkpoint.purge_due = s->checkpoint.purge_due || s->checkpoint.left.len > 0;
}

static void put_snapshot(struct buf *names, zxid_t begun) {
    char name[SNAP_NAME_BYTES];
    snap_name(begun, name);
    purge_add(names, name);
}

/* The newest that are to stay, or fewer when there are fewer; and the oldest of those that were
 * asked for since the last purge: who is given it would have to begin anew, and under load again
 * and again. What is left is taken off the list and named in j; the last of them is the one whose
 * blocks may be used again. */
static void purge_snapshots(struct store *s, struct job *j) {
    struct snap_list *all = &s->snaps;
    size_t spared = 0; /* at the beginning of the list */
    for (size_t extra = all->count - s->checkpoint.retain; extra > 0; extra--) {
        if (all->list[spared].served && spared == 0) {
            spared++;
            continue;
        }
        put_snapshot(&j->bytes, all->list[spared].begun);
        j->zxid = all->list[spared].begun;
        snap_list_remove(all, spared);
    }
    for (size_t i = 0; i < all->count; i++)
        all->list[i].served = false;
}

/* Segments whose records all lie before the oldest snapshot that stays; never the last one, which
 * is written to. The record that a checkpoint is of stays with it: so one without any log has lost
 * that, whatever was cut off behind it. Only while no sync of the log runs: the list is its
 * runner's then. */
static void purge_segments(struct store *s, struct job *j) {
    struct wal_segments *all = &s->wal.segments;
    zxid_t oldest = s->snaps.list[MUTANT(PURGE_TOO_FAR) ? s->snaps.count - 1 : 0].begun;
    size_t gone = 0;
    while (gone + 1 < all->count && all->list[gone + 1].prev_zxid < oldest) {
        char name[WAL_NAME_BYTES];
        wal_segment_name(all->list[gone].first_zxid, name);
        purge_add(&j->bytes, name);
        gone++;
    }
    if (gone == 0)
        return;
    all->count -= gone;
    memmove(all->list, all->list + gone, all->count * sizeof *all->list);
    s->base_zxid = all->list[0].prev_zxid;
    wal_index_forget(&s->index, all->list[0].first_zxid);
}

bool store_is_full(int err) { return reserve_lacks_room(err); }

bool store_purge(struct store *s, zxid_t *ret_base) {
    struct checkpoint_state *c = &s->checkpoint;
    if (!c->purge_due || s->syncing || s->stopped || s->cuts > 0)
        return false;
    c->purge_due = false;
    struct job *j = mem_zalloc(sizeof *j);
    j->type = JOB_PURGE;
    j->bytes = c->left; /* they are the oldest */
    c->left = (struct buf){0};
    if (s->snaps.count >= c->retain) {
        purge_snapshots(s, j);
        purge_segments(s, j);
    }
    *ret_base = s->base_zxid;
    if (j->bytes.len == 0) {
        buf_close(&j->bytes);
        mem_free(j);
        return false;
    }
    queue_add(&c->waiting, j);
    return true;
}

void store_checkpoint_replaced(struct store *s) {
    for (size_t i = 0; i < s->snaps.count; i++)
        if (s->snaps.list[i].begun != s->base.begun)
            put_snapshot(&s->checkpoint.left, s->snaps.list[i].begun);
    s->snaps.count = 0;
    s->checkpoint.purge_due = true;
}

/* ---- the runner's ---- */

static int end_checkpoint(struct store *s, struct job *j) {
    struct snap_writer *w = &s->checkpoint.writer;
    struct snap_base base = {.size_bytes = j->kept_bytes};
    char name[SNAP_NAME_BYTES];
    snap_name(j->zxid, name);
    int err = j->kept_bytes > 0 ? snap_writer_abandon(w, &s->dir)
                                : snap_writer_end(w, &s->dir, name, j->zxid, j->zxid, &base);
    if (err == 0)
        j->size_bytes = base.size_bytes;
    return err;
}

/* Oldest first: a crash leaves what a start takes for a log that begins a little earlier. A large
 * snapshot becomes the next one's unfinished file, unless that is there already: new blocks for the
 * new one, and giving back those of the old one, are what the log's syncs would notice most. */
static int purge(struct store *s, const struct job *j) {
    char name[SNAP_NAME_BYTES];
    bool reuse = j->zxid > 0 && s->checkpoint.writer.fd < 0;
    snap_name(j->zxid, name);
    return purge_run(&s->dir, &j->bytes, reuse ? name : NULL, SNAP_FILE_TMP);
}

static int run(struct store *s, struct job *j) {
    struct checkpoint_state *c = &s->checkpoint;
    switch (j->type) {
    case JOB_CHECKPOINT_BEGIN:
        if (MUTANT(PURGE_BEFORE_SAVED))
            (void)snap_list_remove_all(&s->dir);
        return snap_writer_begin(&c->writer, &s->dir, SNAP_FILE_TMP, c->salt++, SNAP_BESIDE);
    case JOB_CHECKPOINT_CHUNK:
        return snap_writer_chunk(&c->writer, &s->dir,
                                 (struct slice){j->bytes.data, (int32_t)j->bytes.len});
    case JOB_CHECKPOINT_END:
        return end_checkpoint(s, j);
    case JOB_CHECKPOINT_ABANDON:
        return snap_writer_abandon(&c->writer, &s->dir);
    case JOB_PURGE:
        return purge(s, j);
    default:
        return -EINVAL;
    }
}

void store_checkpoint_start(struct store *s) {
    CHECK(s->checkpoint.running.first == NULL);
    s->checkpoint.running = s->checkpoint.waiting;
    s->checkpoint.waiting = (struct job_queue){0};
    s->checkpoint.ignore_running = false;
}

void store_checkpoint_run(struct store *s) {
    struct checkpoint_state *c = &s->checkpoint;
    int purge_err = 0;
    for (struct job *j = c->running.first; j != NULL; j = j->next) {
        bool begins = j->type == JOB_CHECKPOINT_BEGIN;
        bool part = j->type == JOB_CHECKPOINT_CHUNK || j->type == JOB_CHECKPOINT_END;
        if (begins)
            c->err = 0;
        if (c->err != 0 && part)
            continue; /* of one that failed */
        j->err = j->type == JOB_PURGE && purge_err != 0 ? purge_err : run(s, j);
        if (j->type == JOB_PURGE)
            purge_err = j->err;
        if (j->err == 0 || !(begins || part))
            continue;
        c->err = j->err;
        /* It may be what filled the disk. */
        (void)snap_writer_abandon(&c->writer, &s->dir);
    }
}

/* What a full disk would not let go has to go first, by the next purge that is due, and what was to
 * go behind it waits with it: newer segments must not go before older ones. */
static void keep_purges(struct store *s) {
    struct checkpoint_state *c = &s->checkpoint;
    struct buf names = BUF_INIT;
    for (struct job *j = c->running.first; j != NULL; j = j->next)
        if (j->type == JOB_PURGE && j->err != 0)
            buf_put(&names, j->bytes.data, j->bytes.len);
    for (struct job *j = c->waiting.first; names.len > 0 && j != NULL; j = j->next) {
        if (j->type != JOB_PURGE || j->bytes.len == 0)
            continue;
        buf_put(&names, j->bytes.data, j->bytes.len);
        buf_reset(&j->bytes);
    }
    if (names.len == 0)
        return;
    if (c->left.len > 0)
        buf_put(&names, c->left.data, c->left.len);
    buf_close(&c->left);
    c->left = names;
}

/* That the disk is full is for nobody where a purge is kept (keep_purges), where an unfinished file
 * stays to be written over, or where nobody waits for the checkpoint any more. Any other error
 * counts, and more than that one. */
static void note_error(const struct job *j, struct store_checkpoint_done *done) {
    bool full = store_is_full(j->err);
    bool matters = !j->ignored && j->type != JOB_PURGE && j->type != JOB_CHECKPOINT_ABANDON;
    if (j->err != 0 &&
        (full ? matters && done->err == 0 : done->err == 0 || store_is_full(done->err)))
        done->err = j->err;
}

/* What the loop has to know of one job that ran. */
static void note_job(struct store *s, const struct job *j, struct store_checkpoint_done *done) {
    note_error(j, done);
    if (j->type == JOB_CHECKPOINT_CHUNK && !j->ignored)
        done->written++;
    if (j->type != JOB_CHECKPOINT_END || j->size_bytes == 0)
        return;
    /* An abandoned one that was whole all the same is a snapshot like any other; but not one of a
     * history that another took the place of meanwhile. */
    if (j->zxid >= s->base_zxid)
        snap_list_add(&s->snaps, j->zxid, j->size_bytes);
    else
        put_snapshot(&s->checkpoint.left, j->zxid);
    s->checkpoint.purge_due = true;
    if (!j->ignored) {
        done->saved_zxid = j->zxid;
        done->saved_bytes = j->size_bytes;
    }
}

void store_checkpoint_end_run(struct store *s, struct store_checkpoint_done *ret_done) {
    struct store_checkpoint_done done = {0};
    for (struct job *j = s->checkpoint.running.first; j != NULL; j = j->next) {
        j->ignored = j->ignored || (s->checkpoint.ignore_running && j->type != JOB_PURGE);
        note_job(s, j, &done);
    }
    keep_purges(s);
    queue_drop(&s->checkpoint.running);
    if (done.err != 0) {
        done.written = 0; /* else more would be asked for before it is told that it is over */
        s->checkpoint.begun = false;
        for (struct job *j = s->checkpoint.waiting.first; j != NULL; j = j->next)
            j->ignored = true;
    }
    *ret_done = done;
}

void store_checkpoint_close(struct store *s) {
    snap_writer_close(&s->checkpoint.writer, &s->dir);
    queue_drop(&s->checkpoint.waiting);
    queue_drop(&s->checkpoint.running);
    buf_close(&s->checkpoint.left);
    snap_list_close(&s->snaps);
}
