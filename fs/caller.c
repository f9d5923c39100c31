#include "fs/caller.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* /proc/PID/syscall says "running" until the thread sleeps. */
#define TRY_AGAIN_NS 100000
/* The loop waits for it, and there is another way to judge. */
#define TRIES 5
/* /proc/PID/stat: of what stands behind the name. */
#define START_TIME_AT 20

static enum caller_answer judge(const struct caller_syscall *call) {
    unsigned long flags;
    if (call->number == SYS_openat)
        flags = call->arg[2];
#ifdef SYS_open
    else if (call->number == SYS_open)
        flags = call->arg[1];
#endif
    else if (call->number < 0 || call->number == SYS_openat2 || call->number == SYS_io_uring_enter)
        return CALLER_UNKNOWN; /* the flags are in the caller's memory */
    else
        return CALLER_NO;
    return (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0 ? CALLER_YES : CALLER_NO;
}

static bool read_line(const char *file, char *line, size_t size) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, line, size - 1);
    close(fd);
    line[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The file has a line: number, six arguments, stack and program counter; or "running". */
static bool parse(const char *line, struct caller_syscall *ret) {
    char *end;
    ret->number = strtol(line, &end, 10);
    if (end == line)
        return false;
    for (int i = 0; i < CALLER_ARGS; i++)
        ret->arg[i] = strtoul(end, &end, 16);
    return true;
}

bool caller_syscall(pid_t pid, int tries, struct caller_syscall *ret) {
    char file[40], line[256];
    snprintf(file, sizeof file, "/proc/%d/syscall", (int)pid);
    for (int i = 0; i < tries; i++) {
        if (pid <= 0 || !read_line(file, line, sizeof line))
            return false;
        if (strncmp(line, "running", 7) != 0)
            return parse(line, ret);
        nanosleep(&(struct timespec){.tv_nsec = TRY_AGAIN_NS}, NULL);
    }
    return false;
}

enum caller_answer caller_creates_anew(pid_t pid) {
    struct caller_syscall call;
    return caller_syscall(pid, TRIES, &call) ? judge(&call) : CALLER_UNKNOWN;
}

static bool read_id(const char *status, const char *key, pid_t *ret) {
    const char *at = strstr(status, key);
    if (at == NULL)
        return false;
    *ret = (pid_t)strtol(at + strlen(key), NULL, 10);
    return true;
}

bool caller_ids(pid_t tid, pid_t *ret_tgid, pid_t *ret_ppid) {
    char file[40], status[512]; /* the ids are among the first lines */
    snprintf(file, sizeof file, "/proc/%d/status", (int)tid);
    if (tid <= 0 || !read_line(file, status, sizeof status))
        return false;
    return read_id(status, "\nTgid:", ret_tgid) && read_id(status, "\nPPid:", ret_ppid);
}

bool caller_is_init(pid_t pid) {
    char file[40], line[256]; /* of a longer line the rest comes next, without a name */
    bool is_init = pid == 1;
    snprintf(file, sizeof file, "/proc/%d/status", (int)pid);
    FILE *status = fopen(file, "re");
    if (status == NULL)
        return is_init;
    /* The pids that it has, from the namespace of this /proc to its own. */
    while (!is_init && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "NSpid:", 6) == 0)
            is_init = strcmp(strrchr(line, '\t'), "\t1\n") == 0;
    fclose(status);
    return is_init;
}

bool caller_start_time(pid_t pid, uint64_t *ret_ticks) {
    char file[40], line[1024];
    snprintf(file, sizeof file, "/proc/%d/stat", (int)pid);
    if (pid <= 0 || !read_line(file, line, sizeof line))
        return false;
    const char *at = strrchr(line, ')'); /* behind the name, which may have anything in it */
    for (int i = 0; at != NULL && i < START_TIME_AT; i++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    *ret_ticks = strtoull(at, NULL, 10);
    return true;
}
