/* jute's primitives: big-endian numbers, strings and buffers with a 4-byte length (-1 is null),
 * vectors with a 4-byte count (PROTOCOL 1.1). Reading goes through the cursor and borrows. */
#ifndef ZKFS_COMMON_JUTE_H
#define ZKFS_COMMON_JUTE_H

#include "common/buf.h"
#include "common/cursor.h"
#include "common/types.h"
#include "common/zstat.h"

int32_t jute_read_int(struct cursor *c);
int64_t jute_read_long(struct cursor *c);
/* Any non-zero byte is true, as Java's readBoolean has it. */
bool jute_read_bool(struct cursor *c);
/* A string or a buffer; a length below -1 or past the end is bad. */
struct slice jute_read_slice(struct cursor *c);
void jute_read_stat(struct cursor *c, struct zstat *ret_stat);

void jute_write_int(struct buf *b, int32_t v);
void jute_write_long(struct buf *b, int64_t v);
void jute_write_bool(struct buf *b, bool v);
void jute_write_slice(struct buf *b, struct slice s);
void jute_write_stat(struct buf *b, const struct zstat *s);

/* A vector as it stands on the wire: `count` elements in `items` (without the count). Null vectors
 * have count -1. Decoding has already checked every element, so iterating cannot fail. */
struct jvec {
    int32_t count;
    struct slice items;
};

/* Reads a vector of strings; bounded by the bytes left, every element checked. */
struct jvec jute_read_strings(struct cursor *c);
/* Reads a vector<ACL>, likewise. */
struct jvec jute_read_acls(struct cursor *c);
/* Reads a vector<ClientInfo>, likewise: each element is two strings, the scheme and the user. */
struct jvec jute_read_users(struct cursor *c);
void jute_write_jvec(struct buf *b, struct jvec v);
/* Steps through a vector of strings: *at starts at 0 (a byte offset into items). Of a vector of
 * users it gives the two strings of each in turn. */
bool jvec_next_string(const struct jvec *v, int32_t *at, struct slice *ret_string);

#endif
