#include "tests/sim/sim_shrink.h"

#include <stdio.h>
#include <string.h>

/* Runs that a shrinking may take. */
#define RUNS_MAX 400

struct shrinker {
    struct sim_plan best;
    struct sim_outcome outcome;
    uint32_t runs;
};

/* The same kind of violation: its text without numbers. */
static bool same_kind(const char *a, const char *b) {
    for (;;) {
        while (*a && strchr("0123456789abcdefx.", *a))
            a++;
        while (*b && strchr("0123456789abcdefx.", *b))
            b++;
        if (*a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

static bool keep_if_failing(struct shrinker *s, const struct sim_plan *smaller) {
    if (s->runs >= RUNS_MAX)
        return false;
    s->runs++;
    struct sim_outcome o = sim_run(smaller, false);
    if (!o.failed || !same_kind(o.why, s->outcome.why))
        return false;
    s->best = *smaller;
    s->outcome = o;
    return true;
}

static bool shrink_faults(struct shrinker *s) {
    bool any = false;
    for (uint32_t i = 0; i < s->best.fault_count; i++) {
        struct sim_plan p = s->best;
        if (p.faults[i].left_out)
            continue;
        p.faults[i].left_out = true;
        any = keep_if_failing(s, &p) || any;
    }
    return any;
}

static bool shrink_clients(struct shrinker *s) {
    struct sim_plan p = s->best;
    if (p.clients <= 1)
        return false;
    p.clients--;
    for (uint32_t i = 0; i < p.fault_count; i++)
        if ((p.faults[i].type == FAULT_CLIENT_CUT || p.faults[i].type == FAULT_CONN_BREAK ||
             p.faults[i].type == FAULT_MOVE || p.faults[i].type == FAULT_INTRUDER) &&
            p.faults[i].arg >= p.clients)
            p.faults[i].left_out = true;
    return keep_if_failing(s, &p);
}

static bool shrink_steps(struct shrinker *s) {
    struct sim_plan p = s->best;
    if (s->outcome.steps < p.max_steps)
        p.max_steps = (uint32_t)s->outcome.steps;
    p.max_steps = p.max_steps * 3 / 4;
    return p.max_steps > 50 && keep_if_failing(s, &p);
}

static bool shrink_work(struct shrinker *s) {
    struct sim_plan p = s->best;
    if (p.pipeline == 1 && p.think_us > 100000)
        return false;
    p.pipeline = 1;
    p.think_us *= 2;
    return keep_if_failing(s, &p);
}

void sim_shrink(struct sim_plan *plan, const struct sim_outcome *was, bool verbose) {
    struct shrinker s = {.best = *plan, .outcome = *was};
    for (bool any = true; any && s.runs < RUNS_MAX;) {
        any = shrink_faults(&s);
        any = shrink_clients(&s) || any;
        any = shrink_steps(&s) || any;
        any = shrink_work(&s) || any;
    }
    uint32_t faults = 0;
    for (uint32_t i = 0; i < s.best.fault_count; i++)
        faults += !s.best.faults[i].left_out;
    printf("# shrunk in %u runs: %u faults, %u clients, %llu steps: %s\n", s.runs, faults,
           s.best.clients, (unsigned long long)s.outcome.steps, s.outcome.why);
    if (verbose)
        (void)sim_run(&s.best, true);
}
