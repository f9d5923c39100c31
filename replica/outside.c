#include "replica/outside.h"

bool outside_carry_out(const struct env *env, const struct update *u) {
    switch (u->type) {
    case UPD_PEER_SEND:
        env->peer_send(env->ctx, u->peer, u->bytes);
        return true;
    case UPD_PEER_DROP:
        env->peer_drop(env->ctx, u->peer, u->bytes);
        return true;
    case UPD_SEND:
        env->client_send(env->ctx, u->conn, u->bytes);
        return true;
    case UPD_CLOSE:
        env->client_close(env->ctx, u->conn, u->bytes);
        return true;
    case UPD_PAUSE:
        env->client_pause(env->ctx, u->conn, true);
        return true;
    case UPD_RESUME:
        env->client_pause(env->ctx, u->conn, false);
        return true;
    case UPD_DEADLINE:
        env->set_timer(env->ctx, u->mono_ms);
        return true;
    case UPD_NOTE:
        env->note(env->ctx, u->level, u->bytes);
        return true;
    default:
        return false;
    }
}

struct event outside_snap_range(uint8_t peer, uint64_t offset, const struct snap_base *base,
                                struct slice bytes) {
    return (struct event){.type = EV_SNAP_RANGE,
                          .peer = peer,
                          .zxid = base->begun,
                          .ended = base->ended,
                          .size_bytes = base->size_bytes,
                          .offset = offset,
                          .bytes = bytes};
}
