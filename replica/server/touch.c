#include "replica/server/touch.h"
#include "common/mutant.h"

#include "replica/server/limits.h"

void touch_heard(struct replica *r, struct session *s) {
    if (!r->leading)
        s->heard = true;
    else if (!s->closing)
        expiry_touch(&r->sessions, s);
}

/* A client pings at a third of its timeout; with a quarter more it has time left still. */
static int64_t interval_ms(const struct session *s) { return s->timeout_ms / 4; }

static void touch_until(struct replica *r, int64_t ms) {
    if (ms < r->touch_ms)
        r->touch_ms = ms;
}

void touch_connected(struct replica *r, struct session *s) {
    touch_heard(r, s);
    if (!r->leading)
        touch_until(r, r->mono_ms + interval_ms(s));
}

static void touch_send(struct replica *r, const struct app_touch *list, size_t count) {
    struct app_msg m = {
        .type = APP_TOUCH, .body = SLICE_NULL, .touches = list, .touch_count = count};
    /* Without a link there is no leader any more, and a new one gives whole timeouts. */
    if (count > 0 && !MUTANT(TOUCHES_NOT_TOLD))
        (void)zab_send_app(r->zab, r->leader, app_encode(&m));
}

static void touch_send_all(struct replica *r) {
    struct app_touch list[TOUCHES_MAX];
    size_t count = 0;
    r->touch_ms = INT64_MAX;
    for (struct conn *c = r->conns.all; c; c = c->next) {
        struct session *s = c->session;
        if (c->state != CONN_LIVE || !s)
            continue;
        touch_until(r, r->mono_ms + interval_ms(s));
        if (!s->heard)
            continue;
        s->heard = false;
        list[count++] = (struct app_touch){s->id, s->timeout_ms};
        if (count == TOUCHES_MAX) {
            touch_send(r, list, count);
            count = 0;
        }
    }
    touch_send(r, list, count);
}

void touch_left(struct replica *r, struct session *s) {
    if (!s->heard || r->leading || !r->serving)
        return;
    s->heard = false;
    touch_send(r, &(struct app_touch){s->id, s->timeout_ms}, 1);
}

void touch_begin(struct replica *r) {
    for (struct conn *c = r->conns.all; c; c = c->next) {
        if (c->state == CONN_LIVE && c->session)
            c->session->heard = true;
    }
    touch_send_all(r);
}

void touch_run(struct replica *r) {
    if (r->serving && !r->leading && r->mono_ms >= r->touch_ms)
        touch_send_all(r);
}

void touch_take(struct replica *r, uint8_t peer, const struct app_msg *m) {
    for (size_t i = 0; r->leading && i < m->touch_count; i++) {
        struct session *s = session_find(&r->sessions, m->touches[i].session_id);
        if (!s || s->closing || (s->has_owner && s->owner != peer))
            continue;
        s->has_owner = true;
        s->owner = peer;
        expiry_touch(&r->sessions, s);
    }
}
