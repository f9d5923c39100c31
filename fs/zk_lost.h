/* What zk_lost.c and zk_lost_seq.c share; nobody else includes it. */
#ifndef ZKFS_FS_ZK_LOST_H
#define ZKFS_FS_ZK_LOST_H

#include "fs/zk_impl.h"
#include "fs/zk_write_check.h"

/* Younger children than these are not looked at one by one: then it is unknown. */
#define LOST_CANDIDATES_MAX 32

struct lost_candidate {
    int64_t number;
    char *path; /* owned */
};

struct lost {
    int32_t asked; /* opcode of the request under way */
    struct buf record;
    struct wc_op *ops; /* their slices point into call->request */
    size_t op_count;
    size_t at; /* the operation being looked at */
    struct wc_result *results;
    struct zk_op_result *found;
    /* A sequential create: the youngest children with its name, youngest first. */
    struct lost_candidate candidates[LOST_CANDIDATES_MAX];
    size_t candidate_count;
    size_t candidate_at;
    bool more_candidates; /* than there was room for */
    bool parent_changed;  /* a child came or went since the create was sent */
    bool in_doubt;        /* one of them could be ours, and cannot be told */
    size_t match_count;
    size_t match; /* index of the last one that looks like ours */
    struct zstat match_stat;
};

void zk_lost_ask(struct zk *zk, struct zk_call *call, int32_t opcode, struct slice path);
void zk_lost_decide(struct zk *zk, struct zk_call *call, struct wc_result r);
/* False when the answer is an error that tells nothing about the znode. */
bool zk_lost_decode_look(int32_t opcode, const struct client_update *u, struct wc_look *ret);

void zk_lost_seq_begin(struct zk *zk, struct zk_call *call);
void zk_lost_seq_reply(struct zk *zk, struct zk_call *call, const struct client_update *u);

#endif
