/* The log's bytes (docs/disk-format.md): segment header, frames, persist marks, file names. All
 * numbers are big-endian, all frames start at a multiple of WAL_ALIGN bytes in their file.
 *
 * A frame is  checksum u64 | magic u32 | body length u32 | body | zeros up to a multiple of 8.  The
 * checksum covers everything behind itself and is keyed by the segment and by the frame's own
 * offset, so a frame that lies elsewhere than where it was written is no frame. */
#ifndef ZKFS_REPLICA_STORE_WAL_FORMAT_H
#define ZKFS_REPLICA_STORE_WAL_FORMAT_H

#include "common/buf.h"
#include "common/types.h"

/* 2: records say how far was committed. 3: an owner may be a container's or a TTL znode's. Older
 * segments are read, never added to. */
#define WAL_VERSION 3u
#define WAL_VERSION_MIN 1u
#define WAL_HEADER_BYTES 64
#define WAL_FRAME_BYTES 16 /* checksum, magic, length */
#define WAL_ALIGN 8
#define WAL_MARK_BODY_BYTES 40
#define WAL_MARK_BYTES (WAL_FRAME_BYTES + WAL_MARK_BODY_BYTES)
/* What a disk writes as a whole or not at all. */
#define WAL_SECTOR_BYTES 512
#define WAL_NAME_BYTES 21 /* "log." and 16 hex digits and the NUL */

#define WAL_MAGIC_RECORD 0x7a6b5263u /* "zkRc" */
#define WAL_MAGIC_MARK 0x7a6b4d6bu   /* "zkMk" */

/* The head of a segment. Its checksum is the segment's identity: it keys the checksums of all
 * frames. */
struct wal_header {
    uint32_t version;
    zxid_t first_zxid;  /* of the first record; the file's name says the same */
    zxid_t prev_zxid;   /* the last before it; 0 where the history begins */
    uint64_t prev_seal; /* checksum of the seal that ends the segment before; 0 likewise */
    uint64_t salt;      /* random, so that nobody who writes data can forge a frame inside it */
};

/* Written behind each batch, in the same write. A valid mark of a later batch proves that
 * everything before that batch was durable once; this batch's own mark proves that this much was
 * written. A mark with next_zxid is a seal: the last frame of its segment. */
struct wal_mark {
    uint64_t offset;      /* its own */
    uint64_t batch_start; /* offset of the batch's first frame */
    zxid_t last_zxid;
    zxid_t next_zxid;     /* the first of the next segment, 0 when this is no seal */
    uint64_t zero_pieces; /* wal_zero_pieces of the batch as it was written */
};

/* Writes the header's bytes and returns the identity. */
uint64_t wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER_BYTES]);
/* 0; -EBADMSG when these are no header's bytes; -EPROTONOSUPPORT for a header that is whole and of
 * a newer version. *ret_header is untouched on failure. */
int wal_header_decode(const uint8_t bytes[WAL_HEADER_BYTES], struct wal_header *ret_header,
                      uint64_t *ret_identity);

/* Length of a frame with this much body, padding included. */
size_t wal_frame_size(size_t body_bytes);
/* Begins a frame in b: room for the checksum, magic, a length still open. Returns its position in
 * b. */
size_t wal_frame_begin(struct buf *b, uint32_t magic);
/* Ends it: pads, fills in the length. The checksum follows when the place in the file is known. */
void wal_frame_end(struct buf *b, size_t at);
/* Fills in the checksum of a frame of `size_bytes` (padding included) that will stand at `offset`.
 */
uint64_t wal_frame_stamp(uint8_t *frame, size_t size_bytes, uint64_t identity, uint64_t offset);
/* True when the checksum is right for this place. `size_bytes` is the frame's length with padding.
 */
bool wal_frame_valid(const uint8_t *frame, size_t size_bytes, uint64_t identity, uint64_t offset);

struct wal_frame_head {
    uint64_t checksum;
    uint32_t magic;
    uint32_t body_bytes;
};
struct wal_frame_head wal_frame_head(const uint8_t frame[WAL_FRAME_BYTES]);

void wal_mark_append(struct buf *b, const struct wal_mark *m);
/* Reads the body of a frame whose checksum was right; false when it is no mark's. */
bool wal_mark_decode(struct slice body, struct wal_mark *ret_mark);

bool wal_all_zero(const uint8_t *p, size_t n);
/* How many of the pieces that the disk's sector bounds cut [offset, offset + n) into are all zero.
 * A sector that a crash kept from the disk reads as the zeros that stood there before, so a batch
 * with more such pieces than it was written with was never durable; a flipped bit makes no such
 * piece. */
uint64_t wal_zero_pieces(const uint8_t *p, size_t n, uint64_t offset);

/* "log.0000000100000000" */
void wal_segment_name(zxid_t first_zxid, char ret_name[WAL_NAME_BYTES]);
/* 16 lower-case hex digits and nothing else; false for any other text. */
bool wal_zxid_parse(const char *text, zxid_t *ret_zxid);
/* False when the name is no segment's. */
bool wal_segment_parse(const char *name, zxid_t *ret_first_zxid);

#endif
