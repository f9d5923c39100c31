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

/* Pieces of a checkpoint: less than a tenth of a millisecond of the loop each, one in two
 * milliseconds, and a few on their way to the disk. A loop that was busy makes up for at most so
 * much time: no request waits for more than a handful of them. */
#define CHECKPOINT_PIECE_BYTES (64u << 10)
#define CHECKPOINT_PIECES 8u
#define CHECKPOINT_PACE_MS 2
#define CHECKPOINT_LAG_MS 8
/* What a record takes in the log beside its payload, about. */
#define CHECKPOINT_RECORD_BYTES 64u
/* After one that failed (a full disk) the next is tried so much later. */
#define CHECKPOINT_RETRY_MS 60000
/* Operators who wait for the word snap at once. */
#define CHECKPOINT_ASKED_MAX 8u
/* Digests by zxid that are kept (16 bytes each): a learner answers a question about a zxid that it
 * applied a moment ago, a hundred milliseconds of heavy load at the most. */
#define DIGEST_RING 1024u
/* Trees are looked at and compared with each heartbeat; where that is slow, so often all the same:
 * a difference has to be found within a second. */
#define DIGEST_PERIOD_MS_MAX 500
/* A learner that has not answered for so long is asked anew: its answer may have been lost with an
 * attachment to the leader that ended without its link. */
#define DIGEST_ANSWER_MS 10000
/* Who started over so shortly before and is wrong again has a wrong disk: memory does not fail so
 * often. And a leader does not start over again for the sake of a server that differs still: else
 * the two would go on for ever. */
#define DIGEST_FRESH_MS 600000
/* Znodes whose checksum is looked at, per millisecond: 20,000 a second take some thousandths of one
 * processor, a small tree is looked through within a second, one of a million in less than a
 * minute. */
#define SCRUB_ZNODES_PER_MS 20
/* Lines of the word `hash`. */
#define HASH_WORD_LINES 16u

/* An encoded transaction. The rest of LOG_RECORD_MAX is the record around it. */
#define TXN_BYTES_MAX (LOG_RECORD_MAX - 1024u)
/* What one znode adds to the closeSession of its owner, beside its path: tags and lengths of the
 * delete, generously. */
#define CLOSE_SESSION_OP_BYTES 40u
/* A session's ephemerals together: its closeSession is one transaction and must fit. */
#define CLOSE_SESSION_BYTES_MAX (TXN_BYTES_MAX - (64u << 10))

/* While the disk is full: how often it is tried again. An operator who has made room waits no
 * longer than this, and a try costs a few calls. */
#define FULL_RETRY_MS 1000
/* And how long a leader of others holds its clients' writes, for one with room to take its place:
 * twice the silence after which a dead leader is replaced, by default. */
#define FULL_HANDOVER_MS 3000
/* New sessions that a leader takes meanwhile. Each costs about 300 bytes of log, with its
 * end, of the mebibyte that was kept for this: two thirds are left for ends, returns and epochs. */
#define FULL_SESSIONS_MAX 1000u

/* Containers and TTL znodes that one step of a round looks at, the next a millisecond later: a
 * tenth of one processor at the most, and a million within a few seconds. */
#define CONTAINERS_PER_STEP 500u

/* Expiry buckets in the ring, a tick each. A session that is due later than the ring reaches is
 * looked at again when its bucket comes; 64 covers ZooKeeper's greatest timeout of 20 ticks three
 * times. */
#define EXPIRY_SLOTS 64

/* Changes that are kept for clients that come back, to tell persistent watches what they missed: at
 * 1,000 writes a second those of a minute, more than a session's timeout. Their paths take as much
 * as the second says, the ring 1.5 MiB. What one client is told so stays below STEP_OUT_BYTES_MAX.
 */
#define RECENT_CHANGES_MAX (64u << 10)
#define RECENT_BYTES_MAX (4u << 20)

/* What an admin word answers at most; `cons` and `wchp` of a very busy replica are cut there. */
#define WORD_BYTES_MAX (8u << 20)

#endif
