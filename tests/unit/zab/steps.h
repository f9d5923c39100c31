/* Steps that the tests of an ensemble share. */
#ifndef ZKFS_TESTS_UNIT_ZAB_STEPS_H
#define ZKFS_TESTS_UNIT_ZAB_STEPS_H

#include "tests/unit/zab/ensemble.h"

#define Z(e, c) ((zxid_t)(((uint64_t)(e) << 32) | (c)))
/* In a new ensemble of three, 3 leads. */
#define LEADER 3

struct ensemble *steps_booted(uint8_t voters, uint8_t observers); /* somebody leads */
zxid_t steps_propose(struct ensemble *e);                         /* at who leads */
/* Links are made anew until all serve and have a new proposal; then it is freed. */
void steps_expect_whole(struct ensemble *e);
bool steps_linked(const struct ensemble *e, uint8_t a, uint8_t b);
/* `from` says it, and loses its link for that. Frees the ensemble. */
void steps_expect_drop(struct ensemble *e, uint8_t from, uint8_t to, const struct zab_msg *m);
/* Nothing happens. */
void steps_expect_ignored(struct ensemble *e, uint8_t from, uint8_t to, const struct zab_msg *m);

#endif
