/* A small deterministic random generator (xoshiro256**, Blackman and Vigna 2018) for simulators,
 * tests and jitter. Not for secrets. */
#ifndef ZKFS_COMMON_PRNG_H
#define ZKFS_COMMON_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t s[4];
};

void prng_init(struct prng *p, uint64_t seed); /* every seed is a good one */
uint64_t prng_next(struct prng *p);
uint64_t prng_below(struct prng *p, uint64_t bound); /* 0 <= result < bound; bound > 0 (CHECK) */
int64_t prng_range(struct prng *p, int64_t low, int64_t high); /* both included */
bool prng_chance(struct prng *p, uint32_t numerator, uint32_t denominator);

#endif
