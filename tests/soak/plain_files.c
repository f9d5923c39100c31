#include "tests/soak/plain_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "common/check.h"
#include "common/mem.h"

/* The smallest piece that is mapped. */
#define MAP_BYTES (64u << 10)
#define HANDLES_MAX 64

struct file {
    struct file *next;
    char *path; /* NULL: unlinked, and still open */
    bool dir;
    uint8_t *bytes;
    size_t size, cap;
    size_t handles;
};

struct plain_files {
    struct env_files env;
    struct file *files;
    struct file *handles[HANDLES_MAX];
    uint64_t bytes;
    plain_files_fn *fn;
    void *ctx;
};

static struct file *find(const struct plain_files *f, const char *path) {
    struct file *at = f->files;
    while (at != NULL && (at->path == NULL || strcmp(at->path, path) != 0))
        at = at->next;
    return at;
}

static struct file *add(struct plain_files *f, const char *path) {
    struct file *file = mem_zalloc(sizeof *file);
    file->path = mem_strdup(path);
    file->next = f->files;
    f->files = file;
    return file;
}

static void drop_if_gone(struct plain_files *f, struct file *file) {
    if (file->path != NULL || file->handles > 0)
        return;
    struct file **at = &f->files;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    if (file->cap > 0)
        CHECK(munmap(file->bytes, file->cap) == 0);
    mem_free(file);
}

static void unname(struct plain_files *f, struct file *file) {
    f->bytes -= file->size;
    mem_free(file->path);
    file->path = NULL;
    drop_if_gone(f, file);
}

/* What is beyond the size is always zeros. */
static void resize(struct plain_files *f, struct file *file, size_t size) {
    if (size > file->cap) {
        size_t cap = file->cap == 0 ? MAP_BYTES : file->cap;
        while (cap < size)
            cap *= 2;
        void *p = file->cap == 0
                      ? mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                      : mremap(file->bytes, file->cap, cap, MREMAP_MAYMOVE);
        CHECK(p != MAP_FAILED);
        file->bytes = p;
        file->cap = cap;
    }
    if (size < file->size)
        memset(file->bytes + size, 0, file->size - size);
    if (file->path != NULL)
        f->bytes += size - file->size;
    file->size = size;
}

static struct file *of_handle(struct plain_files *f, int fd) {
    CHECK(fd >= 0);
    CHECK(fd < HANDLES_MAX);
    CHECK(f->handles[fd] != NULL);
    return f->handles[fd];
}

static int plain_open(void *ctx, const char *path, int flags, int mode) {
    struct plain_files *f = ctx;
    struct file *file = find(f, path);
    if (file == NULL && (flags & O_CREAT) == 0)
        return -ENOENT;
    if (file != NULL && (flags & O_EXCL) != 0)
        return -EEXIST;
    bool fresh = file == NULL || (flags & O_TRUNC) != 0;
    if (file == NULL)
        file = add(f, path);
    if (fresh) {
        resize(f, file, 0);
        f->fn(f->ctx, NULL, path, 0);
    }
    int fd = 0;
    while (fd < HANDLES_MAX && f->handles[fd] != NULL)
        fd++;
    CHECK(fd < HANDLES_MAX);
    f->handles[fd] = file;
    file->handles++;
    return fd;
}

static int plain_close(void *ctx, int fd) {
    struct plain_files *f = ctx;
    struct file *file = of_handle(f, fd);
    f->handles[fd] = NULL;
    file->handles--;
    drop_if_gone(f, file);
    return 0;
}

static int64_t plain_pread(void *ctx, int fd, void *p, size_t n, int64_t offset) {
    const struct file *file = of_handle(ctx, fd);
    size_t left = (size_t)offset < file->size ? file->size - (size_t)offset : 0;
    size_t got = n < left ? n : left;
    if (got > 0)
        memcpy(p, file->bytes + offset, got);
    return (int64_t)got;
}

static int plain_pwrite(void *ctx, int fd, const void *p, size_t n, int64_t offset) {
    struct plain_files *f = ctx;
    struct file *file = of_handle(f, fd);
    if ((size_t)offset + n > file->size)
        resize(f, file, (size_t)offset + n);
    memcpy(file->bytes + offset, p, n);
    return 0;
}

static int plain_sync(void *ctx, int fd) {
    (void)of_handle(ctx, fd);
    return 0;
}

static int plain_truncate(void *ctx, int fd, int64_t size) {
    struct plain_files *f = ctx;
    resize(f, of_handle(f, fd), (size_t)size);
    return 0;
}

static int64_t plain_size(void *ctx, int fd) { return (int64_t)of_handle(ctx, fd)->size; }

static int plain_rename(void *ctx, const char *from, const char *to) {
    struct plain_files *f = ctx;
    struct file *file = find(f, from);
    struct file *old = find(f, to);
    if (file == NULL)
        return -ENOENT;
    if (old != NULL)
        unname(f, old);
    f->fn(f->ctx, from, to, file->size);
    mem_free(file->path);
    file->path = mem_strdup(to);
    return 0;
}

static int plain_unlink(void *ctx, const char *path) {
    struct plain_files *f = ctx;
    struct file *file = find(f, path);
    if (file == NULL)
        return -ENOENT;
    unname(f, file);
    return 0;
}

static int plain_mkdir(void *ctx, const char *path, int mode) {
    struct plain_files *f = ctx;
    if (find(f, path) != NULL)
        return -EEXIST;
    add(f, path)->dir = true;
    return 0;
}

static int plain_sync_dir(void *ctx, const char *path) { return 0; }

static int plain_list(void *ctx, const char *path, void (*fn)(void *arg, const char *name),
                      void *arg) {
    struct plain_files *f = ctx;
    size_t n = strlen(path);
    for (const struct file *at = f->files; at != NULL; at = at->next) {
        if (at->path != NULL && strncmp(at->path, path, n) == 0 && at->path[n] == '/' &&
            strchr(at->path + n + 1, '/') == NULL)
            fn(arg, at->path + n + 1);
    }
    return 0;
}

static int64_t plain_links(void *ctx, int fd) { return 1; }

/* Nobody else is there. */
static int plain_lock(void *ctx, int fd) { return 0; }

struct plain_files *plain_files_new(plain_files_fn *fn, void *ctx) {
    struct plain_files *f = mem_zalloc(sizeof *f);
    f->fn = fn;
    f->ctx = ctx;
    f->env = (struct env_files){
        .ctx = f,
        .open = plain_open,
        .close = plain_close,
        .pread = plain_pread,
        .pwrite = plain_pwrite,
        .datasync = plain_sync,
        .sync = plain_sync,
        .truncate = plain_truncate,
        .size = plain_size,
        .links = plain_links,
        .rename = plain_rename,
        .unlink = plain_unlink,
        .mkdir = plain_mkdir,
        .sync_dir = plain_sync_dir,
        .list = plain_list,
        .lock = plain_lock,
    };
    return f;
}

void plain_files_free(struct plain_files *f) {
    while (f->files != NULL) {
        struct file *file = f->files;
        file->handles = 0;
        if (file->path != NULL)
            unname(f, file);
        else
            drop_if_gone(f, file);
    }
    mem_free(f);
}

const struct env_files *plain_files_env(struct plain_files *f) { return &f->env; }

uint64_t plain_files_bytes(const struct plain_files *f) { return f->bytes; }

void plain_files_each(const struct plain_files *f,
                      void (*fn)(void *ctx, const char *path, uint64_t size_bytes), void *ctx) {
    for (const struct file *at = f->files; at != NULL; at = at->next) {
        if (at->path != NULL && !at->dir)
            fn(ctx, at->path, at->size);
    }
}
