#include "replica/offline/frames.h"

#include "replica/proto/txn_codec.h"
#include "replica/store/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define MAGIC_BYTES 8
#define LOG_MAGIC "zkfs-log"
#define SNAPSHOT_MAGIC "zkfs-snp"
#define FRAME_MAGIC_PIECE 0x7a6b5370u /* "zkSp" */
#define FRAME_MAGIC_END 0x7a6b5365u   /* "zkSe" */

_Static_assert(STORE_FILE_BYTES == WAL_HEADER_BYTES, "both heads have one length");

static int read_head(struct frames *f, struct buf *why) {
    const uint8_t *p = wal_reader_view(&f->reader, 0, WAL_HEADER_BYTES);
    if (!p)
        return f->reader.err;
    bool log = memcmp(p, LOG_MAGIC, MAGIC_BYTES) == 0;
    bool snapshot = memcmp(p, SNAPSHOT_MAGIC, MAGIC_BYTES) == 0;
    bool empty = f->end <= WAL_HEADER_BYTES;
    if (!log && !snapshot && empty) {
        buf_printf(why, "there is nothing in it");
        return -ENODATA;
    }
    if (!log && !snapshot) {
        buf_printf(why, "it is neither a segment of a log nor a snapshot, or its head is broken");
        return -EBADMSG;
    }
    f->file = log ? FRAMES_LOG : FRAMES_SNAPSHOT;
    struct store_file head;
    int err = log ? wal_header_decode(p, &f->header, &f->reader.identity)
                  : store_file_decode(SNAPSHOT_MAGIC, p, &head, &f->reader.identity);
    if (err == -EPROTONOSUPPORT)
        buf_printf(why, "it has a newer format than this program knows");
    if (err == -EBADMSG && empty) {
        buf_printf(why, "there is nothing in it");
        return -ENODATA;
    }
    if (err != -EBADMSG)
        return err;
    /* The checksum that stands there keys the frames: unless it is what is broken, they are found.
     */
    f->head_damaged = true;
    f->reader.identity = 0;
    for (size_t i = WAL_HEADER_BYTES - 8; i < WAL_HEADER_BYTES; i++)
        f->reader.identity = f->reader.identity << 8 | p[i];
    return 0;
}

int frames_open(struct frames *f, const struct env_files *files, const char *path,
                struct buf *ret_why) {
    *f = (struct frames){.at = WAL_HEADER_BYTES};
    int fd = files->open(files->ctx, path, O_RDONLY, 0);
    int err = fd < 0 ? fd : wal_reader_init(&f->reader, files, fd);
    if (err < 0) {
        buf_printf(ret_why, "cannot be read: %s", strerror(-err));
        if (fd >= 0)
            files->close(files->ctx, fd);
        return err;
    }
    err = wal_reader_content_end(&f->reader, WAL_HEADER_BYTES, &f->end);
    if (err == 0)
        err = read_head(f, ret_why);
    if (err < 0) {
        if (f->reader.err < 0)
            buf_printf(ret_why, "cannot be read: %s", strerror(-f->reader.err));
        frames_close(f);
    }
    return err;
}

void frames_close(struct frames *f) {
    wal_reader_close(&f->reader);
    f->reader.files->close(f->reader.files->ctx, f->reader.fd);
}

static enum frame_kind kind_of(const struct frames *f, uint32_t magic) {
    if (f->file == FRAMES_LOG)
        return magic == WAL_MAGIC_RECORD ? FRAME_RECORD
               : magic == WAL_MAGIC_MARK ? FRAME_MARK
                                         : FRAME_DAMAGE;
    return magic == FRAME_MAGIC_PIECE ? FRAME_PIECE
           : magic == FRAME_MAGIC_END ? FRAME_SNAPSHOT_END
                                      : FRAME_DAMAGE;
}

/* 1 and the frame when a whole one stands at `at`, 0, or negative errno. */
static int whole_at(struct frames *f, uint64_t at, struct frame *frame) {
    const uint8_t *p = wal_reader_view(&f->reader, at, WAL_FRAME_BYTES);
    if (!p)
        return f->reader.err;
    struct wal_frame_head head = wal_frame_head(p);
    *frame = (struct frame){.kind = kind_of(f, head.magic), .at = at, .checksum = head.checksum};
    uint64_t left = f->reader.size_bytes - at;
    uint32_t most = f->file == FRAMES_LOG ? LOG_RECORD_MAX : INT32_MAX;
    if (frame->kind == FRAME_DAMAGE || head.body_bytes > most || head.body_bytes > left)
        return 0;
    frame->size_bytes = wal_frame_size(head.body_bytes);
    if (at != f->at && frame->kind != FRAME_MARK) {
        if (f->searched > WAL_SEARCH_BYTES)
            return 0;
        f->searched += frame->size_bytes;
    }
    p = wal_reader_view(&f->reader, at, (size_t)frame->size_bytes);
    if (!p)
        return f->reader.err;
    if (!wal_frame_valid(p, (size_t)frame->size_bytes, f->reader.identity, at))
        return 0;
    frame->body = (struct slice){p + WAL_FRAME_BYTES, (int32_t)head.body_bytes};
    return frame->kind != FRAME_MARK || wal_mark_decode(frame->body, &frame->mark);
}

int frames_next(struct frames *f, struct frame *ret_frame) {
    if (f->at >= f->end) {
        *ret_frame = (struct frame){.kind = FRAME_NONE, .at = f->at};
        return 0;
    }
    uint64_t from = f->at;
    for (uint64_t at = from; at < f->end; at += WAL_ALIGN) {
        struct frame frame = {.kind = FRAME_NONE};
        int found = whole_at(f, at, &frame);
        if (found < 0)
            return found;
        if (found > 0 && at == from) {
            f->at += frame.size_bytes;
            *ret_frame = frame;
            return 0;
        }
        if (found > 0) {
            f->at = at;
            break;
        }
    }
    if (f->at == from)
        f->at = f->end;
    *ret_frame = (struct frame){.kind = FRAME_DAMAGE, .at = from, .size_bytes = f->at - from};
    return 0;
}
