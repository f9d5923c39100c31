#include "replica/member.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/blob.h"
#include "common/check.h"
#include "common/mem.h"

#define ADDR_MAX_BYTES 16
/* One read of the log for a peer: a bound on how long the loop is held up. */
#define READ_BYTES (256u << 10)

static struct slice slice_of(const struct buf *b) {
    return (struct slice){b->data, (int32_t)b->len};
}

/* An event that came while another one's updates were being carried out. */
struct waiting {
    struct waiting *next;
    struct event event;
    struct blob *bytes;
    uint8_t addr[ADDR_MAX_BYTES];
};

/* A read of the log that a peer needs, until it is answered. */
struct log_read {
    struct log_read *next;
    uint8_t peer;
    zxid_t after;
};

struct member {
    const struct env *env;
    struct replica *replica;
    struct store *store;
    bool stepping; /* a step's updates are being carried out: another step would take them away */
    bool flushing;
    bool syncing; /* between store_sync_begin and member_log_synced */
    bool stopped; /* the core asked for the end: nothing more goes in or out */
    struct waiting *first_waiting;
    struct waiting **last_waiting;
    struct log_read *first_read; /* in the order in which they were asked for */
    struct log_read **last_read;
    int64_t start_mono_ms, start_wall_ms; /* asked once: the clock is dearer than a record */
    struct buf *start_why;                /* while the log is read: where a stop says why */
};

static void stop(struct member *m, struct slice why) {
    m->stopped = true;
    if (m->start_why != NULL)
        buf_put(m->start_why, why.p, why.len > 0 ? (size_t)why.len : 0);
    else
        m->env->stop(m->env->ctx, why);
}

/* Carried out after the step, so that the answer comes by a later one. */
static void want_read(struct member *m, const struct update *u) {
    struct log_read *r = mem_zalloc(sizeof *r);
    r->peer = u->peer;
    r->after = u->zxid;
    *m->last_read = r;
    m->last_read = &r->next;
}

/* What goes to the disk. False when the update is of another kind. */
static bool carry_out_disk(struct member *m, const struct update *u) {
    switch (u->type) {
    case UPD_LOG_APPEND:
        store_append(m->store, &u->record);
        return true;
    case UPD_LOG_TRUNCATE:
        store_truncate(m->store, u->zxid);
        return true;
    case UPD_LOG_READ:
        want_read(m, u);
        return true;
    case UPD_SAVE_EPOCH:
        store_save_epoch(m->store, u->epoch);
        return true;
    case UPD_SNAP_BEGIN:
        store_snap_begin(m->store);
        return true;
    case UPD_SNAP_CHUNK:
        store_snap_chunk(m->store, u->bytes);
        return true;
    case UPD_SNAP_END:
        store_snap_end(m->store, u->zxid, u->ended);
        return true;
    case UPD_SNAP_ABANDON:
        store_snap_abandon(m->store);
        return true;
    default:
        return false;
    }
}

static void carry_out(struct member *m, const struct update *u) {
    const struct env *env = m->env;
    switch (u->type) {
    case UPD_LOG_APPEND:
    case UPD_LOG_TRUNCATE:
    case UPD_LOG_READ:
    case UPD_SAVE_EPOCH:
    case UPD_SNAP_BEGIN:
    case UPD_SNAP_CHUNK:
    case UPD_SNAP_END:
    case UPD_SNAP_ABANDON:
        /* While the disk is read the core only listens. */
        CHECK(m->store != NULL);
        carry_out_disk(m, u);
        break;
    case UPD_PEER_SEND:
        env->peer_send(env->ctx, u->peer, u->bytes);
        break;
    case UPD_PEER_DROP:
        env->peer_drop(env->ctx, u->peer, u->bytes);
        break;
    case UPD_SEND:
        env->client_send(env->ctx, u->conn, u->bytes);
        break;
    case UPD_CLOSE:
        env->client_close(env->ctx, u->conn, u->bytes);
        break;
    case UPD_PAUSE:
        env->client_pause(env->ctx, u->conn, true);
        break;
    case UPD_RESUME:
        env->client_pause(env->ctx, u->conn, false);
        break;
    case UPD_DEADLINE:
        env->set_timer(env->ctx, u->mono_ms);
        break;
    case UPD_NOTE:
        env->note(env->ctx, u->level, u->bytes);
        break;
    case UPD_STOP:
        stop(m, u->bytes);
        break;
    }
}

static void step(struct member *m, const struct event *ev) {
    m->stepping = true;
    struct updates updates = replica_step(m->replica, ev);
    for (size_t i = 0; i < updates.count && !m->stopped; i++)
        carry_out(m, &updates.list[i]);
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

static void stamp(struct member *m, struct event *ev) {
    ev->mono_ms = m->env->mono_ms(m->env->ctx);
    ev->wall_ms = m->env->wall_ms(m->env->ctx);
}

/* ---- reads of the log ---- */

/* The records of one range: the store lends each for a call, the core gets all of them at once. */
struct range {
    struct log_record *records;
    size_t count, cap;
    struct buf bytes;
};

static void range_add(void *ctx, const struct log_record *r) {
    struct range *range = ctx;
    if (range->count == range->cap) {
        range->cap = range->cap == 0 ? 64 : range->cap * 2;
        range->records = mem_realloc(range->records, range->cap * sizeof *range->records);
    }
    range->records[range->count++] = *r;
    if (r->payload.len > 0)
        buf_put(&range->bytes, r->payload.p, (size_t)r->payload.len);
}

/* The payloads have moved with their buffer. */
static void range_end(struct range *range) {
    size_t at = 0;
    for (size_t i = 0; i < range->count; i++) {
        struct slice *payload = &range->records[i].payload;
        if (payload->len <= 0)
            continue;
        payload->p = range->bytes.data + at;
        at += (size_t)payload->len;
    }
}

static void step_failed_read(struct member *m, const struct log_read *r, int err) {
    struct buf why = BUF_INIT;
    if (err == -EBADMSG)
        buf_printf(&why,
                   "a record behind 0x%" PRIx64 " cannot be read back from the log: it is damaged",
                   (uint64_t)r->after);
    else
        buf_printf(&why, "the log cannot be read behind 0x%" PRIx64 ": %s", (uint64_t)r->after,
                   strerror(-err));
    struct event ev = {.type = EV_DISK_FAILED, .bytes = slice_of(&why)};
    stamp(m, &ev);
    step(m, &ev);
    buf_close(&why);
}

/* Answers the oldest read. False when what it asks for is not durable yet: it waits for a sync. */
static bool answer_read(struct member *m, struct log_read *r) {
    struct range range = {0};
    int n = store_read(m->store, r->after, READ_BYTES, range_add, &range);
    bool later = n == 0 && (m->syncing || store_pending(m->store));
    if (n >= 0 || n == -ENOENT) {
        range_end(&range);
        struct event ev = {.type = EV_LOG_RANGE,
                           .peer = r->peer,
                           .zxid = r->after,
                           .records = range.records,
                           .record_count = n > 0 ? range.count : 0};
        stamp(m, &ev);
        if (!later)
            step(m, &ev);
    } else {
        step_failed_read(m, r, n);
    }
    mem_free(range.records);
    buf_close(&range.bytes);
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
    for (struct waiting *w = take_waiting(m); w != NULL; w = m->stopped ? NULL : take_waiting(m)) {
        if (w->event.type == EV_CLIENT_WORD) {
            m->env->process_info(m->env->ctx, &info);
            w->event.process = &info;
        }
        step(m, &w->event);
        waiting_free(w);
    }
}

/* Answers the reads that can be answered, and what comes of them. */
static void answer_reads(struct member *m) {
    for (struct log_read **at = &m->first_read; !m->stopped && *at != NULL;) {
        at = next_read(m, at);
        if (!m->stopped && m->first_waiting != NULL)
            step_waiting(m);
    }
}

/* Feeds one event, with the time and what only the shell knows, and after it those that its updates
 * brought about. */
static void feed(struct member *m, struct event *ev) {
    if (m->stopped)
        return;
    stamp(m, ev);
    if (m->stepping) {
        set_aside(m, ev);
        return;
    }
    struct process_info info;
    if (ev->type == EV_CLIENT_WORD) {
        m->env->process_info(m->env->ctx, &info);
        ev->process = &info;
    }
    step(m, ev);
    ev->process = NULL;
    if (!m->stopped && m->first_waiting != NULL)
        step_waiting(m);
    if (m->first_read != NULL)
        answer_reads(m);
}

static void replay(void *ctx, const struct log_record *r) {
    struct member *m = ctx;
    if (m->stopped)
        return;
    struct event ev = {.type = EV_LOG_RECORD,
                       .record = r,
                       .zxid = r->zxid,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    step(m, &ev);
}

static void replay_epoch(void *ctx, uint32_t accepted_epoch) {
    struct member *m = ctx;
    struct event ev = {.type = EV_EPOCH,
                       .epoch = accepted_epoch,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    if (accepted_epoch > 0)
        step(m, &ev);
}

static bool replay_snap_chunk(void *ctx, struct slice piece) {
    struct member *m = ctx;
    struct event ev = {.type = EV_SNAP_CHUNK,
                       .bytes = piece,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    if (!m->stopped)
        step(m, &ev);
    return !m->stopped;
}

static bool replay_snap_end(void *ctx, zxid_t begun, zxid_t ended) {
    struct member *m = ctx;
    struct event ev = {.type = EV_SNAP_END,
                       .zxid = begun,
                       .ended = ended,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    if (!m->stopped)
        step(m, &ev);
    return !m->stopped;
}

static void note(struct member *m, enum log_level level, const char *text) {
    struct slice s = {(const uint8_t *)text, (int32_t)strlen(text)};
    m->env->note(m->env->ctx, level, s);
}

/* Opens the store and feeds what it holds to the core. */
static int recover(struct member *m, const struct member_config *config, struct buf *ret_why) {
    struct wal_config wal = config->wal;
    uint64_t salt = 0;
    int err = m->env->random(m->env->ctx, &salt, sizeof salt);
    if (err < 0) {
        buf_printf(ret_why, "no random numbers to be had: %s", strerror(-err));
        return err;
    }
    wal.salt = salt;
    m->start_mono_ms = m->env->mono_ms(m->env->ctx);
    m->start_wall_ms = m->env->wall_ms(m->env->ctx);
    struct buf why = BUF_INIT;
    struct buf stop_why = BUF_INIT;
    m->start_why = &stop_why;
    const struct store_reader reader = {.ctx = m,
                                        .epoch = replay_epoch,
                                        .snap_chunk = replay_snap_chunk,
                                        .snap_end = replay_snap_end,
                                        .record = replay};
    err = store_open(m->env->files, &wal, &reader, &m->store, &why);
    m->start_why = NULL;
    if (err < 0) {
        buf_put(ret_why, why.data, why.len);
        if (stop_why.len > 0)
            buf_printf(ret_why, ": %.*s", (int)stop_why.len, (const char *)stop_why.data);
    } else if (m->stopped) {
        err = -EBADMSG;
        buf_printf(ret_why, "%s: the log cannot be applied: %.*s", wal.dir, (int)stop_why.len,
                   (const char *)stop_why.data);
    } else if (why.len > 0) {
        m->env->note(m->env->ctx, LOG_WARN, slice_of(&why));
    }
    buf_close(&why);
    buf_close(&stop_why);
    return err;
}

int member_start(const struct member_config *config, const struct env *env,
                 struct member **ret_member, struct buf *ret_why) {
    struct member *m = mem_zalloc(sizeof *m);
    m->env = env;
    m->last_waiting = &m->first_waiting;
    m->last_read = &m->first_read;
    m->replica = replica_new(&config->replica);
    uint8_t random[RANDOM_BYTES];
    int err = env->random(env->ctx, random, sizeof random);
    if (err < 0)
        buf_printf(ret_why, "no random numbers to be had: %s", strerror(-err));
    if (err == 0)
        err = recover(m, config, ret_why);
    if (err < 0) {
        member_free(m);
        return err;
    }
    if (config->wal.no_sync)
        note(m, LOG_WARN, "forceSync=no: a power cut loses what was acknowledged");
    *ret_member = m;
    struct event ev = {.type = EV_START, .random = random};
    feed(m, &ev);
    return 0;
}

void member_free(struct member *m) {
    if (m == NULL)
        return;
    for (struct waiting *w = take_waiting(m); w != NULL; w = take_waiting(m))
        waiting_free(w);
    while (m->first_read != NULL) {
        struct log_read *r = m->first_read;
        m->first_read = r->next;
        mem_free(r);
    }
    store_close(m->store);
    replica_free(m->replica);
    mem_free(m);
}

void member_tick(struct member *m) {
    struct event ev = {.type = EV_TICK};
    feed(m, &ev);
}

void member_client_open(struct member *m, conn_id_t conn, struct slice addr, uint16_t port) {
    struct event ev = {.type = EV_CLIENT_OPEN, .conn = conn, .addr = addr, .port = port};
    feed(m, &ev);
}

void member_client_frame(struct member *m, conn_id_t conn, struct slice frame) {
    struct event ev = {.type = EV_CLIENT_FRAME, .conn = conn, .bytes = frame};
    feed(m, &ev);
}

void member_client_word(struct member *m, conn_id_t conn, struct slice word) {
    struct event ev = {.type = EV_CLIENT_WORD, .conn = conn, .bytes = word};
    feed(m, &ev);
}

void member_client_closed(struct member *m, conn_id_t conn) {
    struct event ev = {.type = EV_CLIENT_CLOSED, .conn = conn};
    feed(m, &ev);
}

void member_peer_up(struct member *m, uint8_t peer) {
    struct event ev = {.type = EV_PEER_UP, .peer = peer};
    feed(m, &ev);
}

void member_peer_message(struct member *m, uint8_t peer, struct slice message) {
    struct event ev = {.type = EV_PEER_MESSAGE, .peer = peer, .bytes = message};
    feed(m, &ev);
}

void member_peer_down(struct member *m, uint8_t peer) {
    struct event ev = {.type = EV_PEER_DOWN, .peer = peer};
    feed(m, &ev);
}

void member_flush(struct member *m) {
    /* log_sync may end the sync from within; then this loop, not a call in a call, begins the next.
     */
    if (m->flushing)
        return;
    m->flushing = true;
    while (!m->stopped && !m->syncing && store_pending(m->store)) {
        m->syncing = true;
        store_sync_begin(m->store);
        m->env->log_sync(m->env->ctx);
    }
    m->flushing = false;
}

struct store *member_store(struct member *m) {
    return m->store;
}

/* The answers of the disk, in the order in which the core may ask: a promise comes before what is
 * appended in its epoch, and nothing is appended while a cut or a snapshot is on its way. */
static void feed_done(struct member *m, const struct store_done *done) {
    if (done->epoch > 0) {
        struct event ev = {.type = EV_EPOCH_SAVED, .epoch = done->epoch};
        feed(m, &ev);
    }
    if (done->appended) {
        struct event ev = {.type = EV_LOG_SYNCED, .zxid = done->log_zxid};
        feed(m, &ev);
    }
    if (done->truncated) {
        struct event ev = {.type = EV_LOG_TRUNCATED};
        feed(m, &ev);
    }
    if (done->installed) {
        struct event ev = {.type = EV_SNAP_INSTALLED};
        feed(m, &ev);
    }
}

void member_log_synced(struct member *m, int result) {
    CHECK(m->syncing);
    m->syncing = false;
    struct store_done done;
    store_sync_end(m->store, &done);
    if (result < 0) {
        struct buf why = BUF_INIT;
        buf_printf(&why, "the log cannot be written: %s", strerror(-result));
        struct event ev = {.type = EV_DISK_FAILED, .bytes = slice_of(&why)};
        feed(m, &ev);
        buf_close(&why);
    } else {
        feed_done(m, &done);
        if (!m->stepping)
            answer_reads(m);
    }
    member_flush(m);
}
