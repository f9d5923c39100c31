#include "tests/unit/offline/apache_make.h"

#include <string.h>
#include <zlib.h>

void make_string(struct buf *b, const char *s) {
    struct slice text = SLICE_NULL;
    if (s)
        text = (struct slice){(const uint8_t *)s, (int32_t)strlen(s)};
    jute_write_slice(b, text);
}

void make_open_acl(struct buf *b, int32_t perms) {
    jute_write_int(b, 1);
    jute_write_int(b, perms);
    make_string(b, "world");
    make_string(b, "anyone");
}

void make_snapshot_begin(struct buf *b, const int64_t *sessions, int32_t session_count) {
    buf_put(b, "ZKSN", 4);
    jute_write_int(b, 2);
    jute_write_long(b, -1);
    jute_write_int(b, session_count);
    for (int32_t i = 0; i < session_count; i++) {
        jute_write_long(b, sessions[i]);
        jute_write_int(b, 5000);
    }
}

void make_acl_count(struct buf *b, int32_t count) { jute_write_int(b, count); }

void make_acl(struct buf *b, int64_t number, int32_t perms) {
    jute_write_long(b, number);
    make_open_acl(b, perms);
}

void make_znode(struct buf *b, const struct made_znode *z) {
    make_string(b, z->path);
    make_string(b, z->data);
    jute_write_long(b, z->acl);
    jute_write_long(b, z->czxid);
    jute_write_long(b, z->mzxid ? z->mzxid : z->czxid);
    jute_write_long(b, 1000 * z->czxid);
    jute_write_long(b, 1000 * (z->mzxid ? z->mzxid : z->czxid));
    jute_write_int(b, z->version);
    jute_write_int(b, z->creates);
    jute_write_int(b, z->aversion);
    jute_write_long(b, z->owner);
    jute_write_long(b, z->pzxid ? z->pzxid : z->czxid);
}

void make_snapshot_end(struct buf *b) {
    make_string(b, "/");
    jute_write_long(b, (int64_t)adler32_z(1, b->data, b->len));
    make_string(b, "/");
}

void make_small_snapshot(struct buf *b) {
    make_snapshot_begin(b, (int64_t[]){7}, 1);
    make_acl_count(b, 1);
    make_acl(b, 1, 1);
    make_znode(b,
               &(struct made_znode){.path = "", .data = "", .acl = -1, .pzxid = 1, .creates = 1});
    make_znode(b, &(struct made_znode){.path = "/zookeeper", .data = "", .acl = -1});
    make_znode(b, &(struct made_znode){.path = "/a", .data = "x", .acl = 1, .czxid = 1});
    make_snapshot_end(b);
}

void make_header(struct buf *b, int64_t session, int64_t zxid, int32_t type) {
    jute_write_long(b, session);
    jute_write_int(b, 3);
    jute_write_long(b, zxid);
    jute_write_long(b, 1000 * zxid);
    jute_write_int(b, type);
}

void make_create(struct buf *b, const char *path, const char *data, bool ephemeral,
                 int32_t parent_creates) {
    make_string(b, path);
    make_string(b, data);
    make_open_acl(b, 31);
    jute_write_bool(b, ephemeral);
    jute_write_int(b, parent_creates);
}

void make_log_begin(struct buf *b) {
    buf_put(b, "ZKLG", 4);
    jute_write_int(b, 2);
    jute_write_long(b, 0);
}

void make_record(struct buf *log, const struct buf *txn) {
    jute_write_long(log, (int64_t)adler32_z(1, txn->data, txn->len));
    jute_write_int(log, (int32_t)txn->len);
    buf_put(log, txn->data, txn->len);
    buf_put_u8(log, 0x42);
}
