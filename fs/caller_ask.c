#include "fs/caller_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"

/* Ten thousand times what it takes: on a busy machine the thread, or the caller, has to wait. */
#define ANSWER_MS 1000
/* While as many hang, nothing is asked: callers must not be able to take more of them. */
#define THREADS_MAX 2

struct caller_ask {
    struct caller_asks *asks;
    struct caller_ask *prev, *next; /* caller_asks.wanted */
    caller_ask_cb *cb;              /* NULL: nobody wants to know any more, and it is in no list */
    void *ctx;
    int64_t deadline_ms;
    bool has_thread; /* which has pid, chain, answer and done_fd until it is done */
    pid_t pid;
    char *chain;
    enum caller_answer answer;
    int done_fd;
};

static void ask_free(struct caller_ask *a) {
    mem_free(a->chain);
    mem_free(a);
}

/* Without the other descriptors, the FUSE device above all: while a hung thread has it, the kernel
 * does not end the mount of a killed process, and what the thread waits for may wait for that. */
static void keep_only(int fd) {
    if (close_range((unsigned)fd + 1, ~0u, CLOSE_RANGE_UNSHARE) == 0 && fd > 0)
        close_range(0, (unsigned)fd - 1, 0);
}

static void *thread_main(void *arg) {
    struct caller_ask *a = arg;
    int fd = a->done_fd;
    keep_only(fd);
    a->answer = caller_walks_on(a->pid, a->chain);
    ssize_t n;
    do
        n = write(fd, &a, sizeof a);
    while (n < 0 && errno == EINTR);
    return NULL;
}

/* Signals are the loop's. */
static void start_thread(struct caller_ask *a) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    a->has_thread = pthread_create(&thread, &attr, thread_main, a) == 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    a->asks->threads += a->has_thread;
}

static void start_next(struct caller_asks *asks) {
    struct caller_ask *a, *next;
    DL_FOREACH_SAFE(asks->wanted, a, next) {
        if (asks->threads == THREADS_MAX)
            return;
        if (!a->has_thread)
            start_thread(a); /* where that fails the time passes */
    }
}

void caller_ask_drop(struct caller_ask *a) {
    struct caller_asks *asks = a->asks;
    DL_DELETE(asks->wanted, a);
    a->cb = NULL;
    asks->hung += a->has_thread;
    if (!a->has_thread)
        ask_free(a); /* else behind its thread */
}

static void answer(struct caller_ask *a, enum caller_answer on) {
    caller_ask_cb *cb = a->cb;
    void *ctx = a->ctx;
    CHECK(cb != NULL);
    caller_ask_drop(a);
    cb(ctx, on);
}

static void thread_done(struct caller_asks *asks, struct caller_ask *a) {
    asks->threads--;
    if (a->cb == NULL) {
        asks->hung--;
        ask_free(a);
        return;
    }
    a->has_thread = false;
    answer(a, a->answer);
}

static void take_done(struct caller_asks *asks) {
    struct caller_ask *a;
    while (read(asks->fds[0], &a, sizeof a) == (ssize_t)sizeof a)
        thread_done(asks, a);
    start_next(asks);
}

static void on_done(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    take_done(poll->data);
}

static void arm_timer(struct caller_asks *asks);

static void on_timer(uv_timer_t *timer) {
    struct caller_asks *asks = timer->data;
    int64_t now = (int64_t)uv_now(timer->loop);
    take_done(asks); /* the loop may have been late, not they */
    while (asks->wanted != NULL && asks->wanted->deadline_ms <= now)
        answer(asks->wanted, CALLER_UNKNOWN);
    arm_timer(asks);
}

static void arm_timer(struct caller_asks *asks) {
    if (asks->wanted == NULL)
        return;
    int64_t wait = asks->wanted->deadline_ms - (int64_t)uv_now(asks->timer.loop);
    uv_timer_start(&asks->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

void caller_asks_init(struct caller_asks *asks, uv_loop_t *loop) {
    *asks = (struct caller_asks){.fds = {-1, -1}};
    uv_timer_init(loop, &asks->timer);
    asks->timer.data = asks->poll.data = asks;
    if (pipe2(asks->fds, O_CLOEXEC | O_NONBLOCK) != 0 ||
        uv_poll_init(loop, &asks->poll, asks->fds[0]) != 0) {
        log_warn("callers cannot be asked for their paths: %s", strerror(errno));
        return;
    }
    asks->works = true;
    uv_poll_start(&asks->poll, UV_READABLE, on_done);
}

void caller_asks_close(struct caller_asks *asks) {
    for (int i = 0; i < 2; i++)
        if (asks->fds[i] >= 0)
            close(asks->fds[i]);
}

struct caller_ask *caller_ask(struct caller_asks *asks, pid_t pid, const char *chain,
                              caller_ask_cb *cb, void *ctx) {
    if (!asks->works || pid <= 0 || asks->hung == THREADS_MAX)
        return NULL;
    struct caller_ask *a = mem_zalloc(sizeof *a);
    *a = (struct caller_ask){.asks = asks,
                             .cb = cb,
                             .ctx = ctx,
                             .deadline_ms = (int64_t)uv_now(asks->timer.loop) + ANSWER_MS,
                             .pid = pid,
                             .chain = mem_strdup(chain),
                             .done_fd = asks->fds[1]};
    DL_APPEND(asks->wanted, a);
    if (!uv_is_active((uv_handle_t *)&asks->timer))
        arm_timer(asks);
    start_next(asks);
    return a;
}
