#include "common/acl.h"
#include "common/path.h"
#include "fs/caller.h"
#include "fs/options.h"
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct options opt;
static const char *why;

/* Up to eight words behind the program's name. */
static enum options_result parse(char *a, char *b, char *c, char *d) {
    char *argv[] = {"zkfs", a, b, c, d, NULL};
    int argc = 1;
    while (argc < 5 && argv[argc] != NULL)
        argc++;
    why = NULL;
    return options_parse(&opt, argc, argv, &why);
}

static enum options_result with(char *words) { return parse("h:1", "/tmp", "-o", words); }

START_TEST(servers_root_and_mountpoint_are_taken_apart) {
    ck_assert_int_eq(parse("h:1,[::1]:2/app/x/", "/tmp/../tmp", NULL, NULL), OPTIONS_RUN);
    ck_assert_str_eq(opt.servers, "h:1,[::1]:2");
    ck_assert_str_eq(opt.root, "/app/x");
    ck_assert_str_eq(opt.mountpoint, "/tmp");
    ck_assert_str_eq(opt.source, "h:1,[::1]:2/app/x/");
    ck_assert_int_eq(opt.timeo_ms, 30000);
    ck_assert_uint_eq(opt.umask, 022);
    options_close(&opt);
    ck_assert_int_eq(parse("h:1", "/tmp", NULL, NULL), OPTIONS_RUN);
    ck_assert_str_eq(opt.root, "/");
    options_close(&opt);
}
END_TEST

START_TEST(options_set_what_they_say) {
    ck_assert_int_eq(with("timeo=1.5,timeout=7,hard,ro_ok,ro,uid=3,gid=4,umask=77,strict_modes,"
                          "no_allow_other,layout=dirs,empty=dir,maxbuffer=4194304,noatime,_netdev,"
                          "x-systemd.automount"),
                     OPTIONS_RUN);
    ck_assert_int_eq(opt.timeo_ms, 1500);
    ck_assert_int_eq(opt.session_timeout_ms, 7000);
    ck_assert(opt.ro_ok);
    ck_assert(opt.hard && opt.ro && opt.strict_modes && !opt.allow_other);
    ck_assert(opt.layout_dirs && opt.empty_dir);
    ck_assert_uint_eq(opt.uid, 3);
    ck_assert_uint_eq(opt.gid, 4);
    ck_assert_uint_eq(opt.umask, 077);
    ck_assert_int_eq(opt.max_frame_bytes, 4194304);
    ck_assert_int_eq(opt.kernel_opts.len, strlen("ro,noatime"));
    ck_assert_mem_eq(opt.kernel_opts.data, "ro,noatime", opt.kernel_opts.len);
    options_close(&opt);
}
END_TEST

START_TEST(timeo_is_the_session_timeout_when_it_is_not_given) {
    ck_assert_int_eq(with("timeout=5"), OPTIONS_RUN);
    ck_assert_int_eq(opt.timeo_ms, 5000);
    options_close(&opt);
}
END_TEST

START_TEST(an_acl_may_have_commas_behind_backslashes) {
    ck_assert_int_eq(with("acl=world:anyone:r\\,auth::cdrwa,hard"), OPTIONS_RUN);
    struct buf text = BUF_INIT;
    struct jvec acl = acl_view(opt.acl);
    acl_print(&text, &acl);
    ck_assert_mem_eq(text.data, "world:anyone:r,auth::cdrwa", text.len);
    ck_assert(opt.hard);
    buf_close(&text);
    options_close(&opt);
}
END_TEST

START_TEST(what_is_wrong_is_said) {
    static const struct {
        const char *words, *why;
    } cases[] = {
        {"nonsense", "unknown option: nonsense"},
        {"hard,timeo", "timeo needs a value"},
        {"hard=1", "hard takes no value"},
        {"timeo=0", "timeo: not a valid value: 0"},
        {"timeo=nan", "timeo: not a valid value"},
        {"timeo=1x", "timeo: not a valid value"},
        {"timeout=", "timeout: not a valid value"},
        {"timeo=1e300", "timeo: not a valid value"},
        {"uid=-1", "uid: not a valid value"},
        {"gid=4294967295", "gid: not a valid value"},
        {"layout=tree", "layout: not a valid value: tree; mixed or dirs is expected"},
        {"empty=", "empty: not a valid value: ; file or dir is expected"},
        {"umask=8", "umask: not a valid value"},
        {"umask=1000", "umask: not a valid value"},
        {"maxbuffer=10", "maxbuffer: not a valid value"},
        {"acl=", "acl: not a valid value"},
        {"auth=", "auth: not a valid value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char words[64];
        snprintf(words, sizeof words, "%s", cases[i].words);
        ck_assert_int_eq(with(words), OPTIONS_BAD);
        ck_assert_msg(strstr(why, cases[i].why) != NULL, "%s: %s", words, why);
        options_close(&opt);
    }
}
END_TEST

static int added;
static char last_scheme[32], last_auth[64];

static void add(void *ctx, const char *scheme, struct slice auth) {
    (void)ctx;
    added++;
    snprintf(last_scheme, sizeof last_scheme, "%s", scheme);
    snprintf(last_auth, sizeof last_auth, "%.*s", (int)auth.len, (const char *)auth.p);
}

static bool read_auth(const char *text, mode_t mode) {
    char file[] = "/tmp/zkfs-auth-XXXXXX";
    int fd = mkstemp(file);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
    added = 0;
    bool ok = options_read_auth(file, add, NULL, &why);
    unlink(file);
    return ok;
}

START_TEST(an_auth_file_has_a_scheme_and_an_auth_on_each_line) {
    ck_assert(read_auth("# who we are\n\ndigest:user:se:cret\r\n  ip:x\n", 0600));
    ck_assert_int_eq(added, 2);
    ck_assert_str_eq(last_scheme, "ip");
    ck_assert(read_auth("digest:user:se:cret", 0400));
    ck_assert_str_eq(last_auth, "user:se:cret");
}
END_TEST

START_TEST(an_auth_file_that_others_may_read_or_that_is_malformed_is_refused) {
    ck_assert(!read_auth("digest:user:secret\n", 0640));
    ck_assert_int_eq(added, 0);
    ck_assert_ptr_nonnull(strstr(why, "0600"));
    ck_assert(!read_auth("digest:a:b\nnonsense\n", 0600));
    ck_assert_ptr_nonnull(strstr(why, "line 2"));
    ck_assert(!read_auth(":x\n", 0600));
    ck_assert(!options_read_auth("/nonexistent", add, NULL, &why));
}
END_TEST

START_TEST(how_a_thread_that_does_not_wait_in_an_open_asks_is_not_guessed) {
    /* Ourselves: running, or in the read of that very file. */
    ck_assert_int_ne(caller_creates_anew(getpid()), CALLER_YES);
    ck_assert_int_eq(caller_creates_anew(0), CALLER_UNKNOWN);
    ck_assert_int_eq(caller_creates_anew(-5), CALLER_UNKNOWN);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("options");
    TCase *t = tcase_create("options");
    tcase_add_test(t, servers_root_and_mountpoint_are_taken_apart);
    tcase_add_test(t, options_set_what_they_say);
    tcase_add_test(t, timeo_is_the_session_timeout_when_it_is_not_given);
    tcase_add_test(t, an_acl_may_have_commas_behind_backslashes);
    tcase_add_test(t, what_is_wrong_is_said);
    tcase_add_test(t, an_auth_file_has_a_scheme_and_an_auth_on_each_line);
    tcase_add_test(t, an_auth_file_that_others_may_read_or_that_is_malformed_is_refused);
    tcase_add_test(t, how_a_thread_that_does_not_wait_in_an_open_asks_is_not_guessed);
    suite_add_tcase(s, t);
    return s;
}
