/* Three and five cores: requests find the leader, and answers find their clients. */
#include "tests/unit/server/ensemble.h"

#include "tests/lib/unit.h"

#include <string.h>

START_TEST(three_servers_elect_one_and_all_serve) {
    struct ensemble *e = e_started(3, 0);
    ck_assert_ptr_nonnull(e_leader(e));
    int leaders = 0;
    for (size_t i = 0; i < 3; i++) {
        ck_assert(e->h[i]->r->serving);
        leaders += e->h[i]->r->leading;
    }
    ck_assert_int_eq(leaders, 1);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_write_at_a_follower_is_done_and_seen_everywhere) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t at_f = h_client(f), at_l = h_client(l);
    ck_assert_int_eq(h_create(f, at_f, "/a"), ZK_OK);
    ck_assert_int_eq(h_create(f, at_f, "/a"), ZK_NODEEXISTS);
    ck_assert_int_eq(h_exists(l, at_l, "/a", NULL), ZK_OK);
    ck_assert_int_eq(h_set(l, at_l, "/a", "x", 0), ZK_OK);
    ck_assert_int_eq(h_set(f, at_f, "/a", "y", 0), ZK_BADVERSION);
    ck_assert_int_eq(h_delete(f, at_f, "/a", 1), ZK_OK);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

H_SUITE("ensemble", three_servers_elect_one_and_all_serve,
        a_write_at_a_follower_is_done_and_seen_everywhere)
