/* Messages as one line each. */
#include "tests/spec/zab_world.h"

#define ULL(x) ((unsigned long long)(x))

const char *world_role_text(enum zab_role role) {
    switch (role) {
    case ZAB_LOOKING:
        return "looking";
    case ZAB_FOLLOWING:
        return "following";
    case ZAB_OBSERVING:
        return "observing";
    case ZAB_LEADING:
        return "leading";
    }
    return "?";
}

static void vote_text(const struct zab_vote *v, struct buf *out) {
    buf_printf(out, "VOTE %s round %u", world_role_text(v->role), (unsigned)v->round);
    if (v->leader == 0)
        buf_printf(out, " for nobody");
    else if (v->role == ZAB_LOOKING)
        buf_printf(out, " for %u at 0x%llx", v->leader, ULL(v->leader_zxid));
    else
        buf_printf(out, " leader %u epoch %u", v->leader, v->epoch);
    if (v->leader_full)
        buf_printf(out, " full");
    if (v->blank)
        buf_printf(out, " blank");
    if (v->lossy)
        buf_printf(out, " lossy");
}

static void sync_text(const struct zab_msg *m, struct buf *out) {
    static const char *const modes[] = {"?", "DIFF", "TRUNC", "SNAP"};
    buf_printf(out, "SYNC %s", modes[m->mode <= ZAB_SYNC_SNAP ? m->mode : 0]);
    if (m->mode != ZAB_SYNC_SNAP)
        buf_printf(out, " 0x%llx", ULL(m->zxid));
}

static void ackepoch_text(const struct zab_msg *m, struct buf *out) {
    buf_printf(out, "ACKEPOCH %u%s", m->epoch, m->counted ? "" : " not counted");
    if (m->blank)
        buf_printf(out, " blank");
    if (m->lossy)
        buf_printf(out, " lossy");
    for (uint32_t i = 0; i < m->epoch_count; i++)
        buf_printf(out, "%s0x%llx", i == 0 ? " history " : ",", ULL(m->epochs[i]));
    if (m->base)
        buf_printf(out, " behind 0x%llx", ULL(m->base));
}

static void record_text(const char *name, const struct zab_msg *m, struct buf *out) {
    buf_printf(out, "%s 0x%llx%s", name, ULL(m->zxid), m->kind == ZAB_EPOCH ? " NEWLEADER" : "");
}

void world_message_text(const struct zab_msg *m, struct buf *out) {
    switch (m->type) {
    case ZM_VOTE:
        vote_text(&m->vote, out);
        break;
    case ZM_FOLLOWERINFO:
        buf_printf(out, "FOLLOWERINFO %u at 0x%llx%s%s%s", m->epoch, ULL(m->zxid),
                   m->observer ? " observer" : "", m->blank ? " blank" : "",
                   m->lossy ? " lossy" : "");
        break;
    case ZM_LEADERINFO:
        buf_printf(out, "LEADERINFO %u", m->epoch);
        break;
    case ZM_ACKEPOCH:
        ackepoch_text(m, out);
        break;
    case ZM_SYNC:
        sync_text(m, out);
        break;
    case ZM_SNAPCHUNK:
        buf_printf(out, "SNAPCHUNK");
        break;
    case ZM_SNAPEND:
        buf_printf(out, "SNAPEND 0x%llx to 0x%llx", ULL(m->zxid), ULL(m->ended));
        break;
    case ZM_SYNCREADY:
        buf_printf(out, "SYNCREADY 0x%llx", ULL(m->zxid));
        break;
    case ZM_PROPOSAL:
        record_text("PROPOSAL", m, out);
        break;
    case ZM_ACK:
        buf_printf(out, "ACK 0x%llx", ULL(m->zxid));
        break;
    case ZM_COMMIT:
        buf_printf(out, "COMMIT 0x%llx", ULL(m->zxid));
        break;
    case ZM_INFORM:
        record_text("INFORM", m, out);
        break;
    case ZM_UPTODATE:
        buf_printf(out, "UPTODATE 0x%llx", ULL(m->zxid));
        break;
    case ZM_PING:
        buf_printf(out, "PING %u 0x%llx", (unsigned)m->round, ULL(m->zxid));
        break;
    case ZM_PONG:
        buf_printf(out, "PONG %u%s", (unsigned)m->round, m->full ? " full" : "");
        break;
    case ZM_APP:
        buf_printf(out, "APP");
        break;
    case ZM_TYPE_END:
        buf_printf(out, "?");
        break;
    }
}
