#include "replica/store/wal_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/cursor.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static const uint8_t header_magic[8] = {'z', 'k', 'f', 's', '-', 'l', 'o', 'g'};

/* Spreads the offset over all bits of the key, so that neighbouring places have unlike keys. */
#define OFFSET_SPREAD 0x9e3779b97f4a7c15u

static void store_u32(uint8_t *p, uint32_t v) {
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static void store_u64(uint8_t *p, uint64_t v) {
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

uint64_t wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER_BYTES]) {
    memset(out, 0, WAL_HEADER_BYTES);
    memcpy(out, header_magic, sizeof header_magic);
    store_u32(out + 8, h->version);
    store_u32(out + 12, WAL_HEADER_BYTES);
    store_u64(out + 16, (uint64_t)h->first_zxid);
    store_u64(out + 24, (uint64_t)h->prev_zxid);
    store_u64(out + 32, h->prev_seal);
    store_u64(out + 40, h->salt);
    uint64_t identity = XXH3_64bits(out, WAL_HEADER_BYTES - 8);
    store_u64(out + WAL_HEADER_BYTES - 8, identity);
    return identity;
}

int wal_header_decode(const uint8_t bytes[WAL_HEADER_BYTES], struct wal_header *ret_header,
                      uint64_t *ret_identity) {
    struct cursor c;
    cursor_init(&c, bytes, WAL_HEADER_BYTES);
    const uint8_t *magic = cursor_bytes(&c, sizeof header_magic);
    struct wal_header h = {.version = cursor_u32be(&c)};
    uint32_t header_bytes = cursor_u32be(&c);
    h.first_zxid = (zxid_t)cursor_u64be(&c);
    h.prev_zxid = (zxid_t)cursor_u64be(&c);
    h.prev_seal = cursor_u64be(&c);
    h.salt = cursor_u64be(&c);
    cursor_bytes(&c, WAL_HEADER_BYTES - 8 - 48);
    uint64_t identity = cursor_u64be(&c);
    if (c.bad || memcmp(magic, header_magic, sizeof header_magic) != 0 ||
        identity != XXH3_64bits(bytes, WAL_HEADER_BYTES - 8))
        return -EBADMSG;
    /* Every version keeps the magic, the version and the checksum where they are, so that an older
     * program can tell a newer log from a broken one. */
    if (h.version > WAL_VERSION)
        return -EPROTONOSUPPORT;
    if (h.version < WAL_VERSION_MIN || header_bytes != WAL_HEADER_BYTES)
        return -EBADMSG;
    *ret_header = h;
    *ret_identity = identity;
    return 0;
}

size_t wal_frame_size(size_t body_bytes) {
    return WAL_FRAME_BYTES + (body_bytes + WAL_ALIGN - 1) / WAL_ALIGN * WAL_ALIGN;
}

size_t wal_frame_begin(struct buf *b, uint32_t magic) {
    size_t at = b->len;
    buf_put_u64be(b, 0);
    buf_put_u32be(b, magic);
    buf_put_u32be(b, 0);
    return at;
}

void wal_frame_end(struct buf *b, size_t at) {
    size_t body_bytes = b->len - at - WAL_FRAME_BYTES;
    CHECK(body_bytes <= UINT32_MAX);
    buf_patch_u32be(b, at + 12, (uint32_t)body_bytes);
    static const uint8_t zeros[WAL_ALIGN];
    buf_put(b, zeros, wal_frame_size(body_bytes) - WAL_FRAME_BYTES - body_bytes);
    CHECK(!b->overflow);
}

static uint64_t frame_checksum(const uint8_t *frame, size_t size_bytes, uint64_t identity,
                               uint64_t offset) {
    return XXH3_64bits_withSeed(frame + 8, size_bytes - 8, identity ^ (offset * OFFSET_SPREAD));
}

uint64_t wal_frame_stamp(uint8_t *frame, size_t size_bytes, uint64_t identity, uint64_t offset) {
    uint64_t sum = frame_checksum(frame, size_bytes, identity, offset);
    store_u64(frame, sum);
    return sum;
}

bool wal_frame_valid(const uint8_t *frame, size_t size_bytes, uint64_t identity, uint64_t offset) {
    return wal_frame_head(frame).checksum == frame_checksum(frame, size_bytes, identity, offset);
}

struct wal_frame_head wal_frame_head(const uint8_t frame[WAL_FRAME_BYTES]) {
    struct cursor c;
    cursor_init(&c, frame, WAL_FRAME_BYTES);
    struct wal_frame_head h;
    h.checksum = cursor_u64be(&c);
    h.magic = cursor_u32be(&c);
    h.body_bytes = cursor_u32be(&c);
    return h;
}

void wal_mark_append(struct buf *b, const struct wal_mark *m) {
    size_t at = wal_frame_begin(b, WAL_MAGIC_MARK);
    buf_put_u64be(b, m->offset);
    buf_put_u64be(b, m->batch_start);
    buf_put_u64be(b, (uint64_t)m->last_zxid);
    buf_put_u64be(b, (uint64_t)m->next_zxid);
    buf_put_u64be(b, m->zero_pieces);
    wal_frame_end(b, at);
}

bool wal_mark_decode(struct slice body, struct wal_mark *ret_mark) {
    if (body.len != WAL_MARK_BODY_BYTES)
        return false;
    struct cursor c;
    cursor_init(&c, body.p, (size_t)body.len);
    struct wal_mark m;
    m.offset = cursor_u64be(&c);
    m.batch_start = cursor_u64be(&c);
    m.last_zxid = (zxid_t)cursor_u64be(&c);
    m.next_zxid = (zxid_t)cursor_u64be(&c);
    m.zero_pieces = cursor_u64be(&c);
    if (c.bad)
        return false;
    *ret_mark = m;
    return true;
}

bool wal_all_zero(const uint8_t *p, size_t n) {
    /* A range is all zero when its first byte is and it equals itself shifted by one. */
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

uint64_t wal_zero_pieces(const uint8_t *p, size_t n, uint64_t offset) {
    uint64_t count = 0;
    for (size_t at = 0; at < n;) {
        size_t piece = (size_t)(WAL_SECTOR_BYTES - (offset + at) % WAL_SECTOR_BYTES);
        if (piece > n - at)
            piece = n - at;
        if (wal_all_zero(p + at, piece))
            count++;
        at += piece;
    }
    return count;
}

void wal_segment_name(zxid_t first_zxid, char ret_name[WAL_NAME_BYTES]) {
    int n = snprintf(ret_name, WAL_NAME_BYTES, "log.%016" PRIx64, (uint64_t)first_zxid);
    CHECK(n == WAL_NAME_BYTES - 1);
}

bool wal_zxid_parse(const char *text, zxid_t *ret_zxid) {
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 16)
        return false;
    uint64_t zxid = 0;
    for (const char *p = text; *p != '\0'; p++) {
        const char *digit = strchr(digits, *p);
        if (digit == NULL)
            return false;
        zxid = zxid << 4 | (uint64_t)(digit - digits);
    }
    *ret_zxid = (zxid_t)zxid;
    return true;
}

bool wal_segment_parse(const char *name, zxid_t *ret_first_zxid) {
    return strncmp(name, "log.", 4) == 0 && wal_zxid_parse(name + 4, ret_first_zxid);
}
