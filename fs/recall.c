#include "fs/recall.h"

#include "common/log.h"

bool recall_is_due(const struct handle *h) {
    return h->dead || (h->unread && !h->replace && !h->held);
}

static void on_value(void *ctx, const struct zk_result *res) {
    struct recall *r = ctx;
    struct handle *h = r->handle;
    struct inode *inode = h->inode;
    if (res->err != ZK_OK && res->err != ZK_NONODE) {
        call_zk_err(r->call, res->err);
        return;
    }
    bool same = res->err == ZK_OK && (inode->czxid == 0 || inode->czxid == res->stat.czxid) &&
                (r->any_version || res->stat.version == h->version);
    if (!same) {
        struct slice path = inode_path(inode);
        log_warn("a file that was open when the frontend crashed has changed since: its descriptor "
                 "fails from now on, open it again path=%.*s version=%d",
                 (int)path.len, (const char *)path.p, h->version);
        h->dead = true;
        handle_note(h);
        call_err(r->call, r->dead_errnum);
        return;
    }
    inode_see(inode, &res->stat, res->data.len < 0 ? DATA_NULL : DATA_THERE);
    handle_set_value(h, blob_from_slice(res->data), res->stat.version);
    r->next(r->call);
}

void recall_start(struct recall *r, struct call *c, struct handle *h, int dead_errnum,
                  bool any_version, void (*next)(struct call *c)) {
    *r = (struct recall){c, h, next, dead_errnum, any_version};
    if (!recall_is_due(h))
        next(c);
    else if (h->dead)
        call_err(c, dead_errnum);
    else
        call_track(c, zk_get(c->fs->zk, inode_path(h->inode), on_value, r));
}
