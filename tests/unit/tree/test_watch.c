#include "replica/tree/watch.h"

#include "common/path.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct watch_table *w;
static char heard[8192]; /* `watcher:event ` for each call */
static size_t heard_len;

static void set_up(void) { w = watch_new(); }
static void tear_down(void) { watch_free(w); }

static void hear(void *ctx, conn_id_t watcher, enum zk_event event, struct slice path) {
    ck_assert_ptr_eq(ctx, &heard);
    ck_assert(path.len > 0 && path.p[0] == '/');
    heard_len += (size_t)snprintf(heard + heard_len, sizeof heard - heard_len, "%d:%d ",
                                  (int)watcher, (int)event);
    ck_assert_uint_lt(heard_len, sizeof heard);
}

static const char *fire(enum zk_event event, const char *path) {
    heard_len = 0;
    heard[0] = '\0';
    watch_fire(w, event, slice_from_str(path), hear, &heard);
    return heard;
}

static void add(enum watch_kind kind, const char *path, conn_id_t watcher) {
    watch_add(w, kind, slice_from_str(path), watcher);
}

static void assert_counts(uint64_t watches, uint64_t paths, uint64_t watchers) {
    ck_assert_uint_eq(watch_count(w), watches);
    ck_assert_uint_eq(watch_path_count(w), paths);
    ck_assert_uint_eq(watch_watcher_count(w), watchers);
}

START_TEST(a_deleted_znode_fires_its_data_watch) {
    add(WATCH_DATA, "/a", 1);
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/a"), "1:2 ");
    assert_counts(0, 0, 0);
}
END_TEST

START_TEST(a_deleted_znode_fires_its_child_watch) {
    add(WATCH_CHILD, "/a", 1);
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/a"), "1:2 ");
    assert_counts(0, 0, 0);
}
END_TEST

START_TEST(a_watch_fires_once) {
    add(WATCH_DATA, "/a", 1);
    ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/a"), "1:3 ");
    ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/a"), "");
}
END_TEST

START_TEST(each_event_reaches_the_watches_of_its_kind_only) {
    add(WATCH_DATA, "/a", 1);
    add(WATCH_CHILD, "/a", 2);
    ck_assert_str_eq(fire(EVENT_NODE_CHILDREN_CHANGED, "/a"), "2:4 ");
    ck_assert_str_eq(fire(EVENT_NODE_CHILDREN_CHANGED, "/a"), "");
    add(WATCH_CHILD, "/a", 2);
    ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/a"), "1:3 ");
    add(WATCH_DATA, "/a", 1);
    ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/a"), "1:1 ");
    ck_assert_str_eq(fire(EVENT_NONE, "/a"), "");
    assert_counts(1, 1, 1);
}
END_TEST

START_TEST(another_path_is_not_fired) {
    add(WATCH_DATA, "/a", 1);
    add(WATCH_CHILD, "/a", 1);
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/a/b"), "");
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/"), "");
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/aa"), "");
    assert_counts(2, 1, 1);
}
END_TEST

START_TEST(the_same_watch_added_again_is_one) {
    add(WATCH_DATA, "/a", 1);
    add(WATCH_DATA, "/a", 1);
    assert_counts(1, 1, 1);
    ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/a"), "1:1 ");
}
END_TEST

START_TEST(watchers_hear_in_the_order_in_which_they_watched) {
    add(WATCH_DATA, "/a", 3);
    add(WATCH_DATA, "/a", 1);
    add(WATCH_DATA, "/a", 2);
    add(WATCH_DATA, "/a", 3);
    ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/a"), "3:3 1:3 2:3 ");
}
END_TEST

START_TEST(a_deletion_reaches_both_kinds_in_order_and_each_watcher_once) {
    add(WATCH_CHILD, "/a", 5);
    add(WATCH_DATA, "/a", 4);
    add(WATCH_CHILD, "/a", 6);
    add(WATCH_DATA, "/a", 6);
    add(WATCH_DATA, "/a", 5);
    add(WATCH_CHILD, "/a", 7);
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/a"), "5:2 4:2 6:2 7:2 ");
    assert_counts(0, 0, 0);
}
END_TEST

START_TEST(a_removed_watch_does_not_fire) {
    add(WATCH_DATA, "/a", 1);
    add(WATCH_CHILD, "/a", 1);
    add(WATCH_DATA, "/a", 2);
    ck_assert(watch_remove(w, WATCH_DATA, slice_from_str("/a"), 1));
    ck_assert(!watch_remove(w, WATCH_DATA, slice_from_str("/a"), 1));
    ck_assert(!watch_remove(w, WATCH_DATA, slice_from_str("/b"), 1));
    ck_assert(!watch_remove(w, WATCH_CHILD, slice_from_str("/a"), 2));
    ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/a"), "2:3 ");
    assert_counts(1, 1, 1);
    ck_assert(watch_remove(w, WATCH_CHILD, slice_from_str("/a"), 1));
    assert_counts(0, 0, 0);
}
END_TEST

START_TEST(a_watch_is_told_by_kind_path_and_watcher) {
    add(WATCH_DATA, "/a", 1);
    ck_assert(watch_exists(w, WATCH_DATA, slice_from_str("/a"), 1));
    ck_assert(!watch_exists(w, WATCH_CHILD, slice_from_str("/a"), 1));
    ck_assert(!watch_exists(w, WATCH_DATA, slice_from_str("/a"), 2));
    ck_assert(!watch_exists(w, WATCH_DATA, slice_from_str("/b"), 1));
}
END_TEST

START_TEST(a_dropped_connection_watches_nothing_any_more) {
    add(WATCH_DATA, "/a", 1);
    add(WATCH_CHILD, "/a", 1);
    add(WATCH_DATA, "/b", 1);
    add(WATCH_DATA, "/a", 2);
    watch_drop(w, 1);
    watch_drop(w, 9);
    assert_counts(1, 1, 1);
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/a"), "2:2 ");
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/b"), "");
}
END_TEST

START_TEST(a_persistent_watch_hears_of_everything_and_stays) {
    add(WATCH_PERSISTENT, "/a", 1);
    for (int i = 0; i < 2; i++) {
        ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/a"), "1:1 ");
        ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/a"), "1:3 ");
        ck_assert_str_eq(fire(EVENT_NODE_CHILDREN_CHANGED, "/a"), "1:4 ");
        ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/a"), "1:2 ");
    }
    ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/a/b"), "");
    ck_assert_str_eq(fire(EVENT_NONE, "/a"), "");
    assert_counts(1, 1, 1);
}
END_TEST

START_TEST(a_recursive_watch_hears_of_all_below_and_never_of_children) {
    add(WATCH_RECURSIVE, "/a", 1);
    static const char *const inside[] = {"/a", "/a/b", "/a/b/c"};
    static const char *const outside[] = {"/", "/ab", "/b/a"};
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(fire(EVENT_NODE_CREATED, inside[i]), "1:1 ");
        ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, inside[i]), "1:3 ");
        ck_assert_str_eq(fire(EVENT_NODE_DELETED, inside[i]), "1:2 ");
        ck_assert_str_eq(fire(EVENT_NODE_CHILDREN_CHANGED, inside[i]), "");
        ck_assert_str_eq(fire(EVENT_NODE_CREATED, outside[i]), "");
    }
    add(WATCH_RECURSIVE, "/", 2);
    ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/a/b"), "1:1 2:1 ");
    ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/"), "2:3 ");
    ck_assert(watch_remove(w, WATCH_RECURSIVE, slice_from_str("/"), 2));
    watch_drop(w, 1);
    ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/a/b"), "");
    assert_counts(0, 0, 0);
}
END_TEST

START_TEST(each_watcher_hears_once_of_what_it_watches_in_several_ways) {
    add(WATCH_RECURSIVE, "/", 1);
    add(WATCH_RECURSIVE, "/a", 1);
    add(WATCH_PERSISTENT, "/a", 1);
    add(WATCH_DATA, "/a", 1);
    add(WATCH_CHILD, "/a", 1);
    ck_assert_str_eq(fire(EVENT_NODE_DELETED, "/a"), "1:2 ");
    assert_counts(3, 2, 1);
    ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/a"), "1:1 ");
    assert_counts(3, 2, 1);
}
END_TEST

/* A quarter of a million lookups; walking the recursive watches would be 2,500 million steps. */
START_TEST(a_change_costs_nothing_for_recursive_watches_elsewhere) {
    enum { N = 10000 };
    char path[32];
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "/p/%d", i);
        add(WATCH_RECURSIVE, path, (conn_id_t)i);
    }
    for (int i = 0; i < 250000; i++)
        ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/q/x"), "");
    ck_assert_str_eq(fire(EVENT_NODE_DATA_CHANGED, "/p/77/x/y"), "77:3 ");
}
END_TEST

START_TEST(no_table_is_freed_too) { watch_free(NULL); }
END_TEST

/* The model: a list of watches in order of addition. */
enum { MODEL_MAX = 4096, PATHS = 12, WATCHERS = 8 };
struct model_watch {
    enum watch_kind kind;
    int path, watcher;
};
static struct model_watch model[MODEL_MAX];
static size_t model_count;

/* The root, two parents, their children, and some beside them. */
static void path_of(int n, char *ret) {
    static const char *const parents[] = {"/", "/long", "/long/path", "/long/pat"};
    if (n < 4)
        strcpy(ret, parents[n]);
    else
        sprintf(ret, n % 3 ? "/p%d" : "/long/path/%d", n);
}

static size_t model_find(enum watch_kind kind, int path, int watcher) {
    size_t i = 0;
    while (i < model_count &&
           !(model[i].kind == kind && model[i].path == path && model[i].watcher == watcher))
        i++;
    return i;
}

static void model_remove(size_t i) {
    memmove(&model[i], &model[i + 1], (model_count - i - 1) * sizeof *model);
    model_count--;
}

static bool model_hears(enum zk_event event, enum watch_kind kind) {
    switch (kind) {
    case WATCH_DATA:
        return event != EVENT_NODE_CHILDREN_CHANGED;
    case WATCH_CHILD:
        return event == EVENT_NODE_DELETED || event == EVENT_NODE_CHILDREN_CHANGED;
    case WATCH_PERSISTENT:
        return true;
    case WATCH_RECURSIVE:
        return event != EVENT_NODE_CHILDREN_CHANGED;
    }
    return false;
}

/* The path itself first, then each of its parents, from the nearest on. */
static void model_fire(enum zk_event event, int path, char *ret) {
    bool done[WATCHERS] = {false};
    size_t len = 0;
    char of[32], at[32];
    ret[0] = '\0';
    path_of(path, of);
    for (struct slice level = slice_from_str(of); level.len > 0; level = path_parent(level)) {
        for (size_t i = 0; i < model_count;) {
            struct model_watch x = model[i];
            path_of(x.path, at);
            if (!slice_equal_str(level, at) || !model_hears(event, x.kind) ||
                (x.path != path && x.kind != WATCH_RECURSIVE)) {
                i++;
                continue;
            }
            if (!done[x.watcher])
                len += (size_t)sprintf(ret + len, "%d:%d ", x.watcher, (int)event);
            done[x.watcher] = true;
            if (x.kind == WATCH_PERSISTENT || x.kind == WATCH_RECURSIVE)
                i++;
            else
                model_remove(i);
        }
    }
}

static void assert_model_counts(void) {
    bool path[PATHS] = {false}, watcher[WATCHERS] = {false};
    uint64_t paths = 0, watchers = 0;
    for (size_t i = 0; i < model_count; i++) {
        paths += !path[model[i].path];
        watchers += !watcher[model[i].watcher];
        path[model[i].path] = watcher[model[i].watcher] = true;
    }
    assert_counts(model_count, paths, watchers);
}

static void random_step(struct prng *r) {
    static const enum zk_event all[] = {EVENT_NODE_CREATED, EVENT_NODE_DELETED,
                                        EVENT_NODE_DATA_CHANGED, EVENT_NODE_CHILDREN_CHANGED};
    enum watch_kind kind = (enum watch_kind)prng_below(r, 4);
    int p = (int)prng_below(r, PATHS), watcher = (int)prng_below(r, WATCHERS);
    char path[32], want[sizeof heard];
    path_of(p, path);
    size_t at = model_find(kind, p, watcher);
    bool there = at < model_count;
    ck_assert_int_eq(watch_exists(w, kind, slice_from_str(path), (conn_id_t)watcher), there);
    uint32_t what = (uint32_t)prng_below(r, 100);
    if (what < 70) {
        add(kind, path, (conn_id_t)watcher);
        if (!there)
            model[model_count++] = (struct model_watch){kind, p, watcher};
    } else if (what < 85) {
        enum zk_event event = all[prng_below(r, 4)];
        model_fire(event, p, want);
        ck_assert_str_eq(fire(event, path), want);
    } else if (what < 95) {
        ck_assert_int_eq(watch_remove(w, kind, slice_from_str(path), (conn_id_t)watcher), there);
        if (there)
            model_remove(at);
    } else {
        watch_drop(w, (conn_id_t)watcher);
        for (size_t i = model_count; i-- > 0;)
            if (model[i].watcher == watcher)
                model_remove(i);
    }
}

START_TEST(random_use_agrees_with_a_plain_list) {
    struct prng r;
    prng_init(&r, (uint64_t)_i);
    model_count = 0;
    for (int step = 0; step < 20000; step++) {
        random_step(&r);
        assert_model_counts();
    }
}
END_TEST

/* Each of these steps would take minutes if it walked all watches. */
START_TEST(many_thousand_watches_are_added_fired_and_dropped_in_no_time) {
    enum { N = 30000 };
    char path[32];
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "/p/%d", i);
        add(WATCH_DATA, path, (conn_id_t)i);
        add(WATCH_DATA, "/herd", (conn_id_t)i);
        add(WATCH_CHILD, path, N);
    }
    assert_counts(3 * N, N + 1, N + 1);
    for (int i = 0; i < N / 2; i++)
        watch_drop(w, (conn_id_t)i);
    assert_counts(3 * N - N, N + 1, N / 2 + 1);
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "/p/%d", i);
        ck_assert_uint_eq(strlen(fire(EVENT_NODE_DATA_CHANGED, path)) > 0, i >= N / 2);
        ck_assert(!watch_remove(w, WATCH_DATA, slice_from_str("/herd"), N));
    }
    for (int i = N / 2; i < N - 3; i++)
        watch_drop(w, (conn_id_t)i);
    ck_assert_str_eq(fire(EVENT_NODE_CREATED, "/herd"), "29997:1 29998:1 29999:1 ");
    watch_drop(w, N);
    assert_counts(0, 0, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("watch");
    TCase *c = tcase_create("watch");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_deleted_znode_fires_its_data_watch);
    tcase_add_test(c, a_deleted_znode_fires_its_child_watch);
    tcase_add_test(c, a_watch_fires_once);
    tcase_add_test(c, each_event_reaches_the_watches_of_its_kind_only);
    tcase_add_test(c, another_path_is_not_fired);
    tcase_add_test(c, the_same_watch_added_again_is_one);
    tcase_add_test(c, watchers_hear_in_the_order_in_which_they_watched);
    tcase_add_test(c, a_deletion_reaches_both_kinds_in_order_and_each_watcher_once);
    tcase_add_test(c, a_removed_watch_does_not_fire);
    tcase_add_test(c, a_watch_is_told_by_kind_path_and_watcher);
    tcase_add_test(c, a_dropped_connection_watches_nothing_any_more);
    tcase_add_test(c, a_persistent_watch_hears_of_everything_and_stays);
    tcase_add_test(c, a_recursive_watch_hears_of_all_below_and_never_of_children);
    tcase_add_test(c, each_watcher_hears_once_of_what_it_watches_in_several_ways);
    tcase_add_test(c, a_change_costs_nothing_for_recursive_watches_elsewhere);
    tcase_add_test(c, no_table_is_freed_too);
    tcase_add_loop_test(c, random_use_agrees_with_a_plain_list, 0, 5);
    tcase_add_test(c, many_thousand_watches_are_added_fired_and_dropped_in_no_time);
    suite_add_tcase(s, c);
    return s;
}
