#include "fs/resume.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/mem.h"
#include "fs/handle.h"
#include "fs/lock.h"
#include "fs/owner.h"
#include "fs/view_stream.h"

struct resent {
    UT_hash_handle hh;
    uint64_t unique;
    struct zk_sent sent;
};

static void on_write(void *ctx, const struct journal_record *r) {
    struct fs *fs = ctx;
    struct resent *w = mem_zalloc(sizeof *w);
    if (!zk_sent_read(r, &w->sent)) {
        mem_free(w);
        return;
    }
    w->unique = r->key;
    HASH_ADD(hh, fs->resent, unique, sizeof w->unique, w);
}

void resume_begin(struct fs *fs) {
    inode_table_resume(&fs->inodes, fs->journal);
    handles_resume(fs);
    locks_resume(fs);
    streams_resume(fs);
    journal_each(fs->journal, JOURNAL_WRITE, on_write, fs);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

struct uniques {
    const uint64_t *at; /* rising */
    size_t count;
};

static bool is_sent_again(void *ctx, uint64_t unique) {
    const struct uniques *u = ctx;
    return bsearch(&unique, u->at, u->count, sizeof unique, compare) != NULL;
}

static struct handle *handle_of(struct fs *fs, uint64_t fh) {
    struct fuse_file_info fi = {.fh = fh};
    return fh != 0 ? handle_find(fs, &fi) : NULL;
}

/* The worker may have died before it had counted the lookup, or after another took it back. */
static void take_back(struct fs *fs, const struct journal_answer *a) {
    struct handle *h = handle_of(fs, a->fh), *told = handle_of(fs, a->told);
    if (h != NULL)
        handle_close(h);
    if (told != NULL) {
        told->errnum = EIO;
        handle_note(told);
    }
    struct inode *inode = a->nodeid != 0 ? inode_find(&fs->inodes, a->nodeid) : NULL;
    if (inode != NULL)
        inode_forget(&fs->inodes, inode, inode->lookups - a->lookups);
}

/* No request has come, or none comes any more, that takes it. */
static void drop_write(struct fs *fs, struct resent *w) {
    uint32_t ref = w->sent.ref;
    HASH_DELETE(hh, fs->resent, w);
    owners_call_ended(fs->owners, w->unique, &w->sent, &ref);
    journal_drop(fs->journal, &ref);
    zk_forget(fs->zk, &w->sent);
    buf_close(&w->sent.request);
    mem_free(w);
}

void resume_settle(struct fs *fs, const uint64_t *uniques, size_t count) {
    struct journal_answer a = journal_last_answer(fs->journal);
    struct uniques again = {uniques, count};
    if (fs->owners != NULL)
        owners_resume(fs->owners, is_sent_again, &again);
    if (a.unique != 0 && is_sent_again(&again, a.unique & ~UNIQUE_RESENT))
        take_back(fs, &a);
    journal_answered(fs->journal);
    struct resent *w, *next;
    HASH_ITER(hh, fs->resent, w, next) {
        if (is_sent_again(&again, w->unique)) {
            zk_resend(fs->zk, &w->sent);
            continue;
        }
        drop_write(fs, w); /* it was answered */
    }
    log_info("resumed: what the frontend before had open goes on inodes=%zu handles=%u "
             "requests=%zu writes=%u",
             inode_count(&fs->inodes), HASH_CNT(by_id, fs->handles), count, HASH_COUNT(fs->resent));
}

void resume_done(struct fs *fs) {
    struct resent *w, *next;
    HASH_ITER(hh, fs->resent, w, next) drop_write(fs, w);
    locks_settle(fs);
}

static struct resent *find(const struct fs *fs, uint64_t unique) {
    struct resent *w = NULL;
    uint64_t first = unique & ~UNIQUE_RESENT;
    if (first != unique)
        HASH_FIND(hh, fs->resent, &first, sizeof first, w);
    return w;
}

bool resume_has(const struct fs *fs, uint64_t unique) { return find(fs, unique) != NULL; }

struct zk_sent *resume_take(struct fs *fs, uint64_t unique) {
    struct resent *w = find(fs, unique);
    if (w == NULL)
        return NULL;
    HASH_DELETE(hh, fs->resent, w);
    struct zk_sent *sent = mem_dup(&w->sent, sizeof w->sent);
    mem_free(w);
    return sent;
}

void resume_free(struct fs *fs, struct zk_sent *sent) {
    if (sent == NULL)
        return;
    zk_forget(fs->zk, sent);
    buf_close(&sent->request);
    mem_free(sent);
}

void resume_close(struct fs *fs) {
    struct resent *w, *next;
    HASH_ITER(hh, fs->resent, w, next) {
        HASH_DELETE(hh, fs->resent, w);
        buf_close(&w->sent.request);
        mem_free(w);
    }
}
