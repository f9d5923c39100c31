/* The core of one server of an ensemble, whose peers say anything: the input is a script of links,
 * messages that fit and messages that do not, clients, time, and a disk that answers late. Whatever
 * they say, no invariant breaks; and what stands on the disk then can be started from. */
#include "common/acl.h"
#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/proto/snap_codec.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/replica_world.h"

#include <string.h>

/* What a script can say about zxids: those around what is known. */
static zxid_t zxid_of(const struct world *w, uint8_t peer, struct cursor *c) {
    uint8_t choice = cursor_u8(c);
    const struct world_disk *d = &w->disk;
    zxid_t last = d->count > 0 ? d->log[d->count - 1].zxid : 0;
    switch (choice % 8) {
    case 0:
        return last;
    case 1:
        return last + 1;
    case 2:
        return w->peers[peer].last;
    case 3:
        return w->peers[peer].last + 1;
    case 4:
        return zxid_make(zxid_epoch(last) + 1, 0);
    case 5:
        return d->count > 1 ? d->log[(choice >> 3) % d->count].zxid : 0;
    case 6:
        return zxid_make(cursor_u8(c) % 8, cursor_u8(c) % 8);
    default:
        return (zxid_t)(cursor_u64be(c) & (INT64_MAX >> 1));
    }
}

static struct blob *encode_txn(struct txn *take_txn) {
    struct blob *b = txn_encode(take_txn);
    txn_free(take_txn);
    return b;
}

static struct txn *ops_txn(enum txn_op_type type, const char *path) {
    struct txn *t = txn_new(TXN_OPS, 1);
    t->ops[0].type = type;
    t->ops[0].path = blob_new(path, strlen(path));
    return t;
}

/* A transaction that a leader may have made: some fit the tree. */
static struct blob *txn_of(struct world *w, struct cursor *c) {
    static const char *const paths[] = {"/a", "/b", "/a/c", "/"};
    static const uint8_t secret[200];
    uint8_t choice = cursor_u8(c);
    const char *path = paths[(choice >> 3) % 3];
    struct txn *t;
    switch (choice % 8) {
    case 0:
        t = txn_new(TXN_ENSEMBLE, 0);
        t->secret = blob_new(secret, choice & 64 ? 200 : 32);
        break;
    case 1:
        t = txn_new(TXN_CREATE_SESSION, 0);
        t->timeout_ms = 4000;
        t->retries = choice & 8;
        break;
    case 2:
        t = txn_new(TXN_CLOSE_SESSION, 0);
        break;
    case 3:
        t = ops_txn(TXN_OP_CREATE, path);
        t->ops[0].acl = acl_open_unsafe();
        t->ops[0].parent_creates = cursor_u8(c);
        break;
    case 4:
        t = ops_txn(TXN_OP_SET_DATA, paths[(choice >> 3) % 4]);
        t->ops[0].version = cursor_u8(c);
        break;
    case 5:
        t = ops_txn(TXN_OP_DELETE, path);
        break;
    case 6:
        t = txn_new(TXN_ERROR, 1);
        t->err = -101;
        break;
    default: {
        struct slice raw = fuzz_piece(c);
        return blob_new(raw.p, raw.len > 0 ? (size_t)raw.len : 0);
    }
    }
    t->session_id = choice & 128 ? w->clients[0].session_id : cursor_u8(c);
    t->cxid = choice & 128 ? w->clients[0].next_xid : cursor_u8(c);
    return encode_txn(t);
}

/* Any message, with the fields that its type has. */
static void any_message(struct world *w, uint8_t peer, struct cursor *c) {
    uint8_t flags = cursor_u8(c);
    struct zab_msg m = {.type = (enum zab_msg_type)(1 + cursor_u8(c) % (ZM_TYPE_END - 1)),
                        .epoch = cursor_u8(c) % 8,
                        .zxid = zxid_of(w, peer, c),
                        .counted = flags & 1,
                        .observer = flags & 2,
                        .blank = flags & 4,
                        .lossy = flags & 8,
                        .full = flags & 128,
                        .round = cursor_u8(c)};
    m.committed = m.type == ZM_SYNC ? zxid_of(w, peer, c) : 0;
    m.ended = m.zxid + flags;
    m.mode = (enum zab_sync_mode)(1 + flags % 3);
    m.kind = zxid_counter(m.zxid) ? ZAB_TXN : ZAB_EPOCH;
    if (m.type == ZM_VOTE)
        m.vote = (struct zab_vote){(enum zab_role)(flags % 4),
                                   m.round,
                                   cursor_u8(c) % 6,
                                   m.zxid,
                                   m.epoch,
                                   flags & 16,
                                   flags & 32,
                                   flags & 64,
                                   flags & 128,
                                   flags & 8};
    m.epoch_count = m.type == ZM_ACKEPOCH ? flags % 3 : 0;
    for (uint32_t i = 0; i < m.epoch_count; i++)
        m.epochs[i] = zxid_of(w, peer, c);
    if (m.type == ZM_PROPOSAL || m.type == ZM_INFORM)
        m.payload = m.kind == ZAB_TXN ? txn_of(w, c) : NULL;
    if (m.type == ZM_SNAPCHUNK || m.type == ZM_APP) {
        struct slice raw = fuzz_piece(c);
        m.payload = blob_new(raw.p, raw.len > 0 ? (size_t)raw.len : 0);
    }
    world_peer_zab(w, peer, &m);
    blob_unref(m.payload);
}

static void any_app(struct world *w, uint8_t peer, struct cursor *c) {
    static const int32_t opcodes[] = {OP_CREATE,         OP_SET_DATA,      OP_DELETE, OP_MULTI,
                                      OP_CREATE_SESSION, OP_CLOSE_SESSION, OP_SYNC,   OP_GET_DATA};
    struct app_auth_id id = {slice_from_str("ip"), slice_from_str("127.0.0.1")};
    struct app_touch touch = {w->clients[cursor_u8(c) % WORLD_CLIENTS].session_id, 4000};
    struct app_msg m = {.type = (enum app_type)(1 + cursor_u8(c) % (APP_TYPE_END - 1)),
                        .tag = cursor_u8(c),
                        .session_id = cursor_u8(c) & 1 ? touch.session_id : cursor_u8(c),
                        .cxid = cursor_u8(c),
                        .opcode = opcodes[cursor_u8(c) % 8],
                        .timeout_ms = 1000 * cursor_u8(c),
                        .retries = cursor_u8(c) & 1,
                        .ok = cursor_u8(c) & 1,
                        .auth_ids = &id,
                        .auth_count = cursor_u8(c) & 1,
                        .touches = &touch,
                        .touch_count = 1};
    m.body = fuzz_piece(c);
    m.zxid = zxid_of(w, peer, c);
    m.zxid = m.zxid > 0 ? m.zxid : 1;
    m.has_digest = m.type == APP_QUARANTINE || cursor_u8(c) & 1;
    m.digest = cursor_u8(c);
    m.distrust = m.digest & 1;
    struct zab_msg app = {.type = ZM_APP, .zxid = zxid_of(w, peer, c), .payload = app_encode(&m)};
    world_peer_zab(w, peer, &app);
    blob_unref(app.payload);
}

static void send_snapshot(struct world *w, uint8_t peer, struct cursor *c) {
    struct buf b = BUF_INIT;
    struct blob *acl = acl_open_unsafe();
    struct znode_image root = {.path = slice_from_str("/"), .acl = acl};
    struct znode_image child = {
        .path = slice_from_str("/a"), .acl = acl, .stat = {.czxid = 1, .mzxid = 1, .pzxid = 1}};
    snap_put_head(&b, &(struct snap_head){slice_from_str("0123456789abcdef0123456789abcdef")});
    snap_put_znode(&b, &root);
    snap_put_znode(&b, &child);
    snap_put_session(&b, &(struct snap_session){7, 4000, true, NULL, 0});
    struct zab_msg chunk = {.type = ZM_SNAPCHUNK, .payload = blob_new(b.data, b.len)};
    world_peer_zab(w, peer, &chunk);
    zxid_t begun = zxid_of(w, peer, c);
    world_peer_zab(w, peer,
                   &(struct zab_msg){.type = ZM_SNAPEND, .zxid = begun, .ended = begun | 2});
    blob_unref(chunk.payload);
    blob_unref(acl);
    buf_close(&b);
}

/* The peer leads: what the server says to its leader. */
static void answer_as_leader(struct world *w, uint8_t peer, const struct zab_msg *m,
                             struct cursor *c) {
    struct world_peer *p = &w->peers[peer];
    struct zab_msg a = {.type = ZM_COMMIT};
    switch (m->type) {
    case ZM_FOLLOWERINFO:
        p->epoch = (m->epoch > zxid_epoch(m->zxid) ? m->epoch : zxid_epoch(m->zxid)) + 1;
        a = (struct zab_msg){.type = ZM_LEADERINFO, .epoch = p->epoch, .round = m->round};
        break;
    case ZM_ACKEPOCH:
        a = (struct zab_msg){.type = ZM_SYNC,
                             .mode = (enum zab_sync_mode)(1 + cursor_u8(c) % 3),
                             .zxid = m->epoch_count ? m->epochs[0] : m->base};
        if (a.mode == ZAB_SYNC_TRUNC)
            a.zxid = zxid_of(w, peer, c);
        p->last = a.zxid;
        a.ended = a.zxid + cursor_u8(c);
        world_peer_zab(w, peer, &a);
        if (a.mode == ZAB_SYNC_SNAP)
            send_snapshot(w, peer, c);
        return;
    case ZM_SYNCREADY:
        p->last = zxid_make(p->epoch, 0);
        a = (struct zab_msg){.type = ZM_PROPOSAL, .kind = ZAB_EPOCH, .zxid = p->last};
        break;
    default: /* ACK */
        a.zxid = m->zxid;
        if (zxid_counter(m->zxid) == 0)
            a.type = ZM_UPTODATE;
    }
    world_peer_zab(w, peer, &a);
}

/* The server leads: what it says to a follower. */
static void answer_as_follower(struct world *w, uint8_t peer, const struct zab_msg *m) {
    struct zab_msg a = {.type = ZM_SYNCREADY, .zxid = m->zxid};
    switch (m->type) {
    case ZM_LEADERINFO:
        a = (struct zab_msg){.type = ZM_ACKEPOCH, .epoch = m->epoch, .counted = true};
        a.epoch_count = w->peers[peer].last > 0;
        a.epochs[0] = w->peers[peer].last;
        a.blank = a.epoch_count == 0;
        break;
    case ZM_SYNC:
        if (m->mode == ZAB_SYNC_SNAP)
            return; /* SNAPEND follows */
        break;
    case ZM_SNAPEND:
        break;
    case ZM_PROPOSAL:
        w->peers[peer].last = m->zxid;
        a.type = ZM_ACK;
        break;
    default: /* PING */
        a = (struct zab_msg){.type = ZM_PONG, .round = m->round};
    }
    world_peer_zab(w, peer, &a);
}

static void answer_vote(struct world *w, uint8_t peer, const struct zab_msg *m, struct cursor *c) {
    uint8_t choice = cursor_u8(c);
    struct zab_msg a = {.type = ZM_VOTE, .vote = m->vote};
    a.vote.role = choice & 1 ? ZAB_LOOKING : ZAB_LEADING;
    a.vote.answer = choice & 2;
    a.vote.blank = w->peers[peer].last == 0;
    if (choice & 4 || a.vote.role == ZAB_LEADING) {
        a.vote.leader = peer;
        a.vote.leader_zxid = zxid_of(w, peer, c);
        a.vote.leader_blank = false;
    }
    if (a.vote.role == ZAB_LEADING)
        a.vote.epoch = zxid_epoch(a.vote.leader_zxid) + 1;
    world_peer_zab(w, peer, &a);
}

static void answer(struct world *w, uint8_t peer, struct cursor *c) {
    struct peer_message m;
    if (!world_peer_take(w, peer, &m))
        return;
    switch (m.is_hello || m.is_repair ? 0 : m.zab.type) {
    case ZM_VOTE:
        answer_vote(w, peer, &m.zab, c);
        break;
    case ZM_FOLLOWERINFO:
    case ZM_ACKEPOCH:
    case ZM_SYNCREADY:
    case ZM_ACK:
        answer_as_leader(w, peer, &m.zab, c);
        break;
    case ZM_LEADERINFO:
    case ZM_SYNC:
    case ZM_SNAPEND:
    case ZM_PROPOSAL:
    case ZM_PING:
        answer_as_follower(w, peer, &m.zab);
        break;
    default:
        break;
    }
    peer_message_close(&m);
}

/* The peer is elected, and proposes. */
static void propose(struct world *w, uint8_t peer, struct cursor *c) {
    struct zab_msg m = {.type = ZM_PROPOSAL, .kind = ZAB_TXN, .payload = txn_of(w, c)};
    m.zxid = ++w->peers[peer].last;
    if (zxid_counter(m.zxid) > 0 && m.zxid > 0)
        world_peer_zab(w, peer, &m);
    blob_unref(m.payload);
}

static void join(struct world *w, uint8_t peer, struct cursor *c) {
    uint8_t choice = cursor_u8(c);
    zxid_t last = choice & 1 ? zxid_of(w, peer, c) : 0;
    w->peers[peer].last = last;
    world_peer_zab(w, peer,
                   &(struct zab_msg){.type = ZM_FOLLOWERINFO,
                                     .epoch = choice >> 4,
                                     .zxid = last,
                                     .round = choice,
                                     .observer = peer == 4,
                                     .blank = last == 0});
}

static void link_up(struct world *w, uint8_t peer, struct cursor *c) {
    if (w->peers[peer].up)
        return;
    world_peer_up(w, peer);
    struct peer_hello h = {PEER_PROTOCOL_VERSION, peer, 1, 0, 1};
    uint8_t choice = cursor_u8(c);
    if (choice >= 0xf0)
        h.to = choice & 0xf;
    struct buf b = BUF_INIT;
    peer_hello_encode(&b, &h);
    world_peer_bytes(w, peer, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

static void client_action(struct world *w, struct cursor *c) {
    static const char *const paths[] = {"/a", "/b", "/a/c", "/"};
    static const int32_t opcodes[] = {OP_SYNC,   OP_EXISTS,        OP_DELETE,   OP_PING,
                                      OP_CREATE, OP_CLOSE_SESSION, OP_SET_DATA, OP_GET_DATA};
    uint8_t choice = cursor_u8(c);
    int client = choice % WORLD_CLIENTS;
    int32_t opcode = opcodes[(choice >> 2) % 8];
    world_open(w, client, (uint8_t)client);
    if (!w->clients[client].said_hello)
        world_connect(w, client, 4000, choice & 64, false);
    if (choice & 128)
        return;
    struct buf b = BUF_INIT;
    struct blob *acl = acl_open_unsafe();
    jute_write_slice(&b, slice_from_str(paths[cursor_u8(c) % 4]));
    if (opcode == OP_CREATE || opcode == OP_SET_DATA)
        jute_write_slice(&b, slice_from_str("data"));
    if (opcode == OP_CREATE)
        jute_write_jvec(&b, acl_view(acl));
    if (opcode == OP_CREATE)
        jute_write_int(&b, cursor_u8(c) % 4);
    else if (opcode == OP_DELETE || opcode == OP_SET_DATA)
        jute_write_int(&b, -1);
    else if (opcode != OP_SYNC)
        jute_write_bool(&b, choice & 64);
    bool empty = opcode == OP_PING || opcode == OP_CLOSE_SESSION;
    world_request(w, client, opcode, (struct slice){b.data, empty ? 0 : (int32_t)b.len});
    blob_unref(acl);
    buf_close(&b);
}

static void word(struct world *w, struct cursor *c) {
    static const char *const words[] = {"srvr", "stat", "mntr", "isro",
                                        "ruok", "dump", "conf", "cons"};
    world_hang_up(w, 3);
    world_open(w, 3, 3);
    world_word(w, 3, slice_from_str(words[cursor_u8(c) % 8]));
    world_hang_up(w, 3);
}

static void shell_action(struct world *w, struct cursor *c) {
    uint8_t choice = cursor_u8(c);
    switch (choice % 8) {
    case 0:
        w->hold_log = choice & 8;
        world_sync_log(w);
        break;
    case 1:
        world_hang_up(w, choice >> 6);
        break;
    case 2:
        word(w, c);
        break;
    default:
        world_tick(w, choice >= 0xe0 ? 3000 : choice >> 2);
    }
}

static void one_action(struct world *w, struct cursor *c) {
    uint8_t action = cursor_u8(c);
    uint8_t peer = (uint8_t)(2 + (action >> 4) % 3);
    link_up(w, peer, c);
    switch (action % 16) {
    case 0:
        world_peer_down(w, peer);
        break;
    case 1:
        world_peer_bytes(w, peer, fuzz_piece(c));
        break;
    case 2:
        any_message(w, peer, c);
        break;
    case 3:
        any_app(w, peer, c);
        break;
    case 4:
        propose(w, peer, c);
        break;
    case 5:
        join(w, peer, c);
        break;
    case 6:
    case 7:
        shell_action(w, c);
        break;
    case 8:
    case 9:
        client_action(w, c);
        break;
    default:
        answer(w, peer, c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world *w = world_new_member(NULL);
    struct cursor c;
    cursor_init(&c, data, size);
    while (cursor_left(&c) > 0 && !w->stopped && !world_log_full(w))
        one_action(w, &c);
    /* A crash, and a start; a history that the tree does not take stops that one, too. */
    struct world *again = world_new_member(w);
    world_tick(again, 1);
    world_free(again);
    world_free(w);
    return 0;
}
