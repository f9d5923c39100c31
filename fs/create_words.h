/* The words of user.zk.create (DESIGN section 2, "Create flags"): how a znode is made. Pure.
 *
 *   persistent | ephemeral | container | ttl=SECONDS     persistent when none is given
 *   sequential                                           with all of them but container
 *   owner=mount | open | caller | parent                 with ephemeral only; mount when not given
 *
 * Separated by spaces or commas, in any order, each at most once. */
#ifndef ZKFS_FS_CREATE_WORDS_H
#define ZKFS_FS_CREATE_WORDS_H

#include "common/buf.h"
#include "common/proto.h"
#include "common/types.h"

/* The longest that the protocol has room for: 40 bits of milliseconds (PROTOCOL 1.6), 34 years. */
#define CREATE_TTL_MAX_S 1099511627

enum create_life { LIFE_PERSISTENT, LIFE_EPHEMERAL, LIFE_CONTAINER, LIFE_TTL };

/* With what an ephemeral znode ends, at the latest with the session. */
enum owner_kind {
    OWNER_MOUNT,  /* the session */
    OWNER_OPEN,   /* the descriptor that made it, and its copies */
    OWNER_CALLER, /* the process that made it */
    OWNER_PARENT, /* the parent of that process */
};

struct create_words {
    enum create_life life;
    bool sequential;
    int64_t ttl_ms; /* LIFE_TTL; else 0 */
    enum owner_kind owner;
};

/* False when the text is wrong: *ret_bad is the word at fault (borrowed from text, empty when there
 * is no word at all), *ret_why what is wrong with it (static). */
bool create_words_parse(struct slice text, struct create_words *ret_words, struct slice *ret_bad,
                        const char **ret_why);
/* Appends the words in one fixed order, separated by spaces. */
void create_words_print(struct buf *out, const struct create_words *words);
/* The words as one number of 36 bits, and back. */
int64_t create_words_pack(const struct create_words *words);
struct create_words create_words_unpack(int64_t packed);
enum create_mode create_words_mode(const struct create_words *words);

#endif
