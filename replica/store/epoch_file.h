/* acceptedEpoch, the promise not to follow an older leader (Z2, R7), in two files that say the
 * same: what a disk does to one of them does not make this server forget. */
#ifndef ZKFS_REPLICA_STORE_EPOCH_FILE_H
#define ZKFS_REPLICA_STORE_EPOCH_FILE_H

#include "common/buf.h"
#include "replica/store/store_file.h"

#define EPOCH_COPIES 2

enum epoch_copy { EPOCH_COPY_ABSENT, EPOCH_COPY_WHOLE, EPOCH_COPY_DAMAGED };

struct epoch_file {
    uint32_t epoch; /* the greatest that a whole copy has; 0: none was ever saved */
    uint32_t said[EPOCH_COPIES];
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
/* Both copies' names, for a message. */
void epoch_file_names(const struct store_dir *d, struct buf *out);

#endif
