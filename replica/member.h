/* One member: the core and its store, behind env.h. io/ runs it on libuv, the simulator on a
 * virtual world. It feeds the core, carries out its updates, and keeps at most one log sync under
 * way, so that everything that comes in meanwhile shares the next one. */
#ifndef ZKFS_REPLICA_MEMBER_H
#define ZKFS_REPLICA_MEMBER_H

#include "common/buf.h"
#include "replica/env.h"
#include "replica/server/replica.h"
#include "replica/store/store.h"

struct member;

struct member_config {
    struct replica_config replica;
    struct wal_config wal;
};

/* Recovers from disk and starts. On failure negative errno, and why in ret_why. env is borrowed for
 * the member's life, and so is what config points to. A damaged disk of one of several voters is no
 * failure: the member runs, and is repaired from the others first (mender.h). No client is served
 * before; the core closes those that come too early. The shell calls member_flush after it, as
 * after every wake-up: no sync is begun before ret_member is the caller's. `wal.salt` need not be
 * set. */
int member_start(const struct member_config *config, const struct env *env,
                 struct member **ret_member, struct buf *ret_why);
void member_free(struct member *m); /* NULL is fine; no sync and no checkpoint may be running */

void member_tick(struct member *m);
void member_client_open(struct member *m, conn_id_t conn, struct slice addr, uint16_t port);
void member_client_frame(struct member *m, conn_id_t conn, struct slice frame);
void member_client_word(struct member *m, conn_id_t conn, struct slice word);
void member_client_closed(struct member *m, conn_id_t conn);
/* Links to peers, by server id; at most one per peer: up, messages, down. */
void member_peer_up(struct member *m, uint8_t peer);
void member_peer_message(struct member *m, uint8_t peer, struct slice message);
void member_peer_down(struct member *m, uint8_t peer);
/* Starts a log sync when something is appended and none is under way. The shell calls it once after
 * it fed the events of one wake-up, so that they share a sync. */
void member_flush(struct member *m);
struct store *member_store(struct member *m); /* for env.log_sync, that runs store_sync_run on it;
                                                 NULL while it is being repaired */
void member_log_synced(struct member *m, int result);
/* After env.checkpoint_run, which runs store_checkpoint_run on member_store. */
void member_checkpoint_ran(struct member *m);

#endif
