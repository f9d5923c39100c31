#include "tests/unit/zab/steps.h"

#include "tests/lib/unit.h"

struct ensemble *steps_booted(uint8_t voters, uint8_t observers) {
    struct ensemble *e = ensemble_new(1, voters, observers);
    ensemble_start_all(e);
    ensemble_run(e, 500);
    ck_assert_uint_ne(ensemble_leader(e), 0);
    return e;
}

zxid_t steps_propose(struct ensemble *e) {
    zxid_t zxid = ensemble_propose(e, ensemble_leader(e), 0);
    ck_assert_int_ne(zxid, 0);
    return zxid;
}

void steps_expect_whole(struct ensemble *e) {
    for (int i = 0; i < 30; i++) { /* links that were dropped are made anew */
        ensemble_start_all(e);
        ensemble_run(e, 100);
    }
    zxid_t zxid = steps_propose(e);
    ensemble_run(e, 300);
    for (uint8_t id = 1; id <= e->count; id++) {
        ck_assert(zab_serving(ensemble_zab(e, id)));
        ck_assert_int_eq(e->servers[id - 1].applied.list[e->chosen.count - 1].zxid, zxid);
    }
    ensemble_free(e);
}

bool steps_linked(const struct ensemble *e, uint8_t a, uint8_t b) {
    return e->links[a - 1][b - 1].up;
}

/* `from` says it, and loses its link for that. */
void steps_expect_drop(struct ensemble *e, uint8_t from, uint8_t to, const struct zab_msg *m) {
    ck_assert(steps_linked(e, from, to));
    ensemble_inject(e, from, to, m);
    ck_assert_msg(!steps_linked(e, from, to), "the link of a message of type %d stays", m->type);
    steps_expect_whole(e);
}

void steps_expect_ignored(struct ensemble *e, uint8_t from, uint8_t to, const struct zab_msg *m) {
    enum zab_role role = zab_role(ensemble_zab(e, to));
    ensemble_inject(e, from, to, m);
    ck_assert(steps_linked(e, from, to));
    ck_assert_int_eq(zab_role(ensemble_zab(e, to)), role);
    ck_assert(zab_serving(ensemble_zab(e, to)));
}
