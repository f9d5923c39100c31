#include "replica/zab/learner.h"

#include "common/check.h"

void learner_reset(struct learner *l) {
    l->state = LEARNER_NONE;
    l->attachment = 0;
    l->accepted = l->promised = 0;
    l->lossy = l->room = l->full = false;
    l->blank = l->counted = l->refused = l->foreign = l->uptodate = l->snap_streaming = false;
    l->common = l->last = l->snap_needed = 0;
    l->sent = l->acked = l->commit_sent = l->snap_begun = 0;
    l->window.first = l->window.count = 0;
    l->window.bytes = 0;
    l->snap_sent = l->snap_passed = l->snap_ping_round = l->snap_ping_sent = 0;
}

/* Marks grow until each has its share of the window: so there are never more of them than places.
 * The last one takes what is beyond (a record may be as long as it likes). */
void learner_window_add(struct learner_window *w, zxid_t zxid, uint64_t bytes,
                        uint64_t window_bytes) {
    uint32_t last = (w->first + w->count - 1) % LEARNER_MARKS;
    bool grows = w->count > 0 && (w->marks[last].bytes < window_bytes / (LEARNER_MARKS / 2) ||
                                  w->count == LEARNER_MARKS);
    if (grows) {
        w->marks[last].zxid = zxid;
        w->marks[last].bytes += bytes;
    } else {
        uint32_t next = (w->first + w->count++) % LEARNER_MARKS;
        w->marks[next].zxid = zxid;
        w->marks[next].bytes = bytes;
    }
    w->bytes += bytes;
}

void learner_window_acked(struct learner_window *w, zxid_t zxid) {
    while (w->count > 0 && w->marks[w->first].zxid <= zxid) {
        CHECK(w->bytes >= w->marks[w->first].bytes);
        w->bytes -= w->marks[w->first].bytes;
        w->first = (w->first + 1) % LEARNER_MARKS;
        w->count--;
    }
}
