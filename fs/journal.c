#include "fs/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"

#define MAGIC 0x31304c4e524a4b5aull
#define PAGE 4096u
#define FIRST_BYTES PAGE /* records begin behind the header's page */
/* The file grows by this at least, and this much may be dead before it is worth copying. */
#define GROW_BYTES (256u << 10)

struct area {
    uint64_t begin, end;
};

struct header {
    uint64_t magic;
    uint64_t active; /* which of the areas counts */
    struct area areas[2];
    uint64_t counters[JOURNAL_COUNTERS];
    struct journal_answer answer;
};

/* In front of a record's bytes. */
struct head {
    uint32_t size_bytes; /* of the whole record, a multiple of 8 */
    uint32_t len;
    uint32_t sum; /* of type, key and the bytes */
    uint16_t type;
    uint16_t dead;
    uint32_t ref;
    uint32_t unused;
    uint64_t key;
    uint64_t word;
};

struct journal {
    int fd;
    uint8_t *map;
    size_t size_bytes;
    size_t live_bytes;
    uint64_t *at; /* by ref: where the record is; 0: the ref is free */
    uint32_t ref_count, ref_cap;
    uint32_t *free_refs;
    uint32_t free_count, free_cap;
};

/* The compiler may not move a store over this: what a crash leaves is what was stored in order. */
static void barrier(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

static void store(volatile uint64_t *at, uint64_t value) {
    barrier();
    *at = value;
    barrier();
}

static struct header *header(const struct journal *j) { return (struct header *)j->map; }

static struct area *area(const struct journal *j) {
    struct header *h = header(j);
    return &h->areas[h->active];
}

static struct head *head_at(const struct journal *j, uint64_t at) {
    return (struct head *)(j->map + at);
}

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

static uint32_t sum_of(const struct head *h) {
    uint64_t sum = 0xcbf29ce484222325ull ^ h->type;
    sum = (sum ^ h->key) * 0x100000001b3ull;
    const uint8_t *p = (const uint8_t *)(h + 1);
    for (size_t i = 0; i < h->len; i += 8) { /* records are filled up with zeros */
        uint64_t piece;
        memcpy(&piece, p + i, sizeof piece);
        sum = (sum ^ piece) * 0x100000001b3ull;
        sum ^= sum >> 29;
    }
    return (uint32_t)(sum ^ sum >> 32);
}

static void fail(const char *what) {
    log_error("no memory for the journal, ending: %s err=\"%s\"", what, strerror(errno));
    abort();
}

/* Pages are had now, so that no store finds that there are none. */
static void resize(struct journal *j, size_t size_bytes) {
    if (size_bytes > j->size_bytes) {
        int err = posix_fallocate(j->fd, (off_t)j->size_bytes, (off_t)(size_bytes - j->size_bytes));
        errno = err;
        if (err != 0)
            fail("fallocate");
    }
    void *map = mremap(j->map, j->size_bytes, size_bytes, MREMAP_MAYMOVE);
    if (map == MAP_FAILED)
        fail("mremap");
    if (size_bytes < j->size_bytes && ftruncate(j->fd, (off_t)size_bytes) != 0)
        fail("ftruncate");
    j->map = map;
    j->size_bytes = size_bytes;
}

static uint32_t ref_new(struct journal *j) {
    if (j->free_count > 0)
        return j->free_refs[--j->free_count];
    if (j->ref_count == j->ref_cap) {
        j->ref_cap = j->ref_cap > 0 ? j->ref_cap * 2 : 64;
        j->at = mem_realloc(j->at, sizeof *j->at * j->ref_cap);
    }
    if (j->ref_count == 0)
        j->at[j->ref_count++] = 0; /* ref 0 is none */
    return j->ref_count++;
}

static void ref_free(struct journal *j, uint32_t ref) {
    if (j->free_count == j->free_cap) {
        j->free_cap = j->free_cap > 0 ? j->free_cap * 2 : 64;
        j->free_refs = mem_realloc(j->free_refs, sizeof *j->free_refs * j->free_cap);
    }
    j->at[ref] = 0;
    j->free_refs[j->free_count++] = ref;
}

/* Copies the living records to [to, …) and makes that the area that counts. */
static void copy_to(struct journal *j, size_t to) {
    struct header *h = header(j);
    struct area old = *area(j);
    uint64_t end = to;
    for (uint64_t at = old.begin; at < old.end;) {
        const struct head *r = head_at(j, at);
        if (!r->dead) {
            memcpy(j->map + end, r, r->size_bytes);
            j->at[r->ref] = end;
            end += r->size_bytes;
        }
        at += r->size_bytes;
    }
    h->areas[1 - h->active] = (struct area){to, end};
    store(&h->active, 1 - h->active);
}

/* Room behind the last record, by leaving the dead ones behind. The front of the file is used when
 * it is large enough, for then the rest can be given back. */
static void compact(struct journal *j, size_t more) {
    struct area old = *area(j);
    size_t need = round_up(j->live_bytes + more + GROW_BYTES, PAGE);
    bool in_front = old.begin >= FIRST_BYTES + need;
    size_t to = in_front ? FIRST_BYTES : round_up(old.end, PAGE);
    if (in_front) {
        if (fallocate(j->fd, 0, FIRST_BYTES, (off_t)need) != 0)
            fail("fallocate");
        copy_to(j, to);
        resize(j, to + need);
        return;
    }
    if (to + need > j->size_bytes)
        resize(j, to + need);
    copy_to(j, to);
    if (fallocate(j->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FIRST_BYTES,
                  (off_t)(to - FIRST_BYTES)) != 0)
        log_debug("the journal's dead pages stay err=\"%s\"", strerror(errno));
}

static void reserve(struct journal *j, size_t more) {
    struct area a = *area(j);
    if (a.end + more <= j->size_bytes)
        return;
    if (a.end - a.begin - j->live_bytes > j->live_bytes + GROW_BYTES)
        compact(j, more);
    if (area(j)->end + more > j->size_bytes)
        resize(j, j->size_bytes + round_up(more > GROW_BYTES ? more : GROW_BYTES, PAGE));
}

static void bury(struct journal *j, uint64_t at) {
    struct head *r = head_at(j, at);
    j->live_bytes -= r->size_bytes;
    barrier();
    __atomic_store_n(&r->dead, 1, __ATOMIC_RELEASE);
    barrier();
}

void journal_put(struct journal *j, uint32_t *ref, enum journal_type type, uint64_t key,
                 uint64_t word, const void *p, size_t size_bytes) {
    if (j == NULL)
        return;
    CHECK(size_bytes < UINT32_MAX / 2);
    size_t whole = sizeof(struct head) + round_up(size_bytes, 8);
    reserve(j, whole);
    uint64_t at = area(j)->end;
    struct head *r = head_at(j, at);
    memset(r, 0, sizeof *r);
    if (size_bytes > 0) {
        memset((uint8_t *)r + whole - 8, 0, 8);
        memcpy(r + 1, p, size_bytes);
    }
    r->size_bytes = (uint32_t)whole;
    r->len = (uint32_t)size_bytes;
    r->type = (uint16_t)type;
    r->key = key;
    r->word = word;
    r->sum = sum_of(r);
    uint64_t old = *ref != 0 ? j->at[*ref] : 0;
    if (*ref == 0)
        *ref = ref_new(j);
    r->ref = *ref;
    j->at[*ref] = at;
    j->live_bytes += whole;
    store(&area(j)->end, at + whole);
    if (old != 0)
        bury(j, old);
}

void journal_drop(struct journal *j, uint32_t *ref) {
    if (j == NULL || *ref == 0)
        return;
    CHECK(j->at[*ref] != 0);
    bury(j, j->at[*ref]);
    ref_free(j, *ref);
    *ref = 0;
}

void journal_set_word(struct journal *j, uint32_t ref, uint64_t word) {
    if (j == NULL || ref == 0)
        return;
    CHECK(j->at[ref] != 0);
    store(&head_at(j, j->at[ref])->word, word);
}

void journal_each(struct journal *j, enum journal_type type,
                  void (*fn)(void *ctx, const struct journal_record *r), void *ctx) {
    if (j == NULL)
        return;
    struct area a = *area(j);
    for (uint64_t at = a.begin; at < a.end; at += head_at(j, at)->size_bytes) {
        const struct head *r = head_at(j, at);
        if (r->dead || r->type != type)
            continue;
        struct journal_record record = {.ref = r->ref,
                                        .type = type,
                                        .key = r->key,
                                        .word = r->word,
                                        .bytes = {(const uint8_t *)(r + 1), (int32_t)r->len}};
        fn(ctx, &record);
    }
}

uint64_t journal_counter(const struct journal *j, enum journal_counter which) {
    return j != NULL ? header(j)->counters[which] : 0;
}

void journal_set_counter(struct journal *j, enum journal_counter which, uint64_t value) {
    if (j != NULL)
        store(&header(j)->counters[which], value);
}

void journal_answering(struct journal *j, const struct journal_answer *answer) {
    if (j == NULL)
        return;
    struct journal_answer *at = &header(j)->answer;
    at->nodeid = answer->nodeid;
    at->lookups = answer->lookups;
    at->fh = answer->fh;
    at->told = answer->told;
    store(&at->unique, answer->unique);
}

void journal_answered(struct journal *j) {
    if (j != NULL)
        store(&header(j)->answer.unique, 0);
}

struct journal_answer journal_last_answer(const struct journal *j) {
    return j != NULL ? header(j)->answer : (struct journal_answer){0};
}

size_t journal_size_bytes(const struct journal *j) { return j->size_bytes; }

static bool is_whole(const struct journal *j, const struct area *a, uint64_t at) {
    const struct head *r = head_at(j, at);
    if (a->end - at < sizeof *r || r->size_bytes > a->end - at)
        return false;
    return r->size_bytes == sizeof *r + round_up(r->len, 8) && r->sum == sum_of(r);
}

/* A record that was being replaced when the worker died: the last one of all, and one before. */
static void bury_replaced(struct journal *j, uint64_t last) {
    const struct head *l = head_at(j, last);
    for (uint64_t at = area(j)->begin; at < last; at += head_at(j, at)->size_bytes) {
        const struct head *r = head_at(j, at);
        if (!r->dead && !l->dead && r->type == l->type && r->key == l->key) {
            uint32_t ref = r->ref;
            bury(j, at);
            ref_free(j, ref);
        }
    }
}

static bool load(struct journal *j) {
    struct header *h = header(j);
    if (h->magic != MAGIC || h->active > 1)
        return false;
    struct area a = *area(j);
    if (a.begin < FIRST_BYTES || a.end < a.begin || a.end > j->size_bytes || a.begin % 8 != 0)
        return false;
    uint64_t last = 0;
    for (uint64_t at = a.begin; at < a.end; at += head_at(j, at)->size_bytes) {
        if (!is_whole(j, &a, at))
            return false;
        struct head *r = head_at(j, at);
        last = at;
        if (r->dead)
            continue;
        r->ref = ref_new(j);
        j->at[r->ref] = at;
        j->live_bytes += r->size_bytes;
    }
    if (last != 0)
        bury_replaced(j, last);
    return true;
}

static void begin(struct journal *j) {
    struct header *h = header(j);
    h->areas[0] = (struct area){FIRST_BYTES, FIRST_BYTES};
    store(&h->magic, MAGIC);
}

struct journal *journal_open(int fd, const char **ret_why) {
    struct stat st;
    *ret_why = "the journal cannot be mapped";
    if (fstat(fd, &st) != 0)
        return NULL;
    bool is_new = st.st_size == 0;
    size_t size_bytes = is_new ? GROW_BYTES : (size_t)st.st_size;
    if (is_new && posix_fallocate(fd, 0, (off_t)size_bytes) != 0)
        return NULL;
    if (size_bytes < FIRST_BYTES)
        return NULL;
    void *map = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    struct journal *j = mem_zalloc(sizeof *j);
    j->fd = fd;
    j->map = map;
    j->size_bytes = size_bytes;
    if (is_new)
        begin(j);
    if (!load(j)) {
        *ret_why = "the journal is damaged";
        journal_close(j);
        return NULL;
    }
    return j;
}

void journal_close(struct journal *j) {
    if (j == NULL)
        return;
    munmap(j->map, j->size_bytes);
    mem_free(j->at);
    mem_free(j->free_refs);
    mem_free(j);
}
