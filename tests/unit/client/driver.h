/* Drives a pure client: feeds events, keeps copies of the updates, plays the server's part. */
#ifndef ZKFS_TESTS_UNIT_CLIENT_DRIVER_H
#define ZKFS_TESTS_UNIT_CLIENT_DRIVER_H

#include "common/client.h"
#include "common/path.h"

#define DRIVER_UPDATES 4096

struct driver_frame { /* one that the client sent */
    int32_t xid;
    int32_t opcode;
    struct slice body;
};

struct driver {
    struct client *c;
    int64_t now;
    struct client_update updates[DRIVER_UPDATES]; /* of the last step; bytes copied */
    size_t count;
    struct buf sent;  /* everything sent since the last driver_take */
    int64_t deadline; /* as last asked for */
    size_t sends;     /* CU_SENDs of the last step */
    int32_t grant;    /* protocolVersion of connect responses */
    bool read_only;   /* connect responses say so */
};

void driver_init(struct driver *d, int servers, int timeout_ms);
void driver_init_config(struct driver *d, const struct client_config *config);
void driver_close(struct driver *d);
void driver_step(struct driver *d, const struct client_event *ev);
void driver_event(struct driver *d, enum client_event_type type);
/* Lets the clock run to the deadline asked for, and ticks. */
void driver_sleep(struct driver *d);
/* Moves the clock by ms and ticks, whether or not that was asked for. */
void driver_tick(struct driver *d, int64_t ms);
void driver_bytes(struct driver *d, const void *p, size_t n);

/* The server's part. */
void driver_connect_response(struct driver *d, session_id_t session, int timeout_ms);
/* CE_TICK, CE_CONNECTED and the response: a session that stands. What was sent is dropped. */
void driver_establish(struct driver *d);
void driver_reply(struct driver *d, int32_t xid, zxid_t zxid, int32_t err, struct slice record);
void driver_watch(struct driver *d, int32_t type, zxid_t zxid, const char *path);
void put_reply(struct buf *b, int32_t xid, zxid_t zxid, int32_t err, struct slice record);

/* Requests. */
void driver_request(struct driver *d, uint64_t token, int32_t opcode, const char *path, bool watch,
                    int64_t deadline_ms);
/* addWatch or removeWatches: `mode` is the mode of the one, the type of the other. */
void driver_staying(struct driver *d, uint64_t token, int32_t opcode, const char *path,
                    int32_t mode);
void driver_write(struct driver *d, uint64_t token, const char *path, int64_t deadline_ms);

/* What came out. The first update of the type in the last step, NULL when there is none. */
const struct client_update *driver_find(const struct driver *d, enum client_update_type type);
size_t driver_count(const struct driver *d, enum client_update_type type);
const struct client_update *driver_reply_to(const struct driver *d, uint64_t token);
/* Takes the next frame that was sent; false when none is left. `has_header` is false for the
 * connect request alone. */
bool driver_take(struct driver *d, bool has_header, struct driver_frame *ret);
void driver_drop_sent(struct driver *d);

#endif
