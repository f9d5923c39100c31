#include "replica/offline/apache_dir.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SUBDIR "version-2"
#define ZXID_DIGITS_MAX 16
#define READ_BYTES (1 << 20)
#define GZIP_WINDOW (15 + 16) /* zlib: the largest window, and gzip's header around */

struct listing {
    struct apache_files files;
    const char *dir;
    const char *prefix;
};

/* PREFIX.HEX, and for snapshots the packing's name behind. Everything else is some other file. */
static bool parse_name(const char *name, const char *prefix, struct apache_file *ret) {
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || name[n] != '.')
        return false;
    const char *digits = name + n + 1;
    size_t count = strspn(digits, "0123456789abcdefABCDEF");
    const char *rest = digits + count;
    if (count == 0 || count > ZXID_DIGITS_MAX)
        return false;
    ret->zxid = (zxid_t)strtoull(digits, NULL, 16);
    ret->packing = strcmp(rest, ".gz") == 0       ? APACHE_GZIP
                   : strcmp(rest, ".snappy") == 0 ? APACHE_SNAPPY
                                                  : APACHE_PLAIN;
    return ret->zxid >= 0 && (*rest == '\0' || ret->packing != APACHE_PLAIN);
}

static void note_file(void *arg, const char *name) {
    struct listing *l = arg;
    struct apache_file file = {0};
    if (!parse_name(name, l->prefix, &file))
        return;
    if (l->files.count == l->files.cap) {
        l->files.cap = l->files.cap ? 2 * l->files.cap : 16;
        l->files.list = mem_realloc(l->files.list, l->files.cap * sizeof *l->files.list);
    }
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/%s", l->dir, name);
    file.path = mem_strndup((const char *)path.data, path.len);
    buf_close(&path);
    l->files.list[l->files.count++] = file;
}

static int compare(const void *a, const void *b) {
    zxid_t x = ((const struct apache_file *)a)->zxid, y = ((const struct apache_file *)b)->zxid;
    return (x > y) - (x < y);
}

int apache_dir_list(const struct env_files *files, const char *dir, const char *prefix,
                    struct apache_files *ret_files, struct buf *ret_why) {
    struct buf sub = BUF_INIT;
    buf_printf(&sub, "%s/" SUBDIR, dir);
    buf_put_u8(&sub, 0);
    struct listing l = {.dir = (const char *)sub.data, .prefix = prefix};
    int err = files->list(files->ctx, l.dir, note_file, &l);
    if (err == -ENOENT) {
        l.dir = dir;
        err = files->list(files->ctx, dir, note_file, &l);
    }
    if (err < 0)
        buf_printf(ret_why, "%s: cannot be listed: %s", l.dir, strerror(-err));
    buf_close(&sub);
    if (err < 0) {
        apache_dir_close(&l.files);
        return err;
    }
    if (l.files.count > 0)
        qsort(l.files.list, l.files.count, sizeof *l.files.list, compare);
    *ret_files = l.files;
    return 0;
}

void apache_dir_close(struct apache_files *f) {
    for (size_t i = 0; i < f->count; i++)
        mem_free(f->list[i].path);
    mem_free(f->list);
    *f = (struct apache_files){0};
}

static int read_all(const struct env_files *files, int fd, struct buf *out) {
    int64_t at = 0;
    for (;;) {
        uint8_t *to = buf_extend(out, READ_BYTES);
        int64_t got = files->pread(files->ctx, fd, to, READ_BYTES, at);
        out->len -= (size_t)(got < 0 ? READ_BYTES : READ_BYTES - got);
        if (got < READ_BYTES)
            return got < 0 ? (int)got : 0;
        at += got;
    }
}

/* Into `out`, a step at a time. */
static int inflate_all(z_stream *z, struct buf *out) {
    int step = Z_OK;
    while (step == Z_OK) {
        z->next_out = buf_extend(out, READ_BYTES);
        z->avail_out = READ_BYTES;
        step = inflate(z, Z_NO_FLUSH);
        out->len -= z->avail_out;
    }
    return step == Z_STREAM_END ? 0 : -EBADMSG;
}

static int unzip(const struct buf *packed, struct buf *out) {
    z_stream z = {.next_in = packed->data, .avail_in = (uInt)packed->len};
    if (packed->len > UINT32_MAX || inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return -EBADMSG;
    int err = inflate_all(&z, out);
    inflateEnd(&z);
    return err;
}

int apache_dir_read(const struct env_files *files, const struct apache_file *file,
                    struct buf *ret_bytes, struct buf *ret_why) {
    if (file->packing == APACHE_SNAPPY) {
        buf_printf(ret_why, "it is compressed with snappy, that is not read here; have Apache's "
                            "server write one with snapshot.compression.method=gz, or none");
        return -EPROTONOSUPPORT;
    }
    int fd = files->open(files->ctx, file->path, O_RDONLY, 0);
    int err = fd < 0 ? fd : read_all(files, fd, ret_bytes);
    if (fd >= 0)
        files->close(files->ctx, fd);
    if (err < 0) {
        buf_printf(ret_why, "cannot be read: %s", strerror(-err));
        return err;
    }
    if (file->packing != APACHE_GZIP)
        return 0;
    struct buf packed = *ret_bytes;
    *ret_bytes = BUF_INIT;
    err = unzip(&packed, ret_bytes);
    buf_close(&packed);
    if (err < 0)
        buf_printf(ret_why, "its compressed bytes are broken");
    return err;
}
