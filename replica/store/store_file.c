#include "replica/store/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/buf.h"
#include "common/check.h"
#include "common/cursor.h"
#include "common/mem.h"
#include "common/mutant.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Version 1, of the release before there were checkpoints, and 2, whose snapshots have no
 * containers and TTL znodes, are read. */
#define VERSION 3u
#define VERSION_MIN 1u

#define DIR_MODE 0750

char *store_file_path(const char *dir, const char *name) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s/%s", dir, name);
    char *path = mem_strndup((const char *)b.data, b.len);
    buf_close(&b);
    return path;
}

static char *path_of(const struct store_dir *d, const char *name) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s/%s%s", d->path, d->prefix != NULL ? d->prefix : "", name);
    char *path = mem_strndup((const char *)b.data, b.len);
    buf_close(&b);
    return path;
}

int store_file_sync_parent(const struct env_files *files, const char *path) {
    const char *slash = strrchr(path, '/');
    char *parent = slash == NULL   ? mem_strdup(".")
                   : slash == path ? mem_strdup("/")
                                   : mem_strndup(path, (size_t)(slash - path));
    int err = store_file_lost(files->sync_dir(files->ctx, parent));
    mem_free(parent);
    return err;
}

/* Who may not read what is above it has not made it, either. */
static int make_dir(const struct env_files *files, const char *path, bool last) {
    int err = files->mkdir(files->ctx, path, DIR_MODE);
    if (err == 0)
        return store_file_sync_parent(files, path);
    if (err != -EEXIST)
        return err;
    err = last ? store_file_sync_parent(files, path) : 0;
    return err == -EACCES ? 0 : err;
}

int store_file_make_dirs(const struct env_files *files, const char *path) {
    char *part = mem_strdup(path);
    int err = 0;
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        err = make_dir(files, part, slash == NULL);
        if (slash == NULL || err < 0)
            break;
        *slash = '/';
    }
    mem_free(part);
    return err;
}

int store_file_open(const struct store_dir *d, const char *name, int flags) {
    char *path = path_of(d, name);
    int fd = d->files->open(d->files->ctx, path, flags | O_CLOEXEC, 0640);
    mem_free(path);
    return fd;
}

int store_file_rename(const struct store_dir *d, const char *from, const char *to) {
    char *from_path = path_of(d, from);
    char *to_path = path_of(d, to);
    int err = d->files->rename(d->files->ctx, from_path, to_path);
    mem_free(from_path);
    mem_free(to_path);
    return err;
}

int store_file_remove(const struct store_dir *d, const char *name) {
    char *path = path_of(d, name);
    int err = d->files->unlink(d->files->ctx, path);
    mem_free(path);
    return err == -ENOENT ? 0 : err;
}

int store_file_lost(int err) { return err == -ENOSPC || err == -EDQUOT ? -EIO : err; }

int store_file_sync(const struct store_dir *d, int fd) {
    return d->no_sync ? 0 : store_file_lost(d->files->sync(d->files->ctx, fd));
}

int store_file_datasync(const struct store_dir *d, int fd) {
    return d->no_sync ? 0 : store_file_lost(d->files->datasync(d->files->ctx, fd));
}

int store_file_sync_dir(const struct store_dir *d) {
    return d->no_sync ? 0 : store_file_lost(d->files->sync_dir(d->files->ctx, d->path));
}

int store_file_close(const struct store_dir *d, int fd) {
    return store_file_lost(d->files->close(d->files->ctx, fd));
}

uint64_t store_file_encode(const char *magic, const struct store_file *file,
                           uint8_t out[STORE_FILE_BYTES]) {
    CHECK(strlen(magic) == STORE_FILE_MAGIC_BYTES);
    struct buf b = BUF_INIT;
    buf_put(&b, magic, STORE_FILE_MAGIC_BYTES);
    buf_put_u32be(&b, VERSION);
    buf_put_u32be(&b, STORE_FILE_BYTES);
    for (size_t i = 0; i < STORE_FILE_WORDS; i++)
        buf_put_u64be(&b, file->words[i]);
    uint64_t checksum = XXH3_64bits(b.data, b.len);
    buf_put_u64be(&b, checksum);
    CHECK(b.len == STORE_FILE_BYTES);
    memcpy(out, b.data, STORE_FILE_BYTES);
    buf_close(&b);
    return checksum;
}

int store_file_decode(const char *magic, const uint8_t bytes[STORE_FILE_BYTES],
                      struct store_file *ret_file, uint64_t *ret_checksum) {
    struct cursor c;
    struct store_file file;
    cursor_init(&c, bytes, STORE_FILE_BYTES);
    const uint8_t *found = cursor_bytes(&c, STORE_FILE_MAGIC_BYTES);
    uint32_t version = cursor_u32be(&c);
    uint32_t length = cursor_u32be(&c);
    for (size_t i = 0; i < STORE_FILE_WORDS; i++)
        file.words[i] = cursor_u64be(&c);
    uint64_t checksum = cursor_u64be(&c);
    if (c.bad || memcmp(found, magic, STORE_FILE_MAGIC_BYTES) != 0 ||
        checksum != XXH3_64bits(bytes, STORE_FILE_BYTES - 8))
        return -EBADMSG;
    /* As in the log's segments: magic, version and checksum stay where they are. */
    if (version > VERSION)
        return -EPROTONOSUPPORT;
    if (version < VERSION_MIN || length != STORE_FILE_BYTES)
        return -EBADMSG;
    *ret_file = file;
    *ret_checksum = checksum;
    return 0;
}

int store_file_read(const struct store_dir *d, const char *name, const char *magic,
                    struct store_file *ret_file) {
    int fd = store_file_open(d, name, O_RDONLY);
    if (fd < 0)
        return fd;
    /* One byte more, to see that there is none. */
    uint8_t bytes[STORE_FILE_BYTES + 1];
    uint64_t checksum = 0;
    int64_t got = d->files->pread(d->files->ctx, fd, bytes, sizeof bytes, 0);
    d->files->close(d->files->ctx, fd);
    if (got < 0)
        return (int)got;
    return got == STORE_FILE_BYTES ? store_file_decode(magic, bytes, ret_file, &checksum)
                                   : -EBADMSG;
}

int store_file_write(const struct store_dir *d, const char *name, const char *magic,
                     const struct store_file *file) {
    uint8_t bytes[STORE_FILE_BYTES];
    store_file_encode(magic, file, bytes);
    int fd = store_file_open(d, name, O_RDWR);
    if (fd < 0)
        return fd;
    int err = d->files->pwrite(d->files->ctx, fd, bytes, sizeof bytes, 0);
    if (err == 0 && !MUTANT(EPOCH_NOT_SYNCED))
        err = store_file_datasync(d, fd);
    int close_err = store_file_close(d, fd);
    return err < 0 ? err : close_err;
}

static int put_new(const struct store_dir *d, const char *name,
                   const uint8_t bytes[STORE_FILE_BYTES]) {
    int fd = store_file_open(d, name, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0)
        return fd;
    int err = d->files->pwrite(d->files->ctx, fd, bytes, STORE_FILE_BYTES, 0);
    if (err == 0)
        err = store_file_sync(d, fd);
    int close_err = store_file_close(d, fd);
    return err < 0 ? err : close_err;
}

int store_file_create(const struct store_dir *d, const char *name, const char *magic,
                      const struct store_file *file) {
    uint8_t bytes[STORE_FILE_BYTES];
    struct buf new_name = BUF_INIT;
    store_file_encode(magic, file, bytes);
    buf_printf(&new_name, "%s.new", name);
    buf_put_u8(&new_name, 0);
    int err = put_new(d, (const char *)new_name.data, bytes);
    if (err == 0)
        err = store_file_rename(d, (const char *)new_name.data, name);
    buf_close(&new_name);
    return err < 0 ? err : store_file_sync_dir(d);
}
