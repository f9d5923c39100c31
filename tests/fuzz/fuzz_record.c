/* Every record of the client protocol, and streams of request frames with their multis. The first
 * byte chooses the record; beyond the last one it is a stream. */
#include "common/acl.h"
#include "common/check.h"
#include "common/proto.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static volatile uint8_t sink;

/* Reads every byte, so that a slice that points elsewhere is found. */
static void touch(struct slice s) {
    for (int32_t i = 0; i < s.len; i++)
        sink = s.p[i];
}

static void walk_strings(const struct jvec *v) {
    struct slice s;
    int32_t count = 0;
    for (int32_t at = 0; jvec_next_string(v, &at, &s); count++)
        touch(s);
    CHECK(count == (v->count > 0 ? v->count : 0));
}

static void walk_users(const struct jvec *v) {
    struct slice s;
    int32_t count = 0;
    for (int32_t at = 0; jvec_next_string(v, &at, &s); count++)
        touch(s);
    CHECK(count == (v->count > 0 ? 2 * v->count : 0));
}

static void walk_acls(const struct jvec *v) {
    struct acl_entry e;
    int32_t count = 0;
    for (int32_t at = 0; acl_next(v, &at, &e); count++) {
        touch(e.scheme);
        touch(e.id);
    }
    CHECK(count == (v->count > 0 ? v->count : 0));
    struct blob *acl = acl_blob(v);
    struct jvec again = acl_view(acl);
    CHECK(again.count == v->count);
    blob_unref(acl);
}

#define WALK_INT(n)
#define WALK_LONG(n)
#define WALK_BOOL(n)
#define WALK_OPTBOOL(n)
#define WALK_STR(n) touch(r->n);
#define WALK_BUF(n) touch(r->n);
#define WALK_STAT(n)
#define WALK_ACLS(n) walk_acls(&r->n);
#define WALK_USERS(n) walk_users(&r->n);
#define WALK_STRS(n) walk_strings(&r->n);
#define F(kind, n) WALK_##kind(n)
#define RECORD(name, fields)                                                                       \
    static void walk_##name(const void *p) {                                                       \
        const struct proto_##name *r = p;                                                          \
        (void)r;                                                                                   \
        fields                                                                                     \
    }
#include "common/proto.def"
#undef RECORD
#undef F

static void (*const walkers[])(const void *) = {
#define RECORD(name, fields) walk_##name,
#include "common/proto.def"
#undef RECORD
};

/* Big enough for each of the records. */
union any_record {
#define RECORD(name, fields) struct proto_##name name;
#include "common/proto.def"
#undef RECORD
};

/* What was accepted has to come out with the same length, and the same bytes from then on (a
 * boolean may come in as any non-zero byte). */
static bool one_record(struct cursor *c, enum proto_record record) {
    union any_record first, second;
    const uint8_t *start = c->p;
    if (!proto_decode(c, record, &first))
        return false;
    walkers[record](&first);
    struct buf once = BUF_INIT;
    struct buf twice = BUF_INIT;
    proto_encode(&once, record, &first);
    CHECK(once.len == (size_t)(c->p - start));
    struct cursor again;
    cursor_init(&again, once.data, once.len);
    CHECK(proto_decode(&again, record, &second));
    CHECK(cursor_left(&again) == 0);
    proto_encode(&twice, record, &second);
    CHECK(twice.len == once.len);
    CHECK(once.len == 0 || memcmp(once.data, twice.data, once.len) == 0);
    buf_close(&twice);
    buf_close(&once);
    return true;
}

static void one_multi(struct cursor *c) {
    for (;;) {
        struct proto_multi_header h;
        if (!proto_decode(c, PROTO_multi_header, &h) || h.done)
            return;
        const struct opcode_info *info = opcode_find(h.type);
        if (!info || !(info->flags & (OPF_MULTI | OPF_MULTIREAD)) || !one_record(c, info->request))
            return;
    }
}

static void one_stream(struct cursor *c) {
    while (cursor_left(c) >= 4) {
        uint32_t len = cursor_u32be(c);
        const uint8_t *p = cursor_bytes(c, len);
        if (!p)
            return;
        struct cursor frame;
        struct proto_request_header h;
        cursor_init(&frame, p, len);
        if (!proto_decode(&frame, PROTO_request_header, &h))
            return;
        const struct opcode_info *info = opcode_find(h.type);
        if (h.type == OP_MULTI || h.type == OP_MULTI_READ)
            one_multi(&frame);
        else if (info)
            one_record(&frame, info->request);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cursor c;
    cursor_init(&c, data, size);
    uint8_t choice = cursor_u8(&c);
    if (choice < PROTO_RECORD_COUNT)
        one_record(&c, (enum proto_record)choice);
    else
        one_stream(&c);
    return 0;
}
