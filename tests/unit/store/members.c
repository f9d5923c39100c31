#include "tests/unit/store/members.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/acl.h"
#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/proto.h"
#include "replica/member_state.h"
#include "replica/server/checkpoint.h"
#include "replica/server/core.h"
#include "replica/tree/tree_digest.h"

#define LIMIT_MS 60000

/* ---- env ---- */

static int64_t env_mono(void *ctx) {
    struct members_host *h = ctx;
    return h->all->now_ms;
}

static int64_t env_wall(void *ctx) {
    struct members_host *h = ctx;
    return 1700000000000 + h->all->now_ms;
}

static int env_random(void *ctx, void *p, size_t n) {
    struct members_host *h = ctx;
    uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)((h->randoms++ * 0x9e3779b97f4a7c15u + h->id * 77u) >> 32);
    return 0;
}

static void env_process(void *ctx, struct process_info *ret_info) {
    *ret_info = (struct process_info){0};
}

static void env_send(void *ctx, conn_id_t conn, struct slice bytes) {
    struct members_host *h = ctx;
    if (conn == h->conn)
        buf_put(&h->inbox, bytes.p, (size_t)bytes.len);
}

static void env_close(void *ctx, conn_id_t conn, struct slice why) {
    struct members_host *h = ctx;
    if (conn == h->conn)
        h->open = false;
}

static void env_pause(void *ctx, conn_id_t conn, bool pause) {}

static struct members_host *other(struct members_host *h, uint8_t peer) {
    CHECK(peer >= 1);
    CHECK(peer <= h->all->count);
    return &h->all->hosts[peer - 1];
}

static struct members_message *put(struct members_host *to, uint8_t from) {
    struct members_message *m = mem_zalloc(sizeof *m);
    m->from = from;
    *to->last = m;
    to->last = &m->next;
    return m;
}

static void env_peer_send(void *ctx, uint8_t peer, struct slice bytes) {
    struct members_host *h = ctx;
    if (h->linked[peer] && h->told[peer])
        buf_put(&put(other(h, peer), h->id)->bytes, bytes.p, (size_t)bytes.len);
}

static void drop_messages(struct members_host *h, uint8_t from) {
    struct members_message **at = &h->first;
    while (*at != NULL) {
        struct members_message *m = *at;
        if (m->from != from) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        buf_close(&m->bytes);
        mem_free(m);
    }
    h->last = at;
}

/* The end that knows of it hears nothing more; the other one hears of it. */
static void unlink(struct members_host *h, struct members_host *o, bool tell) {
    if (!h->linked[o->id])
        return;
    h->linked[o->id] = o->linked[h->id] = false;
    h->told[o->id] = o->told[h->id] = false;
    drop_messages(h, o->id);
    drop_messages(o, h->id);
    if (tell)
        put(o, h->id)->down = true;
}

static void env_peer_drop(void *ctx, uint8_t peer, struct slice why) {
    struct members_host *h = ctx;
    unlink(h, other(h, peer), true);
}

static void env_timer(void *ctx, int64_t mono_ms) {
    struct members_host *h = ctx;
    h->timer_ms = mono_ms;
}

static void env_log_sync(void *ctx) {
    struct members_host *h = ctx;
    h->sync_due = true;
}

/* It runs a little later, as in a thread. */
static void env_checkpoint(void *ctx) {
    struct members_host *h = ctx;
    h->checkpoint_due = true;
}

static void say(const struct members_host *h, const char *what, struct slice text) {
    if (h->all->say)
        printf("# %7d  %u %s%.*s\n", (int)h->all->now_ms, h->id, what, text.len,
               (const char *)text.p);
}

static void env_note(void *ctx, enum log_level level, struct slice text) {
    struct members_host *h = ctx;
    say(h, "", text);
    buf_printf(&h->notes, "%d: %.*s\n", (int)h->all->now_ms, text.len, (const char *)text.p);
}

static void env_stop(void *ctx, struct slice why) {
    struct members_host *h = ctx;
    h->stopped = true;
    say(h, "stopped: ", why);
    buf_printf(&h->notes, "stopped: %.*s\n", why.len, (const char *)why.p);
}

void members_init(struct members *ms, size_t count) {
    CHECK(count <= MEMBERS_MAX);
    *ms = (struct members){.count = count, .segment_bytes = 4000, .now_ms = 1000};
    for (size_t i = 0; i < count; i++) {
        struct members_host *h = &ms->hosts[i];
        ms->servers[i] = (struct quorum_server){.id = (uint8_t)(i + 1), .voter = true, .weight = 1};
        h->all = ms;
        h->id = (uint8_t)(i + 1);
        h->last = &h->first;
        h->timer_ms = INT64_MAX;
        h->files = mem_files_new();
        h->env = (struct env){.ctx = h,
                              .files = mem_files_env(h->files),
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
                              .checkpoint_run = env_checkpoint,
                              .note = env_note,
                              .stop = env_stop};
    }
}

void members_close(struct members *ms) {
    members_kill_all(ms);
    for (size_t i = 0; i < ms->count; i++) {
        struct members_host *h = &ms->hosts[i];
        for (size_t k = 0; k < ms->count; k++)
            drop_messages(h, ms->hosts[k].id);
        mem_files_free(h->files);
        buf_close(&h->inbox);
        buf_close(&h->notes);
    }
}

void members_take_disk(struct members *ms, size_t i, struct mem_files *take_files) {
    struct members_host *h = &ms->hosts[i];
    CHECK(h->member == NULL);
    mem_files_free(h->files);
    h->files = take_files;
    h->env.files = mem_files_env(take_files);
}

/* ---- life ---- */

int members_start(struct members *ms, size_t i) {
    struct members_host *h = &ms->hosts[i];
    struct buf why = BUF_INIT;
    struct member_config config = {
        .replica = {.server_id = h->id,
                    .ensemble = {ms->servers, (uint32_t)ms->count},
                    .leader_serves = true,
                    .tick_ms = 2000,
                    .min_session_timeout_ms = 4000,
                    .max_session_timeout_ms = 400000,
                    .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
                    .max_outstanding = 1000,
                    .word_whitelist = "srvr, ruok, isro, snap",
                    .snap_count = ms->snap_count,
                    .version = "test"},
        .wal = {.dir = MEMBERS_DIR,
                .segment_bytes = ms->segment_bytes,
                .snap_retain = ms->snap_retain,
                .reserve_bytes = ms->reserve_bytes},
    };
    h->stopped = h->sync_due = h->checkpoint_due = false;
    h->timer_ms = INT64_MAX;
    int err = member_start(&config, &h->env, &h->member, &why);
    if (err < 0) {
        say(h, "no start: ", (struct slice){why.data, (int32_t)why.len});
        buf_printf(&h->notes, "no start: %.*s\n", (int)why.len, (const char *)why.data);
    }
    buf_close(&why);
    return err;
}

void members_start_all(struct members *ms) {
    for (size_t i = 0; i < ms->count; i++)
        if (ms->hosts[i].member == NULL)
            CHECK(members_start(ms, i) == 0);
}

static void run_checkpoint(struct members_host *h) {
    if (!h->checkpoint_due || h->member == NULL)
        return;
    h->checkpoint_due = false;
    store_checkpoint_run(member_store(h->member));
    member_checkpoint_ran(h->member);
}

void members_kill(struct members *ms, size_t i) {
    struct members_host *h = &ms->hosts[i];
    while (h->checkpoint_due && h->member != NULL)
        run_checkpoint(h);
    for (size_t k = 0; k < ms->count; k++)
        unlink(h, &ms->hosts[k], ms->hosts[k].member != NULL);
    member_free(h->member);
    h->member = NULL;
    h->open = false;
    h->conn = 0;
    mem_files_kill(h->files);
}

void members_kill_all(struct members *ms) {
    for (size_t i = 0; i < ms->count; i++)
        members_kill(ms, i);
}

static bool runs(const struct members_host *h) { return h->member != NULL && !h->stopped; }

/* Whoever waits to start over turns links away, and they come again: here when it has started. */
static bool may_link(const struct members_host *h) {
    return runs(h) && !h->cut && !h->member->waits_for_room;
}

static bool link_all(struct members *ms) {
    bool any = false;
    for (size_t i = 0; i < ms->count; i++) {
        for (size_t k = i + 1; k < ms->count; k++) {
            struct members_host *a = &ms->hosts[i], *b = &ms->hosts[k];
            if (a->linked[b->id] || !may_link(a) || !may_link(b))
                continue;
            a->linked[b->id] = b->linked[a->id] = true;
            put(a, b->id)->up = true;
            put(b, a->id)->up = true;
            any = true;
        }
    }
    return any;
}

static bool deliver(struct members_host *h) {
    struct members_message *m = h->first;
    if (m == NULL)
        return false;
    h->first = m->next;
    if (h->first == NULL)
        h->last = &h->first;
    h->told[m->from] = h->told[m->from] || m->up;
    if (runs(h) && m->up)
        member_peer_up(h->member, m->from);
    else if (runs(h) && m->down)
        member_peer_down(h->member, m->from);
    else if (runs(h))
        member_peer_message(h->member, m->from,
                            (struct slice){m->bytes.data, (int32_t)m->bytes.len});
    buf_close(&m->bytes);
    mem_free(m);
    return true;
}

static bool sync_one(struct members_host *h) {
    if (!runs(h))
        return false;
    member_flush(h->member);
    if (!h->sync_due)
        return false;
    h->sync_due = false;
    member_log_synced(h->member, store_sync_run(member_store(h->member)));
    return true;
}

static bool checkpoint_one(struct members_host *h) {
    if (!runs(h) || !h->checkpoint_due)
        return false;
    h->checkpoint_due = false;
    store_checkpoint_run(member_store(h->member));
    member_checkpoint_ran(h->member);
    return true;
}

static bool tick(struct members_host *h) {
    if (!runs(h) || h->timer_ms > h->all->now_ms)
        return false;
    h->timer_ms = INT64_MAX;
    member_tick(h->member);
    return true;
}

/* What can happen now, happens. */
static void settle(struct members *ms) {
    for (bool more = true; more;) {
        more = link_all(ms);
        for (size_t i = 0; i < ms->count; i++) {
            more = deliver(&ms->hosts[i]) || more;
            more = sync_one(&ms->hosts[i]) || more;
            more = checkpoint_one(&ms->hosts[i]) || more;
            more = tick(&ms->hosts[i]) || more;
        }
    }
}

/* To the next timer, or to the end. */
static void pass(struct members *ms, int64_t end_ms) {
    int64_t next = end_ms;
    for (size_t i = 0; i < ms->count; i++)
        if (runs(&ms->hosts[i]) && ms->hosts[i].timer_ms < next)
            next = ms->hosts[i].timer_ms;
    ms->now_ms = next > ms->now_ms ? next : ms->now_ms;
    for (size_t i = 0; i < ms->count; i++)
        run_checkpoint(&ms->hosts[i]);
}

void members_run(struct members *ms, int64_t for_ms) {
    int64_t end_ms = ms->now_ms + for_ms;
    settle(ms);
    while (ms->now_ms < end_ms) {
        pass(ms, end_ms);
        settle(ms);
    }
}

struct replica *members_core(const struct members *ms, size_t i) {
    const struct members_host *h = &ms->hosts[i];
    return runs(h) ? h->member->replica : NULL;
}

bool members_serves(const struct members *ms, size_t i) {
    const struct replica *r = members_core(ms, i);
    return r != NULL && r->serving;
}

bool members_repairing(const struct members *ms, size_t i) {
    return runs(&ms->hosts[i]) && ms->hosts[i].member->mender != NULL;
}

size_t members_leader(const struct members *ms) {
    for (size_t i = 0; i < ms->count; i++)
        if (members_core(ms, i) != NULL && members_core(ms, i)->leading)
            return i;
    return MEMBERS_MAX;
}

void members_run_until_serving(struct members *ms, size_t count) {
    int64_t end_ms = ms->now_ms + LIMIT_MS;
    size_t serving = 0;
    while (serving < count && ms->now_ms < end_ms) {
        members_run(ms, 50);
        serving = 0;
        for (size_t i = 0; i < ms->count; i++)
            serving += members_serves(ms, i);
    }
    for (size_t i = 0; serving < count && i < ms->count; i++)
        fprintf(stderr, "host %zu:\n%.*s", i, (int)ms->hosts[i].notes.len,
                (const char *)ms->hosts[i].notes.data);
    CHECK(serving >= count);
}

/* ---- the client ---- */

static void open_conn(struct members *ms, struct members_host *h) {
    static const uint8_t addr[4] = {127, 0, 0, 1};
    h->conn = ++ms->last_conn;
    h->open = true;
    h->xid = 0;
    h->taken = 0;
    buf_reset(&h->inbox);
    member_client_open(h->member, h->conn, (struct slice){addr, 4}, 4000);
}

/* What was taken from the inbox before goes. */
static void forget_taken(struct members_host *h) {
    size_t left = h->inbox.len - h->taken;
    if (left > 0)
        memmove(h->inbox.data, h->inbox.data + h->taken, left);
    h->inbox.len = left;
    h->taken = 0;
}

bool members_answer(struct members *ms, size_t i, struct slice *ret_frame) {
    struct members_host *h = &ms->hosts[i];
    int64_t end_ms = ms->now_ms + 5000;
    forget_taken(h);
    for (;;) {
        settle(ms);
        if (h->inbox.len >= 4)
            break;
        if (!h->open || ms->now_ms >= end_ms)
            return false;
        pass(ms, end_ms);
    }
    struct cursor c;
    cursor_init(&c, h->inbox.data, h->inbox.len);
    uint32_t len = cursor_u32be(&c);
    CHECK(len <= cursor_left(&c));
    *ret_frame = (struct slice){h->inbox.data + 4, (int32_t)len};
    h->taken = 4 + len;
    return true;
}

void members_send(struct members *ms, size_t i, const struct buf *frame) {
    struct members_host *h = &ms->hosts[i];
    member_client_frame(h->member, h->conn, (struct slice){frame->data, (int32_t)frame->len});
}

static bool connect_client(struct members *ms, struct members_host *h) {
    uint8_t passwd[PASSWD_BYTES] = {0};
    struct proto_connect_request req = {.timeout_ms = 400000, .passwd = {passwd, PASSWD_BYTES}};
    struct buf b = BUF_INIT;
    struct slice answer;
    open_conn(ms, h);
    proto_encode(&b, PROTO_connect_request, &req);
    members_send(ms, h->id - 1u, &b);
    buf_close(&b);
    return members_answer(ms, h->id - 1u, &answer);
}

bool members_open(struct members *ms, size_t i) {
    struct members_host *h = &ms->hosts[i];
    return runs(h) && (h->open || connect_client(ms, h));
}

static void send_write(struct members *ms, struct members_host *h, size_t number) {
    char path[32], data[200];
    (void)snprintf(path, sizeof path, "/w%zu", number);
    memset(data, 'a' + (int)(number % 26), sizeof data);
    struct blob *acl = acl_open_unsafe();
    struct proto_request_header header = {.xid = ++h->xid, .type = OP_CREATE};
    struct proto_create_request req = {.path = slice_from_str(path),
                                       .data = {(uint8_t *)data, (int32_t)(number * 37 % 200)},
                                       .acl = acl_view(acl)};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_request_header, &header);
    proto_encode(&b, PROTO_create_request, &req);
    members_send(ms, h->id - 1u, &b);
    buf_close(&b);
    blob_unref(acl);
}

bool members_write(struct members *ms, size_t i) {
    struct members_host *h = &ms->hosts[i];
    if (!members_open(ms, i))
        return false;
    send_write(ms, h, ms->written);
    struct slice answer;
    if (!members_answer(ms, i, &answer))
        return false;
    struct cursor c;
    struct proto_reply_header reply;
    cursor_init(&c, answer.p, (size_t)answer.len);
    CHECK(proto_decode(&c, PROTO_reply_header, &reply));
    CHECK(reply.err == 0);
    ms->written++;
    return true;
}

void members_write_many(struct members *ms, size_t i, size_t count) {
    for (size_t k = 0; k < count; k++)
        CHECK(members_write(ms, i));
}

void members_ask_write(struct members *ms, size_t i) {
    struct members_host *h = &ms->hosts[i];
    CHECK(h->open);
    /* A name that is never acknowledged. */
    send_write(ms, h, 1000000 + (size_t)h->xid);
    settle(ms);
}

void members_word(struct members *ms, size_t i, const char *word) {
    struct members_host *h = &ms->hosts[i];
    open_conn(ms, h);
    member_client_word(h->member, h->conn, slice_from_str(word));
    settle(ms);
    buf_put_u8(&h->inbox, 0);
}

/* ---- what there is ---- */

void members_check_equal(struct members *ms) {
    const struct replica *first = members_core(ms, 0);
    for (size_t i = 0; i < ms->count; i++) {
        const struct replica *r = members_core(ms, i);
        CHECK(members_serves(ms, i));
        CHECK(core_last_zxid(r) == core_last_zxid(first));
        CHECK(tree_digest(r->tree) == tree_digest(first->tree));
        for (size_t k = 0; k < ms->written; k++) {
            char path[32];
            (void)snprintf(path, sizeof path, "/w%zu", k);
            CHECK(tree_find(r->tree, slice_from_str(path)) != NULL);
        }
    }
}

bool members_noted(const struct members *ms, size_t i, const char *text) {
    const struct buf *b = &ms->hosts[i].notes;
    return b->len > 0 && memmem(b->data, b->len, text, strlen(text)) != NULL;
}

zxid_t members_checkpoint(struct members *ms, size_t i) {
    int64_t end_ms = ms->now_ms + LIMIT_MS;
    struct checkpoint_info before, now;
    checkpoint_info(members_core(ms, i), &before);
    members_word(ms, i, "snap");
    do {
        members_run(ms, 10);
        checkpoint_info(members_core(ms, i), &now);
    } while (now.saved == before.saved && ms->now_ms < end_ms);
    CHECK(now.saved > before.saved);
    return now.zxid;
}

char *members_segment(const struct members *ms, size_t i, size_t from_last) {
    char *path = mem_files_last(ms->hosts[i].files, MEMBERS_DIR, "log.", from_last);
    CHECK(path != NULL);
    return path;
}
