/* rot: cases in, the table of their outcomes and TAP out. `rot --help` tells the options. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"
#include "tests/rot/rot.h"

#define MESSAGES_MAX 200
#define WRONG_SHOWN 12

static const char help[] =
    "rot [OPTION...]: every file of every replica, damaged, lost, or an older copy\n"
    "  --seed N      decides everything (1)\n"
    "  --every N     random places in every file of the bases at rest (40)\n"
    "  --offsets N   random places in the files of each base, by what they may cost (400)\n"
    "  --two N       two files of one of them, of each base (60)\n"
    "  --each N      each replica has lost something else (300)\n"
    "  --times N     all of these N times\n"
    "  --stride N    only each N-th case\n"
    "  --case N      this case alone, and all that happens in it\n"
    "  --list        a line for each case\n"
    "  --bases       lists what is damaged\n"
    "  --messages    with what was said where a disk was refused\n";

struct options {
    uint64_t seed;
    struct rot_amounts amounts;
    uint64_t times, stride;
    int64_t one;
    bool bases, messages, list;
};

static const char *const mode_names[ROT_MODES] = {
    [ROT_ALL] = "one of three is damaged, all start",
    [ROT_PAIR] = "one of three is damaged, it and another one start first",
    [ROT_TWO] = "two files of one of three are damaged, all start",
    [ROT_EACH] = "each of three has lost something else",
    [ROT_ALONE] = "alone",
};

static const char *const outcome_names[ROT_OUTCOMES] = {
    [ROT_SAME] = "same",       [ROT_HARMLESS] = "harml",     [ROT_PASSED] = "passed",
    [ROT_TORN] = "torn",       [ROT_LOCAL] = "local",        [ROT_OTHERS] = "others",
    [ROT_LOSSY] = "lossy",     [ROT_RESYNCED] = "resync",    [ROT_OVER] = "over",
    [ROT_REFUSED] = "refused", [ROT_CANNOT_TELL] = "no-one", [ROT_WRONG] = "WRONG",
};

struct table {
    uint32_t cells[2][ROT_KINDS][ROT_FAULTS][ROT_OUTCOMES]; /* an ensemble; alone */
    uint32_t modes[ROT_MODES][ROT_OUTCOMES];
    uint32_t waited, cases;
    struct {
        char text[ROT_WHY_BYTES];
        uint32_t count;
    } messages[MESSAGES_MAX];
    size_t message_count;
    uint64_t trace;
};

/* Which case it was that ended the process. */
static char crash_text[64];

static void on_crash(int number) {
    (void)!write(STDERR_FILENO, crash_text, strlen(crash_text));
    signal(number, SIG_DFL);
    raise(number);
}

/* Numbers and names of files are each case's own. */
static void normalize(const char *in, char *out) {
    size_t n = 0;
    for (size_t i = 0; in[i] != '\0' && n + 1 < ROT_WHY_BYTES; i++) {
        bool digit = in[i] >= '0' && in[i] <= '9';
        bool hex = digit || (in[i] >= 'a' && in[i] <= 'f');
        if (hex && n > 0 && out[n - 1] == '#')
            continue;
        out[n++] = digit ? '#' : in[i];
    }
    out[n] = '\0';
}

static void note_message(struct table *t, const char *text) {
    char plain[ROT_WHY_BYTES];
    size_t i = 0;
    normalize(text, plain);
    while (i < t->message_count && strcmp(t->messages[i].text, plain) != 0)
        i++;
    if (i == MESSAGES_MAX)
        return;
    t->message_count += i == t->message_count;
    (void)snprintf(t->messages[i].text, sizeof t->messages[i].text, "%s", plain);
    t->messages[i].count++;
}

static void print_case(const struct rot_case *c, const struct rot_verdict *v) {
    printf("# case %u (%s; %s): %s%s%s\n", c->number, c->base->name, mode_names[c->mode],
           outcome_names[v->outcome], v->why[0] != '\0' ? ": " : "", v->why);
    for (size_t i = 0; i < c->damage_count; i++)
        printf("#   %s of %u (%s): %s\n", c->damage[i].file.name, c->damage[i].host + 1u,
               rot_kind_names[c->damage[i].file.kind], rot_fault_names[c->damage[i].fault]);
}

static void count_case(struct table *t, const struct rot_case *c, const struct rot_verdict *v) {
    bool alone = c->mode == ROT_ALONE;
    const struct rot_damage *d = &c->damage[0];
    t->cases++;
    t->modes[c->mode][v->outcome]++;
    t->waited += v->waited;
    t->trace = (t->trace ^ v->outcome) * 0x9e3779b97f4a7c15u;
    if (c->damage_count == 1)
        t->cells[alone][d->file.kind][d->fault][v->outcome]++;
    if (v->outcome == ROT_REFUSED)
        note_message(t, v->why);
    if (v->outcome == ROT_WRONG && t->modes[c->mode][ROT_WRONG] <= WRONG_SHOWN)
        print_case(c, v);
}

static void print_row(const char *kind, const char *fault, const uint32_t *row) {
    uint32_t sum = 0;
    for (size_t o = 0; o < ROT_OUTCOMES; o++)
        sum += row[o];
    if (sum == 0)
        return;
    printf("# %-25s %-18s%6u ", kind, fault, sum);
    for (size_t o = 0; o < ROT_OUTCOMES; o++)
        if (row[o] > 0)
            printf("%8u", row[o]);
        else
            printf("%8s", ".");
    printf("\n");
}

static void print_head(const char *kind, const char *fault) {
    printf("# %-25s %-18s%6s ", kind, fault, "cases");
    for (size_t o = 0; o < ROT_OUTCOMES; o++)
        printf("%8s", outcome_names[o]);
    printf("\n");
}

static void print_table(const struct options *opt, const struct table *t) {
    for (int alone = 0; alone < 2; alone++) {
        printf("#\n");
        print_head(alone ? "alone" : "one of three", "");
        for (size_t k = 0; k < ROT_KINDS; k++)
            for (size_t f = 0; f < ROT_FAULTS; f++)
                print_row(rot_kind_names[k], rot_fault_names[f], t->cells[alone][k][f]);
    }
    printf("#\n");
    print_head("", "");
    for (size_t m = 0; m < ROT_MODES; m++) {
        print_row(mode_names[m], "", t->modes[m]);
    }
    printf("# in %u cases two were not enough, and waited for the third\n", t->waited);
    for (size_t i = 0; opt->messages && i < t->message_count; i++)
        printf("# said %u times: %s\n", t->messages[i].count, t->messages[i].text);
}

static void print_bases(const struct rot_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        const struct rot_base *b = &set->bases[i];
        printf("# base %zu: %s; %zu trees, %zu under way, %zu sessions\n", i, b->name,
               b->history.count, b->history.count - 1 - b->history.acked, b->session_count);
        for (size_t h = 0; h < b->count; h++) {
            struct rot_file files[ROT_FILES_MAX];
            size_t n = rot_files(b->disks[h], files);
            printf("#   %zu: log ends 0x%" PRIx64 "%s, %zu earlier moments\n", h + 1,
                   (uint64_t)b->last[h], b->has_all[h] ? "" : " (lacks something)",
                   b->older_count[h]);
            while (n > 0) {
                n--;
                printf("#      %-28s %6zu  %s\n", files[n].name, files[n].size,
                       rot_kind_names[files[n].kind]);
            }
        }
    }
}

static int run_one(const struct rot_plan *p, uint64_t number) {
    struct rot_verdict v;
    if (number >= p->count) {
        fprintf(stderr, "rot: there are %zu cases\n", p->count);
        return 2;
    }
    const struct rot_case *c = &p->cases[number];
    printf("# %s; %s\n", c->base->name, mode_names[c->mode]);
    rot_run(c, true, &v);
    print_case(c, &v);
    printf("%s - case %" PRIu64 "\n", v.outcome == ROT_WRONG ? "not ok" : "ok", number);
    return v.outcome == ROT_WRONG;
}

static int run_all(const struct options *opt, const struct rot_plan *p) {
    struct table *t = mem_zalloc(sizeof *t);
    uint32_t bad = 0;
    for (size_t i = 0; i < p->count; i += opt->stride) {
        struct rot_verdict v;
        (void)snprintf(crash_text, sizeof crash_text, "\n# a signal in case %zu\n", i);
        rot_run(&p->cases[i], false, &v);
        if (opt->list)
            print_case(&p->cases[i], &v);
        count_case(t, &p->cases[i], &v);
    }
    print_table(opt, t);
    for (size_t m = 0; m < ROT_MODES; m++) {
        uint32_t sum = 0;
        for (size_t o = 0; o < ROT_OUTCOMES; o++)
            sum += t->modes[m][o];
        bad += t->modes[m][ROT_WRONG];
        if (sum > 0)
            printf("%s - %s: %u of %u cases end well\n", t->modes[m][ROT_WRONG] ? "not ok" : "ok",
                   mode_names[m], sum - t->modes[m][ROT_WRONG], sum);
    }
    printf("# seed %" PRIu64 ", %u cases, trace %016" PRIx64 ", %.1f s of processor\n", opt->seed,
           t->cases, t->trace, (double)clock() / CLOCKS_PER_SEC);
    mem_free(t);
    return bad > 0;
}

static bool parse_flag(struct options *opt, const char *arg) {
    bool *flag = strcmp(arg, "--bases") == 0      ? &opt->bases
                 : strcmp(arg, "--messages") == 0 ? &opt->messages
                 : strcmp(arg, "--list") == 0     ? &opt->list
                                                  : NULL;
    if (flag != NULL)
        *flag = true;
    return flag != NULL;
}

static bool parse(struct options *opt, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (parse_flag(opt, argv[i]))
            continue;
        if (i + 1 == argc)
            return false;
        const char *name = argv[i];
        uint64_t v = strtoull(argv[++i], NULL, 10);
        if (strcmp(name, "--seed") == 0)
            opt->seed = v;
        else if (strcmp(name, "--offsets") == 0)
            opt->amounts.offsets = (uint32_t)v;
        else if (strcmp(name, "--every") == 0)
            opt->amounts.every = (uint32_t)v;
        else if (strcmp(name, "--two") == 0)
            opt->amounts.two = (uint32_t)v;
        else if (strcmp(name, "--each") == 0)
            opt->amounts.each = (uint32_t)v;
        else if (strcmp(name, "--stride") == 0)
            opt->stride = v > 0 ? v : 1;
        else if (strcmp(name, "--times") == 0)
            opt->times = v;
        else if (strcmp(name, "--case") == 0)
            opt->one = (int64_t)v;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    struct options opt = {
        .seed = 1, .amounts = {40, 400, 60, 300}, .times = 1, .stride = 1, .one = -1};
    if (!parse(&opt, argc, argv)) {
        fputs(help, stderr);
        return 2;
    }
    opt.amounts.offsets *= (uint32_t)opt.times;
    opt.amounts.every *= (uint32_t)opt.times;
    opt.amounts.each *= (uint32_t)opt.times;
    opt.amounts.two *= (uint32_t)opt.times;
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    struct rot_set *set = mem_zalloc(sizeof *set);
    struct rot_plan plan;
    rot_build(opt.seed, set);
    rot_plan_make(&plan, set, opt.seed, &opt.amounts);
    if (opt.bases)
        print_bases(set);
    int status = 0;
    if (opt.one >= 0)
        status = run_one(&plan, (uint64_t)opt.one);
    else if (!opt.bases)
        status = run_all(&opt, &plan);
    rot_plan_close(&plan);
    rot_set_close(set);
    mem_free(set);
    return status;
}
