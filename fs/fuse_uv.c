#include "fs/fuse_uv.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "fs/ops.h"

/* More per wake saves nothing (FUSE.md, section 1), and lets the server's answers wait. */
#define REQUESTS_PER_WAKE 8
#define MAX_WRITE_BYTES (1u << 20)

/* Flags of newer kernels than the headers know, in INIT's flags2. */
#define FLAGS2_DIRECT_IO_ALLOW_MMAP (1u << 4)

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

static bool is_init(const struct fuse_buf *buf) {
    return buf->size >= sizeof(struct fuse_in_header) &&
           ((const struct fuse_in_header *)buf->mem)->opcode == FUSE_INIT;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    struct fuse_uv *u = poll->data;
    (void)status, (void)events; /* an error shows in the read, which says what it was */
    for (int i = 0; i < REQUESTS_PER_WAKE && !u->gone; i++) {
        int n = fuse_session_receive_buf(u->session, &u->buf);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n > 0) {
            u->fs->init_under_way = is_init(&u->buf);
            fuse_session_process_buf(u->session, &u->buf);
            u->fs->init_under_way = false;
        }
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

struct fuse_uv *fuse_uv_mount(struct fs *fs, void (*on_gone)(struct fs *fs)) {
    static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
    struct fuse_session *se = new_session(fs);
    if (se == NULL)
        return NULL;
    if (fuse_session_mount(se, fs->opt->mountpoint) != 0) {
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

static void on_closed(uv_handle_t *handle) {
    struct fuse_uv *u = handle->data;
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
