#include "fs/lost.h"

#include <errno.h>

#include "common/log.h"

void handle_lose(struct handle *h, int read_errnum, const char *what) {
    if (h->lost != 0)
        return;
    h->lost = read_errnum;
    h->truncate = false;
    handle_note(h);
    struct slice path = inode_path(h->inode);
    log_warn("%s lost with the session: its descriptor fails from now on path=%.*s", what,
             (int)path.len, (const char *)path.p);
}

void lost_end_calls(struct fs *fs) {
    struct call *c = fs->calls;
    while (c != NULL) {
        if (c->handle == NULL || c->handle->lost == 0) {
            c = c->next;
            continue;
        }
        call_err(c, ESTALE);
        c = fs->calls; /* more may have ended with it */
    }
    struct handle *h = fs->dirty;
    while (h != NULL) {
        struct handle *next = h->dirty_next;
        if (h->lost != 0) {
            h->errnum = ESTALE;
            handle_drop_held(h);
            handle_note(h);
        }
        h = next;
    }
}

static void lose_ephemerals(struct fs *fs, session_id_t session) {
    struct inode *inode, *next;
    HASH_ITER(by_id, fs->inodes.by_id, inode, next) {
        if (inode->stat.ephemeral_owner != session)
            continue;
        for (struct handle *h = inode->handles; h != NULL; h = h->next)
            handle_lose(h, ESTALE, "an ephemeral znode was");
    }
    lost_end_calls(fs);
}

static void on_state(struct zk_listener *l, enum client_state state) {
    struct fs *fs = (struct fs *)((char *)l - offsetof(struct fs, lost_listener));
    if (state == CLIENT_CONNECTED)
        fs->session = zk_session_id(fs->zk);
    else if (state == CLIENT_EXPIRED && fs->session != 0)
        lose_ephemerals(fs, fs->session);
}

void lost_init(struct fs *fs) {
    fs->lost_listener.fn = on_state;
    zk_listen(fs->zk, &fs->lost_listener);
    fs->session = zk_session_id(fs->zk); /* of the worker before */
}
