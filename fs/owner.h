/* Ephemeral znodes that end with something smaller than the session: with the descriptor that made
 * them, or with a process (DESIGN section 2, "Create flags").
 *
 *   CREATING --made--> LIVING --the owner has ended--> ENDING: looked at, deleted, gone
 *       |  \-- made, but nobody takes it any more, or the owner has ended ------^
 *       +-- not made, or never sent: gone
 *
 * A process is watched through its pidfd, opened while its request is unanswered: until then the
 * kernel keeps it from ending, so that no other process can have its pid. A znode is deleted by its
 * czxid: one that somebody else has made in its place stays. Deleting is tried over reconnects
 * until it is done; when the session expires, the server has done it. */
#ifndef ZKFS_FS_OWNER_H
#define ZKFS_FS_OWNER_H

#include "fs/create_words.h"
#include "fs/fs.h"

struct owners;
struct owned;

struct owners *owners_new(struct fs *fs);
/* Forgets all; the session takes the znodes along. Before zk_close, when all calls have ended.
 * NULL is fine. */
void owners_close(struct owners *o);

/* Starts the create op (ephemeral) for the caller (a thread's id, whose request is unanswered; not
 * needed for OWNER_OPEN), whose request is `unique` (0: not known). cb gets the result, as from
 * zk_create, unless owned_leave comes before. kind is not OWNER_MOUNT. On success 0 and *ret_owned,
 * which stays good until its cb has been called with an error, or until owned_end or owned_leave;
 * negative errno: ESRCH when the process cannot be seen (another pid namespace), has ended, or is a
 * parent of another session, as the one is that inherits orphans; or what pidfd_open says. */
int owned_create(struct owners *o, const struct zk_op *op, enum owner_kind kind, pid_t caller,
                 uint64_t unique, zk_cb *cb, void *ctx, struct owned **ret_owned);
/* Of the creation that is under way. */
uint64_t owned_token(const struct owned *d);
/* The journal's record of that, kept as long as it is under way; and given back. */
void owned_take_write(struct owned *d, uint32_t *take_ref);
void owned_give_write(struct owned *d, uint32_t *ret_ref);
/* OWNER_OPEN: this is the descriptor. */
void owned_opened(struct owned *d, uint64_t fh);
/* Who waited for cb has gone: the znode is not to be. */
void owned_leave(struct owned *d);
/* OWNER_OPEN: the descriptor has been closed. NULL is fine. */
void owned_end(struct owned *d);

/* After a crash of the worker, when inodes and handles have been made: finds the owners again, and
 * deletes what has none any more. What was made for requests that are sent again waits for them:
 * they make it once more, which gives the first result (docs/frontend-restart.md), or end before.
 */
void owners_resume(struct owners *o, bool (*is_sent_again)(void *ctx, uint64_t unique), void *ctx);
/* Such a request has ended; sent is what it did not repeat, borrowed, or NULL. *take_write, the
 * journal's record of that, is taken, and 0 then, where the creation is asked for once more. */
void owners_call_ended(struct owners *o, uint64_t unique, const struct zk_sent *sent,
                       uint32_t *take_write);

#endif
