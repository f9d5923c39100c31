/* One client connection, for client_conn (input and life), conn_output and conn_wait. */
#ifndef ZKFS_REPLICA_IO_CONN_STATE_H
#define ZKFS_REPLICA_IO_CONN_STATE_H

#include "common/buf.h"
#include "common/mem.h"
#include "replica/io/client_conn.h"

#include <sys/socket.h>

/* uthash's memory comes from the one allocator too. */
#define uthash_malloc(n) mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
/* The ids are counted up: their low bits fill the buckets evenly as they are. */
#define HASH_FUNCTION(key, size, hash) ((hash) = (unsigned)*(const conn_id_t *)(key))
#include <uthash.h>
#include <utlist.h>

/* One read of a socket: some hundred small frames; a greater one only costs memory. */
#define CONN_READ_BYTES (64u << 10)
/* A client with this much output that it has not taken is read no further, until half is left. More
 * than the greatest usual reply (1 MiB), so that one of those alone pauses nobody. */
#define CONN_OUTPUT_HIGH (4u << 20)
/* What was admitted before the pause can still bring output: replies that waited for a write, watch
 * events. Beyond this the client is closed, or a thousand of them would fill the memory. */
#define CONN_OUTPUT_MAX (64u << 20)
/* Output memory that a connection keeps between two wake-ups. */
#define CONN_OUTPUT_KEEP 4096u
/* A client that leaves its output lying must take so much in so much time: a 56k modem does. */
#define CONN_STALL_MS 10000
#define CONN_STALL_BYTES (64u << 10)
/* How long the client's FIN is waited for after ours. */
#define CONN_LINGER_MS 1000

enum conn_state {
    CONN_OPEN,
    CONN_FLUSHING,  /* the member closed it; output is still to be written */
    CONN_LINGERING, /* our FIN is sent */
    CONN_GONE,      /* uv_close is under way */
};

struct client_conn {
    uv_tcp_t tcp;
    struct clients *clients;
    conn_id_t id;
    enum conn_state state;
    bool known;    /* the member knows of it (it is in by_id) */
    bool spoke;    /* its first frame or word has come */
    bool word;     /* it spoke a four-letter word */
    bool reading;  /* uv_read_start is in force */
    bool paused;   /* by the core */
    bool choked;   /* by its own unread output */
    bool overfull; /* its output went beyond the bound: must go */
    bool dirty, ready;
    struct buf in;      /* the begin of a frame; whole ones only while it may not be fed */
    struct buf out;     /* collected since the last flush */
    struct buf writing; /* under way in `write` */
    uv_write_t write;
    uv_shutdown_t shutdown;
    bool write_active;
    uint64_t queued_bytes; /* of output, ever */
    uint64_t stall_mark;   /* bytes that had been taken when the present stall period began */
    enum conn_wait wait;
    int64_t wait_until_ms;
    uint8_t addr[16];
    int32_t addr_len; /* 4 or 16 */
    uint16_t port;
    struct client_conn *all_prev, *all_next;
    struct client_conn *dirty_prev, *dirty_next;
    struct client_conn *ready_prev, *ready_next;
    struct client_conn *wait_prev, *wait_next;
    UT_hash_handle hh;
};

struct client_name {
    char text[64];
};
/* `1.2.3.4:5` or `[1::2]:5`, for log lines. Returns ret_name->text. */
const char *conn_name(const struct client_conn *c, struct client_name *ret_name);
void conn_set_address(struct client_conn *c, const struct sockaddr_storage *sa);

void conn_drop(struct client_conn *c);
void conn_forget(struct client_conn *c); /* the member knows it no more; it is not told */
void conn_update_reading(struct client_conn *c);
void conn_unblock(struct client_conn *c);
void conn_set_dirty(struct client_conn *c, bool dirty);
void conn_set_ready(struct client_conn *c, bool ready);

/* Puts the connection into a waiting line, out of the one it was in. */
void conn_wait(struct client_conn *c, enum conn_wait wait);

/* Output that the kernel has not taken yet, in bytes. */
uint64_t conn_unsent(const struct client_conn *c);
/* Stops the input of a client with too much unread output. */
void conn_check_output(struct client_conn *c);

#endif
