/* The whole server without its sockets: a client writes, the power goes or the log is damaged, and
 * the next start has the tree of exactly the acknowledged operations, or of one more that was under
 * way. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/acl.h"
#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/proto.h"
#include "replica/member.h"
#include "tests/lib/mem_files.h"
#include "tests/lib/unit.h"

#define OPS 24
#define CONN 1

struct server {
    struct mem_files *files; /* owned */
    struct env env;
    struct member *member;
    struct buf inbox; /* what the client was sent */
    int32_t xid;
    bool stopped;
    struct buf why;
};

/* The tree after each number of operations, from a run without faults. */
static struct buf model[OPS + 1];

/* ---- env ---- */

static int64_t env_mono(void *ctx) { return 1000; }
static int64_t env_wall(void *ctx) { return 1700000000000; }

static int env_random(void *ctx, void *p, size_t n) {
    memset(p, 0x5a, n);
    return 0;
}

static void env_process(void *ctx, struct process_info *ret_info) {
    *ret_info = (struct process_info){0};
}

static void env_send(void *ctx, conn_id_t conn, struct slice bytes) {
    struct server *s = ctx;
    buf_put(&s->inbox, bytes.p, (size_t)bytes.len);
}

static void env_close(void *ctx, conn_id_t conn, struct slice why) {}
static void env_pause(void *ctx, conn_id_t conn, bool pause) {}
static void env_peer_send(void *ctx, uint8_t peer, struct slice bytes) {}
static void env_peer_drop(void *ctx, uint8_t peer, struct slice why) {}
static void env_timer(void *ctx, int64_t mono_ms) {}

static void env_log_sync(void *ctx) {
    struct server *s = ctx;
    member_log_synced(s->member, store_sync_run(member_store(s->member)));
}

static void env_note(void *ctx, enum log_level level, struct slice text) {}

static void env_stop(void *ctx, struct slice why) {
    struct server *s = ctx;
    s->stopped = true;
}

static void server_init(struct server *s, struct mem_files *take_files) {
    *s = (struct server){.files = take_files};
    s->env = (struct env){
        .ctx = s,
        .files = mem_files_env(take_files),
        .mono_ms = env_mono,
        .wall_ms = env_wall,
        .random = env_random,
        .process_info = env_process,
        .client_send = env_send,
        .client_close = env_close,
        .client_pause = env_pause,
        .peer_send = env_peer_send,
        .peer_drop = env_peer_drop,
        .set_timer = env_timer,
        .log_sync = env_log_sync,
        .note = env_note,
        .stop = env_stop,
    };
}

static int server_start(struct server *s) {
    struct member_config config = {
        .replica = {.tick_ms = 2000,
                    .min_session_timeout_ms = 4000,
                    .max_session_timeout_ms = 40000,
                    .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
                    .max_outstanding = 1000,
                    .version = "test"},
        .wal = {.dir = "/data/log", .segment_bytes = 1500},
    };
    int err = member_start(&config, &s->env, &s->member, &s->why);
    if (err == 0)
        member_flush(s->member);
    return err;
}

static void server_close(struct server *s) {
    member_free(s->member);
    mem_files_free(s->files);
    buf_close(&s->inbox);
    buf_close(&s->why);
}

/* ---- the client ---- */

static struct slice text(const char *s) { return slice_from_str(s); }

/* Hands over a frame; the answer's bytes without the length, null when there is none. */
static struct slice exchange(struct server *s, const struct buf *frame) {
    buf_reset(&s->inbox);
    member_client_frame(s->member, CONN, (struct slice){frame->data, (int32_t)frame->len});
    member_flush(s->member);
    if (s->inbox.len < 4)
        return SLICE_NULL;
    struct cursor c;
    cursor_init(&c, s->inbox.data, s->inbox.len);
    uint32_t len = cursor_u32be(&c);
    ck_assert_uint_eq(len, cursor_left(&c));
    return (struct slice){s->inbox.data + 4, (int32_t)len};
}

static bool connect_client(struct server *s) {
    uint8_t addr[4] = {127, 0, 0, 1};
    uint8_t passwd[PASSWD_BYTES] = {0};
    struct proto_connect_request req = {.timeout_ms = 10000, .passwd = {passwd, PASSWD_BYTES}};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    member_client_open(s->member, CONN, (struct slice){addr, 4}, 4000);
    struct slice answer = exchange(s, &b);
    buf_close(&b);
    struct cursor c;
    struct proto_connect_response response;
    cursor_init(&c, answer.p, answer.len > 0 ? (size_t)answer.len : 0);
    return proto_decode(&c, PROTO_connect_response, &response) && response.session_id != 0;
}

/* Sends a request; true when it was answered without error, *ret_body then has the reply record. */
static bool request(struct server *s, enum opcode op, enum proto_record record, const void *req,
                    struct cursor *ret_body) {
    struct proto_request_header header = {.xid = ++s->xid, .type = op};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_request_header, &header);
    proto_encode(&b, record, req);
    struct slice answer = exchange(s, &b);
    buf_close(&b);
    if (answer.len < 0)
        return false;
    struct proto_reply_header reply;
    cursor_init(ret_body, answer.p, (size_t)answer.len);
    ck_assert(proto_decode(ret_body, PROTO_reply_header, &reply));
    ck_assert_int_eq(reply.xid, header.xid);
    ck_assert_int_eq(reply.err, 0);
    return true;
}

static bool create(struct server *s, const char *path, const char *data) {
    struct cursor body;
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request req = {
        .path = text(path), .data = text(data), .acl = acl_view(acl)};
    bool done = request(s, OP_CREATE, PROTO_create_request, &req, &body);
    blob_unref(acl);
    return done;
}

/* Operation i of the script: creates, sets (one of them over several sectors), deletes. */
static bool operate(struct server *s, int i) {
    struct cursor body;
    char path[32], data[2048];
    if (i == 0)
        return create(s, "/count", "0");
    if (i % 3 == 0 && i > 3) {
        (void)snprintf(path, sizeof path, "/k%d", i - 5);
        struct proto_delete_request req = {.path = text(path), .version = -1};
        return request(s, OP_DELETE, PROTO_delete_request, &req, &body);
    }
    memset(data, 'a' + i, sizeof data);
    if (i % 3 == 1) {
        (void)snprintf(path, sizeof path, "/k%d", i);
        data[i * 3] = '\0';
        return create(s, path, data);
    }
    (void)snprintf(data + (i == 11 ? 1800 : 10), 20, "%d", i);
    struct proto_set_data_request req = {.path = text("/count"), .data = text(data), .version = -1};
    return request(s, OP_SET_DATA, PROTO_set_data_request, &req, &body);
}

static int compare_slice(const void *a, const void *b) {
    const struct slice *x = a, *y = b;
    int32_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(x->p, y->p, (size_t)n);
    return c != 0 ? c : x->len - y->len;
}

static void dump_znode(struct server *s, struct slice name, struct buf *out) {
    struct cursor body;
    struct buf path = BUF_INIT;
    buf_printf(&path, "/%.*s", name.len, (const char *)name.p);
    struct proto_path_watch_request req = {.path = {path.data, (int32_t)path.len}};
    struct proto_get_data_response response;
    ck_assert(request(s, OP_GET_DATA, PROTO_path_watch_request, &req, &body));
    ck_assert(proto_decode(&body, PROTO_get_data_response, &response));
    buf_printf(out, "%.*s v%d c%llx m%llx %.*s\n", (int)path.len, (const char *)path.data,
               response.stat.version, (long long)response.stat.czxid,
               (long long)response.stat.mzxid, response.data.len, (const char *)response.data.p);
    buf_close(&path);
}

/* The tree as text: each znode with its versions, zxids and data. */
static void dump(struct server *s, struct buf *out) {
    struct cursor body;
    struct slice names[OPS + 8];
    struct proto_path_watch_request req = {.path = text("/")};
    struct proto_get_children2_response response;
    ck_assert(request(s, OP_GET_CHILDREN2, PROTO_path_watch_request, &req, &body));
    ck_assert(proto_decode(&body, PROTO_get_children2_response, &response));
    buf_reset(out);
    buf_printf(out, "/ cversion %d pzxid %llx\n", response.stat.cversion,
               (long long)response.stat.pzxid);
    uint8_t *copy = mem_dup(response.children.items.p, (size_t)response.children.items.len);
    response.children.items.p = copy;
    size_t count = 0;
    for (int32_t at = 0; jvec_next_string(&response.children, &at, &names[count]); count++)
        ck_assert_uint_lt(count, OPS + 7);
    qsort(names, count, sizeof names[0], compare_slice);
    for (size_t i = 0; i < count; i++)
        dump_znode(s, names[i], out);
    mem_free(copy);
}

/* ---- the checks ---- */

/* Starts, opens a session and runs the script; the number of acknowledged operations. */
static int run_script(struct server *s) {
    if (server_start(s) < 0 || s->stopped || !connect_client(s))
        return 0;
    int done = 0;
    while (done < OPS && operate(s, done))
        done++;
    return done;
}

static void make_model(struct server *s) {
    ck_assert_int_eq(server_start(s), 0);
    ck_assert(connect_client(s));
    dump(s, &model[0]);
    for (int i = 0; i < OPS; i++) {
        ck_assert(operate(s, i));
        dump(s, &model[i + 1]);
        ck_assert(model[i].len != model[i + 1].len ||
                  memcmp(model[i].data, model[i + 1].data, model[i].len) != 0);
    }
}

static bool equals_model(const struct buf *tree, int ops) {
    return ops >= 0 && ops <= OPS && tree->len == model[ops].len &&
           memcmp(tree->data, model[ops].data, tree->len) == 0;
}

/* A new start over these files has the tree after `least` to `most` operations. */
static void check_tree(struct mem_files *take_files, int least, int most) {
    struct server s;
    struct buf tree = BUF_INIT;
    server_init(&s, take_files);
    ck_assert_int_eq(server_start(&s), 0);
    ck_assert(connect_client(&s));
    dump(&s, &tree);
    bool right = false;
    for (int ops = least; ops <= most; ops++)
        right = right || equals_model(&tree, ops);
    ck_assert(right);
    ck_assert(create(&s, "/after", "x"));
    buf_close(&tree);
    server_close(&s);
}

static struct server whole; /* after the script, its member gone */

static void setup(void) {
    server_init(&whole, mem_files_new());
    make_model(&whole);
    member_free(whole.member);
    whole.member = NULL;
}

static void teardown(void) {
    server_close(&whole);
    for (int i = 0; i <= OPS; i++)
        buf_close(&model[i]);
}

START_TEST(a_start_has_the_tree_of_the_operations_before_it) {
    check_tree(mem_files_clone(whole.files), OPS, OPS);
}
END_TEST

static void power_goes_at_every_call(enum mem_fault fault) {
    bool happened = true;
    int last = 0;
    for (uint64_t n = 1; happened; n++) {
        struct server s;
        server_init(&s, mem_files_new());
        mem_files_fault(s.files, n, fault, -EIO);
        int done = run_script(&s);
        happened = mem_files_fault_happened(s.files);
        ck_assert(happened || done == OPS);
        ck_assert_int_ge(done, last);
        last = done;
        member_free(s.member);
        s.member = NULL;
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct mem_files *files = mem_files_clone(s.files);
            enum mem_cut cut = seed == 0 ? MEM_CUT_KEEP : seed == 1 ? MEM_CUT_LOSE : MEM_CUT_TEAR;
            mem_files_power_cut(files, cut, seed);
            check_tree(files, done, done + 1);
        }
        server_close(&s);
    }
}

START_TEST(the_power_goes_before_any_call_and_the_tree_is_the_acknowledged_one) {
    power_goes_at_every_call(MEM_FAULT_CUT_BEFORE);
}
END_TEST

START_TEST(the_power_goes_after_any_call_and_the_tree_is_the_acknowledged_one) {
    power_goes_at_every_call(MEM_FAULT_CUT_AFTER);
}
END_TEST

START_TEST(any_call_fails_and_the_tree_is_the_acknowledged_one) {
    power_goes_at_every_call(MEM_FAULT_ERROR);
}
END_TEST

static char *last_segment(const struct mem_files *files) {
    char *path = mem_files_last(files, "/data/log", "log.", 0);
    ck_assert_ptr_nonnull(path);
    return path;
}

static size_t content_size(const struct mem_files *files, const char *path) {
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(files, path, &size);
    ck_assert_ptr_nonnull(p);
    while (size > 0 && p[size - 1] == 0)
        size--;
    CHECK(size > 0);
    return size;
}

START_TEST(the_log_cut_at_every_byte_of_its_last_record_gives_the_tree_before_it) {
    char *path = last_segment(whole.files);
    size_t end = content_size(whole.files, path);
    /* The last batch is one delete: record and mark have fewer bytes than this. */
    for (size_t size = end - 120; size <= end; size++) {
        struct mem_files *files = mem_files_clone(whole.files);
        mem_files_cut(files, path, size);
        check_tree(files, OPS - 1, OPS);
    }
    mem_free(path);
}
END_TEST

START_TEST(a_bit_flipped_anywhere_gives_the_acknowledged_tree_or_a_refusal) {
    uint64_t seed = 99;
    int refused = 0;
    for (int i = 0; i < 200; i++) {
        struct mem_files *files = mem_files_clone(whole.files);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        char *path = mem_files_last(files, "/data/log", "log.", (seed >> 60) % 3);
        mem_files_flip_bit(files, path, (seed >> 8) % (content_size(files, path) * 8));
        mem_free(path);
        struct server s;
        server_init(&s, mem_files_clone(files));
        int err = server_start(&s);
        ck_assert(err == 0 || err == -EBADMSG);
        if (err < 0) {
            ck_assert_ptr_nonnull(memmem(s.why.data, s.why.len, ": offset ", 9));
            refused++;
            mem_files_free(files);
        } else {
            check_tree(files, OPS, OPS);
        }
        server_close(&s);
    }
    ck_assert_int_gt(refused, 100);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member_tree");
    TCase *t = tcase_create("member_tree");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 240);
    tcase_add_test(t, a_start_has_the_tree_of_the_operations_before_it);
    tcase_add_test(t, the_power_goes_before_any_call_and_the_tree_is_the_acknowledged_one);
    tcase_add_test(t, the_power_goes_after_any_call_and_the_tree_is_the_acknowledged_one);
    tcase_add_test(t, any_call_fails_and_the_tree_is_the_acknowledged_one);
    tcase_add_test(t, the_log_cut_at_every_byte_of_its_last_record_gives_the_tree_before_it);
    tcase_add_test(t, a_bit_flipped_anywhere_gives_the_acknowledged_tree_or_a_refusal);
    suite_add_tcase(s, t);
    return s;
}
