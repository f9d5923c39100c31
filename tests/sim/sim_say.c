/* The dialogue of a run: a line for each message, disk and fault. */
#include "tests/sim/sim.h"

#include "replica/proto/peer_codec.h"

#include <stdarg.h>
#include <stdio.h>

static void stamp(const struct world *w) { printf("%10.3f ", (double)w->now_us / MS); }

void world_say(struct world *w, const char *fmt, ...) {
    stamp(w);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static const char *const type_names[ZM_TYPE_END] = {
    [ZM_VOTE] = "VOTE",
    [ZM_FOLLOWERINFO] = "FOLLOWERINFO",
    [ZM_LEADERINFO] = "LEADERINFO",
    [ZM_ACKEPOCH] = "ACKEPOCH",
    [ZM_SYNC] = "SYNC",
    [ZM_SNAPCHUNK] = "SNAPCHUNK",
    [ZM_SNAPEND] = "SNAPEND",
    [ZM_SYNCREADY] = "SYNCREADY",
    [ZM_PROPOSAL] = "PROPOSAL",
    [ZM_ACK] = "ACK",
    [ZM_COMMIT] = "COMMIT",
    [ZM_INFORM] = "INFORM",
    [ZM_UPTODATE] = "UPTODATE",
    [ZM_PING] = "PING",
    [ZM_PONG] = "PONG",
    [ZM_APP] = "APP",
};

static void say_app(const struct zab_msg *m) {
    struct app_msg app;
    struct app_memory *memory = NULL;
    if (!m->payload || !app_decode(blob_slice(m->payload), &app, &memory))
        return;
    static const char *const names[APP_TYPE_END] = {
        [APP_REQUEST] = "request",         [APP_TOUCH] = "touch", [APP_REVALIDATE] = "revalidate",
        [APP_REVALIDATED] = "revalidated", [APP_SYNC] = "sync",   [APP_SYNCED] = "synced"};
    const char *name = app.type < APP_TYPE_END ? names[app.type] : NULL;
    printf(" %s session=%llx cxid=%d tag=%llu ok=%d touches=%zu", name ? name : "?",
           (unsigned long long)app.session_id, app.cxid, (unsigned long long)app.tag, app.ok,
           app.touch_count);
    app_close(memory);
}

static void say_zab(const struct zab_msg *m) {
    printf("%s", m->type < ZM_TYPE_END ? type_names[m->type] : "?");
    if (m->type == ZM_VOTE) {
        static const char *const roles[] = {"looking", "following", "observing", "leading"};
        printf(" %s round=%llu for=%u at %u.%u epoch=%u%s%s%s", roles[m->vote.role & 3],
               (unsigned long long)m->vote.round, m->vote.leader, zxid_epoch(m->vote.leader_zxid),
               zxid_counter(m->vote.leader_zxid), m->vote.epoch, m->vote.blank ? " blank" : "",
               m->vote.leader_blank ? " leader-blank" : "", m->vote.answer ? " answer" : "");
        return;
    }
    if (m->epoch != 0)
        printf(" epoch=%u", m->epoch);
    if (m->zxid != 0)
        printf(" %u.%u", zxid_epoch(m->zxid), zxid_counter(m->zxid));
    if (m->type == ZM_SYNC)
        printf(" %s", m->mode == ZAB_SYNC_DIFF    ? "DIFF"
                      : m->mode == ZAB_SYNC_TRUNC ? "TRUNC"
                                                  : "SNAP");
    if (m->type == ZM_ACKEPOCH) {
        printf("%s%s base=%u.%u:", m->counted ? " counted" : "", m->blank ? " blank" : "",
               zxid_epoch(m->base), zxid_counter(m->base));
        for (uint32_t i = 0; i < m->epoch_count; i++)
            printf(" %u.%u", zxid_epoch(m->epochs[i]), zxid_counter(m->epochs[i]));
    }
    if (m->type == ZM_SNAPEND)
        printf(" to %u.%u", zxid_epoch(m->ended), zxid_counter(m->ended));
    if (m->round != 0)
        printf(" round=%llu", (unsigned long long)m->round);
    if (m->type == ZM_APP)
        say_app(m);
}

void say_message(struct world *w, uint8_t from, uint8_t to, const struct sim_item *item) {
    struct peer_message m;
    stamp(w);
    printf("%u -> %u ", from, to);
    if (!peer_decode((struct slice){item->bytes, item->len}, &m)) {
        printf("%d bytes that are no message\n", item->len);
        return;
    }
    if (m.is_hello)
        printf("HELLO");
    else if (m.is_repair)
        printf("REPAIR %d 0x%llx..0x%llx %zu", (int)m.repair.type,
               (unsigned long long)m.repair.after, (unsigned long long)m.repair.until,
               m.repair.record_count);
    else
        say_zab(&m.zab);
    putchar('\n');
    peer_message_close(&m);
}
