/* Deliberate bugs for the simulator's own proof (docs/simulator.md): `if
 * (MUTANT(ACK_BEFORE_SYNC))`. In every build but the simulator's, a mutant is the constant false
 * and leaves no trace. */
#ifndef ZKFS_COMMON_MUTANT_H
#define ZKFS_COMMON_MUTANT_H

#include <stdbool.h>

enum mutant {
    MUTANT_NONE,
#define MUTANT_DEF(name, text) MUTANT_##name,
#include "common/mutant.def"
#undef MUTANT_DEF
    MUTANT_COUNT
};

#ifdef ZKFS_MUTANTS
extern enum mutant mutant_active; /* the simulator's */
#define MUTANT(name) __builtin_expect(mutant_active == MUTANT_##name, 0)
#else
#define MUTANT(name) false
#endif

#endif
