#include "replica/server/peer.h"

#include "replica/proto/peer_codec.h"
#include "replica/server/hash.h"
#include "replica/server/learners.h"
#include "replica/server/repair_answer.h"

#include <nettle/sha2.h>

uint64_t peer_config_hash(const struct quorum_config *q) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        const struct quorum_server *s = &q->servers[i];
        if (!s->voter)
            continue;
        uint8_t b[6] = {s->id, s->group};
        for (int k = 0; k < 4; k++)
            b[2 + k] = (uint8_t)(s->weight >> 8 * k);
        hash += XXH3_64bits(b, sizeof b); /* in whatever order they are configured */
    }
    return hash;
}

void peer_init(struct replica *r) { r->config_hash = peer_config_hash(&r->config.ensemble); }

/* What a history belongs to, told by what is the first thing in it. Nobody can make the secret of
 * it. */
static uint64_t history_id(const struct sessions *ss) {
    struct sha256_ctx sha;
    uint8_t digest[8];
    sha256_init(&sha);
    sha256_update(&sha, ss->secret_len, ss->secret);
    sha256_digest(&sha, sizeof digest, digest);
    uint64_t id = 0;
    for (size_t i = 0; i < sizeof digest; i++)
        id = id << 8 | digest[i];
    return id ? id : 1;
}

static bool is_foreign(const struct replica *r, const struct peer *p) {
    return p->history_id && r->history_id && p->history_id != r->history_id;
}

static const char foreign[] = "it belongs to another ensemble: its data directory or its address "
                              "is wrong";

void peer_secret_known(struct replica *r) {
    r->history_id = history_id(&r->sessions);
    for (unsigned i = 0; i < 256; i++) {
        if (r->peers[i].known && is_foreign(r, &r->peers[i]))
            peer_cut(r, (uint8_t)i, foreign);
    }
}

/* Whether zab has been told of the link. */
static bool takes_part(const struct peer *p) { return p->known && !p->repairing; }

/* Nothing of the link is of use any more. */
static void forget(struct replica *r, uint8_t peer) {
    learners_forget(r, peer);
    r->peers[peer] = (struct peer){0};
}

static void out_drop(struct replica *r, uint8_t peer, const char *why) {
    out_peer_drop(&r->out, peer, why);
}

void peer_drop(struct replica *r, uint8_t peer, const char *why) {
    forget(r, peer);
    out_drop(r, peer, why ? why : "");
}

void peer_cut(struct replica *r, uint8_t peer, const char *why) {
    bool known = takes_part(&r->peers[peer]);
    forget(r, peer);
    out_text(&r->out, UPD_NOTE, 0, LOG_WARN, "the link to a peer is cut: %s peer=%u", why, peer);
    out_drop(r, peer, why);
    if (known)
        zab_peer_down(r->zab, peer);
}

static void send_hello(struct replica *r, uint8_t peer) {
    struct peer_hello h = {.version = PEER_PROTOCOL_VERSION,
                           .from = r->config.server_id,
                           .to = peer,
                           .ensemble_id = r->history_id,
                           .config_hash = r->config_hash};
    peer_hello_encode(out_peer(&r->out, peer), &h);
    out_peer_end(&r->out);
}

void peer_up(struct replica *r, uint8_t peer) {
    if (r->peers[peer].up)
        peer_down(r, peer); /* the one before is gone, then */
    if (peer == r->config.server_id || !quorum_find(&r->config.ensemble, peer)) {
        peer_cut(r, peer, "it is none of this ensemble's servers");
        return;
    }
    r->peers[peer].up = true;
    send_hello(r, peer);
}

void peer_down(struct replica *r, uint8_t peer) {
    bool known = takes_part(&r->peers[peer]);
    forget(r, peer);
    if (known)
        zab_peer_down(r->zab, peer);
}

static const char *hello_invalid_reason(const struct replica *r, uint8_t peer,
                                        const struct peer_hello *h) {
    if (h->version != PEER_PROTOCOL_VERSION)
        return "it speaks another version of this protocol";
    if (h->from != peer)
        return "it says that it is another server: myid or server.N is wrong";
    if (h->to != r->config.server_id)
        return "it takes this server for another one: myid or server.N is wrong";
    struct peer p = {.history_id = h->ensemble_id};
    return is_foreign(r, &p) ? foreign : NULL;
}

static void take_hello(struct replica *r, uint8_t peer, const struct peer_hello *h) {
    struct peer *p = &r->peers[peer];
    const char *why = p->known ? "a second greeting" : hello_invalid_reason(r, peer, h);
    if (why) {
        peer_cut(r, peer, why);
        return;
    }
    p->known = true;
    p->repairing = h->repairing;
    p->history_id = h->ensemble_id;
    if (h->config_hash != r->config_hash)
        out_text(&r->out, UPD_NOTE, 0, LOG_WARN,
                 "a peer is configured with other voters than this server: server.N, group.N and "
                 "weight.N have to be the same everywhere peer=%u",
                 peer);
    if (!p->repairing)
        zab_peer_up(r->zab, peer);
}

void peer_message(struct replica *r, uint8_t peer, struct slice bytes) {
    if (!r->peers[peer].up)
        return; /* its link was cut, and this was on its way */
    struct peer_message m;
    if (!peer_decode(bytes, &m)) {
        peer_cut(r, peer, "a message that is malformed");
        return;
    }
    if (m.is_hello)
        take_hello(r, peer, &m.hello);
    else if (!r->peers[peer].known)
        peer_cut(r, peer, "a message before the greeting");
    else if (m.is_repair)
        repair_answer(r, peer, &m.repair);
    else if (r->peers[peer].repairing)
        peer_cut(r, peer, "it is being repaired, and takes part all the same");
    else
        zab_receive(r->zab, peer, &m.zab);
    peer_message_close(&m);
}

void peer_send(struct replica *r, uint8_t peer, const struct zab_msg *msg) {
    if (!takes_part(&r->peers[peer]))
        return;
    peer_zab_encode(out_peer(&r->out, peer), msg);
    out_peer_end(&r->out);
}
