/* What rot does to an ensemble (docs/recovery.md, "What was tried"): three real members over disks
 * in memory are built once and stopped at several moments; then each case takes clones of their
 * disks, damages a file or a few, starts them, and looks at what comes of it. A seed decides
 * everything, and a case has a number.
 *
 *   rot_client  what the clients write while a base is built
 *   rot_build   the bases: disks of ensembles that were stopped, and what is true of them
 *   rot_fault   files, their kinds, and what is done to them
 *   rot_plan    the list of cases
 *   rot_case    one case: starts, and what must hold
 *   rot_main    the table of outcomes */
#ifndef ZKFS_TESTS_ROT_ROT_H
#define ZKFS_TESTS_ROT_ROT_H

#include <setjmp.h>

#include "common/prng.h"
#include "replica/server/core.h"
#include "tests/unit/store/members.h"

#define ROT_HOSTS 3
#define ROT_OLDER_MAX 32
#define ROT_KNOWN_MAX 4096
#define ROT_SESSIONS_MAX 64
#define ROT_NAME_BYTES 40
#define ROT_FILES_MAX 64
#define ROT_WHY_BYTES 512

/* The digest of the tree behind each acknowledged write, and of those that were under way. */
struct rot_history {
    uint64_t digests[ROT_KNOWN_MAX];
    size_t count;
    size_t acked; /* this one or a later one has to be there: + 1 is the count of those before */
    zxid_t last_zxid; /* of the last acknowledged write */
};

/* An ensemble (or one alone) that was stopped. Its disks belong to the set. */
struct rot_base {
    char name[40];
    size_t count; /* of hosts */
    struct mem_files *disks[ROT_HOSTS];
    /* Earlier disks of each, oldest first: where the older copies of files come from. */
    struct mem_files *older[ROT_HOSTS][ROT_OLDER_MAX];
    size_t older_count[ROT_HOSTS];
    bool has_all[ROT_HOSTS]; /* everything that was acknowledged is durable there */
    bool torn[ROT_HOSTS];    /* an unfinished write is cut off at its start, without any damage */
    zxid_t last[ROT_HOSTS];  /* of each one's log, as its start finds it */
    struct rot_history history;
    session_id_t sessions[ROT_SESSIONS_MAX]; /* ascending */
    size_t session_count;
    int64_t now_ms;
};

enum rot_kind {
    ROT_LOG_LAST,
    ROT_LOG_NEEDED, /* has records behind the newest snapshot */
    ROT_LOG_OLD,
    ROT_SNAP_NEWEST,
    ROT_SNAP_OLDER,
    ROT_EPOCH,
    ROT_CUT,
    ROT_SNAP_NEXT,
    ROT_REBUILD,
    ROT_NEW,        /* new.*, that a rebuild wrote */
    ROT_UNFINISHED, /* worth nothing: snapshot.tmp, snapshot.new, *.new */
    ROT_RESERVE,
    ROT_LOCK,
    ROT_WHOLE, /* the directory */
    ROT_KINDS
};

enum rot_fault {
    ROT_BIT,
    ROT_BYTE,
    ROT_SECTOR,    /* 512 bytes of zeros */
    ROT_PAGE,      /* 4096 */
    ROT_MISPLACED, /* a sector has what belongs into another one */
    ROT_LOST,
    ROT_ZEROED,
    ROT_SHORTER,
    ROT_OLDER, /* as it was at an earlier moment */
    ROT_BACK,  /* it was removed, and is there again */
    ROT_FAULTS
};

enum rot_mode {
    ROT_ALL,   /* all start at once */
    ROT_PAIR,  /* the damaged one and another one, and later the third */
    ROT_TWO,   /* two files of one of them, or two places; all start */
    ROT_EACH,  /* each has lost something else */
    ROT_ALONE, /* an ensemble of one */
    ROT_MODES
};

enum rot_outcome {
    ROT_SAME,        /* the file has the bytes that it had */
    ROT_HARMLESS,    /* nothing was noticed, and nothing is missing */
    ROT_PASSED,      /* a snapshot was passed over */
    ROT_TORN,        /* an end was cut off; nothing is missing */
    ROT_LOCAL,       /* repaired from what was there */
    ROT_OTHERS,      /* repaired from the others, before it voted */
    ROT_LOSSY,       /* likewise, or by a leader, and did not count before */
    ROT_RESYNCED,    /* its end was missing, unnoticed: a leader had it */
    ROT_OVER,        /* its tree was found to be wrong: started over */
    ROT_REFUSED,     /* it did not start, or ended, and said why */
    ROT_CANNOT_TELL, /* what docs/disk-format.md says that nobody can notice */
    ROT_WRONG,
    ROT_OUTCOMES
};

struct rot_file {
    char name[ROT_NAME_BYTES];
    enum rot_kind kind;
    size_t size;
    zxid_t first, until; /* a segment's records: from, and before; 0: to the end */
};

struct rot_damage {
    uint8_t host; /* index */
    struct rot_file file;
    enum rot_fault fault;
    uint64_t draw;  /* decides where, and what */
    size_t older;   /* OLDER, BACK: which of the moments */
    uint64_t at, n; /* what was changed: set when it is done */
    char what[80];
};

struct rot_case {
    uint32_t number;
    const struct rot_base *base;
    enum rot_mode mode;
    size_t damage_count;
    struct rot_damage damage[ROT_HOSTS];
    size_t partner;
    uint64_t seed;
};

struct rot_verdict {
    enum rot_outcome outcome;
    bool waited;             /* PAIR: two were not enough, and that was right */
    char why[ROT_WHY_BYTES]; /* WRONG: what is; REFUSED, STOPPED: the message */
};

struct rot_plan {
    struct rot_case *cases;
    size_t count, cap;
    uint64_t seed;
};

/* rot_client.c */
struct rot_client {
    struct prng prng;
    size_t made; /* names given so far */
    uint64_t kinds[8];
};
/* One write of some kind through host i. False: it was not acknowledged. */
bool rot_write(struct members *ms, size_t i, struct rot_client *c);
/* Sends a few creations at once, and waits for their answers: how many were acknowledged. */
size_t rot_write_burst(struct members *ms, size_t i, struct rot_client *c, size_t count);
/* One plain znode through host i. */
bool rot_create(struct members *ms, size_t i, const char *path);

/* rot_build.c */
#define ROT_BASES_MAX 16
#define ROT_DISKS_MAX 200
struct rot_set {
    struct rot_base bases[ROT_BASES_MAX];
    size_t count;
    struct mem_files *disks[ROT_DISKS_MAX]; /* of all of them, and of their earlier moments */
    size_t disk_count;
};
void rot_build(uint64_t seed, struct rot_set *set);
void rot_set_close(struct rot_set *set);
/* Settings that build and cases share. */
void rot_members(struct members *ms, size_t count);
/* Position of a digest in the history, from the last on; -1: the tree was never that. */
int rot_history_find(const struct rot_history *h, uint64_t digest);
/* The sessions of a core, ascending; the count. */
size_t rot_sessions(const struct replica *r, session_id_t out[ROT_SESSIONS_MAX]);

/* rot_fault.c */
extern const char *const rot_kind_names[ROT_KINDS];
extern const char *const rot_fault_names[ROT_FAULTS];
/* The files of a disk, by name. */
size_t rot_files(const struct mem_files *f, struct rot_file out[ROT_FILES_MAX]);
/* Whether the copy of that moment is another one than there is (of a file that is not there: that
 * there was one). */
bool rot_older_differs(const struct rot_base *b, size_t host, size_t moment, const char *name);
/* Damages the disk. False: nothing is changed by it. */
bool rot_apply(struct mem_files *f, const struct rot_base *b, struct rot_damage *d);
/* Whether one disk may take it for writes that never happened (docs/disk-format.md, "What one disk
 * cannot tell"). `before` is the disk as it was. */
bool rot_looks_unwritten(const struct mem_files *before, const struct rot_damage *d);

/* rot_plan.c */
struct rot_amounts {
    uint32_t every;   /* random places, of each file of the bases at rest */
    uint32_t offsets; /* of each base, in files by what they may cost */
    uint32_t two, each;
};
void rot_plan_make(struct rot_plan *p, const struct rot_set *set, uint64_t seed,
                   const struct rot_amounts *amounts);
void rot_plan_close(struct rot_plan *p);

/* rot_case.c */
/* Runs it; `say` prints what happens. */
void rot_run(const struct rot_case *c, bool say, struct rot_verdict *ret_verdict);
/* Where a CHECK that fails goes to, with what it says; NULL: it ends the process. */
extern jmp_buf *rot_on_check;
extern char rot_check_text[ROT_WHY_BYTES];

#endif
