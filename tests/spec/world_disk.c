/* A server's disk: what is durable, and the jobs that are not yet. */
#include "tests/spec/zab_world.h"

#include "common/check.h"
#include "common/mem.h"

#include <string.h>

#define READ_RECORDS_MAX 64u

struct blob *world_payload(const struct world_record *r) {
    if (r->kind != ZAB_TXN)
        return NULL;
    uint8_t bytes[4] = {(uint8_t)(r->value >> 24), (uint8_t)(r->value >> 16),
                        (uint8_t)(r->value >> 8), (uint8_t)r->value};
    uint32_t size = r->size < 8 ? 8 : r->size;
    uint8_t *p = mem_alloc(size);
    for (uint32_t i = 0; i < size; i++)
        p[i] = bytes[i % 4];
    struct blob *payload = blob_new(p, size);
    mem_free(p);
    return payload;
}

bool world_payload_value(struct slice payload, uint32_t *ret_value) {
    if (payload.len < 8)
        return false;
    for (int32_t i = 4; i < payload.len; i++)
        if (payload.p[i] != payload.p[i % 4])
            return false;
    *ret_value = (uint32_t)payload.p[0] << 24 | (uint32_t)payload.p[1] << 16 |
                 (uint32_t)payload.p[2] << 8 | payload.p[3];
    return true;
}

void world_log_push(struct world_log *log, const struct world_record *r) {
    if (log->count == log->cap) {
        log->cap = log->cap ? log->cap * 2 : 16;
        log->list = mem_realloc(log->list, log->cap * sizeof *log->list);
    }
    log->list[log->count++] = *r;
}

void world_disk_ask(struct zab_world *w, uint8_t id, const struct world_job *job) {
    struct world_disk *d = &w->servers[id].disk;
    if (d->job_count == d->job_cap) {
        d->job_cap = d->job_cap ? d->job_cap * 2 : 16;
        d->jobs = mem_realloc(d->jobs, d->job_cap * sizeof *d->jobs);
    }
    d->jobs[d->job_count++] = *job;
}

void world_disk_close(struct world_disk *d) {
    mem_free(d->log.list);
    mem_free(d->jobs);
    *d = (struct world_disk){0};
}

zxid_t world_durable(const struct zab_world *w, uint8_t id) {
    const struct world_disk *d = &w->servers[id].disk;
    if (d->log.count > 0)
        return d->log.list[d->log.count - 1].zxid;
    return d->based ? d->base.begun : 0;
}

zxid_t world_written(const struct zab_world *w, uint8_t id) {
    const struct world_disk *d = &w->servers[id].disk;
    zxid_t last = world_durable(w, id);
    for (size_t i = 0; i < d->job_count; i++) {
        const struct world_job *job = &d->jobs[i];
        if (job->type == JOB_APPEND)
            last = job->record.zxid;
        else if (job->type == JOB_INSTALL)
            last = job->snapshot.begun;
        else if (job->type == JOB_TRUNCATE && job->zxid < last)
            last = job->zxid;
    }
    return last;
}

bool world_has(const struct zab_world *w, uint8_t id, zxid_t zxid) {
    const struct world_disk *d = &w->servers[id].disk;
    if (d->based && zxid <= d->base.begun)
        return true;
    size_t low = 0, high = d->log.count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (d->log.list[mid].zxid < zxid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < d->log.count && d->log.list[low].zxid == zxid;
}

static void disk_truncate(struct zab_world *w, uint8_t id, zxid_t zxid) {
    struct world_disk *d = &w->servers[id].disk;
    if (zxid != 0 && !world_has(w, id, zxid))
        world_break(w, "%u truncates to 0x%llx, which it does not have", id,
                    (unsigned long long)zxid);
    if (d->based && zxid < d->base.begun)
        world_break(w, "%u truncates below its snapshot", id);
    while (d->log.count > 0 && d->log.list[d->log.count - 1].zxid > zxid)
        d->log.count--;
}

void world_disk_carry_out(struct zab_world *w, uint8_t id, const struct world_job *job) {
    struct world_disk *d = &w->servers[id].disk;
    switch (job->type) {
    case JOB_APPEND:
        world_log_push(&d->log, &job->record);
        break;
    case JOB_TRUNCATE:
        disk_truncate(w, id, job->zxid);
        break;
    case JOB_INSTALL:
        d->based = true;
        d->base = job->snapshot;
        d->begins = d->base.begun;
        d->log.count = 0;
        break;
    case JOB_EPOCH:
        d->accepted_epoch = job->epoch;
        break;
    }
}

/* Appends in a row share a sync and one answer; everything else has one of its own. */
static size_t batch_length(const struct world_disk *d, size_t most) {
    size_t n = 0;
    while (n < d->job_count && n < most && d->jobs[n].type == JOB_APPEND)
        n++;
    return n > 0 ? n : 1;
}

static void answer_job(struct zab_world *w, uint8_t id, const struct world_job *job) {
    struct world_server *s = &w->servers[id];
    world_clock(w, id);
    switch (job->type) {
    case JOB_APPEND:
        if (!w->hide_disk)
            world_say(w, "%u has 0x%llx on disk", id, (unsigned long long)job->record.zxid);
        zab_log_synced(s->z, job->record.zxid);
        break;
    case JOB_TRUNCATE:
        if (!w->hide_disk)
            world_say(w, "%u has truncated its log to 0x%llx", id, (unsigned long long)job->zxid);
        zab_log_truncated(s->z);
        break;
    case JOB_INSTALL:
        if (!w->hide_disk)
            world_say(w, "%u has installed the snapshot of 0x%llx", id,
                      (unsigned long long)job->snapshot.begun);
        world_app_load(w, id, &job->snapshot);
        zab_snap_installed(s->z);
        break;
    case JOB_EPOCH:
        if (!w->hide_disk)
            world_say(w, "%u has promised epoch %u on disk", id, job->epoch);
        zab_epoch_saved(s->z, job->epoch);
        break;
    }
    world_pump(w, id);
}

size_t world_disk_some(struct zab_world *w, uint8_t id, size_t n) {
    struct world_server *s = &w->servers[id];
    struct world_disk *d = &s->disk;
    size_t done = 0;
    while (s->z && done < n && d->job_count > 0 && !w->broken[0]) {
        size_t batch = batch_length(d, n - done);
        for (size_t i = 0; i < batch; i++)
            world_disk_carry_out(w, id, &d->jobs[i]);
        struct world_job last = d->jobs[batch - 1];
        d->job_count -= batch;
        memmove(d->jobs, d->jobs + batch, d->job_count * sizeof *d->jobs);
        done += batch;
        world_check_disk(w, id);
        answer_job(w, id, &last);
    }
    return done;
}

size_t world_disk(struct zab_world *w, uint8_t id) {
    size_t done = 0;
    while (w->servers[id].z && w->servers[id].disk.job_count > 0 && !w->broken[0])
        done += world_disk_some(w, id, w->servers[id].disk.job_count);
    return done;
}

/* Where reading begins: the index behind `after`, or -1 when the log does not reach back there. */
static int64_t read_from(const struct world_disk *d, zxid_t after) {
    if (after == d->begins)
        return 0;
    for (size_t i = d->log.count; i > 0; i--)
        if (d->log.list[i - 1].zxid == after)
            return (int64_t)i;
    return -1;
}

bool world_disk_read(struct zab_world *w, uint8_t id, uint8_t peer) {
    struct world_server *s = &w->servers[id];
    if (!s->z || s->reading[peer].count == 0)
        return false;
    zxid_t after = s->reading[peer].after[0];
    s->reading[peer].count--;
    memmove(s->reading[peer].after, s->reading[peer].after + 1,
            s->reading[peer].count * sizeof s->reading[peer].after[0]);
    struct zab_record records[READ_RECORDS_MAX];
    struct blob *payloads[READ_RECORDS_MAX];
    size_t count = 0;
    int64_t from = read_from(&s->disk, after);
    for (size_t i = (size_t)from; from >= 0 && i < s->disk.log.count && count < w->config.read_max;
         i++, count++) {
        const struct world_record *r = &s->disk.log.list[i];
        payloads[count] = world_payload(r);
        records[count] = (struct zab_record){r->kind, r->zxid, blob_slice(payloads[count])};
    }
    /* An empty answer means that the log does not reach back: nobody may ask at its end. */
    if (from >= 0 && count == 0 && s->role == ZAB_LEADING && w->links[id][peer].up)
        world_break(w, "%u reads behind its durable end 0x%llx", id, (unsigned long long)after);
    world_clock(w, id);
    zab_log_range(s->z, peer, after, records, count);
    for (size_t i = 0; i < count; i++)
        blob_unref(payloads[i]);
    world_pump(w, id);
    return true;
}
