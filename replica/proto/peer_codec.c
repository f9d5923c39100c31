/* Message of peer.proto by hand (wire.h): thousands a second with payloads of up to 16 MiB pass
 * here, and each is copied once, from the wire into its blob or from the blob to the wire. */
#include "replica/proto/peer_codec.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/proto/wire.h"

#define TAG_TYPE WIRE_VARINT(1)
#define TAG_EPOCH WIRE_VARINT(2)
#define TAG_ZXID WIRE_FIXED64(3)
#define TAG_COMMITTED WIRE_FIXED64(4)
#define TAG_ENDED WIRE_FIXED64(5)
#define TAG_ROUND WIRE_VARINT(6)
#define TAG_COUNTED WIRE_VARINT(7)
#define TAG_OBSERVER WIRE_VARINT(8)
#define TAG_BLANK WIRE_VARINT(9)
#define TAG_MODE WIRE_VARINT(10)
#define TAG_KIND WIRE_VARINT(11)
#define TAG_PAYLOAD WIRE_BYTES(12)
#define TAG_BASE WIRE_FIXED64(13)
#define TAG_EPOCHS WIRE_BYTES(14)
#define TAG_VOTE WIRE_BYTES(15)
#define TAG_HELLO WIRE_BYTES(16)
#define TAG_LOSSY WIRE_VARINT(17)
#define TAG_FULL WIRE_VARINT(18)

#define TAG_VOTE_ROLE WIRE_VARINT(1)
#define TAG_VOTE_LEADER WIRE_VARINT(2)
#define TAG_VOTE_ZXID WIRE_FIXED64(3)
#define TAG_VOTE_BLANK WIRE_VARINT(4)
#define TAG_VOTE_ANSWER WIRE_VARINT(5)
#define TAG_VOTE_FULL WIRE_VARINT(6)

#define TAG_HELLO_VERSION WIRE_VARINT(1)
#define TAG_HELLO_FROM WIRE_VARINT(2)
#define TAG_HELLO_TO WIRE_VARINT(3)
#define TAG_HELLO_ENSEMBLE WIRE_FIXED64(4)
#define TAG_HELLO_CONFIG WIRE_FIXED64(5)
#define TAG_HELLO_REPAIRING WIRE_VARINT(6)

#define TYPE_HELLO 32u
#define TYPE_REPAIR 32u /* and the repair_type */

/* zxids are signed: a greater epoch would come before all others. */
#define EPOCH_MAX ((uint32_t)INT32_MAX)

/* The fields that a message may have besides its type. */
enum field {
    F_EPOCH = 1 << 0,
    F_ZXID = 1 << 1,
    F_COMMITTED = 1 << 2,
    F_ENDED = 1 << 3,
    F_ROUND = 1 << 4,
    F_COUNTED = 1 << 5,
    F_OBSERVER = 1 << 6,
    F_BLANK = 1 << 7,
    F_MODE = 1 << 8,
    F_KIND = 1 << 9,
    F_PAYLOAD = 1 << 10,
    F_EPOCHS = 1 << 11, /* and base */
    F_VOTE = 1 << 12,   /* and its epoch, round, blank and lossy */
    F_LOSSY = 1 << 13,
    F_FULL = 1 << 14,
};

static const unsigned fields_of[ZM_TYPE_END] = {
    [ZM_VOTE] = F_EPOCH | F_ROUND | F_BLANK | F_VOTE | F_LOSSY,
    [ZM_FOLLOWERINFO] = F_EPOCH | F_ZXID | F_ROUND | F_OBSERVER | F_BLANK | F_LOSSY,
    [ZM_LEADERINFO] = F_EPOCH | F_ROUND,
    [ZM_ACKEPOCH] = F_EPOCH | F_COUNTED | F_BLANK | F_EPOCHS | F_LOSSY,
    [ZM_SYNC] = F_ZXID | F_COMMITTED | F_ENDED | F_MODE,
    [ZM_SNAPCHUNK] = F_PAYLOAD,
    [ZM_SNAPEND] = F_ZXID | F_ENDED,
    [ZM_SYNCREADY] = F_ZXID,
    [ZM_PROPOSAL] = F_ZXID | F_KIND | F_PAYLOAD,
    [ZM_ACK] = F_ZXID,
    [ZM_COMMIT] = F_ZXID,
    [ZM_INFORM] = F_ZXID | F_KIND | F_PAYLOAD,
    [ZM_UPTODATE] = F_ZXID,
    [ZM_PING] = F_ZXID | F_ROUND,
    [ZM_PONG] = F_ROUND | F_FULL,
    [ZM_APP] = F_ZXID | F_PAYLOAD,
};

/* Puts the length of what was written behind `at`, of less than 128 bytes, before it. */
static void close_short(struct buf *out, size_t at) {
    if (out->overflow)
        return;
    CHECK(out->len - at < 128);
    out->data[at - 1] = (uint8_t)(out->len - at);
}

/* Begins a part of less than 128 bytes: returns where it starts. */
static size_t open_short(struct buf *out, uint32_t tag) {
    wire_put_varint(out, tag);
    buf_put_u8(out, 0);
    return out->len;
}

void peer_hello_encode(struct buf *out, const struct peer_hello *h) {
    wire_put_number(out, TAG_TYPE, TYPE_HELLO);
    size_t at = open_short(out, TAG_HELLO);
    wire_put_number(out, TAG_HELLO_VERSION, h->version);
    wire_put_number(out, TAG_HELLO_FROM, h->from);
    wire_put_number(out, TAG_HELLO_TO, h->to);
    wire_put_zxid(out, TAG_HELLO_ENSEMBLE, (int64_t)h->ensemble_id);
    wire_put_zxid(out, TAG_HELLO_CONFIG, (int64_t)h->config_hash);
    wire_put_number(out, TAG_HELLO_REPAIRING, h->repairing);
    close_short(out, at);
}

void peer_repair_encode(struct buf *out, const struct repair_msg *m) {
    wire_put_number(out, TAG_TYPE, TYPE_REPAIR + m->type);
    repair_encode(out, m);
}

static void put_vote(struct buf *out, const struct zab_vote *v) {
    size_t at = open_short(out, TAG_VOTE);
    wire_put_number(out, TAG_VOTE_ROLE, v->role);
    wire_put_number(out, TAG_VOTE_LEADER, v->leader);
    wire_put_zxid(out, TAG_VOTE_ZXID, v->leader_zxid);
    wire_put_number(out, TAG_VOTE_BLANK, v->leader_blank);
    wire_put_number(out, TAG_VOTE_ANSWER, v->answer);
    wire_put_number(out, TAG_VOTE_FULL, v->leader_full);
    close_short(out, at);
}

static void put_epochs(struct buf *out, const struct zab_msg *m) {
    CHECK(m->epoch_count <= ZAB_EPOCHS_MAX);
    wire_put_zxid(out, TAG_BASE, m->base);
    if (m->epoch_count == 0)
        return;
    wire_put_varint(out, TAG_EPOCHS);
    wire_put_varint(out, 8 * m->epoch_count);
    for (uint32_t i = 0; i < m->epoch_count; i++)
        wire_put_fixed64(out, (uint64_t)m->epochs[i]);
}

/* The start of an epoch has no payload; everything else that may have one has it. */
static bool has_payload(const struct zab_msg *m) {
    return !(fields_of[m->type] & F_KIND) || m->kind == ZAB_TXN;
}

void peer_zab_encode(struct buf *out, const struct zab_msg *m) {
    CHECK(m->type >= ZM_VOTE);
    CHECK(m->type < ZM_TYPE_END);
    unsigned f = fields_of[m->type];
    bool vote = f & F_VOTE;
    wire_put_number(out, TAG_TYPE, m->type);
    if (f & F_EPOCH)
        wire_put_number(out, TAG_EPOCH, vote ? m->vote.epoch : m->epoch);
    if (f & F_ZXID)
        wire_put_zxid(out, TAG_ZXID, m->zxid);
    if (f & F_COMMITTED)
        wire_put_zxid(out, TAG_COMMITTED, m->committed);
    if (f & F_ENDED)
        wire_put_zxid(out, TAG_ENDED, m->ended);
    if (f & F_ROUND)
        wire_put_number(out, TAG_ROUND, vote ? m->vote.round : m->round);
    if (f & F_COUNTED)
        wire_put_number(out, TAG_COUNTED, m->counted);
    if (f & F_OBSERVER)
        wire_put_number(out, TAG_OBSERVER, m->observer);
    if (f & F_BLANK)
        wire_put_number(out, TAG_BLANK, vote ? m->vote.blank : m->blank);
    if (f & F_MODE)
        wire_put_number(out, TAG_MODE, m->mode);
    if (f & F_KIND)
        wire_put_number(out, TAG_KIND, m->kind);
    if (f & F_PAYLOAD && has_payload(m)) {
        wire_put_varint(out, TAG_PAYLOAD);
        wire_put_bytes(out, blob_slice(m->payload));
    }
    if (f & F_EPOCHS)
        put_epochs(out, m);
    if (vote)
        put_vote(out, &m->vote);
    if (f & F_LOSSY)
        wire_put_number(out, TAG_LOSSY, vote ? m->vote.lossy : m->lossy);
    if (f & F_FULL)
        wire_put_number(out, TAG_FULL, m->full);
}

/* A cursor over the bytes of a part, which is bad when there is none. */
static struct cursor read_part(struct cursor *c, uint32_t tag) {
    struct cursor part;
    struct slice s = SLICE_NULL;
    if (wire_next(c, tag))
        s = wire_read_bytes(c, INT32_MAX);
    cursor_init(&part, s.p, s.len > 0 ? (size_t)s.len : 0);
    part.bad = s.len < 0;
    return part;
}

static bool read_bool(struct cursor *c, uint32_t tag) { return wire_read_number(c, tag, 1) != 0; }

static uint64_t read_u64(struct cursor *c, uint32_t tag) {
    return (uint64_t)wire_read_zxid(c, tag);
}

/* A zxid of a history: not below 0. */
static zxid_t read_zxid(struct cursor *c, uint32_t tag) {
    zxid_t zxid = wire_read_zxid(c, tag);
    c->bad |= zxid < 0;
    return zxid;
}

static void read_vote(struct cursor *c, struct zab_msg *m) {
    struct zab_vote *v = &m->vote;
    struct cursor part = read_part(c, TAG_VOTE);
    v->role = (enum zab_role)wire_read_number(&part, TAG_VOTE_ROLE, ZAB_LEADING);
    v->leader = (uint8_t)wire_read_number(&part, TAG_VOTE_LEADER, UINT8_MAX);
    v->leader_zxid = read_zxid(&part, TAG_VOTE_ZXID);
    v->leader_blank = read_bool(&part, TAG_VOTE_BLANK);
    v->answer = read_bool(&part, TAG_VOTE_ANSWER);
    v->leader_full = read_bool(&part, TAG_VOTE_FULL);
    c->bad |= part.bad || cursor_left(&part) > 0;
    v->epoch = m->epoch;
    v->round = m->round;
    v->blank = m->blank;
    v->lossy = read_bool(c, TAG_LOSSY);
    m->epoch = 0;
    m->round = 0;
    m->blank = false;
}

static bool read_hello(struct cursor *c, struct peer_hello *ret) {
    struct cursor part = read_part(c, TAG_HELLO);
    *ret = (struct peer_hello){
        .version = (uint32_t)wire_read_number(&part, TAG_HELLO_VERSION, UINT32_MAX),
        .from = (uint8_t)wire_read_number(&part, TAG_HELLO_FROM, UINT8_MAX),
        .to = (uint8_t)wire_read_number(&part, TAG_HELLO_TO, UINT8_MAX),
        .ensemble_id = read_u64(&part, TAG_HELLO_ENSEMBLE),
        .config_hash = read_u64(&part, TAG_HELLO_CONFIG),
        .repairing = read_bool(&part, TAG_HELLO_REPAIRING),
    };
    return !c->bad && !part.bad && cursor_left(&part) == 0 && cursor_left(c) == 0;
}

static void read_epochs(struct cursor *c, struct zab_msg *m) {
    m->base = read_zxid(c, TAG_BASE);
    if (!wire_next(c, TAG_EPOCHS))
        return;
    struct slice s = wire_read_bytes(c, 8 * ZAB_EPOCHS_MAX);
    if (s.len <= 0 || s.len % 8 != 0) {
        c->bad = true;
        return;
    }
    struct cursor part;
    cursor_init(&part, s.p, (size_t)s.len);
    m->epoch_count = (uint32_t)s.len / 8;
    for (uint32_t i = 0; i < m->epoch_count; i++) {
        m->epochs[i] = (zxid_t)wire_read_fixed64(&part);
        /* Newest first, each epoch once. */
        c->bad |= m->epochs[i] < 0;
        c->bad |= i > 0 && zxid_epoch(m->epochs[i]) >= zxid_epoch(m->epochs[i - 1]);
    }
}

static struct slice read_payload(struct cursor *c, const struct zab_msg *m) {
    if (!has_payload(m))
        return SLICE_NULL;
    if (!wire_next(c, TAG_PAYLOAD))
        c->bad = true;
    return wire_read_bytes(c, PEER_MESSAGE_MAX);
}

/* The payload is what remains to be made a blob of. */
static struct slice read_fields(struct cursor *c, struct zab_msg *m) {
    unsigned f = fields_of[m->type];
    struct slice payload = SLICE_NULL;
    if (f & F_EPOCH)
        m->epoch = (uint32_t)wire_read_number(c, TAG_EPOCH, EPOCH_MAX);
    if (f & F_ZXID)
        m->zxid = read_zxid(c, TAG_ZXID);
    if (f & F_COMMITTED)
        m->committed = read_zxid(c, TAG_COMMITTED);
    if (f & F_ENDED)
        m->ended = read_zxid(c, TAG_ENDED);
    if (f & F_ROUND)
        m->round = wire_read_number(c, TAG_ROUND, UINT64_MAX);
    if (f & F_COUNTED)
        m->counted = read_bool(c, TAG_COUNTED);
    if (f & F_OBSERVER)
        m->observer = read_bool(c, TAG_OBSERVER);
    if (f & F_BLANK)
        m->blank = read_bool(c, TAG_BLANK);
    if (f & F_MODE)
        m->mode = (enum zab_sync_mode)wire_read_number(c, TAG_MODE, ZAB_SYNC_SNAP);
    if (f & F_KIND)
        m->kind = (enum zab_record_kind)wire_read_number(c, TAG_KIND, ZAB_EPOCH);
    if (f & F_PAYLOAD)
        payload = read_payload(c, m);
    if (f & F_EPOCHS)
        read_epochs(c, m);
    if (f & F_VOTE)
        read_vote(c, m);
    else if (f & F_LOSSY)
        m->lossy = read_bool(c, TAG_LOSSY);
    if (f & F_FULL)
        m->full = read_bool(c, TAG_FULL);
    return payload;
}

/* Whether the fields go with each other. What they mean is the receiver's to judge. */
static bool fields_fit(const struct zab_msg *m) {
    switch (m->type) {
    case ZM_FOLLOWERINFO:
        return !m->blank || m->zxid == 0;
    case ZM_ACKEPOCH:
        return !m->blank || (m->epoch_count == 0 && m->base == 0);
    case ZM_SYNC:
        return m->mode != 0 && m->zxid <= m->ended;
    case ZM_SNAPEND:
        return m->zxid <= m->ended;
    case ZM_PROPOSAL:
    case ZM_INFORM:
        return m->kind != 0 && m->zxid > 0 &&
               (zxid_counter(m->zxid) == 0) == (m->kind == ZAB_EPOCH);
    default:
        return true;
    }
}

bool peer_decode(struct slice bytes, struct peer_message *ret_message) {
    if (bytes.len <= 0 || bytes.len > (int32_t)PEER_MESSAGE_MAX)
        return false;
    struct cursor c;
    cursor_init(&c, bytes.p, (size_t)bytes.len);
    uint32_t type = (uint32_t)wire_read_number(&c, TAG_TYPE, TYPE_REPAIR + REPAIR_TYPE_END - 1);
    struct peer_message m = {.is_hello = type == TYPE_HELLO, .is_repair = type > TYPE_REPAIR};
    if (m.is_repair) {
        m.repair.type = (enum repair_type)(type - TYPE_REPAIR);
        if (!repair_decode(&c, &m.repair, &m.memory))
            return false;
        *ret_message = m;
        return true;
    }
    if (m.is_hello) {
        if (!read_hello(&c, &m.hello))
            return false;
        *ret_message = m;
        return true;
    }
    if (c.bad || type < ZM_VOTE || type >= ZM_TYPE_END)
        return false;
    m.zab.type = (enum zab_msg_type)type;
    struct slice payload = read_fields(&c, &m.zab);
    if (c.bad || cursor_left(&c) > 0 || !fields_fit(&m.zab))
        return false;
    m.zab.payload = blob_from_slice(payload);
    *ret_message = m;
    return true;
}

void peer_message_close(struct peer_message *m) {
    mem_free(m->memory);
    m->memory = NULL;
    blob_unref(m->zab.payload);
    m->zab.payload = NULL;
}
