#include "tests/unit/server/repair_play.h"

#include <stdio.h>
#include <string.h>

#include "replica/server/core.h"
#include "tests/lib/unit.h"

static struct quorum_server servers[] = {
    {1, true, 0, 1}, {2, true, 0, 1}, {3, true, 0, 1}, {4, true, 0, 1}, {5, true, 0, 1}};
struct play play;

static void put_zxid(zxid_t zxid) {
    if (zxid == 0)
        buf_printf(&play.trace, "0");
    else
        buf_printf(&play.trace, "%u.%u", zxid_epoch(zxid), zxid_counter(zxid));
}

static void put_text(const char *name, zxid_t a, zxid_t b) {
    buf_printf(&play.trace, "%s(", name);
    put_zxid(a);
    buf_printf(&play.trace, "..");
    put_zxid(b);
    buf_printf(&play.trace, ")");
}

static void put_repair(const struct repair_msg *m) {
    static const char *const reasons[] = {"?", "unknown", "absent", "purged"};
    switch (m->type) {
    case REPAIR_ASK:
        put_text("ask", m->after, m->until);
        break;
    case REPAIR_RECORDS:
        put_text("records", m->after, m->until);
        for (size_t i = 0; i < m->record_count; i++) {
            buf_printf(&play.trace, ",");
            put_zxid(m->records[i].zxid);
        }
        break;
    case REPAIR_NONE:
        put_text(reasons[m->reason], m->after, m->until);
        break;
    case REPAIR_SNAP_ASK:
        buf_printf(&play.trace, "snap-ask(%llx@%d)", (unsigned long long)m->begun, (int)m->offset);
        break;
    case REPAIR_SNAP_PIECE:
        buf_printf(&play.trace, "play_piece(%llx@%d)", (unsigned long long)m->begun,
                   (int)m->offset);
        break;
    default:
        buf_printf(&play.trace, "no-snapshot");
        break;
    }
}

static void put_message(const struct update *u) {
    struct peer_message m;
    ck_assert(peer_decode(u->bytes, &m));
    if (!m.is_hello && !m.is_repair) {
        peer_message_close(&m);
        return; /* zab's, of the play.core */
    }
    buf_printf(&play.trace, "#%u:", u->peer);
    if (m.is_hello)
        buf_printf(&play.trace, m.hello.repairing ? "hello-repairing" : "hello");
    else
        put_repair(&m.repair);
    buf_printf(&play.trace, " ");
    peer_message_close(&m);
}

static void put_update(const struct update *u) {
    switch (u->type) {
    case UPD_PEER_SEND:
        put_message(u);
        return;
    case UPD_PEER_DROP:
        buf_printf(&play.trace, "drop#%u", u->peer);
        break;
    case UPD_LOG_APPEND:
        buf_printf(&play.trace, "append:");
        put_zxid(u->record.zxid);
        break;
    case UPD_REBUILD_BEGIN:
        buf_printf(&play.trace, "begin:");
        put_zxid(u->zxid);
        break;
    case UPD_REBUILD_COPY:
        put_text(u->first != 0 ? "copy-first" : "copy", u->zxid, u->ended);
        break;
    case UPD_REBUILD_END:
        buf_printf(&play.trace, u->lossy ? "end-lossy" : "end");
        break;
    case UPD_SNAP_BEGIN:
        buf_printf(&play.trace, "snap-begin");
        break;
    case UPD_SNAP_CHUNK:
        buf_printf(&play.trace, "chunk");
        break;
    case UPD_SNAP_END:
        buf_printf(&play.trace, "snap-end");
        break;
    case UPD_SNAP_ABANDON:
        buf_printf(&play.trace, "abandon");
        break;
    case UPD_REPAIR_READ:
        buf_printf(&play.trace, "#%u:", u->peer);
        put_text("read", u->zxid, u->ended);
        break;
    case UPD_SNAP_READ:
        buf_printf(&play.trace, "#%u:snap-read(%llx@%d)", u->peer, (unsigned long long)u->zxid,
                   (int)u->offset);
        break;
    case UPD_CLOSE:
        buf_printf(&play.trace, "close:%d", (int)u->conn);
        break;
    case UPD_STOP:
        buf_printf(&play.trace, "stop");
        break;
    default:
        return; /* lines of the log, timers, and what a play.core does besides */
    }
    buf_printf(&play.trace, " ");
}

void play_feed(struct event ev) {
    ev.mono_ms = play.now_ms;
    ev.wall_ms = 1700000000000 + play.now_ms;
    struct updates u = play.core != NULL ? replica_step(play.core, &ev) : repair_step(play.r, &ev);
    for (size_t i = 0; i < u.count; i++)
        put_update(&u.list[i]);
}

void play_expect(const char *text) {
    buf_put_u8(&play.trace, 0);
    ck_assert_str_eq((const char *)play.trace.data, text);
    buf_reset(&play.trace);
}

void play_forget(void) { buf_reset(&play.trace); }

void play_setup(void) {
    play.config = (struct replica_config){.server_id = 1,
                                          .ensemble = {servers, 3},
                                          .tick_ms = 2000,
                                          .min_session_timeout_ms = 4000,
                                          .max_session_timeout_ms = 40000,
                                          .max_frame_bytes = 1 << 20,
                                          .max_outstanding = 1000};
    play.now_ms = 1000;
    play.r = NULL;
    play.core = NULL;
}

void play_teardown(void) {
    repair_free(play.r);
    replica_free(play.core);
    buf_close(&play.trace);
}

void play_begin(zxid_t base, const struct repair_island *islands, size_t count, zxid_t end,
                bool lossy) {
    struct repair_lack lack = {.base = base,
                               .islands = islands,
                               .island_count = count,
                               .known_end = end,
                               .lossy = lossy,
                               .said = SLICE_NULL};
    play.r = repair_new(&play.config, &lack);
    play_feed((struct event){.type = EV_START});
}

void play_copied(zxid_t zxid, const struct log_record *first) {
    play_feed((struct event){.type = EV_REBUILD_COPIED, .zxid = zxid, .record = first});
}

void play_message(uint8_t peer, const struct repair_msg *m) {
    struct buf b = BUF_INIT;
    peer_repair_encode(&b, m);
    play_feed(
        (struct event){.type = EV_PEER_MESSAGE, .peer = peer, .bytes = {b.data, (int32_t)b.len}});
    buf_close(&b);
}

void play_greet(uint8_t peer) {
    struct buf b = BUF_INIT;
    play_feed((struct event){.type = EV_PEER_UP, .peer = peer});
    const struct peer_hello h = {.version = PEER_PROTOCOL_VERSION, .from = peer, .to = 1};
    peer_hello_encode(&b, &h);
    play_feed(
        (struct event){.type = EV_PEER_MESSAGE, .peer = peer, .bytes = {b.data, (int32_t)b.len}});
    buf_close(&b);
}

struct log_record play_record(zxid_t zxid) {
    struct log_record rec = {.kind = zxid_counter(zxid) == 0 ? LOG_EPOCH : LOG_TXN, .zxid = zxid};
    rec.payload = rec.kind == LOG_TXN ? (struct slice){(const uint8_t *)"txn", 3} : SLICE_NULL;
    return rec;
}

void play_records(uint8_t peer, zxid_t after, zxid_t until, const zxid_t *zxids, size_t count) {
    struct log_record list[8];
    for (size_t i = 0; i < count; i++)
        list[i] = play_record(zxids[i]);
    const struct repair_msg m = {.type = REPAIR_RECORDS,
                                 .after = after,
                                 .until = until,
                                 .records = list,
                                 .record_count = count};
    play_message(peer, &m);
}
void play_none(uint8_t peer, zxid_t after, zxid_t until, enum repair_reason reason) {
    const struct repair_msg m = {
        .type = REPAIR_NONE, .after = after, .until = until, .reason = reason};
    play_message(peer, &m);
}

void play_piece(uint8_t peer, zxid_t begun, uint64_t offset, uint64_t size) {
    const struct repair_msg m = {.type = REPAIR_SNAP_PIECE,
                                 .begun = begun,
                                 .ended = begun,
                                 .offset = offset,
                                 .size_bytes = size,
                                 .bytes = {(const uint8_t *)"0123456789", 10}};
    play_message(peer, &m);
}

void play_pass(int64_t ms) {
    play.now_ms += ms;
    play_feed((struct event){.type = EV_TICK});
}
