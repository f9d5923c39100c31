/* The files of Apache ZooKeeper's data directory (version-2/snapshot.ZXID and version-2/log.ZXID,
 * in hexadecimal digits), and their bytes. */
#ifndef ZKFS_REPLICA_OFFLINE_APACHE_DIR_H
#define ZKFS_REPLICA_OFFLINE_APACHE_DIR_H

#include "common/buf.h"
#include "replica/env.h"

enum apache_packing { APACHE_PLAIN, APACHE_GZIP, APACHE_SNAPPY };

struct apache_file {
    char *path;
    zxid_t zxid;
    enum apache_packing packing; /* of snapshots */
};

struct apache_files {
    struct apache_file *list; /* ascending */
    size_t count, cap;
};

/* The files whose names begin with `prefix` ("snapshot" or "log") in DIR/version-2, or in DIR
 * itself where that is not there. 0 or negative errno and ret_why. */
int apache_dir_list(const struct env_files *files, const char *dir, const char *prefix,
                    struct apache_files *ret_files, struct buf *ret_why);
void apache_dir_close(struct apache_files *f);

/* All of a file, unpacked, into ret_bytes (which the caller closes). 0; -EBADMSG when it cannot be
 * unpacked; -EPROTONOSUPPORT when nobody here can; or the system's; ret_why without the file's
 * name. */
int apache_dir_read(const struct env_files *files, const struct apache_file *file,
                    struct buf *ret_bytes, struct buf *ret_why);

#endif
