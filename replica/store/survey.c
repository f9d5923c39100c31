#include "replica/store/survey.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/epoch_file.h"
#include "replica/store/rebuild.h"
#include "replica/store/snap_name.h"

/* A log line has room for so many. */
#define FINDINGS_MAX 6

void survey_say(struct survey *sv, const char *name, uint64_t offset, const char *what) {
    if (sv->findings++ >= FINDINGS_MAX)
        return;
    buf_printf(&sv->said, "%s%s: offset %" PRIu64 ": %s", sv->said.len > 0 ? "; " : "", name,
               offset, what);
}

/* ---- the promise ---- */

static int take_promise(struct survey *sv, struct buf *ret_why) {
    struct epoch_file e = {0};
    struct buf why = BUF_INIT;
    int err = epoch_file_read(sv->dir, &e, &why);
    if (err < 0 && err != -EBADMSG)
        buf_put(ret_why, why.data, why.len);
    buf_close(&why);
    if (err < 0 && err != -EBADMSG)
        return err;
    sv->epoch = e.epoch;
    sv->lossy = (e.flags & EPOCH_LOSSY) != 0;
    sv->promised_log = (e.flags & EPOCH_LOG) != 0;
    sv->promise = e.epoch > 0 ? SURVEY_PROMISE_WHOLE : SURVEY_PROMISE_NONE;
    if (err == -EBADMSG)
        survey_say(sv, "epoch.1, epoch.2", 0, "no copy is whole");
    return 0;
}

/* ---- snapshots ---- */

struct snapshot_names {
    zxid_t *list; /* of the name */
    size_t count, cap;
    bool plain, next;
};

static void collect(void *arg, const char *name) {
    struct snapshot_names *names = arg;
    zxid_t zxid = 0;
    if (strcmp(name, SNAP_FILE_NAME) == 0)
        names->plain = true;
    else if (strcmp(name, SNAP_FILE_NEXT) == 0)
        names->next = true;
    if (!snap_name_parse(name, &zxid))
        return;
    if (names->count == names->cap) {
        names->cap = names->cap == 0 ? 8 : names->cap * 2;
        names->list = mem_realloc(names->list, names->cap * sizeof *names->list);
    }
    names->list[names->count++] = zxid;
}

static bool ignore_piece(void *ctx, struct slice piece) { return true; }

struct taking {
    struct survey *sv;
    const zxid_t *refused;
    size_t refused_count;
    struct buf *why;
};

/* Makes the snapshot of that name the base when it is whole, and newer than the one that is. `zxid`
 * is what its name says; SURVEY_UNKNOWN: nothing. 1 it is whole, 0 it is not, or an error. */
static int try_snapshot(struct taking *t, const char *name, zxid_t zxid) {
    struct survey *sv = t->sv;
    struct snap_base base;
    struct buf why = BUF_INIT;
    int err = snap_file_read(sv->dir, name, ignore_piece, NULL, &base, &why);
    bool misplaced = err == 0 && zxid != SURVEY_UNKNOWN && zxid != base.begun;
    if (err == -EBADMSG || misplaced)
        survey_say(sv, name, 0, "the snapshot is damaged");
    else if (err < 0)
        buf_put(t->why, why.data, why.len);
    buf_close(&why);
    if (err == -EBADMSG || misplaced) {
        sv->snapshots_lost++;
        return 0;
    }
    if (err < 0)
        return err;
    for (size_t i = 0; i < t->refused_count; i++)
        if (t->refused[i] == base.begun)
            return 0;
    if (sv->has_base && base.begun <= sv->base.begun)
        return 1;
    sv->has_base = true;
    sv->base = base;
    (void)snprintf(sv->base_name, sizeof sv->base_name, "%s", name);
    return 1;
}

/* The newest first, until one is whole. */
static int try_snapshots(struct taking *t, struct snapshot_names *names) {
    int found = 0;
    while (found == 0 && names->count > 0) {
        size_t newest = 0;
        for (size_t i = 1; i < names->count; i++)
            if (names->list[i] > names->list[newest])
                newest = i;
        zxid_t zxid = names->list[newest];
        if (zxid > t->sv->reach)
            t->sv->reach = zxid;
        names->list[newest] = names->list[--names->count];
        char name[SNAP_NAME_BYTES];
        snap_name_print(zxid, name);
        found = try_snapshot(t, name, zxid);
    }
    if (found >= 0 && names->plain)
        found = try_snapshot(t, SNAP_FILE_NAME, SURVEY_UNKNOWN);
    return found < 0 ? found : 0;
}

/* *ret_next: there is an installed snapshot that takes the place of everything else. */
static int take_snapshots(struct taking *t, bool *ret_next) {
    struct survey *sv = t->sv;
    struct snapshot_names names = {0};
    int err = sv->dir->files->list(sv->dir->files->ctx, sv->dir->path, collect, &names);
    if (err < 0)
        buf_printf(t->why, "%s: cannot be listed: %s", sv->dir->path, strerror(-err));
    *ret_next = false;
    if (err == 0 && names.next) {
        int whole = try_snapshot(t, SNAP_FILE_NEXT, SURVEY_UNKNOWN);
        *ret_next = whole > 0 && sv->has_base;
        /* What it was to replace may be gone in part. */
        sv->tail_lost = whole == 0;
        err = whole < 0 ? whole : 0;
    }
    if (err == 0 && !*ret_next)
        err = try_snapshots(t, &names);
    mem_free(names.list);
    return err;
}

/* ---- all of it ---- */

/* What lies before the base is dropped. */
static void drop_old_runs(struct survey *sv) {
    size_t kept = 0;
    for (size_t i = 0; i < sv->run_count; i++)
        if (!sv->has_base || sv->runs[i].last > sv->base.begun)
            sv->runs[kept++] = sv->runs[i];
    sv->run_count = kept;
}

int survey_take(struct survey *sv, const struct store_dir *d, const zxid_t *refused,
                size_t refused_count, struct buf *ret_why) {
    *sv = (struct survey){.dir = d};
    struct taking t = {.sv = sv, .refused = refused, .refused_count = refused_count};
    t.why = ret_why;
    bool next = false;
    int unknown = rebuild_is_unknown(d);
    if (unknown < 0)
        buf_printf(ret_why, "%s/" REBUILD_NAME ": cannot be read: %s", d->path, strerror(-unknown));
    if (unknown > 0)
        survey_say(sv, REBUILD_NAME, 0,
                   "it says that a history was being replaced, and is damaged");
    int err = unknown < 0 ? unknown : take_promise(sv, ret_why);
    if (err == 0)
        err = take_snapshots(&t, &next);
    if (err == 0 && !next)
        err = survey_log(sv, ret_why);
    if (err < 0) {
        survey_close(sv);
        return err;
    }
    drop_old_runs(sv);
    sv->tail_lost = sv->tail_lost || unknown > 0;
    /* A checkpoint stands behind records that were there. */
    bool shorter = sv->known_end < sv->reach || (sv->has_base && sv->known_end < sv->base.ended);
    if (!next && shorter)
        sv->tail_lost = true;
    if (sv->has_base && sv->known_end < sv->base.begun)
        sv->known_end = sv->base.begun;
    return 0;
}

void survey_close(struct survey *sv) {
    mem_free(sv->runs);
    buf_close(&sv->said);
    *sv = (struct survey){0};
}

bool survey_island(const struct survey *sv, zxid_t behind, size_t i,
                   struct survey_island *ret_island) {
    size_t k = 0;
    for (size_t n = 0;; n++) {
        while (k < sv->run_count && sv->runs[k].last <= behind)
            k++;
        if (k == sv->run_count)
            return false;
        struct survey_island island = {sv->runs[k].before, sv->runs[k].first, sv->runs[k].last};
        for (k++; k < sv->run_count && sv->runs[k].before == island.last; k++)
            island.last = sv->runs[k].last;
        if (n == i) {
            *ret_island = island;
            return true;
        }
    }
}
