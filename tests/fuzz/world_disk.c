#include "tests/fuzz/world_disk.h"

#include "common/blob.h"
#include "common/check.h"

#include <string.h>

/* Records that one read gives at most: few, so that a learner is read for more than once. */
#define READ_RECORDS 3

static void drop_records(struct world_disk *d, size_t from) {
    for (size_t i = from; i < d->count; i++)
        blob_unref(d->log[i].payload);
    d->count = from;
    if (d->durable > from)
        d->durable = from;
}

static void drop_snapshot(struct disk_snapshot *s) {
    for (size_t i = 0; i < s->count; i++)
        blob_unref(s->pieces[i]);
    *s = (struct disk_snapshot){.count = 0};
}

void disk_close(struct world_disk *d) {
    drop_records(d, 0);
    drop_snapshot(&d->base);
    drop_snapshot(&d->staged);
}

static zxid_t last_zxid(const struct world_disk *d) {
    return d->count > 0 ? d->log[d->count - 1].zxid : d->base.begun;
}

/* What is logged has to be readable at the next start, and has no gap. */
static void append(struct world_disk *d, const struct log_record *r) {
    struct buf b = BUF_INIT;
    struct log_record again;
    zxid_t last = last_zxid(d);
    CHECK(d->changing == 0);
    CHECK(d->count < DISK_RECORDS);
    CHECK(r->zxid > last);
    CHECK((r->kind == LOG_EPOCH) == (zxid_counter(r->zxid) == 0));
    CHECK(r->kind == LOG_EPOCH || r->zxid == last + 1);
    log_record_encode(&b, r);
    CHECK(b.len <= LOG_RECORD_MAX);
    CHECK(log_record_decode((struct slice){b.data, (int32_t)b.len}, &again));
    CHECK(again.zxid == r->zxid);
    CHECK(again.committed == r->committed);
    buf_close(&b);
    d->log[d->count++] =
        (struct disk_record){r->kind, r->zxid, r->committed, blob_from_slice(r->payload)};
}

static void stage(struct world_disk *d, struct slice piece) {
    CHECK(d->staged.count < DISK_PIECES);
    d->staged.pieces[d->staged.count++] = blob_from_slice(piece);
}

static void add_job(struct world_disk *d, const struct update *u) {
    zxid_t zxid = u->type == UPD_LOG_APPEND ? u->record.zxid : u->zxid;
    CHECK(d->job_count < DISK_JOBS);
    d->jobs[d->job_count++] = (struct disk_job){u->type, zxid, u->ended, u->epoch, u->peer};
}

bool disk_update(struct world_disk *d, const struct update *u) {
    switch (u->type) {
    case UPD_LOG_APPEND:
        append(d, &u->record);
        break;
    case UPD_LOG_TRUNCATE:
    case UPD_SNAP_END:
        d->changing++;
        break;
    case UPD_LOG_READ:
    case UPD_SAVE_EPOCH:
        break;
    case UPD_REPAIR_READ:
    case UPD_SNAP_READ:
        /* Links may come and go while the disk stands still: the last one asks again. */
        if (d->job_count == DISK_JOBS / 2)
            return true;
        break;
    case UPD_SNAP_CHUNK:
        stage(d, u->bytes);
        return true;
    case UPD_SNAP_BEGIN:
    case UPD_SNAP_ABANDON:
        drop_snapshot(&d->staged);
        return true;
    default:
        return false;
    }
    add_job(d, u);
    return true;
}

static void truncate_log(struct world_disk *d, zxid_t zxid) {
    size_t n = d->count;
    CHECK(zxid >= d->base.begun);
    while (n > 0 && d->log[n - 1].zxid > zxid)
        n--;
    drop_records(d, n);
    CHECK(last_zxid(d) == zxid);
    d->changing--;
}

static void install(struct world_disk *d, const struct disk_job *j) {
    drop_records(d, 0);
    drop_snapshot(&d->base);
    d->base = d->staged;
    d->base.begun = j->zxid;
    d->base.ended = j->ended;
    d->base.whole = true;
    d->staged = (struct disk_snapshot){.count = 0};
    d->changing--;
}

static struct log_record record_of(const struct disk_record *r) {
    return (struct log_record){r->kind, r->zxid, r->committed,
                               r->payload ? blob_slice(r->payload) : SLICE_NULL};
}

static void read_behind(const struct world_disk *d, const struct disk_job *j, struct event *ret) {
    static struct log_record records[READ_RECORDS];
    size_t at = 0;
    *ret = (struct event){.type = j->type == UPD_REPAIR_READ ? EV_REPAIR_RANGE : EV_LOG_RANGE,
                          .peer = j->peer,
                          .zxid = j->zxid,
                          .ended = j->ended,
                          .records = records};
    if (j->zxid != d->base.begun) {
        while (at < d->durable && d->log[at].zxid != j->zxid)
            at++;
        at++;
    }
    for (; at < d->durable && ret->record_count < READ_RECORDS; at++)
        records[ret->record_count++] = record_of(&d->log[at]);
}

static void note_durable(struct world_disk *d, zxid_t zxid) {
    while (d->durable < d->count && d->log[d->durable].zxid <= zxid)
        d->durable++;
}

static struct disk_job take_job(struct world_disk *d) {
    struct disk_job j = d->jobs[0];
    d->job_count--;
    memmove(d->jobs, d->jobs + 1, d->job_count * sizeof *d->jobs);
    return j;
}

bool disk_next(struct world_disk *d, struct event *ret_answer) {
    if (d->job_count == 0)
        return false;
    struct disk_job j = take_job(d);
    *ret_answer = (struct event){.zxid = j.zxid};
    switch (j.type) {
    case UPD_LOG_APPEND:
        while (d->job_count > 0 && d->jobs[0].type == UPD_LOG_APPEND)
            j = take_job(d);
        note_durable(d, j.zxid);
        ret_answer->type = EV_LOG_SYNCED;
        ret_answer->zxid = j.zxid;
        break;
    case UPD_LOG_TRUNCATE:
        truncate_log(d, j.zxid);
        ret_answer->type = EV_LOG_TRUNCATED;
        break;
    case UPD_SNAP_END:
        install(d, &j);
        ret_answer->type = EV_SNAP_INSTALLED;
        break;
    case UPD_SAVE_EPOCH:
        d->epoch = j.epoch;
        ret_answer->type = EV_EPOCH_SAVED;
        ret_answer->epoch = j.epoch;
        break;
    case UPD_SNAP_READ: /* it has none */
        *ret_answer = (struct event){.type = EV_SNAP_RANGE, .peer = j.peer, .bytes = SLICE_NULL};
        break;
    default:
        read_behind(d, &j, ret_answer);
    }
    return true;
}

bool disk_idle(const struct world_disk *d) { return d->job_count == 0; }

void disk_copy(struct world_disk *d, const struct world_disk *from) {
    CHECK(d->count == 0);
    d->epoch = from->epoch;
    d->base = from->base;
    for (size_t i = 0; i < from->base.count; i++)
        blob_ref(d->base.pieces[i]);
    for (; d->count < from->durable; d->count++) {
        d->log[d->count] = from->log[d->count];
        blob_ref(d->log[d->count].payload);
    }
    d->durable = d->count;
}

void disk_read(const struct world_disk *d, void (*fn)(void *ctx, const struct event *ev),
               void *ctx) {
    if (d->epoch > 0)
        fn(ctx, &(struct event){.type = EV_EPOCH, .epoch = d->epoch});
    for (size_t i = 0; i < d->base.count; i++)
        fn(ctx, &(struct event){.type = EV_SNAP_CHUNK, .bytes = blob_slice(d->base.pieces[i])});
    if (d->base.whole)
        fn(ctx,
           &(struct event){.type = EV_SNAP_END, .zxid = d->base.begun, .ended = d->base.ended});
    for (size_t i = 0; i < d->durable; i++) {
        struct log_record r = record_of(&d->log[i]);
        fn(ctx, &(struct event){.type = EV_LOG_RECORD, .record = &r, .zxid = r.zxid});
    }
}
