/* A tree out of Apache ZooKeeper's data directory: the newest snapshot that is whole, and the log
 * behind it. */
#ifndef ZKFS_REPLICA_OFFLINE_APACHE_IMPORT_H
#define ZKFS_REPLICA_OFFLINE_APACHE_IMPORT_H

#include "replica/env.h"
#include "replica/offline/apache_tree.h"

struct apache_import {
    const struct env_files *files;
    const char *dir;     /* of the snapshots: dataDir */
    const char *log_dir; /* of the log: dataLogDir */
    struct buf notes; /* out: a line each for what was passed over or cut; the caller closes it */
    /* Out. */
    struct apache_tree *tree; /* exact; the caller frees it */
    struct apache_result result;
    char *snapshot;                  /* its path, NULL: there was none; the caller frees it */
    uint64_t transactions;           /* of the log that were applied */
    bool digest_known, digest_right; /* whether Apache's own digest of the last zxid was there */
};

/* 0; -ENOENT when there is nothing to import; -EBADMSG when something is broken or missing that no
 * other snapshot replaces; or the system's; ret_why has the sentence then. */
int apache_import_run(struct apache_import *im, struct buf *ret_why);
void apache_import_close(struct apache_import *im);

#endif
