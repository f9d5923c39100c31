#include "fs/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>
#include <utlist.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/path.h"
#include "fs/caller.h"
#include "fs/handle.h"
#include "fs/ops.h"
#include "fs/resume.h"

#define RETRY_MS 200

/* A process that owns znodes: one pidfd for all of them. */
struct process {
    UT_hash_handle hh;
    struct owners *owners;
    pid_t pid;
    uint64_t start_time; /* tells it from another one that has the pid later; 0: not known */
    int fd;
    uv_poll_t poll;
    struct owned *owned; /* by p_prev, p_next */
};

enum owned_state { OWNED_CREATING, OWNED_LIVING, OWNED_ENDING };

/* What the journal keeps, in front of the path. */
struct record {
    uint64_t unique; /* of the request */
    uint64_t fh;     /* OWNER_OPEN: of the descriptor; 0: it is not open yet */
    uint64_t start_time;
    zxid_t czxid;
    int32_t pid; /* else: of the process */
    int32_t mode;
    int32_t kind;
    int32_t is_null; /* it is made with null data */
};
#define KEPT_OVER 0x100u /* in the word, above the state */

struct owned {
    struct owners *owners;
    struct owned *prev, *next;     /* owners->all */
    struct process *process;       /* NULL: a descriptor's, or it has ended */
    struct owned *p_prev, *p_next; /* process->owned */
    enum owned_state state;
    bool is_over;      /* the owner has ended, or nobody took the znode */
    bool is_postponed; /* ENDING: waits for the timer */
    uint64_t token;    /* of what is under way; 0 nothing */
    zk_cb *cb;         /* CREATING: NULL when it was left */
    void *ctx;
    struct buf path; /* the final one once it lives */
    zxid_t czxid;

    uint64_t number;           /* the journal's key */
    uint32_t kept, kept_write; /* the journal's records, the latter while CREATING; 0 none */
    struct record record;      /* as it is kept */
    struct owned *before;      /* CREATING: what earlier workers had made for this already */
};

struct owners {
    struct fs *fs;
    struct owned *all;
    struct owned *left; /* by an earlier worker, whose requests are sent again (prev, next) */
    struct process *processes;
    uv_timer_t *retry_timer; /* freed by its close callback */
};

/* Processes. */

static void on_process_closed(uv_handle_t *handle) {
    struct process *p = handle->data;
    close(p->fd);
    mem_free(p);
}

static void process_close(struct process *p) {
    CHECK(p->owned == NULL);
    HASH_DEL(p->owners->processes, p);
    uv_poll_stop(&p->poll);
    uv_close((uv_handle_t *)&p->poll, on_process_closed);
}

static struct slice path_of(const struct owned *d) {
    return (struct slice){d->path.data, (int32_t)d->path.len};
}

static uint64_t word_of(const struct owned *d) {
    return (uint64_t)d->state | (d->is_over ? KEPT_OVER : 0u);
}

static void note(struct owned *d) {
    if (d->kept != 0)
        journal_set_word(d->owners->fs->journal, d->kept, word_of(d));
}

static void keep(struct owned *d) {
    struct journal *journal = d->owners->fs->journal;
    struct buf bytes = BUF_INIT;
    if (journal == NULL)
        return;
    if (d->number == 0) {
        d->number = journal_counter(journal, JOURNAL_LAST_OWNED) + 1;
        journal_set_counter(journal, JOURNAL_LAST_OWNED, d->number);
    }
    buf_put(&bytes, &d->record, sizeof d->record);
    buf_put(&bytes, d->path.data, d->path.len);
    journal_put(journal, &d->kept, JOURNAL_OWNED, d->number, word_of(d), bytes.data, bytes.len);
    buf_close(&bytes);
}

static void leave_process(struct owned *d) {
    struct process *p = d->process;
    if (p == NULL)
        return;
    DL_DELETE2(p->owned, d, p_prev, p_next);
    d->process = NULL;
    if (p->owned == NULL)
        process_close(p);
}

static void over(struct owned *d);

static void process_ended(struct process *p) {
    bool more = p->owned != NULL;
    while (more) {
        struct owned *d = p->owned;
        more = d->p_next != NULL;
        leave_process(d); /* the last one closes p */
        over(d);
    }
}

static void on_pidfd(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    process_ended(poll->data);
}

static bool has_ended(const struct process *p) {
    struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
    return poll(&pfd, 1, 0) != 0;
}

/* The process of this pid, which is alive. */
static int process_get(struct owners *o, pid_t pid, struct process **ret) {
    struct process *p;
    HASH_FIND(hh, o->processes, &pid, sizeof pid, p);
    if (p != NULL && !has_ended(p)) {
        *ret = p;
        return 0;
    }
    if (p != NULL)
        process_ended(p); /* another process has its pid by now */
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return -errno;
    p = mem_zalloc(sizeof *p);
    p->owners = o;
    p->pid = pid;
    p->fd = fd;
    if (!caller_start_time(pid, &p->start_time))
        p->start_time = 0;
    p->poll.data = p;
    int err = uv_poll_init(o->fs->loop, &p->poll, fd);
    if (err != 0) {
        close(fd);
        mem_free(p);
        return err;
    }
    HASH_ADD(hh, o->processes, pid, sizeof p->pid, p);
    uv_poll_start(&p->poll, UV_READABLE, on_pidfd);
    *ret = p;
    return 0;
}

static int find_process(struct owners *o, enum owner_kind kind, pid_t caller,
                        struct process **ret) {
    pid_t tgid, ppid, ppid_after;
    if (!caller_ids(caller, &tgid, &ppid))
        return -ESRCH;
    if (kind == OWNER_CALLER)
        return process_get(o, tgid, ret);
    /* An orphan's parent is init, or another reaper, which would never end. The latter is mostly of
     * another session, while a process that was started is of its parent's, unless it made one. */
    if (ppid <= 0 || caller_is_init(ppid) || getsid(ppid) != getsid(tgid))
        return -ESRCH;
    int err = process_get(o, ppid, ret);
    if (err != 0)
        return err;
    /* Unlike the caller the parent can end at any time, and its pid can be given away before the
     * pidfd is open. A child whose parent has not changed proves that it was not. */
    if (caller_ids(caller, &tgid, &ppid_after) && ppid_after == ppid)
        return 0;
    if ((*ret)->owned == NULL)
        process_close(*ret);
    return -ESRCH;
}

/* Znodes. */

static void owned_free(struct owned *d) {
    leave_process(d);
    journal_drop(d->owners->fs->journal, &d->kept);
    journal_drop(d->owners->fs->journal, &d->kept_write);
    DL_DELETE(d->owners->all, d);
    buf_close(&d->path);
    mem_free(d);
}

static void look(struct owned *d);

static void on_retry(uv_timer_t *timer) {
    struct owners *o = timer->data;
    struct owned *d;
    DL_FOREACH(o->all, d) if (d->is_postponed) look(d);
}

static void postpone(struct owned *d) {
    uv_timer_t *timer = d->owners->retry_timer;
    d->is_postponed = true;
    if (!uv_is_active((uv_handle_t *)timer))
        uv_timer_start(timer, on_retry, RETRY_MS, 0);
}

/* The end of d, unless the failure may pass. */
static void end_or_retry(struct owned *d, int err) {
    if (zkerr_is_passing(err)) {
        postpone(d);
        return;
    }
    if (err == ZK_BADVERSION) {
        look(d);
        return;
    }
    if (err != ZK_OK && err != ZK_NONODE)
        log_warn("an ephemeral znode whose owner has ended cannot be deleted, and stays as long as "
                 "the session: %s err=%d path=%.*s czxid=0x%" PRIx64,
                 zkerr_text(err), err, (int)d->path.len, (const char *)d->path.data,
                 (uint64_t)d->czxid);
    owned_free(d);
}

static void on_deleted(void *ctx, const struct zk_result *res) {
    struct owned *d = ctx;
    d->token = 0;
    end_or_retry(d, res->err);
}

static void on_look(void *ctx, const struct zk_result *res) {
    struct owned *d = ctx;
    struct zk *zk = d->owners->fs->zk;
    d->token = 0;
    if (res->err == ZK_OK && res->stat.czxid == d->czxid) {
        d->token = zk_delete(zk, op_slice(&d->path), res->stat.version, on_deleted, d);
        zk_wait_on(zk, d->token);
    } else {
        end_or_retry(d, res->err); /* OK: another one has the name */
    }
}

static void look(struct owned *d) {
    struct zk *zk = d->owners->fs->zk;
    d->is_postponed = false;
    d->token = zk_exists(zk, op_slice(&d->path), on_look, d);
    zk_wait_on(zk, d->token);
}

static void over(struct owned *d) {
    d->is_over = true;
    note(d);
    if (d->state != OWNED_LIVING)
        return;
    d->state = OWNED_ENDING;
    note(d);
    leave_process(d);
    look(d);
}

/* What is made again is mostly the same znode, which is d's then; another one is nobody's. */
static void leave_before(struct owned *d) {
    struct owned *before;
    while ((before = d->before) != NULL) {
        d->before = before->before;
        before->before = NULL;
        if (d->state == OWNED_LIVING && before->czxid == d->czxid)
            owned_free(before);
        else
            over(before);
    }
}

static void on_created(void *ctx, const struct zk_result *res) {
    struct owned *d = ctx;
    zk_cb *cb = d->cb;
    void *cb_ctx = d->ctx;
    d->token = 0;
    d->cb = NULL;
    if (res->err == ZK_OK) {
        buf_reset(&d->path);
        buf_put(&d->path, res->path.p, (size_t)res->path.len);
        d->czxid = d->record.czxid = res->stat.czxid;
        d->state = OWNED_LIVING;
        d->is_over |= cb == NULL;
        keep(d);
        leave_before(d);
        if (d->is_over)
            over(d);
    } else {
        if (res->err == ZK_CONNECTIONLOSS)
            log_warn("it is unknown whether an ephemeral znode was made; if it was, it stays as "
                     "long as the session path=%.*s",
                     (int)d->path.len, (const char *)d->path.data);
        leave_before(d);
        owned_free(d);
    }
    if (cb != NULL)
        cb(cb_ctx, res);
}

static struct owned *find_left(const struct owners *o, uint64_t unique) {
    struct owned *d;
    DL_FOREACH(o->left, d) if (d->record.unique == unique) return d;
    return NULL;
}

/* Takes it among the others. */
static void take_left(struct owned *d) {
    DL_DELETE(d->owners->left, d);
    DL_APPEND(d->owners->all, d);
}

/* More than one where a worker died before it had dropped what the one before it had made. */
static struct owned *take_before(struct owners *o, uint64_t unique) {
    struct owned *d, *taken = NULL;
    while ((d = find_left(o, unique)) != NULL) {
        take_left(d);
        if (d->state == OWNED_LIVING) {
            d->before = taken;
            taken = d;
        } else {
            owned_free(d);
        }
    }
    return taken;
}

int owned_create(struct owners *o, const struct zk_op *op, enum owner_kind kind, pid_t caller,
                 uint64_t unique, zk_cb *cb, void *ctx, struct owned **ret_owned) {
    struct process *p = NULL;
    CHECK(kind != OWNER_MOUNT);
    int err = kind == OWNER_OPEN ? 0 : find_process(o, kind, caller, &p);
    if (err != 0)
        return err;
    struct owned *d = mem_zalloc(sizeof *d);
    d->owners = o;
    d->cb = cb;
    d->ctx = ctx;
    d->process = p;
    buf_put(&d->path, op->path.p, (size_t)op->path.len);
    d->record = (struct record){.unique = unique,
                                .start_time = p != NULL ? p->start_time : 0,
                                .pid = p != NULL ? p->pid : 0,
                                .mode = (int32_t)op->mode,
                                .kind = (int32_t)kind,
                                .is_null = op->data.len < 0};
    DL_APPEND(o->all, d);
    if (p != NULL)
        DL_APPEND2(p->owned, d, p_prev, p_next);
    keep(d);
    d->before = take_before(o, unique);
    /* Whatever becomes of the call: what was made has to be known, to be deleted. */
    d->token = zk_create(o->fs->zk, op, on_created, d);
    zk_wait_on(o->fs->zk, d->token);
    *ret_owned = d;
    return 0;
}

uint64_t owned_token(const struct owned *d) { return d->token; }

void owned_take_write(struct owned *d, uint32_t *take_ref) {
    d->kept_write = *take_ref;
    *take_ref = 0;
}

void owned_give_write(struct owned *d, uint32_t *ret_ref) {
    *ret_ref = d->kept_write;
    d->kept_write = 0;
}

void owned_opened(struct owned *d, uint64_t fh) {
    d->record.fh = fh;
    keep(d);
}

void owned_leave(struct owned *d) {
    CHECK(d->state == OWNED_CREATING);
    d->cb = NULL;
    d->is_over = true;
    note(d);
    if (zk_was_sent(d->owners->fs->zk, d->token))
        return;
    zk_cancel(d->owners->fs->zk, d->token);
    leave_before(d);
    owned_free(d);
}

void owned_end(struct owned *d) {
    if (d != NULL)
        over(d);
}

struct owners *owners_new(struct fs *fs) {
    struct owners *o = mem_zalloc(sizeof *o);
    o->fs = fs;
    o->retry_timer = mem_zalloc(sizeof *o->retry_timer);
    CHECK(uv_timer_init(fs->loop, o->retry_timer) == 0);
    o->retry_timer->data = o;
    return o;
}

/* --- after a restart --- */

/* The creation may be done, or not: it is asked for once more, as the same one, and what comes of
 * it is deleted. */
static void end_unknown(struct owned *d, const struct zk_sent *sent) {
    struct fs *fs = d->owners->fs;
    struct zk_op op = {.type = ZK_OP_CREATE,
                       .path = path_of(d),
                       .data = d->record.is_null ? SLICE_NULL : (struct slice){NULL, 0},
                       .mode = (enum create_mode)d->record.mode,
                       .acl = fs->opt->acl,
                       .exclusive = true};
    d->is_over = true;
    note(d);
    d->token = zk_create(fs->zk, &op, on_created, d);
    zk_repeat(fs->zk, d->token, sent);
    zk_wait_on(fs->zk, d->token);
    d->kept_write = sent->ref;
}

/* Of a request that is not sent again, or ended before it came to its creation. */
static void end_left(struct owned *d, const struct zk_sent *sent) {
    if (d->state == OWNED_ENDING) {
        look(d);
    } else if (d->state == OWNED_LIVING) {
        over(d);
    } else if (sent != NULL) {
        end_unknown(d, sent);
    } else {
        owned_free(d); /* it was never sent */
    }
}

void owners_call_ended(struct owners *o, uint64_t unique, const struct zk_sent *sent,
                       uint32_t *take_write) {
    struct owned *d;
    while (o != NULL && o->left != NULL && (d = find_left(o, unique)) != NULL) {
        const struct zk_sent *own = d->state == OWNED_CREATING ? sent : NULL;
        take_left(d);
        if (own != NULL) {
            *take_write = 0;
            sent = NULL; /* another one that was being made for the request was so by this write */
        }
        end_left(d, own);
    }
}

/* The process is the one that it was. */
static bool find_again(struct owned *d) {
    uint64_t start_time;
    struct process *p;
    pid_t pid = d->record.pid;
    if (d->record.start_time == 0 || process_get(d->owners, pid, &p) != 0)
        return false;
    if (caller_start_time(pid, &start_time) && start_time == d->record.start_time) {
        d->process = p;
        DL_APPEND2(p->owned, d, p_prev, p_next);
        return true;
    }
    if (p->owned == NULL)
        process_close(p);
    return false;
}

static bool has_owner(struct owned *d) {
    struct fuse_file_info fi = {.fh = d->record.fh};
    if (d->record.kind != OWNER_OPEN)
        return find_again(d);
    struct handle *h = d->record.fh != 0 ? handle_find(d->owners->fs, &fi) : NULL;
    if (h != NULL)
        h->owned = d;
    return h != NULL;
}

struct resume {
    struct owners *owners;
    bool (*is_sent_again)(void *ctx, uint64_t unique);
    void *ctx;
};

static void on_record(void *ctx, const struct journal_record *r) {
    const struct resume *resume = ctx;
    struct owners *o = resume->owners;
    struct owned *d = mem_zalloc(sizeof *d);
    d->owners = o;
    d->number = r->key;
    d->kept = r->ref;
    d->state = (enum owned_state)(r->word & 0xff);
    d->is_over = (r->word & KEPT_OVER) != 0;
    CHECK(r->bytes.len >= (int32_t)sizeof d->record);
    memcpy(&d->record, r->bytes.p, sizeof d->record);
    d->czxid = d->record.czxid;
    buf_put(&d->path, r->bytes.p + sizeof d->record, (size_t)r->bytes.len - sizeof d->record);
    if (resume->is_sent_again(resume->ctx, d->record.unique))
        DL_APPEND(o->left, d);
    else
        DL_APPEND(o->all, d);
}

void owners_resume(struct owners *o, bool (*is_sent_again)(void *ctx, uint64_t unique), void *ctx) {
    struct resume resume = {o, is_sent_again, ctx};
    struct owned *d, *next;
    journal_each(o->fs->journal, JOURNAL_OWNED, on_record, &resume);
    DL_FOREACH_SAFE(o->all, d, next) {
        if (d->state == OWNED_CREATING) {
            struct zk_sent *sent = resume_take(o->fs, d->record.unique | UNIQUE_RESENT);
            end_left(d, sent);
            resume_free(o->fs, sent);
        } else if (d->state == OWNED_ENDING) {
            look(d);
        } else if (d->is_over || !has_owner(d)) {
            over(d);
        }
    }
}

static void on_timer_closed(uv_handle_t *handle) { mem_free(handle); }

void owners_close(struct owners *o) {
    if (o == NULL)
        return;
    DL_CONCAT(o->all, o->left);
    o->left = NULL;
    while (o->all != NULL) {
        if (o->all->token != 0)
            zk_cancel(o->fs->zk, o->all->token);
        owned_free(o->all);
    }
    uv_close((uv_handle_t *)o->retry_timer, on_timer_closed);
    mem_free(o);
}
