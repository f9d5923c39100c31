/* utlist's doubly linked lists, with our check in place of assert(3): it stays on in every build
 * and pulls in nothing of libc. */
#ifndef ZKFS_REPLICA_SERVER_LIST_H
#define ZKFS_REPLICA_SERVER_LIST_H

#include "common/check.h"

#include <utlist.h>

#undef assert
#define assert(condition) CHECK(condition)

#endif
