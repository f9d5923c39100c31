/* Linked into a zkfs for restart_steps.py: the worker dies in front of its Nth step from now. A
 * step is whatever outlives the worker: a change of the journal, an answer to the kernel, bytes for
 * the server; so every state that a crash can leave between two of them can be had. ZKFS_STEPS
 * names a file with N, and how many steps of the next worker come before it dies, too: 0 is never.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "fs/journal.h"

static struct {
    /* N in the lower half, the next worker's in the upper: one word, for the test may write it at
     * any time. */
    _Atomic uint64_t left;
    _Atomic uint64_t deaths;
} * steps;

static void __attribute__((constructor)) map_steps(void) {
    const char *path = getenv("ZKFS_STEPS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map =
        fd >= 0 ? mmap(NULL, sizeof *steps, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED)
        abort();
    steps = map;
    close(fd);
}

static void step(void) {
    uint64_t old = atomic_load(&steps->left), new;
    do {
        if ((uint32_t)old == 0)
            return;
        new = (uint32_t)old == 1 ? old >> 32 : old - 1;
    } while (!atomic_compare_exchange_weak(&steps->left, &old, new));
    if ((uint32_t)old != 1)
        return;
    atomic_fetch_add(&steps->deaths, 1);
    raise(SIGKILL);
}

/* The linker's --wrap leads the calls of `name` here. */
#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAP(void, journal_put, struct journal *j, uint32_t *ref, enum journal_type type, uint64_t key,
     uint64_t word, const void *p, size_t size_bytes) {
    step();
    __real_journal_put(j, ref, type, key, word, p, size_bytes);
}

WRAP(void, journal_drop, struct journal *j, uint32_t *ref) {
    if (*ref != 0)
        step();
    __real_journal_drop(j, ref);
}

WRAP(void, journal_set_word, struct journal *j, uint32_t ref, uint64_t word) {
    step();
    __real_journal_set_word(j, ref, word);
}

WRAP(void, journal_set_counter, struct journal *j, enum journal_counter which, uint64_t value) {
    if (journal_counter(j, which) != value)
        step();
    __real_journal_set_counter(j, which, value);
}

WRAP(void, journal_answering, struct journal *j, const struct journal_answer *answer) {
    step();
    __real_journal_answering(j, answer);
}

WRAP(void, journal_answered, struct journal *j) {
    step();
    __real_journal_answered(j);
}

WRAP(ssize_t, writev, int fd, const struct iovec *iov, int count) {
    step();
    return __real_writev(fd, iov, count);
}

WRAP(int, uv_try_write, uv_stream_t *stream, const uv_buf_t *bufs, unsigned count) {
    step();
    return __real_uv_try_write(stream, bufs, count);
}
