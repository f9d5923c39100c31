/* The links to the other servers: who is there, and whether its history is ours. */
#ifndef ZKFS_REPLICA_SERVER_PEER_H
#define ZKFS_REPLICA_SERVER_PEER_H

#include "replica/server/core.h"

/* Of the voters, in whatever order they are configured. */
uint64_t peer_config_hash(const struct quorum_config *q);
void peer_init(struct replica *r);
/* The shell's events. */
void peer_up(struct replica *r, uint8_t peer);
void peer_down(struct replica *r, uint8_t peer);
void peer_message(struct replica *r, uint8_t peer, struct slice bytes);

void peer_send(struct replica *r, uint8_t peer, const struct zab_msg *msg);
/* zab gives the link up. */
void peer_drop(struct replica *r, uint8_t peer, const char *why);
/* This room gives the link up: the peer breaks the protocol. */
void peer_cut(struct replica *r, uint8_t peer, const char *why);
/* The ensemble's secret is known (anew): who belongs to another one is cut. */
void peer_secret_known(struct replica *r);

#endif
