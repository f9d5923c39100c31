/* sim: seeds in, TAP out. `sim --help` tells the options; docs/simulator.md the rest. */
#include "tests/sim/sim.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "tests/sim/sim_shrink.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "sim [OPTION…]: whole ensembles from seeds\n"
    "  --seeds N       so many seeds (2000), from --base N on (the time)\n"
    "  --seed N        this seed alone; with --verbose its dialogue\n"
    "  --file FILE     the seeds of a file: lines `SEED [PROFILE [plain]] [# comment]`\n"
    "  --plain         without checkpoints, as seeds were drawn before there were any\n"
    "  --profile NAME  all of one profile, not each its own\n"
    "  --steps N       the faults end after so many steps at most\n"
    "  --shrink        of a seed that fails: faults, clients and steps left out while it does\n"
    "  --twice         each seed twice: the same trace must come out\n"
#ifdef ZKFS_MUTANTS
    "  --mutant NAME   with this deliberate bug; it is found when a seed fails\n"
    "  --mutants       lists them\n"
#endif
    ;

struct options {
    uint64_t base, seeds;
    bool one, verbose, shrink, twice, plain, expect_failure;
    int profile;
    uint32_t steps;
    const char *file;
};

#ifdef ZKFS_MUTANTS
enum mutant mutant_active;

static const char *const mutant_names[] = {
    "NONE",
#define MUTANT_DEF(name, text) #name,
#include "common/mutant.def"
#undef MUTANT_DEF
};

static bool mutant_set(const char *name) {
    for (int i = 1; i < MUTANT_COUNT; i++) {
        if (strcmp(mutant_names[i], name) == 0) {
            mutant_active = (enum mutant)i;
            return true;
        }
    }
    return false;
}

static void mutants_list(void) {
#define MUTANT_DEF(name, text) puts(#name);
#define MUTANT_SPEC_DEF(name, text)
#include "common/mutant.def"
#undef MUTANT_DEF
}
#endif

struct totals {
    uint64_t seeds, failures, steps;
    uint64_t trace; /* of all of them */
    uint64_t profile_seeds[32], profile_failures[32];
    int64_t began_ns;
};

/* Of this process alone: steps a second of one core, whatever else the machine does. */
static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct sim_outcome sim_run(const struct sim_plan *plan, bool verbose) {
    struct sim_outcome o = {0};
    jmp_buf on_check;
    static struct world *w; /* static: longjmp leaves it alone */
    w = world_new(plan, verbose);
    w->on_check = &on_check;
    if (setjmp(on_check) == 0)
        world_run(w);
    else
        w->broken = true;
    o.failed = w->failed;
    o.steps = w->steps;
    o.trace = w->trace;
    o.virtual_us = w->now_us;
    o.commits = check_commits(w->check);
    snprintf(o.why, sizeof o.why, "%s", w->why);
    if (!w->broken) /* else its members are somewhere inside a step */
        world_free(w);
    world_now = NULL;
    return o;
}

static char crash_text[64];
static size_t crash_text_len;

/* Which seed it was that ended the process. */
static void on_crash(int number) {
    (void)!write(STDERR_FILENO, crash_text, crash_text_len);
    signal(number, SIG_DFL);
    raise(number);
}

static void print_failure(const struct sim_plan *plan, const struct sim_outcome *o) {
    printf("# seed %llu profile %s (%u voters, %u observers, %u clients), step %llu:\n#   %s\n",
           (unsigned long long)plan->seed, plan->profile, plan->voters, plan->observers,
           plan->clients, (unsigned long long)o->steps, o->why);
    const char *commit = getenv("ZKFS_COMMIT");
    printf("#   commit %s; see it again: sim --seed %llu --profile %s%s --verbose\n",
           commit ? commit : "unknown", (unsigned long long)plan->seed, plan->profile,
           plan->plain ? " --plain" : "");
    fflush(stdout);
}

/* True when the seed holds. */
static bool one_seed(const struct options *opt, uint64_t seed, int profile, struct totals *t) {
    struct sim_plan plan;
    crash_text_len = (size_t)snprintf(crash_text, sizeof crash_text, "\n# a signal in seed %llu\n",
                                      (unsigned long long)seed);
    sim_plan_draw(&plan, seed, profile, opt->plain);
    if (opt->steps > 0)
        plan.max_steps = opt->steps;
    struct sim_outcome o = sim_run(&plan, opt->verbose && !opt->shrink);
    t->seeds++;
    t->steps += o.steps;
    t->trace = (t->trace ^ o.trace) * 0x9e3779b97f4a7c15u;
    t->profile_seeds[plan.profile_index]++;
    if (opt->twice && !o.failed) {
        struct sim_outcome again = sim_run(&plan, false);
        if (again.trace != o.trace || again.steps != o.steps) {
            o.failed = true;
            snprintf(o.why, sizeof o.why, "the same seed gives another trace");
        }
    }
    if (!o.failed)
        return true;
    t->failures++;
    t->profile_failures[plan.profile_index]++;
    print_failure(&plan, &o);
    if (opt->shrink)
        sim_shrink(&plan, &o, opt->verbose);
    return false;
}

static int profile_of(const char *name) {
    for (uint32_t i = 0; i < sim_profile_count(); i++)
        if (strcmp(sim_profiles[i], name) == 0)
            return (int)i;
    return -1;
}

static int run_file(struct options *opt, struct totals *t) {
    FILE *f = fopen(opt->file, "r");
    if (!f) {
        fprintf(stderr, "sim: %s: %s\n", opt->file, strerror(errno));
        return 1;
    }
    char line[256];
    while (fgets(line, sizeof line, f)) {
        unsigned long long seed;
        char profile[32] = "", plain[32] = "";
        char *hash = strchr(line, '#');
        if (hash)
            *hash = '\0';
        if (sscanf(line, "%llu %31s %31s", &seed, profile, plain) < 1)
            continue;
        opt->plain = strcmp(plain, "plain") == 0;
        (void)one_seed(opt, seed, profile_of(profile), t);
    }
    fclose(f);
    return 0;
}

static void run_seeds(const struct options *opt, struct totals *t) {
    for (uint64_t i = 0; i < opt->seeds; i++) {
        /* Every profile comes as often as the others. */
        int profile = opt->profile >= 0 || opt->one ? opt->profile : (int)(i % sim_profile_count());
        if (!one_seed(opt, opt->base + i, profile, t) && opt->expect_failure)
            return;
    }
}

static void print_totals(const struct options *opt, const struct totals *t) {
    double s = (double)(now_ns() - t->began_ns) / 1e9;
    printf("# %llu seeds, %llu steps, %.1f s of processor: %.0f steps/s\n",
           (unsigned long long)t->seeds, (unsigned long long)t->steps, s, (double)t->steps / s);
    printf("# trace %016llx\n", (unsigned long long)t->trace);
    for (uint32_t i = 0; i < sim_profile_count(); i++)
        if (t->profile_seeds[i] > 0)
            printf("%s sim: %llu of %llu seeds of profile %s hold\n",
                   t->profile_failures[i] ? "not ok" : "ok",
                   (unsigned long long)(t->profile_seeds[i] - t->profile_failures[i]),
                   (unsigned long long)t->profile_seeds[i], sim_profiles[i]);
}

static bool parse_flag(struct options *opt, const char *arg) {
    if (strcmp(arg, "--verbose") == 0)
        opt->verbose = true;
    else if (strcmp(arg, "--shrink") == 0)
        opt->shrink = true;
    else if (strcmp(arg, "--twice") == 0)
        opt->twice = true;
    else if (strcmp(arg, "--plain") == 0)
        opt->plain = true;
    else
        return false;
    return true;
}

static bool parse_value(struct options *opt, const char *arg, const char *value) {
    if (strcmp(arg, "--seed") == 0) {
        opt->one = true;
        opt->base = strtoull(value, NULL, 10);
        opt->seeds = 1;
    } else if (strcmp(arg, "--seeds") == 0) {
        opt->seeds = strtoull(value, NULL, 10);
    } else if (strcmp(arg, "--base") == 0) {
        opt->base = strtoull(value, NULL, 10);
    } else if (strcmp(arg, "--steps") == 0) {
        opt->steps = (uint32_t)strtoul(value, NULL, 10);
    } else if (strcmp(arg, "--file") == 0) {
        opt->file = value;
    } else if (strcmp(arg, "--profile") == 0) {
        opt->profile = profile_of(value);
        return opt->profile >= 0;
#ifdef ZKFS_MUTANTS
    } else if (strcmp(arg, "--mutant") == 0) {
        opt->expect_failure = true;
        return mutant_set(value);
#endif
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv) {
    struct options opt = {.base = (uint64_t)time(NULL) * 1000, .seeds = 2000, .profile = -1};
    for (int i = 1; i < argc; i++) {
#ifdef ZKFS_MUTANTS
        if (strcmp(argv[i], "--mutants") == 0) {
            mutants_list();
            return 0;
        }
#endif
        if (parse_flag(&opt, argv[i]))
            continue;
        if (i + 1 == argc || !parse_value(&opt, argv[i], argv[i + 1])) {
            fputs(help, strcmp(argv[i], "--help") == 0 ? stdout : stderr);
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        }
        i++;
    }
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    struct totals t = {.began_ns = now_ns()};
    if (!opt.one && !opt.file)
        printf("# seeds %llu to %llu\n", (unsigned long long)opt.base,
               (unsigned long long)(opt.base + opt.seeds - 1));
    if (opt.file) {
        if (run_file(&opt, &t) != 0)
            return 1;
    } else {
        run_seeds(&opt, &t);
    }
    print_totals(&opt, &t);
    return t.failures > 0 ? 1 : 0;
}
