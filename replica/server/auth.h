/* Who a connection is, and what an ACL lets it do: the schemes world, auth, digest and ip, and the
 * superuser (ZooKeeper's PrepRequestProcessor.fixupACL and ZooKeeperServer.checkACL). */
#ifndef ZKFS_REPLICA_SERVER_AUTH_H
#define ZKFS_REPLICA_SERVER_AUTH_H

#include "common/acl.h"
#include "common/zkerr.h"

struct auth_id {
    const char *scheme; /* static */
    struct blob *id;    /* owned; bytes of a client's choice, NULs too */
};

/* The identities of one connection, in the order in which they were proved. They only grow, so that
 * a request remembers how many there were when it came. */
struct auth_ids {
    struct auth_id *list;
    uint32_t count;
};

struct auth_config {
    bool skip_acl;
    const char *super_digest; /* `super:hash` or NULL */
};

void auth_init(struct auth_ids *ids, const uint8_t *addr, int32_t addr_len);
void auth_close(struct auth_ids *ids);
/* addauth. False when the scheme is unknown, auth is null, or the connection has too many
 * identities. */
bool auth_add(struct auth_ids *ids, const struct auth_config *config, struct slice scheme,
              struct slice auth);
/* An identity that another server has proved. False when its scheme is unknown. */
bool auth_take(struct auth_ids *ids, struct slice scheme, struct slice id);
/* The address as Java's getHostAddress writes it; `out` has ADDR_TEXT_MAX bytes. */
#define ADDR_TEXT_MAX 48
void auth_addr_text(const uint8_t *addr, int32_t addr_len, char *out);

/* Whether the first `count` identities have one of the permissions `perms` under `acl`. */
bool auth_allows(const struct auth_ids *ids, uint32_t count, const struct auth_config *config,
                 const struct blob *acl, int32_t perms);
/* Checks an ACL list that a client sent and expands `auth`: ZK_OK with a new reference in ret_acl,
 * ZK_INVALIDACL, or ZK_MARSHALLINGERROR for a null id where ZooKeeper fails on one. */
enum zk_err auth_fix_acl(const struct auth_ids *ids, uint32_t count, const struct jvec *acl,
                         struct blob **ret_acl);
/* Appends vector<ACL>, with the secret part of digest ids made `x` when `hide` (getACL without
 * ADMIN). */
void auth_write_acl(struct buf *out, const struct blob *acl, bool hide);
/* The user's name inside an id, for whoAmI. */
struct slice auth_user(const struct auth_id *id);

#endif
