/* How a member begins, and begins anew: from its disk, which may be damaged. */
#include <errno.h>
#include <string.h>

#include "common/blob.h"
#include "common/mem.h"
#include "replica/member_state.h"

/* A start that finds damage again where it was mended does not go on for ever. */
#define MENDED_MAX 3
/* How often a start is tried on a full disk. */
#define ROOM_WAIT_MS 1000

/* Who comes while it waits to start over is turned away: they will come again. */
void member_turn_away(struct member *m, const struct event *ev) {
    static const char text[] = "this server starts over";
    const struct slice why = {(const uint8_t *)text, sizeof text - 1};
    if (ev->type == EV_CLIENT_OPEN)
        m->env->client_close(m->env->ctx, ev->conn, why);
    else if (ev->type == EV_PEER_UP)
        m->env->peer_drop(m->env->ctx, ev->peer, why);
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
    member_step(m, &ev);
}

static void replay_epoch(void *ctx, uint32_t accepted_epoch) {
    struct member *m = ctx;
    struct event ev = {.type = EV_EPOCH,
                       .epoch = accepted_epoch,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    if (accepted_epoch > 0)
        member_step(m, &ev);
}

/* It is whole, and of no use: a repair does without it. */
static void note_refused(struct member *m, zxid_t begun) {
    for (size_t i = 0; i < m->refused_count; i++)
        if (m->refused[i] == begun)
            return;
    m->refused = mem_realloc(m->refused, (m->refused_count + 1) * sizeof *m->refused);
    m->refused[m->refused_count++] = begun;
}

static bool replay_snap_chunk(void *ctx, struct slice piece) {
    struct member *m = ctx;
    struct event ev = {.type = EV_SNAP_CHUNK,
                       .bytes = piece,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    if (!m->stopped)
        member_step(m, &ev);
    return !m->stopped && !m->snap_refused;
}

void member_refuse_taken(struct member *m) { note_refused(m, m->taken); }

static bool replay_snap_end(void *ctx, zxid_t begun, zxid_t ended) {
    struct member *m = ctx;
    struct event ev = {.type = EV_SNAP_END,
                       .zxid = begun,
                       .ended = ended,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    if (!m->stopped)
        member_step(m, &ev);
    bool taken = !m->stopped && !m->snap_refused;
    m->taken = begun;
    if (!taken)
        note_refused(m, begun);
    return taken;
}

static void replay_snap_reset(void *ctx, zxid_t begun) {
    struct member *m = ctx;
    if (m->snap_refused && begun > 0)
        note_refused(m, begun);
    struct event ev = {
        .type = EV_SNAP_RESET, .mono_ms = m->start_mono_ms, .wall_ms = m->start_wall_ms};
    m->snap_refused = false;
    if (!m->stopped)
        member_step(m, &ev);
}

static void replay_older(void *ctx, zxid_t base, const zxid_t *ends, size_t count) {
    struct member *m = ctx;
    struct event ev = {.type = EV_LOG_OLDER,
                       .zxid = base,
                       .epoch_ends = ends,
                       .epoch_end_count = count,
                       .mono_ms = m->start_mono_ms,
                       .wall_ms = m->start_wall_ms};
    if (!m->stopped)
        member_step(m, &ev);
}

static void replay_lossy(void *ctx) {
    struct member *m = ctx;
    struct event ev = {.type = EV_LOSSY, .mono_ms = m->start_mono_ms, .wall_ms = m->start_wall_ms};
    member_step(m, &ev);
}

static void note(struct member *m, enum log_level level, const char *text) {
    struct slice s = {(const uint8_t *)text, (int32_t)strlen(text)};
    m->env->note(m->env->ctx, level, s);
}

/* Opens the store and feeds what it holds to the core. */
static int read_store(struct member *m, struct buf *ret_why) {
    struct wal_config wal = m->config.wal;
    int err = m->env->random(m->env->ctx, &wal.salt, sizeof wal.salt);
    if (err < 0) {
        buf_printf(ret_why, "no random numbers to be had: %s", strerror(-err));
        return err;
    }
    m->start_mono_ms = m->env->mono_ms(m->env->ctx);
    m->start_wall_ms = m->env->wall_ms(m->env->ctx);
    struct buf why = BUF_INIT;
    struct buf stop_why = BUF_INIT;
    m->start_why = &stop_why;
    const struct store_reader reader = {.ctx = m,
                                        .epoch = replay_epoch,
                                        .lossy = replay_lossy,
                                        .snap_chunk = replay_snap_chunk,
                                        .snap_end = replay_snap_end,
                                        .snap_reset = replay_snap_reset,
                                        .older = replay_older,
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
        m->env->note(m->env->ctx, LOG_WARN, member_text(&why));
    }
    buf_close(&why);
    buf_close(&stop_why);
    return err;
}

/* Nothing is left of core, store or mender. */
static void discard(struct member *m) {
    member_forget_waiting(m);
    while (m->first_read != NULL) {
        struct log_read *r = m->first_read;
        m->first_read = r->next;
        mem_free(r);
    }
    m->last_read = &m->first_read;
    mender_free(m->mender);
    store_close(m->store);
    replica_free(m->replica);
    m->mender = NULL;
    m->store = NULL;
    m->replica = NULL;
}

/* The disk is damaged, as ret_why says. 1: others are needed to mend it; 0: what is here is enough,
 * and is in order now; or negative errno, -EBADMSG where one alone lacks something: nothing was
 * changed then, and ret_why is what it was. */
static int mend(struct member *m, struct buf *ret_why) {
    struct buf why_not = BUF_INIT;
    int err = mender_new(&m->config, m->env, m->refused, m->refused_count, &m->mender, &why_not);
    bool alone = !mender_has_others(&m->config);
    if (err == 0 && alone && mender_lacks(m->mender))
        err = -EBADMSG;
    if (err == 0)
        m->env->note(m->env->ctx, LOG_WARN, member_text(ret_why));
    if (err == 0 || why_not.len > 0)
        buf_reset(ret_why);
    buf_put(ret_why, why_not.data, why_not.len);
    buf_close(&why_not);
    if (err < 0)
        return err;
    struct event ev = {.type = EV_START};
    member_stamp(m, &ev);
    m->stepping = true;
    enum mender_state state = mender_step(m->mender, &ev);
    m->stepping = false;
    struct slice why = mender_why(m->mender);
    if (state == MENDER_STOPPED)
        buf_put(ret_why, why.p, (size_t)why.len);
    if (state == MENDER_STOPPED)
        return mender_error(m->mender) < 0 ? mender_error(m->mender) : -EIO;
    return state == MENDER_GOES_ON ? 1 : 0;
}

/* Damage, and not something that this program cannot make sense of. */
static bool may_mend(const struct member *m, int err, size_t refused_before) {
    bool damage = !m->stopped || m->refused_count > refused_before;
    return err == -EBADMSG && damage;
}

static void say_what_to_do(const struct member *m, bool mended, struct buf *ret_why) {
    buf_printf(ret_why,
               "; the log is %s: keep a copy of the directory, then %s; `zkreplica --check %s` "
               "tells more",
               mended ? "written anew, and cannot be read all the same" : "left as it was",
               mender_has_others(&m->config)
                   ? "empty it and let this server come back from the others of its ensemble"
                   : "restore it from a backup",
               m->config.wal.dir);
}

/* Reads the disk, and puts it in order where that is possible here. Then there is a core that waits
 * for EV_START, or a mender. */
static int begin(struct member *m, struct buf *ret_why) {
    int err = -EBADMSG;
    int mended = 0;
    m->lives++;
    for (;; mended++) {
        size_t refused = m->refused_count;
        m->stopped = false;
        m->replica = replica_new(&m->config.replica);
        buf_reset(ret_why);
        err = read_store(m, ret_why);
        if (err == 0)
            return 0;
        if (mended == MENDED_MAX || !may_mend(m, err, refused))
            break;
        discard(m);
        m->stopped = false;
        err = mend(m, ret_why);
        if (err > 0)
            return 0;
        discard(m);
        if (err < 0)
            break;
    }
    if (err == -EBADMSG)
        say_what_to_do(m, mended > 0, ret_why);
    discard(m);
    return err;
}

/* Behind begin: the core, if there is one, goes on its way. */
static void start_core(struct member *m, const uint8_t *random) {
    if (m->replica == NULL)
        return;
    if (m->config.wal.no_sync)
        note(m, LOG_WARN, "forceSync=no: a power cut loses what was acknowledged");
    struct event ev = {.type = EV_START, .random = random};
    member_feed(m, &ev);
    member_feed_full(m);
    /* What the process before left: so that each life leaves no more than the one before it did. */
    if (!m->stopped && !m->over)
        member_purge(m);
}

static int draw_random(struct member *m, uint8_t ret_random[RANDOM_BYTES], struct buf *ret_why) {
    int err = m->env->random(m->env->ctx, ret_random, RANDOM_BYTES);
    if (err < 0)
        buf_printf(ret_why, "no random numbers to be had: %s", strerror(-err));
    return err;
}

int member_start(const struct member_config *config, const struct env *env,
                 struct member **ret_member, struct buf *ret_why) {
    struct member *m = mem_zalloc(sizeof *m);
    m->env = env;
    m->config = *config;
    m->last_waiting = &m->first_waiting;
    m->last_read = &m->first_read;
    uint8_t random[RANDOM_BYTES];
    int err = draw_random(m, random, ret_why);
    if (err == 0)
        err = begin(m, ret_why);
    if (err < 0) {
        member_free(m);
        return err;
    }
    *ret_member = m;
    start_core(m, random);
    return 0;
}

/* Closes what is open, before what is next knows of nothing. */
static void leave(struct member *m) {
    m->left = true;
    if (m->mender != NULL) {
        mender_leave(m->mender);
        return;
    }
    struct updates updates = replica_leave(m->replica);
    for (size_t i = 0; i < updates.count; i++)
        member_carry_out(m, &updates.list[i]);
}

/* A disk that is full may have room again. */
static void wait_for_room(struct member *m, const struct buf *why) {
    struct buf text = BUF_INIT;
    if (!m->waits_for_room) {
        buf_printf(&text,
                   "the disk is full, and starting over needs room: %.*s; make room, it is tried "
                   "again each second",
                   (int)why->len, (const char *)why->data);
        m->env->note(m->env->ctx, LOG_WARN, member_text(&text));
    }
    buf_close(&text);
    m->over = m->left = m->waits_for_room = true;
    m->stopped = false;
    m->env->set_timer(m->env->ctx, m->env->mono_ms(m->env->ctx) + ROOM_WAIT_MS);
}

/* Nothing is left of the life before. */
static int begin_anew(struct member *m, uint8_t ret_random[RANDOM_BYTES], struct buf *ret_why) {
    m->over = m->left = m->full = m->snap_refused = false;
    int err = m->distrust ? mender_wipe(&m->config, m->env, ret_why) : 0;
    if (err == 0) {
        m->distrust = false;
        err = draw_random(m, ret_random, ret_why);
    }
    return err < 0 ? err : begin(m, ret_why);
}

/* Starts over from the disk, as soon as nothing is written any more. */
void member_go_over(struct member *m) {
    if (m->stopped)
        return;
    if (!m->left)
        leave(m);
    if (m->syncing || m->checkpointing)
        return;
    uint8_t random[RANDOM_BYTES];
    struct buf why = BUF_INIT;
    /* A repair is no tree that was found to be wrong. */
    if (m->replica != NULL)
        m->config.replica.start_overs++;
    /* One that met a full disk a moment ago. */
    int err = m->mender != NULL ? mender_error(m->mender) : 0;
    if (err < 0)
        buf_put(&why, mender_why(m->mender).p, (size_t)mender_why(m->mender).len);
    discard(m);
    if (err == 0)
        err = begin_anew(m, random, &why);
    if (store_is_full(err)) {
        wait_for_room(m, &why);
    } else if (err < 0) {
        m->waits_for_room = false;
        member_stop(m, member_text(&why));
    } else {
        m->waits_for_room = false;
        start_core(m, random);
    }
    buf_close(&why);
}

void member_free(struct member *m) {
    if (m == NULL)
        return;
    discard(m);
    buf_close(&m->snap_why);
    mem_free(m->refused);
    mem_free(m);
}
