#include "fs/options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/proto.h"

#define SESSION_TIMEOUT_MS 30000
#define SECONDS_MAX (24 * 3600)
#define RESTARTS 5
#define AUTH_FILE_MAX 65536

static const char usage[] =
    "usage: zkfs HOST:PORT[,HOST:PORT...][/ROOT] MOUNTPOINT [-o OPTION[,OPTION...]] [-f]\n"
    "\n"
    "Mounts the tree of a ZooKeeper service, or the part of it below ROOT, at MOUNTPOINT.\n"
    "\n"
    "  -f               stay in the foreground, log to standard error\n"
    "  -h, -V           print this text, the version\n"
    "  -o timeo=SECONDS how long an operation waits for a server before it fails with EIO\n"
    "                   (default: the session timeout)\n"
    "  -o hard          wait for ever; signals still end the wait\n"
    "  -o ro_ok         where no replica has a quorum, read from one without; writes fail with\n"
    "                   EROFS meanwhile\n"
    "  -o timeout=SECONDS  the session timeout to ask for (default 30)\n"
    "  -o acl=SPEC      ACL of new znodes, scheme:id:cdrwa (default world:anyone:cdrwa);\n"
    "                   several are separated by \\,\n"
    "  -o auth=FILE     identities: a line scheme:auth each; the file must have mode 0600\n"
    "  -o uid=N, gid=N, umask=OCTAL  owner and mode shown (default: yours, 022)\n"
    "  -o strict_modes  refuse chmod, chown and utimens instead of ignoring them\n"
    "  -o layout=dirs   show every znode as a directory with its data in .data\n"
    "                   (layout=mixed, the default: a childless one with data is a file)\n"
    "  -o empty=dir     show a childless znode with data of length 0 as a directory\n"
    "                   (empty=file, the default; null data is a directory in any case)\n"
    "  -o maxbuffer=BYTES  the server's jute.maxbuffer, when it is not the default\n"
    "  -o allow_other, no_allow_other  whether other users may use the mount\n"
    "                   (default: they may when root mounts)\n"
    "  -o restarts=N    how many crashes of its own within a minute the mount outlives (default "
    "5)\n"
    "  -o log=FILE      append log lines to FILE\n"
    "  -o ro, and the other general options of mount(8)\n";

static const char *fail(const char **ret_why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static const char *fail(const char **ret_why, const char *fmt, ...) {
    static char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *ret_why = text;
    return text;
}

/* A whole number in [min, max]. */
static bool parse_number(const char *s, int base, long long min, long long max, long long *ret) {
    char *end;
    errno = 0;
    long long n = strtoll(s, &end, base);
    if (*s == '\0' || *end != '\0' || errno != 0 || n < min || n > max)
        return false;
    *ret = n;
    return true;
}

/* Seconds, with a fraction if need be, in milliseconds. */
static bool parse_seconds(const char *s, int32_t *ret_ms) {
    char *end;
    double n = strtod(s, &end);
    if (*s == '\0' || *end != '\0' || !(n >= 0.001 && n <= SECONDS_MAX))
        return false;
    *ret_ms = (int32_t)(n * 1000);
    return true;
}

static bool set_timeo(struct options *opt, const char *v) {
    return parse_seconds(v, &opt->timeo_ms);
}
static bool set_timeout(struct options *opt, const char *v) {
    return parse_seconds(v, &opt->session_timeout_ms);
}
static bool set_hard(struct options *opt, const char *v) { return (void)v, opt->hard = true; }
static bool set_ro_ok(struct options *opt, const char *v) { return (void)v, opt->ro_ok = true; }
static bool set_other(struct options *opt, const char *v) {
    return (void)v, opt->allow_other = true;
}
static bool set_no_other(struct options *opt, const char *v) {
    (void)v;
    opt->allow_other = false;
    return true;
}
static bool set_strict(struct options *opt, const char *v) {
    return (void)v, opt->strict_modes = true;
}

/* One of two words; the second one sets it. */
static bool set_either(bool *at, const char *v, const char *no, const char *yes) {
    *at = strcmp(v, yes) == 0;
    return *at || strcmp(v, no) == 0;
}

static bool set_layout(struct options *opt, const char *v) {
    return set_either(&opt->layout_dirs, v, "mixed", "dirs");
}
static bool set_empty(struct options *opt, const char *v) {
    return set_either(&opt->empty_dir, v, "file", "dir");
}

static bool set_uid(struct options *opt, const char *v) {
    long long n;
    if (!parse_number(v, 10, 0, UINT32_MAX - 1, &n))
        return false;
    opt->uid = (uid_t)n;
    return true;
}

static bool set_gid(struct options *opt, const char *v) {
    long long n;
    if (!parse_number(v, 10, 0, UINT32_MAX - 1, &n))
        return false;
    opt->gid = (gid_t)n;
    return true;
}

static bool set_umask(struct options *opt, const char *v) {
    long long n;
    if (!parse_number(v, 8, 0, 0777, &n))
        return false;
    opt->umask = (mode_t)n;
    return true;
}

static bool set_maxbuffer(struct options *opt, const char *v) {
    long long n;
    if (!parse_number(v, 10, 1024, 1 << 30, &n))
        return false;
    opt->max_frame_bytes = (int32_t)n;
    return true;
}

static bool set_restarts(struct options *opt, const char *v) {
    long long n;
    if (!parse_number(v, 10, 0, 1000, &n))
        return false;
    opt->restarts = (int)n;
    return true;
}

static bool set_acl(struct options *opt, const char *v) {
    const char *why;
    struct blob *acl = acl_parse(slice_from_str(v), &why);
    if (acl == NULL)
        return false;
    blob_unref(opt->acl);
    opt->acl = acl;
    return true;
}

static bool set_path(char **at, const char *v) {
    mem_free(*at);
    *at = mem_strdup(v);
    return *v != '\0';
}

static bool set_auth(struct options *opt, const char *v) { return set_path(&opt->auth_file, v); }
static bool set_log(struct options *opt, const char *v) { return set_path(&opt->log_file, v); }

static const struct option_def {
    const char *name;
    bool value;                                          /* NAME=VALUE */
    bool (*set)(struct options *opt, const char *value); /* false: not a good value */
    const char *expects;                                 /* for the error; NULL: nothing more */
} option_defs[] = {
    {"timeo", true, set_timeo},
    {"timeout", true, set_timeout},
    {"hard", false, set_hard},
    {"ro_ok", false, set_ro_ok},
    {"acl", true, set_acl},
    {"auth", true, set_auth},
    {"uid", true, set_uid},
    {"gid", true, set_gid},
    {"umask", true, set_umask},
    {"maxbuffer", true, set_maxbuffer},
    {"strict_modes", false, set_strict},
    {"restarts", true, set_restarts},
    {"allow_other", false, set_other},
    {"no_allow_other", false, set_no_other},
    {"log", true, set_log},
    {"layout", true, set_layout, "mixed or dirs is expected"},
    {"empty", true, set_empty, "file or dir is expected"},
};

/* For the kernel, as they are. */
static const char *const kernel_words[] = {"ro",      "rw",      "suid",   "nosuid", "dev",
                                           "nodev",   "exec",    "noexec", "sync",   "async",
                                           "dirsync", "noatime", "atime",  NULL};
/* For mount(8) and systemd, nothing to do here. */
static const char *const ignored_words[] = {
    "defaults", "auto",  "noauto", "user",     "nouser",     "users",       "nofail",
    "_netdev",  "owner", "group",  "relatime", "norelatime", "strictatime", NULL};

static bool in_list(const char *const *list, const char *word) {
    for (; *list != NULL; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

static bool apply_word(struct options *opt, const char *word, const char **ret_why) {
    const char *eq = strchr(word, '=');
    size_t len = eq != NULL ? (size_t)(eq - word) : strlen(word);
    for (size_t i = 0; i < sizeof option_defs / sizeof option_defs[0]; i++) {
        const struct option_def *def = &option_defs[i];
        if (strlen(def->name) != len || memcmp(def->name, word, len) != 0)
            continue;
        if (def->value != (eq != NULL)) {
            fail(ret_why, "option %s %s value", def->name, def->value ? "needs a" : "takes no");
            return false;
        }
        if (!def->set(opt, eq != NULL ? eq + 1 : NULL)) {
            fail(ret_why, "option %s: not a valid value: %s%s%s", def->name, eq + 1,
                 def->expects != NULL ? "; " : "", def->expects != NULL ? def->expects : "");
            return false;
        }
        return true;
    }
    if (in_list(kernel_words, word)) {
        opt->ro = strcmp(word, "ro") == 0 || (opt->ro && strcmp(word, "rw") != 0);
        buf_printf(&opt->kernel_opts, "%s%s", opt->kernel_opts.len > 0 ? "," : "", word);
        return true;
    }
    if (in_list(ignored_words, word) || strncmp(word, "x-", 2) == 0)
        return true;
    fail(ret_why, "unknown option: %s (zkfs -h lists them)", word);
    return false;
}

/* Words are separated by commas; a backslash takes the next character as it is. */
static bool apply_words(struct options *opt, const char *text, const char **ret_why) {
    char *word = mem_alloc(strlen(text) + 1);
    bool ok = true;
    while (ok && *text != '\0') {
        size_t n = 0;
        for (; *text != '\0' && *text != ','; text++) {
            if (*text == '\\' && text[1] != '\0')
                text++;
            word[n++] = *text;
        }
        word[n] = '\0';
        if (*text == ',')
            text++;
        if (n > 0)
            ok = apply_word(opt, word, ret_why);
    }
    mem_free(word);
    return ok;
}

/* HOST:PORT[,HOST:PORT…][/ROOT]: hosts have no slash, so the first one begins the root. */
static bool set_source(struct options *opt, const char *source, const char **ret_why) {
    const char *slash = strchr(source, '/');
    size_t len = slash != NULL ? (size_t)(slash - source) : strlen(source);
    if (len == 0) {
        fail(ret_why, "no server in '%s': HOST:PORT[,HOST:PORT...][/ROOT] is expected", source);
        return false;
    }
    opt->source = mem_strdup(source);
    opt->servers = mem_strndup(source, len);
    const char *root = slash != NULL ? slash : "/";
    size_t root_len = strlen(root);
    while (root_len > 1 && root[root_len - 1] == '/')
        root_len--;
    opt->root = mem_strndup(root, root_len);
    const char *why = path_invalid_reason(slice_from_str(opt->root), false);
    if (why != NULL)
        fail(ret_why, "the root %s is not a valid path: %s", opt->root, why);
    return why == NULL;
}

/* Absolute, for the working directory changes. What a frontend that was killed left mounted is
 * taken away first: nothing can be reached through it any more. */
static bool set_mountpoint(struct options *opt, const char *given, const char **ret_why) {
    struct stat st;
    if (stat(given, &st) != 0 && errno == ENOTCONN && umount2(given, MNT_DETACH) != 0) {
        fail(ret_why, "%s is a dead mount: fusermount3 -uz %s first", given, given);
        return false;
    }
    char *path = realpath(given, NULL);
    if (path == NULL || stat(path, &st) != 0) {
        fail(ret_why, "the mountpoint %s: %s", given, strerror(errno));
        free(path);
        return false;
    }
    opt->mountpoint = mem_strdup(path);
    free(path);
    if (!S_ISDIR(st.st_mode))
        fail(ret_why, "the mountpoint %s is not a directory", given);
    return S_ISDIR(st.st_mode);
}

static void set_defaults(struct options *opt) {
    *opt = (struct options){
        .session_timeout_ms = SESSION_TIMEOUT_MS,
        .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
        .restarts = RESTARTS,
        .allow_other = geteuid() == 0,
        .uid = getuid(),
        .gid = getgid(),
        .umask = 022,
        .acl = acl_open_unsafe(),
    };
}

static enum options_result check_all(struct options *opt, char **words, int count,
                                     const char *mountpoint, const char **ret_why) {
    if (count != 2) {
        fail(ret_why, "%s (zkfs -h tells how to call it)",
             count < 2 ? "a server and a mountpoint are needed" : "too many arguments");
        return OPTIONS_BAD;
    }
    if (!set_source(opt, words[0], ret_why))
        return OPTIONS_BAD;
    if (mountpoint != NULL)
        opt->mountpoint = mem_strdup(mountpoint);
    else if (!set_mountpoint(opt, words[1], ret_why))
        return OPTIONS_BAD;
    if (opt->timeo_ms == 0)
        opt->timeo_ms = opt->session_timeout_ms;
    return OPTIONS_RUN;
}

static enum options_result parse(struct options *ret_opt, int argc, char **argv,
                                 const char *mountpoint, const char **ret_why) {
    set_defaults(ret_opt);
    char *words[3];
    int count = 0;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) {
            fputs(usage, stdout);
            return OPTIONS_DONE;
        }
        if (strcmp(a, "-V") == 0 || strcmp(a, "--version") == 0) {
            puts("zkfs " ZKFS_VERSION);
            return OPTIONS_DONE;
        }
        if (strcmp(a, "-f") == 0) {
            ret_opt->foreground = true;
        } else if (strncmp(a, "-o", 2) == 0) {
            const char *text = a[2] != '\0' ? a + 2 : i + 1 < argc ? argv[++i] : NULL;
            if (text == NULL) {
                fail(ret_why, "-o needs an option");
                return OPTIONS_BAD;
            }
            if (!apply_words(ret_opt, text, ret_why))
                return OPTIONS_BAD;
        } else if (a[0] == '-' && a[1] != '\0') {
            fail(ret_why, "unknown option: %s (zkfs -h lists them)", a);
            return OPTIONS_BAD;
        } else {
            words[count < 3 ? count : 2] = argv[i];
            count++;
        }
    }
    return check_all(ret_opt, words, count, mountpoint, ret_why);
}

enum options_result options_parse(struct options *ret_opt, int argc, char **argv,
                                  const char **ret_why) {
    return parse(ret_opt, argc, argv, NULL, ret_why);
}

enum options_result options_parse_worker(struct options *ret_opt, int argc, char **argv,
                                         const char *mountpoint, const char **ret_why) {
    return parse(ret_opt, argc, argv, mountpoint, ret_why);
}

void options_close(struct options *opt) {
    mem_free(opt->source);
    mem_free(opt->servers);
    mem_free(opt->root);
    mem_free(opt->mountpoint);
    mem_free(opt->auth_file);
    mem_free(opt->log_file);
    blob_unref(opt->acl);
    buf_close(&opt->kernel_opts);
}

/* One line, without its end. False when it has no colon. */
static bool add_auth_line(char *line, void (*add)(void *ctx, const char *scheme, struct slice auth),
                          void *ctx) {
    line += strspn(line, " \t");
    if (*line == '#' || *line == '\0')
        return true;
    char *colon = strchr(line, ':');
    if (colon == NULL || colon == line)
        return false;
    *colon = '\0';
    add(ctx, line, slice_from_str(colon + 1));
    return true;
}

bool options_read_auth(const char *file,
                       void (*add)(void *ctx, const char *scheme, struct slice auth), void *ctx,
                       const char **ret_why) {
    /* Without waiting for the other end, should it be a fifo. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (f == NULL) {
        fail(ret_why, "auth file %s: %s", file, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    struct stat st;
    bool ok = fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 &&
              st.st_uid == geteuid();
    if (!ok)
        fail(ret_why, "auth file %s: it has to be yours, a plain file of mode 0600", file);
    char *line = NULL;
    size_t cap = 0;
    for (int at = 1; ok && getline(&line, &cap, f) >= 0; at++) {
        line[strcspn(line, "\r\n")] = '\0';
        ok = add_auth_line(line, add, ctx);
        if (!ok)
            fail(ret_why, "auth file %s, line %d: scheme:auth is expected", file, at);
    }
    free(line);
    fclose(f);
    return ok;
}
