/* What is missing, and from whom it comes. */
#include "common/check.h"
#include "common/mem.h"
#include "replica/server/hash.h"
#include "replica/server/repair_state.h"

typedef unsigned long long ull;

/* ---- the islands ---- */

/* The one at hand is of no use after all. */
static void drop_island(struct repair *r) {
    if (r->next == r->island_count)
        return;
    r->island_count--;
    for (size_t i = r->next; i < r->island_count; i++)
        r->islands[i] = r->islands[i + 1];
}

/* The first island that goes beyond what is written; NULL: none does. */
static struct repair_island *next_island(struct repair *r) {
    while (r->next < r->island_count && r->islands[r->next].last <= r->at)
        r->next++;
    return r->next < r->island_count ? &r->islands[r->next] : NULL;
}

/* Whether it goes on where the writing is. */
static bool goes_on(const struct repair *r, const struct repair_island *i) {
    return i->before == r->at || i->first <= r->at;
}

static uint64_t record_sum(const struct log_record *rec) {
    uint64_t sum = rec->payload.len > 0 ? XXH3_64bits(rec->payload.p, (size_t)rec->payload.len) : 0;
    return sum ^ (uint64_t)rec->kind;
}

bool repair_fill_text(const struct repair *r, struct buf *out) {
    size_t holes = 0;
    zxid_t at = r->at, first = r->at;
    for (size_t i = r->next; i < r->island_count; i++) {
        const struct repair_island *island = &r->islands[i];
        if (island->last <= at)
            continue;
        bool hole = !(island->before == at || island->first <= at);
        first = hole && holes == 0 ? at : first;
        holes += hole;
        at = island->last;
    }
    first = holes == 0 ? at : first;
    holes += r->known_end > at;
    if (holes == 0)
        buf_printf(out, "nothing is missing");
    else
        buf_printf(out, "%zu %s missing, the first behind zxid 0x%llx", holes,
                   holes == 1 ? "part is" : "parts are", (ull)first);
    if (r->got > 0)
        buf_printf(out, "; %llu records came so far", (ull)r->got);
    if (r->lossy)
        buf_printf(out, "; more may have been there, which a leader will tell");
    return holes > 0;
}

/* ---- whom to ask ---- */

static void forget_answers(struct repair *r) {
    for (unsigned i = 0; i < 256; i++)
        r->peers[i].said = REPAIR_SAID_NOTHING;
    r->retry_ms = INT64_MAX;
}

/* Another question. */
static void new_question(struct repair *r, zxid_t target) {
    r->phase = REPAIR_ASKING;
    r->target = target;
    r->asked = 0;
    r->check_first = false;
    forget_answers(r);
    for (unsigned i = 0; i < 256; i++)
        r->peers[i].absent = false;
}

static bool may_ask(const struct repair *r, unsigned i, enum repair_said said) {
    const struct repair_peer *p = &r->peers[i];
    return p->known && !p->foreign && p->said == said;
}

static uint8_t find_peer(const struct repair *r, enum repair_said said) {
    for (unsigned i = 0; i < 256; i++)
        if (may_ask(r, i, said))
            return (uint8_t)i;
    return 0;
}

/* Whether those who may have what lies in the hole are no quorum: then it was never committed. It
 * may be committed yet, by the acknowledgement that this server gave when it had it: so it is lossy
 * then, and counts for nothing until a leader has told it all. */
static bool never_committed(const struct repair *r) {
    struct quorum_set rest = {{0}};
    for (uint32_t i = 0; i < r->ensemble.count; i++)
        if (!r->peers[r->ensemble.servers[i].id].absent)
            quorum_add(&rest, r->ensemble.servers[i].id);
    return !quorum_holds(&r->ensemble, &rest);
}

static void ask(struct repair *r, uint8_t peer) {
    const struct repair_msg m = {.type = REPAIR_ASK, .after = r->at, .until = r->target};
    r->asked = peer;
    r->asked_ms = r->mono_ms;
    repair_send(r, peer, &m);
}

static void fetch(struct repair *r, uint8_t peer) {
    const struct repair_msg m = {
        .type = REPAIR_SNAP_ASK, .begun = r->snap_begun, .offset = r->snap_offset};
    r->asked = peer;
    r->asked_ms = r->mono_ms;
    repair_send(r, peer, &m);
}

/* ---- what to do next ---- */

static void end(struct repair *r) {
    r->phase = REPAIR_ENDED;
    repair_note(r, LOG_INFO, "what can be had of the history is here zxid=0x%llx records=%llu%s",
                (ull)r->at, (ull)r->got,
                r->lossy ? "; more may have been there: this server counts only where every "
                           "voter takes part, until a leader has told it all"
                         : "");
    out_job(&r->out, (struct update){.type = UPD_REBUILD_END, .lossy = r->lossy});
}

static void give_up(struct repair *r) {
    repair_note(r, LOG_WARN,
                "what is missing was never committed, and goes with what is behind it "
                "zxid=0x%llx until=0x%llx",
                (ull)r->at, (ull)r->target);
    r->island_count = r->next;
    r->known_end = r->at;
    r->lossy = true;
    end(r);
}

/* Nobody who is there can give it. At the beginning nobody is there yet, of which the log speaks
 * only when it stays so. */
static void wait(struct repair *r) {
    bool early = r->retry_ms == INT64_MAX && !r->met;
    if (r->retry_ms == INT64_MAX)
        r->retry_ms = r->mono_ms + REPAIR_RETRY_MS;
    if (r->waited_for == r->at || early)
        return;
    r->waited_for = r->at;
    repair_note(r, LOG_WARN,
                "nobody who is there has what is missing: waiting for the others zxid=0x%llx "
                "until=0x%llx",
                (ull)r->at, (ull)r->target);
}

static void begin_fetching(struct repair *r, uint8_t peer) {
    r->phase = REPAIR_FETCHING;
    r->snap_begun = 0;
    r->snap_offset = r->snap_size = 0;
    repair_note(r, LOG_INFO,
                "nobody's log reaches back to what is missing: taking a snapshot "
                "peer=%u",
                peer);
    fetch(r, peer);
}

static void ask_on(struct repair *r) {
    uint8_t peer =
        may_ask(r, r->giver, REPAIR_SAID_NOTHING) ? r->giver : find_peer(r, REPAIR_SAID_NOTHING);
    if (peer != 0) {
        ask(r, peer);
        return;
    }
    peer = find_peer(r, REPAIR_SAID_PURGED);
    if (never_committed(r))
        give_up(r);
    else if (peer != 0)
        begin_fetching(r, peer);
    else
        wait(r);
}

static void copy(struct repair *r, const struct repair_island *island) {
    r->phase = REPAIR_COPYING;
    r->target = island->last;
    r->asked = 0;
    out_job(&r->out, (struct update){.type = UPD_REBUILD_COPY,
                                     .zxid = r->at,
                                     .ended = island->last,
                                     .first = island->first > r->at ? island->first : 0});
}

/* What comes behind what is written. */
static void advance(struct repair *r) {
    const struct repair_island *island = next_island(r);
    if (island != NULL && goes_on(r, island)) {
        copy(r, island);
        return;
    }
    zxid_t target = island != NULL ? island->first : r->known_end;
    if (target <= r->at) {
        end(r);
        return;
    }
    if (r->phase != REPAIR_ASKING || r->target != target)
        new_question(r, target);
    if (r->asked == 0)
        ask_on(r);
}

/* From the beginning: what was written counts no more. */
static void begin_anew(struct repair *r) {
    r->at = r->base;
    r->next = 0;
    r->phase = REPAIR_COPYING;
    r->asked = 0;
    r->check_first = false;
    out_job(&r->out, (struct update){.type = UPD_REBUILD_BEGIN, .zxid = r->base});
    advance(r);
}

void repair_fill_begin(struct repair *r) {
    struct buf text = BUF_INIT;
    r->at = r->base;
    r->waited_for = -1;
    r->retry_ms = INT64_MAX;
    if (r->damage[0] != '\0')
        repair_note(r, LOG_WARN, "the disk is damaged: %s", r->damage);
    bool missing = repair_fill_text(r, &text);
    repair_note(r, LOG_WARN, "the history is written anew%s: %.*s",
                missing ? ", and what is missing comes from the others" : "", (int)text.len,
                (const char *)text.data);
    buf_close(&text);
    begin_anew(r);
}

/* ---- copying ---- */

/* What others have under the number of a record of ours has to be that record: a zxid names one
 * record for ever. */
static bool is_ours(struct repair *r, const struct log_record *first) {
    bool same = !r->check_first || record_sum(first) == r->first_sum;
    r->check_first = false;
    if (same)
        return true;
    repair_note(r, LOG_WARN,
                "a peer has another record under the number of one that is here: it belongs to "
                "another ensemble, or is damaged peer=%u zxid=0x%llx",
                r->first_from, (ull)first->zxid);
    r->peers[r->first_from].foreign = true;
    r->islands[r->next].before = r->first_before;
    r->got = 0;
    begin_anew(r);
    return false;
}

void repair_fill_copied(struct repair *r, const struct event *ev) {
    if (r->phase != REPAIR_COPYING)
        return;
    if (ev->zxid <= r->at) {
        /* It does not go on here after all, or is not whole any more. */
        drop_island(r);
    } else {
        if (ev->record != NULL && !is_ours(r, ev->record))
            return;
        r->at = ev->zxid;
    }
    advance(r);
}

/* ---- answers ---- */

static void take_records(struct repair *r, uint8_t peer, const struct repair_msg *m) {
    struct repair_island *island = next_island(r);
    for (size_t i = 0; i < m->record_count; i++) {
        const struct log_record *rec = &m->records[i];
        if (island != NULL && rec->zxid >= island->first) {
            /* The decoder saw to it that this one follows the last. */
            r->check_first = true;
            r->first_before = island->before;
            island->before = r->at;
            r->first_sum = record_sum(rec);
            r->first_from = peer;
            break;
        }
        out_log_append(&r->out, rec);
        r->at = rec->zxid;
        r->got++;
    }
    r->asked = 0;
    r->giver = peer;
    forget_answers(r);
}

static void take_none(struct repair *r, uint8_t peer, enum repair_reason reason) {
    struct repair_peer *p = &r->peers[peer];
    p->said = reason == REPAIR_PURGED ? REPAIR_SAID_PURGED : REPAIR_SAID_NO;
    p->absent = reason == REPAIR_ABSENT;
    if (r->asked == peer)
        r->asked = 0;
}

/* That of the peer is of no use. */
static void stop_fetching(struct repair *r, uint8_t peer) {
    r->peers[peer].said = REPAIR_SAID_SPENT;
    out_job(&r->out, (struct update){.type = UPD_SNAP_ABANDON});
    /* The question is the one before. */
    r->phase = REPAIR_ASKING;
    r->asked = 0;
}

static void take_piece(struct repair *r, uint8_t peer, const struct repair_msg *m) {
    if (r->snap_begun == 0 && m->offset == 0) {
        if (m->begun <= r->at) {
            stop_fetching(r, peer);
            return;
        }
        r->snap_begun = m->begun;
        r->snap_size = m->size_bytes;
        out_job(&r->out, (struct update){.type = UPD_SNAP_BEGIN});
    }
    if (m->begun != r->snap_begun || m->size_bytes != r->snap_size || m->offset != r->snap_offset)
        return; /* of an earlier question */
    out_chunk(&r->out, UPD_SNAP_CHUNK, m->bytes);
    r->snap_offset += (uint64_t)m->bytes.len;
    if (r->snap_offset < r->snap_size) {
        fetch(r, peer);
        return;
    }
    r->phase = REPAIR_SETTLING;
    out_job(&r->out, (struct update){.type = UPD_SNAP_END, .zxid = m->begun});
}

void repair_fill_answer(struct repair *r, uint8_t peer, const struct repair_msg *m) {
    if (r->peers[peer].foreign)
        return;
    bool to_this = r->phase == REPAIR_ASKING && m->after == r->at && m->until == r->target;
    bool of_this = r->phase == REPAIR_FETCHING && r->asked == peer;
    if (m->type == REPAIR_RECORDS && to_this)
        take_records(r, peer, m);
    else if (m->type == REPAIR_NONE && to_this)
        take_none(r, peer, m->reason);
    else if (m->type == REPAIR_SNAP_PIECE && of_this)
        take_piece(r, peer, m);
    else if (m->type == REPAIR_SNAP_NONE && of_this)
        stop_fetching(r, peer);
    if (r->phase == REPAIR_ASKING)
        advance(r);
}

void repair_fill_installed(struct repair *r, zxid_t begun) {
    if (r->phase != REPAIR_SETTLING)
        return;
    r->at = begun;
    if (r->known_end < begun)
        r->known_end = begun;
    repair_note(r, LOG_INFO,
                "a snapshot of another server is what the history begins with "
                "zxid=0x%llx",
                (ull)begun);
    r->phase = REPAIR_COPYING;
    advance(r);
}

void repair_fill_refused(struct repair *r) {
    if (r->phase != REPAIR_SETTLING)
        return;
    repair_note(r, LOG_WARN, "the snapshot that came is not whole peer=%u", r->asked);
    stop_fetching(r, r->asked);
    advance(r);
}

/* ---- links and time ---- */

void repair_fill_peer_up(struct repair *r, uint8_t peer) {
    r->met = true;
    r->peers[peer].said = REPAIR_SAID_NOTHING;
    if (r->phase == REPAIR_ASKING)
        advance(r);
}

void repair_fill_peer_down(struct repair *r, uint8_t peer) {
    if (r->asked != peer)
        return;
    if (r->phase == REPAIR_FETCHING)
        stop_fetching(r, peer);
    r->asked = r->phase == REPAIR_SETTLING ? r->asked : 0;
    if (r->phase == REPAIR_ASKING)
        advance(r);
}

void repair_fill_clock(struct repair *r) {
    bool waits = r->phase == REPAIR_ASKING || r->phase == REPAIR_FETCHING;
    if (waits && r->asked != 0 && r->mono_ms >= r->asked_ms + REPAIR_ANSWER_MS)
        repair_drop_peer(r, r->asked, "it does not answer");
    if (r->phase == REPAIR_ASKING && r->asked == 0 && r->mono_ms >= r->retry_ms) {
        forget_answers(r);
        r->met = true;
        advance(r);
    }
}

int64_t repair_fill_deadline(const struct repair *r) {
    bool waits = r->phase == REPAIR_ASKING || r->phase == REPAIR_FETCHING;
    if (!waits)
        return INT64_MAX;
    return r->asked != 0 ? r->asked_ms + REPAIR_ANSWER_MS : r->retry_ms;
}
