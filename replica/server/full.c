#include "replica/server/full.h"

#include "replica/server/forward.h"
#include "replica/server/limits.h"
#include "replica/server/order.h"

static const char *log_dir(const struct replica *r) {
    return r->config.data_log_dir ? r->config.data_log_dir : "";
}

void full_begin(struct replica *r) {
    if (r->full)
        return;
    r->full = true;
    r->full_since_ms = r->mono_ms;
    r->full_retry_ms = r->mono_ms + FULL_RETRY_MS;
    r->full_sessions = 0;
    out_text(&r->out, UPD_NOTE, 0, LOG_WARN,
             "the disk is full: what is to be written waits, reads and sessions go on; make room, "
             "and it goes on by itself log_dir=%s/log",
             log_dir(r));
    zab_full(r->zab, true);
}

void full_end(struct replica *r) {
    if (!r->full)
        return;
    r->full = false;
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
             "the disk has room again: what waited is written log_dir=%s/log full_ms=%lld",
             log_dir(r), (long long)(r->mono_ms - r->full_since_ms));
    zab_full(r->zab, false);
}

static void note_ensemble(struct replica *r) {
    bool lacks = r->leading && r->config.ensemble.count > 1 && zab_lacks_room(r->zab);
    if (lacks == r->full_ensemble)
        return;
    r->full_ensemble = lacks;
    if (lacks)
        out_text(&r->out, UPD_NOTE, 0, LOG_WARN,
                 "too few servers have room on their disks: what clients write waits until a "
                 "quorum has; reads and sessions go on");
    else if (r->leading)
        out_text(&r->out, UPD_NOTE, 0, LOG_INFO, "enough servers have room on their disks again");
}

void full_run(struct replica *r) {
    note_ensemble(r);
    if (!r->full && !full_holds(r))
        r->full_sessions = 0;
    if (!r->full || r->mono_ms < r->full_retry_ms)
        return;
    r->full_retry_ms = r->mono_ms + FULL_RETRY_MS;
    out_job(&r->out, (struct update){.type = UPD_LOG_RETRY});
}

int64_t full_deadline(const struct replica *r) { return r->full ? r->full_retry_ms : INT64_MAX; }

/* Without a quorum that has room nothing could be committed for long, and what was kept for votes
 * would be used up. Where there is one, it gives this leader a successor (zab_full): that one
 * should find the reserve as it is. When nobody has come, it goes on. */
bool full_holds(const struct replica *r) {
    if (!r->leading)
        return false;
    return zab_lacks_room(r->zab) || (r->full && r->mono_ms < r->full_since_ms + FULL_HANDOVER_MS);
}

/* Whether something of its connection, that came before it, is held. */
static bool waits_behind(const struct request *q) {
    const struct request *before = q->conn->first;
    while (before && before != q && before->state != REQUEST_HELD)
        before = before->next;
    return before != q;
}

bool full_admit_session(struct replica *r) {
    if (r->full_sessions >= FULL_SESSIONS_MAX)
        return false;
    r->full_sessions++;
    return true;
}

bool full_admit(struct replica *r, const struct request *q) {
    bool small = q->kind != REQUEST_WRITE || q->opcode == OP_CLOSE_SESSION;
    if (!small || !zab_ready(r->zab) || waits_behind(q))
        return false;
    return q->kind != REQUEST_CONNECT || full_admit_session(r);
}

/* The first of what is held that may go out, or NULL. */
static struct request *find_small(struct replica *r) {
    struct request *q = r->held;
    while (q && !full_admit(r, q))
        q = q->list_next;
    return q;
}

void full_release(struct replica *r) {
    for (struct request *q; !r->stopped && (q = find_small(r));) {
        order_unlist(q);
        if (!forward_send(r, q, (struct slice){q->body, (int32_t)q->body_len})) {
            order_hold_first(r, q);
            return;
        }
        if (q->state == REQUEST_DONE && q->conn->first == q)
            order_drain(r, q->conn);
    }
}

void full_line(const struct replica *r, struct buf *out) {
    if (r->full)
        buf_printf(out, "Disk: full, writes wait for room in %s/log\n", log_dir(r));
    else if (r->full_ensemble)
        buf_printf(out, "Disk: too few servers have room, writes wait\n");
}
