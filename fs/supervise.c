#include "fs/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "fs/unmount.h"

/* So many crashes, by -o restarts, within this time are taken for a worker that cannot live. */
#define CRASH_WINDOW_MS 60000

struct supervisor {
    const struct options *opt;
    char **argv;
    int ready_fd;
    int signal_fd;
    int journal_fd;
    int device_fd; /* -1 until something is mounted */
    int link_fd;   /* to the worker; -1 when its end is closed */
    pid_t worker;
    bool can_resume;
    bool told_to_end;
    int64_t *crashes_ms; /* when the last ones were, a ring of opt->restarts */
    int crash_count;
    bool done;
    int exit_code;
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void tell_ready(struct supervisor *s, int code) {
    if (s->ready_fd < 0)
        return;
    char c = (char)code;
    if (write(s->ready_fd, &c, 1) != 1)
        log_warn("the process that started the mount has gone");
    close(s->ready_fd);
    s->ready_fd = -1;
}

void supervise_detach(const struct options *opt) {
    struct stat st;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return;
    dup2(null_fd, 0);
    dup2(null_fd, 1);
    if (opt->log_file == NULL && (fstat(2, &st) != 0 || !S_ISREG(st.st_mode)))
        dup2(null_fd, 2);
    if (null_fd > 2)
        close(null_fd);
}

/* A hello and a descriptor. */
struct hello_message {
    struct msghdr head;
    struct iovec iov;
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
};

static void hello_message_init(struct hello_message *m, const struct supervise_hello *hello) {
    *m = (struct hello_message){.iov = {(void *)(uintptr_t)hello, sizeof *hello}};
    m->head.msg_iov = &m->iov;
    m->head.msg_iovlen = 1;
    m->head.msg_control = &m->control;
    m->head.msg_controllen = sizeof m->control.bytes;
}

bool supervise_tell(int link_fd, const struct supervise_hello *hello, int device_fd) {
    struct hello_message m;
    hello_message_init(&m, hello);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m.head);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof device_fd);
    memcpy(CMSG_DATA(c), &device_fd, sizeof device_fd);
    return sendmsg(link_fd, &m.head, MSG_NOSIGNAL) == (ssize_t)sizeof *hello;
}

static void hear(struct supervisor *s) {
    struct supervise_hello hello = {0};
    struct hello_message m;
    hello_message_init(&m, &hello);
    ssize_t n = recvmsg(s->link_fd, &m.head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    struct cmsghdr *c = n == (ssize_t)sizeof hello ? CMSG_FIRSTHDR(&m.head) : NULL;
    if (c == NULL || c->cmsg_type != SCM_RIGHTS) {
        close(s->link_fd);
        s->link_fd = -1;
        return;
    }
    if (s->device_fd >= 0)
        close(s->device_fd);
    memcpy(&s->device_fd, CMSG_DATA(c), sizeof s->device_fd);
    s->can_resume = hello.can_resume;
    if (!s->opt->foreground)
        supervise_detach(s->opt);
    tell_ready(s, 0);
}

static void let_pass(int fd) {
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

/* The worker is the same program, in an address space of its own, and in a session of its own: what
 * a terminal sends to the foreground comes to it once, through us. */
static void run_worker(const struct supervisor *s, int link_fd) {
    setsid(); /* SIGTERM and SIGINT stay blocked until the worker can take them */
    let_pass(link_fd);
    let_pass(s->journal_fd);
    let_pass(s->device_fd);
    size_t count = 0;
    while (s->argv[count] != NULL)
        count++;
    char **argv = mem_zalloc(sizeof *argv * (count + 2));
    size_t size = strlen(s->opt->mountpoint) + 64;
    argv[0] = s->argv[0];
    argv[1] = mem_alloc(size);
    snprintf(argv[1], size, WORKER_ARG "%d,%d,%d,%s", link_fd, s->journal_fd, s->device_fd,
             s->opt->mountpoint);
    memcpy(argv + 2, s->argv + 1, sizeof *argv * (count - 1));
    execv("/proc/self/exe", argv);
    log_error("the worker cannot be started: /proc/self/exe err=\"%s\"", strerror(errno));
    _exit(RESUME_FAILED);
}

static bool start_worker(struct supervisor *s) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        log_error("no socket for the worker err=\"%s\"", strerror(errno));
        return false;
    }
    if (s->link_fd >= 0)
        close(s->link_fd);
    s->link_fd = fds[0];
    s->worker = fork();
    if (s->worker == 0)
        run_worker(s, fds[1]);
    close(fds[1]);
    if (s->worker < 0)
        log_error("no process for the worker err=\"%s\"", strerror(errno));
    return s->worker > 0;
}

static void finish(struct supervisor *s, int code) {
    s->done = true;
    s->exit_code = code;
}

/* Nobody serves the mount any more: its callers get errors, instead of waiting for ever. */
static void give_up(struct supervisor *s, const char *why) {
    log_error("%s; unmounting mountpoint=%s", why, s->opt->mountpoint);
    if (s->device_fd < 0)
        unmount_dead(s->opt->mountpoint);
    else if (!unmount_is_gone(s->device_fd))
        unmount_lazily(s->opt->mountpoint);
    finish(s, EXIT_FAILURE);
}

/* Notes a crash; false when there have been too many. */
static bool may_restart(struct supervisor *s) {
    int limit = s->opt->restarts;
    int64_t now = now_ms();
    if (limit == 0)
        return false;
    int64_t *at = &s->crashes_ms[s->crash_count++ % limit];
    bool ok = s->crash_count <= limit || now - *at > CRASH_WINDOW_MS;
    *at = now;
    return ok;
}

static void crashed(struct supervisor *s, int status) {
    char how[64];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    log_error("the worker crashed: %s pid=%d mountpoint=%s", how, (int)s->worker,
              s->opt->mountpoint);
    if (s->told_to_end || unmount_is_gone(s->device_fd))
        give_up(s, "it crashed while ending");
    else if (WIFEXITED(status) && WEXITSTATUS(status) == RESUME_FAILED)
        give_up(s, "the mount cannot go on");
    else if (!s->can_resume)
        give_up(s, "this kernel cannot go on with a mount (it needs Linux 6.9)");
    else if (!may_restart(s))
        give_up(s, "it crashed too often (-o restarts), giving up");
    else if (!start_worker(s))
        give_up(s, "no worker can be started");
}

static void ended(struct supervisor *s) {
    int status;
    if (waitpid(s->worker, &status, WNOHANG) != s->worker)
        return;
    if (s->device_fd < 0 && s->link_fd >= 0)
        hear(s); /* it may have said so with its last breath */
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || s->device_fd < 0))
        finish(s, WEXITSTATUS(status));
    else if (s->device_fd < 0)
        give_up(s, "the worker crashed before the mount worked");
    else
        crashed(s, status);
}

static void on_signal(struct supervisor *s) {
    struct signalfd_siginfo info;
    if (read(s->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGCHLD) {
        ended(s);
        return;
    }
    s->told_to_end = true;
    kill(s->worker, (int)info.ssi_signo);
}

static bool open_all(struct supervisor *s) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGCHLD, SIG_DFL); /* ignored, as it may be inherited, it would never come */
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->journal_fd = memfd_create("zkfs-journal", MFD_CLOEXEC);
    if (s->signal_fd < 0 || s->journal_fd < 0) {
        fprintf(stderr, "zkfs: cannot start: %s\n", strerror(errno));
        return false;
    }
    return true;
}

static void close_fd(int fd) {
    if (fd >= 0)
        close(fd);
}

int supervise(const struct options *opt, char **argv, int ready_fd) {
    struct supervisor s = {.opt = opt,
                           .argv = argv,
                           .ready_fd = ready_fd,
                           .signal_fd = -1,
                           .journal_fd = -1,
                           .device_fd = -1,
                           .link_fd = -1,
                           .exit_code = EXIT_FAILURE};
    s.crashes_ms = mem_zalloc(sizeof *s.crashes_ms * (size_t)(opt->restarts + 1));
    s.done = !open_all(&s) || !start_worker(&s);
    while (!s.done) {
        struct pollfd fds[] = {{.fd = s.signal_fd, .events = POLLIN},
                               {.fd = s.link_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            continue; /* a signal that is not ours to hear */
        if (fds[1].revents != 0 && s.link_fd >= 0)
            hear(&s);
        if (fds[0].revents != 0)
            on_signal(&s);
    }
    tell_ready(&s, s.exit_code);
    close_fd(s.signal_fd);
    close_fd(s.journal_fd);
    close_fd(s.device_fd);
    close_fd(s.link_fd);
    mem_free(s.crashes_ms);
    return s.exit_code;
}
