/* Checkpoints in the model: a start reads the newest one, and of the history only what is behind
 * it. */
#include <stdio.h>

#include "common/check.h"
#include "tests/unit/store/model.h"

static struct model_checkpoint *newest_of(struct model *m, zxid_t zxid) {
    for (size_t i = m->checkpoint_count; i > 0; i--)
        if (m->checkpoints[i - 1].zxid == zxid)
            return &m->checkpoints[i - 1];
    return NULL;
}

zxid_t model_newest_checkpoint(const struct model *m) {
    uint32_t history = m->states[m->count - 1].history;
    zxid_t newest = 0;
    for (size_t i = 0; i < m->checkpoint_count; i++) {
        const struct model_checkpoint *c = &m->checkpoints[i];
        if (c->history == history && c->zxid > newest)
            newest = c->zxid;
    }
    return newest;
}

/* ---- jobs ---- */

void model_checkpoint_begin(struct model *m) {
    m->checkpoint_writing = ++m->ids;
    m->checkpoint_pieces = 0;
    store_checkpoint_begin(m->store);
}

bool model_checkpoint_chunk(struct model *m) {
    struct buf b = BUF_INIT;
    if (m->checkpoint_pieces == model_piece_count(m->checkpoint_writing))
        return false;
    model_piece(&b, m->checkpoint_writing, m->checkpoint_pieces++);
    store_checkpoint_chunk(m->store, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
    return true;
}

void model_checkpoint_end(struct model *m, zxid_t zxid) {
    size_t next = 0;
    CHECK(model_holds(&m->states[0], zxid, &next));
    CHECK(m->checkpoint_count < MODEL_CHECKPOINTS_MAX);
    m->checkpoints[m->checkpoint_count++] = (struct model_checkpoint){
        .zxid = zxid, .id = m->checkpoint_writing, .history = m->states[0].history};
    m->checkpoint_writing = 0;
    store_checkpoint_end(m->store, zxid);
}

void model_checkpoint_abandon(struct model *m) {
    m->checkpoint_writing = 0;
    store_checkpoint_abandon(m->store);
}

int model_checkpoint_ran(struct model *m) {
    struct store_checkpoint_done *done = &m->checkpoint_done;
    store_checkpoint_end_run(m->store, done);
    if (done->err != 0)
        m->checkpoint_writing = 0;
    if (done->saved_zxid > 0) {
        CHECK(done->saved_bytes > 0);
        newest_of(m, done->saved_zxid)->sure = true;
    }
    return done->err;
}

void model_checkpoint_whole(struct model *m, zxid_t zxid) {
    model_checkpoint_begin(m);
    while (model_checkpoint_chunk(m))
        ;
    model_checkpoint_end(m, zxid);
}

static bool is_short(uint32_t id) {
    struct buf b = BUF_INIT;
    bool is = model_piece_count(id) == 2;
    for (size_t i = 0; i < 2; i++) {
        model_piece(&b, id, i);
        is = is && b.len > 0 && b.len < 60;
    }
    buf_close(&b);
    return is;
}

void model_next_is_short(struct model *m) {
    while (!is_short(m->ids + 1))
        m->ids++;
}

static int run_once(struct model *m) {
    store_checkpoint_start(m->store);
    store_checkpoint_run(m->store);
    return model_checkpoint_ran(m);
}

int model_checkpoint(struct model *m, zxid_t zxid) {
    model_checkpoint_whole(m, zxid);
    int err = run_once(m);
    return err == 0 && model_purge(m) ? run_once(m) : err;
}

/* ---- the purge ---- */

/* How many snapshots of the history are not older than zxid: those that are made once more count
 * once. */
static int32_t count_from(const struct model *m, zxid_t zxid) {
    const struct model_state *s = &m->states[0];
    int32_t count = s->snap != 0 && s->begun >= zxid;
    for (size_t i = 0; i < m->checkpoint_count; i++) {
        const struct model_checkpoint *c = &m->checkpoints[i];
        bool again = c->zxid == s->begun && s->snap != 0;
        for (size_t k = 0; k < i; k++)
            again = again || m->checkpoints[k].zxid == c->zxid;
        count += c->history == s->history && c->zxid >= zxid && !again;
    }
    return count;
}

bool model_purge(struct model *m) {
    zxid_t base = 0;
    if (!store_purge(m->store, &base))
        return false;
    /* Where some of the log goes, so many at least can be read with what is left. */
    CHECK(base == m->log_base || count_from(m, base) >= m->snap_retain);
    CHECK(base >= m->log_base);
    m->log_base = base;
    return true;
}

/* ---- what a start read ---- */

bool model_found_checkpoint(const struct model *m, const struct model_state *s, size_t *ret_next) {
    const struct model_state *r = &m->read;
    if (r->snap == 0 || r->begun != r->ended)
        return false;
    for (size_t i = 0; i < m->checkpoint_count; i++) {
        const struct model_checkpoint *c = &m->checkpoints[i];
        size_t next = 0;
        if (c->history != s->history || c->zxid != r->begun || !model_holds(s, c->zxid, &next) ||
            m->read_pieces != model_piece_count(c->id))
            continue;
        if (r->snap != c->id && r->snap != UINT32_MAX)
            continue;
        *ret_next = next;
        return true;
    }
    return false;
}

bool model_misses_checkpoint(const struct model *m, const struct model_state *s) {
    for (size_t i = 0; i < m->checkpoint_count; i++) {
        const struct model_checkpoint *c = &m->checkpoints[i];
        if (c->sure && c->history == s->history && c->zxid > m->read.begun && !m->may_reset)
            return true;
    }
    return false;
}

/* The name of what was read may be in no more than a cache, so it is no surer than before: if it
 * goes, the one before it and the log are there yet. */
void model_checkpoints_accepted(struct model *m) {
    size_t left = 0;
    for (size_t i = 0; i < m->checkpoint_count; i++) {
        struct model_checkpoint c = m->checkpoints[i];
        if (c.history != m->states[0].history || c.zxid > m->read.begun)
            continue;
        m->checkpoints[left++] = c;
    }
    m->checkpoint_count = left;
    m->checkpoint_writing = 0;
    m->log_base = m->read_base;
    m->log_history = m->states[0].history;
}

/* A history that took the place of another begins behind its own snapshot. */
void model_checkpoints_synced(struct model *m) {
    const struct model_state *s = &m->states[0];
    if (s->history == m->log_history)
        return;
    m->log_history = s->history;
    m->log_base = s->begun;
}

void model_checkpoints_say(const struct model *m) {
    for (size_t i = 0; i < m->checkpoint_count; i++)
        fprintf(stderr, "# checkpoint %u of history %u: %llx%s\n", m->checkpoints[i].id,
                m->checkpoints[i].history, (unsigned long long)m->checkpoints[i].zxid,
                m->checkpoints[i].sure ? ", durable" : "");
}
