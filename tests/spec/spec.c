#include "tests/spec/spec.h"

#ifdef ZKFS_MUTANTS
#include "common/mutant.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef ZKFS_MUTANTS
/* The deliberate bug is named by ZKFS_MUTANT (common/mutant.def). */
enum mutant mutant_active;

static void choose_mutant(void) {
    static const char *const names[] = {
        "",
#define MUTANT_DEF(name, text) #name,
#include "common/mutant.def"
#undef MUTANT_DEF
    };
    const char *name = getenv("ZKFS_MUTANT");
    for (int i = 1; name && i < MUTANT_COUNT; i++)
        if (strcmp(names[i], name) == 0)
            mutant_active = (enum mutant)i;
    if (name && !mutant_active)
        abort();
}
#endif

static void spec_broken(struct zab_world *w, const char *why) {
    fprintf(stderr, "%.*s", (int)w->trace.len, w->trace.data ? (const char *)w->trace.data : "");
    ck_abort_msg("%s", why);
}

struct zab_world *spec_new(const struct world_config *config) {
    struct zab_world *w = world_new(config);
    w->on_broken = spec_broken;
    w->echo = getenv("ZKFS_TRACE") != NULL;
    return w;
}

struct zab_world *spec_boot_with(const struct world_config *config) {
    struct zab_world *w = spec_new(config);
    world_start_all(w);
    world_settle(w);
    world_await_leader(w, 20000);
    world_settle(w);
    return w;
}

struct zab_world *spec_boot(uint32_t voters) {
    struct world_config config = {.voters = voters};
    return spec_boot_with(&config);
}

void spec_end(struct zab_world *w) {
    ck_assert_str_eq(w->broken, "");
    world_free(w);
}

static void start_linked(struct zab_world *w, uint8_t id) {
    world_start(w, id);
    for (uint8_t peer = 1; peer < WORLD_IDS; peer++)
        if (peer != id && w->servers[peer].z)
            world_connect(w, id, peer);
}

void spec_join(struct zab_world *w, uint8_t id) {
    start_linked(w, id);
    world_settle(w);
}

void spec_join_range(struct zab_world *w, uint8_t first, uint8_t last) {
    for (uint8_t id = first; id <= last; id++)
        start_linked(w, id);
    world_settle(w);
}

void spec_expect_recovery(struct zab_world *w) {
    world_heal(w);
    for (uint8_t id = 1; id < WORLD_IDS; id++)
        if (w->servers[id].there && !w->servers[id].z)
            world_start(w, id);
    world_advance(w, 5000);
    uint8_t leader = world_await_leader(w, 20000);
    world_advance(w, 2000);
    world_commit(w, leader, 3);
    world_advance(w, 1000);
    world_expect_agreement(w);
}

Suite *spec_suite(const char *name, const TTest *const *tests, size_t count) {
    Suite *s = suite_create(name);
#ifdef ZKFS_MUTANTS
    choose_mutant();
#endif
    for (size_t i = 0; i < count; i++) {
        TCase *t = tcase_create(tests[i]->name);
        tcase_set_timeout(t, 60);
        tcase_add_test(t, tests[i]);
        suite_add_tcase(s, t);
    }
    return s;
}
