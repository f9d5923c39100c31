/* Streams: open files of the views, whose text comes as things happen. Byte 0 of a stream is the
 * first byte after its open(2). A read where there is no text yet waits (call_park), or gets EAGAIN
 * with O_NONBLOCK; poll(2) tells. Every open file has its own.
 *
 * What was read can be read again for a while, because shells read ahead and seek back: it is
 * dropped when STREAM_KEPT_BYTES of text are there, up to where the last read began. */
#ifndef ZKFS_FS_VIEW_STREAM_H
#define ZKFS_FS_VIEW_STREAM_H

#include "common/buf.h"
#include "fs/call.h"
#include "fs/fs.h"
#include "fs/handle.h"

struct stream;

/* Where a stream's text comes from. */
struct stream_source {
    size_t size; /* of its own struct, which begins with a struct stream */
    /* The file is being opened: stream_opened or stream_fail say how that went, now or later. */
    void (*start)(struct stream *s);
    /* Nothing may call back any more. */
    void (*stop)(struct stream *s);
    /* The session's state; NULL: does not matter. */
    void (*on_state)(struct stream *s, enum client_state state);
};

struct stream {
    struct fs *fs;
    struct inode *inode;        /* referenced */
    struct handle *handle;      /* its open file; NULL: not open yet */
    struct stream *prev, *next; /* fs->views.streams */
    const struct stream_source *source;
    struct call *opening; /* the OPEN that waits; NULL once it is answered */
    struct buf text;      /* from byte `base` on */
    int64_t base;
    int64_t read_to; /* the byte behind what was read last: what poll(2) goes by */
    bool resumed;    /* open since before a restart, and not read since: `base` is not known */
    bool ended;      /* no more text comes */
    int errnum;      /* what comes behind the text instead of the end of the file */
    bool gap;        /* the reader is too slow: nothing more until it has read, then a `- gap` */
    struct stream_read *reads; /* parked, in order */
    struct fuse_pollhandle *poll;
};

/* OPEN of an INODE_VIEW_FILE, and what comes after it. All answer. */
void stream_open(fuse_req_t req, struct inode *inode, struct fuse_file_info *fi);
void stream_read(fuse_req_t req, struct handle *h, size_t size, off_t off,
                 struct fuse_file_info *fi);
void stream_poll(fuse_req_t req, struct handle *h, struct fuse_pollhandle *ph);
/* Makes the streams that were open before a restart; their handles are there. */
void streams_resume(struct fs *fs);
/* Frees it, wherever it is; its handle stays. */
void stream_close(struct stream *s);

/* For sources. */
void stream_opened(struct stream *s);
/* An enum zk_err: the open fails with it, or what is read behind the text. */
void stream_fail(struct stream *s, int zk_err);
/* `ZXID EVENT PATH`; a negative zxid is one that the server did not tell: `-`. */
void stream_event(struct stream *s, zxid_t zxid, const char *event, struct slice path);
/* A line, without its end. */
void stream_line(struct stream *s, const char *line);
/* Events may be missing here: `- gap`. */
void stream_gap(struct stream *s);
const char *view_event_name(enum zk_event event);
/* Text that was put into s->text is there. */
void stream_wake(struct stream *s);
/* No more comes. */
void stream_end(struct stream *s);

extern const struct stream_source view_watch_source, view_wait_source, view_events_source;
extern const struct stream_source view_session_source, view_ensemble_source;

#endif
