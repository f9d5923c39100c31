/* The messages of a repair (peer.proto) by hand (wire.h). */
#include "replica/proto/repair_codec.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/proto/wire.h"

#define TAG_AFTER WIRE_FIXED64(19)
#define TAG_UNTIL WIRE_FIXED64(20)
#define TAG_REASON WIRE_VARINT(21)
#define TAG_BEGUN WIRE_FIXED64(22)
#define TAG_ENDED WIRE_FIXED64(23)
#define TAG_OFFSET WIRE_VARINT(24)
#define TAG_SIZE WIRE_VARINT(25)
#define TAG_BYTES WIRE_BYTES(26)
#define TAG_RECORD WIRE_BYTES(27)

/* The fields that a message may have. */
enum field {
    F_PLACE = 1 << 0, /* after, until */
    F_REASON = 1 << 1,
    F_BEGUN = 1 << 2,
    F_ENDED = 1 << 3,
    F_OFFSET = 1 << 4,
    F_PIECE = 1 << 5, /* size, bytes */
    F_RECORDS = 1 << 6,
};

static const unsigned fields_of[REPAIR_TYPE_END] = {
    [REPAIR_ASK] = F_PLACE,
    [REPAIR_RECORDS] = F_PLACE | F_RECORDS,
    [REPAIR_NONE] = F_PLACE | F_REASON,
    [REPAIR_SNAP_ASK] = F_BEGUN | F_OFFSET,
    [REPAIR_SNAP_PIECE] = F_BEGUN | F_ENDED | F_OFFSET | F_PIECE,
    [REPAIR_SNAP_NONE] = F_BEGUN,
};

static void put_record(struct buf *out, struct buf *record, const struct log_record *r) {
    buf_reset(record);
    log_record_encode(record, r);
    wire_put_varint(out, TAG_RECORD);
    wire_put_bytes(out, (struct slice){record->data, (int32_t)record->len});
}

void repair_encode(struct buf *out, const struct repair_msg *m) {
    CHECK(m->type >= REPAIR_ASK);
    CHECK(m->type < REPAIR_TYPE_END);
    unsigned f = fields_of[m->type];
    if (f & F_PLACE) {
        wire_put_zxid(out, TAG_AFTER, m->after);
        wire_put_zxid(out, TAG_UNTIL, m->until);
    }
    if (f & F_REASON)
        wire_put_number(out, TAG_REASON, m->reason);
    if (f & F_BEGUN)
        wire_put_zxid(out, TAG_BEGUN, m->begun);
    if (f & F_ENDED)
        wire_put_zxid(out, TAG_ENDED, m->ended);
    if (f & F_OFFSET)
        wire_put_number(out, TAG_OFFSET, m->offset);
    if (f & F_PIECE) {
        wire_put_number(out, TAG_SIZE, m->size_bytes);
        wire_put_varint(out, TAG_BYTES);
        wire_put_bytes(out, m->bytes);
    }
    struct buf record = BUF_INIT;
    for (size_t i = 0; f & F_RECORDS && i < m->record_count; i++)
        put_record(out, &record, &m->records[i]);
    buf_close(&record);
}

static zxid_t read_zxid(struct cursor *c, uint32_t tag) {
    zxid_t zxid = wire_read_zxid(c, tag);
    c->bad |= zxid < 0;
    return zxid;
}

/* How many records come next, each in its own bytes. The cursor stays. */
static size_t count_records(const struct cursor *from) {
    struct cursor c = *from;
    size_t count = 0;
    for (; wire_next(&c, TAG_RECORD); count++)
        (void)wire_read_bytes(&c, LOG_RECORD_MAX);
    return c.bad ? 0 : count;
}

/* Each behind the one before: the next number, or the beginning of a later epoch. */
static bool follows(zxid_t last, const struct log_record *r) {
    if (r->zxid < 0 || zxid_epoch(r->zxid) == 0 ||
        (r->kind == LOG_EPOCH) != (zxid_counter(r->zxid) == 0))
        return false;
    return r->kind == LOG_EPOCH ? zxid_epoch(r->zxid) > zxid_epoch(last) : r->zxid == last + 1;
}

static void read_records(struct cursor *c, struct repair_msg *m, void **ret_memory) {
    size_t count = count_records(c);
    c->bad |= count == 0;
    if (c->bad)
        return;
    struct log_record *list = mem_alloc(count * sizeof *list);
    zxid_t last = m->after;
    for (size_t i = 0; i < count; i++) {
        (void)wire_next(c, TAG_RECORD);
        struct slice bytes = wire_read_bytes(c, LOG_RECORD_MAX);
        if (!log_record_decode(bytes, &list[i]) || !follows(last, &list[i]) ||
            list[i].committed < 0 || list[i].zxid > m->until) {
            c->bad = true;
            break;
        }
        last = list[i].zxid;
    }
    m->records = list;
    m->record_count = count;
    *ret_memory = list;
}

static bool fields_fit(const struct repair_msg *m, unsigned f) {
    if (f & F_PLACE && m->after >= m->until)
        return false;
    if (f & F_REASON && m->reason == 0)
        return false;
    if (m->type == REPAIR_SNAP_ASK && m->begun == 0 && m->offset > 0)
        return false;
    if (!(f & F_PIECE))
        return true;
    uint64_t n = (uint64_t)m->bytes.len;
    return m->begun > 0 && m->begun <= m->ended && m->bytes.len > 0 && n <= m->size_bytes &&
           m->offset <= m->size_bytes - n;
}

bool repair_decode(struct cursor *c, struct repair_msg *m, void **ret_memory) {
    unsigned f = fields_of[m->type];
    void *memory = NULL;
    if (f & F_PLACE) {
        m->after = read_zxid(c, TAG_AFTER);
        m->until = read_zxid(c, TAG_UNTIL);
    }
    if (f & F_REASON)
        m->reason = (enum repair_reason)wire_read_number(c, TAG_REASON, REPAIR_REASON_END - 1);
    if (f & F_BEGUN)
        m->begun = read_zxid(c, TAG_BEGUN);
    if (f & F_ENDED)
        m->ended = read_zxid(c, TAG_ENDED);
    if (f & F_OFFSET)
        m->offset = wire_read_number(c, TAG_OFFSET, INT64_MAX);
    if (f & F_PIECE) {
        m->size_bytes = wire_read_number(c, TAG_SIZE, INT64_MAX);
        c->bad |= !wire_next(c, TAG_BYTES);
        m->bytes = wire_read_bytes(c, INT32_MAX);
    }
    if (f & F_RECORDS)
        read_records(c, m, &memory);
    bool good = !c->bad && cursor_left(c) == 0 && fields_fit(m, f);
    if (!good) {
        mem_free(memory);
        memory = NULL;
    }
    *ret_memory = memory;
    return good;
}
