/* A ZooKeeper server for tests, on the test's own loop: a few znodes, no ACLs; events are sent when
 * the test says so. It can be told to lose a write: to close the connection when it comes, before
 * or after it is done. */
#ifndef ZKFS_TESTS_UNIT_FS_FAKE_ZK_H
#define ZKFS_TESTS_UNIT_FS_FAKE_ZK_H

#include "common/blob.h"
#include "common/proto.h"

#include <uv.h>

#define FAKE_ZNODES_MAX 64

enum fake_loss {
    FAKE_KEEP,
    FAKE_LOSE_UNDONE, /* close when a write comes, without doing it */
    FAKE_LOSE_DONE,   /* do it, then close without an answer */
};

struct fake_znode {
    char path[256];
    struct blob *data; /* NULL: null */
    struct zstat stat;
};

struct fake_zk {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_tcp_t *conn; /* the last one accepted; NULL none */
    int port;
    struct buf in;
    bool greeted;
    struct fake_znode znodes[FAKE_ZNODES_MAX];
    size_t count;
    zxid_t zxid;
    session_id_t session; /* the one that lives; another is told that it expired */
    session_id_t next_session;
    int32_t sequence; /* of sequential names */
    /* What it does to the client. */
    enum fake_loss lose;
    int lose_times;
    bool mute_first;       /* writes before the one that is lost are done without an answer */
    int keep_first;        /* writes that are answered before one is lost */
    bool deaf;             /* reads and answers nothing but handshakes */
    bool refuse;           /* closes every connection at once */
    bool hide_data;        /* getData gets NOAUTH */
    size_t cut;            /* bytes that are missing at the end of every record */
    int32_t refuse_writes; /* error for every write; 0 none */
    bool ours;             /* grants exactly-once retries, as our own servers do */
    bool old_types;        /* knows no types of persistent watches, as before 3.9 */
    int32_t add_err;       /* of addWatch */
    int32_t again_err;     /* of setWatches2 */
    bool mute_adds;        /* does not answer addWatch */
    void (*after_loss)(struct fake_zk *f); /* another client acts between the two connections */
    /* What it saw. */
    int connections;
    int requests[128]; /* by opcode */
    int closes;
    struct { /* the last addWatch and removeWatches */
        char path[256];
        int32_t mode; /* or type */
    } added, removed;
    int reads; /* chunks of bytes that had requests in them */
};

void fake_start(struct fake_zk *f, uv_loop_t *loop);
void fake_stop(struct fake_zk *f);
void fake_drop(struct fake_zk *f); /* closes the connection */
void fake_read(struct fake_zk *f); /* reads on, after a test's uv_read_stop */
/* Tells the client of an event. */
void fake_event(struct fake_zk *f, enum zk_event type, const char *path, zxid_t zxid);
struct fake_znode *fake_find(struct fake_zk *f, const char *path);
/* Another client's writes, each with a zxid of its own. */
struct fake_znode *fake_create(struct fake_zk *f, const char *path, const char *data);
void fake_set(struct fake_zk *f, const char *path, const char *data);
void fake_delete(struct fake_zk *f, const char *path);

#endif
