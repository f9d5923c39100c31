#include "replica/io/disk.h"

#include "common/check.h"
#include "common/log.h"
#include "replica/io/loop_state.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* Above this average a sync goes to the thread, below the lower one it comes back; the gap keeps a
 * disk in between from changing all the time. The numbers are those of decision 0003. */
#define SLOW_NS 1000000
#define QUICK_NS 500000
/* A single sync as long as this moves the next to the thread at once: everybody waited for it. */
#define STALL_NS 20000000
/* The weight of the last sync in the average: 1/8. */
#define AVERAGE_SHIFT 3
/* So often at most a slow sync makes a line of log. */
#define TELL_NS 1000000000
/* store_sync_run needs little; the default of 8 MiB would be reserved for nothing. */
#define THREAD_STACK_BYTES (256u << 10)

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A disk that is slow makes every write slow, and may be about to fail: worth a line, at most one a
 * second. */
static void warn_of_slow(struct disk *d, int64_t took_ns) {
    int32_t threshold_ms = d->loop->config->sync_warn_ms;
    if (took_ns / 1000000 <= threshold_ms)
        return;
    d->slow_count++;
    int64_t now = now_ns();
    if (d->told_ns != 0 && now - d->told_ns < TELL_NS)
        return;
    log_warn("a sync of the log took long, and all writes wait for it: is its disk slow or busy? "
             "log_dir=%s took_ms=%lld threshold_ms=%d slow_syncs_since_last_line=%llu",
             d->loop->config->log_dir, (long long)(took_ns / 1000000), threshold_ms,
             (unsigned long long)d->slow_count);
    d->told_ns = now;
    d->slow_count = 0;
}

static void measure(struct disk *d, int64_t took_ns) {
    int64_t us = took_ns / 1000;
    d->sync_count++;
    d->total_us += us;
    if (us > d->max_us)
        d->max_us = us;
    warn_of_slow(d, took_ns);
}

/* Where the next sync runs. */
static void learn(struct disk *d, int64_t took_ns) {
    d->average_ns += (took_ns - d->average_ns) >> AVERAGE_SHIFT;
    if (took_ns >= STALL_NS && d->average_ns < SLOW_NS)
        d->average_ns = SLOW_NS;
    bool slow = d->threaded ? d->average_ns >= QUICK_NS : d->average_ns >= SLOW_NS;
    if (slow != d->threaded)
        log_debug("the log syncs %s average_us=%lld", slow ? "in its thread" : "in the loop",
                  (long long)(d->average_ns / 1000));
    d->threaded = slow;
}

static void *thread_main(void *arg) {
    struct disk *d = arg;
    pthread_mutex_lock(&d->mutex);
    for (;;) {
        while (!d->thread_go && !d->thread_quit)
            pthread_cond_wait(&d->cond, &d->mutex);
        if (!d->thread_go)
            break;
        d->thread_go = false;
        pthread_mutex_unlock(&d->mutex);
        int64_t begin = now_ns();
        int result = store_sync_run(member_store(d->loop->member));
        int64_t took_ns = now_ns() - begin;
        pthread_mutex_lock(&d->mutex);
        d->result = result;
        d->took_ns = took_ns;
        uv_async_send(&d->done);
    }
    pthread_mutex_unlock(&d->mutex);
    return NULL;
}

/* Signals belong to the loop's thread; the log's gets none. */
static int thread_start(struct disk *d) {
    sigset_t all, before;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&d->thread, &attr, thread_main, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    d->thread_started = rc == 0;
    return -rc;
}

static void on_done(uv_async_t *async) {
    struct disk *d = async->data;
    pthread_mutex_lock(&d->mutex);
    int result = d->result;
    int64_t took_ns = d->took_ns;
    pthread_mutex_unlock(&d->mutex);
    if (d->state != DISK_RUNNING)
        return;
    d->state = DISK_IDLE;
    measure(d, took_ns);
    learn(d, took_ns);
    member_log_synced(d->loop->member, result);
}

int disk_init(struct disk *d, struct loop *l) {
    *d = (struct disk){.loop = l};
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->cond, NULL);
    d->done.data = d;
    return uv_async_init(&l->uv, &d->done, on_done);
}

void disk_want(struct disk *d) {
    CHECK(d->state == DISK_IDLE);
    d->state = DISK_WANTED;
}

static void run_here(struct disk *d) {
    int64_t begin = now_ns();
    int result = store_sync_run(member_store(d->loop->member));
    int64_t took_ns = now_ns() - begin;
    measure(d, took_ns);
    learn(d, took_ns);
    d->state = DISK_IDLE;
    member_log_synced(d->loop->member, result);
}

bool disk_run(struct disk *d) {
    if (d->state != DISK_WANTED)
        return false;
    if (d->threaded && !d->thread_started) {
        int rc = thread_start(d);
        if (rc != 0)
            log_warn("no thread for the log, it syncs in the loop error=%s", strerror(-rc));
    }
    if (!d->threaded || !d->thread_started) {
        run_here(d);
        return true;
    }
    d->state = DISK_RUNNING;
    pthread_mutex_lock(&d->mutex);
    d->thread_go = true;
    pthread_cond_signal(&d->cond);
    pthread_mutex_unlock(&d->mutex);
    return false;
}

void disk_close(struct disk *d) {
    if (d->thread_started) {
        pthread_mutex_lock(&d->mutex);
        d->thread_quit = true;
        pthread_cond_signal(&d->cond);
        pthread_mutex_unlock(&d->mutex);
        pthread_join(d->thread, NULL);
    }
    pthread_cond_destroy(&d->cond);
    pthread_mutex_destroy(&d->mutex);
}
