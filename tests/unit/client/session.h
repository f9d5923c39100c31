/* What the tests of the client session share: one driver, and the sentences about it that most of
 * them begin and end with. Inline, for not every program uses all of them. */
#ifndef ZKFS_TESTS_UNIT_CLIENT_SESSION_H
#define ZKFS_TESTS_UNIT_CLIENT_SESSION_H

#include "tests/lib/unit.h"
#include "tests/unit/client/driver.h"

static struct driver d;

static inline void one_server(void) { driver_init(&d, 1, 9000); }

static inline void established(void) {
    one_server();
    driver_establish(&d);
}

static inline void teardown(void) { driver_close(&d); }

static inline void assert_reply(uint64_t token, int32_t err) {
    const struct client_update *u = driver_reply_to(&d, token);
    ck_assert_msg(u, "no reply to %d", (int)token);
    ck_assert_int_eq(u->err, err);
}

static inline struct driver_frame take(void) {
    struct driver_frame f;
    ck_assert(driver_take(&d, true, &f));
    return f;
}

/* The connection breaks; up to the next one's handshake, whose answer is the test's. */
static inline void connect_again(void) {
    driver_event(&d, CE_LOST);
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
}

/* And comes back in the same session. */
static inline void reconnect(void) {
    connect_again();
    driver_connect_response(&d, 0x1234, 9000);
}

/* One string, or none with NULL. */
static inline void assert_only(const struct jvec *v, const char *path) {
    ck_assert_int_eq(v->count, path ? 1 : 0);
    int32_t at = 0;
    struct slice s;
    if (path) {
        ck_assert(jvec_next_string(v, &at, &s));
        ck_assert(slice_equal_str(s, path));
    }
}

static inline void assert_nothing_sent(void) {
    struct driver_frame f;
    ck_assert(!driver_take(&d, true, &f));
}

#endif
