/* Making what a descriptor wrote the znode's data: one setData, of the whole value.
 *
 * The first one after a truncation replaces whatever is there. Any other is on condition of the
 * version that the descriptor last read or wrote; when somebody else was faster, pieces that were
 * all appended are appended to the newer value, everything else fails with ESTALE (DESIGN 2,
 * "Writing"). A failure leaves the znode as it is, and the descriptor as it was after its last
 * commit. */
#ifndef ZKFS_FS_COMMIT_H
#define ZKFS_FS_COMMIT_H

#include "fs/handle.h"

struct commit {
    struct call *call;
    struct handle *handle; /* NULL: not under way */
    void (*done)(struct call *c);
    int errnum; /* 0, or what the call was ended with */
};

/* Commits h->image (an empty one when nothing is held). The call must have h's lock. `done` is
 * called after the success; a failure ends the call. commit is part of the call's own struct. */
void commit_start(struct commit *commit, struct call *c, struct handle *h,
                  void (*done)(struct call *c));
/* From the call's on_end: an unfinished commit's pieces are dropped, for nobody knows whether they
 * were written. */
void commit_close(struct commit *commit);

/* When the call's request was under way as the worker before crashed, and had a commit at the
 * server: makes h->image what was sent, and commit_start repeats it. False when there was none.
 * `appended`: how many of its bytes are the request's own, put behind what was there; else 0. */
bool commit_resume(struct call *c, struct handle *h, size_t appended);

/* Puts `size` bytes at `off` (at the end when `append`) into h->image, which begins as what the
 * descriptor sees. 0 or EFBIG: then the pieces that were held are dropped, for they belong to the
 * value that does not fit. */
int commit_put(struct handle *h, const void *p, size_t size, off_t off, bool append);
/* Makes h->image what the descriptor sees, cut or filled with zeros to `size`; 0 or EFBIG. */
int commit_resize(struct handle *h, off_t size);

/* Starts committing pieces that were held for HOLD_MS by a descriptor which went quiet. */
void commits_init(struct fs *fs);
void commits_arm(struct fs *fs);
/* Commits everything that is held, and truncations that are due, for the mount is ending. */
void commits_flush(struct fs *fs);

#endif
