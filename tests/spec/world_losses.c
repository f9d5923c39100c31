/* Disks that lose the end of their log, or are full, and checkpoints beside the log. */
#include "tests/spec/zab_world.h"

#include "common/check.h"
#include "common/mem.h"

#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* How many of the log's last records those are. */
static size_t end_length(const struct world_disk *d, size_t records) {
    size_t n = 0;
    while (n < records && n < d->log.count &&
           d->log.list[d->log.count - 1 - n].zxid > (d->based ? d->base.begun : 0))
        n++;
    return n;
}

static bool is_elsewhere(const struct zab_world *w, uint8_t id, zxid_t zxid) {
    for (uint8_t other = 1; other <= (uint8_t)w->config.voters; other++)
        if (other != id && !w->config.weightless[other] && world_has(w, other, zxid))
            return true;
    return false;
}

bool world_may_lose_end(const struct zab_world *w, uint8_t id, size_t records) {
    const struct world_disk *d = &w->servers[id].disk;
    for (size_t n = end_length(d, records); n > 0; n--)
        if (!is_elsewhere(w, id, d->log.list[d->log.count - n].zxid))
            return false;
    return true;
}

bool world_may_lose_all(const struct zab_world *w, uint8_t id) {
    const struct world_disk *d = &w->servers[id].disk;
    return world_may_lose_end(w, id, SIZE_MAX) && (!d->based || is_elsewhere(w, id, d->base.begun));
}

void world_lose_end(struct zab_world *w, uint8_t id, size_t records) {
    struct world_disk *d = &w->servers[id].disk;
    CHECK(!w->servers[id].z);
    zxid_t before = world_durable(w, id);
    d->log.count -= end_length(d, records);
    d->lossy = true;
    if (before > d->lost)
        d->lost = before;
    if (!w->hide_events)
        world_say(w, "%u has lost what is behind 0x%llx", id, ULL(world_durable(w, id)));
}

/* It counts again from here on: so it must have all that was committed of what it once had. */
void world_hear_whole(struct zab_world *w, uint8_t id) {
    struct world_server *s = &w->servers[id];
    s->wholes++;
    if (!w->hide_events)
        world_say(w, "%u is whole", id);
    if (!s->disk.lossy)
        world_break(w, "%u is whole, which it was before", id);
    for (size_t i = 0; i < w->truth_count && w->truth[i].record.zxid <= s->disk.lost; i++)
        if (!world_has(w, id, w->truth[i].record.zxid))
            world_break(w, "%u takes itself for whole without 0x%llx, which it had", id,
                        ULL(w->truth[i].record.zxid));
    s->disk.lossy = false;
}

bool world_checkpoint(struct zab_world *w, uint8_t id) {
    struct world_server *s = &w->servers[id];
    if (!s->z || s->applied == 0 || s->applied < s->exact_from)
        return false;
    s->disk.based = true;
    s->disk.base = (struct world_snapshot){s->applied, s->applied, s->state, WORLD_REGISTERS};
    if (!w->hide_events)
        world_say(w, "%u has a checkpoint of 0x%llx", id, ULL(s->applied));
    return true;
}

void world_purge(struct zab_world *w, uint8_t id, zxid_t zxid) {
    struct world_server *s = &w->servers[id];
    struct world_disk *d = &s->disk;
    size_t n = 0;
    CHECK(d->based);
    CHECK(zxid <= d->base.begun);
    while (n < d->log.count && d->log.list[n].zxid <= zxid)
        n++;
    if (n == 0)
        return;
    d->begins = d->log.list[n - 1].zxid;
    d->log.count -= n;
    memmove(d->log.list, d->log.list + n, d->log.count * sizeof *d->log.list);
    if (!w->hide_events)
        world_say(w, "%u begins its log behind 0x%llx", id, ULL(d->begins));
    if (!s->z)
        return;
    world_clock(w, id);
    zab_purged(s->z, d->begins);
    world_pump(w, id);
}

/* The log's records up to the snapshot are not applied, but can be read. */
void world_recover_older(struct zab_world *w, uint8_t id) {
    const struct world_disk *d = &w->servers[id].disk;
    zxid_t *ends = mem_alloc((d->log.count + 1) * sizeof *ends);
    size_t count = 0;
    for (size_t i = 0; i + 1 < d->log.count; i++) {
        zxid_t zxid = d->log.list[i].zxid;
        bool last = zxid_epoch(d->log.list[i + 1].zxid) > zxid_epoch(zxid);
        if (last && zxid_epoch(zxid) < zxid_epoch(d->base.begun))
            ends[count++] = zxid;
    }
    if (d->begins < d->base.begun)
        zab_recover_older(w->servers[id].z, d->begins, ends, count);
    mem_free(ends);
}

void world_full(struct zab_world *w, uint8_t id, bool full) {
    struct world_server *s = &w->servers[id];
    s->full = full;
    if (!w->hide_events)
        world_say(w, "%u has %s on its disk", id, full ? "no room" : "room");
    if (!s->z)
        return;
    world_clock(w, id);
    zab_full(s->z, full);
    world_pump(w, id);
}
