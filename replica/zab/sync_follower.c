/* Synchronisation and broadcast, phases 2 and 3 of Zab (DSN'11, sections V-B and V-C), the
 * learner's side. Its log is made equal to the leader's first; memory follows the log. */
#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/zab/zab_state.h"

/* A leader that breaks the protocol is left, and its link made anew: never warned about and
 * continued with. */
void sync_follow_broken(struct zab *z, const char *why) {
    zab_drop(z, zab_peer(z, z->leader), why);
}

static void progress(struct zab *z) { z->progress_ms = z->now_ms; }

/* Something that was applied here, so committed, is not in what this leader begins with. But an
 * observer keeps no promise: it may have come to a leader that was replaced, and does not know. */
static void contradicted(struct zab *z, const char *why) {
    if (z->lead_epoch < z->accepted)
        sync_follow_broken(z, "the leader was replaced");
    else
        zab_fatal(z, why);
}

/* The history ends where the leader's is the same, durably. */
static void ready(struct zab *z, zxid_t committed) {
    z->follow_phase = FOLLOW_STREAMING;
    z->history.committed = zab_max(z->history.committed, committed);
    out_send(z, z->leader, ZM_SYNCREADY)->zxid = z->history.last;
    lossy_synced(z, z->sync_ended);
    progress(z);
}

/* Z5, R6: what stands behind the last common record is not in the leader's history, so it was never
 * committed and never applied. */
static void truncate(struct zab *z, const struct zab_msg *m) {
    if (m->zxid < z->history.applied) {
        contradicted(z, "told to truncate what was committed: a foreign or a damaged history");
        return;
    }
    if (!history_has(&z->history, m->zxid) || m->zxid >= z->history.last) {
        sync_follow_broken(z, "told to truncate to what is not in this history");
        return;
    }
    z->follow_phase = FOLLOW_TRUNCATING;
    z->truncating = true;
    z->truncate_to = m->zxid;
    z->sync_committed = m->committed;
    out_push(z, ZAB_LOG_TRUNCATE)->zxid = m->zxid;
}

/* f.2.1. */
void sync_follow(struct zab *z, const struct zab_msg *m) {
    progress(z);
    lossy_forget(z);
    z->sync_ended = m->ended;
    if (zxid_epoch(m->committed) > z->accepted) {
        sync_follow_broken(z, "a commit of an epoch that was not promised");
    } else if (m->mode == ZAB_SYNC_DIFF && m->zxid == z->history.last) {
        ready(z, m->committed);
    } else if (m->mode == ZAB_SYNC_TRUNC) {
        truncate(z, m);
    } else if (m->mode == ZAB_SYNC_SNAP) {
        z->follow_phase = FOLLOW_SNAPSHOT;
        z->sync_committed = m->committed;
        out_push(z, ZAB_SNAP_BEGIN);
    } else {
        sync_follow_broken(z, "a synchronisation that does not begin where this history ends");
    }
}

void zab_log_truncated(struct zab *z) {
    if (z->dead)
        return;
    CHECK(z->truncating);
    z->truncating = false;
    history_truncate(&z->history, z->truncate_to);
    if (z->role != ZAB_LOOKING && z->follow_phase == FOLLOW_TRUNCATING)
        ready(z, z->sync_committed);
    zab_advance(z);
}

void sync_follow_chunk(struct zab *z, const struct zab_msg *m) {
    if (!m->payload) {
        sync_follow_broken(z, "a piece of a snapshot without bytes");
        return;
    }
    progress(z);
    out_push(z, ZAB_SNAP_CHUNK)->payload = blob_ref(m->payload);
}

/* R4: from here the disk holds the old history or the new one; nobody asks this server for either
 * before it has answered. */
void sync_follow_end(struct zab *z, const struct zab_msg *m) {
    if (m->zxid < 0 || m->ended < m->zxid || (!z->observer && zxid_epoch(m->ended) > z->accepted)) {
        sync_follow_broken(z, "a snapshot that does not say what it is of");
        return;
    }
    if (m->zxid < z->history.applied) {
        contradicted(
            z, "sent a snapshot from before what was applied: a foreign or a damaged history");
        return;
    }
    progress(z);
    z->follow_phase = FOLLOW_INSTALLING;
    z->installing = true;
    z->snap_begun = m->zxid;
    z->snap_ended = MUTANT(SNAPSHOT_IS_EXACT) ? m->zxid : m->ended;
    struct zab_out *o = out_push(z, ZAB_SNAP_END);
    o->zxid = m->zxid;
    o->ended = z->snap_ended;
}

void zab_snap_installed(struct zab *z) {
    if (z->dead)
        return;
    CHECK(z->installing);
    z->installing = false;
    history_reset(&z->history, z->snap_begun);
    z->history.committed = zab_max(z->history.committed, z->snap_ended);
    if (z->role != ZAB_LOOKING && z->follow_phase == FOLLOW_INSTALLING)
        ready(z, z->sync_committed);
    zab_advance(z);
}

/* f.2.1, f.3.1: to the log; the acknowledgement waits for the disk. An INFORM is committed. R5: a
 * gap is never accepted; R7: nor is an epoch that was not promised. */
void sync_follow_record(struct zab *z, const struct zab_msg *m) {
    if (!history_follows(&z->history, m->kind, m->zxid)) {
        sync_follow_broken(z, "a record that does not follow the last one");
        return;
    }
    if (zxid_epoch(m->zxid) > z->accepted) {
        sync_follow_broken(z, "a record of an epoch that was not promised");
        return;
    }
    progress(z);
    zab_append(z, m->zxid, blob_ref(m->payload));
    if (z->observer)
        z->history.committed = zab_max(z->history.committed, m->zxid);
    if (MUTANT(ACK_BEFORE_SYNC))
        out_send(z, z->leader, ZM_ACK)->zxid = m->zxid;
}

/* f.3.2; also what a PING tells. A COMMIT covers only what was sent before. */
void sync_follow_commit(struct zab *z, const struct zab_msg *m) {
    if (m->zxid > z->history.last) {
        sync_follow_broken(z, "a commit of what was not proposed");
        return;
    }
    z->history.committed = zab_max(z->history.committed, m->zxid);
}

/* R8: with the latest committed zxid; this server serves when it has applied that far (S6). */
void sync_follow_uptodate(struct zab *z, const struct zab_msg *m) {
    progress(z);
    if (zxid_epoch(m->zxid) > z->accepted) {
        sync_follow_broken(z, "brought up to date to an epoch that was not promised");
        return;
    }
    if (z->uptodate)
        return;
    z->uptodate = true;
    z->uptodate_zxid = m->zxid;
    z->uptodate_epoch = z->lead_epoch;
    z->history.committed = zab_max(z->history.committed, m->zxid);
}

void sync_follow_app(struct zab *z, const struct zab_msg *m) {
    if (!m->payload) {
        sync_follow_broken(z, "an empty message for the server room");
        return;
    }
    struct zab_app_wait *w = mem_alloc(sizeof *w);
    *w = (struct zab_app_wait){blob_ref(m->payload), m->zxid, NULL};
    *z->apps_end = w;
    z->apps_end = &w->next;
}

static struct blob *take_app(struct zab *z) {
    struct zab_app_wait *w = z->apps;
    struct blob *payload = w->payload;
    z->apps = w->next;
    if (!z->apps)
        z->apps_end = &z->apps;
    mem_free(w);
    return payload;
}

/* The pieces of a snapshot that has not ended are of no use; the old log is as it was. */
void sync_follow_leave(struct zab *z) {
    while (z->apps)
        blob_unref(take_app(z));
    bool pieces =
        z->role != ZAB_LOOKING && z->role != ZAB_LEADING && z->follow_phase == FOLLOW_SNAPSHOT;
    if (pieces)
        out_push(z, ZAB_SNAP_ABANDON);
    z->follow_phase = FOLLOW_JOINING;
    z->uptodate = false;
    z->promise = 0;
}

bool sync_follow_settle(struct zab *z) {
    bool applied = z->history.applied >= z->uptodate_zxid || MUTANT(SERVE_BEFORE_APPLIED);
    bool early = MUTANT(SERVE_BEFORE_UPTODATE) && z->role != ZAB_LOOKING &&
                 z->follow_phase == FOLLOW_STREAMING;
    if (early && !z->uptodate)
        z->uptodate_epoch = z->lead_epoch;
    if ((z->uptodate || early) && !z->serving && (applied || early)) {
        z->serving = true;
        out_push(z, ZAB_SERVE)->epoch = z->uptodate_epoch;
        return true;
    }
    if (z->serving && z->apps && z->history.applied >= z->apps->zxid) {
        zxid_t zxid = z->apps->zxid;
        struct zab_out *o = out_push(z, ZAB_APP);
        o->peer = z->leader;
        o->zxid = zxid;
        o->payload = take_app(z);
        return true;
    }
    return false;
}
