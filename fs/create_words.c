#include "fs/create_words.h"

#include <string.h>

#include "common/path.h"

/* The words that were seen, as bits; those that exclude each other are in one table. */
enum word {
    WORD_PERSISTENT = 1,
    WORD_EPHEMERAL = 2,
    WORD_CONTAINER = 4,
    WORD_TTL = 8,
    WORD_SEQUENTIAL = 16,
    WORD_OWNER = 32,
};

/* A TTL znode is a persistent one, so those two words go together. */
static const struct {
    const char *text;
    enum word word;
    unsigned excludes;
} plain_words[] = {
    {"persistent", WORD_PERSISTENT, WORD_EPHEMERAL | WORD_CONTAINER},
    {"ephemeral", WORD_EPHEMERAL, WORD_PERSISTENT | WORD_CONTAINER | WORD_TTL},
    {"container", WORD_CONTAINER, WORD_PERSISTENT | WORD_EPHEMERAL | WORD_TTL | WORD_SEQUENTIAL},
    {"sequential", WORD_SEQUENTIAL, WORD_CONTAINER},
};
#define PLAIN_COUNT (sizeof plain_words / sizeof plain_words[0])
#define TTL_EXCLUDES (WORD_EPHEMERAL | WORD_CONTAINER)

static const char *const owners[] = {"mount", "open", "caller", "parent"};
#define OWNER_COUNT (sizeof owners / sizeof owners[0])

struct parser {
    struct create_words words;
    unsigned seen;
    struct slice owner_word;
};

static bool is_separator(uint8_t c) { return c == ' ' || c == ',' || c == '\t' || c == '\n'; }

static bool next_word(struct slice text, int32_t *at, struct slice *ret) {
    while (*at < text.len && is_separator(text.p[*at]))
        ++*at;
    int32_t start = *at;
    while (*at < text.len && !is_separator(text.p[*at]))
        ++*at;
    *ret = (struct slice){text.p + start, *at - start};
    return ret->len > 0;
}

/* Whether the word is `key` with a value behind it. */
static bool is_key(struct slice word, const char *key, struct slice *ret_value) {
    int32_t n = (int32_t)strlen(key);
    if (word.len < n || memcmp(word.p, key, (size_t)n) != 0)
        return false;
    *ret_value = (struct slice){word.p + n, word.len - n};
    return true;
}

/* NULL, or what is wrong. */
static const char *take(struct parser *p, enum word word, unsigned excludes) {
    if (p->seen & word)
        return "is there twice";
    if (p->seen & excludes)
        return "does not go with the words in front of it";
    p->seen |= word;
    return NULL;
}

static const char *take_ttl(struct parser *p, struct slice value) {
    int64_t seconds = 0;
    for (int32_t i = 0; i < value.len && seconds <= CREATE_TTL_MAX_S; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return "needs whole seconds";
        seconds = seconds * 10 + (value.p[i] - '0');
    }
    if (seconds < 1 || seconds > CREATE_TTL_MAX_S)
        return "needs 1 to 1099511627 seconds";
    p->words.ttl_ms = seconds * 1000;
    return take(p, WORD_TTL, TTL_EXCLUDES);
}

static const char *take_owner(struct parser *p, struct slice value) {
    for (size_t i = 0; i < OWNER_COUNT; i++)
        if (slice_equal_str(value, owners[i])) {
            p->words.owner = (enum owner_kind)i;
            return take(p, WORD_OWNER, 0);
        }
    return "is no owner: mount, open, caller or parent";
}

static const char *take_word(struct parser *p, struct slice word) {
    struct slice value;
    if (is_key(word, "ttl=", &value))
        return take_ttl(p, value);
    if (is_key(word, "owner=", &value)) {
        p->owner_word = word;
        return take_owner(p, value);
    }
    for (size_t i = 0; i < PLAIN_COUNT; i++)
        if (slice_equal_str(word, plain_words[i].text))
            return take(p, plain_words[i].word, plain_words[i].excludes);
    return "is no word of user.zk.create";
}

static enum create_life life_of(unsigned seen) {
    if (seen & WORD_EPHEMERAL)
        return LIFE_EPHEMERAL;
    if (seen & WORD_CONTAINER)
        return LIFE_CONTAINER;
    return seen & WORD_TTL ? LIFE_TTL : LIFE_PERSISTENT;
}

bool create_words_parse(struct slice text, struct create_words *ret_words, struct slice *ret_bad,
                        const char **ret_why) {
    struct parser p = {0};
    struct slice word;
    int32_t at = 0;
    const char *why = NULL;
    while (why == NULL && next_word(text, &at, &word))
        why = take_word(&p, word);
    if (why == NULL && p.seen == 0) {
        why = "there are no words";
    } else if (why == NULL && (p.seen & WORD_OWNER) && !(p.seen & WORD_EPHEMERAL)) {
        why = "is for ephemeral znodes only";
        word = p.owner_word;
    }
    if (why != NULL) {
        *ret_bad = word;
        *ret_why = why;
        return false;
    }
    p.words.life = life_of(p.seen);
    p.words.sequential = (p.seen & WORD_SEQUENTIAL) != 0;
    *ret_words = p.words;
    return true;
}

void create_words_print(struct buf *out, const struct create_words *words) {
    static const char *const lives[] = {"persistent", "ephemeral", "container"};
    if (words->life == LIFE_TTL)
        buf_printf(out, "ttl=%lld", (long long)(words->ttl_ms / 1000));
    else
        buf_printf(out, "%s", lives[words->life]);
    if (words->sequential)
        buf_printf(out, " sequential");
    if (words->life == LIFE_EPHEMERAL)
        buf_printf(out, " owner=%s", owners[words->owner]);
}

enum create_mode create_words_mode(const struct create_words *words) {
    switch (words->life) {
    case LIFE_PERSISTENT:
        break;
    case LIFE_EPHEMERAL:
        return words->sequential ? CREATE_EPHEMERAL_SEQUENTIAL : CREATE_EPHEMERAL;
    case LIFE_CONTAINER:
        return CREATE_CONTAINER;
    case LIFE_TTL:
        return words->sequential ? CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL
                                 : CREATE_PERSISTENT_WITH_TTL;
    }
    return words->sequential ? CREATE_PERSISTENT_SEQUENTIAL : CREATE_PERSISTENT;
}

int64_t create_words_pack(const struct create_words *words) {
    return (int64_t)words->life | (int64_t)words->sequential << 2 | (int64_t)words->owner << 3 |
           words->ttl_ms / 1000 << 5;
}

struct create_words create_words_unpack(int64_t packed) {
    return (struct create_words){
        .life = (enum create_life)(packed & 3),
        .sequential = (packed >> 2 & 1) != 0,
        .owner = (enum owner_kind)(packed >> 3 & 3),
        .ttl_ms = (packed >> 5 & 0x7fffffff) * 1000,
    };
}
