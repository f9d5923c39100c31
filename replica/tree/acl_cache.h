/* Interned ACLs: znodes with the same ACL share one blob. Most trees have a handful. */
#ifndef ZKFS_REPLICA_TREE_ACL_CACHE_H
#define ZKFS_REPLICA_TREE_ACL_CACHE_H

#include "common/blob.h"
#include "replica/tree/htab.h"

struct acl_cache {
    struct htab by_bytes;
    struct blob *open; /* world:anyone:cdrwa: always there, and found without hashing */
};

void acl_cache_init(struct acl_cache *c);
/* Every use must have been given back (CHECK). */
void acl_cache_close(struct acl_cache *c);
/* The shared blob with these bytes; counts one use. Borrowed until acl_cache_drop. */
struct blob *acl_cache_use(struct acl_cache *c, struct blob *acl);
/* Gives one use back, of a blob that acl_cache_use returned. */
void acl_cache_drop(struct acl_cache *c, struct blob *acl);

#endif
