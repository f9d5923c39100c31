/* The application above each server: registers, and snapshots of them in pieces. */
#include "tests/spec/zab_world.h"

#include "common/check.h"

#include <string.h>

zxid_t world_propose_sized(struct zab_world *w, uint8_t id, uint32_t size_bytes) {
    struct world_server *s = &w->servers[id];
    CHECK(s->z);
    world_clock(w, id);
    if (!zab_ready(s->z)) {
        world_break(w, "%u takes no proposals", id);
        return 0;
    }
    struct world_record r = {.kind = ZAB_TXN, .value = w->next_value++, .size = size_bytes};
    zxid_t previous = zab_last_zxid(s->z), expected = zab_next_zxid(s->z);
    r.zxid = zab_propose(s->z, world_payload(&r));
    if (r.zxid != expected)
        world_break(w, "%u gives another zxid than it said", id);
    if (!w->hide_events)
        world_say(w, "%u proposes 0x%llx", id, (unsigned long long)r.zxid);
    world_check_proposed(w, id, &r, previous);
    world_pump(w, id);
    return r.zxid;
}

zxid_t world_propose(struct zab_world *w, uint8_t id) { return world_propose_sized(w, id, 8); }

zxid_t world_commit(struct zab_world *w, uint8_t leader, uint32_t count) {
    zxid_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        last = world_propose(w, leader);
        world_settle(w);
    }
    for (uint8_t id = 1; id < WORLD_IDS; id++) {
        const struct world_server *s = &w->servers[id];
        if (s->z && (id == leader || (s->serving && s->leader == leader)) && s->applied < last)
            world_break(w, "%u has not applied 0x%llx", id, (unsigned long long)last);
    }
    return last;
}

bool world_send_app(struct zab_world *w, uint8_t from, uint8_t to, uint32_t value) {
    struct world_record r = {.kind = ZAB_TXN, .value = value, .size = 8};
    world_clock(w, from);
    bool sent = zab_send_app(w->servers[from].z, to, world_payload(&r));
    world_pump(w, from);
    return sent;
}

zab_marker world_sync(struct zab_world *w, uint8_t id) {
    world_clock(w, id);
    zab_marker marker = zab_sync(w->servers[id].z);
    world_pump(w, id);
    return marker;
}

/* --- applying --- */

static void state_put(struct world_state *state, const struct world_record *r) {
    if (r->kind != ZAB_TXN)
        return;
    state->registers[r->value % WORLD_REGISTERS].zxid = r->zxid;
    state->registers[r->value % WORLD_REGISTERS].value = r->value;
}

static bool state_equal(const struct world_state *a, const struct world_state *b) {
    for (uint32_t i = 0; i < WORLD_REGISTERS; i++)
        if (a->registers[i].zxid != b->registers[i].zxid ||
            a->registers[i].value != b->registers[i].value)
            return false;
    return true;
}

void world_app_apply(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    struct world_record r = {.kind = o->kind, .zxid = o->zxid};
    if (o->kind == ZAB_TXN && !world_payload_value(blob_slice(o->payload), &r.value)) {
        world_break(w, "%u commits bytes that nobody proposed", id);
        return;
    }
    world_check_committed(w, s->applied_count, &r);
    if (w->broken[0])
        return;
    state_put(&s->state, &r);
    s->applied_count++;
    s->applied = r.zxid;
    if (s->applied >= s->exact_from &&
        !state_equal(&s->state, &w->truth[s->applied_count - 1].after))
        world_break(w, "%u has another state at 0x%llx", id, (unsigned long long)s->applied);
    if (!w->hide_events)
        world_say(w, "%u applies 0x%llx", id, (unsigned long long)r.zxid);
}

void world_check_committed(struct zab_world *w, size_t index, const struct world_record *r) {
    if (index < w->truth_count) {
        const struct world_record *t = &w->truth[index].record;
        if (t->zxid != r->zxid || t->kind != r->kind || t->value != r->value)
            world_break(w, "0x%llx is committed where 0x%llx was before",
                        (unsigned long long)r->zxid, (unsigned long long)t->zxid);
        return;
    }
    zxid_t last = world_committed(w);
    bool next = zxid_counter(r->zxid) > 0 && r->kind == ZAB_TXN && r->zxid == last + 1;
    bool epoch = zxid_counter(r->zxid) == 0 && r->kind == ZAB_EPOCH &&
                 zxid_epoch(r->zxid) > zxid_epoch(last);
    if (!next && !epoch) {
        world_break(w, "0x%llx is committed behind 0x%llx", (unsigned long long)r->zxid,
                    (unsigned long long)last);
        return;
    }
    world_truth_push(w, r);
    state_put(&w->truth[w->truth_count - 1].after, r);
}

/* --- snapshots --- */

void world_app_load(struct zab_world *w, uint8_t id, const struct world_snapshot *snapshot) {
    struct world_server *s = &w->servers[id];
    size_t i = 0;
    while (i < w->truth_count && w->truth[i].record.zxid <= snapshot->begun)
        i++;
    if (snapshot->pieces != WORLD_REGISTERS)
        world_break(w, "%u loads a snapshot with pieces missing", id);
    if (snapshot->begun != 0 && (i == 0 || w->truth[i - 1].record.zxid != snapshot->begun))
        world_break(w, "%u loads a snapshot of what was not committed", id);
    if (snapshot->ended > world_committed(w))
        world_break(w, "%u loads a snapshot beyond what was committed", id);
    s->state = snapshot->state;
    s->applied = snapshot->begun;
    s->exact_from = snapshot->ended;
    s->applied_count = i;
    if (snapshot->begun == snapshot->ended && i > 0 &&
        !state_equal(&s->state, &w->truth[i - 1].after))
        world_break(w, "%u has another state behind the snapshot of 0x%llx", id,
                    (unsigned long long)snapshot->begun);
}

/* A piece: the register's number, its zxid, its value. */
#define PIECE_BYTES 13u

bool world_app_send_piece(struct zab_world *w, uint8_t id, uint8_t peer) {
    struct world_server *s = &w->servers[id];
    if (!s->z || !s->sending[peer].wanted || !zab_snap_room(s->z, peer))
        return false;
    world_clock(w, id);
    if (s->sending[peer].next == WORLD_REGISTERS) {
        s->sending[peer].wanted = false;
        s->snaps_sent++;
        zab_snap_sent(s->z, peer, s->sending[peer].begun, s->applied);
    } else {
        uint32_t i = s->sending[peer].next++;
        struct buf piece = BUF_INIT;
        buf_put_u8(&piece, (uint8_t)i);
        buf_put_u64be(&piece, (uint64_t)s->state.registers[i].zxid);
        buf_put_u32be(&piece, s->state.registers[i].value);
        zab_snap_send(s->z, peer, blob_new(piece.data, piece.len));
        buf_close(&piece);
    }
    world_pump(w, id);
    return true;
}

void world_app_take_piece(struct zab_world *w, uint8_t id, const struct blob *piece) {
    struct world_server *s = &w->servers[id];
    if (!s->incoming_open || !piece || piece->len != PIECE_BYTES ||
        piece->bytes[0] != s->incoming.pieces) {
        world_break(w, "%u gets a piece that does not belong there", id);
        return;
    }
    uint32_t i = s->incoming.pieces++;
    uint64_t zxid = 0;
    uint32_t value = 0;
    for (int k = 0; k < 8; k++)
        zxid = zxid << 8 | piece->bytes[1 + k];
    for (int k = 0; k < 4; k++)
        value = value << 8 | piece->bytes[9 + k];
    s->incoming.state.registers[i].zxid = (zxid_t)zxid;
    s->incoming.state.registers[i].value = value;
}
