/* Messages between servers as Protocol Buffers (peer.proto). protobuf-c's structs never leave this
 * folder. Decoding takes anything: what is malformed, unknown or too long is refused. */
#ifndef ZKFS_REPLICA_PROTO_PEER_CODEC_H
#define ZKFS_REPLICA_PROTO_PEER_CODEC_H

#include "common/blob.h"
#include "common/buf.h"
#include "replica/proto/repair_codec.h"
#include "replica/zab/zab_msg.h"

/* Longest message: a record of LOG_RECORD_MAX and what stands around it. */
#define PEER_MESSAGE_MAX ((16u << 20) + 1024u)
/* 3: what is replicated may be a container or a TTL znode. */
#define PEER_PROTOCOL_VERSION 3u

/* The first message of a link, each way. */
struct peer_hello {
    uint32_t version; /* PEER_PROTOCOL_VERSION */
    uint8_t from, to; /* server ids */
    uint64_t
        ensemble_id; /* of the ensemble that the sender's history belongs to; 0: it has none yet */
    uint64_t config_hash; /* of the voters as configured: a difference is worth a warning */
    bool repairing; /* the sender is being repaired: it speaks of nothing else, and takes no part */
};

/* The server room's messages, inside ZM_APP. */
enum app_type {
    APP_REQUEST = 1, /* learner -> leader: a client's write */
    APP_TOUCH,       /* learner -> leader: sessions that were heard */
    APP_REVALIDATE,  /* learner -> leader: a client came back with this session */
    APP_REVALIDATED, /* leader -> learner: ok, or the session is gone */
    APP_SYNC,        /* learner -> leader: tell me when what is proposed now is behind us */
    APP_SYNCED,      /* leader -> learner */
    APP_DIGEST,      /* leader -> learner: its tree's digest at zxid; and back: the learner's */
    APP_QUARANTINE,  /* leader -> learner: your tree differs at zxid; digest: the right one's */
    APP_TYPE_END
};

struct app_auth_id {
    struct slice scheme, id;
};

struct app_touch {
    session_id_t session_id;
    int32_t timeout_ms;
};

struct app_msg {
    enum app_type type;
    uint64_t tag; /* the learner's, echoed: matches answers */
    /* REQUEST, REVALIDATE */
    session_id_t session_id;
    int32_t cxid, opcode; /* OP_CREATE_SESSION with timeout_ms; OP_CLOSE_SESSION */
    int32_t timeout_ms;
    bool retries;      /* CREATE_SESSION: with exactly-once retries */
    struct slice body; /* the request record as the client sent it */
    const struct app_auth_id *auth_ids;
    size_t auth_count;
    /* TOUCH */
    const struct app_touch *touches;
    size_t touch_count;
    bool ok; /* REVALIDATED */
    /* DIGEST, QUARANTINE */
    zxid_t zxid;     /* above 0 */
    bool has_digest; /* of a QUARANTINE: true */
    uint64_t digest;
    bool distrust; /* QUARANTINE: who started over before does not trust its disk this time */
};

struct peer_message {
    bool is_hello, is_repair; /* neither: zab */
    struct peer_hello hello;
    struct repair_msg repair; /* borrows from the bytes, and from `memory` */
    struct zab_msg zab;
    void *memory;
};

void peer_repair_encode(struct buf *out, const struct repair_msg *m);
void peer_hello_encode(struct buf *out, const struct peer_hello *h);
void peer_zab_encode(struct buf *out, const struct zab_msg *m);
/* False when malformed. On success peer_message_close gives its memory (the payload blob) back. */
bool peer_decode(struct slice bytes, struct peer_message *ret_message);
void peer_message_close(struct peer_message *m);

/* A payload for ZM_APP: a new blob. */
struct blob *app_encode(const struct app_msg *m);
/* False when malformed. ret_msg borrows from bytes, and its arrays from `*ret_memory`, which
 * app_close frees. */
struct app_memory;
bool app_decode(struct slice bytes, struct app_msg *ret_msg, struct app_memory **ret_memory);
void app_close(struct app_memory *m); /* NULL is fine */

#endif
