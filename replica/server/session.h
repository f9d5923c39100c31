/* The sessions of the service and when they expire. Who lives is decided by transactions: a session
 * comes with CREATE_SESSION and goes with CLOSE_SESSION; the clock only decides when to propose the
 * latter. */
#ifndef ZKFS_REPLICA_SERVER_SESSION_H
#define ZKFS_REPLICA_SERVER_SESSION_H

#include "common/blob.h"
#include "common/proto.h"
#include "replica/server/limits.h"
#include "replica/server/retry.h"
#include "replica/tree/htab.h"

struct conn;

/* The ensemble's secret: as long as the key of its HMAC; a later version's may be longer. */
#define SESSION_SECRET_BYTES 32
#define SESSION_SECRET_MAX 64

struct session {
    struct htab_link by_id;
    session_id_t id;
    int32_t timeout_ms;
    bool committed; /* its CREATE_SESSION is applied; before, only its own connection knows it */
    bool retries;   /* keeps its results (docs/client-retries.md) */
    struct retry_window results;
    struct conn *conn; /* NULL while nobody is connected here */
    /* What a leader knows beyond what is committed; forgotten with the leadership. */
    bool proposed;  /* its CREATE_SESSION is in flight */
    bool closing;   /* its CLOSE_SESSION is in flight: it takes no request any more */
    bool has_owner; /* `owner` is known */
    uint8_t owner;  /* the server that its client is connected to */
    /* A learner's, for the leader. */
    bool heard;         /* since the last APP_TOUCH */
    int64_t expires_ms; /* on the sessions' clock; 0: nobody watches it yet */
    int32_t slot;       /* in the expiry ring, -1 none */
    struct session *slot_prev, *slot_next;
    struct session *prev, *next; /* all, in order of creation */
};

struct sessions {
    struct htab by_id;
    struct session *all;
    uint64_t count;
    session_id_t next_id;
    /* The greatest id of each server, by its number, that was ever seen; 0: none. */
    session_id_t given[256];
    uint8_t server_id;
    bool has_secret;
    uint8_t secret[SESSION_SECRET_MAX];
    uint32_t secret_len;
    /* session_expiry.c */
    int32_t tick_ms;
    int64_t clock_ms; /* mono_ms less what this process stood still */
    int64_t stalled_ms;
    int64_t ring_ms; /* start of the ring's first bucket, a multiple of tick_ms */
    struct session *ring[EXPIRY_SLOTS];
    uint64_t ring_count;
    bool ring_changed;   /* deadline_ms is out of date */
    int64_t deadline_ms; /* what expiry_deadline found last */
};

void sessions_init(struct sessions *ss, uint8_t server_id, int32_t tick_ms);
void sessions_close(struct sessions *ss);
struct session *session_find(const struct sessions *ss, session_id_t id);
/* Adds a session that is not there yet (CHECK). */
struct session *session_add(struct sessions *ss, session_id_t id, int32_t timeout_ms);
void session_remove(struct sessions *ss, struct session *s);

/* The key of the passwords, from the ensemble's first transaction. Copied; at most
 * SESSION_SECRET_MAX bytes (CHECK). */
void sessions_set_secret(struct sessions *ss, const struct blob *secret);
/* Where ids go on: by the wall clock as ZooKeeper's initializeNextSessionId does it, but always
 * above every id that this server gave out before, whatever the clock does. */
void sessions_begin_ids(struct sessions *ss, int64_t wall_ms);
session_id_t session_next_id(struct sessions *ss);
/* A server has given this id out, whether its session is still there or not. */
void sessions_note_given(struct sessions *ss, session_id_t id);
/* The first 16 bytes of HMAC-SHA256(secret, id): who only knows an id cannot take the session over.
 */
void session_password(const struct sessions *ss, session_id_t id, uint8_t out[PASSWD_BYTES]);
/* In constant time; false for any other length. */
bool session_password_ok(const struct sessions *ss, session_id_t id, struct slice passwd);

/* session_expiry.c: sessions are due at the end of the tick in which their timeout ends, as in
 * ZooKeeper's ExpiryQueue. Touching only notes the new time; the ring is put right when the bucket
 * comes. Time during which the whole process stood still (a stopped VM, a SIGSTOP) does not count:
 * what the clients sent meanwhile is still in the sockets (P6). */
void expiry_clock(struct sessions *ss, int64_t mono_ms, int64_t deadline_ms);
void expiry_touch(struct sessions *ss, struct session *s);
void expiry_forget(struct sessions *ss, struct session *s);
/* The next session that is due, or NULL. It is taken out of the ring. */
struct session *expiry_next(struct sessions *ss);
/* mono_ms of the next bucket that holds a session; INT64_MAX when none does. */
int64_t expiry_deadline(struct sessions *ss);

#endif
