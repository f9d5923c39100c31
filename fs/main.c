/* zkfs: the process that was started becomes the supervisor (supervise.h); its worker connects,
 * mounts, tells that the mount works, and serves until it is unmounted or told to stop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/path.h"
#include "fs/commit.h"
#include "fs/flags.h"
#include "fs/fs.h"
#include "fs/fuse_uv.h"
#include "fs/handle.h"
#include "fs/lock.h"
#include "fs/lost.h"
#include "fs/options.h"
#include "fs/owner.h"
#include "fs/resume.h"
#include "fs/supervise.h"
#include "fs/view.h"

#define EXIT_USAGE 2
/* How long ending waits for what descriptors hold and for calls under way. */
#define STOP_MS 1000

/* The worker. One that goes on with a mount begins with MOUNTING.
 *
 *   CONNECTING --root read--> MOUNTING --INIT--> SERVING --signal, umount--> STOPPING --> CLOSING
 *        |                                                                                  |
 *        +--- no server, no root, no mount: exit code 1 ----------------------------------> end
 */
struct app {
    struct fs fs;
    struct options *opt;
    uv_loop_t loop;
    struct fuse_uv *fuse;
    uv_signal_t sigint, sigterm;
    uv_timer_t stop_timer;
    uv_idle_t ending; /* one more turn of the loop, for a call cannot end the loop from within */
    bool stopping;
    bool closing;
    bool serving;
    uint64_t auth_count;
    int link_fd;   /* to the supervisor; its end is the supervisor's end */
    int device_fd; /* of the mount to go on with, -1: there is none */
    uv_poll_t link;
    int exit_code;
};

static struct app *app_of(struct fs *fs) { return (struct app *)fs; }

static void close_handle(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_zk_closed(void *ctx) {
    struct app *app = ctx;
    uv_walk(&app->loop, close_handle, NULL);
}

/* Everything that was under way has ended, or its time has passed. */
static void close_all(struct app *app) {
    if (app->closing)
        return;
    app->closing = true;
    app->fs.on_idle = NULL;
    calls_close(&app->fs);
    views_close(&app->fs);
    locks_stop(&app->fs);
    fuse_uv_unmount(app->fuse);
    app->fuse = NULL;
    handles_close(&app->fs);
    owners_close(app->fs.owners);
    flags_close(app->fs.flags);
    zk_close(app->fs.zk, on_zk_closed, app);
}

static void on_ending(uv_idle_t *idle) {
    uv_idle_stop(idle);
    close_all(idle->data);
}

static void on_idle(struct fs *fs) { uv_idle_start(&app_of(fs)->ending, on_ending); }

static void on_stop_timer(uv_timer_t *timer) {
    struct app *app = timer->data;
    if (app->fs.call_count > 0)
        log_warn("operations that were under way at the end are given up operations=%zu "
                 "after_ms=%d mountpoint=%s",
                 app->fs.call_count, STOP_MS, app->opt->mountpoint);
    close_all(app);
}

static void stop(struct app *app) {
    if (app->stopping) {
        close_all(app); /* told twice: at once */
        return;
    }
    app->stopping = true;
    app->fs.on_idle = on_idle;
    commits_flush(&app->fs);
    views_end(&app->fs);
    uv_timer_start(&app->stop_timer, on_stop_timer, STOP_MS, 0);
    if (app->fs.call_count == 0)
        on_idle(&app->fs);
}

static void on_signal(uv_signal_t *handle, int signum) {
    log_info("ending signal=%d mountpoint=%s", signum,
             ((struct app *)handle->data)->opt->mountpoint);
    stop(handle->data);
}

static void on_gone(struct fs *fs) {
    log_info("unmounted, ending mountpoint=%s", fs->opt->mountpoint);
    stop(app_of(fs));
}

static void give_up(struct app *app, int code) {
    app->exit_code = code;
    stop(app);
}

/* Nothing comes from the supervisor: it has ended. Without it a crash would leave a dead mount, and
 * nobody would know of this process. */
static void on_link(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    struct app *app = poll->data;
    uv_poll_stop(poll);
    log_error("the supervisor has gone, ending mountpoint=%s", app->opt->mountpoint);
    stop(app);
}

static void on_init(struct fs *fs) {
    struct app *app = app_of(fs);
    if (app->serving)
        return;
    app->serving = true;
    if (fs->resumed)
        return;
    log_info("mounted source=%s mountpoint=%s session=0x%llx", app->opt->source,
             app->opt->mountpoint, (unsigned long long)zk_session_id(fs->zk));
    if (!app->opt->foreground)
        supervise_detach(app->opt);
    struct supervise_hello hello = {.can_resume = fuse_uv_can_resume(fs)};
    supervise_tell(app->link_fd, &hello, fuse_uv_fd(app->fuse));
}

static void on_root(void *ctx, const struct zk_result *res) {
    struct app *app = ctx;
    if (app->stopping)
        return;
    if (res->err != ZK_OK && res->err != ZK_NOAUTH) {
        if (res->err == ZK_NONODE)
            fprintf(stderr, "zkfs: the root %s does not exist on %s: create it first\n",
                    app->opt->root, app->opt->servers);
        else
            fprintf(stderr, "zkfs: no answer from %s: %s\n", app->opt->servers,
                    zkerr_text(res->err));
        give_up(app, EXIT_FAILURE);
        return;
    }
    app->fuse = fuse_uv_mount(&app->fs, on_gone);
    if (app->fuse == NULL) {
        fprintf(stderr, "zkfs: %s could not be mounted\n", app->opt->mountpoint);
        give_up(app, EXIT_FAILURE);
    }
}

/* The mount is there, and its callers wait: for the server too, as with any lost connection. */
static void go_on(struct app *app) {
    struct fs *fs = &app->fs;
    resume_begin(fs);
    app->fuse = fuse_uv_resume(fs, app->device_fd, on_gone);
    if (app->fuse == NULL) {
        log_error("the mount cannot be gone on with mountpoint=%s", app->opt->mountpoint);
        give_up(app, RESUME_FAILED);
    }
}

/* zk has logged it, and operations wait by themselves. */
static void on_state(void *ctx, enum client_state state) {
    (void)ctx;
    (void)state;
}

/* Kept, for the file may not be there any more when the next worker starts. */
static void add_auth(void *ctx, const char *scheme, struct slice auth) {
    struct app *app = ctx;
    struct buf line = BUF_INIT;
    uint32_t ref = 0;
    buf_put(&line, scheme, strlen(scheme) + 1);
    buf_put(&line, auth.p, (size_t)auth.len);
    journal_put(app->fs.journal, &ref, JOURNAL_AUTH, ++app->auth_count, 0, line.data, line.len);
    buf_close(&line);
    zk_add_auth(app->fs.zk, scheme, auth);
}

static void on_auth(void *ctx, const struct journal_record *r) {
    const char *scheme = (const char *)r->bytes.p;
    int32_t head = (int32_t)strlen(scheme) + 1;
    zk_add_auth(ctx, scheme, (struct slice){r->bytes.p + head, r->bytes.len - head});
}

static bool read_auth(struct app *app, const char **ret_why) {
    if (app->fs.resumed) {
        journal_each(app->fs.journal, JOURNAL_AUTH, on_auth, app->fs.zk);
        return true;
    }
    const char *file = app->opt->auth_file;
    return file == NULL || options_read_auth(file, add_auth, app, ret_why);
}

static void watch_signal(struct app *app, uv_signal_t *handle, int signum) {
    uv_signal_init(&app->loop, handle);
    handle->data = app;
    uv_signal_start(handle, on_signal, signum);
}

static bool app_start(struct app *app, const char **ret_why) {
    struct options *opt = app->opt;
    struct zk_config config = {.servers = opt->servers,
                               .session_timeout_ms = opt->session_timeout_ms,
                               .timeo_ms = opt->timeo_ms,
                               .hard = opt->hard,
                               .read_only_ok = opt->ro_ok,
                               .max_frame_bytes = opt->max_frame_bytes,
                               .journal = app->fs.journal};
    app->fs.zk = zk_new(&app->loop, &config, on_state, app, ret_why);
    if (app->fs.zk == NULL)
        return false;
    views_init(&app->fs);
    lost_init(&app->fs);
    locks_init(&app->fs);
    if (!read_auth(app, ret_why))
        return false;
    app->fs.owners = owners_new(&app->fs);
    app->fs.flags = flags_new(&app->fs);
    if (app->fs.resumed)
        go_on(app);
    else
        zk_get(app->fs.zk, slice_from_str(opt->root), on_root, app);
    return true;
}

/* Each process that owns ephemeral znodes takes a descriptor. */
static void raise_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        log_warn("the limit of open files cannot be raised: %s", strerror(errno));
}

static void app_init(struct app *app, struct options *opt) {
    uv_loop_init(&app->loop);
    app->opt = opt;
    app->fs.opt = opt;
    app->fs.loop = &app->loop;
    app->fs.on_init = on_init;
    app->fs.resumed = app->device_fd >= 0;
    inode_table_init(&app->fs.inodes, slice_from_str(opt->root));
    app->fs.inodes.journal = app->fs.journal;
    calls_init(&app->fs);
    commits_init(&app->fs);
    caller_asks_init(&app->fs.caller_asks, &app->loop);
    uv_timer_init(&app->loop, &app->stop_timer);
    app->stop_timer.data = app;
    uv_idle_init(&app->loop, &app->ending);
    app->ending.data = app;
    watch_signal(app, &app->sigint, SIGINT);
    watch_signal(app, &app->sigterm, SIGTERM);
    sigset_t none; /* the supervisor blocks them, so that none is lost before here */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (uv_poll_init(&app->loop, &app->link, app->link_fd) == 0) {
        app->link.data = app;
        uv_poll_start(&app->link, UV_READABLE | UV_DISCONNECT, on_link);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    raise_limit();
}

static int app_run(struct app *app, struct options *opt, int journal_fd) {
    const char *why = NULL;
    app->fs.journal = journal_open(journal_fd, &why);
    if (app->fs.journal == NULL) {
        log_error("%s", why);
        return RESUME_FAILED;
    }
    struct journal *journal = app->fs.journal;
    app_init(app, opt);
    if (!app_start(app, &why)) {
        fprintf(stderr, "zkfs: %s\n", why);
        app->exit_code = EXIT_FAILURE;
        if (app->fs.zk != NULL)
            give_up(app, EXIT_FAILURE);
        else
            on_zk_closed(app);
    }
    uv_run(&app->loop, UV_RUN_DEFAULT);
    uv_loop_close(&app->loop);
    locks_close(&app->fs);
    inode_table_close(&app->fs.inodes);
    caller_asks_close(&app->fs.caller_asks);
    resume_close(&app->fs);
    journal_close(journal);
    if (!app->serving && app->exit_code == 0)
        app->exit_code = EXIT_FAILURE; /* told to stop before the mount worked */
    return app->exit_code;
}

/* A number and the comma behind it. */
static int next_fd(char **at) {
    int fd = (int)strtol(*at, at, 10);
    if (**at == ',')
        (*at)++;
    return fd;
}

/* As the supervisor calls it (WORKER_ARG). */
static int run_worker(int argc, char **argv) {
    struct app app = {.device_fd = -1};
    struct options opt;
    const char *why = NULL;
    prctl(PR_SET_NAME, "zkfs"); /* it would be called `exe` */
    char *at = argv[1] + strlen(WORKER_ARG);
    app.link_fd = next_fd(&at);
    int journal_fd = next_fd(&at);
    app.device_fd = next_fd(&at);
    const char *mountpoint = at;
    argv[1] = argv[0];
    int code = EXIT_USAGE;
    if (options_parse_worker(&opt, argc - 1, argv + 1, mountpoint, &why) == OPTIONS_RUN) {
        fcntl(app.link_fd, F_SETFD, FD_CLOEXEC);
        fcntl(journal_fd, F_SETFD, FD_CLOEXEC);
        if (app.device_fd >= 0)
            fcntl(app.device_fd, F_SETFD, FD_CLOEXEC);
        code = app_run(&app, &opt, journal_fd);
    }
    options_close(&opt);
    return code;
}

/* The parent's part of going into the background: its exit code says how the start went. */
static int await_child(int fd, pid_t child) {
    char code;
    ssize_t n;
    do
        n = read(fd, &code, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return code;
    waitpid(child, NULL, 0);
    fprintf(stderr, "zkfs: ended before the mount worked\n");
    return EXIT_FAILURE;
}

static int run_in_background(struct options *opt, char **argv) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        fprintf(stderr, "zkfs: pipe: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "zkfs: fork: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    if (child > 0) {
        close(fds[1]);
        return await_child(fds[0], child);
    }
    close(fds[0]);
    setsid();
    if (chdir("/") != 0)
        fprintf(stderr, "zkfs: chdir: %s\n", strerror(errno));
    return supervise(opt, argv, fds[1]);
}

static bool open_log(const char *file) {
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) {
        fprintf(stderr, "zkfs: log file %s: %s\n", file, strerror(errno));
        return false;
    }
    dup2(fd, 2);
    close(fd);
    return true;
}

int main(int argc, char **argv) {
    struct options opt;
    const char *why = NULL;
    int code;
    if (argc > 1 && strncmp(argv[1], WORKER_ARG, strlen(WORKER_ARG)) == 0)
        return run_worker(argc, argv);
    switch (options_parse(&opt, argc, argv, &why)) {
    case OPTIONS_DONE:
        code = EXIT_SUCCESS;
        break;
    case OPTIONS_BAD:
        fprintf(stderr, "zkfs: %s\n", why);
        code = EXIT_USAGE;
        break;
    default:
        if (opt.log_file != NULL && !open_log(opt.log_file))
            code = EXIT_FAILURE;
        else
            code = opt.foreground ? supervise(&opt, argv, -1) : run_in_background(&opt, argv);
    }
    options_close(&opt);
    return code;
}
