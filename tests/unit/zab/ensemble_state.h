/* What the files of the ensemble share. */
#ifndef ZKFS_TESTS_UNIT_ZAB_ENSEMBLE_STATE_H
#define ZKFS_TESTS_UNIT_ZAB_ENSEMBLE_STATE_H

#include "tests/unit/zab/ensemble.h"

/* ensemble.c */
_Noreturn void ensemble_broken(const struct ensemble *e, uint8_t id, const char *what);
struct server *ensemble_server_at(struct ensemble *e, uint8_t id);
void ensemble_entries_push(struct entries *v, zxid_t zxid, uint64_t value);
void ensemble_entries_copy(struct entries *to, const struct entries *from);
void ensemble_entries_close(struct entries *v);
/* Everything applied from there on is the one order of all. */
void ensemble_check_applied(struct ensemble *e, uint8_t id, size_t from);

/* ensemble_disk.c */
void ensemble_disk_truncate(struct disk *d, zxid_t zxid);
struct job *ensemble_job_push(struct server *s, enum job_type type);
struct job *ensemble_job_take(struct disk *d);
void ensemble_job_apply(struct disk *d, const struct job *j);
void ensemble_job_free(struct job *j);

#endif
