#include "replica/store/snap_list.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"

void snap_name(zxid_t begun, char ret_name[SNAP_NAME_BYTES]) {
    if (begun == 0)
        memcpy(ret_name, SNAP_FILE_NAME, sizeof SNAP_FILE_NAME);
    else
        snap_name_print(begun, ret_name);
}

static bool parse(const char *name, zxid_t *ret_begun) {
    if (strcmp(name, SNAP_FILE_NAME) == 0) {
        *ret_begun = 0;
        return true;
    }
    return snap_name_parse(name, ret_begun) && *ret_begun > 0;
}

void snap_list_close(struct snap_list *l) {
    mem_free(l->list);
    *l = (struct snap_list){0};
}

void snap_list_add(struct snap_list *l, zxid_t begun, uint64_t size_bytes) {
    size_t at = l->count;
    while (at > 0 && l->list[at - 1].begun >= begun)
        at--;
    if (at < l->count && l->list[at].begun == begun) {
        l->list[at].size_bytes = size_bytes; /* made once more */
        return;
    }
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 8 : l->cap * 2;
        l->list = mem_realloc(l->list, l->cap * sizeof *l->list);
    }
    memmove(l->list + at + 1, l->list + at, (l->count - at) * sizeof *l->list);
    l->list[at] = (struct snap_entry){.begun = begun, .size_bytes = size_bytes};
    l->count++;
}

void snap_list_remove(struct snap_list *l, size_t i) {
    CHECK(i < l->count);
    l->count--;
    memmove(l->list + i, l->list + i + 1, (l->count - i) * sizeof *l->list);
}

void snap_list_mark(struct snap_list *l, zxid_t begun) {
    for (size_t i = 0; i < l->count; i++)
        if (l->list[i].begun == begun)
            l->list[i].served = true;
}

uint64_t snap_list_bytes(const struct snap_list *l) {
    uint64_t sum = 0;
    for (size_t i = 0; i < l->count; i++)
        sum += l->list[i].size_bytes;
    return sum;
}

static void collect(void *arg, const char *name) {
    zxid_t begun = 0;
    if (parse(name, &begun))
        snap_list_add(arg, begun, 0);
}

int snap_list_read(struct snap_list *l, const struct store_dir *d) {
    return d->files->list(d->files->ctx, d->path, collect, l);
}

int snap_list_remove_all(const struct store_dir *d) {
    struct snap_list all = {0};
    int err = snap_list_read(&all, d);
    for (size_t i = 0; err == 0 && i < all.count; i++) {
        char name[SNAP_NAME_BYTES];
        snap_name(all.list[i].begun, name);
        err = store_file_remove(d, name);
    }
    snap_list_close(&all);
    return err;
}
