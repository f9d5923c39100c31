/* Which part of its path a caller is at. */
#include "fs/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/path.h"
#include "common/types.h"

/* More names than these, and it is not known. */
#define NAMES_MAX 512
/* Nobody but the caller waits, and nothing else tells what it wants. */
#define TRIES 2000

struct names {
    struct slice at[NAMES_MAX];
    size_t count;
};

/* The next name of *p, which moves behind it; false at the end. Empty names and dots are none. */
static bool next_name(const char **p, struct slice *ret) {
    for (;;) {
        *p += strspn(*p, "/");
        size_t len = strcspn(*p, "/");
        if (len == 0)
            return false;
        *ret = (struct slice){(const uint8_t *)*p, (int32_t)len};
        *p += len;
        if (!slice_equal_str(*ret, "."))
            return true;
    }
}

/* How many of the last names are the same. */
static size_t common_tail(const struct names *a, const struct names *b) {
    size_t n = 0;
    while (n < a->count && n < b->count &&
           slice_equal(a->at[a->count - 1 - n], b->at[b->count - 1 - n]))
        n++;
    return n;
}

/* Whether anything is behind: also the slash or dot that asks for a directory. */
static bool is_end(const char *rest) { return *rest == '\0'; }

/* The place in the path that has most in common with the chain is where the caller is. */
enum caller_answer caller_path_goes_on(const char *path, const char *chain) {
    struct names want = {.count = 0}, have = {.count = 0};
    enum caller_answer answer = CALLER_UNKNOWN;
    struct slice name;
    size_t best = 0;
    while (next_name(&chain, &name)) {
        if (want.count == NAMES_MAX)
            return CALLER_UNKNOWN;
        want.at[want.count++] = name;
    }
    while (next_name(&path, &name)) {
        if (slice_equal_str(name, "..")) {
            have.count -= have.count > 0 ? 1 : 0;
            continue;
        }
        if (have.count == NAMES_MAX)
            return CALLER_UNKNOWN;
        have.at[have.count++] = name;
        size_t common = common_tail(&have, &want);
        enum caller_answer here = is_end(path) ? CALLER_NO : CALLER_YES;
        if (common > best)
            answer = here;
        else if (common == best && common > 0 && answer != here)
            answer = CALLER_UNKNOWN;
        best = common > best ? common : best;
    }
    return answer;
}

/* System calls that take a path, and which argument it is. */
static const struct {
    long number;
    unsigned arg;
} calls[] = {
    {SYS_openat, 1},     {SYS_openat2, 1},   {SYS_newfstatat, 1},
    {SYS_statx, 1},      {SYS_faccessat, 1}, {SYS_faccessat2, 1},
    {SYS_readlinkat, 1}, {SYS_fchmodat, 1},  {SYS_fchownat, 1},
    {SYS_utimensat, 1},  {SYS_unlinkat, 1},  {SYS_mkdirat, 1},
    {SYS_getxattr, 0},   {SYS_lgetxattr, 0}, {SYS_listxattr, 0},
    {SYS_llistxattr, 0}, {SYS_setxattr, 0},  {SYS_lsetxattr, 0},
    {SYS_truncate, 0},   {SYS_statfs, 0},    {SYS_inotify_add_watch, 1},
    {SYS_execve, 0},     {SYS_chroot, 0},    {SYS_name_to_handle_at, 1},
#ifdef SYS_open
    {SYS_open, 0},       {SYS_stat, 0},      {SYS_lstat, 0},
    {SYS_access, 0},     {SYS_readlink, 0},  {SYS_unlink, 0},
    {SYS_rmdir, 0},      {SYS_mkdir, 0},     {SYS_chmod, 0},
#endif
};

/* Up to size - 1 bytes of the string at `from` in the thread's memory. Read by pages, for the next
 * one may not be there. */
static bool read_string(pid_t pid, uintptr_t from, char *s, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = page - from % page;
    if (first > size - 1)
        first = size - 1;
    struct iovec local = {s, size - 1};
    struct iovec remote[2] = {{(void *)from, first}, {(void *)(from + first), size - 1 - first}};
    ssize_t n = process_vm_readv(pid, &local, 1, remote, 2, 0);
    if (n <= 0)
        return false;
    s[n] = '\0';
    return memchr(s, '\0', (size_t)n) != NULL;
}

enum caller_answer caller_walks_on(pid_t pid, const char *chain) {
    struct caller_syscall call;
    char path[PATH_MAX + 1];
    if (!caller_syscall(pid, TRIES, &call))
        return CALLER_UNKNOWN;
    if (call.number == SYS_chdir)
        return CALLER_YES;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (calls[i].number != call.number)
            continue;
        if (!read_string(pid, call.arg[calls[i].arg], path, sizeof path))
            return CALLER_UNKNOWN;
        bool wants_dir = call.number == SYS_openat && (call.arg[2] & O_DIRECTORY) != 0;
        enum caller_answer on = caller_path_goes_on(path, chain);
        return on == CALLER_NO && wants_dir ? CALLER_YES : on;
    }
    return CALLER_UNKNOWN;
}
