#include "replica/offline/apache_import.h"

#include "common/mem.h"
#include "replica/offline/apache_dir.h"
#include "replica/offline/apache_log.h"
#include "replica/offline/apache_snapshot.h"

#include <errno.h>
#include <inttypes.h>

/* As many are tried as Apache itself tries. */
#define SNAPSHOTS_MAX 100

/* The log on its way into the tree. */
struct replay {
    struct apache_import *im;
    const char *path;  /* of the file at hand */
    bool has_snapshot; /* the log need not begin at the beginning */
    zxid_t least;      /* it reached so far: there is a snapshot of that name, whole or not */
    zxid_t newest;     /* the transaction read last, applied or not, and what it says of the tree */
    bool has_digest;
    int64_t digest;
    struct buf *why;
};

static int refuse(struct replay *r, size_t at, const char *what) {
    buf_printf(r->why, "%s: offset %zu: %s", r->path, at, what);
    return -EBADMSG;
}

/* Whether z can stand right behind `last`: the next of its epoch, or the first of a later one. A
 * log from the beginning begins with the first transaction of the first epoch; of a server that
 * stands alone that is 0. */
static bool follows(const struct replay *r, zxid_t last, zxid_t z) {
    if (last == 0 && !r->has_snapshot)
        return zxid_counter(z) == 1 && zxid_epoch(z) <= 1;
    if (zxid_epoch(z) == zxid_epoch(last))
        return z == last + 1;
    return z > last && zxid_counter(z) == 1;
}

static int apply(struct replay *r, size_t at, const struct apache_txn *txn) {
    zxid_t last = apache_tree_last(r->im->tree);
    if (txn->zxid <= r->newest)
        return refuse(r, at, "a transaction is not behind the one before it");
    r->newest = txn->zxid;
    r->has_digest = txn->has_digest;
    r->digest = txn->digest;
    if (txn->zxid <= last)
        return 0;
    if (!follows(r, last, txn->zxid)) {
        refuse(r, at, "a part of the log is missing: ");
        buf_printf(r->why, "zxid 0x%" PRIx64 " comes behind 0x%" PRIx64, txn->zxid, last);
        return -EBADMSG;
    }
    const char *broken = apache_tree_apply(r->im->tree, txn);
    if (broken) {
        refuse(r, at, broken);
        buf_printf(r->why, " (zxid 0x%" PRIx64 ")", txn->zxid);
        return -EBADMSG;
    }
    r->im->transactions++;
    return 0;
}

static int take_record(struct replay *r, size_t at, struct slice payload) {
    struct apache_txn txn;
    const char *bad = apache_txn_decode(payload, &txn);
    if (bad)
        return refuse(r, at, bad);
    int err = apply(r, at, &txn);
    apache_txn_close(&txn);
    return err;
}

static int read_log(struct replay *r, const struct buf *bytes) {
    struct apache_log log;
    const char *bad = apache_log_open(&log, bytes->data, bytes->len);
    if (bad)
        return refuse(r, 0, bad);
    for (int err = 0;;) {
        struct slice payload = SLICE_NULL;
        size_t at = log.at;
        switch (apache_log_next(&log, &payload)) {
        case APACHE_LOG_END:
            return 0;
        case APACHE_LOG_TORN:
            buf_printf(&r->im->notes, "%s: offset %zu: a write that never ended is left out\n",
                       r->path, at);
            return 0;
        case APACHE_LOG_DAMAGED:
            return refuse(r, at, "a transaction is broken, and there are whole ones behind it");
        case APACHE_LOG_RECORD:
            err = take_record(r, at, payload);
            break;
        }
        if (err < 0)
            return err;
    }
}

/* Where the file stands that may have the first transaction behind `zxid`. */
static size_t first_needed(const struct apache_files *logs, zxid_t zxid) {
    size_t first = 0;
    for (size_t i = 0; i < logs->count && logs->list[i].zxid <= zxid + 1; i++)
        first = i;
    return first;
}

static int read_logs(struct replay *r, const struct apache_files *logs) {
    struct apache_import *im = r->im;
    int err = 0;
    for (size_t i = first_needed(logs, apache_tree_last(im->tree)); i < logs->count; i++) {
        struct buf bytes = BUF_INIT;
        size_t why_len = r->why->len;
        r->path = logs->list[i].path;
        buf_printf(r->why, "%s: ", r->path);
        err = apache_dir_read(im->files, &logs->list[i], &bytes, r->why);
        if (err == 0) {
            r->why->len = why_len;
            err = read_log(r, &bytes);
        }
        buf_close(&bytes);
        if (err < 0)
            return err;
    }
    return 0;
}

static int check(struct replay *r) {
    zxid_t last = apache_tree_last(r->im->tree);
    if (last >= r->least)
        return apache_tree_check(r->im->tree, r->why);
    buf_printf(r->why,
               "the log ends at zxid 0x%" PRIx64 ", before the newest snapshot, of 0x%" PRIx64,
               last, r->least);
    return -EBADMSG;
}

/* The tree has a snapshot, or nothing. */
static int replay(struct replay *r, const struct apache_files *logs) {
    struct apache_import *im = r->im;
    int err = read_logs(r, logs);
    if (err == 0)
        err = check(r);
    if (err < 0)
        return err;
    im->digest_known = r->has_digest && r->newest == apache_tree_last(im->tree);
    im->digest_right = im->digest_known && r->digest == apache_tree_digest(im->tree);
    return apache_tree_end_sessions(im->tree, &im->result, r->why);
}

static int load(struct apache_import *im, const struct apache_file *file, struct buf *why) {
    struct buf bytes = BUF_INIT;
    buf_printf(why, "%s: ", file->path);
    int err = apache_dir_read(im->files, file, &bytes, why);
    if (err == 0)
        err = apache_snapshot_read(bytes.data, bytes.len, im->tree, why);
    buf_close(&bytes);
    const char *bad = err == 0 ? apache_tree_loaded(im->tree, file->zxid) : NULL;
    if (bad)
        buf_printf(why, "%s", bad);
    return bad ? -EBADMSG : err;
}

/* One way to a tree: this snapshot (NULL: none) and the log behind it, that reaches to `least`. */
static int try(struct apache_import *im, const struct apache_file *file, zxid_t least,
               const struct apache_files *logs, struct buf *why) {
    struct buf what = BUF_INIT;
    struct replay r = {.im = im, .has_snapshot = file != NULL, .least = least, .why = &what};
    im->tree = apache_tree_new();
    im->transactions = 0;
    int err = 0;
    if (file)
        err = load(im, file, &what);
    else
        (void)apache_tree_loaded(im->tree, 0); /* nothing was */
    if (err == 0) {
        buf_reset(&what);
        err = replay(&r, logs);
    }
    if (err < 0) {
        apache_tree_free(im->tree);
        im->tree = NULL;
        buf_printf(why, "%s%.*s", why->len > 0 ? "\n" : "", (int)what.len, (const char *)what.data);
    } else if (file) {
        im->snapshot = mem_strdup(file->path);
    }
    buf_close(&what);
    return err;
}

/* Newest first; what a broken one has can be had from an older one and a longer log, if that is
 * still there. */
static int try_all(struct apache_import *im, const struct apache_files *snapshots,
                   const struct apache_files *logs, struct buf *why) {
    size_t tried = 0;
    zxid_t least = 0;
    for (size_t i = snapshots->count; i > 0 && tried < SNAPSHOTS_MAX; i--, tried++) {
        const struct apache_file *file = &snapshots->list[i - 1];
        least = tried == 0 ? file->zxid : least;
        if (try(im, file, least, logs, why) == 0)
            return 0;
    }
    if (logs->count == 0)
        return -EBADMSG;
    return try(im, NULL, least, logs, why);
}

int apache_import_run(struct apache_import *im, struct buf *ret_why) {
    struct apache_files snapshots = {0}, logs = {0};
    int err = apache_dir_list(im->files, im->dir, "snapshot", &snapshots, ret_why);
    if (err == 0)
        err = apache_dir_list(im->files, im->log_dir, "log", &logs, ret_why);
    if (err == 0 && snapshots.count == 0 && logs.count == 0) {
        buf_printf(ret_why, "%s: there is neither a snapshot nor a log of Apache ZooKeeper",
                   im->dir);
        err = -ENOENT;
    }
    struct buf why = BUF_INIT;
    if (err == 0) {
        err = try_all(im, &snapshots, &logs, &why);
        /* Of one that others replaced it is only said. */
        struct buf *to = err < 0 ? ret_why : &im->notes;
        buf_put(to, why.data, why.len);
        if (err == 0 && why.len > 0)
            buf_put_u8(to, '\n');
    }
    if (err == 0 && apache_tree_last(im->tree) == 0) {
        buf_printf(ret_why, "%s: there is no transaction to import: start with an empty directory",
                   im->dir);
        err = -ENOENT;
    }
    buf_close(&why);
    apache_dir_close(&snapshots);
    apache_dir_close(&logs);
    return err;
}

void apache_import_close(struct apache_import *im) {
    apache_tree_free(im->tree);
    buf_close(&im->notes);
    mem_free(im->snapshot);
}
