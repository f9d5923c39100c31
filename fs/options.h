/* The command line: `zkfs HOST:PORT[,HOST:PORT…][/ROOT] MOUNTPOINT [-o OPTIONS] [-f]`. */
#ifndef ZKFS_FS_OPTIONS_H
#define ZKFS_FS_OPTIONS_H

#include <sys/types.h>

#include "common/blob.h"
#include "common/buf.h"
#include "common/types.h"

struct options {
    char *source;     /* as it was given; shown as the mount's device */
    char *servers;    /* HOST:PORT[,HOST:PORT…] */
    char *root;       /* the znode that is shown as the mount's root; "/" */
    char *mountpoint; /* absolute */
    int32_t session_timeout_ms;
    int32_t timeo_ms; /* how long an operation waits for a server; the session timeout by default */
    int32_t max_frame_bytes; /* the server's jute.maxbuffer */
    int restarts;            /* crashes within a minute that are borne */
    bool hard;
    bool ro_ok;
    bool allow_other;
    bool ro;
    bool strict_modes;
    bool layout_dirs; /* every znode is a directory with `.data` in it */
    bool empty_dir;   /* a childless znode with data of length 0 is a directory */
    bool foreground;
    uid_t uid;
    gid_t gid;
    mode_t umask;
    struct blob *acl;       /* of new znodes; never NULL */
    char *auth_file;        /* NULL: none */
    char *log_file;         /* NULL: none */
    struct buf kernel_opts; /* comma separated, for libfuse */
};

enum options_result {
    OPTIONS_RUN,
    OPTIONS_DONE, /* -h or -V: the text was printed */
    OPTIONS_BAD,  /* *ret_why says why */
};

/* Parses the arguments into *ret_opt, which options_close frees in every case. *ret_why is owned by
 * this module until the next call. */
enum options_result options_parse(struct options *ret_opt, int argc, char **argv,
                                  const char **ret_why);
/* For the worker, whose supervisor was given the same arguments: the mountpoint is known, and must
 * not be looked at, for it may be a mount that nobody serves yet. */
enum options_result options_parse_worker(struct options *ret_opt, int argc, char **argv,
                                         const char *mountpoint, const char **ret_why);
void options_close(struct options *opt);

/* Reads the file of -o auth=FILE, `scheme:auth` on each line, and calls add for each; `#` starts a
 * comment line. The file has to be the caller's own and closed to all others (0600). False and
 * *ret_why (as above) when it isn't, or when it is unreadable or malformed. */
bool options_read_auth(const char *file,
                       void (*add)(void *ctx, const char *scheme, struct slice auth), void *ctx,
                       const char **ret_why);

#endif
