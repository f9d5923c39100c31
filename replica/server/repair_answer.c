#include "replica/server/repair_answer.h"

#include "replica/server/peer.h"

static bool one_epoch(zxid_t after, zxid_t until) {
    return after > 0 && zxid_epoch(after) == zxid_epoch(until);
}

/* A zxid names one record for ever. Within an epoch, whoever has the next number has the next
 * record. Across epochs only a history that has `until` tells what lies before it. */
static zxid_t needed(zxid_t after, zxid_t until) {
    return one_epoch(after, until) ? after + 1 : until;
}

size_t repair_fitting(const struct log_record *records, size_t count, zxid_t after, zxid_t until) {
    size_t n = 0;
    if (one_epoch(after, until) && count > 0 && records[0].zxid != after + 1)
        return 0;
    while (n < count && records[n].zxid <= until)
        n++;
    return n;
}

static void send(struct replica *r, uint8_t peer, const struct repair_msg *m) {
    peer_repair_encode(out_peer(&r->out, peer), m);
    out_peer_end(&r->out);
}

static void send_none(struct replica *r, uint8_t peer, zxid_t after, zxid_t until,
                      enum repair_reason reason) {
    const struct repair_msg m = {
        .type = REPAIR_NONE, .after = after, .until = until, .reason = reason};
    send(r, peer, &m);
}

/* Why a record that this history is not known to have cannot be given. */
static enum repair_reason why_not(const struct replica *r, zxid_t zxid) {
    if (r->lossy || zab_blank(r->zab))
        return REPAIR_UNKNOWN;
    return zxid < zab_base(r->zab) ? REPAIR_PURGED : REPAIR_ABSENT;
}

static void asked(struct replica *r, uint8_t peer, const struct repair_msg *m) {
    zxid_t zxid = needed(m->after, m->until);
    if (!zab_has(r->zab, zxid)) {
        send_none(r, peer, m->after, m->until, why_not(r, zxid));
        return;
    }
    r->peers[peer].repair_reading = true;
    out_job(&r->out,
            (struct update){
                .type = UPD_REPAIR_READ, .peer = peer, .zxid = m->after, .ended = m->until});
}

void repair_answer(struct replica *r, uint8_t peer, const struct repair_msg *m) {
    switch (m->type) {
    case REPAIR_ASK:
        if (!r->peers[peer].repair_reading)
            asked(r, peer, m);
        break;
    case REPAIR_SNAP_ASK:
        if (r->peers[peer].repair_reading)
            break;
        r->peers[peer].repair_reading = true;
        out_job(&r->out,
                (struct update){
                    .type = UPD_SNAP_READ, .peer = peer, .zxid = m->begun, .offset = m->offset});
        break;
    default:
        break; /* an answer to what was asked before this server started over */
    }
}

/* The link that it was read for may be gone, and another one there. */
static bool take_turn(struct replica *r, uint8_t peer) {
    bool waits = r->peers[peer].known && r->peers[peer].repair_reading;
    r->peers[peer].repair_reading = false;
    return waits;
}

void repair_answer_range(struct replica *r, const struct event *ev) {
    if (!take_turn(r, ev->peer))
        return;
    zxid_t zxid = needed(ev->zxid, ev->ended);
    /* Since it was asked for, it may have been truncated; and what is not durable may be yet. */
    if (!zab_has(r->zab, zxid)) {
        send_none(r, ev->peer, ev->zxid, ev->ended, why_not(r, zxid));
        return;
    }
    size_t count = repair_fitting(ev->records, ev->record_count, ev->zxid, ev->ended);
    if (count == 0) {
        send_none(r, ev->peer, ev->zxid, ev->ended, ev->count > 0 ? REPAIR_PURGED : REPAIR_UNKNOWN);
        return;
    }
    const struct repair_msg m = {.type = REPAIR_RECORDS,
                                 .after = ev->zxid,
                                 .until = ev->ended,
                                 .records = ev->records,
                                 .record_count = count};
    send(r, ev->peer, &m);
}

void repair_answer_snapshot(struct replica *r, const struct event *ev) {
    if (!take_turn(r, ev->peer))
        return;
    struct repair_msg m = {.type = ev->bytes.len > 0 ? REPAIR_SNAP_PIECE : REPAIR_SNAP_NONE,
                           .begun = ev->zxid,
                           .ended = ev->ended,
                           .size_bytes = ev->size_bytes,
                           .offset = ev->offset,
                           .bytes = ev->bytes};
    send(r, ev->peer, &m);
}
