/* What the tests of this folder share: the world's failures become check's. */
#ifndef ZKFS_TESTS_SPEC_SPEC_H
#define ZKFS_TESTS_SPEC_SPEC_H

#include "tests/lib/unit.h"
#include "tests/spec/zab_world.h"

/* A world whose first broken invariant fails the running test, with the trace. */
struct zab_world *spec_new(const struct world_config *config); /* not started */
struct zab_world *spec_boot(uint32_t voters);                  /* as world_boot */
struct zab_world *spec_boot_with(const struct world_config *config);
/* Ends the test: the world is still sound; then it is freed. */
void spec_end(struct zab_world *w);
/* Starts `id` and links it with everybody who runs; settles. */
void spec_join(struct zab_world *w, uint8_t id);
/* The servers `first` to `last`, started, linked with each other, and settled. */
void spec_join_range(struct zab_world *w, uint8_t first, uint8_t last);
/* Heals everything, starts who is down, and demands one leader, new commits and agreement within
 * bounded time. */
void spec_expect_recovery(struct zab_world *w);

#define Z(epoch, counter) zxid_make(epoch, counter)
#define ck_zxid(a, b)                                                                              \
    ck_assert_msg((a) == (b), "0x%llx is not 0x%llx", (unsigned long long)(a),                     \
                  (unsigned long long)(b))

/* A suite of plain tests; each is a case, so that CK_RUN_CASE=name runs it alone, and ZKFS_TRACE=1
 * shows what it does. */
#define SPEC_SUITE(name, ...)                                                                      \
    Suite *unit_suite(void) {                                                                      \
        const TTest *tests[] = {__VA_ARGS__};                                                      \
        return spec_suite(name, tests, sizeof tests / sizeof tests[0]);                            \
    }
Suite *spec_suite(const char *name, const TTest *const *tests, size_t count);

#endif
