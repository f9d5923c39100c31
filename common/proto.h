/* The client protocol's records as C structs, and one table-driven codec for all of them. proto.def
 * lists them; `struct proto_create_request` and PROTO_create_request come out of it. */
#ifndef ZKFS_COMMON_PROTO_H
#define ZKFS_COMMON_PROTO_H

#include "common/jute.h"
#include "common/types.h"
#include "common/zstat.h"

#define PROTO_TYPE_INT(n) int32_t n;
#define PROTO_TYPE_LONG(n) int64_t n;
#define PROTO_TYPE_BOOL(n) bool n;
#define PROTO_TYPE_OPTBOOL(n) bool n, has_##n;
#define PROTO_TYPE_STR(n) struct slice n;
#define PROTO_TYPE_BUF(n) struct slice n;
#define PROTO_TYPE_STAT(n) struct zstat n;
#define PROTO_TYPE_ACLS(n) struct jvec n;
#define PROTO_TYPE_STRS(n) struct jvec n;
#define PROTO_TYPE_USERS(n) struct jvec n;
#define F(kind, n) PROTO_TYPE_##kind(n)
#define RECORD(name, fields)                                                                       \
    struct proto_##name {                                                                          \
        fields                                                                                     \
    };
#include "common/proto.def"
#undef RECORD
#undef F

enum proto_record {
#define RECORD(name, fields) PROTO_##name,
#include "common/proto.def"
#undef RECORD
    PROTO_RECORD_COUNT
};

/* Decodes one record into *ret (a `struct proto_NAME`; slices borrow from the input). True when it
 * was well formed; the cursor then stands behind it. *ret is undefined on failure. */
bool proto_decode(struct cursor *c, enum proto_record record, void *ret);
/* Appends the record. */
void proto_encode(struct buf *b, enum proto_record record, const void *src);
const char *proto_record_name(enum proto_record record);

/* Opcodes: opcode.def has OPCODE(name, number, request record, response record, flags). */
enum opcode {
#define OPCODE(name, number, request, response, flags) OP_##name = (number),
#include "common/opcode.def"
#undef OPCODE
};

#define OPF_WRITE 1u /* becomes a transaction */
#define OPF_MULTI 2u /* may stand inside a multi */
#define OPF_MULTIREAD 4u
#define OPF_INTERNAL 8u /* never accepted from a client */

struct opcode_info {
    int32_t number;
    const char *name;
    enum proto_record request;
    enum proto_record response;
    unsigned flags;
};

/* NULL for a number that ZooKeeper does not know. */
const struct opcode_info *opcode_find(int32_t number);

/* Special xids (PROTOCOL 1.1). */
#define XID_NOTIFICATION (-1)
#define XID_PING (-2)
#define XID_AUTH (-4)
#define XID_SET_WATCHES (-8)

/* The greatest frame, ZooKeeper's default of jute.maxbuffer: a longer one closes the connection. */
#define JUTE_MAXBUFFER_DEFAULT 1048575
#define PASSWD_BYTES 16
/* A ConnectRequest with this protocolVersion asks for exactly-once retries, a ConnectResponse with
 * it grants them (docs/client-retries.md). ZooKeeper ignores the one and answers 0 (tried on 3.8).
 */
#define PROTOCOL_VERSION_RETRIES 0x7a6b0001

/* Event types and states (PROTOCOL 1.5). */
enum zk_event {
    EVENT_NONE = -1,
    EVENT_NODE_CREATED = 1,
    EVENT_NODE_DELETED = 2,
    EVENT_NODE_DATA_CHANGED = 3,
    EVENT_NODE_CHILDREN_CHANGED = 4,
};
/* Modes of addWatch, and what removeWatches and checkWatches take away or look for (PROTOCOL 1.5).
 */
enum add_watch_mode { ADD_WATCH_PERSISTENT = 0, ADD_WATCH_RECURSIVE = 1 };
enum watcher_type {
    WATCHER_CHILDREN = 1,
    WATCHER_DATA = 2,
    WATCHER_ANY = 3,
    WATCHER_PERSISTENT = 4, /* since 3.9 */
    WATCHER_RECURSIVE = 5,  /* since 3.9 */
};
enum zk_state { STATE_DISCONNECTED = 0, STATE_SYNC_CONNECTED = 3, STATE_EXPIRED = -112 };

/* Create flags (PROTOCOL 1.6). */
enum create_mode {
    CREATE_PERSISTENT = 0,
    CREATE_EPHEMERAL = 1,
    CREATE_PERSISTENT_SEQUENTIAL = 2,
    CREATE_EPHEMERAL_SEQUENTIAL = 3,
    CREATE_CONTAINER = 4,
    CREATE_PERSISTENT_WITH_TTL = 5,
    CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL = 6,
};

#endif
