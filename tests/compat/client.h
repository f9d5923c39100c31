/* The script of operations through Debian's C client: what its files share. Each line printed is
 * one result; zxids are relative to the script's first, times are left out, so that two servers
 * that behave alike print the same. */
#ifndef ZKFS_TESTS_COMPAT_CLIENT_H
#define ZKFS_TESTS_COMPAT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <zookeeper/zookeeper.h>

struct script {
    const char *self;    /* this program's file */
    const char *ports;   /* PORT[,PORT...] */
    const char *address; /* HOST:PORT[,HOST:PORT...] */
    int64_t base_zxid;   /* of /c */
    zhandle_t *zh;       /* the main session */
    int64_t other_id;    /* another session that owns something, or 0 */
};

/* Prints `step: ` and the text. */
void say(const char *step, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the code, and the Stat when it is ZOK. */
void say_stat(const struct script *s, const char *step, int rc, const struct Stat *stat);
/* Opens a session and waits until it is connected (or expired, or refused: NULL after 10 s). The id
 * may be NULL. Its events go to wait_event(). */
zhandle_t *open_session(const struct script *s, const clientid_t *id);
/* The state of a handle, waited for up to 10 s; what it is then. */
int wait_state(zhandle_t *zh, int state);
/* Prints the next watch event that any handle got, or that there was none within 5 s. */
void wait_event(const char *step);
/* Prints that no event is waiting, behind a round trip of zh, or which one. */
void no_event(const char *step, zhandle_t *zh);
/* What a watch of the tests does: puts the event where wait_event() finds it; ctx is its name. */
void on_watch(zhandle_t *zh, int type, int state, const char *path, void *ctx);

/* With several servers a session may be on one that is a little behind: what has been answered to
 * another session is seen by this one from here on. */
void catch_up(zhandle_t *zh);
/* The connection was lost with a request under way: says `(lost)`, so that the reader knows that
 * the next line may differ, and waits for the next connection. */
void wait_again(zhandle_t *zh);

/* Calls that are made again when the connection was lost with them; what says then that it has been
 * done already (NODEEXISTS to a create) is success. */
#define AGAIN(zh, call, done)                                                                      \
    ({                                                                                             \
        int again_rc = (call);                                                                     \
        bool again = false;                                                                        \
        while (again_rc == ZCONNECTIONLOSS || again_rc == ZOPERATIONTIMEOUT) {                     \
            wait_again(zh);                                                                        \
            again = true;                                                                          \
            again_rc = (call);                                                                     \
        }                                                                                          \
        again &&again_rc == (done) ? ZOK : again_rc;                                               \
    })
#define zoo_create(zh, ...) AGAIN(zh, (zoo_create)(zh, __VA_ARGS__), ZNODEEXISTS)
#define zoo_create2(zh, ...) AGAIN(zh, (zoo_create2)(zh, __VA_ARGS__), ZNODEEXISTS)
#define zoo_delete(zh, ...) AGAIN(zh, (zoo_delete)(zh, __VA_ARGS__), ZNONODE)
#define zoo_set(zh, ...) AGAIN(zh, (zoo_set)(zh, __VA_ARGS__), ZBADVERSION)
#define zoo_set2(zh, ...) AGAIN(zh, (zoo_set2)(zh, __VA_ARGS__), ZBADVERSION)
#define zoo_set_acl(zh, ...) AGAIN(zh, (zoo_set_acl)(zh, __VA_ARGS__), ZBADVERSION)
#define zoo_exists(zh, ...) AGAIN(zh, (zoo_exists)(zh, __VA_ARGS__), ZOK)
#define zoo_get(zh, ...) AGAIN(zh, (zoo_get)(zh, __VA_ARGS__), ZOK)
#define zoo_get_acl(zh, ...) AGAIN(zh, (zoo_get_acl)(zh, __VA_ARGS__), ZOK)
#define zoo_get_children(zh, ...) AGAIN(zh, (zoo_get_children)(zh, __VA_ARGS__), ZOK)
#define zoo_get_children2(zh, ...) AGAIN(zh, (zoo_get_children2)(zh, __VA_ARGS__), ZOK)
#define zoo_wexists(zh, ...) AGAIN(zh, (zoo_wexists)(zh, __VA_ARGS__), ZOK)
#define zoo_wget(zh, ...) AGAIN(zh, (zoo_wget)(zh, __VA_ARGS__), ZOK)
#define zoo_wget_children(zh, ...) AGAIN(zh, (zoo_wget_children)(zh, __VA_ARGS__), ZOK)
#define zoo_multi(zh, ...) AGAIN(zh, (zoo_multi)(zh, __VA_ARGS__), ZOK)

void run_create(struct script *s);
void run_data(struct script *s);
void run_children(struct script *s);
void run_acl(struct script *s);
void run_watch(struct script *s);
void run_multi(struct script *s);
void run_async(struct script *s);
void run_session(struct script *s);
/* Run as a process of its own: opens a session, makes an ephemeral, writes its id and password to
 * standard output and dies without a word. Does not return. */
void leave_session(const struct script *s) __attribute__((noreturn));

#endif
