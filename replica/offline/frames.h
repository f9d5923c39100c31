/* The frames of a segment or a snapshot (docs/disk-format.md), in a file that may be damaged: what
 * is broken is passed over up to the next whole one. Frames know their place, so none is found
 * where it was not written. Reads only. */
#ifndef ZKFS_REPLICA_OFFLINE_FRAMES_H
#define ZKFS_REPLICA_OFFLINE_FRAMES_H

#include "common/buf.h"
#include "replica/store/wal_reader.h"

enum frames_file { FRAMES_LOG, FRAMES_SNAPSHOT };

struct frames {
    enum frames_file file;
    bool head_damaged;        /* its checksum, or all of it: frames are looked for all the same */
    struct wal_header header; /* FRAMES_LOG with a whole head */
    struct wal_reader reader;
    uint64_t at;       /* of the next frame */
    uint64_t end;      /* behind the last byte that is not zero */
    uint64_t searched; /* bytes that were tried as frames behind damage */
};

/* 0; -ENODATA when nothing but zeros stands behind a head that is not whole: a file that was only
 * made; -EBADMSG when the file is neither kind; -EPROTONOSUPPORT when it is of a newer version; or
 * the system's; ret_why then has the sentence. `files` is borrowed. */
int frames_open(struct frames *f, const struct env_files *files, const char *path,
                struct buf *ret_why);
void frames_close(struct frames *f);

enum frame_kind {
    FRAME_RECORD, /* body is a log record's bytes */
    FRAME_MARK,
    FRAME_PIECE,        /* body is a snapshot's piece */
    FRAME_SNAPSHOT_END, /* body tells what it stands for */
    FRAME_DAMAGE,       /* up to the next whole frame, or to the end of what is not zero */
    FRAME_NONE,         /* nothing but zeros, or nothing */
};

struct frame {
    enum frame_kind kind;
    uint64_t at, size_bytes;
    uint64_t checksum;
    struct slice body; /* borrowed until the next call */
    struct wal_mark mark;
};

/* 0 or negative errno (of a read). */
int frames_next(struct frames *f, struct frame *ret_frame);

#endif
