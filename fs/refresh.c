#include "fs/refresh.h"

#include "common/check.h"
#include "common/zkerr.h"

static void ask(struct refresh *refresh);

static void on_value(void *ctx, const struct zk_result *res) {
    struct refresh *refresh = ctx;
    struct handle *h = refresh->handle;
    bool is_gone = res->err == ZK_NONODE || res->stat.czxid != h->inode->czxid;
    if (res->err != ZK_OK && res->err != ZK_NONODE) {
        call_zk_err(refresh->call, res->err);
        return;
    }
    if (is_gone && call_moved(refresh->call)) {
        ask(refresh);
        return;
    }
    /* Kept in one step with the value, for the worker may be killed at any time. */
    h->refresh = false;
    if (is_gone) { /* of a deleted znode a descriptor goes on seeing what it has */
        handle_note(h);
    } else {
        inode_see(h->inode, &res->stat, res->data.len < 0 ? DATA_NULL : DATA_THERE);
        h->replace = false;
        handle_set_value(h, blob_from_slice(res->data), res->stat.version);
    }
    refresh->next(refresh->call);
}

static void ask(struct refresh *refresh) {
    struct call *c = refresh->call;
    call_track(c, zk_get(c->fs->zk, inode_path(c->inode), on_value, refresh));
}

void refresh_start(struct refresh *refresh, struct call *c, struct handle *h,
                   void (*next)(struct call *c)) {
    CHECK(h->owner == c);
    if (!h->refresh || h->held) {
        next(c);
        return;
    }
    *refresh = (struct refresh){.call = c, .handle = h, .next = next};
    ask(refresh);
}
