#include "fs/view_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <utlist.h>

#include "common/check.h"
#include "common/mem.h"
#include "fs/errmap.h"
#include "fs/ops.h"
#include "fs/view.h"

/* So much of what was read already is kept: more than tools read ahead. */
#define STREAM_KEPT_BYTES (64 * 1024)
/* So much may be unread. Then events are dropped, and a `- gap` says so. */
#define STREAM_UNREAD_BYTES (1024 * 1024)

/* No answer is longer. The kernel cuts a read(2) of more than 1 MiB into several, and goes on to
 * the next one, which could wait, when it got all that it asked for. */
#define STREAM_ANSWER_BYTES (512 * 1024)

struct stream_read {
    struct call call;
    struct stream *stream;
    size_t size;
    int64_t off;
    struct stream_read *prev, *next;
};

static const struct stream_source *source_of(const struct inode *inode) {
    switch (inode->modifier.kind) {
    case MODIFIER_WATCH:
        return &view_watch_source;
    case MODIFIER_EVENTS:
        return &view_events_source;
    case MODIFIER_PRESENT:
    case MODIFIER_ABSENT:
    case MODIFIER_NEWER:
        return &view_wait_source;
    case MODIFIER_SESSION:
        return &view_session_source;
    case MODIFIER_ENSEMBLE:
        return &view_ensemble_source;
    default:
        return NULL;
    }
}

static int64_t end_of(const struct stream *s) { return s->base + (int64_t)s->text.len; }

static void drop_poll(struct stream *s) {
    if (s->poll != NULL)
        fuse_pollhandle_destroy(s->poll);
    s->poll = NULL;
}

void stream_close(struct stream *s) {
    struct fs *fs = s->fs;
    if (s->opening != NULL) {
        struct call *c = s->opening;
        s->opening = NULL;
        call_err(c, EIO);
    }
    while (s->reads != NULL)
        call_err(&s->reads->call, EIO);
    s->source->stop(s);
    drop_poll(s);
    if (s->handle != NULL)
        s->handle->stream = NULL;
    DL_DELETE(fs->views.streams, s);
    buf_close(&s->text);
    inode_unref(&fs->inodes, s->inode);
    mem_free(s);
}

struct stream_open_op {
    struct call call;
    struct stream *stream;
    struct fuse_file_info fi;
};

/* Interrupted, or too late: nobody has the stream. */
static void open_end(struct call *c) {
    struct stream_open_op *op = (struct stream_open_op *)c;
    if (op->stream == NULL || op->stream->opening == NULL)
        return;
    op->stream->opening = NULL;
    stream_close(op->stream);
}

void stream_open(fuse_req_t req, struct inode *inode, struct fuse_file_info *fi) {
    struct fs *fs = op_fs(req);
    const struct stream_source *source = source_of(inode);
    CHECK(source != NULL);
    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(req, view_forbids(inode, CHANGE_WRITE));
        return;
    }
    struct stream_open_op *op = call_new(fs, req, "open", inode, sizeof *op, open_end);
    if (op == NULL)
        return;
    struct stream *s = mem_zalloc(source->size);
    s->fs = fs;
    s->inode = inode_ref(inode);
    s->source = source;
    s->opening = &op->call;
    DL_APPEND(fs->views.streams, s);
    op->stream = s;
    op->fi = *fi;
    source->start(s);
}

void stream_opened(struct stream *s) {
    struct call *c = s->opening;
    if (c == NULL) {
        stream_wake(s); /* started again after a restart */
        return;
    }
    struct stream_open_op *op = (struct stream_open_op *)c;
    s->opening = NULL;
    op->stream = NULL;
    s->handle = handle_new(s->fs, s->inode);
    s->handle->stream = s;
    op->fi.fh = s->handle->id;
    op->fi.direct_io = 1;
    op->fi.noflush = 1;
    call_open(c, s->handle, &op->fi); /* closes both when nobody takes it */
}

/* What was told and what had come since is not known any more. Events go on behind a gap. A change
 * that was to be told once may have been, or may have been missed: a gap, and the end. Waiting goes
 * on as if opened now. A report is made anew. */
static void resume(struct handle *h) {
    const struct stream_source *source = source_of(h->inode);
    CHECK(source != NULL);
    struct stream *s = mem_zalloc(source->size);
    s->fs = h->fs;
    s->inode = inode_ref(h->inode);
    s->source = source;
    s->handle = h;
    s->resumed = true;
    h->stream = s;
    DL_APPEND(h->fs->views.streams, s);
    if (source == &view_watch_source || source == &view_events_source)
        stream_line(s, "- gap");
    if (source == &view_watch_source)
        stream_end(s);
    else
        source->start(s);
}

void streams_resume(struct fs *fs) {
    struct handle *h, *next;
    HASH_ITER(by_id, fs->handles, h, next) {
        if (h->inode->kind == INODE_VIEW_FILE)
            resume(h);
    }
}

/* The first read since a restart: its place is where the text goes on. Of a stream that tells
 * something once whoever reads on has been told. */
static void find_place(struct stream *s, int64_t off) {
    s->resumed = false;
    if (off <= 0)
        return;
    if (s->source != &view_events_source) {
        buf_reset(&s->text);
        stream_end(s);
    }
    s->base = s->read_to = off;
}

void stream_fail(struct stream *s, int zk_err) {
    struct call *c = s->opening;
    if (c == NULL) {
        s->errnum = errmap_errno(zk_err);
        stream_end(s);
        return;
    }
    call_zk_err(c, zk_err); /* closes it, for nobody has it */
}

/* Whole lines, unless the first does not fit: then a part of it, and the rest next time. */
static size_t whole_lines(const uint8_t *p, size_t have, size_t size) {
    if (size > STREAM_ANSWER_BYTES)
        size = STREAM_ANSWER_BYTES;
    if (have <= size)
        return have;
    const uint8_t *last = memrchr(p, '\n', size);
    return last != NULL ? (size_t)(last - p) + 1 : size;
}

/* The text at `off`; *ret_size is 0 when there is none. */
static const uint8_t *text_at(const struct stream *s, int64_t off, size_t size, size_t *ret_size) {
    *ret_size = 0;
    CHECK(off >= s->base);
    if (off >= end_of(s))
        return NULL;
    const uint8_t *p = s->text.data + (off - s->base);
    *ret_size = whole_lines(p, (size_t)(end_of(s) - off), size);
    return p;
}

/* True when there is more text now: what had to be left out is told. */
static bool note_read(struct stream *s, int64_t off, size_t size) {
    s->read_to = off + (int64_t)size;
    if (s->text.len > STREAM_KEPT_BYTES && off > s->base) {
        buf_consume(&s->text, (size_t)(off - s->base));
        s->base = off;
    }
    if (!s->gap || s->read_to < end_of(s))
        return false;
    s->gap = false;
    buf_printf(&s->text, "- gap\n");
    return true;
}

static void read_end(struct call *c) {
    struct stream_read *r = (struct stream_read *)c;
    DL_DELETE(r->stream->reads, r);
}

static void read_park(fuse_req_t req, struct stream *s, size_t size, int64_t off) {
    struct stream_read *r = call_new(s->fs, req, "read", s->inode, sizeof *r, read_end);
    if (r == NULL)
        return;
    r->stream = s;
    r->size = size;
    r->off = off;
    DL_APPEND(s->reads, r);
    call_park(&r->call);
}

static void reply_end(fuse_req_t req, const struct stream *s) {
    if (s->errnum != 0)
        fuse_reply_err(req, s->errnum);
    else
        fuse_reply_buf(req, NULL, 0);
}

void stream_read(fuse_req_t req, struct handle *h, size_t size, off_t off,
                 struct fuse_file_info *fi) {
    struct stream *s = h->stream;
    size_t have;
    if (s == NULL) {
        fuse_reply_err(req, EIO); /* the mount is ending */
        return;
    }
    if (s->resumed)
        find_place(s, off);
    if (off < s->base) {
        fuse_reply_err(req, EINVAL); /* it was read, and is not kept any more */
        return;
    }
    const uint8_t *p = text_at(s, off, size, &have);
    if (have > 0 || size == 0) {
        fuse_reply_buf(req, (const char *)p, have);
        if (note_read(s, off, have))
            stream_wake(s);
    } else if (s->ended) {
        reply_end(req, s);
    } else if ((fi->flags & O_NONBLOCK) != 0) {
        fuse_reply_err(req, EAGAIN);
    } else if (fuse_req_interrupted(req)) {
        fuse_reply_err(req, EINTR);
    } else {
        read_park(req, s, size, off);
    }
}

void stream_poll(fuse_req_t req, struct handle *h, struct fuse_pollhandle *ph) {
    struct stream *s = h->stream;
    if (s == NULL) {
        fuse_reply_err(req, EIO);
        return;
    }
    if (ph != NULL) {
        drop_poll(s);
        s->poll = ph;
        if (h->poll != s->fs->request_poll) {
            h->poll = s->fs->request_poll;
            handle_keep(h);
        }
    }
    bool ready = s->ended || s->read_to < end_of(s);
    fuse_reply_poll(req, ready ? POLLIN | POLLRDNORM : 0);
}

/* The answer of one read can free nothing here: streams are closed by their RELEASE. */
void stream_wake(struct stream *s) {
    struct stream_read *r, *next;
    DL_FOREACH_SAFE(s->reads, r, next) {
        size_t have;
        int64_t off = r->off;
        if (off < s->base) { /* another one read further meanwhile */
            call_err(&r->call, EINVAL);
            continue;
        }
        const uint8_t *p = text_at(s, off, r->size, &have);
        if (have > 0) {
            call_buf(&r->call, p, have);
            note_read(s, off, have);
        } else if (s->ended && s->errnum != 0) {
            call_err(&r->call, s->errnum);
        } else if (s->ended) {
            call_buf(&r->call, NULL, 0);
        }
    }
    if (s->poll != NULL && (s->ended || s->read_to < end_of(s))) {
        fuse_lowlevel_notify_poll(s->poll);
        drop_poll(s);
    }
}

static bool has_room(struct stream *s) {
    if (end_of(s) - s->read_to > STREAM_UNREAD_BYTES)
        s->gap = true;
    return !s->gap && !s->ended;
}

void stream_event(struct stream *s, zxid_t zxid, const char *event, struct slice path) {
    if (!has_room(s))
        return;
    if (zxid >= 0)
        buf_printf(&s->text, "%" PRIx64 " %s ", (uint64_t)zxid, event);
    else
        buf_printf(&s->text, "- %s ", event);
    view_put_path(&s->text, s->fs, path);
    buf_put_u8(&s->text, '\n');
    stream_wake(s);
}

/* However much is unread: there are few of them. */
void stream_line(struct stream *s, const char *line) {
    if (s->ended)
        return;
    buf_printf(&s->text, "%s\n", line);
    stream_wake(s);
}

void stream_gap(struct stream *s) {
    if (has_room(s)) /* otherwise it comes anyway */
        stream_line(s, "- gap");
}

const char *view_event_name(enum zk_event event) {
    switch (event) {
    case EVENT_NODE_CREATED:
        return "created";
    case EVENT_NODE_DELETED:
        return "deleted";
    case EVENT_NODE_DATA_CHANGED:
        return "changed";
    default:
        return "children";
    }
}

void stream_end(struct stream *s) {
    s->ended = true;
    stream_wake(s);
}
