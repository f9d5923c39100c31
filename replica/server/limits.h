/* Every bound of the core, with the reason for its number. */
#ifndef ZKFS_REPLICA_SERVER_LIMITS_H
#define ZKFS_REPLICA_SERVER_LIMITS_H

#include "replica/proto/peer_codec.h"
#include "replica/proto/txn_codec.h"

/* A connection without a session after this time is closed: ZooKeeper's default of
 * nio.sessionlessCnxnTimeout. Bytes that drip in do not prolong it. */
#define HANDSHAKE_TIMEOUT_MS 10000

/* Identities that one connection may prove with addauth. Each `auth` entry of an ACL expands to all
 * of them, and each check walks them: 32 is far above what clients use and keeps both cheap. */
#define AUTH_IDS_MAX 32
/* Longest `user:password`; a digest id keeps the user's name. */
#define AUTH_BYTES_MAX 4096

/* Entries of one ACL. Duplicates are found by comparing each with each; real lists have a handful.
 */
#define ACL_ENTRIES_MAX 256

/* Bytes of requests that wait in queues, beyond which connections are paused just as beyond
 * globalOutstandingLimit: 1,000 requests of 1 MiB each would otherwise be a gigabyte. */
#define QUEUED_BYTES_MAX (64u << 20)
/* A paused connection reads on when the load is down to this part of the limit: without a gap the
 * border would be crossed with every request. */
#define RESUME_NUMERATOR 3
#define RESUME_DENOMINATOR 4

/* Bytes of replies that one step makes before it leaves waiting reads to the next: 1,000 reads of
 * 1 MiB each behind one write would otherwise be answered in one piece. */
#define STEP_OUT_BYTES_MAX (16u << 20)
/* What one multiRead answers at most: each of its thousands of operations may ask for a large
 * value. No client takes an answer of that size. */
#define MULTI_READ_BYTES_MAX (16u << 20)
/* What the reply buffer keeps between steps; more than one usual step needs, far below the 10 MiB
 * that an idle replica may have. */
#define OUT_KEEP_BYTES (1u << 20)

/* What one learner's requests take at most while the leader can propose nothing. Its own clients
 * are paused at QUEUED_BYTES_MAX, a frame each beyond that; who sends twice as much is broken. */
#define BACKLOG_BYTES_MAX (2u * QUEUED_BYTES_MAX)
/* Longest message of this room to another server: there must be room for what zab puts around it.
 */
#define FORWARD_BYTES_MAX (PEER_MESSAGE_MAX - 64u)
/* Sessions in one APP_TOUCH. */
#define TOUCHES_MAX 1024u
/* Pieces of a snapshot that one step makes, of a quarter of a MiB each: a few milliseconds. */
#define SNAP_PIECES_PER_STEP 4

/* An encoded transaction. The rest of LOG_RECORD_MAX is the record around it. */
#define TXN_BYTES_MAX (LOG_RECORD_MAX - 1024u)
/* What one znode adds to the closeSession of its owner, beside its path: tags and lengths of the
 * delete, generously. */
#define CLOSE_SESSION_OP_BYTES 40u
/* A session's ephemerals together: its closeSession is one transaction and must fit. */
#define CLOSE_SESSION_BYTES_MAX (TXN_BYTES_MAX - (64u << 10))

/* Expiry buckets in the ring, a tick each. A session that is due later than the ring reaches is
 * looked at again when its bucket comes; 64 covers ZooKeeper's greatest timeout of 20 ticks three
 * times. */
#define EXPIRY_SLOTS 64

/* What an admin word answers at most; `cons` and `wchp` of a very busy replica are cut there. */
#define WORD_BYTES_MAX (8u << 20)

#endif
