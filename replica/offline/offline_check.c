#include "common/mem.h"
#include "replica/io/files_posix.h"
#include "replica/offline/check_log.h"
#include "replica/offline/offline.h"
#include "replica/offline/offline_target.h"
#include "replica/offline/snapshot_tree.h"
#include "replica/offline/store_list.h"
#include "replica/store/epoch_file.h"
#include "replica/store/rebuild.h"
#include "replica/store/snap_list.h"
#include "replica/store/wal_truncate.h"
#include "replica/tree/tree_load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct check {
    const char *dir;
    struct check_log log;
    zxid_t ended; /* the newest whole snapshot needs the log up to here */
    zxid_t reach; /* of the newest checkpoint, whole or not: the log was as long once */
    bool promised_log;
    bool cut_all;   /* a cut takes all records away, and is not finished */
    bool installed; /* there is one that takes the place of everything else */
    uint64_t snapshots;
};

static void put_damage(struct check *c, const struct buf *why) {
    buf_printf(&c->log.found, "damage %.*s\n", (int)why->len, (const char *)why->data);
    c->log.damages++;
}

/* A snapshot that did not come to its end has a name of its own, and the next start removes it. */
static bool is_unfinished(const char *name) {
    const char *dot = strrchr(name, '.');
    return strcmp(name, SNAP_FILE_NEW) == 0 || (dot && strcmp(dot, ".tmp") == 0);
}

/* A start takes the newest by its name. */
static void check_name(struct check *c, const char *name, zxid_t begun) {
    char right[SNAP_NAME_BYTES];
    snap_name(begun, right);
    if (strcmp(name, right) == 0 || strcmp(name, SNAP_FILE_NEXT) == 0 ||
        strcmp(name, SNAP_FILE_NAME) == 0)
        return;
    struct buf why = BUF_INIT;
    buf_printf(&why, "%s offset 0: it has a name of another zxid than it is of, 0x%" PRIx64, name,
               begun);
    put_damage(c, &why);
    buf_close(&why);
}

static void check_snapshot(struct check *c, const char *name) {
    struct snapshot_tree cp;
    struct buf why = BUF_INIT;
    zxid_t zxid = 0;
    if (is_unfinished(name)) {
        printf("unfinished %s\n", name);
        return;
    }
    bool whole = snapshot_tree_read(&cp, &files_posix, c->dir, name, &why) == 0;
    if (snap_name_parse(name, &zxid) && zxid > c->reach && !(whole && !cp.beside))
        c->reach = zxid;
    if (!whole) {
        put_damage(c, &why);
    } else {
        printf("snapshot %s zxid 0x%" PRIx64 "%s znodes %" PRIu64 " sessions %" PRIu64
               " bytes %" PRIu64 "\n",
               name, cp.begun, tree_exact(cp.tree) ? "" : " fuzzy", tree_znode_count(cp.tree),
               cp.sessions, cp.size_bytes);
        c->snapshots++;
        check_name(c, name, cp.begun);
        c->installed |= strcmp(name, SNAP_FILE_NEXT) == 0;
        if (cp.begun >= c->log.base) {
            c->log.base = cp.begun;
            c->ended = cp.ended;
        }
    }
    snapshot_tree_close(&cp);
    buf_close(&why);
}

static void check_promise(struct check *c, const struct store_list *l) {
    struct store_dir d = {.files = &files_posix, .path = (char *)(uintptr_t)c->dir};
    struct epoch_file e;
    struct buf why = BUF_INIT;
    if (epoch_file_read(&d, &e, &why) < 0) {
        put_damage(c, &why);
        buf_close(&why);
        return;
    }
    printf("promise %u%s%s\n", e.epoch, (e.flags & EPOCH_LOSSY) != 0 ? " lossy" : "",
           (e.flags & EPOCH_LOG) != 0 ? " log" : "");
    c->promised_log = (e.flags & EPOCH_LOG) != 0;
    for (size_t i = 0; i < EPOCH_COPIES; i++) {
        if (e.copies[i] == EPOCH_COPY_DAMAGED)
            buf_printf(&why,
                       "epoch.%zu offset 0: this copy of the promise; the other one has it, "
                       "and a start mends it",
                       i + 1);
    }
    bool history = l->count > 0 && l->list[0].part != STORE_OTHER;
    if (e.epoch == 0 && history)
        buf_printf(&why, "the promise is missing: both copies of it, epoch.1 and epoch.2");
    if (why.len > 0)
        put_damage(c, &why);
    buf_close(&why);
}

static void check_cut(struct check *c) {
    struct store_dir d = {.files = &files_posix, .path = (char *)(uintptr_t)c->dir};
    struct wal_cut cut;
    struct buf why = BUF_INIT;
    bool there = false;
    if (wal_cut_read(&d, &there, &cut, &why) < 0)
        put_damage(c, &why);
    else if (there)
        c->log.cutting = true;
    c->cut_all = there && cut.segment == 0;
    if (there)
        printf("cut zxid 0x%" PRIx64 ": the next start removes what is behind\n", cut.last_zxid);
    buf_close(&why);
}

/* One that was decided on is ended by the next start: until then neither the old log nor the new
 * one is to be judged by what is there. */
static bool check_rebuild(struct check *c) {
    struct store_dir d = {.files = &files_posix, .path = (char *)(uintptr_t)c->dir};
    int decided = rebuild_is_decided(&d);
    struct buf why = BUF_INIT;
    if (decided > 0)
        printf("rebuild: the next start puts the history that was written anew in its place\n");
    else if (decided < 0)
        buf_printf(&why, "rebuild offset 0: which history counts cannot be told: %s",
                   decided == -EBADMSG ? "it is damaged" : strerror(-decided));
    if (why.len > 0)
        put_damage(c, &why);
    buf_close(&why);
    return decided > 0;
}

static int check_segments(struct check *c, const struct store_list *l) {
    int err = check_log_run(&c->log, l);
    if (err < 0)
        fprintf(stderr, "zkreplica: %s/%s: cannot be read: %s\n", c->dir, c->log.name,
                strerror(-err));
    return err;
}

/* Up to its end a fuzzy snapshot is no tree without the log. And beside a checkpoint there was one
 * that had all that is in it. */
static void check_reach(struct check *c) {
    zxid_t last = c->log.last_zxid > c->log.base ? c->log.last_zxid : c->log.base;
    bool shorter = c->log.last_zxid < c->reach && !c->installed && !c->cut_all;
    struct buf why = BUF_INIT;
    if (last < c->ended)
        buf_printf(&why,
                   "hole: the newest snapshot needs the log up to zxid 0x%" PRIx64
                   ", which ends at 0x%" PRIx64,
                   c->ended, last);
    else if (shorter)
        buf_printf(&why,
                   "lost end: the newest snapshot was made beside a log up to zxid 0x%" PRIx64
                   " at least, which ends at 0x%" PRIx64 " now",
                   c->reach, c->log.last_zxid);
    else if (c->promised_log && c->log.records == 0 && !c->installed && !c->cut_all)
        buf_printf(&why, "lost end: the promise says that there was a log, and there is none");
    if (why.len > 0)
        put_damage(c, &why);
    buf_close(&why);
}

static void print_lines(const struct buf *lines) {
    if (lines->len > 0)
        fwrite(lines->data, 1, lines->len, stdout);
}

static void print_summary(const struct check *c) {
    const struct check_log *log = &c->log;
    zxid_t last = log->last_zxid > log->base ? log->last_zxid : log->base;
    print_lines(&log->lines);
    printf("snapshots %" PRIu64 "\nsegments %" PRIu64 "\nlog_bytes %" PRIu64 "\nrecords %" PRIu64
           "\ntransactions %" PRIu64 "\nepochs %" PRIu64 "\n",
           c->snapshots, log->segments, log->bytes, log->records, log->transactions, log->epochs);
    printf("first_zxid 0x%" PRIx64 "\nsnapshot_zxid 0x%" PRIx64 "\nlast_zxid 0x%" PRIx64 "\n",
           log->first_zxid, log->base, last);
    print_lines(&log->found);
    printf("damages %" PRIu64 "\n%s\n", log->damages, log->damages == 0 ? "whole" : "damaged");
}

static int check(struct check *c, const struct store_list *l) {
    int err = 0;
    printf("dir %s\n", c->dir);
    check_promise(c, l);
    for (size_t i = 0; i < l->count && l->list[i].part == STORE_SNAPSHOT; i++)
        check_snapshot(c, l->list[i].name);
    check_cut(c);
    bool rebuilding = check_rebuild(c);
    if (c->installed)
        printf("installed: the next start removes the log, that the snapshot replaces\n");
    else if (!rebuilding)
        err = check_segments(c, l);
    if (err == 0) {
        if (!rebuilding)
            check_reach(c);
        print_summary(c);
    } else {
        puts("unreadable");
    }
    buf_close(&c->log.lines);
    buf_close(&c->log.found);
    if (err < 0)
        return offline_code(err);
    return c->log.damages == 0 ? OFFLINE_DONE : OFFLINE_REFUSED;
}

/* Whoever gives the folder above means another one: "whole" would be a wrong answer. */
static bool holds_something(const struct store_list *l) {
    for (size_t i = 0; i < l->count; i++)
        if (l->list[i].part != STORE_OTHER || strncmp(l->list[i].name, "epoch.", 6) == 0)
            return true;
    return false;
}

int offline_check(int argc, char **argv) {
    if (argc != 1 || argv[0][0] == '-')
        return OFFLINE_USAGE;
    struct check c = {.dir = argv[0], .log = {.files = &files_posix, .dir = argv[0]}};
    struct store_list l;
    int err = store_list_read(&l, &files_posix, c.dir);
    if (err < 0) {
        fprintf(stderr, "zkreplica: %s: %s\n", c.dir, strerror(-err));
        return offline_code(err);
    }
    int code = OFFLINE_REFUSED;
    if (holds_something(&l))
        code = check(&c, &l);
    else
        fprintf(stderr,
                "zkreplica: %s: nothing of a replica's is there; its files are in the folder log "
                "of dataLogDir (or dataDir)\n",
                c.dir);
    store_list_close(&l);
    return code;
}
