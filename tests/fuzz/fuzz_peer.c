/* What comes over a link between servers: the first byte chooses whether the rest is a message, or
 * the server room's message within one. */
#include "common/check.h"
#include "common/mem.h"
#include "replica/proto/peer_codec.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static volatile uint8_t sink;

/* Reads every byte, so that a slice that points elsewhere is found. */
static void touch(struct slice s) {
    for (int32_t i = 0; i < s.len; i++)
        sink = s.p[i];
}

static void check_zab(const struct zab_msg *m) {
    CHECK(m->type >= ZM_VOTE);
    CHECK(m->type < ZM_TYPE_END);
    CHECK(m->zxid >= 0);
    CHECK(m->committed >= 0);
    CHECK(m->epoch <= INT32_MAX);
    CHECK(m->epoch_count <= ZAB_EPOCHS_MAX);
    CHECK(m->vote.role <= ZAB_LEADING);
    bool record = m->type == ZM_PROPOSAL || m->type == ZM_INFORM;
    CHECK(record == (m->kind != 0));
    if (record)
        CHECK((m->kind == ZAB_TXN) == (m->payload != NULL));
    touch(blob_slice(m->payload));
}

static void check_repair(const struct repair_msg *m) {
    CHECK(m->type >= REPAIR_ASK);
    CHECK(m->type < REPAIR_TYPE_END);
    CHECK(m->after >= 0);
    CHECK(m->begun >= 0);
    CHECK((m->type == REPAIR_RECORDS) == (m->record_count > 0));
    zxid_t last = m->after;
    for (size_t i = 0; i < m->record_count; i++) {
        CHECK(m->records[i].zxid > last);
        CHECK(m->records[i].zxid <= m->until);
        last = m->records[i].zxid;
        touch(m->records[i].payload);
    }
    touch(m->bytes);
}

/* What was accepted has one form, which is the one that came. */
static void one_message(struct slice bytes) {
    struct peer_message m;
    if (!peer_decode(bytes, &m))
        return;
    struct buf again = BUF_INIT;
    if (m.is_hello) {
        peer_hello_encode(&again, &m.hello);
    } else if (m.is_repair) {
        check_repair(&m.repair);
        peer_repair_encode(&again, &m.repair);
    } else {
        check_zab(&m.zab);
        peer_zab_encode(&again, &m.zab);
    }
    CHECK(again.len == (size_t)bytes.len);
    CHECK(memcmp(again.data, bytes.p, again.len) == 0);
    buf_close(&again);
    peer_message_close(&m);
}

static void one_app(struct slice bytes) {
    struct app_msg m;
    struct app_memory *memory;
    if (!app_decode(bytes, &m, &memory))
        return;
    CHECK(m.type >= APP_REQUEST);
    CHECK(m.type < APP_TYPE_END);
    touch(m.body);
    for (size_t i = 0; i < m.auth_count; i++) {
        touch(m.auth_ids[i].scheme);
        touch(m.auth_ids[i].id);
    }
    struct blob *again = app_encode(&m);
    CHECK(again->len == (size_t)bytes.len);
    CHECK(memcmp(again->bytes, bytes.p, again->len) == 0);
    blob_unref(again);
    app_close(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    struct slice bytes = {data + 1, (int32_t)(size - 1)};
    if (data[0] % 2)
        one_app(bytes);
    else
        one_message(bytes);
    return 0;
}
