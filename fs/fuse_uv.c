#include "fs/fuse_uv.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "fs/handle.h"
#include "fs/ops.h"
#include "fs/resume.h"
#include "fs/unmount.h"

/* More per wake saves nothing (FUSE.md, section 1), and lets the server's answers wait. */
#define REQUESTS_PER_WAKE 8
#define MAX_WRITE_BYTES (1u << 20)

/* Flags of newer kernels than the headers know, in INIT's flags2. */
#define FLAGS2_DIRECT_IO_ALLOW_MMAP (1u << 4)
#define FLAGS2_HAS_RESEND (1u << 7)
/* Asks the kernel to send again what it has no answer to (FUSE_NOTIFY_RESEND). */
#define NOTIFY_RESEND 7

struct fuse_uv {
    struct fs *fs;
    struct fuse_session *session;
    struct fuse_buf buf;
    uv_poll_t poll;
    void (*on_gone)(struct fs *fs);
    bool gone;
};

/* libfuse 3.14.0 never sends FUSE_PARALLEL_DIROPS, without which one LOOKUP that waits freezes its
 * whole directory (FUSE.md, section 0), and does not know HANDLE_KILLPRIV_V2 (saves a GETXATTR for
 * each write) nor DIRECT_IO_ALLOW_MMAP. So its INIT reply is completed on its way out. The kernel
 * takes only what it offered, and ignores the rest. */
static struct iovec complete_init(const struct iovec *in, struct fuse_init_out *out) {
    memset(out, 0, sizeof *out);
    memcpy(out, in->iov_base, in->iov_len < sizeof *out ? in->iov_len : sizeof *out);
    out->flags |= FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT;
    out->flags2 |= FLAGS2_DIRECT_IO_ALLOW_MMAP;
    return (struct iovec){out, in->iov_len};
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata) {
    const struct fs *fs = userdata;
    struct fuse_init_out out;
    struct iovec changed[2];
    if (fs->init_under_way && fs->resumed) { /* the kernel had its answer long ago */
        size_t n = 0;
        for (int i = 0; i < count; i++)
            n += iov[i].iov_len;
        return (ssize_t)n;
    }
    if (fs->init_under_way && count == 2 &&
        iov[1].iov_len >= offsetof(struct fuse_init_out, unused)) {
        changed[0] = iov[0];
        changed[1] = complete_init(&iov[1], &out);
        iov = changed;
    }
    return writev(fd, iov, count);
}

static ssize_t io_read(int fd, void *p, size_t n, void *userdata) {
    (void)userdata;
    return read(fd, p, n);
}

void fuse_uv_negotiate(struct fuse_conn_info *conn) {
    conn->max_write = MAX_WRITE_BYTES;
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    /* With timeouts of 0 the kernel would ask for each entry again all the same. */
    conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
}

static void went(struct fuse_uv *u) {
    if (u->gone)
        return;
    u->gone = true;
    uv_poll_stop(&u->poll);
    u->on_gone(u->fs);
}

static struct fuse_in_header header_of(const struct fuse_buf *buf) {
    struct fuse_in_header h = {0};
    if (buf->size >= sizeof h)
        memcpy(&h, buf->mem, sizeof h);
    return h;
}

/* libfuse hides it in its handle. */
static uint64_t poll_of(const struct fuse_in_header *h, const struct fuse_buf *buf) {
    struct fuse_poll_in in;
    if (h->opcode != FUSE_POLL || buf->size < sizeof *h + sizeof in)
        return 0;
    memcpy(&in, (const char *)buf->mem + sizeof *h, sizeof in);
    return (in.flags & FUSE_POLL_SCHEDULE_NOTIFY) != 0 ? in.kh : 0;
}

static void process(struct fuse_uv *u, struct fuse_buf *buf) {
    struct fs *fs = u->fs;
    struct fuse_in_header h = header_of(buf);
    fs->init_under_way = h.opcode == FUSE_INIT;
    if (fs->init_under_way && !fs->resumed) {
        uint32_t ref = 0;
        journal_put(fs->journal, &ref, JOURNAL_INIT, 1, 0, buf->mem, buf->size);
    }
    fs->request_unique = h.unique;
    fs->request_poll = poll_of(&h, buf);
    fuse_session_process_buf(u->session, buf);
    fs->request_unique = 0;
    fs->init_under_way = false;
    if (h.opcode == FUSE_INIT && fs->negotiated)
        fs->on_init(fs);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    struct fuse_uv *u = poll->data;
    (void)status, (void)events; /* an error shows in the read, which says what it was */
    for (int i = 0; i < REQUESTS_PER_WAKE && !u->gone; i++) {
        int n = fuse_session_receive_buf(u->session, &u->buf);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n > 0)
            process(u, &u->buf);
        if (n <= 0 || fuse_session_exited(u->session))
            went(u);
    }
}

/* libfuse splits options at commas and takes backslashes as escapes. */
static void put_escaped(struct buf *b, const char *s) {
    for (; *s != '\0'; s++) {
        if (*s == ',' || *s == '\\')
            buf_put_u8(b, '\\');
        buf_put_u8(b, (uint8_t)*s);
    }
}

static struct fuse_session *new_session(struct fs *fs) {
    const struct options *opt = fs->opt;
    struct buf o = BUF_INIT;
    buf_printf(&o, "subtype=zkfs,fsname=");
    put_escaped(&o, opt->source);
    if (opt->allow_other)
        buf_printf(&o, ",allow_other");
    if (opt->kernel_opts.len > 0)
        buf_printf(&o, ",%.*s", (int)opt->kernel_opts.len, (const char *)opt->kernel_opts.data);
    buf_put_u8(&o, '\0');
    char *argv[] = {"zkfs", "-o", (char *)o.data, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    struct fuse_session *se = fuse_session_new(&args, &op_table, sizeof op_table, fs);
    fuse_opt_free_args(&args);
    buf_close(&o);
    return se;
}

static struct fuse_uv *mount_at(struct fs *fs, const char *mountpoint,
                                void (*on_gone)(struct fs *fs)) {
    static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
    struct fuse_session *se = new_session(fs);
    if (se == NULL)
        return NULL;
    if (fuse_session_mount(se, mountpoint) != 0) {
        fuse_session_destroy(se);
        return NULL;
    }
    struct fuse_uv *u = mem_zalloc(sizeof *u);
    u->fs = fs;
    u->session = se;
    u->on_gone = on_gone;
    int err = fuse_session_custom_io(se, &io, fuse_session_fd(se));
    if (err == 0)
        err = uv_poll_init(fs->loop, &u->poll, fuse_session_fd(se)); /* makes it O_NONBLOCK */
    if (err == 0)
        err = uv_poll_start(&u->poll, UV_READABLE, on_readable);
    if (err != 0) {
        log_error("the FUSE device cannot be served err=%s", strerror(-err));
        fuse_session_unmount(se);
        fuse_session_destroy(se);
        mem_free(u);
        return NULL;
    }
    u->poll.data = u;
    return u;
}

struct fuse_uv *fuse_uv_mount(struct fs *fs, void (*on_gone)(struct fs *fs)) {
    return mount_at(fs, fs->opt->mountpoint, on_gone);
}

int fuse_uv_fd(const struct fuse_uv *u) { return fuse_session_fd(u->session); }

static void copy_init(void *ctx, const struct journal_record *r) {
    buf_reset(ctx);
    buf_put(ctx, r->bytes.p, (size_t)r->bytes.len);
}

bool fuse_uv_can_resume(const struct fs *fs) {
    struct buf init = BUF_INIT;
    journal_each(fs->journal, JOURNAL_INIT, copy_init, &init);
    struct fuse_init_in in = {0};
    size_t head = sizeof(struct fuse_in_header);
    if (init.len > head)
        memcpy(&in, init.data + head, init.len - head < sizeof in ? init.len - head : sizeof in);
    buf_close(&init);
    return (in.flags & FUSE_INIT_EXT) != 0 && (in.flags2 & FLAGS2_HAS_RESEND) != 0;
}

/* libfuse negotiates again, with the same outcome. */
static bool replay_init(struct fuse_uv *u) {
    struct buf init = BUF_INIT;
    journal_each(u->fs->journal, JOURNAL_INIT, copy_init, &init);
    bool ok = init.len >= sizeof(struct fuse_in_header);
    if (ok) {
        struct fuse_buf buf = {.mem = init.data, .size = init.len};
        process(u, &buf);
    }
    buf_close(&init);
    return ok;
}

/* The requests of the workers before, copied. */
struct again {
    struct fuse_buf *list;
    size_t count;
};

static int by_unique(const void *a, const void *b) {
    uint64_t x = header_of(a).unique & ~UNIQUE_RESENT, y = header_of(b).unique & ~UNIQUE_RESENT;
    return x < y ? -1 : x > y;
}

/* What is sent again stands before everything new in the kernel's queue, but for FORGETs and
 * INTERRUPTs, which have one of their own. */
static bool is_between(const struct fuse_in_header *h) {
    return h->opcode == FUSE_FORGET || h->opcode == FUSE_BATCH_FORGET ||
           h->opcode == FUSE_INTERRUPT;
}

/* Reads all that is sent again, and up to one request more. False when the mount is gone. */
static bool collect(struct fuse_uv *u, struct again *ret_again, struct again *ret_rest) {
    for (;;) {
        int n = fuse_session_receive_buf(u->session, &u->buf);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n == -EAGAIN;
        struct fuse_in_header h = header_of(&u->buf);
        bool again = (h.unique & UNIQUE_RESENT) != 0 && !is_between(&h);
        struct again *to = again ? ret_again : ret_rest;
        to->list = mem_realloc(to->list, sizeof *to->list * (to->count + 1));
        to->list[to->count] = u->buf;
        to->list[to->count++].mem = mem_dup(u->buf.mem, u->buf.size);
        if (!again && !is_between(&h))
            return true;
    }
}

static void process_all(struct fuse_uv *u, struct again *a) {
    for (size_t i = 0; i < a->count; i++) {
        if (!u->gone)
            process(u, &a->list[i]);
        mem_free(a->list[i].mem);
    }
    mem_free(a->list);
}

static bool resend(struct fuse_uv *u) {
    struct fuse_out_header out = {.len = sizeof out, .error = NOTIFY_RESEND};
    if (write(fuse_uv_fd(u), &out, sizeof out) == (ssize_t)sizeof out)
        return true;
    if (errno == ENODEV || errno == ENOTCONN || errno == EPERM)
        return true; /* the mount is gone: there are none, and the next read says so */
    log_error("the kernel does not send its requests again err=\"%s\"", strerror(errno));
    return false;
}

/* Who sleeps in poll(2) has had its answer from an earlier worker. Woken, the kernel asks again. */
static void wake_polls(struct fuse_uv *u) {
    for (struct handle *h = u->fs->handles; h != NULL; h = h->by_id.next) {
        struct {
            struct fuse_out_header head;
            struct fuse_notify_poll_wakeup_out body;
        } out = {{.len = sizeof out, .error = FUSE_NOTIFY_POLL}, {h->poll}};
        if (h->poll != 0 && write(fuse_uv_fd(u), &out, sizeof out) != (ssize_t)sizeof out)
            log_warn("poll(2) of a view may not wake err=\"%s\"", strerror(errno));
    }
}

/* In the order in which they were asked for; what comes behind them is served after them. */
static bool serve_again(struct fuse_uv *u) {
    struct again again = {0}, rest = {0};
    if (!replay_init(u) || !resend(u))
        return false;
    bool there = collect(u, &again, &rest);
    if (again.count > 0)
        qsort(again.list, again.count, sizeof *again.list, by_unique);
    uint64_t *uniques = mem_alloc(sizeof *uniques * (again.count + 1));
    for (size_t i = 0; i < again.count; i++)
        uniques[i] = header_of(&again.list[i]).unique & ~UNIQUE_RESENT;
    resume_settle(u->fs, uniques, again.count);
    mem_free(uniques);
    process_all(u, &again);
    resume_done(u->fs);
    wake_polls(u);
    process_all(u, &rest);
    if (!there)
        went(u);
    return true;
}

struct fuse_uv *fuse_uv_resume(struct fs *fs, int fd, void (*on_gone)(struct fs *fs)) {
    char name[32];
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    struct fuse_uv *u = mount_at(fs, name, on_gone);
    if (u != NULL && !serve_again(u)) {
        fuse_uv_unmount(u);
        return NULL;
    }
    return u;
}

static void on_closed(uv_handle_t *handle) {
    struct fuse_uv *u = handle->data;
    if (u->fs->resumed && !unmount_is_gone(fuse_uv_fd(u)))
        unmount_lazily(u->fs->opt->mountpoint); /* libfuse only knows its own mounts */
    fuse_session_unmount(u->session);
    fuse_session_destroy(u->session);
    free(u->buf.mem); /* libfuse's malloc */
    mem_free(u);
}

void fuse_uv_unmount(struct fuse_uv *u) {
    if (u == NULL)
        return;
    u->gone = true;
    uv_close((uv_handle_t *)&u->poll, on_closed);
}
