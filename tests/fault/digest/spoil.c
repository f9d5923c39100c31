/* zkreplica with a hand that reaches behind its back: the linker leads each step of the core
 * through here (--wrap=replica_step), so that the program itself has no such door. Of the znode
 * that ZKFS_SPOIL names SIGUSR1  flips a bit of the value in memory: nothing but its own checksum
 * knows; SIGUSR2  sets the value to "wrong", by a transaction that nobody proposed: it is in order
 * by itself, and only the other servers know better. It is done within the next step, a heartbeat
 * later at most, and says so on standard error. */
#include "common/check.h"
#include "common/path.h"
#include "replica/server/core.h"
#include "replica/tree/tree_test.h"
#include "replica/tree/znode.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct updates __real_replica_step(struct replica *r, const struct event *ev);
struct updates __wrap_replica_step(struct replica *r, const struct event *ev);

static volatile sig_atomic_t asked;

static void on_signal(int number) { asked = number; }

__attribute__((constructor)) static void listen_for_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
}

static void set_wrong(struct tree *t, const struct znode *n, struct slice path) {
    zxid_t last = t->last_zxid;
    struct txn *txn = txn_new(TXN_OPS, 1);
    txn->zxid = last + 1;
    txn->ops[0] = (struct txn_op){.type = TXN_OP_SET_DATA,
                                  .path = blob_from_slice(path),
                                  .data = blob_new("wrong", 5),
                                  .version = n->version};
    tree_apply(t, txn, NULL);
    txn_free(txn);
    t->last_zxid = last;
}

static void spoil(struct replica *r, int number) {
    const char *name = getenv("ZKFS_SPOIL");
    struct slice path = slice_from_str(name ? name : "/");
    const struct znode *n = tree_find(r->tree, path);
    CHECK(n);
    if (number == SIGUSR1)
        tree_test_alter(r->tree, path);
    else
        set_wrong(r->tree, n, path);
    fprintf(stderr, "spoilt path=%.*s\n", (int)path.len, (const char *)path.p);
}

struct updates __wrap_replica_step(struct replica *r, const struct event *ev) {
    int number = asked;
    if (number != 0 && r->started && !r->stopped) {
        asked = 0;
        spoil(r, number);
    }
    return __real_replica_step(r, ev);
}
