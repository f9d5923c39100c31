#include "tests/unit/server/checkpoint_play.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>

struct play play;

void play_snapshot_clear(struct play_snapshot *s) {
    while (s->count > 0)
        blob_unref(s->pieces[--s->count]);
    s->zxid = 0;
}

void play_snapshot_add(struct play_snapshot *s, const struct buf *piece) {
    ck_assert_uint_lt(s->count, PLAY_PIECES_MAX);
    s->pieces[s->count++] = blob_new(piece->data, piece->len);
}

void play_update(struct harness *h, const struct update *u) {
    switch (u->type) {
    case UPD_CHECKPOINT_BEGIN:
        ck_assert(!play.under_way);
        play_snapshot_clear(&play.coming);
        play.told = 0;
        play.under_way = true;
        play.begun++;
        break;
    case UPD_CHECKPOINT_CHUNK:
        ck_assert(play.under_way);
        ck_assert_int_gt(u->bytes.len, 0);
        play.coming.pieces[play.coming.count++] = blob_from_slice(u->bytes);
        break;
    case UPD_CHECKPOINT_END:
        ck_assert(play.under_way);
        play.coming.zxid = u->zxid;
        play.ended++;
        break;
    case UPD_CHECKPOINT_ABANDON:
        play.under_way = false;
        play.abandoned++;
        break;
    case UPD_LOG_READ:
        ck_assert_uint_eq(u->peer, 0);
        ck_assert(!play.read_asked);
        play.read_asked = true;
        play.read_after = u->zxid;
        break;
    case UPD_SNAP_REFUSED:
        play.refused = true;
        (void)snprintf(play.refused_why, sizeof play.refused_why, "%.*s", u->bytes.len,
                       (const char *)u->bytes.p);
        break;
    default:
        ck_assert_msg(false, "no use for update %d", u->type);
    }
}

struct harness *play_started_as(uint8_t server_id, int64_t snap_count, int64_t size_bytes) {
    struct replica_config config = h_config();
    config.server_id = server_id;
    config.snap_count = snap_count;
    config.snap_size_limit_bytes = size_bytes;
    config.word_whitelist = "*";
    struct harness *h = h_new(&config);
    h->other = play_update;
    h_start(h);
    return h;
}

struct harness *play_started(int64_t snap_count) {
    return play_started_as(0, snap_count, 0);
}

void play_free(struct harness *h) {
    play_snapshot_clear(&play.coming);
    play_snapshot_clear(&play.saved);
    play = (struct play){0};
    h_free(h);
}

void play_written(struct harness *h) {
    size_t count = play.coming.count - play.told;
    play.told = play.coming.count;
    if (count > 0)
        h_step(h, (struct event){.type = EV_CHECKPOINT_WRITTEN, .count = count});
}

void play_range(struct harness *h) {
    static struct log_record records[4096];
    size_t n = 0;
    ck_assert(play.read_asked);
    play.read_asked = false;
    for (size_t i = 0; i < h->synced && !play.read_fails; i++) {
        const struct h_record *r = &h->log[i];
        if (r->zxid <= play.read_after || (play.read_max > 0 && n == play.read_max))
            continue;
        records[n++] = (struct log_record){r->kind, r->zxid, r->committed, blob_slice(r->payload)};
    }
    h_step(h, (struct event){.type = EV_LOG_RANGE,
                             .zxid = play.read_after,
                             .records = records,
                             .record_count = n});
}

void play_saved(struct harness *h) {
    ck_assert_int_gt(play.coming.zxid, 0);
    play_snapshot_clear(&play.saved);
    play.saved = play.coming;
    play.coming = (struct play_snapshot){.count = 0};
    play.told = 0;
    play.under_way = false;
    h_step(h, (struct event){
                  .type = EV_CHECKPOINT_SAVED, .zxid = play.saved.zxid, .size_bytes = 1234});
}

bool play_to_end(struct harness *h) {
    while (play.under_way && play.coming.zxid == 0) {
        if (play.read_asked)
            play_range(h);
        play_written(h);
        h_advance(h, 1);
    }
    if (!play.under_way)
        return false;
    play_written(h);
    play_saved(h);
    return true;
}

/* ---- a start ---- */

static bool feed(struct harness *h, const struct play_snapshot *s, zxid_t zxid) {
    for (size_t i = 0; i < s->count && !play.refused; i++)
        h_event(h, (struct event){.type = EV_SNAP_CHUNK, .bytes = blob_slice(s->pieces[i])});
    if (!play.refused)
        h_event(h, (struct event){.type = EV_SNAP_END, .zxid = zxid, .ended = zxid});
    return !play.refused;
}

/* What of the log is behind the snapshot: the harness gives all that it has. */
static void recover(struct harness *h) {
    play.refused = false;
    if (play.reset_first > 0) {
        ck_assert(!feed(h, &play.coming, play.reset_first));
        play.refused = false;
        h_event(h, (struct event){.type = EV_SNAP_RESET});
    }
    if (play.start_from && !feed(h, play.start_from, play.start_from->zxid)) {
        h_event(h, (struct event){.type = EV_SNAP_RESET});
        play.start_from = NULL;
    }
    h->recover_after = play.start_from ? play.start_from->zxid : 0;
}

void play_restart(struct harness *h) {
    play.start_from = &play.saved;
    play.under_way = play.read_asked = false;
    h->recover = recover;
    h_restart(h);
}
