/* Links between servers: who is greeted, and who is cut. */
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "replica/proto/peer_codec.h"
#include "tests/lib/unit.h"

#include <string.h>

/* One core of three, whose links the test holds the other ends of. */
struct world {
    struct harness *h;
    struct peer_hello hello[4]; /* the last one to each */
    int hellos[4], messages[4];
    bool dropped[4];
    char why[4][256];
};

static void heard(struct harness *h, const struct update *u) {
    struct world *w = h->world;
    if (u->type == UPD_PEER_DROP) {
        w->dropped[u->peer] = true;
        memcpy(w->why[u->peer], u->bytes.p, (size_t)u->bytes.len);
        w->why[u->peer][u->bytes.len] = '\0';
    }
    if (u->type != UPD_PEER_SEND)
        return;
    struct peer_message m;
    ck_assert(peer_decode(u->bytes, &m));
    if (m.is_hello) {
        w->hello[u->peer] = m.hello;
        w->hellos[u->peer]++;
    } else {
        w->messages[u->peer]++;
    }
    peer_message_close(&m);
}

static struct world *new_world(void) {
    static const struct quorum_server servers[] = {
        {1, true, 0, 1}, {2, true, 0, 1}, {3, true, 0, 1}};
    static struct world w;
    w = (struct world){0};
    struct replica_config config = h_config();
    config.server_id = 1;
    config.ensemble = (struct quorum_config){servers, 3};
    w.h = h_new(&config);
    w.h->world = &w;
    w.h->other = heard;
    h_start(w.h);
    return &w;
}

static void up(struct world *w, uint8_t peer) {
    h_step(w->h, (struct event){.type = EV_PEER_UP, .peer = peer});
}

static void send_bytes(struct world *w, uint8_t peer, const void *p, size_t n) {
    h_step(w->h, (struct event){.type = EV_PEER_MESSAGE, .peer = peer, .bytes = {p, (int32_t)n}});
}

static void send_hello(struct world *w, uint8_t peer, const struct peer_hello *hello) {
    struct buf b = BUF_INIT;
    peer_hello_encode(&b, hello);
    send_bytes(w, peer, b.data, b.len);
    buf_close(&b);
}

/* What the core itself would say in that peer's place. */
static struct peer_hello hello_of(const struct world *w, uint8_t peer) {
    struct peer_hello h = w->hello[peer];
    h.from = peer;
    h.to = 1;
    return h;
}

static void expect_cut(struct world *w, uint8_t peer, const char *why) {
    ck_assert_msg(w->dropped[peer], "not cut: %s", why);
    ck_assert_msg(strstr(w->why[peer], why) != NULL, "cut for %s", w->why[peer]);
    ck_assert_int_eq(w->messages[peer], 0);
}

START_TEST(a_link_begins_with_a_greeting_and_votes_follow_the_others) {
    struct world *w = new_world();
    up(w, 2);
    ck_assert_int_eq(w->hellos[2], 1);
    ck_assert_int_eq(w->hello[2].from, 1);
    ck_assert_int_eq(w->hello[2].to, 2);
    ck_assert_uint_eq(w->hello[2].ensemble_id, 0);
    ck_assert_int_eq(w->messages[2], 0);
    struct peer_hello h = hello_of(w, 2);
    send_hello(w, 2, &h);
    ck_assert_int_gt(w->messages[2], 0);
    ck_assert(!w->dropped[2]);
    h_free(w->h);
}
END_TEST

START_TEST(a_greeting_that_does_not_fit_cuts_the_link) {
    struct world *w = new_world();
    up(w, 2);
    struct peer_hello h = hello_of(w, 2);
    h.version++;
    send_hello(w, 2, &h);
    expect_cut(w, 2, "another version");
    w->dropped[2] = false;
    up(w, 2);
    h = hello_of(w, 2);
    h.from = 3;
    send_hello(w, 2, &h);
    expect_cut(w, 2, "another server");
    up(w, 2);
    h = hello_of(w, 2);
    h.to = 3;
    send_hello(w, 2, &h);
    expect_cut(w, 2, "another one");
    h_free(w->h);
}
END_TEST

START_TEST(what_comes_instead_of_a_greeting_cuts_the_link) {
    struct world *w = new_world();
    up(w, 2);
    send_bytes(w, 2, "\xff\xff\xff", 3);
    expect_cut(w, 2, "malformed");
    up(w, 3);
    struct buf b = BUF_INIT;
    struct zab_msg m = {.type = ZM_PING, .round = 1};
    peer_zab_encode(&b, &m);
    send_bytes(w, 3, b.data, b.len);
    expect_cut(w, 3, "before the greeting");
    /* What was on its way is passed over. */
    send_bytes(w, 3, b.data, b.len);
    buf_close(&b);
    h_free(w->h);
}
END_TEST

START_TEST(a_second_greeting_cuts_the_link) {
    struct world *w = new_world();
    up(w, 2);
    struct peer_hello h = hello_of(w, 2);
    send_hello(w, 2, &h);
    ck_assert(!w->dropped[2]);
    send_hello(w, 2, &h);
    ck_assert(w->dropped[2]);
    h_free(w->h);
}
END_TEST

START_TEST(who_is_none_of_the_ensemble_is_cut) {
    struct world *w = new_world();
    up(w, 1);
    expect_cut(w, 1, "none of this ensemble");
    h_free(w->h);
}
END_TEST

START_TEST(other_voters_are_worth_a_warning) {
    struct world *w = new_world();
    up(w, 2);
    struct peer_hello h = hello_of(w, 2);
    h.config_hash++;
    send_hello(w, 2, &h);
    ck_assert(!w->dropped[2]);
    ck_assert_ptr_nonnull(strstr(w->h->last_note, "other voters"));
    h_free(w->h);
}
END_TEST

START_TEST(a_foreign_history_is_cut_and_one_without_is_not) {
    struct ensemble *e = e_started(3, 0);
    ck_assert_uint_ne(e->h[0]->r->history_id, 0);
    ck_assert_uint_eq(e->h[0]->r->history_id, e->h[1]->r->history_id);
    struct harness *h = e->h[0];
    struct buf b = BUF_INIT;
    struct peer_hello hello = {.version = PEER_PROTOCOL_VERSION,
                               .from = 2,
                               .to = 1,
                               .ensemble_id = h->r->history_id + 1,
                               .config_hash = h->r->config_hash};
    peer_hello_encode(&b, &hello);
    e_cut(e, 0, 1);
    e->linked[0][1] = e->linked[1][0] = true; /* the test is the other end */
    h_event(h, (struct event){.type = EV_PEER_UP, .peer = 2});
    h_event(h,
            (struct event){.type = EV_PEER_MESSAGE, .peer = 2, .bytes = {b.data, (int32_t)b.len}});
    ck_assert(!h->r->peers[2].up);
    ck_assert_ptr_nonnull(strstr(h->last_note, "another ensemble"));
    hello.ensemble_id = 0;
    buf_reset(&b);
    peer_hello_encode(&b, &hello);
    h_event(h, (struct event){.type = EV_PEER_UP, .peer = 2});
    h_event(h,
            (struct event){.type = EV_PEER_MESSAGE, .peer = 2, .bytes = {b.data, (int32_t)b.len}});
    ck_assert(h->r->peers[2].known);
    buf_close(&b);
    e_free(e);
}
END_TEST

START_TEST(a_message_of_the_servers_that_is_malformed_cuts_the_link) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e), *f = e_follower(e);
    static const char *const payloads[] = {"\xff", ""};
    for (size_t i = 0; i < 2; i++) {
        struct buf b = BUF_INIT;
        struct blob *p = blob_new(payloads[i], strlen(payloads[i]));
        struct zab_msg m = {.type = ZM_APP, .payload = p};
        peer_zab_encode(&b, &m);
        e->held = true;
        h_event(l, (struct event){.type = EV_PEER_MESSAGE,
                                  .peer = f->config.server_id,
                                  .bytes = {b.data, (int32_t)b.len}});
        ck_assert(!l->r->peers[f->config.server_id].up);
        e->held = false;
        e_advance(e, 100);
        e_until_served(e);
        blob_unref(p);
        buf_close(&b);
    }
    e_free(e);
}
END_TEST

H_SUITE("peers", a_link_begins_with_a_greeting_and_votes_follow_the_others,
        a_greeting_that_does_not_fit_cuts_the_link, what_comes_instead_of_a_greeting_cuts_the_link,
        a_second_greeting_cuts_the_link, who_is_none_of_the_ensemble_is_cut,
        other_voters_are_worth_a_warning, a_foreign_history_is_cut_and_one_without_is_not,
        a_message_of_the_servers_that_is_malformed_cuts_the_link)
