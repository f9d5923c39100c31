/* Names in the mount against names of znodes (DESIGN section 2). Pure.
 *
 * `.data` in every directory is the directory's own data, `.zk` at the mount's root holds the
 * views. A znode that is really called so is shown with one more dot in front, and so is one called
 * `..data`,
 * `...data` and on: the escape can be undone, and nothing is out of reach. */
#ifndef ZKFS_FS_NAME_H
#define ZKFS_FS_NAME_H

#include "common/buf.h"
#include "common/types.h"

#define NAME_DATA ".data"
#define NAME_VIEWS ".zk"
/* Where the mounts keep in the tree what is theirs. */
#define NAME_KEPT "/zookeeper/zkfs"
/* The longest name that is shown, as statfs says it (f_namemax). */
#define NAME_SHOWN_MAX 255

enum name_kind {
    NAME_IS_ZNODE,
    NAME_IS_DATA,  /* the directory's own data */
    NAME_IS_VIEWS, /* `.zk` at the root */
    NAME_IS_WRONG, /* no znode can be called so: not UTF-8, or a character that ZooKeeper refuses */
    NAME_IS_TOO_LONG,
};

/* How a znode's name is shown: terminated, in ret_shown (NAME_SHOWN_MAX + 1 bytes). False when it
 * cannot be, and is left out of listings: too long, or nothing that a directory entry may be called
 * (such a znode is none that ZooKeeper would make, but the kernel would refuse the whole listing
 * for it). */
bool name_show(struct slice name, bool at_root, char *ret_shown);
/* What a name that somebody typed means; for NAME_IS_ZNODE *ret_name is the znode's, borrowed from
 * shown. */
enum name_kind name_read(const char *shown, bool at_root, struct slice *ret_name);
/* Of a lower-case hexadecimal digit; -1 for anything else. */
int name_hex_digit(uint8_t c);
/* Appends the path of `name` in the directory `dir` (a valid path). False when it is longer than a
 * path may be (PATH_MAX_BYTES). */
bool name_path(struct buf *out, struct slice dir, struct slice name);
/* The inode number of a znode, or of its `.data`: the same on every mount as long as the znode
 * lives, never 0 and never 1, which are not numbers of a file. path is the server's. */
uint64_t name_ino(struct slice path, zxid_t czxid, bool is_data);

#endif
