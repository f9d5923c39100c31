#include "replica/server/snap_flow.h"

#include "common/mem.h"
#include "replica/server/limits.h"
#include "replica/server/peer.h"
#include "replica/server/role.h"
#include "replica/server/snapshot.h"

struct snap_sending {
    struct snap_sending *next;
    struct snap_sender *sender;
    uint8_t peer;
};

static struct snap_sending **find(struct replica *r, uint8_t peer) {
    struct snap_sending **at = &r->sendings;
    while (*at && (*at)->peer != peer)
        at = &(*at)->next;
    return at;
}

static void stop(struct snap_sending **at) {
    struct snap_sending *s = *at;
    if (!s)
        return;
    *at = s->next;
    snap_sender_free(s->sender);
    mem_free(s);
}

void snap_flow_stop_all(struct replica *r) {
    while (r->sendings)
        stop(&r->sendings);
}

static void begin_sending(struct replica *r, uint8_t peer) {
    stop(find(r, peer));
    struct snap_sending *s = mem_alloc(sizeof *s);
    *s = (struct snap_sending){.next = r->sendings, .sender = snap_sender_new(r), .peer = peer};
    r->sendings = s;
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO, "a peer is sent a snapshot peer=%u zxid=0x%llx", peer,
             (unsigned long long)snap_sender_begun(s->sender));
}

/* False behind the last piece. */
static bool send_piece(struct replica *r, struct snap_sending *s) {
    struct buf piece = BUF_INIT;
    bool more = snap_sender_piece(s->sender, &piece);
    if (more)
        zab_snap_send(r->zab, s->peer, blob_new(piece.data, piece.len));
    else
        zab_snap_sent(r->zab, s->peer, snap_sender_begun(s->sender), snap_sender_ended(s->sender));
    buf_close(&piece);
    return more;
}

void snap_flow_run(struct replica *r) {
    int pieces = 0;
    for (struct snap_sending **at = &r->sendings; *at;) {
        struct snap_sending *s = *at;
        bool more = true;
        while (more && pieces < SNAP_PIECES_PER_STEP && zab_snap_room(r->zab, s->peer)) {
            more = send_piece(r, s);
            pieces++;
        }
        if (more)
            at = &s->next;
        else
            stop(at);
    }
}

bool snap_flow_more(const struct replica *r) {
    for (const struct snap_sending *s = r->sendings; s; s = s->next) {
        if (zab_snap_room(r->zab, s->peer))
            return true;
    }
    return false;
}

static void abandon(struct replica *r) {
    snap_loader_free(r->loader);
    r->loader = NULL;
    out_job(&r->out, (struct update){.type = UPD_SNAP_ABANDON});
}

static void begin_loading(struct replica *r) {
    snap_loader_free(r->loader);
    r->loader = snap_loader_new();
    out_job(&r->out, (struct update){.type = UPD_SNAP_BEGIN});
}

static void load_piece(struct replica *r, struct slice piece) {
    if (!r->loader)
        return;
    const char *why = snap_loader_piece(r->loader, piece);
    if (!why) {
        out_snap_chunk(&r->out, piece);
        return;
    }
    abandon(r);
    peer_cut(r, r->leader, why);
}

void snap_flow_output(struct replica *r, const struct zab_output *o) {
    switch (o->type) {
    case ZAB_SNAP_SEND:
        begin_sending(r, o->peer);
        break;
    case ZAB_SNAP_STOP:
        stop(find(r, o->peer));
        break;
    case ZAB_SNAP_BEGIN:
        begin_loading(r);
        break;
    case ZAB_SNAP_CHUNK:
        load_piece(r, blob_slice(o->payload));
        break;
    case ZAB_SNAP_END:
        r->loaded_begun = o->zxid;
        r->loaded_ended = o->ended;
        out_job(&r->out, (struct update){.type = UPD_SNAP_END, .zxid = o->zxid, .ended = o->ended});
        break;
    case ZAB_SNAP_ABANDON:
        if (r->loader)
            abandon(r);
        break;
    default:
        break;
    }
}

/* The loaded state takes the old one's place. */
static bool finish(struct replica *r, zxid_t begun, zxid_t ended) {
    const char *why =
        r->loader ? snap_loader_finish(r->loader, r, begun, ended) : "it has no pieces";
    snap_loader_free(r->loader);
    r->loader = NULL;
    if (why) {
        core_stop(r, "the snapshot cannot be loaded: %s zxid=0x%llx", why,
                  (unsigned long long)begun);
        return false;
    }
    pending_free(r->pending);
    r->pending = pending_new(r->tree);
    if (r->sessions.has_secret)
        peer_secret_known(r);
    return true;
}

void snap_flow_installed(struct replica *r) {
    role_replaced(r);
    if (!finish(r, r->loaded_begun, r->loaded_ended))
        return;
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
             "a snapshot was installed zxid=0x%llx sessions=%llu znodes=%llu",
             (unsigned long long)r->loaded_begun, (unsigned long long)r->sessions.count,
             (unsigned long long)tree_znode_count(r->tree));
    zab_snap_installed(r->zab);
}

void snap_flow_recover(struct replica *r, struct slice piece) {
    if (!r->loader)
        r->loader = snap_loader_new();
    const char *why = snap_loader_piece(r->loader, piece);
    if (why)
        core_stop(r, "the snapshot is damaged: %s", why);
}

void snap_flow_recovered(struct replica *r, zxid_t begun, zxid_t ended) {
    if (finish(r, begun, ended))
        zab_recover_base(r->zab, begun, ended);
}

void snap_flow_close(struct replica *r) {
    snap_flow_stop_all(r);
    snap_loader_free(r->loader);
    r->loader = NULL;
}
