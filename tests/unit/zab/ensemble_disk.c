/* The disks of an ensemble: jobs that happen one after the other, or never. */
#include "common/mem.h"
#include "tests/unit/zab/ensemble_state.h"

void ensemble_disk_truncate(struct disk *d, zxid_t zxid) {
    while (d->count > 0 && d->records[d->count - 1].zxid > zxid)
        blob_unref(d->records[--d->count].payload);
}

static void disk_append(struct disk *d, const struct disk_record *r) {
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->records = mem_realloc(d->records, d->cap * sizeof *d->records);
    }
    d->records[d->count++] = *r;
    blob_ref(r->payload);
}

void ensemble_job_apply(struct disk *d, const struct job *j) {
    switch (j->type) {
    case JOB_APPEND:
        disk_append(d, &j->record);
        break;
    case JOB_TRUNCATE:
        ensemble_disk_truncate(d, j->zxid);
        break;
    case JOB_EPOCH:
        d->epoch = j->epoch;
        break;
    case JOB_SNAPSHOT:
        ensemble_disk_truncate(d, 0);
        d->base = j->zxid;
        d->ended = j->ended;
        ensemble_entries_copy(&d->base_state, &j->state);
        break;
    }
}

struct job *ensemble_job_push(struct server *s, enum job_type type) {
    struct job *j = mem_zalloc(sizeof *j);
    j->type = type;
    *s->disk.jobs_end = j;
    s->disk.jobs_end = &j->next;
    return j;
}

struct job *ensemble_job_take(struct disk *d) {
    struct job *j = d->jobs;
    d->jobs = j->next;
    if (!d->jobs)
        d->jobs_end = &d->jobs;
    return j;
}

void ensemble_job_free(struct job *j) {
    blob_unref(j->record.payload);
    ensemble_entries_close(&j->state);
    mem_free(j);
}

static bool is_elsewhere(const struct ensemble *e, uint8_t id, zxid_t zxid) {
    for (uint32_t i = 0; i < e->count; i++) {
        const struct disk *d = &e->servers[i].disk;
        if (i + 1 == id || !e->members[i].voter)
            continue;
        if (zxid <= d->base)
            return true;
        for (size_t k = d->count; k > 0; k--)
            if (d->records[k - 1].zxid == zxid)
                return true;
    }
    return false;
}

void ensemble_lose_end(struct ensemble *e, uint8_t id, size_t records) {
    struct disk *d = &e->servers[id - 1].disk;
    for (; records > 0 && d->count > 0; records--) {
        if (!is_elsewhere(e, id, d->records[d->count - 1].zxid))
            break;
        blob_unref(d->records[--d->count].payload);
    }
    d->lossy = true;
}

size_t ensemble_jobs(const struct ensemble *e, uint8_t id) {
    size_t n = 0;
    for (const struct job *j = e->servers[id - 1].disk.jobs; j; j = j->next)
        n++;
    return n;
}

bool ensemble_disk(struct ensemble *e, uint8_t id, size_t jobs) {
    struct server *s = ensemble_server_at(e, id);
    bool any = false;
    while (s->z && s->disk.jobs && jobs-- > 0) {
        struct job *j = ensemble_job_take(&s->disk);
        ensemble_job_apply(&s->disk, j);
        any = true;
        ensemble_clock(e, id);
        if (j->type == JOB_APPEND)
            zab_log_synced(s->z, j->record.zxid);
        else if (j->type == JOB_TRUNCATE)
            zab_log_truncated(s->z);
        else if (j->type == JOB_EPOCH)
            zab_epoch_saved(s->z, j->epoch);
        else {
            if (s->applied.count > j->state.count)
                ensemble_broken(e, id, "a snapshot took applied state away");
            ensemble_entries_copy(&s->applied, &j->state);
            ensemble_check_applied(e, id, 0);
            s->installing = false;
            zab_snap_installed(s->z);
        }
        ensemble_job_free(j);
        ensemble_pull(e, id);
    }
    return any;
}
