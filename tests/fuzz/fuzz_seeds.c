/* fuzz_seeds DIR RECORDED: writes the corpora that the fuzz targets start from, a folder per
 * target, from the recorded messages, each also cut at every byte, and from texts, transactions,
 * the servers' messages, snapshots and scripts. */
#include "common/acl.h"
#include "common/blob.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/proto.h"
#include "replica/proto/peer_codec.h"
#include "replica/proto/snap_codec.h"
#include "replica/proto/txn_codec.h"
#include "tests/unit/offline/apache_make.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX 1024

struct message {
    int connection; /* from 1 */
    bool from_client, is_connect;
    struct buf bytes;
};

static struct message messages[MESSAGES_MAX];
static int message_count;
static const char *corpus;

static void emit(const char *target, const struct buf *b) {
    static int number;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/seed-%06d", corpus, target, number++);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b->data, 1, b->len, f) != b->len || fclose(f) != 0)
        err(1, "%s", path);
}

/* The whole, and what is left of it when it is cut after each byte behind the first `from`. */
static void emit_cut(const char *target, const struct buf *b, size_t from) {
    struct buf part = *b;
    emit(target, b);
    for (part.len = from; part.len < b->len; part.len++)
        emit(target, &part);
}

static void put_piece(struct buf *b, const void *p, size_t n) {
    buf_put_u8(b, (uint8_t)(n >> 8));
    buf_put_u8(b, (uint8_t)n);
    buf_put(b, p, n);
}

static int hex(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static void read_recorded(const char *path) {
    char line[65536];
    int connection = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        err(1, "%s", path);
    while (fgets(line, sizeof line, f)) {
        connection += line[0] == '=';
        if ((line[0] != '>' && line[0] != '<') || message_count == MESSAGES_MAX)
            continue;
        struct message *m = &messages[message_count++];
        m->connection = connection;
        m->from_client = line[0] == '>';
        m->is_connect = strncmp(line + 2, "connect ", 8) == 0;
        for (char *p = strrchr(line, ' ') + 1; p[0] > ' ' && p[1] > ' '; p += 2)
            buf_put_u8(&m->bytes, (uint8_t)(hex(p[0]) << 4 | hex(p[1])));
    }
    fclose(f);
}

/* The record target: which record, then its bytes. */
static void record_seed(enum proto_record record, const uint8_t *p, size_t n) {
    struct buf b = BUF_INIT;
    buf_put_u8(&b, (uint8_t)record);
    buf_put(&b, p, n);
    emit_cut("record", &b, 1);
    buf_close(&b);
}

/* What the reply with this xid answers. */
static const struct opcode_info *asked_for(int connection, int32_t xid) {
    for (int i = 0; i < message_count; i++) {
        const struct message *m = &messages[i];
        struct proto_request_header h;
        struct cursor c;
        if (m->connection != connection || !m->from_client || m->is_connect)
            continue;
        cursor_init(&c, m->bytes.data, m->bytes.len);
        if (proto_decode(&c, PROTO_request_header, &h) && h.xid == xid)
            return opcode_find(h.type);
    }
    return NULL;
}

static void record_seeds_of(const struct message *m) {
    struct cursor c;
    cursor_init(&c, m->bytes.data, m->bytes.len);
    if (m->is_connect) {
        record_seed(m->from_client ? PROTO_connect_request : PROTO_connect_response, m->bytes.data,
                    m->bytes.len);
    } else if (m->from_client) {
        struct proto_request_header h;
        const struct opcode_info *info =
            proto_decode(&c, PROTO_request_header, &h) ? opcode_find(h.type) : NULL;
        if (info)
            record_seed(info->request, c.p, cursor_left(&c));
    } else {
        struct proto_reply_header h;
        if (!proto_decode(&c, PROTO_reply_header, &h))
            return;
        const struct opcode_info *info = asked_for(m->connection, h.xid);
        record_seed(PROTO_reply_header, m->bytes.data, m->bytes.len);
        if (h.xid == XID_NOTIFICATION)
            record_seed(PROTO_watcher_event, c.p, cursor_left(&c));
        else if (info && h.err == 0)
            record_seed(info->response, c.p, cursor_left(&c));
    }
}

/* One seed per connection for what reads a whole conversation: the request stream of the record
 * target, and the core, where a raw first frame is action 11 and each further one action 10. */
static void conversation_seeds(int connection) {
    struct buf stream = BUF_INIT;
    struct buf script = BUF_INIT;
    buf_put_u8(&stream, 0xff);
    for (int i = 0; i < message_count; i++) {
        const struct message *m = &messages[i];
        if (m->connection != connection || !m->from_client)
            continue;
        if (!m->is_connect) {
            buf_put_u32be(&stream, (uint32_t)m->bytes.len);
            buf_put(&stream, m->bytes.data, m->bytes.len);
        }
        size_t before = script.len;
        for (size_t n = 0; n <= m->bytes.len; n++) {
            script.len = before;
            buf_put_u8(&script, m->is_connect ? 11 : 10);
            put_piece(&script, m->bytes.data, n);
            if (n == m->bytes.len || before < 512)
                emit("replica", &script);
        }
    }
    emit("record", &stream);
    buf_close(&stream);
    buf_close(&script);
}

/* The client target: connected (7), a good connect response (3, 1), a request (9), then what the
 * server said: as it was (1), or as the answer to that request (4) or an event (5). */
static void client_seeds_of(const struct message *m) {
    static const uint8_t start[] = {7, 3, 1, 9, 9, 0, 0, 2, '/', 'a'};
    struct buf b = BUF_INIT;
    for (size_t n = 0; n <= m->bytes.len; n++) {
        buf_reset(&b);
        buf_put(&b, start, m->is_connect ? 1 : sizeof start);
        buf_put_u8(&b, 1);
        put_piece(&b, m->bytes.data, n);
        emit("client", &b);
    }
    for (uint8_t action = 4; action <= 5 && m->bytes.len >= 16; action++) {
        buf_reset(&b);
        buf_put(&b, start, sizeof start);
        buf_put_u8(&b, action);
        buf_put_u8(&b, 9);
        put_piece(&b, m->bytes.data + 16, m->bytes.len - 16);
        emit("client", &b);
    }
    buf_close(&b);
}

/* The number is fuzz_text's choice. */
static const struct {
    uint8_t choice;
    const char *text;
} texts[] = {
    {0, "world:anyone:cdrwa"},
    {0, "ip:::1/64:rw,digest:u:h=:a"},
    {0, "x509:CN=a\\,O=b\\\\:r"},
    {1, "/"},
    {1, "/a/bc/.d/..e"},
    {1, "/\xc3\xa4/\xe2\x82\xac/\xef\xbf\xaf"},
    {1, "/\xf0\x9f\x98\x80"},
    {2, "# c\n! d\ntickTime = 2000\r\ndataDir=/v\\\n  ar\nserver.1=h:2888:3888;2181\n"},
    {2, "a=\\u00e4\\t\\\\\nb\\=c=d\n"},
    {3,
     "dataDir=/d\nclientPort=2181\ntickTime=2000\nminSessionTimeout=4000\njute.maxbuffer=0xfffff\n"
     "preAllocSize=64\nforceSync=no\n4lw.commands.whitelist=*\nserver.1=h:2888:3888;2181\n"},
    {3, "clientPort=2181\ndataDir=/d\nunknown.key=1\nskipACL=maybe\n"},
    {4, ".data"},
    {5, "..zk"},
    {5, "...data"},
};

static void text_seeds(void) {
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buf b = BUF_INIT;
        buf_put_u8(&b, texts[i].choice);
        buf_put(&b, texts[i].text, strlen(texts[i].text));
        emit_cut("text", &b, 1);
        buf_close(&b);
    }
}

static struct txn *some_txn(enum txn_type type) {
    struct txn *t = txn_new(type, type == TXN_OPS || type == TXN_CLOSE_SESSION ? 5 : 0);
    t->session_id = 0x100;
    t->time_ms = 1700000000000;
    t->cxid = 7;
    t->multi = true;
    if (type == TXN_CREATE_SESSION)
        t->timeout_ms = 4000, t->retries = true;
    if (type == TXN_ERROR) {
        t->err = -101;
        t->op_count = 3;
        t->error_index = 1;
    }
    if (type == TXN_ENSEMBLE)
        t->secret = blob_new("0123456789abcdef0123456789abcdef", 32);
    for (uint32_t i = 0; t->ops && i < t->op_count; i++) {
        struct txn_op *op = &t->ops[i];
        op->type = type == TXN_CLOSE_SESSION ? TXN_OP_DELETE : (enum txn_op_type)(i + 1);
        op->path = blob_new("/a/b", 4);
        op->version = 3;
        if (op->type == TXN_OP_CREATE || op->type == TXN_OP_SET_DATA)
            op->data = blob_new("data", 4);
        if (op->type == TXN_OP_CREATE || op->type == TXN_OP_SET_ACL)
            op->acl = acl_open_unsafe();
        if (op->type == TXN_OP_CREATE)
            op->parent_creates = 9;
    }
    return t;
}

static void txn_seeds(void) {
    for (int type = TXN_OPS; type <= TXN_ENSEMBLE; type++) {
        struct txn *t = some_txn((enum txn_type)type);
        struct blob *bytes = txn_encode(t);
        struct log_record r = {LOG_TXN, 0x100000001, 0x100000000, blob_slice(bytes)};
        struct buf b = BUF_INIT;
        buf_put_u8(&b, 0);
        buf_put(&b, bytes->bytes, bytes->len);
        emit_cut("txn", &b, 1);
        buf_reset(&b);
        buf_put_u8(&b, 1);
        log_record_encode(&b, &r);
        emit_cut("txn", &b, 1);
        buf_close(&b);
        blob_unref(bytes);
        txn_free(t);
    }
}

static void peer_seed(const struct zab_msg *m) {
    struct buf b = BUF_INIT;
    buf_put_u8(&b, 0);
    peer_zab_encode(&b, m);
    emit_cut("peer", &b, 1);
    buf_close(&b);
}

static void app_seed(const struct app_msg *m) {
    struct buf b = BUF_INIT;
    struct blob *bytes = app_encode(m);
    buf_put_u8(&b, 1);
    buf_put(&b, bytes->bytes, bytes->len);
    emit_cut("peer", &b, 1);
    blob_unref(bytes);
    buf_close(&b);
}

static void repair_seeds(void) {
    const struct log_record records[] = {
        {LOG_TXN, zxid_make(3, 5), zxid_make(3, 2), {(const uint8_t *)"payload", 7}},
        {LOG_EPOCH, zxid_make(4, 0), 0, {NULL, 0}},
    };
    for (int type = REPAIR_ASK; type < REPAIR_TYPE_END; type++) {
        struct buf b = BUF_INIT;
        struct repair_msg m = {.type = (enum repair_type)type,
                               .after = zxid_make(3, 4),
                               .until = zxid_make(4, 1),
                               .reason = REPAIR_PURGED,
                               .begun = zxid_make(2, 1),
                               .ended = zxid_make(2, 9),
                               .offset = 64,
                               .size_bytes = 5000,
                               .bytes = {(const uint8_t *)"piece", 5},
                               .records = records,
                               .record_count = 2};
        buf_put_u8(&b, 0);
        peer_repair_encode(&b, &m);
        emit_cut("peer", &b, 1);
        buf_close(&b);
    }
}

static void peer_seeds(void) {
    repair_seeds();
    struct buf b = BUF_INIT;
    struct blob *payload = blob_new("payload", 7);
    buf_put_u8(&b, 0);
    peer_hello_encode(&b, &(struct peer_hello){1, 2, 3, 4, 5, true});
    emit_cut("peer", &b, 1);
    for (int type = ZM_VOTE; type < ZM_TYPE_END; type++) {
        struct zab_msg m = {.type = (enum zab_msg_type)type,
                            .epoch = 5,
                            .zxid = zxid_make(4, 3),
                            .committed = zxid_make(4, 2),
                            .ended = zxid_make(4, 9),
                            .round = 300,
                            .counted = true,
                            .observer = true,
                            .mode = ZAB_SYNC_TRUNC,
                            .kind = ZAB_TXN,
                            .vote = {ZAB_FOLLOWING, 7, 2, zxid_make(4, 1), 5, false, true, true},
                            .epochs = {zxid_make(4, 3), zxid_make(2, 9)},
                            .epoch_count = 2,
                            .base = zxid_make(1, 1),
                            .payload = payload};
        peer_seed(&m);
    }
    static const struct app_auth_id ids[] = {
        {{(const uint8_t *)"ip", 2}, {(const uint8_t *)"::1", 3}},
        {{(const uint8_t *)"x", 1}, {(const uint8_t *)"", 0}}};
    static const struct app_touch touches[] = {{0x100000001, 4000}, {0x200000002, 40000}};
    for (int type = APP_REQUEST; type < APP_TYPE_END; type++)
        app_seed(&(struct app_msg){(enum app_type)type, 7, 0x100000001, 9, 1, 4000, true,
                                   blob_slice(payload), ids, 2, touches, 2, true, zxid_make(4, 2),
                                   true, 0x123456789abcdef0, true});
    blob_unref(payload);
    buf_close(&b);
}

/* A snapshot of one piece, and of three. */
static void snapshot_seeds(void) {
    static const struct snap_result results[] = {{3, 5, {(const uint8_t *)"0123456789abc", 13}}};
    struct blob *acl = acl_open_unsafe();
    static const char *const paths[] = {"/", "/zookeeper", "/a", "/a/b"};
    struct buf parts[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    static const session_id_t given[] = {7, (session_id_t)3 << 56 | 9};
    snap_put_head(&parts[0], &(struct snap_head){{(const uint8_t *)"secret", 6}, given, 2});
    for (size_t i = 0; i < 4; i++) {
        zxid_t zxid = i < 2 ? 0 : (zxid_t)i;
        snap_put_znode(
            &parts[1],
            &(struct znode_image){.path = {(const uint8_t *)paths[i], (int32_t)strlen(paths[i])},
                                  .data = i % 2 ? acl : NULL,
                                  .acl = acl,
                                  .stat = {.czxid = zxid, .mzxid = zxid, .pzxid = 4},
                                  .creates = 1});
    }
    snap_put_session(&parts[2], &(struct snap_session){0x100000001, 4000, true, results, 0});
    snap_put_session(&parts[2], &(struct snap_session){0x100000002, 4000, false, NULL, 0});
    struct buf b = BUF_INIT;
    for (int whole = 0; whole < 2; whole++) {
        buf_reset(&b);
        buf_put_u8(&b, 5);
        size_t all = parts[0].len + parts[1].len + parts[2].len;
        for (int i = 0; i < 3; i++) {
            size_t n = whole ? all : parts[i].len;
            if (!whole || i == 0) {
                buf_put_u8(&b, (uint8_t)(n >> 8));
                buf_put_u8(&b, (uint8_t)n);
            }
            buf_put(&b, parts[i].data, parts[i].len);
        }
        emit_cut("snapshot", &b, 1);
    }
    for (int i = 0; i < 3; i++)
        buf_close(&parts[i]);
    buf_close(&b);
    blob_unref(acl);
}

/* An epoch, two records and a mark; then a log of `n` records that is damaged in each of four ways.
 */
static void wal_seeds(void) {
    static const uint8_t described[] = {0, 0, 0, 0, 0,   0,   0, 0, 0, 3, 'a', 'b', 'c', 2,   0,
                                        0, 0, 0, 2, 'd', 'e', 2, 0, 3, 0, 4,   'w', 'x', 'y', 'z'};
    struct buf b = BUF_INIT;
    buf_put(&b, described, sizeof described);
    emit_cut("wal", &b, 1);
    for (uint8_t n = 0; n < 32; n++) {
        for (uint8_t way = 0; way < 4; way++) {
            const uint8_t damaged[] = {1, n, 0x55, way, n, (uint8_t)(n * 37), 0, 2, 0, 0};
            buf_reset(&b);
            buf_put(&b, damaged, way == 3 ? sizeof damaged : 6);
            emit("wal", &b);
        }
    }
    buf_close(&b);
}

static void put_times(struct buf *b, uint8_t byte, int n) {
    while (n-- > 0)
        buf_put_u8(b, byte);
}

/* The ensemble target: the server leads peer 2 (which answers, 0x0b, joins, 5, and answers on) and
 * takes clients (8); or follows it (0x0f votes for itself, 0x0a leads) and gets its proposals (4).
 */
static void ensemble_seeds(void) {
    static const uint8_t clients[] = {8, 0x10, 0, 0, 8, 0x11, 1, 1, 8, 0x59, 0, 8, 0x1c, 0};
    static const uint8_t proposals[][4] = {{4, 0, 7, 1},    {4, 1, 7, 2},    {4, 3, 1, 7},
                                           {4, 0x81, 0, 0}, {4, 0x84, 1, 0}, {4, 6, 7, 4}};
    struct buf b = BUF_INIT;
    for (int n = 2; n < 20; n++) {
        buf_reset(&b);
        put_times(&b, 0x0b, n);
        buf_put_u8(&b, 5);
        buf_put_u8(&b, 0x0a);
        put_times(&b, 0x0b, 20);
        buf_put(&b, clients, sizeof clients);
        put_times(&b, 0x0b, 20);
        buf_put(&b, clients, sizeof clients);
        put_times(&b, 0x0b, n);
        emit("ensemble", &b);
        buf_reset(&b);
        put_times(&b, 0x0f, 2 + n);
        put_times(&b, 0x0a, 30);
        for (size_t i = 0; i < sizeof proposals / sizeof *proposals; i++) {
            buf_put(&b, proposals[i], 4);
            put_times(&b, 0x0a, 4);
            buf_put(&b, clients, i == 2 ? sizeof clients : 0);
        }
        emit("ensemble", &b);
    }
    buf_close(&b);
}

/* Scripts of any bytes: for the core every byte is an action or its argument. */
static void script_seeds(void) {
    uint32_t x = 1;
    for (int i = 0; i < 300; i++) {
        struct buf b = BUF_INIT;
        for (int n = 0; n < 40 + i; n++) {
            x = x * 1664525 + 1013904223;
            /* Small numbers make more sense as arguments. */
            buf_put_u8(&b, (uint8_t)(x >> (n % 3 ? 29 : 24)));
        }
        emit("replica", &b);
        emit("ensemble", &b);
        emit("client", &b);
        buf_close(&b);
    }
}

/* The apache target: the snapshot's zxid, the snapshot without its seal, transactions. */
static void apache_seeds(void) {
    struct buf b = BUF_INIT, part = BUF_INIT;
    make_small_snapshot(&part);
    buf_put_u8(&b, 1);
    put_piece(&b, part.data, part.len - 13);
    const int32_t types[] = {OP_CREATE,         OP_CREATE2,       OP_CREATE_CONTAINER,
                             OP_DELETE,         OP_SET_DATA,      OP_SET_ACL,
                             OP_CREATE_SESSION, OP_CLOSE_SESSION, OP_CREATE_TTL};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        int32_t type = types[i];
        buf_reset(&part);
        make_header(&part, 7, (int64_t)i + 2, type);
        if (type == OP_CREATE || type == OP_CREATE2)
            make_create(&part, type == OP_CREATE ? "/a/b" : "/a/e", "x", type == OP_CREATE2, 1);
        else if (type != OP_CLOSE_SESSION && type != OP_CREATE_SESSION)
            make_string(&part, type == OP_CREATE_TTL ? "/t" : "/c");
        if (type == OP_CREATE_CONTAINER || type == OP_CREATE_TTL || type == OP_SET_DATA)
            make_string(&part, "data");
        if (type == OP_CREATE_CONTAINER || type == OP_CREATE_TTL || type == OP_SET_ACL)
            make_open_acl(&part, 31);
        if (type != OP_DELETE && type != OP_CREATE && type != OP_CREATE2)
            jute_write_int(&part, 1);
        if (type == OP_CREATE_TTL)
            jute_write_long(&part, 100);
        put_piece(&b, part.data, part.len);
    }
    emit_cut("apache", &b, 1);
    buf_close(&part);
    buf_close(&b);
}

int main(int argc, char **argv) {
    if (argc != 3)
        errx(1, "usage: fuzz_seeds DIR RECORDED");
    corpus = argv[1];
    read_recorded(argv[2]);
    for (int i = 0; i < message_count; i++) {
        record_seeds_of(&messages[i]);
        if (!messages[i].from_client)
            client_seeds_of(&messages[i]);
        if (i == 0 || messages[i].connection != messages[i - 1].connection)
            conversation_seeds(messages[i].connection);
    }
    text_seeds();
    txn_seeds();
    peer_seeds();
    snapshot_seeds();
    apache_seeds();
    wal_seeds();
    ensemble_seeds();
    script_seeds();
    for (int i = 0; i < message_count; i++)
        buf_close(&messages[i].bytes);
    return 0;
}
