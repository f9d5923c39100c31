#include "common/prng.h"

#include "common/check.h"

static uint64_t splitmix(uint64_t *x) {
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void prng_init(struct prng *p, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        p->s[i] = splitmix(&seed);
}

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

uint64_t prng_next(struct prng *p) {
    uint64_t *s = p->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *p, uint64_t bound) {
    CHECK(bound > 0);
    /* The bias of a plain remainder is below 2^-40 for every bound used here. */
    return prng_next(p) % bound;
}

int64_t prng_range(struct prng *p, int64_t low, int64_t high) {
    CHECK(low <= high);
    return low + (int64_t)prng_below(p, (uint64_t)(high - low) + 1);
}

bool prng_chance(struct prng *p, uint32_t numerator, uint32_t denominator) {
    return prng_below(p, denominator) < numerator;
}
