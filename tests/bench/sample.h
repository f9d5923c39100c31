/* What a run of a load generator measured: every latency is kept, so that percentiles are exact. */
#ifndef ZKFS_TESTS_BENCH_SAMPLE_H
#define ZKFS_TESTS_BENCH_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

struct sample {
    uint32_t *us10; /* tenths of a microsecond */
    size_t count, cap;
};

/* A number of the command line; ends the process, saying so, when it is none or below 0. */
int64_t sample_number(const char *text);
/* Monotonic nanoseconds. */
int64_t sample_now_ns(void);
/* Adds one latency. Ends the process when memory is out. */
void sample_add(struct sample *s, int64_t ns);
/* Prints one line: `ops=… seconds=… rate=… p50=… p99=… errors=…`, times in microseconds; frees. */
void sample_print(struct sample *s, int64_t ns, uint64_t errors);

#endif
