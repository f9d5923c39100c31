/* A file's blocks are given back when its last name and its last handle are gone, in one change of
 * the file system: for one of 150 MiB, syncs of other files waited 30 ms for that. So a large file
 * is held open while its name is removed, and when that is durable, what it held is given back
 * piece by piece. A crash in between loses nothing: the file system gives the rest back. A file
 * that has another name as well (a backup of hard links) is somebody else's, and only loses this
 * one. */
#include "replica/store/purge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* What one truncation gives back: below a millisecond. */
#define PIECE_BYTES (4 << 20)
/* Files that are held at once; more of them, after a long time without a purge, are removed as they
 * are. */
#define HELD_MAX 16

struct held {
    int fd;
    int64_t size_bytes;
};

void purge_add(struct buf *names, const char *name) { buf_put(names, name, strlen(name) + 1); }

/* Opens the file of that name if it is a large one, and has no other name: its handle, or negative.
 * What cannot be opened is just removed. */
static int open_large(const struct store_dir *d, const char *name, int64_t *ret_size) {
    const struct env_files *files = d->files;
    int fd = store_file_open(d, name, O_RDWR);
    if (fd < 0)
        return fd;
    *ret_size = files->size(files->ctx, fd);
    if (*ret_size > PIECE_BYTES && files->links(files->ctx, fd) == 1)
        return fd;
    files->close(files->ctx, fd);
    return -EINVAL;
}

/* It has no name any more, and so nothing of it can matter: an error of it is none of the
 * replica's. Unless it was given another name just before it lost this one. */
static void give_back(const struct store_dir *d, const struct held *h) {
    const struct env_files *files = d->files;
    int err = files->links(files->ctx, h->fd) == 0 ? 0 : -EBUSY;
    for (int64_t size = h->size_bytes; size > PIECE_BYTES && err == 0;) {
        size -= PIECE_BYTES;
        err = files->truncate(files->ctx, h->fd, size);
    }
    files->close(files->ctx, h->fd);
}

/* Removes the name, holding the file if it is large; or gives it the other name. The log's runner
 * may have removed it meanwhile, with all that was there before an installed snapshot. */
static int drop_name(const struct store_dir *d, const char *name, const char *new_name,
                     struct held *held, size_t *count) {
    int64_t size = 0;
    int fd = *count < HELD_MAX ? open_large(d, name, &size) : -EMFILE;
    if (fd >= 0 && new_name != NULL) {
        d->files->close(d->files->ctx, fd);
        int err = store_file_rename(d, name, new_name);
        return err == -ENOENT ? 0 : err;
    }
    if (fd >= 0)
        held[(*count)++] = (struct held){fd, size};
    return store_file_remove(d, name);
}

int purge_run(const struct store_dir *d, const struct buf *names, const char *reused,
              const char *new_name) {
    struct held held[HELD_MAX];
    size_t count = 0;
    int err = 0;
    for (size_t at = 0; at < names->len && err == 0;) {
        const char *name = (const char *)names->data + at;
        bool reuse = reused != NULL && strcmp(name, reused) == 0;
        err = drop_name(d, name, reuse ? new_name : NULL, held, &count);
        at += strlen(name) + 1;
    }
    if (err == 0)
        err = store_file_sync_dir(d);
    for (size_t i = 0; i < count; i++) {
        if (err == 0)
            give_back(d, &held[i]);
        else
            d->files->close(d->files->ctx, held[i].fd);
    }
    return err;
}
