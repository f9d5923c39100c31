/* env_files over POSIX: the real disk. Calls that a signal interrupted go on. */
#ifndef ZKFS_REPLICA_IO_FILES_POSIX_H
#define ZKFS_REPLICA_IO_FILES_POSIX_H

#include "replica/env.h"

/* Static storage; its ctx is not used. */
extern const struct env_files files_posix;

/* The bytes of all regular files at and below path; 0 where nothing can be read. */
int64_t files_tree_bytes(const char *path);

#endif
