#include "replica/member.h"

#include <errno.h>
#include <string.h>

#include "common/blob.h"
#include "common/check.h"
#include "common/mem.h"

#define ADDR_MAX_BYTES 16

/* An event that came while another one's updates were being carried out. */
struct waiting {
    struct waiting *next;
    struct event event;
    struct blob *bytes;
    uint8_t addr[ADDR_MAX_BYTES];
};

struct member {
    const struct env *env;
    struct replica *replica;
    struct wal *wal;
    bool stepping; /* a step's updates are being carried out: another step would take them away */
    bool flushing;
    bool syncing; /* between wal_sync_begin and member_log_synced */
    bool stopped; /* the core asked for the end: nothing more goes in or out */
    struct waiting *first_waiting;
    struct waiting **last_waiting;
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

static void carry_out(struct member *m, const struct update *u) {
    const struct env *env = m->env;
    switch (u->type) {
    case UPD_LOG_APPEND:
        CHECK(m->wal != NULL);
        wal_append(m->wal, &u->record);
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

/* Feeds one event, with the time and what only the shell knows, and after it those that its updates
 * brought about. */
static void feed(struct member *m, struct event *ev) {
    if (m->stopped)
        return;
    ev->mono_ms = m->env->mono_ms(m->env->ctx);
    ev->wall_ms = m->env->wall_ms(m->env->ctx);
    if (m->stepping) {
        set_aside(m, ev);
        return;
    }
    struct process_info info;
    for (struct waiting *w = NULL;;) {
        if (ev->type == EV_CLIENT_WORD) {
            m->env->process_info(m->env->ctx, &info);
            ev->process = &info;
        }
        step(m, ev);
        if (w != NULL)
            waiting_free(w);
        w = m->stopped ? NULL : take_waiting(m);
        if (w == NULL)
            return;
        ev = &w->event;
    }
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

static struct slice slice_of(const struct buf *b) {
    return (struct slice){b->data, (int32_t)b->len};
}

static void note(struct member *m, enum log_level level, const char *text) {
    struct slice s = {(const uint8_t *)text, (int32_t)strlen(text)};
    m->env->note(m->env->ctx, level, s);
}

/* Opens the log and feeds it to the core. */
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
    err = wal_open(m->env->files, &wal, replay, m, &m->wal, &why);
    m->start_why = NULL;
    if (err < 0) {
        buf_put(ret_why, why.data, why.len);
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
    wal_close(m->wal);
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

void member_flush(struct member *m) {
    /* log_sync may end the sync from within; then this loop, not a call in a call, begins the next.
     */
    if (m->flushing)
        return;
    m->flushing = true;
    while (!m->stopped && !m->syncing && wal_pending(m->wal)) {
        m->syncing = true;
        wal_sync_begin(m->wal);
        m->env->log_sync(m->env->ctx);
    }
    m->flushing = false;
}

struct wal *member_wal(struct member *m) {
    return m->wal;
}

void member_log_synced(struct member *m, int result) {
    CHECK(m->syncing);
    m->syncing = false;
    zxid_t zxid = wal_sync_end(m->wal);
    struct event ev = {.type = EV_LOG_SYNCED, .zxid = zxid};
    struct buf why = BUF_INIT;
    if (result < 0) {
        buf_printf(&why, "the log cannot be written: %s", strerror(-result));
        ev = (struct event){.type = EV_DISK_FAILED, .bytes = slice_of(&why)};
    }
    feed(m, &ev);
    buf_close(&why);
    member_flush(m);
}
