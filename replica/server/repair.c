#include "replica/server/repair.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/server/admin.h"
#include "replica/server/limits.h"
#include "replica/server/peer.h"
#include "replica/server/repair_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct repair *repair_new(const struct replica_config *config, const struct repair_lack *lack) {
    struct repair *r = mem_zalloc(sizeof *r);
    struct quorum_server *servers = mem_zalloc((config->ensemble.count + 1) * sizeof *servers);
    if (config->ensemble.count > 0)
        memcpy(servers, config->ensemble.servers, config->ensemble.count * sizeof *servers);
    r->ensemble = (struct quorum_config){servers, config->ensemble.count};
    r->self = config->server_id;
    r->whitelist = config->word_whitelist ? mem_strdup(config->word_whitelist) : NULL;
    r->version = mem_strdup(config->version ? config->version : "zkfs");
    r->config_hash = peer_config_hash(&config->ensemble);
    r->base = lack->base;
    r->island_count = lack->island_count;
    r->islands = mem_zalloc((lack->island_count + 1) * sizeof *r->islands);
    if (lack->island_count > 0)
        memcpy(r->islands, lack->islands, lack->island_count * sizeof *r->islands);
    r->known_end = lack->known_end;
    r->lossy = lack->lossy;
    r->damage =
        mem_strndup((const char *)lack->said.p, lack->said.len > 0 ? (size_t)lack->said.len : 0);
    r->deadline_ms = INT64_MAX;
    out_init(&r->out);
    return r;
}

void repair_free(struct repair *r) {
    if (!r)
        return;
    out_destroy(&r->out);
    mem_free((void *)r->ensemble.servers);
    mem_free(r->whitelist);
    mem_free(r->version);
    mem_free(r->islands);
    mem_free(r->damage);
    mem_free(r->clients);
    mem_free(r);
}

void repair_note(struct repair *r, enum log_level level, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    out_text(&r->out, UPD_NOTE, 0, level, "%s", text);
}

void repair_send(struct repair *r, uint8_t peer, const struct repair_msg *m) {
    peer_repair_encode(out_peer(&r->out, peer), m);
    out_peer_end(&r->out);
}

/* ---- links ---- */

/* What it said, and whose history it has, is true on another link, too. */
static void forget_link(struct repair *r, uint8_t peer) {
    const struct repair_peer p = r->peers[peer];
    r->peers[peer] = (struct repair_peer){.absent = p.absent, .foreign = p.foreign};
    repair_fill_peer_down(r, peer);
}

void repair_drop_peer(struct repair *r, uint8_t peer, const char *why) {
    out_peer_drop(&r->out, peer, why);
    forget_link(r, peer);
}

static void cut(struct repair *r, uint8_t peer, const char *why) {
    repair_note(r, LOG_WARN, "the link to a peer is cut: %s peer=%u", why, peer);
    repair_drop_peer(r, peer, why);
}

static void link_up(struct repair *r, uint8_t peer) {
    if (r->peers[peer].up)
        forget_link(r, peer);
    if (peer == r->self || !quorum_find(&r->ensemble, peer)) {
        cut(r, peer, "it is none of this ensemble's servers");
        return;
    }
    r->peers[peer].up = true;
    const struct peer_hello h = {.version = PEER_PROTOCOL_VERSION,
                                 .from = r->self,
                                 .to = peer,
                                 .config_hash = r->config_hash,
                                 .repairing = true};
    peer_hello_encode(out_peer(&r->out, peer), &h);
    out_peer_end(&r->out);
}

static const char *hello_invalid_reason(const struct repair *r, uint8_t peer,
                                        const struct peer_hello *h) {
    if (r->peers[peer].known)
        return "a second greeting";
    if (h->version != PEER_PROTOCOL_VERSION)
        return "it speaks another version of this protocol";
    if (h->from != peer)
        return "it says that it is another server: myid or server.N is wrong";
    if (h->to != r->self)
        return "it takes this server for another one: myid or server.N is wrong";
    return NULL;
}

static void take_hello(struct repair *r, uint8_t peer, const struct peer_hello *h) {
    const char *why = hello_invalid_reason(r, peer, h);
    if (why) {
        cut(r, peer, why);
        return;
    }
    r->peers[peer].known = true;
    repair_fill_peer_up(r, peer);
}

/* ---- their questions ---- */

static void take_question(struct repair *r, uint8_t peer, const struct repair_msg *m) {
    if (r->peers[peer].reading)
        return;
    struct update u = {.type = UPD_REPAIR_READ, .peer = peer, .zxid = m->after, .ended = m->until};
    if (m->type == REPAIR_SNAP_ASK)
        u = (struct update){
            .type = UPD_SNAP_READ, .peer = peer, .zxid = m->begun, .offset = m->offset};
    r->peers[peer].reading = true;
    out_job(&r->out, u);
}

/* Where this server has nothing whole it knows nothing. */
static void answer(struct repair *r, const struct event *ev) {
    struct repair_peer *p = &r->peers[ev->peer];
    bool waits = p->known && p->reading;
    p->reading = false;
    if (!waits)
        return;
    struct repair_msg m = {
        .type = REPAIR_NONE, .after = ev->zxid, .until = ev->ended, .reason = REPAIR_UNKNOWN};
    if (ev->type == EV_SNAP_RANGE)
        m = (struct repair_msg){.type = ev->bytes.len > 0 ? REPAIR_SNAP_PIECE : REPAIR_SNAP_NONE,
                                .begun = ev->zxid,
                                .ended = ev->ended,
                                .size_bytes = ev->size_bytes,
                                .offset = ev->offset,
                                .bytes = ev->bytes};
    else if (ev->record_count > 0)
        m = (struct repair_msg){.type = REPAIR_RECORDS,
                                .after = ev->zxid,
                                .until = ev->ended,
                                .records = ev->records,
                                .record_count = ev->record_count};
    repair_send(r, ev->peer, &m);
}

static void take_message(struct repair *r, uint8_t peer, struct slice bytes) {
    if (!r->peers[peer].up)
        return; /* its link was cut, and this was on its way */
    struct peer_message m;
    if (!peer_decode(bytes, &m)) {
        cut(r, peer, "a message that is malformed");
        return;
    }
    if (m.is_hello)
        take_hello(r, peer, &m.hello);
    else if (!r->peers[peer].known)
        cut(r, peer, "a message before the greeting");
    else if (m.is_repair && (m.repair.type == REPAIR_ASK || m.repair.type == REPAIR_SNAP_ASK))
        take_question(r, peer, &m.repair);
    else if (m.is_repair)
        repair_fill_answer(r, peer, &m.repair);
    peer_message_close(&m);
}

/* ---- clients ---- */

static void add_client(struct repair *r, conn_id_t conn) {
    if (r->client_count == r->client_cap) {
        r->client_cap = r->client_cap ? r->client_cap * 2 : 16;
        r->clients = mem_realloc(r->clients, r->client_cap * sizeof *r->clients);
    }
    r->clients[r->client_count++] = (struct repair_client){conn, r->mono_ms};
}

/* False when it is not there (any more). */
static bool remove_client(struct repair *r, conn_id_t conn) {
    size_t i = 0;
    while (i < r->client_count && r->clients[i].conn != conn)
        i++;
    if (i == r->client_count)
        return false;
    r->client_count--;
    memmove(r->clients + i, r->clients + i + 1, (r->client_count - i) * sizeof *r->clients);
    return true;
}

static void turn_away(struct repair *r, conn_id_t conn, enum log_level level, const char *why) {
    if (remove_client(r, conn))
        out_text(&r->out, UPD_CLOSE, conn, level, "%s", why);
}

static void answer_word(struct repair *r, conn_id_t conn, struct slice word) {
    struct buf text = BUF_INIT;
    if (!admin_whitelisted(r->whitelist, word)) {
        buf_printf(&text, "%.4s is not executed because it is not in the whitelist.",
                   (const char *)word.p);
    } else if (slice_equal_str(word, "ruok")) {
        buf_printf(&text, "imok");
    } else if (slice_equal_str(word, "isro")) {
        buf_printf(&text, "null");
    } else {
        buf_printf(&text, "This ZooKeeper instance is not currently serving requests\n"
                          "Its disk is damaged, and it is being repaired from the others: ");
        (void)repair_fill_text(r, &text);
        buf_printf(&text, "\n");
    }
    if (remove_client(r, conn)) {
        out_bytes(&r->out, conn, text.data, text.len);
        out_text(&r->out, UPD_CLOSE, conn, LOG_DEBUG, "%s", "");
    }
    buf_close(&text);
}

static void close_silent(struct repair *r) {
    while (r->client_count > 0 && r->clients[0].opened_ms + HANDSHAKE_TIMEOUT_MS <= r->mono_ms)
        turn_away(r, r->clients[0].conn, LOG_INFO, "no session in time");
}

/* ---- steps ---- */

static void dispatch(struct repair *r, const struct event *ev) {
    switch (ev->type) {
    case EV_START:
        r->started = true;
        repair_fill_begin(r);
        break;
    case EV_TICK:
        r->deadline_ms = INT64_MAX;
        break;
    case EV_CLIENT_OPEN:
        add_client(r, ev->conn);
        break;
    case EV_CLIENT_FRAME:
        turn_away(r, ev->conn, LOG_INFO, "this server is being repaired");
        break;
    case EV_CLIENT_WORD:
        answer_word(r, ev->conn, ev->bytes);
        break;
    case EV_CLIENT_CLOSED:
        (void)remove_client(r, ev->conn);
        break;
    case EV_PEER_UP:
        link_up(r, ev->peer);
        break;
    case EV_PEER_MESSAGE:
        take_message(r, ev->peer, ev->bytes);
        break;
    case EV_PEER_DOWN:
        forget_link(r, ev->peer);
        break;
    case EV_REPAIR_RANGE:
    case EV_SNAP_RANGE:
        answer(r, ev);
        break;
    case EV_SNAP_INSTALLED:
        repair_fill_installed(r, ev->zxid);
        break;
    case EV_SNAP_RESET:
        repair_fill_refused(r);
        break;
    case EV_REBUILD_COPIED:
        repair_fill_copied(r, ev);
        break;
    case EV_DISK_FAILED:
        out_text(&r->out, UPD_STOP, 0, LOG_ERROR, "%.*s", ev->bytes.len, (const char *)ev->bytes.p);
        break;
    default:
        break; /* of a core only */
    }
}

static void ask_for_deadline(struct repair *r) {
    int64_t next = repair_fill_deadline(r);
    if (r->client_count > 0 && r->clients[0].opened_ms + HANDSHAKE_TIMEOUT_MS < next)
        next = r->clients[0].opened_ms + HANDSHAKE_TIMEOUT_MS;
    if (next != r->deadline_ms && next != INT64_MAX)
        out_deadline(&r->out, next);
    r->deadline_ms = next;
}

struct updates repair_step(struct repair *r, const struct event *ev) {
    out_begin(&r->out);
    CHECK(r->started || ev->type == EV_START);
    if (ev->mono_ms > r->mono_ms)
        r->mono_ms = ev->mono_ms;
    if (r->phase != REPAIR_ENDED)
        dispatch(r, ev);
    if (r->phase != REPAIR_ENDED) {
        repair_fill_clock(r);
        close_silent(r);
    }
    if (r->phase != REPAIR_ENDED)
        ask_for_deadline(r);
    return out_finish(&r->out);
}

struct updates repair_leave(struct repair *r) {
    out_begin(&r->out);
    for (unsigned i = 0; i < 256; i++)
        if (r->peers[i].up)
            out_peer_drop(&r->out, (uint8_t)i, "this server starts over");
    while (r->client_count > 0)
        turn_away(r, r->clients[0].conn, LOG_INFO, "this server starts over");
    return out_finish(&r->out);
}
