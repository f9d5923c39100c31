#include "replica/server/session.h"

#include "common/check.h"
#include "replica/server/list.h"

/* Later than its deadline by more than this, a tick means that the process stood still. A busy loop
 * is late by milliseconds; half a tick is far above that and still below any session's timeout. */
static int64_t late_limit_ms(const struct sessions *ss) { return ss->tick_ms / 2; }

void expiry_clock(struct sessions *ss, int64_t mono_ms, int64_t deadline_ms) {
    int64_t now = mono_ms - ss->stalled_ms;
    if (now <= ss->clock_ms)
        return;
    bool late = deadline_ms != INT64_MAX && mono_ms - deadline_ms > late_limit_ms(ss);
    if (!late) {
        ss->clock_ms = now;
        return;
    }
    /* When it stopped, nobody knows: none of the time since the last event counts. */
    ss->stalled_ms += now - ss->clock_ms;
    ss->ring_changed = true;
}

/* The end of the tick that t is in (ExpiryQueue.roundToNextInterval). */
static int64_t tick_end(const struct sessions *ss, int64_t t) {
    return (t / ss->tick_ms + 1) * ss->tick_ms;
}

static int32_t slot_of(const struct sessions *ss, int64_t t) {
    return (int32_t)(t / ss->tick_ms % EXPIRY_SLOTS);
}

static void ring_put(struct sessions *ss, struct session *s) {
    int64_t furthest = ss->ring_ms + (int64_t)(EXPIRY_SLOTS - 1) * ss->tick_ms;
    int64_t t = s->expires_ms < furthest ? s->expires_ms : furthest;
    s->slot = slot_of(ss, t);
    DL_APPEND2(ss->ring[s->slot], s, slot_prev, slot_next);
    ss->ring_count++;
    ss->ring_changed = true;
}

void expiry_forget(struct sessions *ss, struct session *s) {
    if (s->slot < 0)
        return;
    DL_DELETE2(ss->ring[s->slot], s, slot_prev, slot_next);
    s->slot = -1;
    ss->ring_count--;
    ss->ring_changed = true;
}

void expiry_touch(struct sessions *ss, struct session *s) {
    int64_t expires = tick_end(ss, ss->clock_ms + s->timeout_ms);
    bool sooner = expires < s->expires_ms;
    s->expires_ms = expires;
    /* Later is found out when the bucket comes. Sooner (a reconnect may ask for a shorter timeout)
     * has to move at once. */
    if (s->slot >= 0 && !sooner)
        return;
    expiry_forget(ss, s);
    if (ss->ring_count == 0)
        ss->ring_ms = tick_end(ss, ss->clock_ms);
    ring_put(ss, s);
}

struct session *expiry_next(struct sessions *ss) {
    while (ss->ring_count > 0 && ss->ring_ms <= ss->clock_ms) {
        int32_t slot = slot_of(ss, ss->ring_ms);
        struct session *s = ss->ring[slot];
        if (!s) {
            ss->ring_ms += ss->tick_ms;
            continue;
        }
        expiry_forget(ss, s);
        if (s->expires_ms <= ss->ring_ms)
            return s;
        ring_put(ss, s); /* into another bucket: one to EXPIRY_SLOTS - 1 ticks later */
    }
    return NULL;
}

static int64_t first_bucket(const struct sessions *ss) {
    for (int i = 0; ss->ring_count > 0 && i < EXPIRY_SLOTS; i++) {
        int64_t t = ss->ring_ms + (int64_t)i * ss->tick_ms;
        if (ss->ring[slot_of(ss, t)])
            return t + ss->stalled_ms;
    }
    return INT64_MAX;
}

int64_t expiry_deadline(struct sessions *ss) {
    if (ss->ring_changed) {
        ss->ring_changed = false;
        ss->deadline_ms = first_bucket(ss);
    }
    return ss->deadline_ms;
}
