/* zkfs: connects, mounts, tells whoever started it that the mount works, and serves until it is
 * unmounted or told to stop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/path.h"
#include "fs/commit.h"
#include "fs/fs.h"
#include "fs/fuse_uv.h"
#include "fs/handle.h"
#include "fs/options.h"

#define EXIT_USAGE 2
/* How long ending waits for what descriptors hold and for calls under way. */
#define STOP_MS 1000

/* The process.
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
    int ready_fd; /* whoever started us reads one byte: our exit code, 0 once the mount works; -1 */
    int exit_code;
};

static struct app *app_of(struct fs *fs) { return (struct app *)fs; }

static void tell(struct app *app, int code) {
    if (app->ready_fd < 0)
        return;
    char c = (char)code;
    if (write(app->ready_fd, &c, 1) != 1)
        log_warn("the process that started the mount has gone");
    close(app->ready_fd);
    app->ready_fd = -1;
}

/* Standard error goes on when it is a file that somebody keeps, and not to a terminal or pipe that
 * would be held open. */
static void detach(const struct options *opt) {
    struct stat st;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return;
    dup2(null_fd, 0);
    dup2(null_fd, 1);
    if (opt->log_file == NULL && (fstat(2, &st) != 0 || !S_ISREG(st.st_mode)))
        dup2(null_fd, 2);
    if (null_fd > 2)
        close(null_fd);
}

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
    fuse_uv_unmount(app->fuse);
    app->fuse = NULL;
    zk_close(app->fs.zk, on_zk_closed, app);
}

static void on_ending(uv_idle_t *idle) {
    uv_idle_stop(idle);
    close_all(idle->data);
}

static void on_idle(struct fs *fs) { uv_idle_start(&app_of(fs)->ending, on_ending); }

static void on_stop_timer(uv_timer_t *timer) { close_all(timer->data); }

static void stop(struct app *app) {
    if (app->stopping) {
        close_all(app); /* told twice: at once */
        return;
    }
    app->stopping = true;
    app->fs.on_idle = on_idle;
    commits_flush(&app->fs);
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

static void give_up(struct app *app) {
    app->exit_code = EXIT_FAILURE;
    stop(app);
}

static void on_init(struct fs *fs) {
    struct app *app = app_of(fs);
    if (app->serving)
        return;
    app->serving = true;
    log_info("mounted source=%s mountpoint=%s session=0x%llx", app->opt->source,
             app->opt->mountpoint, (unsigned long long)zk_session_id(fs->zk));
    if (!app->opt->foreground)
        detach(app->opt);
    tell(app, 0);
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
        give_up(app);
        return;
    }
    app->fuse = fuse_uv_mount(&app->fs, on_gone);
    if (app->fuse == NULL) {
        fprintf(stderr, "zkfs: %s could not be mounted\n", app->opt->mountpoint);
        give_up(app);
    }
}

/* zk has logged it, and operations wait by themselves. */
static void on_state(void *ctx, enum client_state state) {
    (void)ctx;
    (void)state;
}

static void add_auth(void *ctx, const char *scheme, struct slice auth) {
    zk_add_auth(((struct app *)ctx)->fs.zk, scheme, auth);
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
                               .max_frame_bytes = opt->max_frame_bytes};
    app->fs.zk = zk_new(&app->loop, &config, on_state, app, ret_why);
    if (app->fs.zk == NULL)
        return false;
    if (opt->auth_file != NULL && !options_read_auth(opt->auth_file, add_auth, app, ret_why))
        return false;
    zk_get(app->fs.zk, slice_from_str(opt->root), on_root, app);
    return true;
}

static void app_init(struct app *app, struct options *opt, int ready_fd) {
    *app = (struct app){.opt = opt, .ready_fd = ready_fd};
    uv_loop_init(&app->loop);
    app->fs.opt = opt;
    app->fs.loop = &app->loop;
    app->fs.on_init = on_init;
    inode_table_init(&app->fs.inodes, slice_from_str(opt->root));
    calls_init(&app->fs);
    commits_init(&app->fs);
    uv_timer_init(&app->loop, &app->stop_timer);
    app->stop_timer.data = app;
    uv_idle_init(&app->loop, &app->ending);
    app->ending.data = app;
    watch_signal(app, &app->sigint, SIGINT);
    watch_signal(app, &app->sigterm, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static int app_run(struct options *opt, int ready_fd) {
    struct app app;
    const char *why = NULL;
    app_init(&app, opt, ready_fd);
    if (!app_start(&app, &why)) {
        fprintf(stderr, "zkfs: %s\n", why);
        app.exit_code = EXIT_FAILURE;
        if (app.fs.zk != NULL)
            give_up(&app);
        else
            on_zk_closed(&app);
    }
    uv_run(&app.loop, UV_RUN_DEFAULT);
    uv_loop_close(&app.loop);
    handles_close(&app.fs);
    inode_table_close(&app.fs.inodes);
    if (!app.serving && app.exit_code == 0)
        app.exit_code = EXIT_FAILURE; /* told to stop before the mount worked */
    tell(&app, app.exit_code);
    return app.exit_code;
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

static int run_in_background(struct options *opt) {
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
    return app_run(opt, fds[1]);
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
            code = opt.foreground ? app_run(&opt, -1) : run_in_background(&opt);
    }
    options_close(&opt);
    return code;
}
