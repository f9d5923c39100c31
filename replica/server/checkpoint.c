#include "replica/server/checkpoint.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/server/limits.h"
#include "replica/server/snapshot.h"
#include "replica/tree/tree_load.h"

#include <string.h>

enum stage { IDLE, WALKING, RECORDS, ENDING };

struct checkpoint {
    enum stage stage;
    struct snap_sender *sender;
    zxid_t begun;
    zxid_t ended; /* where the walk ended: the checkpoint is of here */
    zxid_t at;    /* RECORDS: up to here they are written */
    uint64_t digest;
    uint32_t under_way; /* pieces that the disk has not written */
    bool reading;       /* a read of the log is under way, of this one or an abandoned one */
    int64_t next_ms;    /* mono: not before */
    int64_t begun_ms;
    /* Behind the last one: behind where its walk ended. */
    uint64_t txns, bytes;
    uint64_t due_txns, due_bytes; /* 0: never */
    uint64_t draw;                /* the state of what draws them */
    struct {
        conn_id_t conn;
        zxid_t zxid; /* what was applied then has to be in it */
    } asked[CHECKPOINT_ASKED_MAX];
    uint32_t asked_count;
    struct checkpoint_info info;
};

struct checkpoint *checkpoint_new(void) {
    return mem_zalloc(sizeof(struct checkpoint));
}

void checkpoint_free(struct checkpoint *c) {
    if (!c)
        return;
    snap_sender_free(c->sender);
    mem_free(c);
}

/* splitmix64 (Steele, Lea, Flood: OOPSLA'14). */
static uint64_t draw(struct checkpoint *c) {
    uint64_t z = c->draw += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Between half and all of it, anew each time: so that the servers of an ensemble do not walk all at
 * once (as ZooKeeper's SyncRequestProcessor does it). */
static uint64_t draw_due(struct checkpoint *c, int64_t limit) {
    if (limit <= 0)
        return 0;
    uint64_t half = (uint64_t)limit / 2;
    return half + draw(c) % (half + 1) + (half == 0);
}

static void begin_counting(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    c->txns = c->bytes = 0;
    c->due_txns = draw_due(c, r->config.snap_count);
    c->due_bytes = draw_due(c, r->config.snap_size_limit_bytes);
}

void checkpoint_start(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    memcpy(&c->draw, r->random, sizeof c->draw);
    c->draw += r->config.server_id;
    uint64_t txns = c->txns, bytes = c->bytes;
    begin_counting(r);
    c->txns = txns; /* what was replayed counts: the next start would replay it again */
    c->bytes = bytes;
}

void checkpoint_count(struct replica *r, size_t bytes) {
    r->checkpoint->txns++;
    r->checkpoint->bytes += bytes + CHECKPOINT_RECORD_BYTES;
}

static bool is_due(const struct checkpoint *c) {
    return c->asked_count > 0 || (c->due_txns > 0 && c->txns >= c->due_txns) ||
           (c->due_bytes > 0 && c->bytes >= c->due_bytes);
}

static void begin(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    c->sender = snap_sender_new(r);
    snap_sender_for_checkpoint(c->sender, CHECKPOINT_PIECE_BYTES);
    c->begun = snap_sender_begun(c->sender);
    c->begun_ms = c->next_ms = r->mono_ms;
    c->stage = WALKING;
    c->under_way = 0;
    out_job(&r->out, (struct update){.type = UPD_CHECKPOINT_BEGIN});
}

static void put_piece(struct replica *r, const struct buf *piece) {
    out_chunk(&r->out, UPD_CHECKPOINT_CHUNK, (struct slice){piece->data, (int32_t)piece->len});
    r->checkpoint->under_way++;
}

/* The walk is over: from here on only the log is read, and what is applied counts for the next
 * one. */
static void end_walk(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    c->ended = snap_sender_ended(c->sender);
    bool exact = snap_sender_digest(c->sender, &c->digest);
    CHECK(exact);
    snap_sender_free(c->sender);
    c->sender = NULL;
    c->at = c->begun;
    c->stage = RECORDS;
    begin_counting(r);
    struct buf piece = BUF_INIT;
    snap_put_walk(&piece, &(struct snap_walk){c->begun, c->ended});
    put_piece(r, &piece);
    buf_close(&piece);
}

/* Whether the next piece has its turn, and room on the way to the disk. */
static bool has_turn(const struct replica *r) {
    const struct checkpoint *c = r->checkpoint;
    return c->under_way < CHECKPOINT_PIECES && r->mono_ms >= c->next_ms;
}

/* The core's time stands still within a wake-up of the loop: under many requests, when wake-ups are
 * long, several turns have come by then. */
static void took_turn(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    c->next_ms += CHECKPOINT_PACE_MS;
    if (c->next_ms < r->mono_ms - CHECKPOINT_LAG_MS)
        c->next_ms = r->mono_ms - CHECKPOINT_LAG_MS;
}

static void walk(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    struct buf piece = BUF_INIT;
    while (c->stage == WALKING && has_turn(r)) {
        if (snap_sender_piece(c->sender, &piece)) {
            put_piece(r, &piece);
            took_turn(r);
        }
        /* In the same step: the walk ended at what is applied now. */
        if (snap_sender_over(c->sender))
            end_walk(r);
    }
    buf_close(&piece);
}

static void end(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    struct buf piece = BUF_INIT;
    snap_put_digest(&piece, &(struct snap_digest){c->ended, c->digest});
    put_piece(r, &piece);
    buf_close(&piece);
    out_job(&r->out, (struct update){.type = UPD_CHECKPOINT_END, .zxid = c->ended});
    c->stage = ENDING;
}

static void read_records(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    if (c->at >= c->ended || MUTANT(CHECKPOINT_WITHOUT_RECORDS)) {
        end(r);
    } else if (!c->reading && has_turn(r)) {
        c->reading = true;
        out_job(&r->out, (struct update){.type = UPD_LOG_READ, .zxid = c->at});
    }
}

/* A walk over a tree that is not exact would be none. */
static bool may_begin(const struct replica *r) {
    return r->started && r->checkpoint->stage == IDLE && tree_exact(r->tree) &&
           core_last_zxid(r) > 0;
}

void checkpoint_run(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    if (may_begin(r) && is_due(c) && r->mono_ms >= c->next_ms)
        begin(r);
    if (c->stage == WALKING)
        walk(r);
    if (c->stage == RECORDS)
        read_records(r);
}

int64_t checkpoint_deadline(const struct replica *r) {
    const struct checkpoint *c = r->checkpoint;
    bool waits = c->stage == WALKING || (c->stage == RECORDS && !c->reading);
    if (waits && c->under_way < CHECKPOINT_PIECES)
        return c->next_ms;
    /* One that waits for a retry; or what came last in this step brought it about. */
    if (!may_begin(r) || !is_due(c))
        return INT64_MAX;
    return c->next_ms > r->mono_ms ? c->next_ms : r->mono_ms;
}

/* Due at once, when the time has come. */
static void try_again_later(struct replica *r) {
    struct checkpoint *c = r->checkpoint;
    c->txns = c->due_txns;
    c->bytes = c->due_bytes;
    c->next_ms = r->mono_ms + CHECKPOINT_RETRY_MS;
}

/* False when none was under way. */
static bool leave(struct checkpoint *c) {
    if (c->stage == IDLE)
        return false;
    snap_sender_free(c->sender);
    c->sender = NULL;
    c->stage = IDLE;
    c->under_way = 0;
    return true;
}

static void abandon(struct replica *r) {
    if (!leave(r->checkpoint))
        return;
    out_job(&r->out, (struct update){.type = UPD_CHECKPOINT_ABANDON});
}

void checkpoint_abandon(struct replica *r) {
    abandon(r);
    begin_counting(r);
}

void checkpoint_range(struct replica *r, const struct event *ev) {
    struct checkpoint *c = r->checkpoint;
    if (!c->reading)
        return;
    c->reading = false;
    if (c->stage != RECORDS || ev->zxid != c->at)
        return;
    struct buf piece = BUF_INIT;
    for (size_t i = 0; i < ev->record_count && ev->records[i].zxid <= c->ended; i++) {
        snap_put_record(&piece, &ev->records[i]);
        c->at = ev->records[i].zxid;
    }
    if (piece.len > 0) {
        put_piece(r, &piece);
        took_turn(r);
    } else {
        /* What is applied is in the log: a purge or a truncation took it meanwhile. */
        abandon(r);
        try_again_later(r);
    }
    buf_close(&piece);
}

void checkpoint_written(struct replica *r, uint64_t count) {
    struct checkpoint *c = r->checkpoint;
    CHECK(count <= c->under_way || c->stage == IDLE);
    c->under_way -= count <= c->under_way ? (uint32_t)count : c->under_way;
}

/* Tells those who asked for one of up to zxid by the word snap, and lets them go. */
static void answer_asked(struct replica *r, zxid_t zxid, const char *text, size_t len) {
    struct checkpoint *c = r->checkpoint;
    uint32_t left = 0;
    for (uint32_t i = 0; i < c->asked_count; i++) {
        struct conn *conn = conn_find(&r->conns, c->asked[i].conn);
        if (conn && c->asked[i].zxid > zxid) {
            c->asked[left++] = c->asked[i];
        } else if (conn) {
            out_bytes(&r->out, conn->id, text, len);
            core_hang_up(r, conn);
        }
    }
    c->asked_count = left;
}

void checkpoint_saved(struct replica *r, zxid_t zxid, uint64_t size_bytes) {
    struct checkpoint *c = r->checkpoint;
    if (c->stage != ENDING)
        return;
    c->stage = IDLE;
    c->next_ms = r->mono_ms;
    c->info.saved++;
    c->info.zxid = zxid;
    c->info.last_bytes = size_bytes;
    c->info.last_ms = r->mono_ms - c->begun_ms;
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
             "a snapshot was saved zxid=0x%llx bytes=%llu znodes=%llu ms=%lld",
             (unsigned long long)zxid, (unsigned long long)size_bytes,
             (unsigned long long)tree_znode_count(r->tree), (long long)c->info.last_ms);
    struct buf text = BUF_INIT;
    buf_printf(&text, "snapshot: %s/log/snapshot.%016llx\nzxid: 0x%llx\nbytes: %llu\n",
               r->config.data_log_dir ? r->config.data_log_dir : ".", (unsigned long long)zxid,
               (unsigned long long)zxid, (unsigned long long)size_bytes);
    answer_asked(r, zxid, (const char *)text.data, text.len);
    buf_close(&text);
}

void checkpoint_failed(struct replica *r, struct slice why) {
    struct checkpoint *c = r->checkpoint;
    if (!leave(c))
        return;
    c->info.failed++;
    try_again_later(r);
    out_text(&r->out, UPD_NOTE, 0, LOG_ERROR,
             "no snapshot could be saved, the log goes on growing: %.*s retry_ms=%d",
             why.len > 0 ? why.len : 0, (const char *)why.p, CHECKPOINT_RETRY_MS);
    struct buf text = BUF_INIT;
    buf_printf(&text, "no snapshot: %.*s\n", why.len > 0 ? why.len : 0, (const char *)why.p);
    answer_asked(r, INT64_MAX, (const char *)text.data, text.len);
    buf_close(&text);
}

void checkpoint_ask(struct replica *r, struct conn *conn) {
    struct checkpoint *c = r->checkpoint;
    static const char busy[] = "too many ask for a snapshot at once\n";
    if (c->asked_count == CHECKPOINT_ASKED_MAX) {
        out_bytes(&r->out, conn->id, busy, sizeof busy - 1);
        core_hang_up(r, conn);
        return;
    }
    conn_established(&r->conns, conn); /* it waits as long as it takes */
    c->asked[c->asked_count].conn = conn->id;
    c->asked[c->asked_count++].zxid = core_last_zxid(r);
    if (c->stage == IDLE)
        c->next_ms = r->mono_ms;
}

void checkpoint_info(const struct replica *r, struct checkpoint_info *ret_info) {
    *ret_info = r->checkpoint->info;
    ret_info->under_way = r->checkpoint->stage != IDLE;
}
