/* What the tests of fs/zk share: a loop, a server that can lose writes, and the last result,
 * copied. */
#ifndef ZKFS_TESTS_UNIT_FS_ZK_HARNESS_H
#define ZKFS_TESTS_UNIT_FS_ZK_HARNESS_H

#include "common/path.h"
#include "fs/zk.h"
#include "tests/unit/fs/fake_zk.h"

#define S slice_from_str

extern uv_loop_t loop;
extern struct fake_zk fake;
extern struct zk *zk;

struct got {
    int calls;
    int err;
    zxid_t zxid;
    struct zstat stat;
    char data[64];
    int32_t data_len;
    char path[256];
    int32_t children;
    size_t op_count;
    int op_err[8];
    struct zstat op_stat[8];
};
extern struct got got;

/* A zk_cb: copies the result; ctx may be an int that gets the number of calls so far. */
void on_result(void *ctx, const struct zk_result *res);
/* Another client than the fixture's; servers NULL: the fake one. */
void open_zk(const struct zk_config *config);
/* The fixture. */
void setup(void);
void teardown(void);
/* Runs the loop until `calls` results have come. */
void wait_calls(int calls);
/* Waits for one result, with this error. */
void wait_result(int err);
/* A session stands, and the client knows the server's zxid. */
void connect_zk(void);
struct zk_op create_op(const char *path, const char *data);
void create(const char *path, const char *data);
/* The next write is lost so. */
void lose_next(enum fake_loss how);

#endif
