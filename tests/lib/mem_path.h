/* What a path says of its directory. */
#ifndef ZKFS_TESTS_LIB_MEM_PATH_H
#define ZKFS_TESTS_LIB_MEM_PATH_H

#include <stdbool.h>
#include <string.h>

/* Whether path names something in dir: "." for a bare name, "/" for the root's. */
static inline bool mem_path_in_dir(const char *path, const char *dir) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return strcmp(dir, ".") == 0;
    if (slash == path)
        return strcmp(dir, "/") == 0;
    size_t n = (size_t)(slash - path);
    return strlen(dir) == n && memcmp(dir, path, n) == 0;
}

static inline bool mem_path_same_dir(const char *a, const char *b) {
    const char *slash = strrchr(a, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - a) + 1;
    return strncmp(a, b, n) == 0 && strchr(b + n, '/') == NULL;
}

#endif
