/* uthash with our memory, and our check in place of exit(3). */
#ifndef ZKFS_COMMON_HASH_H
#define ZKFS_COMMON_HASH_H

#include "common/check.h"
#include "common/mem.h"

/* The keys are short; and the default function falls through its cases without saying so, which
 * clang warns of. */
#define HASH_FUNCTION HASH_FNV
#define uthash_malloc(size_bytes) mem_alloc(size_bytes)
#define uthash_free(p, size_bytes) mem_free(p)
#define uthash_fatal(msg) check_failed(__FILE__, __LINE__, msg)
#include <uthash.h>

#endif
