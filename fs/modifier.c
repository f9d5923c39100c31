#include "fs/modifier.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/path.h"
#include "fs/name.h"

/* A znode's version. -1 is none: the protocol means any with it, and versions skip it. */
static bool read_version(const char *name, int64_t *ret) {
    char again[16];
    char *end;
    errno = 0;
    long n = strtol(name, &end, 10);
    if (errno != 0 || n < INT32_MIN || n > INT32_MAX || n == -1)
        return false;
    snprintf(again, sizeof again, "%ld", n);
    *ret = n;
    return strcmp(name, again) == 0; /* one spelling for each */
}

/* Words in another order make another directory: the kernel wants one name for each. So the bits
 * above the words are of the name (FNV-1a). */
#define NAME_SHIFT 36
static bool read_words(const char *name, int64_t *ret) {
    struct create_words words;
    struct slice bad;
    const char *why;
    if (!create_words_parse(slice_from_str(name), &words, &bad, &why))
        return false;
    uint32_t hash = 2166136261u;
    for (const char *p = name; *p != '\0'; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    *ret = create_words_pack(&words) | (int64_t)(hash >> 5) << NAME_SHIFT;
    return true;
}

struct create_words modifier_create_words(struct modifier m) {
    return create_words_unpack(m.arg & ((INT64_C(1) << NAME_SHIFT) - 1));
}

struct word {
    enum modifier_kind in;
    const char *name; /* NULL: an argument is in its place */
    bool (*read)(const char *name, int64_t *ret);
    enum modifier_type type;
};

static const struct word words[MODIFIER_COUNT] = {
    [MODIFIER_TOP] = {MODIFIER_NONE, NAME_VIEWS, NULL, MODIFIER_IS_GROUP},
    [MODIFIER_WAIT] = {MODIFIER_TOP, "wait", NULL, MODIFIER_IS_GROUP},
    [MODIFIER_NEWER_THAN] = {MODIFIER_WAIT, "newer", NULL, MODIFIER_IS_GROUP},
    [MODIFIER_VERSION_IS] = {MODIFIER_TOP, "version", NULL, MODIFIER_IS_GROUP},
    [MODIFIER_CREATE] = {MODIFIER_TOP, "create", NULL, MODIFIER_IS_GROUP},
    [MODIFIER_WATCH] = {MODIFIER_TOP, "watch", NULL, MODIFIER_IS_STREAM},
    [MODIFIER_EVENTS] = {MODIFIER_TOP, "events", NULL, MODIFIER_IS_STREAM},
    [MODIFIER_PRESENT] = {MODIFIER_WAIT, "present", NULL, MODIFIER_IS_STREAM},
    [MODIFIER_ABSENT] = {MODIFIER_WAIT, "absent", NULL, MODIFIER_IS_STREAM},
    [MODIFIER_NEWER] = {MODIFIER_NEWER_THAN, NULL, read_version, MODIFIER_IS_STREAM},
    [MODIFIER_VERSION] = {MODIFIER_VERSION_IS, NULL, read_version, MODIFIER_IS_TREE},
    [MODIFIER_SYNC] = {MODIFIER_TOP, "sync", NULL, MODIFIER_IS_TREE},
    [MODIFIER_CREATE_AS] = {MODIFIER_CREATE, NULL, read_words, MODIFIER_IS_TREE},
    [MODIFIER_SESSION] = {MODIFIER_TOP, "session", NULL, MODIFIER_IS_REPORT},
    [MODIFIER_ENSEMBLE] = {MODIFIER_TOP, "ensemble", NULL, MODIFIER_IS_REPORT},
};

static const struct word *word_of(struct modifier m) {
    CHECK(m.kind > MODIFIER_NONE);
    CHECK(m.kind < MODIFIER_COUNT);
    return &words[m.kind];
}

enum modifier_type modifier_type(struct modifier m) {
    return m.kind == MODIFIER_NONE ? MODIFIER_IS_TREE : word_of(m)->type;
}

bool modifier_read(struct modifier m, const char *name, struct modifier *ret) {
    for (int kind = MODIFIER_TOP; kind < MODIFIER_COUNT; kind++) {
        const struct word *w = &words[kind];
        int64_t arg = 0;
        if (w->in != m.kind || (w->name != NULL && strcmp(w->name, name) != 0))
            continue;
        if (w->read != NULL && !w->read(name, &arg))
            continue;
        *ret = (struct modifier){(enum modifier_kind)kind, arg};
        return true;
    }
    return false;
}

const char *modifier_listed(struct modifier m, size_t n) {
    for (int kind = MODIFIER_TOP + 1; kind < MODIFIER_COUNT; kind++)
        if (words[kind].in == m.kind && words[kind].name != NULL && n-- == 0)
            return words[kind].name;
    return NULL;
}

void modifier_put(struct buf *out, struct modifier m) {
    if (m.kind == MODIFIER_NONE)
        return;
    const struct word *w = word_of(m);
    modifier_put(out, (struct modifier){w->in, 0});
    if (w->in != MODIFIER_NONE)
        buf_put_u8(out, '/');
    if (w->name != NULL)
        buf_put(out, w->name, strlen(w->name));
    else
        buf_printf(out, "%" PRId64, m.arg);
}
