/* Watches, multi, pipelined requests and sessions through the C client; see client.h. */
#include "tests/compat/client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void arm(zhandle_t *zh, const char *path, const char *ops) {
    char data[8], step[64];
    int length = sizeof data;
    struct Stat stat;
    catch_up(zh);
    for (const char *op = ops; *op != '\0'; op++) {
        int rc;
        if (*op == 'e') {
            rc = zoo_wexists(zh, path, on_watch, (void *)"exists", &stat);
        } else if (*op == 'g') {
            length = sizeof data;
            rc = zoo_wget(zh, path, on_watch, (void *)"get", data, &length, &stat);
        } else {
            struct String_vector v = {0};
            rc = zoo_wget_children(zh, path, on_watch, (void *)"children", &v);
            if (rc == ZOK)
                deallocate_String_vector(&v);
        }
        snprintf(step, sizeof step, "arm %c %s", *op, path);
        say(step, "%d", rc);
    }
}

void run_watch(struct script *s) {
    zhandle_t *w = open_session(s, NULL);
    arm(w, "/c/w", "e");
    say("watched create", "%d", zoo_create(s->zh, "/c/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    wait_event("event of create");
    arm(w, "/c/w", "g");
    say("watched set", "%d", zoo_set(s->zh, "/c/w", "1", 1, -1));
    wait_event("event of set");
    say("set, no watch any more", "%d", zoo_set(s->zh, "/c/w", "2", 1, -1));
    no_event("one-shot", w);
    arm(w, "/c/w", "c");
    say("watched child", "%d",
        zoo_create(s->zh, "/c/w/k", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    wait_event("event of a child's create");
    arm(w, "/c/w", "c");
    say("set of the child", "%d", zoo_set(s->zh, "/c/w/k", "1", 1, -1));
    no_event("a child's data is not the parent's business", w);
    say("watched delete of the child", "%d", zoo_delete(s->zh, "/c/w/k", -1));
    wait_event("event of a child's delete");
    for (const char *op = "ceg"; *op != '\0'; op++) {
        arm(w, "/c/w", (const char[]){*op, '\0'});
        say("watched delete", "%d", zoo_delete(s->zh, "/c/w", -1));
        wait_event("event of delete");
        no_event("after delete", w);
        zoo_create(s->zh, "/c/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    }
    say("watch, close", "%d", zookeeper_close(w));
}

/* One multi: sets a value, checks, creates and deletes; with `bad` in its place when that is 0
 * to 4. */
static void one_multi(struct script *s, int bad) {
    char p1[64] = "", p2[64] = "";
    struct Stat stat = {0};
    zoo_op_t ops[6];
    zoo_op_result_t results[6];
    memset(results, 0, sizeof results);
    int n = 0;
    for (int i = 0; i < 6; i++) {
        if (bad == i)
            zoo_check_op_init(&ops[n++], "/c/none", 0);
        if (i == 0)
            zoo_create_op_init(&ops[n++], "/c/m", "m", 1, &ZOO_OPEN_ACL_UNSAFE, 0, p1, sizeof p1);
        if (i == 1)
            zoo_create_op_init(&ops[n++], "/c/m/s-", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE,
                               p2, sizeof p2);
        if (i == 2)
            zoo_set_op_init(&ops[n++], "/c/m", "two", 3, 0, &stat);
        if (i == 3)
            zoo_check_op_init(&ops[n++], "/c/m", 1);
        if (i == 4)
            zoo_delete_op_init(&ops[n++], "/c/empty", -1);
    }
    int rc = zoo_multi(s->zh, n, ops, results);
    printf("multi, bad at %d: %d:", bad, rc);
    for (int i = 0; i < n; i++)
        printf(" %d", results[i].err);
    printf(" <%s> <%s>\n", rc == ZOK ? p1 : "", rc == ZOK ? p2 : "");
    if (rc == ZOK)
        say_stat(s, "multi, set's stat", rc, &stat);
}

void run_multi(struct script *s) {
    struct Stat stat = {0};
    for (int bad = 0; bad < 6; bad++)
        one_multi(s, bad);
    say_stat(s, "after the bad ones", zoo_exists(s->zh, "/c/m", 0, &stat), &stat);
    one_multi(s, -1);
    say_stat(s, "after the good one", zoo_exists(s->zh, "/c/m", 0, &stat), &stat);
    say_stat(s, "what it deleted", zoo_exists(s->zh, "/c/empty", 0, &stat), &stat);
    say_stat(s, "what it created", zoo_exists(s->zh, "/c/m/s-0000000000", 0, &stat), &stat);
}

/* Answers of pipelined requests, in the order in which they came. */
struct answers {
    pthread_mutex_t lock;
    pthread_cond_t more;
    int count, wrong_order, errors, lost;
};

struct ask {
    struct answers *answers;
    int number;
};

static void answered(const struct ask *a, int rc, bool fine) {
    pthread_mutex_lock(&a->answers->lock);
    a->answers->lost += rc == ZCONNECTIONLOSS || rc == ZOPERATIONTIMEOUT;
    a->answers->wrong_order += a->number != a->answers->count;
    a->answers->errors += !fine;
    a->answers->count++;
    pthread_cond_signal(&a->answers->more);
    pthread_mutex_unlock(&a->answers->lock);
}

static void on_stat(int rc, const struct Stat *stat, const void *data) {
    const struct ask *a = data;
    answered(a, rc, rc == ZOK && stat->version == a->number / 3 + 1);
}

static void on_data(int rc, const char *value, int length, const struct Stat *stat,
                    const void *data) {
    const struct ask *a = data;
    answered(a, rc,
             rc == ZOK && length == 4 && memcmp(value, &(int){a->number / 3}, 4) == 0 &&
                 stat->version == a->number / 3 + 1);
}

static void on_path(int rc, const char *value, const void *data) {
    answered(data, rc, rc == ZOK && strcmp(value, "/c/a") == 0);
}

#define ASKS 600

void run_async(struct script *s) {
    struct answers answers = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    struct ask *asks = calloc(ASKS, sizeof *asks);
    if (asks == NULL)
        return;
    say("async, create", "%d", zoo_create(s->zh, "/c/a", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    int refused = 0;
    for (int i = 0; i < ASKS; i++) {
        asks[i] = (struct ask){&answers, i};
        int value = i / 3;
        if (i % 3 == 0)
            refused +=
                zoo_aset(s->zh, "/c/a", (const char *)&value, 4, -1, on_stat, &asks[i]) != ZOK;
        else if (i % 3 == 1)
            refused += zoo_aget(s->zh, "/c/a", 0, on_data, &asks[i]) != ZOK;
        else
            refused += zoo_async(s->zh, "/c/a", on_path, &asks[i]) != ZOK;
    }
    pthread_mutex_lock(&answers.lock);
    while (answers.count < ASKS - refused)
        pthread_cond_wait(&answers.more, &answers.lock);
    pthread_mutex_unlock(&answers.lock);
    if (answers.lost > 0 || refused > 0)
        wait_again(s->zh);
    say("async", "%d answers, %d out of order, %d wrong, %d refused", answers.count,
        answers.wrong_order, answers.errors, refused);
    free(asks);
}

static bool is_port(const char *ports, unsigned port) {
    for (const char *at = ports; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strtoul(at, NULL, 10) == port)
            return true;
    }
    return false;
}

/* Cuts the connections: the sockets are found among the descriptors by their peers' ports. */
static void cut(const struct script *s) {
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_storage peer = {0};
        socklen_t size = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 || peer.ss_family != AF_INET)
            continue;
        unsigned have =
            ((const unsigned char *)&peer)[2] * 256u + ((const unsigned char *)&peer)[3];
        if (is_port(s->ports, have))
            shutdown(fd, SHUT_RDWR);
    }
}

void leave_session(const struct script *s) {
    zhandle_t *zh = open_session(s, NULL);
    if (zh == NULL)
        _exit(1);
    int rc; /* standard output is the parent's: nothing may be said there */
    do
        rc = (zoo_create)(zh, "/c/left", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0);
    while (rc == ZCONNECTIONLOSS);
    if (rc != ZOK && rc != ZNODEEXISTS)
        _exit(1);
    ssize_t n = write(STDOUT_FILENO, zoo_client_id(zh), sizeof(clientid_t));
    _exit(n == sizeof(clientid_t) ? 0 : 1);
}

/* The session of a process that died. */
static clientid_t dead_session(const struct script *s) {
    clientid_t id = {0};
    char command[512];
    snprintf(command, sizeof command, "'%s' %s leave", s->self, s->ports);
    FILE *f = popen(command, "r");
    bool fine = f != NULL && fread(&id, sizeof id, 1, f) == 1;
    fine = f != NULL && pclose(f) == 0 && fine;
    say("a session is left behind", "%s", fine ? "yes" : "no");
    return id;
}

/* The connection is cut: the session, its ephemerals and its watches outlive that. */
static void run_cut(struct script *s) {
    struct Stat stat = {0};
    int64_t id = zoo_client_id(s->zh)->client_id;
    zoo_create(s->zh, "/c/mine", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0);
    arm(s->zh, "/c/a", "gc");
    arm(s->zh, "/c/later", "e");
    cut(s);
    int rc;
    do
        rc = (zoo_exists)(s->zh, "/c/mine", 0, &stat);
    while (rc == ZCONNECTIONLOSS);
    say_stat(s, "after a cut connection", rc, &stat);
    say("the session is the same", "%s", zoo_client_id(s->zh)->client_id == id ? "yes" : "no");
    say("set after the cut", "%d", zoo_set(s->zh, "/c/a", "x", 1, -1));
    wait_event("a data watch after the cut");
    zoo_create(s->zh, "/c/a/k", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    wait_event("a child watch after the cut");
    zoo_create(s->zh, "/c/later", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    wait_event("an exists watch after the cut");
}

void run_session(struct script *s) {
    struct Stat stat = {0};
    run_cut(s);
    clientid_t id = dead_session(s);
    s->other_id = id.client_id;
    catch_up(s->zh);
    say_stat(s, "its ephemeral", zoo_exists(s->zh, "/c/left", 0, &stat), &stat);
    clientid_t wrong = id;
    wrong.passwd[3] ^= 1;
    zhandle_t *zh = open_session(s, &wrong);
    say("with a wrong password", "state %d", zh != NULL ? zoo_state(zh) : 0);
    if (zh != NULL)
        zookeeper_close(zh);
    zh = open_session(s, &id);
    if (zh == NULL) {
        say("with id and password", "no session");
        return;
    }
    say("with id and password", "state %d, same id %s", zoo_state(zh),
        zoo_client_id(zh)->client_id == id.client_id ? "yes" : "no");
    catch_up(zh);
    say_stat(s, "its ephemeral still", zoo_exists(zh, "/c/left", 0, &stat), &stat);
    say("its close", "%d", zookeeper_close(zh));
    catch_up(s->zh);
    say_stat(s, "its ephemeral then", zoo_exists(s->zh, "/c/left", 0, &stat), &stat);
    zh = open_session(s, &id);
    say("a closed session", "state %d", zh != NULL ? zoo_state(zh) : 0);
    if (zh != NULL)
        zookeeper_close(zh);
}
