/* The outside world as the store and the member see it: real in io/, virtual in the simulator.
 * Errors are 0 or negative errno. File calls may run in the thread of a runner (log, checkpoints)
 * as well; all others in the loop's.
 */
#ifndef ZKFS_REPLICA_ENV_H
#define ZKFS_REPLICA_ENV_H

#include "common/log.h"
#include "common/types.h"

struct process_info; /* replica/server/event.h */

struct env_files {
    void *ctx;
    /* flags and mode as open(2); the result is a handle >= 0. Paths are absolute or relative to the
     * process. */
    int (*open)(void *ctx, const char *path, int flags, int mode);
    int (*close)(void *ctx, int fd);
    /* All of it or an error; *read stops short only at the end of file (returns the count). */
    int64_t (*pread)(void *ctx, int fd, void *p, size_t n, int64_t offset);
    int (*pwrite)(void *ctx, int fd, const void *p, size_t n, int64_t offset);
    int (*datasync)(void *ctx, int fd); /* fdatasync(2) */
    int (*sync)(void *ctx, int fd);     /* fsync(2) */
    /* May be NULL: brings what was written in that range to the disk, without any promise that it
     * is durable. What a sync would have to write later is less then, and so is what every other
     * sync on that disk waits for. Errors count as those of a write. */
    int (*write_back)(void *ctx, int fd, int64_t offset, int64_t n);
    int (*truncate)(void *ctx, int fd, int64_t size);
    int64_t (*size)(void *ctx, int fd);
    int64_t (*links)(void *ctx, int fd); /* how many names the file has */
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path, int mode);
    int (*sync_dir)(void *ctx, const char *path);
    /* Calls fn for each name (not . and ..), in no order. */
    int (*list)(void *ctx, const char *path, void (*fn)(void *arg, const char *name), void *arg);
    int (*lock)(void *ctx,
                int fd); /* exclusive, not waiting: -EAGAIN when another process has it */
};

struct env {
    void *ctx;
    const struct env_files *files;
    int64_t (*mono_ms)(void *ctx);
    int64_t (*wall_ms)(void *ctx);
    int (*random)(void *ctx, void *p, size_t n);
    void (*process_info)(void *ctx, struct process_info *ret_info);
    void (*client_send)(void *ctx, conn_id_t conn,
                        struct slice bytes); /* copied or written at once */
    void (*client_close)(void *ctx, conn_id_t conn, struct slice why);
    void (*client_pause)(void *ctx, conn_id_t conn, bool pause);
    /* One whole message to a peer whose link is up; nothing happens when it is not
     * (member_peer_down is on its way). */
    void (*peer_send)(void *ctx, uint8_t peer, struct slice bytes);
    /* Closes the link, and connects again. No member_peer_message or _down of that link follows. */
    void (*peer_drop)(void *ctx, uint8_t peer, struct slice why);
    void (*set_timer)(void *ctx, int64_t mono_ms); /* then member_tick */
    /* Run store_sync_run somewhere, then call member_log_synced with its result in the loop's
     * thread (it may be called from within), whatever it is. At most one is under way. */
    void (*log_sync)(void *ctx);
    /* Run store_checkpoint_run somewhere, beside the log's syncs, then call member_checkpoint_ran
     * in the loop's thread (it may be called from within). At most one is under way. */
    void (*checkpoint_run)(void *ctx);
    void (*note)(void *ctx, enum log_level level, struct slice text);
    void (*stop)(void *ctx, struct slice why);
};

#endif
