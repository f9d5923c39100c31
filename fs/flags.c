#include "fs/flags.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/path.h"
#include "fs/ops.h"

/* So many are read at a time, and the others after them. */
#define READS_MAX 64
#define RETRY_MS 500
/* Where the service does not let us look at all. */
#define REFUSED_RETRY_MS 30000
#define CZXID_DIGITS_MAX 16

/* The flags of one directory. */
struct flag {
    struct flags *flags;
    struct flagged_dir *dir;
    struct flag *prev, *next; /* dir->flags */
    zxid_t czxid;
    struct zk_watcher watcher;
    uint64_t token;    /* of the read under way */
    uint64_t removing; /* of its deletion under way */
    bool is_fresh;
    bool is_queued;
    struct flag *queue_prev, *queue_next;
    int errnum; /* why creations fail: not understood, or not readable; 0 */
    struct create_words words;
    unsigned round; /* of the list it was last in */
};

/* Nearly always with one flag: there are more only until those of its predecessors are removed. */
struct flagged_dir {
    UT_hash_handle hh;
    struct flag *flags;
    uint32_t len;
    uint8_t path[]; /* escaped */
};

struct flags {
    struct fs *fs;
    struct flagged_dir *dirs;
    struct zk_watcher list_watcher;
    uint64_t list_token;
    bool list_is_fresh;
    bool refusal_told;
    unsigned round;
    struct flag *queue; /* to be read */
    unsigned reads;
    struct flags_ask *waiting;
    uv_timer_t *retry_timer; /* the loop's, freed by its close callback */
};

static void escape(struct buf *out, struct slice path) {
    for (int32_t i = 0; i < path.len; i++) {
        if (path.p[i] == '/' || path.p[i] == '%')
            buf_printf(out, "%%%02X", path.p[i]);
        else
            buf_put_u8(out, path.p[i]);
    }
}

static void put_znode(struct buf *out, struct slice escaped, zxid_t czxid) {
    buf_printf(out, FLAGS_DIR "/");
    buf_put(out, escaped.p, (size_t)escaped.len);
    buf_printf(out, "@%" PRIx64, (uint64_t)czxid);
}

bool flags_path(struct buf *out, struct slice dir_path, zxid_t czxid) {
    struct buf escaped = BUF_INIT;
    escape(&escaped, dir_path);
    size_t start = out->len;
    put_znode(out, op_slice(&escaped), czxid);
    buf_close(&escaped);
    return out->len - start < PATH_MAX_BYTES;
}

/* A child's name taken apart; false for what is none of ours. */
static bool name_parse(struct slice name, struct slice *ret_escaped, zxid_t *ret_czxid) {
    int32_t at = name.len - 1;
    while (at >= 0 && name.p[at] != '@')
        at--;
    int32_t digits = name.len - 1 - at;
    if (at <= 0 || digits < 1 || digits > CZXID_DIGITS_MAX)
        return false;
    uint64_t czxid = 0;
    for (int32_t i = at + 1; i < name.len; i++) {
        int digit = name_hex_digit(name.p[i]);
        if (digit < 0)
            return false;
        czxid = czxid << 4 | (uint64_t)digit;
    }
    *ret_escaped = (struct slice){name.p, at};
    *ret_czxid = (zxid_t)czxid;
    return true;
}

static struct flagged_dir *find_dir(const struct flags *f, struct slice escaped) {
    struct flagged_dir *dir = NULL;
    if (escaped.p == NULL)
        return NULL;
    HASH_FIND(hh, f->dirs, escaped.p, (unsigned)escaped.len, dir);
    return dir;
}

static struct flag *find_flag(const struct flagged_dir *dir, zxid_t czxid) {
    struct flag *flag = dir != NULL ? dir->flags : NULL;
    while (flag != NULL && flag->czxid != czxid)
        flag = flag->next;
    return flag;
}

static struct slice dir_slice(const struct flagged_dir *dir) {
    return (struct slice){dir->path, (int32_t)dir->len};
}

/* Reading one flag. */

static void wake(struct flags *f);
static void read_queued(struct flags *f);

static void dequeue(struct flag *flag) {
    if (flag->is_queued)
        DL_DELETE2(flag->flags->queue, flag, queue_prev, queue_next);
    flag->is_queued = false;
}

static void enqueue(struct flag *flag) {
    flag->is_fresh = false;
    if (flag->is_queued || flag->token != 0)
        return;
    flag->is_queued = true;
    DL_APPEND2(flag->flags->queue, flag, queue_prev, queue_next);
}

static void flag_drop(struct flag *flag) {
    struct flags *f = flag->flags;
    struct flagged_dir *dir = flag->dir;
    dequeue(flag);
    zk_unwatch(f->fs->zk, &flag->watcher);
    if (flag->token != 0) {
        zk_cancel(f->fs->zk, flag->token);
        f->reads--;
    }
    if (flag->removing != 0)
        zk_cancel(f->fs->zk, flag->removing);
    DL_DELETE(dir->flags, flag);
    mem_free(flag);
    if (dir->flags == NULL) {
        HASH_DEL(f->dirs, dir);
        mem_free(dir);
    }
}

static void on_retry(uv_timer_t *timer);

static void retry_later(struct flags *f, uint64_t ms) {
    if (!uv_is_active((uv_handle_t *)f->retry_timer))
        uv_timer_start(f->retry_timer, on_retry, ms, 0);
}

static void take_words(struct flag *flag, struct slice data) {
    struct slice bad;
    const char *why;
    flag->errnum = 0;
    if (create_words_parse(data, &flag->words, &bad, &why))
        return;
    flag->errnum = EINVAL;
    log_warn("the create flags of a directory are not understood, and nothing can be created in "
             "it; set them anew, or remove them why=\"%s\" znode=" FLAGS_DIR "/%.*s@%" PRIx64,
             why, (int)flag->dir->len, (const char *)flag->dir->path, (uint64_t)flag->czxid);
}

static void on_flag(void *ctx, const struct zk_result *res) {
    struct flag *flag = ctx;
    struct flags *f = flag->flags;
    flag->token = 0;
    f->reads--;
    if (res->err == ZK_OK) {
        take_words(flag, res->data);
        flag->is_fresh = true;
    } else if (res->err == ZK_NONODE) {
        flag_drop(flag);
    } else if (zkerr_is_passing(res->err)) {
        enqueue(flag);
        retry_later(f, RETRY_MS);
        return;
    } else {
        flag->errnum = EACCES;
        flag->is_fresh = true;
        log_warn("the create flags of a directory cannot be read, and nothing can be created in it "
                 "err=%d znode=" FLAGS_DIR "/%.*s@%" PRIx64,
                 res->err, (int)flag->dir->len, (const char *)flag->dir->path,
                 (uint64_t)flag->czxid);
    }
    read_queued(f);
    wake(f);
}

static void on_flag_event(struct zk_watcher *w, enum zk_event event, zxid_t zxid) {
    (void)event, (void)zxid;
    struct flag *flag = (struct flag *)((char *)w - offsetof(struct flag, watcher));
    enqueue(flag);
    read_queued(flag->flags);
}

static void read_queued(struct flags *f) {
    while (f->queue != NULL && f->reads < READS_MAX) {
        struct flag *flag = f->queue;
        struct buf path = BUF_INIT;
        dequeue(flag);
        put_znode(&path, dir_slice(flag->dir), flag->czxid);
        flag->token = zk_watch_get(f->fs->zk, op_slice(&path), &flag->watcher, on_flag, flag);
        zk_wait_on(f->fs->zk, flag->token);
        f->reads++;
        buf_close(&path);
    }
}

/* The list of them. */

static void note_child(struct flags *f, struct slice name) {
    struct slice escaped;
    zxid_t czxid;
    if (!name_parse(name, &escaped, &czxid))
        return;
    struct flagged_dir *dir = find_dir(f, escaped);
    if (dir == NULL) {
        dir = mem_zalloc(sizeof *dir + (size_t)escaped.len);
        dir->len = (uint32_t)escaped.len;
        memcpy(dir->path, escaped.p, (size_t)escaped.len);
        HASH_ADD_KEYPTR(hh, f->dirs, dir->path, dir->len, dir);
    }
    struct flag *flag = find_flag(dir, czxid);
    if (flag == NULL) {
        flag = mem_zalloc(sizeof *flag);
        flag->flags = f;
        flag->dir = dir;
        flag->czxid = czxid;
        flag->watcher.fn = on_flag_event;
        DL_APPEND(dir->flags, flag);
        enqueue(flag);
    }
    flag->round = f->round;
}

static void drop_others(struct flags *f) {
    struct flagged_dir *dir, *next_dir;
    HASH_ITER(hh, f->dirs, dir, next_dir) {
        struct flag *flag = dir->flags, *next;
        for (; flag != NULL; flag = next) {
            next = flag->next; /* the last drop frees dir */
            if (flag->round != f->round)
                flag_drop(flag);
        }
    }
}

static void list_start(struct flags *f);

/* The list cannot be had: the mount goes on without flags rather than not at all. */
static void refused(struct flags *f, int err) {
    if (!f->refusal_told)
        log_warn("the create flags of directories cannot be read, and are not obeyed: %s; see to "
                 "the ACL of " FLAGS_DIR " err=%d",
                 zkerr_text(err), err);
    f->refusal_told = true;
    f->list_is_fresh = true;
    retry_later(f, REFUSED_RETRY_MS);
    wake(f);
}

static void take_list(struct flags *f, const struct jvec *children) {
    struct slice name;
    f->round++;
    for (int32_t at = 0; children != NULL && jvec_next_string(children, &at, &name);)
        note_child(f, name);
    drop_others(f);
    f->list_is_fresh = true;
    read_queued(f);
    wake(f);
}

/* No list yet: the watch tells when there is one. */
static void on_no_list(void *ctx, const struct zk_result *res) {
    struct flags *f = ctx;
    f->list_token = 0;
    if (res->err == ZK_NONODE) {
        take_list(f, NULL);
    } else if (res->err == ZK_OK) {
        zk_unwatch(f->fs->zk, &f->list_watcher);
        list_start(f);
    } else if (zkerr_is_passing(res->err)) {
        retry_later(f, RETRY_MS);
    } else {
        refused(f, res->err);
    }
}

static void on_list(void *ctx, const struct zk_result *res) {
    struct flags *f = ctx;
    struct zk *zk = f->fs->zk;
    f->list_token = 0;
    if (res->err == ZK_OK) {
        take_list(f, &res->children);
    } else if (res->err == ZK_NONODE) {
        f->list_token =
            zk_watch_exists(zk, slice_from_str(FLAGS_DIR), &f->list_watcher, on_no_list, f);
        zk_wait_on(zk, f->list_token);
    } else if (zkerr_is_passing(res->err)) {
        retry_later(f, RETRY_MS);
    } else {
        refused(f, res->err);
    }
}

static void list_start(struct flags *f) {
    struct zk *zk = f->fs->zk;
    if (f->list_token != 0)
        return;
    f->list_is_fresh = false;
    f->list_token = zk_watch_children(zk, slice_from_str(FLAGS_DIR), &f->list_watcher, on_list, f);
    zk_wait_on(zk, f->list_token);
}

static void on_list_event(struct zk_watcher *w, enum zk_event event, zxid_t zxid) {
    (void)event, (void)zxid;
    list_start((struct flags *)((char *)w - offsetof(struct flags, list_watcher)));
}

static void on_retry(uv_timer_t *timer) {
    struct flags *f = timer->data;
    if (f->list_watcher.on == NULL)
        list_start(f);
    read_queued(f);
}

/* Creations that ask. */

static void ask_done(struct flags_ask *ask, const struct create_words *words) {
    struct flags *f = ask->flags;
    if (ask->is_waiting)
        DL_DELETE(f->waiting, ask);
    ask->is_waiting = false;
    ask->cb(ask->call, words);
}

static void on_dir(void *ctx, const struct zk_result *res);

/* Where it failed, the next creation tries again. */
static void on_removed(void *ctx, const struct zk_result *res) {
    (void)res;
    ((struct flag *)ctx)->removing = 0;
}

/* What remained of earlier directories of this path. Those of a later one stay: it may have been
 * made since the one that was looked at. */
static void remove_stale(struct flags *f, const struct flagged_dir *dir, zxid_t czxid) {
    for (struct flag *flag = dir->flags; flag != NULL; flag = flag->next) {
        if (flag->czxid >= czxid || flag->removing != 0)
            continue;
        struct buf path = BUF_INIT;
        put_znode(&path, dir_slice(dir), flag->czxid);
        flag->removing = zk_delete(f->fs->zk, op_slice(&path), -1, on_removed, flag);
        buf_close(&path);
    }
}

/* Goes on as far as it can; false while it has to wait for a read. */
static bool ask_step(struct flags_ask *ask) {
    struct flags *f = ask->flags;
    ask->list_seen |= f->list_is_fresh;
    if (!ask->list_seen)
        return false;
    struct flagged_dir *dir = find_dir(f, op_slice(&ask->dir));
    if (dir == NULL) {
        ask_done(ask, NULL);
        return true;
    }
    if (!ask->dir_seen) { /* which of the directories of this path is it now? */
        if (ask->is_waiting)
            DL_DELETE(f->waiting, ask);
        ask->is_waiting = false;
        call_track(ask->call, zk_exists(f->fs->zk, ask->path, on_dir, ask));
        return true;
    }
    struct flag *flag = find_flag(dir, ask->czxid);
    if (flag != NULL && !flag->is_fresh)
        return false;
    remove_stale(f, dir, ask->czxid);
    if (flag != NULL && flag->errnum != 0)
        call_err(ask->call, flag->errnum);
    else
        ask_done(ask, flag != NULL ? &flag->words : NULL);
    return true;
}

static void ask_go(struct flags_ask *ask) {
    if (ask_step(ask) || ask->is_waiting)
        return;
    ask->is_waiting = true;
    DL_APPEND(ask->flags->waiting, ask);
}

static void on_dir(void *ctx, const struct zk_result *res) {
    struct flags_ask *ask = ctx;
    if (res->err == ZK_NONODE) { /* the creation itself follows a directory that was renamed */
        ask_done(ask, NULL);
        return;
    }
    if (res->err != ZK_OK) {
        call_zk_err(ask->call, res->err);
        return;
    }
    ask->czxid = res->stat.czxid;
    ask->dir_seen = true;
    ask->list_seen = false; /* the directory seen may be newer than the list that was */
    ask_go(ask);
}

/* Each step may end its call, and with it leave the list. */
static void wake(struct flags *f) {
    struct flags_ask *ask = f->waiting;
    while (ask != NULL) {
        struct flags_ask *next = ask->next;
        ask_step(ask);
        ask = next;
    }
}

void flags_ask(struct flags_ask *ask, struct call *c, struct slice path,
               void (*cb)(struct call *c, const struct create_words *words)) {
    struct flags *f = c->fs->flags;
    if (f->list_is_fresh && f->dirs == NULL) {
        cb(c, NULL);
        return;
    }
    *ask = (struct flags_ask){.flags = f, .call = c, .path = path, .cb = cb};
    escape(&ask->dir, path);
    ask_go(ask);
}

void flags_ask_close(struct flags_ask *ask) {
    if (ask->is_waiting)
        DL_DELETE(ask->flags->waiting, ask);
    ask->is_waiting = false;
    buf_close(&ask->dir);
}

void flags_gone(struct flags *f, struct slice path, zxid_t czxid) {
    struct buf escaped = BUF_INIT;
    escape(&escaped, path);
    struct flagged_dir *dir = find_dir(f, op_slice(&escaped));
    if (dir != NULL)
        remove_stale(f, dir, czxid + 1);
    buf_close(&escaped);
}

struct flags *flags_new(struct fs *fs) {
    struct flags *f = mem_zalloc(sizeof *f);
    f->fs = fs;
    f->list_watcher.fn = on_list_event;
    f->retry_timer = mem_zalloc(sizeof *f->retry_timer);
    CHECK(uv_timer_init(fs->loop, f->retry_timer) == 0);
    f->retry_timer->data = f;
    list_start(f);
    return f;
}

static void on_timer_closed(uv_handle_t *handle) { mem_free(handle); }

void flags_close(struct flags *f) {
    if (f == NULL)
        return;
    CHECK(f->waiting == NULL);
    f->round++;
    drop_others(f);
    zk_unwatch(f->fs->zk, &f->list_watcher);
    if (f->list_token != 0)
        zk_cancel(f->fs->zk, f->list_token);
    uv_close((uv_handle_t *)f->retry_timer, on_timer_closed);
    mem_free(f);
}
