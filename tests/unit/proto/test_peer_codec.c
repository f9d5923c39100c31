#include "replica/proto/peer_codec.h"

#include "common/mem.h"
#include "common/prng.h"
#include "peer.pb-c.h"
#include "tests/lib/unit.h"

#include <string.h>

/* One of each kind, with all fields set that it has. */
static struct zab_msg messages[40];
static int message_count;

static struct zab_msg *add(enum zab_msg_type type) {
    messages[message_count] = (struct zab_msg){.type = type};
    return &messages[message_count++];
}

static void add_records(enum zab_msg_type type) {
    struct zab_msg *m = add(type);
    m->kind = ZAB_TXN;
    m->zxid = zxid_make(7, 9);
    m->payload = blob_new("what Zab does not look into", 27);
    m = add(type);
    m->kind = ZAB_TXN;
    m->zxid = zxid_make(7, 1);
    m->payload = blob_new(NULL, 0);
    m = add(type);
    m->kind = ZAB_EPOCH;
    m->zxid = zxid_make(INT32_MAX, 0);
}

static void add_votes(void) {
    struct zab_msg *m = add(ZM_VOTE);
    m->vote = (struct zab_vote){.role = ZAB_LEADING,
                                .round = UINT64_MAX,
                                .leader = 255,
                                .leader_zxid = zxid_make(5, 77),
                                .epoch = 6,
                                .blank = true,
                                .leader_blank = true,
                                .answer = true,
                                .lossy = true,
                                .leader_full = true};
    add(ZM_VOTE); /* looking, for nobody, all 0 */
}

static void add_discovery(void) {
    struct zab_msg *m = add(ZM_FOLLOWERINFO);
    m->epoch = INT32_MAX;
    m->zxid = zxid_make(3, 4);
    m->observer = true;
    m->lossy = true;
    m = add(ZM_FOLLOWERINFO);
    m->blank = true;
    add(ZM_LEADERINFO)->epoch = 300;
    m = add(ZM_ACKEPOCH);
    m->epoch = 8;
    m->counted = true;
    m->base = zxid_make(1, 1);
    m->epoch_count = ZAB_EPOCHS_MAX;
    for (uint32_t i = 0; i < ZAB_EPOCHS_MAX; i++)
        m->epochs[i] = zxid_make(900 - 3 * i, i);
    m = add(ZM_ACKEPOCH);
    m->blank = true;
    m = add(ZM_ACKEPOCH);
    m->epoch_count = 1;
    m->lossy = true;
}

static void set_up(void) {
    message_count = 0;
    add_votes();
    add_discovery();
    for (int mode = ZAB_SYNC_DIFF; mode <= ZAB_SYNC_SNAP; mode++) {
        struct zab_msg *m = add(ZM_SYNC);
        m->mode = (enum zab_sync_mode)mode;
        m->zxid = zxid_make(2, 3);
        m->committed = zxid_make(2, 1);
        m->ended = zxid_make(4, 0);
    }
    add(ZM_SNAPCHUNK)->payload = blob_new("a piece", 7);
    struct zab_msg *m = add(ZM_SNAPEND);
    m->zxid = zxid_make(2, 3);
    m->ended = zxid_make(3, 1);
    add(ZM_SYNCREADY)->zxid = zxid_make(2, 3);
    add_records(ZM_PROPOSAL);
    add(ZM_ACK)->zxid = 1;
    add(ZM_COMMIT)->zxid = INT64_MAX;
    add_records(ZM_INFORM);
    add(ZM_UPTODATE)->zxid = 2;
    m = add(ZM_PING);
    m->round = 1u << 31;
    m->zxid = 5;
    add(ZM_PONG)->round = 127;
    add(ZM_PONG)->full = true;
    add(ZM_APP)->payload = blob_new("the server room's", 17);
    add(ZM_APP)->payload = blob_new(NULL, 0);
}

static void tear_down(void) {
    for (int i = 0; i < message_count; i++)
        blob_unref(messages[i].payload);
}

static bool decode(const void *p, size_t n, struct peer_message *ret) {
    return peer_decode((struct slice){p, (int32_t)n}, ret);
}

static bool refused(const char *bytes, size_t n) {
    struct peer_message m = {.is_hello = true, .hello = {.version = 99}};
    uint8_t *copy = mem_dup(bytes, n);
    bool taken = decode(copy, n, &m);
    mem_free(copy);
    if (taken)
        peer_message_close(&m);
    else
        ck_assert_uint_eq(m.hello.version, 99); /* untouched */
    return !taken;
}
#define REFUSED(bytes) refused(bytes, sizeof(bytes) - 1)

static void assert_votes_equal(const struct zab_vote *a, const struct zab_vote *b) {
    ck_assert_int_eq((int)a->role, (int)b->role);
    ck_assert_uint_eq(a->round, b->round);
    ck_assert_uint_eq(a->leader, b->leader);
    ck_assert_int_eq(a->leader_zxid, b->leader_zxid);
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert_int_eq(a->blank, b->blank);
    ck_assert_int_eq(a->leader_blank, b->leader_blank);
    ck_assert_int_eq(a->answer, b->answer);
    ck_assert_int_eq(a->lossy, b->lossy);
    ck_assert_int_eq(a->leader_full, b->leader_full);
}

static void assert_messages_equal(const struct zab_msg *a, const struct zab_msg *b) {
    ck_assert_int_eq((int)a->type, (int)b->type);
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert_int_eq(a->zxid, b->zxid);
    ck_assert_int_eq(a->committed, b->committed);
    ck_assert_int_eq(a->ended, b->ended);
    ck_assert_uint_eq(a->round, b->round);
    ck_assert_int_eq(a->counted, b->counted);
    ck_assert_int_eq(a->observer, b->observer);
    ck_assert_int_eq(a->blank, b->blank);
    ck_assert_int_eq(a->lossy, b->lossy);
    ck_assert_int_eq(a->full, b->full);
    ck_assert_int_eq((int)a->mode, (int)b->mode);
    ck_assert_int_eq((int)a->kind, (int)b->kind);
    assert_votes_equal(&a->vote, &b->vote);
    ck_assert_int_eq(a->base, b->base);
    ck_assert_uint_eq(a->epoch_count, b->epoch_count);
    for (uint32_t i = 0; i < a->epoch_count; i++)
        ck_assert_int_eq(a->epochs[i], b->epochs[i]);
    ck_assert_int_eq(a->payload == NULL, b->payload == NULL);
    ck_assert(blob_equal(a->payload, b->payload));
}

START_TEST(each_message_comes_back) {
    for (int i = 0; i < message_count; i++) {
        struct buf b = BUF_INIT;
        struct peer_message m;
        buf_put(&b, "head", 4); /* encoding appends */
        peer_zab_encode(&b, &messages[i]);
        ck_assert_msg(decode(b.data + 4, b.len - 4, &m), "message %d", i);
        ck_assert(!m.is_hello);
        assert_messages_equal(&messages[i], &m.zab);
        peer_message_close(&m);
        buf_close(&b);
    }
}
END_TEST

START_TEST(a_hello_comes_back) {
    static const struct peer_hello hellos[] = {
        {PEER_PROTOCOL_VERSION, 1, 2, 3, 4, false},
        {UINT32_MAX, 255, 255, UINT64_MAX, UINT64_MAX, true},
        {0, 0, 0, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof hellos / sizeof *hellos; i++) {
        struct buf b = BUF_INIT;
        struct peer_message m;
        peer_hello_encode(&b, &hellos[i]);
        ck_assert(decode(b.data, b.len, &m));
        ck_assert(m.is_hello);
        ck_assert_uint_eq(m.hello.version, hellos[i].version);
        ck_assert_uint_eq(m.hello.from, hellos[i].from);
        ck_assert_uint_eq(m.hello.to, hellos[i].to);
        ck_assert_uint_eq(m.hello.ensemble_id, hellos[i].ensemble_id);
        ck_assert_uint_eq(m.hello.config_hash, hellos[i].config_hash);
        ck_assert_int_eq(m.hello.repairing, hellos[i].repairing);
        peer_message_close(&m);
        for (size_t n = 0; n < b.len; n++)
            ck_assert(refused((const char *)b.data, n));
        buf_close(&b);
    }
}
END_TEST

/* What is cut off is refused, or is the message less its last fields; then it has that one form. */
START_TEST(a_truncation_at_every_byte_is_refused_or_a_message_of_its_own) {
    int shorter = 0;
    for (int i = 0; i < message_count; i++) {
        struct buf b = BUF_INIT, again = BUF_INIT;
        peer_zab_encode(&b, &messages[i]);
        for (size_t n = 0; n < b.len; n++) {
            uint8_t *cut = mem_dup(b.data, n);
            struct peer_message m;
            if (decode(cut, n, &m)) {
                buf_reset(&again);
                peer_zab_encode(&again, &m.zab);
                ck_assert_uint_eq(again.len, n);
                ck_assert_int_eq(memcmp(again.data, cut, n), 0);
                ck_assert_ptr_null(m.zab.payload);
                shorter++;
                peer_message_close(&m);
            }
            mem_free(cut);
        }
        buf_close(&b);
        buf_close(&again);
    }
    ck_assert_int_gt(shorter, 5);
}
END_TEST

START_TEST(what_is_accepted_has_one_form) {
    struct prng r;
    prng_init(&r, 5);
    struct buf b = BUF_INIT, again = BUF_INIT;
    int accepted = 0;
    for (int round = 0; round < 200000; round++) {
        buf_reset(&b);
        peer_zab_encode(&b, &messages[prng_below(&r, (uint64_t)message_count)]);
        for (uint64_t flips = 1 + prng_below(&r, 3); flips > 0; flips--)
            b.data[prng_below(&r, b.len)] = (uint8_t)prng_next(&r);
        struct peer_message m;
        if (!decode(b.data, b.len, &m))
            continue;
        accepted++;
        buf_reset(&again);
        if (m.is_hello)
            peer_hello_encode(&again, &m.hello);
        else if (m.is_repair)
            peer_repair_encode(&again, &m.repair);
        else
            peer_zab_encode(&again, &m.zab);
        ck_assert_uint_eq(again.len, b.len);
        ck_assert_int_eq(memcmp(again.data, b.data, b.len), 0);
        peer_message_close(&m);
    }
    ck_assert_int_gt(accepted, 1000);
    buf_close(&b);
    buf_close(&again);
}
END_TEST

static void assert_same_as_protobuf_c(const struct buf *b, bool payload) {
    Zkfs__Peer__Message *m = zkfs__peer__message__unpack(NULL, b->len, b->data);
    ck_assert_ptr_nonnull(m);
    ck_assert_uint_eq(m->base.n_unknown_fields, 0);
    ck_assert_int_eq(m->payload_present_case == ZKFS__PEER__MESSAGE__PAYLOAD_PRESENT_PAYLOAD,
                     payload);
    uint8_t packed[2048];
    ck_assert_uint_le(zkfs__peer__message__get_packed_size(m), sizeof packed);
    size_t n = zkfs__peer__message__pack(m, packed);
    ck_assert_uint_eq(n, b->len);
    ck_assert_int_eq(memcmp(packed, b->data, n), 0);
    zkfs__peer__message__free_unpacked(m, NULL);
}

START_TEST(protobuf_c_reads_and_writes_the_same) {
    struct buf b = BUF_INIT;
    for (int i = 0; i < message_count; i++) {
        buf_reset(&b);
        peer_zab_encode(&b, &messages[i]);
        assert_same_as_protobuf_c(&b, messages[i].payload != NULL);
    }
    buf_reset(&b);
    peer_hello_encode(&b, &(struct peer_hello){1, 2, 3, 4, 5, true});
    assert_same_as_protobuf_c(&b, false);
    buf_close(&b);
}
END_TEST

START_TEST(nothing_and_unknown_types_are_refused) {
    ck_assert(REFUSED(""));
    ck_assert(REFUSED("\x08"));
    ck_assert(!REFUSED("\x08\x0f"));  /* PONG */
    ck_assert(REFUSED("\x08\x00"));   /* written though 0 */
    ck_assert(REFUSED("\x08\x11"));   /* 17 */
    ck_assert(REFUSED("\x08\x1f"));   /* 31 */
    ck_assert(REFUSED("\x08\x20"));   /* a hello without its part */
    ck_assert(REFUSED("\x08\x21"));   /* a question about nothing */
    ck_assert(REFUSED("\x08\x27"));   /* 39 */
    ck_assert(REFUSED("\x08\x8f\0")); /* not the shortest form */
    ck_assert(REFUSED("\x30\x01"));   /* no type */
    struct peer_message m;
    ck_assert(!peer_decode(SLICE_NULL, &m));
}
END_TEST

START_TEST(a_field_that_the_type_does_not_have_is_refused) {
    ck_assert(!REFUSED("\x08\x0f\x30\x05"));                          /* PONG, round */
    ck_assert(REFUSED("\x08\x0f\x10\x05"));                           /* epoch */
    ck_assert(REFUSED("\x08\x0f\x19\1\0\0\0\0\0\0\0"));               /* zxid */
    ck_assert(REFUSED("\x08\x0f\x30\x05\x48\1"));                     /* blank */
    ck_assert(REFUSED("\x08\x0f\x62\1x"));                            /* payload */
    ck_assert(REFUSED("\x08\x0f\x7a\0"));                             /* vote */
    ck_assert(REFUSED("\x08\x0f\x30\x05\x30\x05"));                   /* twice */
    ck_assert(REFUSED("\x08\x0f\x30\0"));                             /* 0, written */
    ck_assert(REFUSED("\x08\x0f\x88\1\1"));                           /* lossy */
    ck_assert(!REFUSED("\x08\x0f\x90\1\1"));                          /* full */
    ck_assert(REFUSED("\x08\x0e\x90\1\1"));                           /* of a PING */
    ck_assert(REFUSED("\x08\x0f\x98\1\1"));                           /* field 19 */
    ck_assert(REFUSED("\x08\x0f\x31\1\0\0\0\0\0\0\0"));               /* round as fixed64 */
    ck_assert(!REFUSED("\x08\x0e\x19\1\0\0\0\0\0\0\0\x30\x05"));      /* PING */
    ck_assert(REFUSED("\x08\x0e\x30\x05\x19\1\0\0\0\0\0\0\0"));       /* in another order */
    ck_assert(REFUSED("\x08\x0e\x19\1\0\0\0\0\0\0\0\x30\x05\x08\1")); /* a second message */
}
END_TEST

START_TEST(numbers_out_of_range_are_refused) {
    ck_assert(!REFUSED("\x08\3\x10\xff\xff\xff\xff\7"));    /* epoch 2^31 - 1 */
    ck_assert(REFUSED("\x08\3\x10\x80\x80\x80\x80\x08"));   /* 2^31 */
    ck_assert(REFUSED("\x08\3\x10\xff\xff\xff\xff\xff\1")); /* 2^42 - 1 */
    ck_assert(!REFUSED("\x08\x0a\x19\1\0\0\0\0\0\0\x7f"));  /* ACK */
    ck_assert(REFUSED("\x08\x0a\x19\1\0\0\0\0\0\0\x80"));   /* zxid below 0 */
    ck_assert(!REFUSED("\x08\5\x50\3"));                    /* SYNC, SNAP */
    ck_assert(REFUSED("\x08\5\x50\4"));                     /* unknown mode */
    ck_assert(REFUSED("\x08\5"));                           /* no mode */
    ck_assert(REFUSED("\x08\2\x88\1\2"));                   /* lossy by 2 */
    ck_assert(!REFUSED("\x08\2\x88\1\1"));
    ck_assert(!REFUSED("\x08\1\x7a\0\x88\1\1"));   /* VOTE of a lossy one */
    ck_assert(REFUSED("\x08\1\x7a\2\x30\2"));      /* leader_full by 2 */
    ck_assert(!REFUSED("\x08\2\x48\1"));           /* FOLLOWERINFO, blank */
    ck_assert(REFUSED("\x08\2\x48\2"));            /* a boolean of 2 */
    ck_assert(!REFUSED("\x08\1\x7a\2\x08\3"));     /* VOTE of who leads */
    ck_assert(REFUSED("\x08\1\x7a\2\x08\4"));      /* unknown role */
    ck_assert(!REFUSED("\x08\1\x7a\3\x10\xff\1")); /* leader 255 */
    ck_assert(REFUSED("\x08\1\x7a\3\x10\x80\2"));  /* leader 256 */
    ck_assert(!REFUSED("\x08\x0f\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\1")); /* round 2^64-1 */
    ck_assert(REFUSED("\x08\x0f\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\2"));
    ck_assert(REFUSED("\x08\x0f\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"));
}
END_TEST

START_TEST(parts_that_are_missing_or_do_not_end_are_refused) {
    ck_assert(!REFUSED("\x08\1\x7a\0"));
    ck_assert(REFUSED("\x08\1"));                 /* a VOTE without its part */
    ck_assert(REFUSED("\x08\1\x7a\2\x38\1"));     /* an unknown field in it */
    ck_assert(REFUSED("\x08\1\x7a\1"));           /* longer than the message */
    ck_assert(REFUSED("\x08\1\x7a\2\x08"));       /* likewise */
    ck_assert(REFUSED("\x08\1\x7a\1\x08\1"));     /* cut within */
    ck_assert(REFUSED("\x08\x20\x82\1\2\x40\1")); /* an unknown field in HELLO */
    ck_assert(!REFUSED("\x08\x20\x82\1\2\x08\1"));
    ck_assert(REFUSED("\x08\x20\x82\1\2\x08\1\0")); /* a byte behind it */
}
END_TEST

START_TEST(records_that_contradict_themselves_are_refused) {
    ck_assert(!REFUSED("\x08\x09\x19\1\0\0\0\1\0\0\0\x58\1\x62\1x"));
    ck_assert(REFUSED("\x08\x09\x19\1\0\0\0\1\0\0\0\x62\1x"));       /* no kind */
    ck_assert(REFUSED("\x08\x09\x19\1\0\0\0\1\0\0\0\x58\3\x62\1x")); /* an unknown one */
    ck_assert(REFUSED("\x08\x09\x19\1\0\0\0\1\0\0\0\x58\1"));        /* no payload */
    ck_assert(REFUSED("\x08\x09\x19\1\0\0\0\1\0\0\0\x58\1\x62\2x")); /* cut */
    ck_assert(REFUSED("\x08\x09\x19\0\0\0\0\1\0\0\0\x58\1\x62\1x")); /* counter 0 */
    ck_assert(REFUSED("\x08\x09\x58\1\x62\1x"));                     /* no zxid */
    ck_assert(!REFUSED("\x08\x09\x19\0\0\0\0\1\0\0\0\x58\2"));
    ck_assert(REFUSED("\x08\x09\x19\1\0\0\0\1\0\0\0\x58\2"));       /* an epoch's counter */
    ck_assert(REFUSED("\x08\x09\x19\0\0\0\0\1\0\0\0\x58\2\x62\0")); /* its payload */
    ck_assert(REFUSED("\x08\x09\x58\2"));                           /* epoch 0 */
    ck_assert(REFUSED("\x08\x10"));                                 /* APP without any */
    ck_assert(REFUSED("\x08\6"));                                   /* SNAPCHUNK likewise */
}
END_TEST

START_TEST(histories_that_contradict_themselves_are_refused) {
    ck_assert(!REFUSED("\x08\4\x72\x08\1\0\0\0\5\0\0\0"));
    ck_assert(!REFUSED("\x08\4\x72\x10\1\0\0\0\5\0\0\0\2\0\0\0\4\0\0\0"));
    ck_assert(REFUSED("\x08\4\x72\x10\2\0\0\0\5\0\0\0\1\0\0\0\5\0\0\0")); /* an epoch twice */
    ck_assert(REFUSED("\x08\4\x72\x10\1\0\0\0\4\0\0\0\1\0\0\0\5\0\0\0")); /* oldest first */
    ck_assert(REFUSED("\x08\4\x72\x08\1\0\0\0\5\0\0\x80"));               /* below 0 */
    ck_assert(REFUSED("\x08\4\x72\7\1\0\0\0\5\0\0"));
    ck_assert(REFUSED("\x08\4\x72\0"));
    ck_assert(REFUSED("\x08\4\x48\1\x72\x08\1\0\0\0\5\0\0\0")); /* blank with epochs */
    ck_assert(REFUSED("\x08\4\x48\1\x69\1\0\0\0\0\0\0\0"));     /* blank with a base */
    ck_assert(REFUSED("\x08\2\x19\1\0\0\0\0\0\0\0\x48\1"));     /* blank with a zxid */
    ck_assert(REFUSED("\x08\5\x19\2\0\0\0\0\0\0\0\x50\1"));     /* a leader that ends before */
    ck_assert(
        REFUSED("\x08\7\x19\2\0\0\0\0\0\0\0\x29\1\0\0\0\0\0\0\0")); /* ends before it begins */
    uint8_t many[4 + 2 + 8 * 65] = {0x08, 4, 0x72, 0x88, 4};
    for (size_t i = 0; i < 65; i++)
        many[5 + 8 * i + 4] = (uint8_t)(100 - i);
    ck_assert(refused((char *)many, 5 + sizeof(uint64_t) * 65)); /* more than ZAB_EPOCHS_MAX */
    many[3] = 0x80;
    ck_assert(!refused((char *)many, 5 + sizeof(uint64_t) * 64));
}
END_TEST

START_TEST(the_longest_record_fits_and_one_byte_more_than_the_greatest_message_is_refused) {
    struct zab_msg in = {.type = ZM_PROPOSAL, .kind = ZAB_TXN, .zxid = INT64_MAX};
    uint8_t *zeros = mem_zalloc(PEER_MESSAGE_MAX);
    in.payload = blob_new(zeros, 16u << 20);
    struct buf b = BUF_INIT;
    struct peer_message m;
    peer_zab_encode(&b, &in);
    ck_assert(decode(b.data, b.len, &m));
    ck_assert_uint_eq(m.zab.payload->len, 16u << 20);
    peer_message_close(&m);
    blob_unref(in.payload);
    in.payload = blob_new(zeros, PEER_MESSAGE_MAX - 18); /* what stands around it */
    buf_reset(&b);
    peer_zab_encode(&b, &in);
    ck_assert_uint_eq(b.len, PEER_MESSAGE_MAX);
    ck_assert(decode(b.data, b.len, &m));
    peer_message_close(&m);
    buf_reset(&b);
    blob_unref(in.payload);
    in.payload = blob_new(zeros, PEER_MESSAGE_MAX - 17);
    peer_zab_encode(&b, &in);
    ck_assert(!decode(b.data, b.len, &m));
    blob_unref(in.payload);
    buf_close(&b);
    mem_free(zeros);
}
END_TEST

static TCase *refusals(void) {
    TCase *c = tcase_create("refusals");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, nothing_and_unknown_types_are_refused);
    tcase_add_test(c, a_field_that_the_type_does_not_have_is_refused);
    tcase_add_test(c, numbers_out_of_range_are_refused);
    tcase_add_test(c, parts_that_are_missing_or_do_not_end_are_refused);
    tcase_add_test(c, records_that_contradict_themselves_are_refused);
    tcase_add_test(c, histories_that_contradict_themselves_are_refused);
    tcase_add_test(c,
                   the_longest_record_fits_and_one_byte_more_than_the_greatest_message_is_refused);
    return c;
}

Suite *unit_suite(void) {
    Suite *s = suite_create("peer_codec");
    TCase *c = tcase_create("messages");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, each_message_comes_back);
    tcase_add_test(c, a_hello_comes_back);
    tcase_add_test(c, a_truncation_at_every_byte_is_refused_or_a_message_of_its_own);
    tcase_add_test(c, what_is_accepted_has_one_form);
    tcase_add_test(c, protobuf_c_reads_and_writes_the_same);
    suite_add_tcase(s, c);
    suite_add_tcase(s, refusals());
    return s;
}
