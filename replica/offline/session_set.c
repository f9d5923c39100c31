#include "replica/offline/session_set.h"

#include "common/hash.h"

struct session_set_entry {
    session_id_t id;
    UT_hash_handle hh;
};

static struct session_set_entry *find(const struct session_set *set, session_id_t id) {
    struct session_set_entry *s = NULL;
    HASH_FIND(hh, set->all, &id, sizeof id, s);
    return s;
}

void session_set_add(struct session_set *set, session_id_t id) {
    if (find(set, id))
        return;
    struct session_set_entry *s = mem_zalloc(sizeof *s);
    s->id = id;
    HASH_ADD(hh, set->all, id, sizeof s->id, s);
}

static void drop(struct session_set *set, struct session_set_entry *s) {
    HASH_DEL(set->all, s);
    mem_free(s);
}

void session_set_forget(struct session_set *set, session_id_t id) {
    struct session_set_entry *s = find(set, id);
    if (s)
        drop(set, s);
}

uint64_t session_set_count(const struct session_set *set) { return HASH_COUNT(set->all); }

void session_set_close(struct session_set *set) {
    struct session_set_entry *s, *next;
    HASH_ITER(hh, set->all, s, next)
    drop(set, s);
}
