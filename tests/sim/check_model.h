/* A tree of its own, so simple that it can be believed: each path with every version it ever had.
 * It does what the requests ask for, in the order of the history, and never looks at the
 * transactions' results but to compare them. */
#ifndef ZKFS_TESTS_SIM_CHECK_MODEL_H
#define ZKFS_TESTS_SIM_CHECK_MODEL_H

#include "common/zstat.h"
#include "replica/tree/txn.h"
#include "tests/sim/check.h"

#define MODEL_NO_PATH UINT32_MAX

struct model_version {
    zxid_t at;
    bool exists;
    struct slice data; /* in the request that set it */
    zxid_t czxid, mzxid, pzxid;
    int64_t ctime_ms, mtime_ms;
    int32_t version, aversion, creates, children;
    session_id_t owner;
};

struct model_path {
    char *name;
    uint32_t parent; /* MODEL_NO_PATH: the root */
    uint32_t first_child, next_sibling, next_in_bucket;
    struct model_version *versions;
    size_t count, cap;
    uint64_t stamp; /* for comparing lists */
};

struct model;

struct model *model_new(void);
void model_free(struct model *m);
uint32_t model_find(const struct model *m, struct slice path); /* MODEL_NO_PATH: never there */
uint32_t model_intern(struct model *m, struct slice path);
struct model_path *model_path(const struct model *m, uint32_t path);
uint32_t model_path_count(const struct model *m);
/* As it was right behind zxid. Not NULL. */
const struct model_version *model_at(const struct model *m, uint32_t path, zxid_t zxid);
void model_stat(const struct model_version *v, struct zstat *ret_stat);
uint64_t model_stamp(struct model *m);
/* How many znodes the session owns then. */
uint32_t model_owned(const struct model *m, session_id_t owner, zxid_t zxid);
/* The first change behind `since` that a watch of that kind hears of; 0: none yet. */
zxid_t model_change(const struct model *m, uint32_t path, enum check_watch_kind kind, zxid_t since);

/* Does what op asks for, as transaction zxid of that session at that time. Returns what the answer
 * has to be; of a multi that is refused *ret_failed is the operation's index. The results go to op.
 */
struct model_change_of {
    zxid_t zxid;
    session_id_t session;
    int64_t time_ms;
};
int32_t model_do(struct model *m, struct sim_op *op, const struct model_change_of *by,
                 uint32_t *ret_failed);
/* The session's ephemerals go. True when `t`, a CLOSE_SESSION, names exactly these. */
bool model_close_session(struct model *m, const struct txn *t);

/* Whether it is a container or a TTL znode that a leader may delete at this time of its clock. */
bool model_is_due(const struct model_version *v, int64_t wall_ms, int64_t never_used_ms);
uint32_t model_first_due(const struct model *m, int64_t wall_ms, int64_t never_used_ms);
/* What nobody asked for: false when it deletes anything but one that is due. */
bool model_delete_extended(struct model *m, const struct txn *t, int64_t never_used_ms);

#endif
