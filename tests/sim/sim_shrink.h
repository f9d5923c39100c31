/* A plan that fails, made small while it still does. */
#ifndef ZKFS_TESTS_SIM_SIM_SHRINK_H
#define ZKFS_TESTS_SIM_SIM_SHRINK_H

#include "tests/sim/sim_plan.h"

struct sim_outcome {
    bool failed;
    char why[512];
    uint64_t steps, trace;
    uint64_t commits; /* records that somebody applied */
    int64_t virtual_us;
};

struct sim_outcome sim_run(const struct sim_plan *plan, bool verbose); /* sim_main.c */
/* Prints what is left, and with verbose its dialogue. */
void sim_shrink(struct sim_plan *plan, const struct sim_outcome *was, bool verbose);

#endif
