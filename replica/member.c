#include "replica/member_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/blob.h"
#include "common/check.h"
#include "common/mem.h"
#include "replica/outside.h"
#include "replica/record_list.h"
#include "replica/server/limits.h"
#include "replica/store/snap_serve.h"

/* One read of the log for a peer: a bound on how long the loop is held up. */
#define READ_BYTES (256u << 10)

void member_stop(struct member *m, struct slice why) {
    m->stopped = true;
    if (m->start_why != NULL)
        buf_put(m->start_why, why.p, why.len > 0 ? (size_t)why.len : 0);
    else
        m->env->stop(m->env->ctx, why);
}

/* Carried out after the step, so that the answer comes by a later one. */
static void want_read(struct member *m, const struct update *u) {
    struct log_read *r = mem_zalloc(sizeof *r);
    r->type = u->type;
    r->peer = u->peer;
    r->after = u->zxid;
    r->until = u->ended;
    r->offset = u->offset;
    *m->last_read = r;
    m->last_read = &r->next;
}

/* What goes to the disk. While that is read, the core only listens. */
static void carry_out_disk(struct member *m, const struct update *u) {
    CHECK(m->store != NULL);
    switch (u->type) {
    case UPD_LOG_APPEND:
        store_append(m->store, &u->record);
        break;
    case UPD_LOG_TRUNCATE:
        store_truncate(m->store, u->zxid);
        break;
    case UPD_LOG_READ:
    case UPD_REPAIR_READ:
    case UPD_SNAP_READ:
        want_read(m, u);
        break;
    case UPD_SAVE_EPOCH:
        store_save_epoch(m->store, u->epoch);
        break;
    case UPD_SNAP_BEGIN:
        store_snap_begin(m->store);
        break;
    case UPD_SNAP_CHUNK:
        store_snap_chunk(m->store, u->bytes);
        break;
    case UPD_SNAP_END:
        store_snap_end(m->store, u->zxid, u->ended);
        break;
    case UPD_SNAP_ABANDON:
        store_snap_abandon(m->store);
        break;
    case UPD_CHECKPOINT_BEGIN:
        store_checkpoint_begin(m->store);
        break;
    case UPD_CHECKPOINT_CHUNK:
        store_checkpoint_chunk(m->store, u->bytes);
        break;
    case UPD_CHECKPOINT_END:
        store_checkpoint_end(m->store, u->zxid);
        break;
    case UPD_CHECKPOINT_ABANDON:
        store_checkpoint_abandon(m->store);
        break;
    case UPD_SAVE_WHOLE:
        store_save_whole(m->store);
        break;
    case UPD_LOG_RETRY:
        store_retry(m->store);
        break;
    default:
        CHECK(false); /* of a repair, and of no core */
    }
}

/* Its memory may be wrong, or its disk: it leaves the ensemble and begins anew. Alone it has nobody
 * to come back from when its disk is wrong. While that is read it is the snapshot that the log does
 * not fit behind: it counts as refused, and what it stood for as lost. */
static void begin_over(struct member *m, const struct update *u) {
    if (m->start_why != NULL && u->distrust)
        member_refuse_taken(m);
    if (m->start_why != NULL || (u->distrust && !mender_has_others(&m->config))) {
        member_stop(m, u->bytes);
        return;
    }
    m->env->note(m->env->ctx, LOG_ERROR, u->bytes);
    m->over = true;
    m->distrust = u->distrust;
}

void member_carry_out(struct member *m, const struct update *u) {
    if (outside_carry_out(m->env, u))
        return;
    switch (u->type) {
    case UPD_SNAP_REFUSED:
        m->snap_refused = true;
        buf_reset(&m->snap_why);
        buf_put(&m->snap_why, u->bytes.p, u->bytes.len > 0 ? (size_t)u->bytes.len : 0);
        break;
    case UPD_STOP:
        member_stop(m, u->bytes);
        break;
    case UPD_START_OVER:
        begin_over(m, u);
        break;
    default:
        carry_out_disk(m, u);
    }
}

static void carry_out_all(struct member *m, struct updates updates) {
    for (size_t i = 0; i < updates.count && !m->stopped && !m->over; i++)
        member_carry_out(m, &updates.list[i]);
}

static void step_mender(struct member *m, const struct event *ev) {
    enum mender_state state = mender_step(m->mender, ev);
    bool full = state == MENDER_STOPPED && store_is_full(mender_error(m->mender));
    m->over = state == MENDER_DONE || full;
    if (state == MENDER_STOPPED && !full)
        member_stop(m, mender_why(m->mender));
}

void member_step(struct member *m, const struct event *ev) {
    m->stepping = true;
    if (m->mender != NULL)
        step_mender(m, ev);
    else
        carry_out_all(m, replica_step(m->replica, ev));
    m->stepping = false;
}

static void set_aside(struct member *m, const struct event *ev) {
    struct waiting *w = mem_zalloc(sizeof *w);
    w->event = *ev;
    w->bytes = blob_from_slice(ev->bytes);
    w->event.bytes = blob_slice(w->bytes);
    if (ev->addr.len > 0) {
        CHECK(ev->addr.len <= ADDR_MAX_BYTES);
        memcpy(w->addr, ev->addr.p, (size_t)ev->addr.len);
        w->event.addr.p = w->addr;
    }
    *m->last_waiting = w;
    m->last_waiting = &w->next;
}

static struct waiting *take_waiting(struct member *m) {
    struct waiting *w = m->first_waiting;
    if (w == NULL)
        return NULL;
    m->first_waiting = w->next;
    if (m->first_waiting == NULL)
        m->last_waiting = &m->first_waiting;
    return w;
}

static void waiting_free(struct waiting *w) {
    blob_unref(w->bytes);
    mem_free(w);
}

void member_forget_waiting(struct member *m) {
    for (struct waiting *w = take_waiting(m); w != NULL; w = take_waiting(m)) {
        if (m->over)
            member_turn_away(m, &w->event);
        waiting_free(w);
    }
}

void member_stamp(struct member *m, struct event *ev) {
    ev->mono_ms = m->env->mono_ms(m->env->ctx);
    ev->wall_ms = m->env->wall_ms(m->env->ctx);
}

/* ---- reads of the log ---- */

static void step_failed_read(struct member *m, const struct log_read *r, int err) {
    struct buf why = BUF_INIT;
    if (err == -EBADMSG)
        buf_printf(&why,
                   "a record behind 0x%" PRIx64 " cannot be read back from the log: it is damaged",
                   (uint64_t)r->after);
    else
        buf_printf(&why, "the log cannot be read behind 0x%" PRIx64 ": %s", (uint64_t)r->after,
                   strerror(-err));
    struct event ev = {.type = EV_DISK_FAILED, .bytes = member_text(&why)};
    member_stamp(m, &ev);
    member_step(m, &ev);
    buf_close(&why);
}

static void answer_snap_read(struct member *m, const struct log_read *r) {
    struct buf bytes = BUF_INIT;
    struct snap_base base = {.begun = r->after};
    int found = store_snapshot_read(m->store, r->after, r->offset, READ_BYTES, &base, &bytes);
    struct event ev =
        outside_snap_range(r->peer, r->offset, &base, found > 0 ? member_text(&bytes) : SLICE_NULL);
    member_stamp(m, &ev);
    member_step(m, &ev);
    buf_close(&bytes);
}

/* Answers the oldest read. False when what it asks for is not durable yet: it waits for a sync. */
static bool answer_read(struct member *m, struct log_read *r) {
    if (r->type == UPD_SNAP_READ) {
        answer_snap_read(m, r);
        return true;
    }
    struct record_list list = {0};
    bool repair = r->type == UPD_REPAIR_READ;
    size_t max_bytes = r->peer == 0 ? CHECKPOINT_PIECE_BYTES : READ_BYTES;
    int n = store_read(m->store, r->after, max_bytes, record_list_add, &list);
    /* Who is being repaired asks again. */
    bool later =
        n == 0 && !repair && (m->syncing || store_pending(m->store) || store_held_up(m->store));
    if (n >= 0 || n == -ENOENT) {
        record_list_end(&list);
        struct event ev = {.type = repair ? EV_REPAIR_RANGE : EV_LOG_RANGE,
                           .peer = r->peer,
                           .zxid = r->after,
                           .ended = r->until,
                           .count = n == -ENOENT,
                           .records = list.records,
                           .record_count = n > 0 ? list.count : 0};
        member_stamp(m, &ev);
        if (!later)
            member_step(m, &ev);
    } else {
        step_failed_read(m, r, n);
    }
    record_list_close(&list);
    return !later;
}

/* Takes out the read that *at points to, and answers it; where it has to wait, it stays. Returns
 * where to look next. */
static struct log_read **next_read(struct member *m, struct log_read **at) {
    struct log_read *r = *at;
    if (!answer_read(m, r))
        return &r->next;
    *at = r->next;
    if (m->last_read == &r->next)
        m->last_read = at;
    mem_free(r);
    return at;
}

/* ---- feeding ---- */

static void step_waiting(struct member *m) {
    struct process_info info;
    for (struct waiting *w = take_waiting(m); w != NULL;
         w = m->stopped || m->over ? NULL : take_waiting(m)) {
        if (w->event.type == EV_CLIENT_WORD) {
            m->env->process_info(m->env->ctx, &info);
            w->event.process = &info;
        }
        member_step(m, &w->event);
        waiting_free(w);
    }
}

/* Answers the reads that can be answered, and what comes of them. */
static void answer_reads(struct member *m) {
    for (struct log_read **at = &m->first_read; !m->stopped && !m->over && *at != NULL;) {
        at = next_read(m, at);
        if (!m->stopped && !m->over && m->first_waiting != NULL)
            step_waiting(m);
    }
}

void member_feed(struct member *m, struct event *ev) {
    if (m->stopped)
        return;
    if (m->over) {
        member_turn_away(m, ev);
        return;
    }
    member_stamp(m, ev);
    if (m->stepping) {
        set_aside(m, ev);
        return;
    }
    struct process_info info;
    if (ev->type == EV_CLIENT_WORD) {
        m->env->process_info(m->env->ctx, &info);
        ev->process = &info;
    }
    member_step(m, ev);
    ev->process = NULL;
    if (!m->stopped && !m->over && m->first_waiting != NULL)
        step_waiting(m);
    if (m->first_read != NULL)
        answer_reads(m);
    if (m->over && !m->stopped)
        member_go_over(m);
}

void member_tick(struct member *m) {
    struct event ev = {.type = EV_TICK};
    if (m->waits_for_room)
        member_go_over(m);
    else
        member_feed(m, &ev);
}

void member_client_open(struct member *m, conn_id_t conn, struct slice addr, uint16_t port) {
    struct event ev = {.type = EV_CLIENT_OPEN, .conn = conn, .addr = addr, .port = port};
    member_feed(m, &ev);
}

void member_client_frame(struct member *m, conn_id_t conn, struct slice frame) {
    struct event ev = {.type = EV_CLIENT_FRAME, .conn = conn, .bytes = frame};
    member_feed(m, &ev);
}

void member_client_word(struct member *m, conn_id_t conn, struct slice word) {
    struct event ev = {.type = EV_CLIENT_WORD, .conn = conn, .bytes = word};
    member_feed(m, &ev);
}

void member_client_closed(struct member *m, conn_id_t conn) {
    struct event ev = {.type = EV_CLIENT_CLOSED, .conn = conn};
    member_feed(m, &ev);
}

void member_peer_up(struct member *m, uint8_t peer) {
    struct event ev = {.type = EV_PEER_UP, .peer = peer};
    member_feed(m, &ev);
}

void member_peer_message(struct member *m, uint8_t peer, struct slice message) {
    struct event ev = {.type = EV_PEER_MESSAGE, .peer = peer, .bytes = message};
    member_feed(m, &ev);
}

void member_peer_down(struct member *m, uint8_t peer) {
    struct event ev = {.type = EV_PEER_DOWN, .peer = peer};
    member_feed(m, &ev);
}

static bool may_sync(const struct member *m) {
    return !m->stopped && !m->over && !m->syncing && m->store != NULL && store_pending(m->store);
}

static void begin_sync(struct member *m) {
    m->syncing = true;
    store_sync_begin(m->store);
    m->env->log_sync(m->env->ctx);
}

static bool may_checkpoint(const struct member *m) {
    return !m->stopped && !m->over && !m->checkpointing && m->store != NULL &&
           store_checkpoint_pending(m->store);
}

static void begin_checkpoint(struct member *m) {
    m->checkpointing = true;
    store_checkpoint_start(m->store);
    m->env->checkpoint_run(m->env->ctx);
}

void member_flush(struct member *m) {
    /* log_sync may end the sync from within; then this loop, not a call in a call, begins the next.
     */
    if (m->flushing)
        return;
    m->flushing = true;
    while (may_sync(m) || may_checkpoint(m)) {
        if (may_sync(m))
            begin_sync(m);
        if (may_checkpoint(m))
            begin_checkpoint(m);
    }
    m->flushing = false;
}

struct store *member_store(struct member *m) {
    return m->store;
}

/* The answers of the disk, in the order in which the core may ask: a promise comes before what is
 * appended in its epoch, and nothing is appended while a cut or a snapshot is on its way. They are
 * for this core only, not for one that begins in between. */
static void feed_done(struct member *m, const struct store_done *done) {
    struct event list[4];
    size_t count = 0;
    if (done->epoch > 0)
        list[count++] = (struct event){.type = EV_EPOCH_SAVED, .epoch = done->epoch};
    if (done->appended)
        list[count++] = (struct event){.type = EV_LOG_SYNCED, .zxid = done->log_zxid};
    if (done->truncated)
        list[count++] = (struct event){.type = EV_LOG_TRUNCATED};
    if (done->installed)
        list[count++] = (struct event){.type = EV_SNAP_INSTALLED};
    uint64_t life = m->lives;
    for (size_t i = 0; i < count && m->lives == life; i++)
        member_feed(m, &list[i]);
}

/* It waited for this to start over: what was done is for nobody any more; but a disk that failed is
 * not to be trusted (Z7). */
static void ran_over(struct member *m, const char *what, int result) {
    struct buf why = BUF_INIT;
    if (result < 0) {
        buf_printf(&why, "%s: %s", what, strerror(-result));
        member_stop(m, member_text(&why));
    } else {
        member_go_over(m);
    }
    buf_close(&why);
}

void member_feed_full(struct member *m) {
    bool full = m->store != NULL && store_full(m->store);
    if (m->full == full)
        return;
    m->full = full;
    struct event ev = {.type = full ? EV_DISK_FULL : EV_DISK_ROOM};
    member_feed(m, &ev);
}

void member_purge(struct member *m) {
    zxid_t base = 0;
    if (m->store == NULL || !store_purge(m->store, &base))
        return;
    struct event ev = {.type = EV_LOG_PURGED, .zxid = base};
    member_feed(m, &ev);
}

static void feed_disk_failed(struct member *m, const char *what, int err) {
    struct buf why = BUF_INIT;
    buf_printf(&why, "%s: %s", what, strerror(-err));
    struct event ev = {.type = EV_DISK_FAILED, .bytes = member_text(&why)};
    member_feed(m, &ev);
    buf_close(&why);
}

/* A full disk costs the snapshot; anything else says that the disk is not to be trusted (Z7). */
static void feed_checkpoint_failed(struct member *m, int err) {
    if (!store_is_full(err)) {
        feed_disk_failed(m, "a snapshot cannot be written", err);
        return;
    }
    const char *why = strerror(-err);
    struct event ev = {.type = EV_CHECKPOINT_FAILED,
                       .bytes = {(const uint8_t *)why, (int32_t)strlen(why)}};
    member_feed(m, &ev);
}

void member_checkpoint_ran(struct member *m) {
    CHECK(m->checkpointing);
    m->checkpointing = false;
    struct store_checkpoint_done done;
    store_checkpoint_end_run(m->store, &done);
    if (m->over) {
        ran_over(m, "a snapshot cannot be written", store_is_full(done.err) ? 0 : done.err);
        member_flush(m);
        return;
    }
    uint64_t life = m->lives;
    if (done.written > 0) {
        struct event ev = {.type = EV_CHECKPOINT_WRITTEN, .count = done.written};
        member_feed(m, &ev);
    }
    if (done.saved_zxid > 0 && m->lives == life) {
        struct event ev = {
            .type = EV_CHECKPOINT_SAVED, .zxid = done.saved_zxid, .size_bytes = done.saved_bytes};
        member_feed(m, &ev);
    }
    if (done.err < 0 && m->lives == life)
        feed_checkpoint_failed(m, done.err);
    if (m->lives == life)
        member_purge(m);
    member_flush(m);
}

void member_log_synced(struct member *m, int result) {
    CHECK(m->syncing);
    m->syncing = false;
    struct store_done done;
    store_sync_end(m->store, &done);
    if (m->over) {
        ran_over(m, "the log cannot be written", result);
    } else if (result < 0) {
        feed_disk_failed(m, "the log cannot be written", result);
    } else {
        /* Full before what was done, so that this does not bring more; room behind it. */
        if (store_full(m->store))
            member_feed_full(m);
        feed_done(m, &done);
        member_feed_full(m);
        member_purge(m);
        if (!m->stepping)
            answer_reads(m);
        if (m->over && !m->stepping && !m->waits_for_room)
            member_go_over(m);
    }
    member_flush(m);
}
