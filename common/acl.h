/* ACLs. A whole ACL list travels and is stored as its jute encoding, vector<ACL> with the count, in
 * a blob: equal lists are equal bytes, so they can be interned, logged and sent without another
 * form. */
#ifndef ZKFS_COMMON_ACL_H
#define ZKFS_COMMON_ACL_H

#include "common/blob.h"
#include "common/jute.h"
#include "common/types.h"

enum acl_perm {
    PERM_READ = 1,
    PERM_WRITE = 2,
    PERM_CREATE = 4,
    PERM_DELETE = 8,
    PERM_ADMIN = 16,
    PERM_ALL = 31,
};

struct acl_entry {
    int32_t perms;
    struct slice scheme;
    struct slice id;
};

/* Steps through a decoded vector<ACL>: *at starts at 0. */
bool acl_next(const struct jvec *v, int32_t *at, struct acl_entry *ret_entry);
/* Views a blob made by acl_encode or by `jute_write_jvec` as a vector. The blob must be well formed
 * (CHECK). */
struct jvec acl_view(const struct blob *acl);
/* A blob with the vector's bytes, count first. */
struct blob *acl_blob(const struct jvec *v);
void acl_append(struct buf *items, const struct acl_entry *e);
/* `world:anyone:cdrwa`, the ACL that everybody may do everything with. A new reference. */
struct blob *acl_open_unsafe(void);
/* Text form `scheme:id:cdrwa`, entries separated by commas (user.zk.acl). acl_parse returns NULL
 * and sets *ret_why (static text) when the text is wrong. The id may contain colons (`ip:::1/64`,
 * `digest:u:hash`): the scheme ends at the first colon, the perms start after the last. A comma or
 * a backslash inside a scheme or an id is written with a backslash in front. */
void acl_print(struct buf *out, const struct jvec *v);
struct blob *acl_parse(struct slice text, const char **ret_why);

#endif
