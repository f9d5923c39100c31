/* A snapshot of a leader's that is whole and does not lead to the tree that it says. */
#include <errno.h>
#include <string.h>

#include "common/blob.h"
#include "replica/member_state.h"
#include "replica/record_list.h"
#include "replica/server/core.h"
#include "replica/server/snapshot.h"
#include "replica/store/store.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/members.h"

static struct members ms;

static void setup(void) {
    members_init(&ms, 3);
    members_start_all(&ms);
    members_run_until_serving(&ms, 3);
    members_write_many(&ms, members_leader(&ms), 20);
    members_run(&ms, 1000);
}

static void teardown(void) { members_close(&ms); }

static void on_epoch(void *ctx, uint32_t epoch) {}
static void on_lossy(void *ctx) {}
static bool on_chunk(void *ctx, struct slice piece) { return true; }
static bool on_end(void *ctx, zxid_t begun, zxid_t ended) { return true; }
static void on_reset(void *ctx, zxid_t begun) {}
static void on_older(void *ctx, zxid_t base, const zxid_t *ends, size_t count) {}
static void on_record(void *ctx, const struct log_record *r) {}

static struct store *open_store(size_t i) {
    static const struct store_reader reader = {.epoch = on_epoch,
                                               .lossy = on_lossy,
                                               .snap_chunk = on_chunk,
                                               .snap_end = on_end,
                                               .snap_reset = on_reset,
                                               .older = on_older,
                                               .record = on_record};
    struct wal_config config = {
        .dir = MEMBERS_DIR, .segment_bytes = ms.segment_bytes, .salt = 4711};
    struct store *s;
    struct buf why = BUF_INIT;
    ck_assert_int_eq(store_open(ms.hosts[i].env.files, &config, &reader, &s, &why), 0);
    buf_close(&why);
    return s;
}

static void sync_all(struct store *s) {
    struct store_done done;
    while (store_pending(s)) {
        store_sync_begin(s);
        ck_assert_int_eq(store_sync_run(s), 0);
        store_sync_end(s, &done);
    }
}

/* What host i has applied, as a leader sends it, but for the digest. */
static zxid_t send_snapshot(size_t i, struct blob **pieces, size_t *count) {
    struct snap_sender *sender = snap_sender_new(members_core(&ms, i));
    struct buf piece = BUF_INIT;
    snap_sender_for_checkpoint(sender, 100000);
    for (*count = 0; snap_sender_piece(sender, &piece); ++*count) {
        ck_assert_uint_lt(*count, 8);
        pieces[*count] = blob_new(piece.data, piece.len);
    }
    buf_close(&piece);
    zxid_t begun = snap_sender_begun(sender);
    snap_sender_free(sender);
    return begun;
}

/* Host i's disk as a crash leaves it: the snapshot is installed, and the records up to where the
 * walk ended, and there the tree has another digest. */
static void put_installed(size_t i, struct blob **pieces, size_t count, zxid_t begun) {
    struct store *s = open_store(i);
    struct record_list list = {0};
    struct buf piece = BUF_INIT;
    ck_assert_int_ge(store_read(s, begun, 1 << 20, record_list_add, &list), 3);
    record_list_end(&list);
    store_snap_begin(s);
    for (size_t k = 0; k < count; k++) {
        store_snap_chunk(s, blob_slice(pieces[k]));
        blob_unref(pieces[k]);
    }
    struct snap_digest d = {.zxid = begun + 2, .digest = 1};
    snap_put_digest(&piece, &d);
    store_snap_chunk(s, (struct slice){piece.data, (int32_t)piece.len});
    store_snap_end(s, begun, begun + 2);
    sync_all(s);
    for (size_t k = 0; k < list.count; k++) {
        list.records[k].committed = list.records[k].zxid;
        store_append(s, &list.records[k]);
    }
    sync_all(s);
    store_close(s);
    buf_close(&piece);
    record_list_close(&list);
}

START_TEST(one_that_is_found_wrong_at_a_start_is_refused_and_the_others_help) {
    struct blob *pieces[8];
    size_t i = (members_leader(&ms) + 1) % 3, count;
    zxid_t begun = send_snapshot(i, pieces, &count);
    members_write_many(&ms, members_leader(&ms), 5);
    members_run(&ms, 1000);
    members_kill(&ms, i);
    put_installed(i, pieces, count, begun);
    ck_assert_int_eq(members_start(&ms, i), 0);
    ck_assert(members_noted(&ms, i, "does not have the digest that it says"));
    members_run_until_serving(&ms, 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
    ck_assert_uint_eq(ms.hosts[i].member->config.replica.start_overs, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member_snap");
    TCase *t = tcase_create("member_snap");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 200);
    tcase_add_test(t, one_that_is_found_wrong_at_a_start_is_refused_and_the_others_help);
    suite_add_tcase(s, t);
    return s;
}
