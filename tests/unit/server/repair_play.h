/* The machine that repairs, or a core, between peers that are played: what comes of each event is
 * a word in a trace. */
#ifndef ZKFS_TESTS_UNIT_SERVER_REPAIR_PLAY_H
#define ZKFS_TESTS_UNIT_SERVER_REPAIR_PLAY_H

#include "common/buf.h"
#include "replica/proto/peer_codec.h"
#include "replica/server/repair.h"

#define Z(epoch, counter) (((zxid_t)(epoch) << 32) + (counter))

struct play {
    struct replica_config config; /* server 1 of three */
    struct repair *r;
    struct replica *core; /* instead; NULL: r */
    struct buf trace;
    int64_t now_ms;
};

extern struct play play; /* of the test that runs */

void play_setup(void);
void play_teardown(void);
void play_feed(struct event ev);
/* The trace is this, and is forgotten. */
void play_expect(const char *text);
void play_forget(void);

/* Begins a repair of what is left: behind the base `islands`, and what was known to be there. */
void play_begin(zxid_t base, const struct repair_island *islands, size_t count, zxid_t end,
                bool lossy);
void play_pass(int64_t ms); /* then a tick */
void play_copied(zxid_t zxid, const struct log_record *first);
void play_greet(uint8_t peer); /* a link, and its greeting */
void play_message(uint8_t peer, const struct repair_msg *m);
struct log_record play_record(zxid_t zxid);
void play_records(uint8_t peer, zxid_t after, zxid_t until, const zxid_t *zxids, size_t count);
#define PLAY_RECORDS(peer, after, until, ...)                                                      \
    play_records(peer, after, until, (const zxid_t[]){__VA_ARGS__},                                \
                 sizeof((const zxid_t[]){__VA_ARGS__}) / sizeof(zxid_t))
void play_none(uint8_t peer, zxid_t after, zxid_t until, enum repair_reason reason);
void play_piece(uint8_t peer, zxid_t begun, uint64_t offset, uint64_t size); /* of ten bytes */

#endif
