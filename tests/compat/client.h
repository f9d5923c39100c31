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
    const char *address; /* HOST:PORT */
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
