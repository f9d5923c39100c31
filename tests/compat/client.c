/* compat_client PORT[,PORT...]: see client.h. */
#include "tests/compat/client.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S 10
#define EVENTS_MAX 64

static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t events_more = PTHREAD_COND_INITIALIZER;
/* Of watches only: states of sessions are polled for. */
static char events[EVENTS_MAX][256];
static int events_first, events_count;

/* The library loses what it has for a request whose connection is cut at a certain moment: not ours
 * to mend. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libzookeeper_mt.so"; }

void say(const char *step, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    printf("%s: ", step);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    fflush(stdout);
}

static const char *owner_name(const struct script *s, int64_t owner) {
    if (owner == 0)
        return "0";
    if (s->zh != NULL && owner == zoo_client_id(s->zh)->client_id)
        return "me";
    return owner == s->other_id ? "other" : "unknown";
}

static long relative(const struct script *s, int64_t zxid) {
    return zxid == 0 ? 0 : (long)(zxid - s->base_zxid);
}

void say_stat(const struct script *s, const char *step, int rc, const struct Stat *stat) {
    if (rc != ZOK) {
        say(step, "%d", rc);
        return;
    }
    time_t now = time(NULL);
    bool fresh = stat->ctime == 0 || llabs((long long)(stat->ctime / 1000 - now)) < 60;
    say(step, "0 c%+ld m%+ld p%+ld v=%d cv=%d av=%d eo=%s dl=%d nc=%d%s%s",
        relative(s, stat->czxid), relative(s, stat->mzxid), relative(s, stat->pzxid), stat->version,
        stat->cversion, stat->aversion, owner_name(s, stat->ephemeralOwner), stat->dataLength,
        stat->numChildren, fresh ? "" : " ctime is wrong",
        stat->mtime >= stat->ctime ? "" : " mtime is wrong");
}

void on_watch(zhandle_t *zh, int type, int state, const char *path, void *ctx) {
    (void)zh;
    if (type == ZOO_SESSION_EVENT)
        return;
    pthread_mutex_lock(&events_lock);
    if (events_count < EVENTS_MAX) {
        int at = (events_first + events_count++) % EVENTS_MAX;
        snprintf(events[at], sizeof events[at], "type %d state %d path %s by %s", type, state, path,
                 ctx != NULL ? (const char *)ctx : "-");
    }
    pthread_cond_broadcast(&events_more);
    pthread_mutex_unlock(&events_lock);
}

void wait_event(const char *step) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S / 2;
    pthread_mutex_lock(&events_lock);
    while (events_count == 0)
        if (pthread_cond_timedwait(&events_more, &events_lock, &until) != 0)
            break;
    if (events_count > 0) {
        say(step, "%s", events[events_first]);
        events_first = (events_first + 1) % EVENTS_MAX;
        events_count--;
    } else {
        say(step, "no event came");
    }
    pthread_mutex_unlock(&events_lock);
}

struct done {
    pthread_mutex_t lock;
    pthread_cond_t more;
    bool is;
    int rc;
};

static void on_synced(int rc, const char *value, const void *data) {
    (void)value;
    struct done *done = (struct done *)(uintptr_t)data;
    pthread_mutex_lock(&done->lock);
    done->rc = rc;
    done->is = true;
    pthread_cond_signal(&done->more);
    pthread_mutex_unlock(&done->lock);
}

static int synced(zhandle_t *zh) {
    struct done done = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    int rc = zoo_async(zh, "/", on_synced, &done);
    if (rc != ZOK)
        return rc;
    pthread_mutex_lock(&done.lock);
    while (!done.is)
        pthread_cond_wait(&done.more, &done.lock);
    pthread_mutex_unlock(&done.lock);
    return done.rc;
}

void catch_up(zhandle_t *zh) { (void)AGAIN(zh, synced(zh), ZOK); }

void wait_again(zhandle_t *zh) {
    printf("(lost)\n");
    fflush(stdout);
    wait_state(zh, ZOO_CONNECTED_STATE);
}

void no_event(const char *step, zhandle_t *zh) {
    /* An event for a change that has been answered stands before this answer, and its watcher is
     * called by the same thread, in order. */
    catch_up(zh);
    struct Stat stat;
    zoo_exists(zh, "/", 0, &stat);
    pthread_mutex_lock(&events_lock);
    say(step, "%s", events_count == 0 ? "no event" : events[events_first]);
    events_count = 0;
    pthread_mutex_unlock(&events_lock);
}

int wait_state(zhandle_t *zh, int state) {
    for (int i = 0; i < WAIT_S * 100; i++) {
        if (zoo_state(zh) == state)
            break;
        usleep(10000);
    }
    return zoo_state(zh);
}

zhandle_t *open_session(const struct script *s, const clientid_t *id) {
    zhandle_t *zh = zookeeper_init(s->address, on_watch, 10000, id, (void *)"session", 0);
    if (zh == NULL)
        return NULL;
    for (int i = 0; i < WAIT_S * 100; i++) {
        int state = zoo_state(zh);
        if (state == ZOO_CONNECTED_STATE || is_unrecoverable(zh) == ZINVALIDSTATE)
            return zh;
        usleep(10000);
    }
    zookeeper_close(zh);
    return NULL;
}

/* 127.0.0.1:PORT for each of the ports. */
static void put_address(const char *ports, char *address, size_t size) {
    size_t len = 0;
    *address = '\0';
    for (const char *at = ports; *at != '\0' && len < size;) {
        size_t n = strcspn(at, ",");
        len += (size_t)snprintf(address + len, size - len, "%s127.0.0.1:%.*s", len > 0 ? "," : "",
                                (int)n, at);
        at += n + (at[n] == ',');
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: compat_client PORT[,PORT...]\n");
        return 2;
    }
    char address[256];
    put_address(argv[1], address, sizeof address);
    /* Lost connections are what some runs are about. */
    zoo_set_debug_level(strchr(argv[1], ',') != NULL ? (ZooLogLevel)0 : ZOO_LOG_LEVEL_ERROR);
    struct script s = {.self = argv[0], .ports = argv[1], .address = address};
    if (argc > 2 && strcmp(argv[2], "leave") == 0)
        leave_session(&s);
    s.zh = open_session(&s, NULL);
    if (s.zh == NULL) {
        say("connect", "no session");
        return 1;
    }
    say("connect", "timeout %d ms", zoo_recv_timeout(s.zh));
    struct Stat stat;
    char path[64];
    int rc = zoo_create2(s.zh, "/c", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path, &stat);
    s.base_zxid = stat.czxid;
    say_stat(&s, "create2 of /c with null data", rc, &stat);
    run_create(&s);
    run_data(&s);
    run_children(&s);
    run_acl(&s);
    run_watch(&s);
    run_multi(&s);
    run_async(&s);
    run_session(&s);
    say("close", "%d", zookeeper_close(s.zh));
    return 0;
}
