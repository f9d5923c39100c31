/* The syntax of zoo.cfg: Java properties as ZooKeeper's users write them: `key=value` lines, `#`
 * and `!` comments, blanks trimmed, later keys win, `\` at a line's end continues. Meaning is
 * replica/config's. */
#ifndef ZKFS_COMMON_ZOOCFG_H
#define ZKFS_COMMON_ZOOCFG_H

#include "common/types.h"

/* Called for each key in order of lines; key and value are terminated and live for the call. A
 * non-zero result stops the reading and is handed through. */
typedef int zoocfg_fn(void *ctx, int line, const char *key, const char *value);
/* 0; what fn returned; or -EINVAL for a line without `=` or without a key, a broken \u escape, or a
 * NUL. When it is not 0, *ret_line is the line at fault, or the one that fn did not like. A key
 * that goes on over several lines has the number of its first. Escapes are those of
 * java.util.Properties. */
int zoocfg_parse(struct slice text, zoocfg_fn *fn, void *ctx, int *ret_line);

#endif
