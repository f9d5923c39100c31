/* What --import and --restore share: the place that a configuration names, and a new ensemble's
 * data in it. */
#ifndef ZKFS_REPLICA_OFFLINE_OFFLINE_TARGET_H
#define ZKFS_REPLICA_OFFLINE_OFFLINE_TARGET_H

#include "common/buf.h"
#include "replica/tree/tree.h"

struct offline_target {
    char *log_dir;
};

/* Reads the configuration, and sees that its place is empty. An exit code (offline.h), said on
 * standard error; offline_target_close in any case. */
int offline_target_open(struct offline_target *t, const char *config_path);
/* Writes the tree there (fresh_store.h), and says what it did. An exit code. */
int offline_target_write(const struct offline_target *t, struct tree *tree);
void offline_target_close(struct offline_target *t);

/* A sentence on standard error. */
void offline_say(const struct buf *text);
/* The exit code of a negative errno. */
int offline_code(int err);

#endif
