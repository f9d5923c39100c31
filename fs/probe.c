#include "fs/probe.h"

static void on_get(void *ctx, const struct zk_result *res)
{
    struct probe *probe = ctx;
    if (res->err == ZK_NOAUTH)
        probe->cb(probe->call, ZK_OK, &probe->stat, true);
    else
        probe->cb(probe->call, res->err, &res->stat, res->data.len < 0);
}

static void on_exists(void *ctx, const struct zk_result *res)
{
    struct probe *probe = ctx;
    struct call *c = probe->call;
    bool null_data = false;
    struct slice path = {probe->path.data, (int32_t)probe->path.len};
    if (res->err != ZK_OK || res->stat.num_children > 0 || res->stat.data_length > 0 ||
        inode_recall_null(&c->fs->inodes, path, &res->stat, &null_data)) {
        probe->cb(c, res->err, &res->stat, null_data);
        return;
    }
    probe->stat = res->stat;
    call_track(c, zk_get(c->fs->zk, path, on_get, probe));
}

void probe_start(struct probe *probe, struct call *c, struct slice path, probe_cb *cb)
{
    probe->call = c;
    probe->cb = cb;
    buf_reset(&probe->path);
    buf_put(&probe->path, path.p, (size_t)path.len);
    call_track(c, zk_exists(c->fs->zk, path, on_exists, probe));
}

void probe_close(struct probe *probe) { buf_close(&probe->path); }
