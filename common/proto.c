#include "common/proto.h"

#include "common/check.h"

#include <stddef.h>

enum field_kind {
    FIELD_END,
    FIELD_INT,
    FIELD_LONG,
    FIELD_BOOL,
    FIELD_OPTBOOL,
    FIELD_STR,
    FIELD_BUF,
    FIELD_STAT,
    FIELD_ACLS,
    FIELD_STRS,
    FIELD_USERS,
};

struct field {
    enum field_kind kind;
    size_t offset;
};

/* One list of fields per record. The local struct gives every record's fields the same name for
 * offsetof, for the field macro does not know whose field it describes. */
#define F(kind, n) {FIELD_##kind, offsetof(struct holder, record.n)},
#define RECORD(name, fields)                                                                       \
    static const struct field *name##_fields(void) {                                               \
        struct holder {                                                                            \
            struct proto_##name record;                                                            \
        };                                                                                         \
        static const struct field list[] = {fields{FIELD_END, 0}};                                 \
        return list;                                                                               \
    }
#include "common/proto.def"
#undef RECORD
#undef F

struct descriptor {
    const char *name;
    const struct field *(*fields)(void);
};

static const struct descriptor descriptors[] = {
#define RECORD(name, fields) {#name, name##_fields},
#include "common/proto.def"
#undef RECORD
};

static const struct field *fields_of(enum proto_record record) {
    CHECK(record < PROTO_RECORD_COUNT);
    return descriptors[record].fields();
}

/* OPTBOOL declares `bool n, has_n`: the second one stands right behind the first. */
static bool *has_flag(void *at) { return (bool *)at + 1; }

static void read_field(struct cursor *c, enum field_kind kind, void *at) {
    switch (kind) {
    case FIELD_INT:
        *(int32_t *)at = jute_read_int(c);
        break;
    case FIELD_LONG:
        *(int64_t *)at = jute_read_long(c);
        break;
    case FIELD_BOOL:
        *(bool *)at = jute_read_bool(c);
        break;
    case FIELD_OPTBOOL:
        *has_flag(at) = cursor_left(c) > 0;
        *(bool *)at = *has_flag(at) && jute_read_bool(c);
        break;
    case FIELD_STR:
    case FIELD_BUF:
        *(struct slice *)at = jute_read_slice(c);
        break;
    case FIELD_STAT:
        jute_read_stat(c, at);
        break;
    case FIELD_ACLS:
        *(struct jvec *)at = jute_read_acls(c);
        break;
    case FIELD_STRS:
        *(struct jvec *)at = jute_read_strings(c);
        break;
    case FIELD_USERS:
        *(struct jvec *)at = jute_read_users(c);
        break;
    case FIELD_END:
        break;
    }
}

static void write_field(struct buf *b, enum field_kind kind, const void *at) {
    switch (kind) {
    case FIELD_INT:
        jute_write_int(b, *(const int32_t *)at);
        break;
    case FIELD_LONG:
        jute_write_long(b, *(const int64_t *)at);
        break;
    case FIELD_BOOL:
        jute_write_bool(b, *(const bool *)at);
        break;
    case FIELD_OPTBOOL:
        if (((const bool *)at)[1])
            jute_write_bool(b, *(const bool *)at);
        break;
    case FIELD_STR:
    case FIELD_BUF:
        jute_write_slice(b, *(const struct slice *)at);
        break;
    case FIELD_STAT:
        jute_write_stat(b, at);
        break;
    case FIELD_ACLS:
    case FIELD_STRS:
    case FIELD_USERS:
        jute_write_jvec(b, *(const struct jvec *)at);
        break;
    case FIELD_END:
        break;
    }
}

bool proto_decode(struct cursor *c, enum proto_record record, void *ret) {
    for (const struct field *f = fields_of(record); f->kind != FIELD_END && !c->bad; f++)
        read_field(c, f->kind, (char *)ret + f->offset);
    return !c->bad;
}

void proto_encode(struct buf *b, enum proto_record record, const void *src) {
    for (const struct field *f = fields_of(record); f->kind != FIELD_END; f++)
        write_field(b, f->kind, (const char *)src + f->offset);
}

const char *proto_record_name(enum proto_record record) {
    CHECK(record < PROTO_RECORD_COUNT);
    return descriptors[record].name;
}

const struct opcode_info *opcode_find(int32_t number) {
    switch (number) {
#define OPCODE(name, opcode, request, response, flags)                                             \
    case opcode: {                                                                                 \
        static const struct opcode_info info = {opcode, #name, PROTO_##request, PROTO_##response,  \
                                                flags};                                            \
        return &info;                                                                              \
    }
#include "common/opcode.def"
#undef OPCODE
    default:
        return NULL;
    }
}
