/* Everything that is answered from the applied state in one step: reads and the watches they set.
 */
#ifndef ZKFS_REPLICA_SERVER_READ_H
#define ZKFS_REPLICA_SERVER_READ_H

#include "replica/server/core.h"

/* A read at its turn. */
struct read {
    struct replica *r;
    struct conn *conn;
    int32_t xid;
    uint32_t auth_count;
    struct cursor body;
};

/* Answers a request: exactly one answer. An opcode that nobody knows is answered and its connection
 * closed. */
void read_request(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                  uint32_t auth_count, int64_t arrived_ms, struct slice body);

/* Answers an addauth that was taken or refused; a refusal closes the connection. */
void read_auth(struct replica *r, struct conn *c, int32_t xid, bool ok);

/* Answers begin with these. */
struct buf *read_begin(struct read *rd);
void read_end(struct read *rd);
/* A handler has answered, and returns ZK_OK; or it has not, and returns the error to answer with.
 */
typedef enum zk_err read_fn(struct read *rd);

/* The znode at path, when it is there and this client may do what perms says (any of them). */
enum zk_err read_find(struct read *rd, struct slice path, int32_t perms,
                      const struct znode **ret_znode);

/* read_watch.c */
read_fn read_add_watch, read_set_watches, read_set_watches2;
read_fn read_check_watches, read_remove_watches;
/* read_multi.c */
read_fn read_multi;
void read_write_children(struct buf *b, const struct znode *n);

#endif
