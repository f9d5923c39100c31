#include "replica/mender.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/outside.h"
#include "replica/record_list.h"
#include "replica/server/repair.h"
#include "replica/store/epoch_file.h"
#include "replica/store/rebuild.h"
#include "replica/store/reserve.h"
#include "replica/store/snap_serve.h"
#include "replica/store/store_lock.h"
#include "replica/store/survey.h"

/* What one message to another server carries, and what one step copies. */
#define ANSWER_BYTES (256u << 10)
#define COPY_BYTES (1u << 20)
/* What one step does of that before others have their turn: a fraction of a second. */
#define STEP_JOBS 32

/* What an update asked for, and what is answered by a step of its own. */
struct mender_job {
    struct mender_job *next;
    struct update update;
};

struct mender {
    const struct env *env;
    const struct member_config *config;
    struct store_dir dir;
    int lock_fd;
    struct survey survey;
    struct repair *repair;
    struct rebuild *rebuild;
    struct mender_job *first, **last;
    enum mender_state state;
    int err; /* what stopped it */
    struct buf why;
};

static struct slice slice_of(const struct buf *b) {
    return (struct slice){b->data, (int32_t)b->len};
}

bool mender_has_others(const struct member_config *config) {
    const struct quorum_config *q = &config->replica.ensemble;
    for (uint32_t i = 0; i < q->count; i++)
        if (q->servers[i].voter && q->servers[i].id != config->replica.server_id)
            return true;
    return false;
}

/* ---- beginning and end ---- */

/* What is to be written is tried again later; it may be little. */
static void give_reserve_up(const struct store_dir *d, int err) {
    struct reserve r = {0};
    if (reserve_lacks_room(err))
        (void)reserve_give_up(&r, d);
}

static int lock_dir(const struct member_config *config, const struct env *env,
                    struct store_dir *ret_dir, int *ret_fd, struct buf *ret_why) {
    *ret_dir = (struct store_dir){
        .files = env->files, .path = mem_strdup(config->wal.dir), .no_sync = config->wal.no_sync};
    int err = store_lock(ret_dir, ret_fd, ret_why);
    if (err < 0) {
        mem_free(ret_dir->path);
        ret_dir->path = NULL;
    }
    return err;
}

static void unlock_dir(struct store_dir *d, int fd) {
    if (d->path == NULL)
        return;
    d->files->close(d->files->ctx, fd);
    mem_free(d->path);
    d->path = NULL;
}

static bool may_lack_end(const struct survey *sv) {
    if (MUTANT(LOST_END_UNNOTICED))
        return sv->lossy;
    return sv->lossy || sv->tail_lost || sv->promise == SURVEY_PROMISE_NONE;
}

/* That an end was lost is made durable before anything else: what says it now, the name of a
 * segment or a seal, may be damaged as well before the repair comes to its end. */
static int keep_in_mind(struct mender *m, struct buf *ret_why) {
    const struct survey *sv = &m->survey;
    if (sv->lossy || !may_lack_end(sv) || sv->promise == SURVEY_PROMISE_NONE ||
        !mender_has_others(m->config))
        return 0;
    int err = epoch_file_restore(&m->dir, sv->epoch, EPOCH_LOSSY, 0);
    if (err < 0)
        buf_printf(ret_why, "%s: that an end is lost cannot be written: %s", m->dir.path,
                   strerror(-err));
    return err;
}

bool mender_lacks(const struct mender *m) {
    const struct survey *sv = &m->survey;
    struct survey_island island;
    zxid_t at = sv->has_base ? sv->base.begun : 0;
    while (survey_island(sv, at, 0, &island)) {
        if (island.before != at && island.first > at)
            return true;
        at = island.last;
    }
    return at < sv->known_end || may_lack_end(sv);
}

/* The machine knows of the survey what it needs. */
static struct repair *new_repair(struct mender *m) {
    const struct survey *sv = &m->survey;
    struct survey_island island;
    zxid_t base = sv->has_base ? sv->base.begun : 0;
    size_t count = 0;
    while (survey_island(sv, base, count, &island))
        count++;
    struct repair_island *islands = mem_zalloc((count + 1) * sizeof *islands);
    for (size_t i = 0; i < count; i++) {
        (void)survey_island(sv, base, i, &island);
        islands[i] = (struct repair_island){island.before, island.first, island.last};
    }
    struct repair_lack lack = {.base = base,
                               .islands = islands,
                               .island_count = count,
                               .known_end = sv->known_end,
                               .lossy = may_lack_end(sv),
                               .said = slice_of(&sv->said)};
    struct repair *r = repair_new(&m->config->replica, &lack);
    mem_free(islands);
    return r;
}

int mender_new(const struct member_config *config, const struct env *env, const zxid_t *refused,
               size_t refused_count, struct mender **ret_mender, struct buf *ret_why) {
    struct mender *m = mem_zalloc(sizeof *m);
    m->env = env;
    m->config = config;
    m->last = &m->first;
    int err = lock_dir(config, env, &m->dir, &m->lock_fd, ret_why);
    if (err == 0)
        err = survey_take(&m->survey, &m->dir, refused, refused_count, ret_why);
    if (err < 0) {
        mender_free(m);
        return err;
    }
    err = keep_in_mind(m, ret_why);
    if (err < 0) {
        give_reserve_up(&m->dir, err);
        mender_free(m);
        return err;
    }
    m->repair = new_repair(m);
    *ret_mender = m;
    return 0;
}

void mender_free(struct mender *m) {
    if (m == NULL)
        return;
    while (m->first != NULL) {
        struct mender_job *j = m->first;
        m->first = j->next;
        mem_free(j);
    }
    repair_free(m->repair);
    rebuild_free(m->rebuild);
    survey_close(&m->survey);
    unlock_dir(&m->dir, m->lock_fd);
    buf_close(&m->why);
    mem_free(m);
}

struct slice mender_why(const struct mender *m) {
    return slice_of(&m->why);
}

int mender_error(const struct mender *m) { return m->err; }

/* ---- the history that is written ---- */

/* A random number for each history that is begun: two never have the same checksums. */
static int begin_rebuild(struct mender *m, zxid_t base) {
    uint64_t salt = 0;
    rebuild_free(m->rebuild);
    m->rebuild = NULL;
    int err = m->env->random(m->env->ctx, &salt, sizeof salt);
    if (err == 0)
        err = rebuild_begin(&m->dir, m->config->wal.segment_bytes, salt, &m->rebuild);
    if (err == 0 && base > 0)
        rebuild_base(m->rebuild, m->survey.base_name, &m->survey.base);
    return err;
}

static void add_job(struct mender *m, const struct update *u) {
    struct mender_job *j = mem_zalloc(sizeof *j);
    j->update = *u;
    *m->last = j;
    m->last = &j->next;
}

static int end_rebuild(struct mender *m, bool lossy) {
    int err = rebuild_commit(m->rebuild, m->survey.epoch, lossy);
    if (err == 0)
        m->state = MENDER_DONE;
    return err;
}

static int carry_out_disk(struct mender *m, const struct update *u) {
    switch (u->type) {
    case UPD_REBUILD_BEGIN:
        return begin_rebuild(m, u->zxid);
    case UPD_LOG_APPEND:
        return rebuild_append(m->rebuild, &u->record);
    case UPD_SNAP_BEGIN:
        return rebuild_snapshot_begin(m->rebuild);
    case UPD_SNAP_CHUNK:
        return rebuild_snapshot_put(m->rebuild, u->bytes);
    case UPD_SNAP_ABANDON:
        return 0; /* the next one is written over it, and what is left is removed */
    case UPD_REBUILD_END:
        return end_rebuild(m, u->lossy);
    case UPD_REBUILD_COPY:
    case UPD_SNAP_END:
    case UPD_REPAIR_READ:
    case UPD_SNAP_READ:
        add_job(m, u);
        return 0;
    default:
        CHECK(false); /* of no repair */
        return -EINVAL;
    }
}

/* What was written on a disk that is full is in the way of others, who may make room. Where it was
 * decided already that it is the history, that goes on. */
static int make_room(struct mender *m) {
    struct buf why = BUF_INIT;
    rebuild_free(m->rebuild);
    m->rebuild = NULL;
    give_reserve_up(&m->dir, -ENOSPC);
    int err = rebuild_finish(&m->dir, &why);
    buf_close(&why);
    return err;
}

static void stop(struct mender *m, const char *what, int err) {
    int other = reserve_lacks_room(err) ? make_room(m) : 0;
    m->err = other < 0 && !reserve_lacks_room(other) ? other : err;
    buf_printf(&m->why, "%s: %s: %s", m->dir.path, what, strerror(-m->err));
    m->state = MENDER_STOPPED;
}

static void carry_out(struct mender *m, const struct update *u) {
    if (outside_carry_out(m->env, u))
        return;
    if (u->type == UPD_STOP) {
        buf_put(&m->why, u->bytes.p, u->bytes.len > 0 ? (size_t)u->bytes.len : 0);
        m->state = MENDER_STOPPED;
        return;
    }
    int err = carry_out_disk(m, u);
    if (err < 0)
        stop(m, "the history cannot be written anew", err);
}

static void carry_out_all(struct mender *m, struct updates updates) {
    for (size_t i = 0; i < updates.count && m->state == MENDER_GOES_ON; i++)
        carry_out(m, &updates.list[i]);
}

static void feed(struct mender *m, struct event *ev, const struct event *cause) {
    ev->mono_ms = cause->mono_ms;
    ev->wall_ms = cause->wall_ms;
    carry_out_all(m, repair_step(m->repair, ev));
}

/* ---- jobs ---- */

struct copying {
    struct mender *m;
    zxid_t at;
    int err;
    bool begun;
    struct log_record first; /* its payload is in `bytes` */
    struct buf bytes;
};

static void copy_one(void *ctx, const struct log_record *r) {
    struct copying *c = ctx;
    if (!c->begun) {
        c->begun = true;
        c->first = *r;
        if (r->payload.len > 0)
            buf_put(&c->bytes, r->payload.p, (size_t)r->payload.len);
    }
    c->at = r->zxid;
    if (c->err == 0)
        c->err = rebuild_append(c->m->rebuild, r);
}

static void copy(struct mender *m, const struct update *u, const struct event *cause) {
    struct copying c = {.m = m, .at = u->zxid};
    if (u->first != 0)
        survey_adopt(&m->survey, u->first, u->zxid);
    int n = survey_read(&m->survey, u->zxid, u->ended, COPY_BYTES, copy_one, &c);
    /* What is damaged meanwhile is one hole more. */
    if (n < 0 && n != -EBADMSG)
        stop(m, "the log cannot be read", n);
    else if (c.err < 0)
        stop(m, "the history cannot be written anew", c.err);
    if (m->state == MENDER_GOES_ON) {
        if (c.begun && c.first.payload.len > 0)
            c.first.payload.p = c.bytes.data;
        struct event ev = {
            .type = EV_REBUILD_COPIED, .zxid = c.at, .record = c.begun ? &c.first : NULL};
        feed(m, &ev, cause);
    }
    buf_close(&c.bytes);
}

static void end_snapshot(struct mender *m, const struct event *cause) {
    struct snap_base base = {0};
    int err = rebuild_snapshot_end(m->rebuild, &base);
    if (err < 0 && err != -EBADMSG) {
        stop(m, "a snapshot cannot be written", err);
        return;
    }
    struct event ev = {.type = err == 0 ? EV_SNAP_INSTALLED : EV_SNAP_RESET,
                       .zxid = base.begun,
                       .ended = base.ended};
    feed(m, &ev, cause);
}

static void answer_records(struct mender *m, const struct update *u, const struct event *cause) {
    struct record_list list = {0};
    int n = survey_answer(&m->survey, u->zxid, u->ended, ANSWER_BYTES, record_list_add, &list);
    record_list_end(&list);
    struct event ev = {.type = EV_REPAIR_RANGE,
                       .peer = u->peer,
                       .zxid = u->zxid,
                       .ended = u->ended,
                       .records = list.records,
                       .record_count = n > 0 ? list.count : 0};
    feed(m, &ev, cause);
    record_list_close(&list);
}

static void answer_snapshot(struct mender *m, const struct update *u, const struct event *cause) {
    struct buf bytes = BUF_INIT;
    struct snap_base base = {.begun = u->zxid};
    /* Only one that is known to be whole. */
    bool ours = m->survey.has_base && (u->zxid == 0 || u->zxid == m->survey.base.begun);
    int found =
        ours ? snap_serve(&m->dir, m->survey.base.begun, u->offset, ANSWER_BYTES, &base, &bytes)
             : 0;
    struct event ev =
        outside_snap_range(u->peer, u->offset, &base, found > 0 ? slice_of(&bytes) : SLICE_NULL);
    feed(m, &ev, cause);
    buf_close(&bytes);
}

static void run_job(struct mender *m, const struct update *u, const struct event *cause) {
    switch (u->type) {
    case UPD_REBUILD_COPY:
        copy(m, u, cause);
        break;
    case UPD_SNAP_END:
        end_snapshot(m, cause);
        break;
    case UPD_REPAIR_READ:
        answer_records(m, u, cause);
        break;
    default:
        answer_snapshot(m, u, cause);
        break;
    }
}

enum mender_state mender_step(struct mender *m, const struct event *ev) {
    if (m->state == MENDER_GOES_ON)
        carry_out_all(m, repair_step(m->repair, ev));
    for (int done = 0; m->state == MENDER_GOES_ON && m->first != NULL; done++) {
        if (done == STEP_JOBS) {
            m->env->set_timer(m->env->ctx, ev->mono_ms);
            break;
        }
        struct mender_job *j = m->first;
        m->first = j->next;
        if (m->first == NULL)
            m->last = &m->first;
        run_job(m, &j->update, ev);
        mem_free(j);
    }
    return m->state;
}

void mender_leave(struct mender *m) {
    m->state = MENDER_GOES_ON;
    carry_out_all(m, repair_leave(m->repair));
    m->state = MENDER_DONE;
}

int mender_wipe(const struct member_config *config, const struct env *env, struct buf *ret_why) {
    struct store_dir dir;
    struct rebuild *b = NULL;
    uint64_t salt = 0;
    int fd = -1;
    int err = lock_dir(config, env, &dir, &fd, ret_why);
    if (err < 0)
        return err;
    err = env->random(env->ctx, &salt, sizeof salt);
    if (err == 0)
        err = rebuild_begin(&dir, config->wal.segment_bytes, salt, &b);
    if (err == 0)
        err = rebuild_commit(b, 0, true);
    if (err < 0)
        buf_printf(ret_why, "%s: a history that counts as lost cannot be removed: %s", dir.path,
                   strerror(-err));
    give_reserve_up(&dir, err);
    rebuild_free(b);
    unlock_dir(&dir, fd);
    return err;
}
