#include "replica/server/conn.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/hash.h"
#include "replica/server/list.h"
#include "replica/server/session.h"

#include <string.h>

struct conn_addr {
    struct htab_link link;
    int32_t len;
    int32_t count;
    uint8_t addr[16];
};

void conns_init(struct conns *cs) {
    *cs = (struct conns){0};
    htab_init(&cs->by_id);
    htab_init(&cs->by_addr);
}

struct conn *conn_find(const struct conns *cs, conn_id_t id) {
    for (struct htab_link *l = htab_chain(&cs->by_id, hash_id(id)); l; l = l->next) {
        struct conn *c = HTAB_ENTRY(l, struct conn, by_id);
        if (c->id == id)
            return c;
    }
    return NULL;
}

static struct conn_addr *addr_find(const struct conns *cs, const uint8_t *addr, int32_t len) {
    uint32_t hash = hash_bytes(addr, (size_t)len);
    for (struct htab_link *l = htab_chain(&cs->by_addr, hash); l; l = l->next) {
        struct conn_addr *a = HTAB_ENTRY(l, struct conn_addr, link);
        if (a->len == len && memcmp(a->addr, addr, (size_t)len) == 0)
            return a;
    }
    return NULL;
}

int32_t conn_count_of(const struct conns *cs, const uint8_t *addr, int32_t addr_len) {
    const struct conn_addr *a = addr_find(cs, addr, addr_len);
    return a ? a->count : 0;
}

static void addr_ref(struct conns *cs, const struct conn *c) {
    struct conn_addr *a = addr_find(cs, c->addr, c->addr_len);
    if (!a) {
        a = mem_zalloc(sizeof *a);
        a->len = c->addr_len;
        memcpy(a->addr, c->addr, (size_t)c->addr_len);
        a->link.hash = hash_bytes(a->addr, (size_t)a->len);
        htab_insert(&cs->by_addr, &a->link);
    }
    a->count++;
}

static void addr_unref(struct conns *cs, const struct conn *c) {
    struct conn_addr *a = addr_find(cs, c->addr, c->addr_len);
    CHECK(a);
    if (--a->count > 0)
        return;
    htab_remove(&cs->by_addr, &a->link);
    mem_free(a);
}

void conn_stats_reset(struct conn_stats *s) {
    *s = (struct conn_stats){
        .min_latency_ms = INT64_MAX, .last_op = "NA", .last_cxid = -1, .last_zxid = -1};
}

struct conn *conn_add(struct conns *cs, conn_id_t id, const uint8_t *addr, int32_t addr_len,
                      uint16_t port) {
    CHECK(addr_len == 4 || addr_len == 16);
    CHECK(!conn_find(cs, id));
    struct conn *c = mem_zalloc(sizeof *c);
    c->id = id;
    c->addr_len = addr_len;
    memcpy(c->addr, addr, (size_t)addr_len);
    c->port = port;
    auth_init(&c->ids, addr, addr_len);
    conn_stats_reset(&c->stats);
    c->by_id.hash = hash_id(id);
    htab_insert(&cs->by_id, &c->by_id);
    addr_ref(cs, c);
    DL_APPEND(cs->all, c);
    DL_APPEND2(cs->handshakes, c, handshake_prev, handshake_next);
    cs->count++;
    return c;
}

void conn_established(struct conns *cs, struct conn *c) {
    CHECK(c->state != CONN_LIVE);
    c->state = CONN_LIVE;
    DL_DELETE2(cs->handshakes, c, handshake_prev, handshake_next);
}

void conn_remove(struct conns *cs, struct conn *c) {
    CHECK(!c->first);
    CHECK(!c->in_run_list);
    CHECK(!c->paused);
    if (c->state != CONN_LIVE)
        DL_DELETE2(cs->handshakes, c, handshake_prev, handshake_next);
    DL_DELETE(cs->all, c);
    htab_remove(&cs->by_id, &c->by_id);
    addr_unref(cs, c);
    cs->count--;
    auth_close(&c->ids);
    mem_free(c);
}

session_id_t conn_session_id(const struct conn *c) {
    if (c->read_only)
        return c->read_only_session;
    return c->session ? c->session->id : 0;
}

void conns_close(struct conns *cs) {
    while (cs->all)
        conn_remove(cs, cs->all);
    htab_close(&cs->by_id);
    htab_close(&cs->by_addr);
}
