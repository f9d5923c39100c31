#include "replica/server/snap_flow.h"

#include "common/mem.h"
#include "replica/server/checkpoint.h"
#include "replica/server/digest.h"
#include "replica/server/limits.h"
#include "replica/server/peer.h"
#include "replica/server/role.h"
#include "replica/server/snapshot.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"

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

/* On a full disk the pieces would wait in memory, and come again with each attempt: the leader is
 * asked for them when there is room. */
static void begin_loading(struct replica *r) {
    if (r->full) {
        if (r->loader)
            abandon(r);
        peer_cut(r, r->leader, "the disk has no room for a snapshot");
        return;
    }
    snap_loader_free(r->loader);
    r->loader = snap_loader_new();
    out_job(&r->out, (struct update){.type = UPD_SNAP_BEGIN});
}

static void load_piece(struct replica *r, struct slice piece) {
    if (!r->loader)
        return;
    const char *why = snap_loader_piece(r->loader, piece);
    if (!why) {
        out_chunk(&r->out, UPD_SNAP_CHUNK, piece);
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

/* The loaded state takes the old one's place. NULL, or why it cannot. */
static const char *take_place(struct replica *r, struct snap_loader *l, zxid_t begun,
                              zxid_t ended) {
    const char *why = snap_loader_finish(l, r, begun, ended);
    if (why)
        return why;
    pending_free(r->pending);
    r->pending = pending_new(r->tree);
    digest_reset(r);
    if (r->sessions.has_secret)
        peer_secret_known(r);
    return NULL;
}

/* A snapshot that is not exact yet: what its digest says is looked at when it is. */
static void expect_digest(struct replica *r, struct snap_loader *l) {
    struct snap_digest d;
    r->expected_zxid = 0;
    if (!snap_loader_digest(l, &d) || d.zxid <= tree_last_zxid(r->tree))
        return;
    r->expected_zxid = d.zxid;
    r->expected_digest = d.digest;
}

/* NULL, or why a tree that is exact is not the one that the digest was of. */
static const char *compare_digest(struct replica *r, struct snap_loader *l) {
    struct snap_digest d;
    if (!snap_loader_digest(l, &d) || d.zxid != tree_last_zxid(r->tree) || !tree_exact(r->tree))
        return NULL;
    return tree_digest(r->tree) == d.digest ? NULL
                                            : "its tree does not have the digest that it says";
}

/* NULL, or why not; *ret_altered: it is whole, but has another tree than the one that was sent. */
static const char *finish(struct replica *r, zxid_t begun, zxid_t ended, bool *ret_altered) {
    struct snap_loader *l = r->loader;
    const char *why = l ? NULL : "it has no pieces";
    *ret_altered = false;
    if (!why && !snap_loader_walk(l))
        why = take_place(r, l, begun, ended);
    else if (!why && (begun != ended || tree_last_zxid(r->tree) != ended))
        why = "its records do not end where it does";
    if (!why) {
        why = compare_digest(r, l);
        *ret_altered = why != NULL;
    }
    if (!why)
        expect_digest(r, l);
    snap_loader_free(l);
    r->loader = NULL;
    return why;
}

/* Whoever sent the snapshot finds that out of its own tree as well. At a start it is the snapshot
 * that is refused. */
static void start_over(struct replica *r, zxid_t zxid) {
    core_start_over(r, true,
                    "the snapshot that this replica was brought up to date by does not have the "
                    "digest that it says zxid=0x%llx",
                    (unsigned long long)zxid);
}

void snap_flow_applied(struct replica *r, zxid_t zxid) {
    if (r->expected_zxid != zxid)
        return;
    r->expected_zxid = 0;
    if (tree_digest(r->tree) != r->expected_digest)
        start_over(r, zxid);
}

void snap_flow_installed(struct replica *r) {
    checkpoint_abandon(r);
    role_replaced(r);
    bool altered;
    const char *why = finish(r, r->loaded_begun, r->loaded_ended, &altered);
    if (altered) {
        start_over(r, r->loaded_ended);
        return;
    }
    if (why) {
        core_stop(r, "the snapshot cannot be loaded: %s zxid=0x%llx", why,
                  (unsigned long long)r->loaded_begun);
        return;
    }
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
             "a snapshot was installed zxid=0x%llx sessions=%llu znodes=%llu",
             (unsigned long long)r->loaded_begun, (unsigned long long)r->sessions.count,
             (unsigned long long)tree_znode_count(r->tree));
    zab_snap_installed(r->zab);
}

/* ---- at a start: what is refused is passed over, for there may be an older one ---- */

static const char *recover_walk(void *ctx, zxid_t begun, zxid_t ended) {
    struct replica *r = ctx;
    r->loaded_ended = ended;
    return take_place(r, r->loader, begun, ended);
}

static const char *recover_record(void *ctx, const struct log_record *record) {
    struct replica *r = ctx;
    zxid_t last = tree_last_zxid(r->tree);
    bool next = record->kind == LOG_EPOCH ? zxid_epoch(record->zxid) > zxid_epoch(last)
                                          : record->zxid == last + 1;
    if (!next || record->zxid > r->loaded_ended)
        return "a record that does not follow the one before";
    return core_replay(r, record);
}

static void refuse(struct replica *r, const char *why) {
    out_text(&r->out, UPD_SNAP_REFUSED, 0, LOG_WARN, "%s", why);
}

void snap_flow_recover(struct replica *r, struct slice piece) {
    if (!r->loader) {
        r->loader = snap_loader_new();
        snap_loader_set_sink(r->loader, &(struct snap_sink){r, recover_walk, recover_record});
    }
    const char *why = snap_loader_piece(r->loader, piece);
    if (why)
        refuse(r, why);
}

void snap_flow_recovered(struct replica *r, zxid_t begun, zxid_t ended) {
    bool altered;
    const char *why = finish(r, begun, ended, &altered);
    if (why)
        refuse(r, why);
    else
        zab_recover_base(r->zab, begun, ended);
}

void snap_flow_reset(struct replica *r) {
    snap_loader_free(r->loader);
    r->loader = snap_loader_new();
    snap_loader_empty(r->loader, r);
    snap_loader_free(r->loader);
    r->loader = NULL;
    pending_free(r->pending);
    r->pending = pending_new(r->tree);
    digest_reset(r);
    r->expected_zxid = 0;
    r->history_id = 0;
}

void snap_flow_close(struct replica *r) {
    snap_flow_stop_all(r);
    snap_loader_free(r->loader);
    r->loader = NULL;
}
