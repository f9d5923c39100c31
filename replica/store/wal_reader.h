/* Reads a segment through one large window, so that a start costs few system calls. What lies
 * behind the file's end reads as zeros: to the log, space not allocated and space not written are
 * the same. */
#ifndef ZKFS_REPLICA_STORE_WAL_READER_H
#define ZKFS_REPLICA_STORE_WAL_READER_H

#include "replica/env.h"
#include "replica/store/wal_format.h"

#define WAL_READER_WINDOW_BYTES (1u << 20)

/* Behind damage data may look like the beginnings of many long frames, and each such place costs a
 * checksum over that length: so many bytes of a file are worth it. */
#define WAL_SEARCH_BYTES (1u << 30)

struct wal_reader {
    const struct env_files *files;
    int fd;              /* borrowed */
    uint64_t size_bytes; /* what lies behind reads as zeros: the file's, or less */
    uint64_t identity;   /* of the segment, once its header is known */
    uint8_t *window;
    size_t cap;
    size_t window_bytes; /* what one read takes, when it is not asked for more */
    uint64_t window_at;
    size_t window_len;
    int err; /* the first failed read: 0 or negative errno */
};

/* 0 or negative errno. */
int wal_reader_init(struct wal_reader *r, const struct env_files *files, int fd);
/* What lies behind `size_bytes` reads as zeros from now on. */
void wal_reader_limit(struct wal_reader *r, uint64_t size_bytes);
/* Reads on in another file, with the same window's memory. 0 or negative errno. */
int wal_reader_move(struct wal_reader *r, int fd);
void wal_reader_close(struct wal_reader *r); /* does not close fd */

/* n bytes at offset, borrowed until the next call; NULL when the read failed (r->err). */
const uint8_t *wal_reader_view(struct wal_reader *r, uint64_t offset, size_t n);

enum wal_frame_kind {
    WAL_FRAME_END,    /* nothing but zeros from here on */
    WAL_FRAME_RECORD, /* body is a log record's bytes */
    WAL_FRAME_MARK,
    WAL_FRAME_BAD, /* something else */
};

struct wal_frame {
    enum wal_frame_kind kind;
    uint64_t size_bytes; /* with padding */
    uint64_t checksum;
    struct slice body; /* WAL_FRAME_RECORD: borrowed until the next call */
    struct wal_mark mark;
};

/* What stands at offset. 0 or negative errno (of a read that failed). */
int wal_reader_frame(struct wal_reader *r, uint64_t offset, struct wal_frame *ret_frame);

/* Looks for the first valid mark at or behind offset: 1 found, 0 none, or negative errno. */
int wal_reader_find_mark(struct wal_reader *r, uint64_t offset, struct wal_mark *ret_mark);
/* The end of the last byte at or behind offset that is not zero; offset itself when all are. */
int wal_reader_content_end(struct wal_reader *r, uint64_t offset, uint64_t *ret_end);
/* wal_zero_pieces of [from, to). */
int wal_reader_zero_pieces(struct wal_reader *r, uint64_t from, uint64_t to, uint64_t *ret_count);

#endif
