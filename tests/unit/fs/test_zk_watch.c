/* Who hears of what through fs/zk: watchers, once; subscribers, until they leave. And that the
 * server forgets what nobody waits for any more. */
#include "common/zkerr.h"
#include "tests/lib/unit.h"
#include "tests/unit/fs/zk_harness.h"

#include <stdio.h>
#include <string.h>

/* What they heard, in order: `NAME:EVENT PATH;` or `NAME:gap;`. */
static char heard[1024];

struct ear {
    struct zk_subscriber s;
    const char *name;
    struct zk_subscriber *drops; /* leaves when this one hears something */
};

static void hear(const char *text) {
    ck_assert_uint_lt(strlen(heard) + strlen(text), sizeof heard);
    strcat(heard, text);
}

static void on_event(struct zk_subscriber *s, enum zk_event event, struct slice path, zxid_t zxid) {
    struct ear *e = (struct ear *)s;
    char text[300];
    snprintf(text, sizeof text, "%s:%d %.*s@%d;", e->name, event, (int)path.len,
             (const char *)path.p, (int)zxid);
    hear(text);
    if (e->drops)
        zk_remove_watch(zk, e->drops);
}

static void on_gap(struct zk_subscriber *s) {
    struct ear *e = (struct ear *)s;
    hear(e->name);
    hear(":gap;");
    if (e->drops)
        zk_remove_watch(zk, e->drops);
}

static struct ear ear(const char *name) {
    return (struct ear){.s = {.fn = on_event, .gap = on_gap}, .name = name};
}

static void start(void) {
    heard[0] = '\0';
    setup();
}

static void start_ours(void) {
    start();
    fake.ours = true;
    connect_zk();
}

static void subscribe(struct ear *e, const char *path, bool recursive) {
    zk_add_watch(zk, S(path), recursive, &e->s, on_result, NULL);
    ck_assert_int_eq(got.calls, 0);
    wait_result(ZK_OK);
}

/* Everything that is on its way has come, there and back. */
static void settle(void) {
    zk_sync(zk, S("/"), on_result, NULL);
    wait_result(ZK_OK);
}

static void tell(enum zk_event type, const char *path, zxid_t zxid) {
    fake_event(&fake, type, path, zxid);
    settle();
}

START_TEST(a_subscriber_hears_of_its_path_until_it_leaves) {
    static struct ear a;
    a = ear("a");
    subscribe(&a, "/a", false);
    ck_assert_str_eq(fake.added.path, "/a");
    ck_assert_int_eq(fake.added.mode, ADD_WATCH_PERSISTENT);
    tell(EVENT_NODE_CREATED, "/a", 2001);
    tell(EVENT_NODE_CHILDREN_CHANGED, "/a", 2002);
    tell(EVENT_NODE_CREATED, "/a/b", 2003); /* of somebody else's watch */
    tell(EVENT_NODE_DELETED, "/a", -1);
    ck_assert_str_eq(heard, "a:1 /a@2001;a:4 /a@2002;a:2 /a@-1;");
    zk_remove_watch(zk, &a.s);
    zk_remove_watch(zk, &a.s);
    tell(EVENT_NODE_CREATED, "/a", 2004);
    ck_assert_str_eq(heard, "a:1 /a@2001;a:4 /a@2002;a:2 /a@-1;");
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 1);
    ck_assert_str_eq(fake.removed.path, "/a");
    ck_assert_int_eq(fake.removed.mode, WATCHER_PERSISTENT);
}
END_TEST

START_TEST(a_recursive_subscriber_hears_of_all_below) {
    static struct ear a, r;
    a = ear("a");
    r = ear("r");
    subscribe(&a, "/a", true);
    ck_assert_int_eq(fake.added.mode, ADD_WATCH_RECURSIVE);
    subscribe(&r, "/", true);
    tell(EVENT_NODE_CREATED, "/a/b/c", 1);
    tell(EVENT_NODE_DATA_CHANGED, "/ab", 2);
    tell(EVENT_NODE_CHILDREN_CHANGED, "/a", 3);
    tell(EVENT_NODE_DELETED, "/", 4);
    ck_assert_str_eq(heard, "a:1 /a/b/c@1;r:1 /a/b/c@1;r:3 /ab@2;r:2 /@4;");
    zk_remove_watch(zk, &r.s);
    settle();
    ck_assert_int_eq(fake.removed.mode, WATCHER_RECURSIVE);
}
END_TEST

START_TEST(subscribers_of_one_path_share_one_watch) {
    static struct ear a, b, r;
    a = ear("a");
    b = ear("b");
    r = ear("r");
    subscribe(&a, "/a", false);
    subscribe(&b, "/a", false);
    ck_assert_int_eq(fake.requests[OP_ADD_WATCH], 1);
    subscribe(&r, "/a", true);
    ck_assert_int_eq(fake.requests[OP_ADD_WATCH], 2);
    tell(EVENT_NODE_CREATED, "/a", 5);
    ck_assert_str_eq(heard, "a:1 /a@5;b:1 /a@5;r:1 /a@5;");
    zk_remove_watch(zk, &a.s);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
    zk_remove_watch(zk, &b.s);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 1);
    subscribe(&b, "/a", false);
    ck_assert_int_eq(fake.requests[OP_ADD_WATCH], 3);
}
END_TEST

START_TEST(a_subscriber_may_make_others_leave_when_it_hears) {
    static struct ear a, b, c;
    a = ear("a");
    b = ear("b");
    c = ear("c");
    subscribe(&a, "/a", false);
    subscribe(&b, "/a", false);
    subscribe(&c, "/", true);
    a.drops = &b.s;
    tell(EVENT_NODE_CREATED, "/a", 5);
    ck_assert_str_eq(heard, "a:1 /a@5;c:1 /a@5;");
    a.drops = &a.s;
    tell(EVENT_NODE_CREATED, "/a", 6);
    c.drops = &c.s;
    fake_drop(&fake);
    settle();
    ck_assert_str_eq(heard, "a:1 /a@5;c:1 /a@5;a:1 /a@6;c:1 /a@6;c:gap;");
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 2);
}
END_TEST

START_TEST(a_refused_subscriber_belongs_to_nothing) {
    static struct ear a;
    a = ear("a");
    fake.add_err = ZK_UNIMPLEMENTED;
    zk_add_watch(zk, S("/a"), false, &a.s, on_result, NULL);
    wait_result(ZK_UNIMPLEMENTED);
    ck_assert_ptr_null(a.s.on);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
    fake.add_err = 0;
    subscribe(&a, "/a", false);
}
END_TEST

START_TEST(one_that_leaves_while_it_is_asked_for_is_removed_behind_that) {
    static struct ear a, b;
    a = ear("a");
    b = ear("b");
    connect_zk();
    zk_add_watch(zk, S("/a"), false, &a.s, on_result, NULL);
    zk_remove_watch(zk, &a.s); /* nothing was sent */
    settle();
    ck_assert_int_eq(fake.requests[OP_ADD_WATCH], 0);
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
    zk_add_watch(zk, S("/a"), false, &a.s, on_result, NULL);
    uint64_t token = zk_add_watch(zk, S("/b"), false, &b.s, on_result, NULL);
    zk_exists(zk, S("/"), on_result, NULL);
    uv_run(&loop, UV_RUN_NOWAIT); /* sent, not answered */
    ck_assert_int_eq(got.calls, 0);
    zk_remove_watch(zk, &a.s);
    zk_cancel(zk, token);
    ck_assert_ptr_null(b.s.on);
    wait_result(ZK_OK); /* of exists alone */
    settle();
    ck_assert_int_eq(fake.requests[OP_ADD_WATCH], 2);
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 2);
}
END_TEST

START_TEST(an_add_watch_without_an_answer_is_removed) {
    static struct ear a;
    a = ear("a");
    connect_zk();
    fake.mute_adds = true;
    zk_add_watch(zk, S("/a"), false, &a.s, on_result, NULL);
    wait_result(ZK_CONNECTIONLOSS);
    ck_assert_ptr_null(a.s.on);
    fake.mute_adds = false;
    fake_drop(&fake);
    settle();
    /* Once for each connection: the fake may have seen it before it dropped the first one. */
    ck_assert_int_ge(fake.requests[OP_REMOVE_WATCHES], 1);
    ck_assert_str_eq(fake.removed.path, "/a");
}
END_TEST

START_TEST(a_subscriber_hears_nothing_before_its_answer) {
    static struct ear a, r;
    a = ear("a");
    r = ear("r");
    subscribe(&r, "/", true);
    fake.mute_adds = true;
    zk_add_watch(zk, S("/a"), false, &a.s, on_result, NULL);
    while (fake.requests[OP_ADD_WATCH] < 2)
        ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    fake_event(&fake, EVENT_NODE_CREATED, "/a", 9);
    while (!*heard)
        ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    ck_assert_str_eq(heard, "r:1 /a@9;");
    zk_remove_watch(zk, &a.s);
}
END_TEST

START_TEST(a_gap_is_told_where_the_server_does_not_replay) {
    static struct ear a, r, silent;
    a = ear("a");
    r = ear("r");
    silent = ear("silent");
    silent.s.gap = NULL;
    subscribe(&a, "/a", false);
    subscribe(&silent, "/a", false);
    subscribe(&r, "/r", true);
    fake_drop(&fake);
    settle();
    tell(EVENT_NODE_CREATED, "/a", 7);
    ck_assert_str_eq(heard, "a:gap;r:gap;a:1 /a@7;silent:1 /a@7;");
    ck_assert_int_eq(fake.requests[OP_SET_WATCHES2], 1);
}
END_TEST

START_TEST(our_own_servers_leave_no_gap_unless_they_say_so) {
    static struct ear a;
    a = ear("a");
    subscribe(&a, "/a", false);
    fake_drop(&fake);
    settle();
    ck_assert_str_eq(heard, "");
    fake.again_err = ZK_WATCHGAP;
    fake_drop(&fake);
    settle();
    ck_assert_str_eq(heard, "a:gap;");
}
END_TEST

START_TEST(older_servers_are_asked_to_remove_all_of_a_path_unless_one_is_needed) {
    static struct ear a, b, r;
    a = ear("a");
    b = ear("b");
    r = ear("r");
    fake.old_types = true;
    subscribe(&a, "/a", false);
    zk_remove_watch(zk, &a.s);
    settle();
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 2);
    ck_assert_int_eq(fake.removed.mode, WATCHER_ANY);
    subscribe(&b, "/b", false);
    subscribe(&r, "/b", true);
    zk_remove_watch(zk, &b.s);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 2);
    zk_remove_watch(zk, &r.s);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 3);
    ck_assert_int_eq(fake.removed.mode, WATCHER_ANY);
}
END_TEST

/* ---- one-shot ---- */

struct once {
    struct zk_watcher w;
    const char *name;
    bool again; /* watches anew when it hears */
};

static void on_once(struct zk_watcher *w, enum zk_event event, zxid_t zxid) {
    struct once *o = (struct once *)w;
    char text[64];
    snprintf(text, sizeof text, "%s:%d;", o->name, event);
    hear(text);
    if (o->again)
        zk_watch_exists(zk, S("/a"), w, on_result, NULL);
}

static struct once once(const char *name) {
    return (struct once){.w = {.fn = on_once}, .name = name};
}

START_TEST(the_last_watcher_that_leaves_takes_the_watch_along) {
    static struct once a, b;
    a = once("a");
    b = once("b");
    fake_create(&fake, "/a", "");
    zk_watch_get(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_OK);
    zk_watch_exists(zk, S("/a"), &b.w, on_result, NULL);
    wait_result(ZK_OK);
    zk_unwatch(zk, &a.w);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
    zk_unwatch(zk, &b.w);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 1);
    ck_assert_str_eq(fake.removed.path, "/a");
    ck_assert_int_eq(fake.removed.mode, WATCHER_DATA);
    zk_watch_children(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_OK);
    zk_unwatch(zk, &a.w);
    settle();
    ck_assert_int_eq(fake.removed.mode, WATCHER_CHILDREN);
    ck_assert_str_eq(heard, "");
}
END_TEST

START_TEST(a_watch_that_fired_is_not_removed_but_its_other_kind_is) {
    static struct once a;
    a = once("a");
    fake_create(&fake, "/a", "");
    zk_watch_get(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_OK);
    tell(EVENT_NODE_DATA_CHANGED, "/a", -1);
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
    zk_watch_get(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_OK);
    zk_watch_children(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_OK);
    tell(EVENT_NODE_DATA_CHANGED, "/a", -1);
    settle();
    ck_assert_str_eq(heard, "a:3;a:3;");
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 1);
    ck_assert_int_eq(fake.removed.mode, WATCHER_CHILDREN);
}
END_TEST

START_TEST(a_read_under_way_keeps_the_watch_that_it_arms) {
    static struct once a, b;
    a = once("a");
    b = once("b");
    fake_create(&fake, "/a", "");
    zk_watch_get(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_OK);
    zk_watch_get(zk, S("/a"), &b.w, on_result, NULL);
    uv_run(&loop, UV_RUN_NOWAIT); /* sent, not answered */
    ck_assert_int_eq(got.calls, 0);
    zk_unwatch(zk, &a.w);
    wait_result(ZK_OK);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
    tell(EVENT_NODE_DATA_CHANGED, "/a", -1);
    ck_assert_str_eq(heard, "b:3;");
}
END_TEST

START_TEST(a_read_that_nobody_waits_for_leaves_no_watch) {
    static struct once a;
    a = once("a");
    connect_zk();
    zk_watch_exists(zk, S("/no"), &a.w, on_result, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    zk_unwatch(zk, &a.w);
    wait_result(ZK_NONODE);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 1);
    uint64_t token = zk_watch_children(zk, S("/"), &a.w, on_result, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    zk_cancel(zk, token);
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 2);
    ck_assert_int_eq(fake.removed.mode, WATCHER_CHILDREN);
    token = zk_watch_children(zk, S("/"), &a.w, on_result, NULL);
    zk_cancel(zk, token); /* nothing was sent */
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 2);
}
END_TEST

START_TEST(what_was_given_up_before_a_server_got_it_is_not_removed_there) {
    static struct once a;
    static struct ear s;
    a = once("a");
    s = ear("s");
    connect_zk();
    fake.refuse = true;
    fake_drop(&fake);
    while (zk_state(zk) == CLIENT_CONNECTED)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++) {
        uint64_t token = zk_watch_get(zk, S("/a"), &a.w, on_result, NULL);
        zk_add_watch(zk, S("/s"), true, &s.s, on_result, NULL);
        uv_run(&loop, UV_RUN_NOWAIT); /* the client has them, and they wait */
        zk_cancel(zk, token);
        zk_unwatch(zk, &a.w);
        zk_remove_watch(zk, &s.s);
    }
    fake.refuse = false;
    settle();
    ck_assert_int_eq(fake.requests[OP_GET_DATA], 0);
    ck_assert_int_eq(fake.requests[OP_ADD_WATCH], 0);
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
}
END_TEST

START_TEST(a_watcher_may_watch_anew_from_its_callback) {
    static struct once a;
    a = once("a");
    a.again = true;
    zk_watch_exists(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_NONODE);
    fake_event(&fake, EVENT_NODE_CREATED, "/a", -1);
    wait_result(ZK_NONODE);
    a.again = false;
    tell(EVENT_NODE_DELETED, "/a", -1);
    ck_assert_str_eq(heard, "a:1;a:2;");
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], 0);
}
END_TEST

START_TEST(watchers_and_subscribers_of_a_path_do_not_take_each_others_watch) {
    static struct ear s;
    s = ear("s");
    static struct once a;
    a = once("a");
    subscribe(&s, "/a", false);
    zk_watch_exists(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_NONODE);
    tell(EVENT_NODE_CREATED, "/a", 3);
    ck_assert_str_eq(heard, "a:1;s:1 /a@3;");
    zk_watch_exists(zk, S("/a"), &a.w, on_result, NULL);
    wait_result(ZK_NONODE);
    zk_unwatch(zk, &a.w); /* before 3.9 the persistent watch would go with it */
    settle();
    ck_assert_int_eq(fake.requests[OP_REMOVE_WATCHES], fake.ours ? 1 : 0);
}
END_TEST

Suite *unit_suite(void) {
    const TTest *any[] = {
        a_subscriber_hears_of_its_path_until_it_leaves,
        a_recursive_subscriber_hears_of_all_below,
        subscribers_of_one_path_share_one_watch,
        a_subscriber_may_make_others_leave_when_it_hears,
        a_refused_subscriber_belongs_to_nothing,
        one_that_leaves_while_it_is_asked_for_is_removed_behind_that,
        an_add_watch_without_an_answer_is_removed,
        a_subscriber_hears_nothing_before_its_answer,
        a_gap_is_told_where_the_server_does_not_replay,
        older_servers_are_asked_to_remove_all_of_a_path_unless_one_is_needed,
        the_last_watcher_that_leaves_takes_the_watch_along,
        a_watch_that_fired_is_not_removed_but_its_other_kind_is,
        a_read_under_way_keeps_the_watch_that_it_arms,
        a_read_that_nobody_waits_for_leaves_no_watch,
        what_was_given_up_before_a_server_got_it_is_not_removed_there,
        a_watcher_may_watch_anew_from_its_callback,
        watchers_and_subscribers_of_a_path_do_not_take_each_others_watch,
    };
    Suite *s = suite_create("zk_watch");
    TCase *t = tcase_create("zk_watch");
    tcase_set_timeout(t, 20);
    tcase_add_checked_fixture(t, start, teardown);
    for (size_t i = 0; i < sizeof any / sizeof any[0]; i++)
        tcase_add_test(t, any[i]);
    suite_add_tcase(s, t);
    t = tcase_create("ours");
    tcase_set_timeout(t, 20);
    tcase_add_checked_fixture(t, start_ours, teardown);
    tcase_add_test(t, our_own_servers_leave_no_gap_unless_they_say_so);
    tcase_add_test(t, watchers_and_subscribers_of_a_path_do_not_take_each_others_watch);
    suite_add_tcase(s, t);
    return s;
}
