/* bench_files: file operations on one path, one after the other, and what each took.
 *
 *   bench_files PATH read|stat|write MILLISECONDS VALUE_BYTES
 *
 * read is open, read and close; write is open with O_TRUNC, write and close, as `echo` does. */
#include "tests/bench/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_once(const char *path, char *data, size_t bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool fine = read(fd, data, bytes) == (ssize_t)bytes;
    return close(fd) == 0 && fine;
}

static bool write_once(const char *path, const char *data, size_t bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    bool fine = write(fd, data, bytes) == (ssize_t)bytes;
    return close(fd) == 0 && fine;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: bench_files PATH read|stat|write MILLISECONDS VALUE_BYTES\n");
        return 2;
    }
    const char *path = argv[1], *op = argv[2];
    size_t bytes = (size_t)sample_number(argv[4]);
    char *data = malloc(bytes + 1);
    if (data == NULL)
        return 1;
    memset(data, 'v', bytes);
    if (!write_once(path, data, bytes)) {
        fprintf(stderr, "bench_files: %s: %s\n", path, strerror(errno));
        free(data);
        return 1;
    }
    struct sample sample = {0};
    uint64_t errors = 0;
    int64_t begun = sample_now_ns(), before = begun;
    int64_t end = begun + sample_number(argv[3]) * 1000000;
    while (before < end) {
        struct stat st;
        bool fine;
        if (strcmp(op, "read") == 0)
            fine = read_once(path, data, bytes);
        else if (strcmp(op, "write") == 0)
            fine = write_once(path, data, bytes);
        else
            fine = stat(path, &st) == 0 && st.st_size == (off_t)bytes;
        int64_t after = sample_now_ns();
        errors += !fine;
        sample_add(&sample, after - before);
        before = after;
    }
    sample_print(&sample, before - begun, errors);
    free(data);
    return 0;
}
