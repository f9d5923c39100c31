#include "fs/mark.h"

/* FNV-1a: two paths that share a hash within the same seconds would at worst show one of them as a
 * directory for that long. */
static uint64_t hash_path(struct slice path) {
    uint64_t h = 0xcbf29ce484222325u;
    for (int32_t i = 0; i < path.len; i++)
        h = (h ^ path.p[i]) * 0x100000001b3u;
    return h;
}

static bool same(const struct mark *m, enum mark_kind kind, uint64_t hash, pid_t pid) {
    return m->kind == kind && m->path_hash == hash && (m->pid == 0 || m->pid == pid);
}

void mark_set(struct mark_ring *ring, enum mark_kind kind, struct slice path, pid_t pid,
              int64_t now_ms) {
    mark_clear(ring, kind, path, pid);
    ring->at[ring->next] = (struct mark){kind, pid, hash_path(path), now_ms + MARK_MS};
    ring->next = (ring->next + 1) % MARK_COUNT;
}

bool mark_holds(const struct mark_ring *ring, enum mark_kind kind, struct slice path, pid_t pid,
                int64_t now_ms) {
    uint64_t hash = hash_path(path);
    for (unsigned i = 0; i < MARK_COUNT; i++)
        if (same(&ring->at[i], kind, hash, pid) && ring->at[i].until_ms > now_ms)
            return true;
    return false;
}

void mark_clear(struct mark_ring *ring, enum mark_kind kind, struct slice path, pid_t pid) {
    uint64_t hash = hash_path(path);
    for (unsigned i = 0; i < MARK_COUNT; i++)
        if (same(&ring->at[i], kind, hash, pid))
            ring->at[i].kind = MARK_NONE;
}
