/* What names a directory in memory has. */
#include "common/mem.h"
#include "tests/lib/mem_files_state.h"
#include "tests/lib/mem_path.h"

/* The path below `below` (NULL: any) that sorts last. */
static const char *last_below(const struct mem_files *f, const char *dir, const char *prefix,
                              const char *below) {
    const char *last = NULL;
    for (size_t i = 0; i < f->name_count; i++) {
        const char *path = f->names[i].path;
        const char *slash = strrchr(path, '/');
        const char *base = slash == NULL ? path : slash + 1;
        bool fits = f->names[i].now >= 0 && mem_path_in_dir(path, dir) &&
                    strncmp(base, prefix, strlen(prefix)) == 0 &&
                    (below == NULL || strcmp(path, below) < 0);
        if (fits && (last == NULL || strcmp(path, last) > 0))
            last = path;
    }
    return last;
}

void mem_files_each(const struct mem_files *f, const char *dir,
                    void (*fn)(void *arg, const char *name, size_t size), void *arg) {
    for (size_t i = 0; i < f->name_count; i++) {
        const struct name *n = &f->names[i];
        const char *slash = strrchr(n->path, '/');
        if (n->now >= 0 && !n->dir && mem_path_in_dir(n->path, dir))
            fn(arg, slash == NULL ? n->path : slash + 1, f->inodes[n->now].cache.size);
    }
}

char *mem_files_last(const struct mem_files *f, const char *dir, const char *prefix, size_t skip) {
    const char *path = last_below(f, dir, prefix, NULL);
    while (path != NULL && skip-- > 0)
        path = last_below(f, dir, prefix, path);
    return path == NULL ? NULL : mem_strdup(path);
}
