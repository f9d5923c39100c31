#include "replica/store/wal_reader.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "replica/proto/txn_codec.h"

int wal_reader_init(struct wal_reader *r, const struct env_files *files, int fd) {
    int64_t size = files->size(files->ctx, fd);
    if (size < 0)
        return (int)size;
    *r = (struct wal_reader){.files = files,
                             .fd = fd,
                             .size_bytes = (uint64_t)size,
                             .window_bytes = WAL_READER_WINDOW_BYTES};
    return 0;
}

void wal_reader_limit(struct wal_reader *r, uint64_t size_bytes) {
    r->size_bytes = size_bytes;
    r->window_len = 0;
}

int wal_reader_move(struct wal_reader *r, int fd) {
    int64_t size = r->files->size(r->files->ctx, fd);
    if (size < 0)
        return (int)size;
    r->fd = fd;
    r->size_bytes = (uint64_t)size;
    r->window_len = 0;
    return 0;
}

void wal_reader_close(struct wal_reader *r) {
    mem_free(r->window);
    r->window = NULL;
    r->cap = 0;
    r->window_len = 0;
}

static bool fill(struct wal_reader *r, uint64_t offset, size_t n) {
    /* A small log gets a small window. */
    uint64_t left = offset < r->size_bytes ? r->size_bytes - offset : 0;
    size_t want = left < r->window_bytes ? (size_t)left : r->window_bytes;
    want = want > n ? want : n;
    if (want > r->cap) {
        mem_free(r->window);
        r->window = mem_alloc(want);
        r->cap = want;
    }
    size_t there = left < r->cap ? (size_t)left : r->cap;
    int64_t got = 0;
    if (there > 0)
        got = r->files->pread(r->files->ctx, r->fd, r->window, there, (int64_t)offset);
    if (got < 0) {
        r->err = (int)got;
        r->window_len = 0;
        return false;
    }
    memset(r->window + got, 0, r->cap - (size_t)got);
    r->window_at = offset;
    r->window_len = r->cap;
    return true;
}

const uint8_t *wal_reader_view(struct wal_reader *r, uint64_t offset, size_t n) {
    if (r->err != 0)
        return NULL;
    bool inside = offset >= r->window_at && offset - r->window_at <= r->window_len &&
                  n <= r->window_len - (size_t)(offset - r->window_at);
    if (!inside && !fill(r, offset, n))
        return NULL;
    return r->window + (offset - r->window_at);
}

/* Fills in a frame whose checksum was right. */
static void read_body(const uint8_t *p, const struct wal_frame_head *head,
                      struct wal_frame *frame) {
    struct slice body = {p + WAL_FRAME_BYTES, (int32_t)head->body_bytes};
    if (head->magic == WAL_MAGIC_RECORD) {
        frame->kind = WAL_FRAME_RECORD;
        frame->body = body;
    } else if (wal_mark_decode(body, &frame->mark)) {
        frame->kind = WAL_FRAME_MARK;
    }
}

int wal_reader_frame(struct wal_reader *r, uint64_t offset, struct wal_frame *ret_frame) {
    struct wal_frame frame = {.kind = WAL_FRAME_BAD};
    const uint8_t *p = wal_reader_view(r, offset, WAL_FRAME_BYTES);
    if (p == NULL)
        return r->err;
    if (wal_all_zero(p, WAL_FRAME_BYTES)) {
        uint64_t end = 0;
        int err = wal_reader_content_end(r, offset, &end);
        if (err < 0)
            return err;
        frame.kind = end == offset ? WAL_FRAME_END : WAL_FRAME_BAD;
        *ret_frame = frame;
        return 0;
    }
    struct wal_frame_head head = wal_frame_head(p);
    bool known = head.magic == WAL_MAGIC_RECORD || head.magic == WAL_MAGIC_MARK;
    if (known && head.body_bytes > 0 && head.body_bytes <= LOG_RECORD_MAX) {
        frame.size_bytes = wal_frame_size(head.body_bytes);
        frame.checksum = head.checksum;
        p = wal_reader_view(r, offset, (size_t)frame.size_bytes);
        if (p == NULL)
            return r->err;
        if (wal_frame_valid(p, (size_t)frame.size_bytes, r->identity, offset))
            read_body(p, &head, &frame);
    }
    *ret_frame = frame;
    return 0;
}

/* Whether a valid mark stands at p, that is, at offset. */
static bool mark_at(const struct wal_reader *r, const uint8_t *p, uint64_t offset,
                    struct wal_mark *ret_mark) {
    struct wal_frame_head head = wal_frame_head(p);
    struct slice body = {p + WAL_FRAME_BYTES, WAL_MARK_BODY_BYTES};
    return head.magic == WAL_MAGIC_MARK && head.body_bytes == WAL_MARK_BODY_BYTES &&
           wal_frame_valid(p, WAL_MARK_BYTES, r->identity, offset) &&
           wal_mark_decode(body, ret_mark) && ret_mark->offset == offset;
}

int wal_reader_find_mark(struct wal_reader *r, uint64_t offset, struct wal_mark *ret_mark) {
    uint64_t at = (offset + WAL_ALIGN - 1) / WAL_ALIGN * WAL_ALIGN;
    for (; at < r->size_bytes; at += WAL_ALIGN) {
        const uint8_t *p = wal_reader_view(r, at, WAL_MARK_BYTES);
        if (p == NULL)
            return r->err;
        struct wal_mark mark;
        if (mark_at(r, p, at, &mark)) {
            *ret_mark = mark;
            return 1;
        }
    }
    return 0;
}

int wal_reader_content_end(struct wal_reader *r, uint64_t offset, uint64_t *ret_end) {
    uint64_t end = offset;
    for (uint64_t at = offset; at < r->size_bytes;) {
        uint64_t left = r->size_bytes - at;
        size_t n = left < WAL_READER_WINDOW_BYTES ? (size_t)left : WAL_READER_WINDOW_BYTES;
        const uint8_t *p = wal_reader_view(r, at, n);
        if (p == NULL)
            return r->err;
        if (!wal_all_zero(p, n)) {
            size_t last = n;
            while (p[last - 1] == 0)
                last--;
            end = at + last;
        }
        at += n;
    }
    *ret_end = end;
    return 0;
}

int wal_reader_zero_pieces(struct wal_reader *r, uint64_t from, uint64_t to, uint64_t *ret_count) {
    uint64_t count = 0;
    while (from < to) {
        /* Steps end at a sector's bound, so that no piece is counted in two parts. */
        uint64_t step_end = (from / WAL_READER_WINDOW_BYTES + 1) * WAL_READER_WINDOW_BYTES;
        if (step_end > to)
            step_end = to;
        const uint8_t *p = wal_reader_view(r, from, (size_t)(step_end - from));
        if (p == NULL)
            return r->err;
        count += wal_zero_pieces(p, (size_t)(step_end - from), from);
        from = step_end;
    }
    *ret_count = count;
    return 0;
}
