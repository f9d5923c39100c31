/* Reading again what a survey found whole. */
#include <errno.h>
#include <fcntl.h>

#include "replica/store/survey.h"
#include "replica/store/wal_reader.h"
#include "replica/store/wal_state.h"

struct survey_reading {
    struct survey *sv;
    struct survey_place at; /* the next frame; the run is an index here */
    zxid_t after, until;
    size_t max_bytes, bytes;
    wal_record_fn *fn;
    void *ctx;
    int count;
    bool full;
};

/* The run that has the record behind `after`, and a place in it to read on from. */
static bool find_place(const struct survey *sv, zxid_t after, struct survey_place *ret_place) {
    for (size_t i = 0; i < SURVEY_RECENT; i++) {
        if (sv->recent[i].run != 0 && sv->recent[i].after == after) {
            *ret_place = sv->recent[i];
            ret_place->run--;
            return true;
        }
    }
    for (size_t i = 0; i < sv->run_count; i++) {
        const struct survey_run *r = &sv->runs[i];
        if (r->before != after && !(r->first <= after && after < r->last))
            continue;
        *ret_place = (struct survey_place){r->before, i, r->offset};
        return true;
    }
    return false;
}

static void remember(struct survey *sv, const struct survey_place *p) {
    if (p->offset >= sv->runs[p->run].end)
        return;
    sv->recent[sv->recent_next] = (struct survey_place){p->after, p->run + 1, p->offset};
    sv->recent_next = (sv->recent_next + 1) % SURVEY_RECENT;
}

static int take(struct survey_reading *r, const struct wal_frame *frame) {
    struct log_record record;
    if (!log_record_decode(frame->body, &record) || record.zxid <= r->at.after)
        return -EBADMSG;
    bool skipped = record.zxid <= r->after;
    size_t bytes = record.payload.len > 0 ? (size_t)record.payload.len : 0;
    if (!skipped && (record.zxid > r->until ||
                     (r->count > 0 && (bytes > r->max_bytes || r->bytes > r->max_bytes - bytes)))) {
        r->full = true;
        return 0;
    }
    /* `after` lies between two records: it is none of this history. */
    if (!skipped && r->at.after < r->after) {
        r->full = true;
        return 0;
    }
    r->at.after = record.zxid;
    r->at.offset += frame->size_bytes;
    if (skipped)
        return 0;
    r->bytes += bytes;
    r->count++;
    r->fn(r->ctx, &record);
    return 0;
}

static int read_run(struct survey_reading *r, struct wal_reader *reader) {
    const struct survey_run *run = &r->sv->runs[r->at.run];
    reader->identity = run->identity;
    while (!r->full && r->at.offset < run->end) {
        struct wal_frame frame;
        int err = wal_reader_frame(reader, r->at.offset, &frame);
        if (err == 0 && frame.kind == WAL_FRAME_RECORD)
            err = take(r, &frame);
        else if (err == 0 && frame.kind == WAL_FRAME_MARK)
            r->at.offset += frame.size_bytes;
        else if (err == 0)
            err = -EBADMSG;
        if (err < 0)
            return err;
    }
    return 0;
}

static int open_and_read(struct survey_reading *r) {
    const struct store_dir *d = r->sv->dir;
    int fd = wal_segment_open(d, r->sv->runs[r->at.run].segment, O_RDONLY);
    if (fd < 0)
        return fd == -ENOENT ? -EBADMSG : fd;
    struct wal_reader reader;
    int err = wal_reader_init(&reader, d->files, fd);
    if (err == 0) {
        err = read_run(r, &reader);
        wal_reader_close(&reader);
    }
    d->files->close(d->files->ctx, fd);
    return err;
}

int survey_read(struct survey *sv, zxid_t after, zxid_t until, size_t max_bytes, wal_record_fn *fn,
                void *ctx) {
    struct survey_reading r = {
        .sv = sv, .after = after, .until = until, .max_bytes = max_bytes, .fn = fn, .ctx = ctx};
    if (after < 0 || !find_place(sv, after, &r.at))
        return 0;
    int err = open_and_read(&r);
    if (err < 0)
        return err;
    remember(sv, &r.at);
    return r.count;
}

struct searching {
    zxid_t zxid;
    bool found;
};

static void look(void *ctx, const struct log_record *r) {
    struct searching *s = ctx;
    s->found = s->found || r->zxid == s->zxid;
}

int survey_has(struct survey *sv, zxid_t zxid) {
    for (size_t i = 0; i < sv->run_count; i++) {
        const struct survey_run *run = &sv->runs[i];
        if (zxid == run->first || zxid == run->last)
            return 1;
        if (zxid < run->first || zxid > run->last)
            continue;
        /* Numbers within one epoch have no gaps, and the run's last epoch begins in it or before.
         */
        if (zxid_epoch(run->last) == zxid_epoch(zxid))
            return 1;
        struct searching s = {.zxid = zxid};
        struct survey_reading r = {
            .sv = sv, .until = zxid, .max_bytes = SIZE_MAX, .fn = look, .ctx = &s};
        r.after = run->before;
        r.at = (struct survey_place){run->before, i, run->offset};
        int err = open_and_read(&r);
        return err < 0 ? err : s.found;
    }
    return 0;
}

void survey_adopt(struct survey *sv, zxid_t first, zxid_t before) {
    for (size_t i = 0; i < sv->run_count; i++)
        if (sv->runs[i].first == first)
            sv->runs[i].before = before;
}

int survey_answer(struct survey *sv, zxid_t after, zxid_t until, size_t max_bytes,
                  wal_record_fn *fn, void *ctx) {
    bool one_epoch = after > 0 && zxid_epoch(after) == zxid_epoch(until);
    int has = one_epoch ? 1 : survey_has(sv, until);
    return has <= 0 ? has : survey_read(sv, after, until, max_bytes, fn, ctx);
}
