#include "replica/server/session.h"

#include "common/check.h"
#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "replica/server/hash.h"
#include "replica/server/list.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>

/* The bits of an id below the server's number. */
#define ID_BITS 56
#define ID_MASK ((1ULL << ID_BITS) - 1)

void sessions_init(struct sessions *ss, uint8_t server_id, int32_t tick_ms) {
    CHECK(tick_ms > 0);
    *ss = (struct sessions){.server_id = server_id, .tick_ms = tick_ms, .deadline_ms = INT64_MAX};
    htab_init(&ss->by_id);
}

void sessions_close(struct sessions *ss) {
    while (ss->all)
        session_remove(ss, ss->all);
    htab_close(&ss->by_id);
}

struct session *session_find(const struct sessions *ss, session_id_t id) {
    for (struct htab_link *l = htab_chain(&ss->by_id, hash_id((uint64_t)id)); l; l = l->next) {
        struct session *s = HTAB_ENTRY(l, struct session, by_id);
        if (s->id == id)
            return s;
    }
    return NULL;
}

struct session *session_add(struct sessions *ss, session_id_t id, int32_t timeout_ms) {
    CHECK(!session_find(ss, id));
    struct session *s = mem_zalloc(sizeof *s);
    s->id = id;
    s->timeout_ms = timeout_ms;
    s->slot = -1;
    s->by_id.hash = hash_id((uint64_t)id);
    htab_insert(&ss->by_id, &s->by_id);
    DL_APPEND(ss->all, s);
    ss->count++;
    sessions_note_given(ss, id);
    return s;
}

void sessions_note_given(struct sessions *ss, session_id_t id) {
    session_id_t *greatest = &ss->given[(uint64_t)id >> ID_BITS];
    if (*greatest == 0 || (uint64_t)id > (uint64_t)*greatest)
        *greatest = id;
}

/* The greatest id of this server less its number. */
static uint64_t max_count(const struct sessions *ss) {
    return (uint64_t)ss->given[ss->server_id] & ID_MASK;
}

void session_remove(struct sessions *ss, struct session *s) {
    expiry_forget(ss, s);
    htab_remove(&ss->by_id, &s->by_id);
    DL_DELETE(ss->all, s);
    ss->count--;
    retry_close(&s->results);
    mem_free(s);
}

void sessions_set_secret(struct sessions *ss, const struct blob *secret) {
    CHECK(secret->len <= sizeof ss->secret);
    memcpy(ss->secret, secret->bytes, secret->len);
    ss->secret_len = secret->len;
    ss->has_secret = true;
}

/* Sessions that an earlier life of this process asked its leader for may be in flight and not seen
 * yet when this one begins. They are less than the requests that a leader takes. */
#define IDS_UNSEEN 65536u

void sessions_begin_ids(struct sessions *ss, int64_t wall_ms) {
    uint64_t server = (uint64_t)ss->server_id << ID_BITS;
    uint64_t by_clock = (((uint64_t)wall_ms << 24) >> 8) & ID_MASK;
    uint64_t above = (max_count(ss) + IDS_UNSEEN) & ID_MASK;
    uint64_t begin = by_clock > above ? by_clock : above;
    uint64_t next = (uint64_t)ss->next_id & ID_MASK;
    ss->next_id = (session_id_t)(server | (begin > next ? begin : next));
}

session_id_t session_next_id(struct sessions *ss) {
    uint64_t id = (uint64_t)ss->next_id;
    /* What was in flight when they were begun may have been applied since. */
    if ((id & ID_MASK) <= max_count(ss))
        id = (id & ~ID_MASK) | ((max_count(ss) + 1) & ID_MASK);
    /* Once in the year 2039 server 255, for 4.7 hours, and server 128, with one id, would name
     * sessions what TTL znodes and containers have as their owners. */
    while (ephemeral_is_extended((session_id_t)id))
        id = (id | (uint64_t)EPHEMERAL_TTL_MAX_MS) + 1;
    ss->next_id = (session_id_t)((id & ~ID_MASK) | ((id + 1) & ID_MASK));
    return (session_id_t)id;
}

void session_password(const struct sessions *ss, session_id_t id, uint8_t out[PASSWD_BYTES]) {
    CHECK(ss->has_secret);
    uint8_t be[8];
    for (int i = 0; i < 8; i++)
        be[i] = (uint8_t)((uint64_t)id >> (56 - 8 * i));
    struct hmac_sha256_ctx hmac;
    hmac_sha256_set_key(&hmac, ss->secret_len, ss->secret);
    hmac_sha256_update(&hmac, sizeof be, be);
    hmac_sha256_digest(&hmac, PASSWD_BYTES, out);
}

bool session_password_ok(const struct sessions *ss, session_id_t id, struct slice passwd) {
    if (passwd.len != PASSWD_BYTES)
        return false;
    uint8_t want[PASSWD_BYTES];
    session_password(ss, id, want);
    return memeql_sec(want, passwd.p, PASSWD_BYTES) != 0;
}
