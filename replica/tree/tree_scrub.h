/* Values that were altered behind the tree's back: by memory that fails, or by a stray write. Each
 * znode keeps a checksum (its part of the digest). Every change of its own values verifies it
 * before; the scrub verifies those that nothing touches, a few at a time. */
#ifndef ZKFS_REPLICA_TREE_TREE_SCRUB_H
#define ZKFS_REPLICA_TREE_TREE_SCRUB_H

#include "replica/tree/tree.h"

/* Verifies the next znodes of a round through the whole tree that begins again at its end, while
 * tree_apply goes on between. A znode that is there for a whole round is verified in it. At most
 * max_znodes (> 0), and fewer where they are large: each 4 KiB of data count as one more, so that a
 * call takes about as long whatever is in the tree. It stops where a round ends. False when one
 * does not fit, or did not before. The tree is not broken (tree_apply.h; CHECK). */
bool tree_scrub(struct tree *t, size_t max_znodes);
/* How many rounds are over. */
uint64_t tree_scrub_rounds(const struct tree *t);
/* NULL, or the path of the first znode that was found altered, by a scrub or a change: it stays.
 * The tree goes on all the same, and its digest is what it would be without; but what it answers is
 * not to be trusted. */
const char *tree_altered(const struct tree *t);

#endif
