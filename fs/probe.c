#include "fs/probe.h"

static void on_get(void *ctx, const struct zk_result *res) {
    struct probe *probe = ctx;
    if (res->err == ZK_NOAUTH)
        probe->cb(probe->call, ZK_OK, &probe->stat, DATA_UNKNOWN); /* until it may be read */
    else
        probe->cb(probe->call, res->err, &res->stat, res->data.len < 0 ? DATA_NULL : DATA_THERE);
}

static void on_exists(void *ctx, const struct zk_result *res) {
    struct probe *probe = ctx;
    struct call *c = probe->call;
    struct slice path = {probe->path.data, (int32_t)probe->path.len};
    enum nullness data = DATA_UNKNOWN;
    if (res->err == ZK_OK)
        data =
            res->stat.data_length > 0 ? DATA_THERE : inode_recall(&c->fs->inodes, path, &res->stat);
    if (res->err != ZK_OK || res->stat.num_children > 0 || data != DATA_UNKNOWN) {
        probe->cb(c, res->err, &res->stat, data);
        return;
    }
    probe->stat = res->stat;
    call_track(c, zk_get(c->fs->zk, path, on_get, probe));
}

void probe_start(struct probe *probe, struct call *c, struct slice path, probe_cb *cb) {
    probe->call = c;
    probe->cb = cb;
    buf_reset(&probe->path);
    buf_put(&probe->path, path.p, (size_t)path.len);
    call_track(c, zk_exists(c->fs->zk, path, on_exists, probe));
}

void probe_close(struct probe *probe) { buf_close(&probe->path); }
