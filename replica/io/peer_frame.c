#include "replica/io/peer_frame.h"

#include "common/check.h"

#include <endian.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define PREAMBLE_MAGIC 0x5a4b4650u /* ZKFP */

static uint32_t get_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static uint64_t get_u64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

void peer_preamble_encode(struct buf *out, const struct peer_preamble *p) {
    static const uint8_t zero[6];
    size_t begin = out->len;
    buf_put_u32be(out, PREAMBLE_MAGIC);
    buf_put_u32be(out, p->version);
    buf_put_u8(out, p->from);
    buf_put_u8(out, p->to);
    buf_put(out, zero, sizeof zero);
    buf_put_u64be(out, p->generation);
    buf_put_u64be(out, XXH3_64bits(out->data + begin, PEER_PREAMBLE_BYTES - 8));
}

const char *peer_preamble_decode(const uint8_t bytes[PEER_PREAMBLE_BYTES],
                                 struct peer_preamble *ret_preamble) {
    if (get_u32(bytes) != PREAMBLE_MAGIC)
        return "it is not a server of zkfs";
    if (get_u64(bytes + PEER_PREAMBLE_BYTES - 8) != XXH3_64bits(bytes, PEER_PREAMBLE_BYTES - 8))
        return "its first bytes are damaged";
    if (get_u32(bytes + 4) != PEER_LINK_VERSION)
        return "it speaks another version of the link";
    *ret_preamble = (struct peer_preamble){.version = get_u32(bytes + 4),
                                           .from = bytes[8],
                                           .to = bytes[9],
                                           .generation = get_u64(bytes + 16)};
    return NULL;
}

uint64_t peer_frame_seed(uint64_t sender_generation, uint64_t receiver_generation) {
    uint64_t both[2] = {htobe64(sender_generation), htobe64(receiver_generation)};
    return XXH3_64bits(both, sizeof both);
}

void peer_frame_encode(struct buf *out, uint64_t seed, struct slice body) {
    CHECK(body.len > 0);
    CHECK((uint32_t)body.len <= PEER_MESSAGE_MAX);
    buf_put_u32be(out, (uint32_t)body.len);
    buf_put_u64be(out, XXH3_64bits_withSeed(body.p, (size_t)body.len, seed));
    buf_put(out, body.p, (size_t)body.len);
}

enum peer_frame_status peer_frame_decode(const uint8_t *p, size_t n, uint64_t seed,
                                         struct slice *ret_body) {
    if (n < PEER_FRAME_HEADER_BYTES)
        return PEER_FRAME_PARTIAL;
    uint32_t length = get_u32(p);
    if (length == 0 || length > PEER_MESSAGE_MAX)
        return PEER_FRAME_LENGTH;
    if (n - PEER_FRAME_HEADER_BYTES < length)
        return PEER_FRAME_PARTIAL;
    const uint8_t *body = p + PEER_FRAME_HEADER_BYTES;
    if (get_u64(p + 4) != XXH3_64bits_withSeed(body, length, seed))
        return PEER_FRAME_DAMAGED;
    *ret_body = (struct slice){body, (int32_t)length};
    return PEER_FRAME_WHOLE;
}
