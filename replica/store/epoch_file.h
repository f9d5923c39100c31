/* acceptedEpoch, the promise not to follow an older leader (Z2, R7), in two files that say the
 * same: what a disk does to one of them does not make this server forget. Beside it they say
 * whether this server is lossy: it may have acknowledged what its log does not have any more, or
 * promised more than it knows (docs/recovery.md, "Holes"); and whether the log has records, without
 * which a log that is lost as a whole, or zeroed, would look like one that has not begun. */
#ifndef ZKFS_REPLICA_STORE_EPOCH_FILE_H
#define ZKFS_REPLICA_STORE_EPOCH_FILE_H

#include "common/buf.h"
#include "replica/store/store_file.h"

#define EPOCH_COPIES 2

/* Flags. Where the copies differ, for a crash came between them, what one of them says counts. */
#define EPOCH_LOSSY 1u
#define EPOCH_LOG 2u /* there is a log with a record in it */

enum epoch_copy { EPOCH_COPY_ABSENT, EPOCH_COPY_WHOLE, EPOCH_COPY_DAMAGED };

struct epoch_file {
    uint32_t epoch; /* the greatest that a whole copy has; 0: none was ever saved */
    uint32_t flags; /* that a whole copy has */
    uint32_t said[EPOCH_COPIES];
    uint32_t said_flags[EPOCH_COPIES];
    enum epoch_copy copies[EPOCH_COPIES];
};

/* Reads both copies and changes nothing. 0; -EBADMSG when one is damaged and none whole;
 * -EPROTONOSUPPORT or the system's. ret_why has a sentence then. */
int epoch_file_read(const struct store_dir *d, struct epoch_file *ret_file, struct buf *ret_why);
/* Makes both say the same again, durably; ret_why says which was damaged. 0 or negative errno. */
int epoch_file_repair(struct epoch_file *e, const struct store_dir *d, struct buf *ret_why);
/* Makes both copies say `epoch`, durably, one after the other, so that no crash can catch both. An
 * epoch that is not greater than the saved one is promised already. 0 or negative errno. */
int epoch_file_save(struct epoch_file *e, const struct store_dir *d, uint32_t epoch);
/* Gives both copies these flags, or takes them away; no effect where nothing was ever promised. A
 * crash in between leaves one copy that has them, and that counts: so what a flag says is true
 * before it is set, and until it has been taken away. 0 or negative errno. */
int epoch_file_set(struct epoch_file *e, const struct store_dir *d, uint32_t flags);
int epoch_file_clear(struct epoch_file *e, const struct store_dir *d, uint32_t flags);
/* Whatever stands there: makes both copies anew where they are damaged, and say at least `epoch`,
 * with the flags `set` and without `clear` (any other stays). Where nothing was ever promised, as
 * far as anybody knows, no copy is left. 0 or negative errno. */
int epoch_file_restore(const struct store_dir *d, uint32_t epoch, uint32_t set, uint32_t clear);
/* Both copies' names, for a message. */
void epoch_file_names(const struct store_dir *d, struct buf *out);

#endif
