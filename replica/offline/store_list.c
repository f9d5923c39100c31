#include "replica/offline/store_list.h"

#include "common/mem.h"
#include "replica/store/snap_file.h"
#include "replica/store/wal_format.h"

#include <stdlib.h>
#include <string.h>

/* `snapshot`, and whatever of that name is numbered, or under way. */
static bool is_snapshot(const char *name) {
    size_t n = strlen(SNAP_FILE_NAME);
    return strncmp(name, SNAP_FILE_NAME, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

static void add(void *arg, const char *name) {
    struct store_list *l = arg;
    if (l->count == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->list = mem_realloc(l->list, l->cap * sizeof *l->list);
    }
    struct store_name n = {.part = STORE_OTHER, .name = mem_strdup(name)};
    if (wal_segment_parse(name, &n.zxid))
        n.part = STORE_SEGMENT;
    else if (is_snapshot(name))
        n.part = STORE_SNAPSHOT;
    l->list[l->count++] = n;
}

static int compare(const void *a, const void *b) {
    const struct store_name *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    if (x->zxid != y->zxid)
        return x->zxid < y->zxid ? -1 : 1;
    return strcmp(x->name, y->name);
}

int store_list_read(struct store_list *l, const struct env_files *files, const char *dir) {
    *l = (struct store_list){0};
    int err = files->list(files->ctx, dir, add, l);
    if (err < 0) {
        store_list_close(l);
        return err;
    }
    if (l->count > 0)
        qsort(l->list, l->count, sizeof *l->list, compare);
    return 0;
}

void store_list_close(struct store_list *l) {
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->list[i].name);
    mem_free(l->list);
    *l = (struct store_list){0};
}
