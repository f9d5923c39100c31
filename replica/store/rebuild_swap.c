#include "replica/store/rebuild_swap.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/snap_name.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_truncate.h"

#define MAGIC "zkfs-reb"

/* What is still to be done. */
enum phase {
    PHASE_REMOVE = 1, /* what was there before goes */
    PHASE_RENAME,     /* what was written gets its names */
};

struct marker {
    enum phase phase;
    struct rebuild_plan plan;
};

/* ---- names ---- */

struct names {
    char **list;
    size_t count, cap;
};

static void collect(void *arg, const char *name) {
    struct names *n = arg;
    if (n->count == n->cap) {
        n->cap = n->cap == 0 ? 32 : n->cap * 2;
        n->list = mem_realloc(n->list, n->cap * sizeof *n->list);
    }
    n->list[n->count++] = mem_strdup(name);
}

static void names_close(struct names *n) {
    for (size_t i = 0; i < n->count; i++)
        mem_free(n->list[i]);
    mem_free(n->list);
    *n = (struct names){0};
}

static int list_names(const struct store_dir *d, struct names *ret_names) {
    int err = d->files->list(d->files->ctx, d->path, collect, ret_names);
    if (err < 0)
        names_close(ret_names);
    return err;
}

/* The name that a written file is going to have; NULL when it is none. */
static const char *final_name(const char *name) {
    zxid_t zxid = 0;
    size_t n = strlen(REBUILD_PREFIX);
    if (strncmp(name, REBUILD_PREFIX, n) != 0)
        return NULL;
    return wal_segment_parse(name + n, &zxid) || snap_name_parse(name + n, &zxid) ? name + n : NULL;
}

/* Whether it is part of the history that was there before; the base is not. */
static bool is_old(const char *name, const struct rebuild_plan *plan) {
    zxid_t zxid = 0;
    if (wal_segment_parse(name, &zxid) || strcmp(name, WAL_CUT_NAME) == 0)
        return true;
    if (strcmp(name, SNAP_FILE_NAME) == 0)
        return plan->base != REBUILD_BASE_PLAIN;
    if (strcmp(name, SNAP_FILE_NEXT) == 0)
        return plan->base != REBUILD_BASE_NEXT;
    return snap_name_parse(name, &zxid) &&
           !(plan->base == REBUILD_BASE_OWN && zxid == plan->base_begun);
}

int rebuild_remove_unfinished(const struct store_dir *d) {
    struct names names = {0};
    int err = list_names(d, &names);
    for (size_t i = 0; err == 0 && i < names.count; i++)
        if (final_name(names.list[i]) != NULL ||
            strcmp(names.list[i], REBUILD_PREFIX SNAP_FILE_NAME) == 0 ||
            strcmp(names.list[i], REBUILD_NAME ".new") == 0)
            err = store_file_remove(d, names.list[i]);
    names_close(&names);
    return err;
}

/* ---- the file that says it ---- */

static struct store_file encode(const struct marker *m) {
    return (struct store_file){
        .words = {(uint64_t)m->phase, (uint64_t)m->plan.base, (uint64_t)m->plan.base_begun}};
}

static int read_marker(const struct store_dir *d, struct marker *ret_marker) {
    struct store_file file;
    int err = store_file_read(d, REBUILD_NAME, MAGIC, &file);
    if (err < 0)
        return err;
    bool known = (file.words[0] == PHASE_REMOVE || file.words[0] == PHASE_RENAME) &&
                 file.words[1] < REBUILD_BASE_KINDS && file.words[2] <= INT64_MAX;
    if (!known)
        return -EBADMSG;
    *ret_marker = (struct marker){(enum phase)file.words[0],
                                  {(enum rebuild_base_kind)file.words[1], (zxid_t)file.words[2]}};
    return 0;
}

int rebuild_is_unknown(const struct store_dir *d) {
    struct marker m;
    int err = read_marker(d, &m);
    return err == -EBADMSG ? 1 : err == -ENOENT ? 0 : err;
}

int rebuild_is_decided(const struct store_dir *d) {
    struct marker m;
    int err = read_marker(d, &m);
    return err == 0 ? 1 : err == -ENOENT ? 0 : err;
}

int rebuild_decide(const struct store_dir *d, const struct rebuild_plan *plan) {
    struct marker m = {PHASE_REMOVE, *plan};
    struct store_file file = encode(&m);
    return store_file_create(d, REBUILD_NAME, MAGIC, &file);
}

/* ---- carrying it out ---- */

static int remove_old(const struct store_dir *d, const struct rebuild_plan *plan) {
    struct names names = {0};
    int err = list_names(d, &names);
    for (size_t i = 0; err == 0 && i < names.count; i++)
        if (is_old(names.list[i], plan))
            err = store_file_remove(d, names.list[i]);
    names_close(&names);
    return err < 0 ? err : store_file_sync_dir(d);
}

/* A base that has no number in its name gets one, if it has not got it yet. */
static int number_base(const struct store_dir *d, const struct rebuild_plan *plan) {
    if (plan->base != REBUILD_BASE_PLAIN && plan->base != REBUILD_BASE_NEXT)
        return 0;
    char name[SNAP_NAME_BYTES];
    snap_name_print(plan->base_begun, name);
    int err = store_file_rename(
        d, plan->base == REBUILD_BASE_PLAIN ? SNAP_FILE_NAME : SNAP_FILE_NEXT, name);
    return err == -ENOENT ? 0 : err;
}

static int rename_new(const struct store_dir *d, const struct rebuild_plan *plan) {
    struct names names = {0};
    int err = number_base(d, plan);
    if (err == 0)
        err = list_names(d, &names);
    for (size_t i = 0; err == 0 && i < names.count; i++)
        if (final_name(names.list[i]) != NULL)
            err = store_file_rename(d, names.list[i], final_name(names.list[i]));
    names_close(&names);
    return err < 0 ? err : store_file_sync_dir(d);
}

static int carry_out(const struct store_dir *d, struct marker *m) {
    /* A start after a failed sync may see a name, or a phase, that the disk does not have. */
    int err = store_file_sync_dir(d);
    if (err == 0 && m->phase == PHASE_REMOVE)
        err = remove_old(d, &m->plan);
    m->phase = PHASE_RENAME;
    struct store_file file = encode(m);
    if (err == 0)
        err = store_file_write(d, REBUILD_NAME, MAGIC, &file);
    if (err == 0)
        err = rename_new(d, &m->plan);
    if (err == 0)
        err = store_file_remove(d, REBUILD_NAME);
    return err < 0 ? err : store_file_sync_dir(d);
}

int rebuild_finish(const struct store_dir *d, struct buf *ret_why) {
    struct marker m;
    int err = read_marker(d, &m);
    if (err == 0) {
        err = carry_out(d, &m);
    } else if (err == -ENOENT) {
        err = rebuild_remove_unfinished(d);
    } else if (err == -EBADMSG) {
        buf_printf(ret_why,
                   "%s/" REBUILD_NAME
                   ": it says that a history is being put in the place of a damaged one, and is "
                   "damaged itself",
                   d->path);
        return err;
    }
    if (err < 0)
        buf_printf(ret_why, "%s: a rebuilt history cannot take its place: %s", d->path,
                   strerror(-err));
    return err;
}
