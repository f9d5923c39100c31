/* env_files in memory, modelling a disk. What a program wrote is in a cache and reaches the disk by
 * sync and datasync (a file's bytes and size) and sync_dir (names); a power cut keeps, loses or
 * tears what is only in the cache. Bytes tear by sectors of 512; names are journalled, so that a
 * power cut keeps a prefix of their changes. The same calls and seeds give the same disk.
 *
 * Every call of env_files counts. The nth from now can fail, or can be the last before the power
 * goes, on either side of its effect; from there on every call fails with EIO and does nothing,
 * until mem_files_power_cut starts the machine again. */
#ifndef ZKFS_TESTS_LIB_MEM_FILES_H
#define ZKFS_TESTS_LIB_MEM_FILES_H

#include "replica/env.h"
#include "tests/lib/mem_room.h"

struct mem_files;

struct mem_files *mem_files_new(void);
void mem_files_free(struct mem_files *f);
/* The whole machine once more: files, cache and disk, without handles, locks and faults. */
struct mem_files *mem_files_clone(const struct mem_files *f);
/* Borrowed for f's life. */
const struct env_files *mem_files_env(struct mem_files *f);

uint64_t mem_files_calls(const struct mem_files *f); /* since mem_files_new */

enum mem_fault {
    MEM_FAULT_ERROR, /* the call does nothing and gives `err`; a sync forgets what it had to write,
                        as Linux does: it stays readable and never reaches the disk */
    MEM_FAULT_CUT_BEFORE, /* the power goes before the call does anything */
    MEM_FAULT_CUT_AFTER,  /* the power goes when it has done everything and not yet returned */
};
/* Arms one fault at the nth call from now (1: the next). It happens once. nth 0 disarms. */
void mem_files_fault(struct mem_files *f, uint64_t nth, enum mem_fault fault, int err);
bool mem_files_fault_happened(const struct mem_files *f);

/* How much room there is, for the test to change. What finds none gives -ENOSPC: a write, the
 * making of a file, a rename. A clone has all the room that it wants. */
struct mem_room *mem_files_room(struct mem_files *f);
uint64_t mem_files_used(const struct mem_files *f); /* bytes of the files that have a name */

enum mem_cut {
    MEM_CUT_KEEP, /* the disk had everything by luck */
    MEM_CUT_LOSE, /* nothing that was not synced is there */
    MEM_CUT_TEAR, /* of each file some sectors, of each directory's changes a prefix: by `seed` */
};
/* Power off and on: handles and locks are gone, the cache is what the disk holds. */
void mem_files_power_cut(struct mem_files *f, enum mem_cut cut, uint64_t seed);
/* The process ends and nothing else: handles and locks are gone, the cache stays. */
void mem_files_kill(struct mem_files *f);

/* What a reader sees of a file; NULL when it is not there. Borrowed until the next change. */
const uint8_t *mem_files_bytes(const struct mem_files *f, const char *path, size_t *ret_size);
/* Calls fn for each file in dir as a reader sees it, in no order; counts as no call. */
void mem_files_each(const struct mem_files *f, const char *dir,
                    void (*fn)(void *arg, const char *name, size_t size), void *arg);
/* Damage, in the cache and on the disk. The file must be there (CHECK). */
void mem_files_flip_bit(struct mem_files *f, const char *path, uint64_t bit);
void mem_files_put(struct mem_files *f, const char *path, uint64_t offset, const void *p, size_t n);
/* A file of that name, whatever was there before, with these bytes. */
void mem_files_make(struct mem_files *f, const char *path, const void *p, size_t n);
void mem_files_cut(struct mem_files *f, const char *path, size_t size);
void mem_files_remove(struct mem_files *f, const char *path);
void mem_files_move(struct mem_files *f, const char *from, const char *to);
/* One more name of the same file. */
void mem_files_link(struct mem_files *f, const char *from, const char *to);
/* The path of the file in dir whose name starts with prefix and sorts last; NULL when there is
 * none. The caller frees it (mem_free). `skip` leaves out that many from the end. */
char *mem_files_last(const struct mem_files *f, const char *dir, const char *prefix, size_t skip);

#endif
