/* Small files beside the log: one block of 64 bytes, that a disk writes as a whole or not at all,
 * with a checksum (docs/disk-format.md). And what every file of the store needs: its path, its
 * removal. */
#ifndef ZKFS_REPLICA_STORE_STORE_FILE_H
#define ZKFS_REPLICA_STORE_STORE_FILE_H

#include "replica/env.h"

#define STORE_FILE_BYTES 64
#define STORE_FILE_WORDS 5
#define STORE_FILE_MAGIC_BYTES 8

/* Where files are, and whether anything is synced. */
struct store_dir {
    const struct env_files *files;
    char *path;
    const char *prefix; /* of every file's name; NULL: none */
    bool no_sync;
};

/* What a file of a kind says. Words that a kind does not use are 0. */
struct store_file {
    uint64_t words[STORE_FILE_WORDS];
};

/* "DIR/NAME"; the caller frees it with mem_free. */
char *store_file_path(const char *dir, const char *name);
/* Makes the directory and what is missing above it, each durable in its parent. One that is there
 * may have been made by a process that ended before that: so its parent is synced, too. */
int store_file_make_dirs(const struct env_files *files, const char *path);
/* What its name was changed in is durable. */
int store_file_sync_parent(const struct env_files *files, const char *path);
int store_file_open(const struct store_dir *d, const char *name, int flags);
int store_file_rename(const struct store_dir *d, const char *from, const char *to);
/* Removes it; that it is not there is no error. Durable with the directory's next sync. */
int store_file_remove(const struct store_dir *d, const char *name);
/* Syncs that forceSync=no leaves out, and the close of a file that was written to. Their errors are
 * those of store_file_lost. */
int store_file_sync(const struct store_dir *d, int fd);
int store_file_datasync(const struct store_dir *d, int fd);
int store_file_sync_dir(const struct store_dir *d);
int store_file_close(const struct store_dir *d, int fd);
/* What a sync or a close says. When it says that there is no room, what was written before is lost:
 * that is no full disk, where a write can wait for room, but a failure as any other (Z7). */
int store_file_lost(int err);

/* The bytes of a block, and back. `magic` has STORE_FILE_MAGIC_BYTES characters. Encoding returns
 * the checksum. Decoding: 0; -EBADMSG when these are no such bytes; -EPROTONOSUPPORT when they are
 * whole and of a newer version. ret_file is untouched on failure. */
uint64_t store_file_encode(const char *magic, const struct store_file *file,
                           uint8_t out[STORE_FILE_BYTES]);
int store_file_decode(const char *magic, const uint8_t bytes[STORE_FILE_BYTES],
                      struct store_file *ret_file, uint64_t *ret_checksum);

/* 0, -ENOENT when it is not there, as store_file_decode, or the system's. */
int store_file_read(const struct store_dir *d, const char *name, const char *magic,
                    struct store_file *ret_file);
/* Writes it over the one that is there: one block, and one sync. */
int store_file_write(const struct store_dir *d, const char *name, const char *magic,
                     const struct store_file *file);
/* Makes it under another name, NAME.new, and gives it its own when it is durable: so what has this
 * name was whole once. */
int store_file_create(const struct store_dir *d, const char *name, const char *magic,
                      const struct store_file *file);

#endif
