#include "tests/unit/fs/zk_harness.h"

#include "common/log.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

uv_loop_t loop;
struct fake_zk fake;
struct zk *zk;

struct got got;

static void copy_text(char *to, size_t size, struct slice s) {
    snprintf(to, size, "%.*s", s.len > 0 ? (int)s.len : 0, s.p ? (const char *)s.p : "");
}

void on_result(void *ctx, const struct zk_result *res) {
    got.calls++;
    got.err = res->err;
    got.zxid = res->zxid;
    got.stat = res->stat;
    got.data_len = res->data.len;
    copy_text(got.data, sizeof(got.data), res->data);
    copy_text(got.path, sizeof(got.path), res->path);
    got.children = res->children.count;
    got.op_count = res->op_count;
    for (size_t i = 0; i < res->op_count && i < 8; i++) {
        got.op_err[i] = res->ops[i].err;
        got.op_stat[i] = res->ops[i].stat;
    }
    if (ctx)
        *(int *)ctx = got.calls;
}

void open_zk(const struct zk_config *config) {
    const char *why = NULL;
    char servers[64];
    struct zk_config c = *config;
    snprintf(servers, sizeof(servers), "127.0.0.1:%d", fake.port);
    if (!c.servers)
        c.servers = servers;
    zk = zk_new(&loop, &c, NULL, NULL, &why);
    ck_assert_msg(zk, "%s", why);
}

void setup(void) {
    log_set_level(LOG_ERROR);
    memset(&got, 0, sizeof(got));
    uv_loop_init(&loop);
    fake_start(&fake, &loop);
    struct zk_config config = {.session_timeout_ms = 3000};
    open_zk(&config);
}

static void closed(void *ctx) { fake_stop(&fake); }

void teardown(void) {
    zk_close(zk, closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* Runs the loop until `calls` results have come. */
void wait_calls(int calls) {
    while (got.calls < calls)
        ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    ck_assert_int_eq(got.calls, calls);
}

void wait_result(int err) {
    ck_assert_int_eq(got.calls, 0);
    wait_calls(1);
    got.calls = 0;
    ck_assert_int_eq(got.err, err);
}

/* A session stands, and the client knows the server's zxid. */
void connect_zk(void) {
    zk_exists(zk, S("/"), on_result, NULL);
    wait_result(ZK_OK);
}

struct zk_op create_op(const char *path, const char *data) {
    return (struct zk_op){.type = ZK_OP_CREATE, .path = S(path), .data = S(data)};
}

void create(const char *path, const char *data) {
    struct zk_op op = create_op(path, data);
    zk_create(zk, &op, on_result, NULL);
}

void lose_next(enum fake_loss how) {
    fake.lose = how;
    fake.lose_times = 1;
}
