/* The core of a replica under clients that send anything: the input is a script of connections,
 * requests (well formed ones over few paths, and raw frames), admin words, time, and a log that
 * answers late. At the end the log is read by a second replica, that has to show the same tree. */
#include "common/acl.h"
#include "common/blob.h"
#include "common/check.h"
#include "common/path.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/replica_world.h"

static const char *const paths[] = {"/a",   "/a/b",  "/a/b/c", "/a/-", "/b",         "/b/", "/c",
                                    "/c/d", "/b/e-", "/",      "/q",   "/zookeeper", "",    "/x//"};

static struct slice path_of(struct cursor *c) {
    return slice_from_str(paths[cursor_u8(c) % (sizeof paths / sizeof *paths)]);
}

/* Few enough that conditions are met, and -1. */
static int32_t version_of(struct cursor *c) { return cursor_u8(c) % 5 - 1; }

static struct slice data_of(struct cursor *c) {
    uint8_t choice = cursor_u8(c);
    return choice & 1 ? SLICE_NULL : fuzz_piece(c);
}

static struct blob *acl_of(struct cursor *c) {
    static const char *const texts[] = {"world:anyone:cdrwa", "auth::cdrwa", "world:anyone:r",
                                        "digest:u:wrong:rw", "ip:127.0.0.1/24:cdrwa"};
    const char *why;
    return acl_parse(slice_from_str(texts[cursor_u8(c) % 5]), &why);
}

/* Appends a record that may stand alone or in a multi, and returns its opcode. */
static int32_t put_write(struct buf *b, struct cursor *c) {
    static const int32_t opcodes[] = {OP_CREATE,   OP_CREATE2, OP_DELETE,           OP_SET_DATA,
                                      OP_SET_DATA, OP_CHECK,   OP_CREATE_CONTAINER, OP_CREATE_TTL};
    int32_t opcode = opcodes[cursor_u8(c) % 8];
    struct slice path = path_of(c);
    jute_write_slice(b, path);
    if (opcode != OP_DELETE && opcode != OP_SET_DATA && opcode != OP_CHECK) {
        struct blob *acl = acl_of(c);
        jute_write_slice(b, data_of(c));
        jute_write_jvec(b, acl_view(acl));
        jute_write_int(b, cursor_u8(c) % 7);
        if (opcode == OP_CREATE_TTL)
            jute_write_long(b, cursor_u8(c) * 10);
        blob_unref(acl);
        return opcode;
    }
    if (opcode == OP_SET_DATA)
        jute_write_slice(b, data_of(c));
    jute_write_int(b, version_of(c));
    return opcode;
}

static void write_request(struct world *w, int client, struct cursor *c) {
    struct buf b = BUF_INIT;
    int32_t opcode = put_write(&b, c);
    world_request(w, client, opcode, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

static void multi_request(struct world *w, int client, struct cursor *c) {
    struct buf b = BUF_INIT;
    for (int n = cursor_u8(c) % 6; n > 0; n--) {
        struct buf record = BUF_INIT;
        struct proto_multi_header h = {.type = put_write(&record, c), .done = false, .err = -1};
        proto_encode(&b, PROTO_multi_header, &h);
        buf_put(&b, record.data, record.len);
        buf_close(&record);
    }
    struct proto_multi_header end = {.type = -1, .done = true, .err = -1};
    proto_encode(&b, PROTO_multi_header, &end);
    world_request(w, client, OP_MULTI, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

static void read_request(struct world *w, int client, struct cursor *c) {
    static const int32_t opcodes[] = {
        OP_EXISTS, OP_GET_DATA, OP_GET_CHILDREN, OP_GET_CHILDREN2,  OP_GET_ACL,
        OP_SYNC,   OP_PING,     OP_WHO_AM_I,     OP_GET_EPHEMERALS, OP_CLOSE_SESSION};
    uint8_t choice = cursor_u8(c);
    int32_t opcode = opcodes[choice % 10];
    struct buf b = BUF_INIT;
    if (choice % 10 <= 5 || opcode == OP_GET_EPHEMERALS)
        jute_write_slice(&b, path_of(c));
    if (choice % 10 <= 3)
        jute_write_bool(&b, choice & 0x80);
    if (opcode == OP_WHO_AM_I && choice >= 128) {
        static const int32_t types[] = {OP_ADD_WATCH, OP_REMOVE_WATCHES, OP_CHECK_WATCHES};
        opcode = types[choice % 3];
        jute_write_slice(&b, path_of(c));
        jute_write_int(&b, (choice >> 2) % 7);
    }
    world_request(w, client, opcode, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

static void acl_request(struct world *w, int client, struct cursor *c) {
    struct buf b = BUF_INIT;
    if (cursor_u8(c) % 2) {
        struct proto_auth_packet r = {0, slice_from_str("digest"), fuzz_piece(c)};
        proto_encode(&b, PROTO_auth_packet, &r);
        world_request(w, client, OP_AUTH, (struct slice){b.data, (int32_t)b.len});
    } else {
        struct blob *acl = acl_of(c);
        struct proto_set_acl_request r = {path_of(c), acl_view(acl), version_of(c)};
        proto_encode(&b, PROTO_set_acl_request, &r);
        world_request(w, client, OP_SET_ACL, (struct slice){b.data, (int32_t)b.len});
        blob_unref(acl);
    }
    buf_close(&b);
}

static void set_watches(struct world *w, int client, struct cursor *c) {
    struct buf b = BUF_INIT;
    uint8_t since = cursor_u8(c);
    bool stays = since & 0x80;
    jute_write_long(&b, since & 0x7f);
    for (int kind = 0; kind < (stays ? 5 : 3); kind++) {
        int n = cursor_u8(c) % 4;
        jute_write_int(&b, n);
        while (n-- > 0)
            jute_write_slice(&b, path_of(c));
    }
    world_request(w, client, stays ? OP_SET_WATCHES2 : OP_SET_WATCHES,
                  (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

static void raw_request(struct world *w, int client, struct cursor *c) {
    uint8_t opcode = cursor_u8(c);
    struct slice record = fuzz_piece(c);
    world_request(w, client, opcode >= 0xf0 ? (int32_t)opcode - 0x100 : opcode, record);
}

static void word(struct world *w, int client, struct cursor *c) {
    static const char *const words[] = {"ruok", "srvr", "stat", "mntr", "conf", "isro",
                                        "cons", "dump", "wchs", "wchp", "wchc", "crst",
                                        "srst", "envi", "dirs", "????"};
    world_word(w, client, slice_from_str(words[cursor_u8(c) % 16]));
}

static void one_action(struct world *w, struct cursor *c) {
    uint8_t action = cursor_u8(c);
    int client = action >> 6;
    world_open(w, client, client < 2 ? 1 : (uint8_t)client);
    if (!w->clients[client].said_hello && action % 16 < 11)
        world_connect(w, client, 1000 * (action % 16), action & 16, action & 32);
    switch (action % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        write_request(w, client, c);
        break;
    case 4:
        multi_request(w, client, c);
        break;
    case 5:
    case 6:
        read_request(w, client, c);
        break;
    case 7:
        acl_request(w, client, c);
        break;
    case 8:
        set_watches(w, client, c);
        break;
    case 9:
        raw_request(w, client, c);
        break;
    case 10:
    case 11:
        world_frame(w, client, fuzz_piece(c));
        break;
    case 12:
        word(w, client, c);
        break;
    case 13:
        world_hang_up(w, client);
        break;
    case 14:
        w->hold_log = action & 16;
        if (!w->hold_log)
            world_sync_log(w);
        break;
    default:
        world_tick(w, (int64_t)cursor_u8(c) * cursor_u8(c));
    }
}

/* Ends all connections and starts one of its own. */
static void only_one_client(struct world *w) {
    w->hold_log = false;
    world_sync_log(w);
    for (int i = 0; i < WORLD_CLIENTS; i++)
        world_hang_up(w, i);
    world_open(w, 0, 9);
    world_connect(w, 0, 4000, false, false);
    CHECK(w->clients[0].greeted);
}

static struct blob *ask(struct world *w, int32_t opcode, struct slice path, int32_t *ret_err) {
    struct buf b = BUF_INIT;
    jute_write_slice(&b, path);
    if (opcode != OP_GET_ACL)
        jute_write_bool(&b, false);
    world_request(w, 0, opcode, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
    CHECK(w->clients[0].asked_count == 0);
    *ret_err = w->clients[0].last_err;
    return w->clients[0].last_reply;
}

static void compare(struct world *a, struct world *b, struct slice path) {
    static const int32_t opcodes[] = {OP_EXISTS, OP_GET_DATA, OP_GET_ACL};
    for (int i = 0; i < 3; i++) {
        int32_t err_a = 0;
        int32_t err_b = 0;
        struct blob *reply_a = ask(a, opcodes[i], path, &err_a);
        struct blob *reply_b = ask(b, opcodes[i], path, &err_b);
        CHECK(err_a == err_b);
        CHECK(blob_equal(reply_a, reply_b));
    }
}

/* What a restart would serve is what was served. */
static void restart_and_compare(struct world *w) {
    only_one_client(w);
    struct world *again = world_new(w);
    only_one_client(again);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        compare(w, again, slice_from_str(paths[i]));
    for (size_t i = 0; i < w->path_count; i++)
        compare(w, again, blob_slice(w->paths[i]));
    world_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world *w = world_new(NULL);
    struct cursor c;
    cursor_init(&c, data, size);
    while (cursor_left(&c) > 0 && !world_log_full(w))
        one_action(w, &c);
    restart_and_compare(w);
    world_free(w);
    return 0;
}
