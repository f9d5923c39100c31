#include "common/mem.h"
#include "replica/io/files_posix.h"
#include "replica/offline/apache_import.h"
#include "replica/offline/offline.h"
#include "replica/offline/offline_target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Lines of `text`, each with a word in front. */
static void print_lines(FILE *to, const char *word, const struct buf *text) {
    const char *at = (const char *)text->data;
    const char *end = at ? at + text->len : at;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        fprintf(to, "%s%.*s\n", word, (int)((stop ? stop : end) - at), at);
        at = next;
    }
}

static void print_result(const struct apache_import *im) {
    const struct apache_result *r = &im->result;
    printf("snapshot %s\ntransactions %" PRIu64 "\n", im->snapshot ? im->snapshot : "none",
           im->transactions);
    printf("digest %s\n", !im->digest_known ? "unknown" : im->digest_right ? "equal" : "different");
    printf("sessions_ended %" PRIu64 "\nephemerals_removed %" PRIu64 "\n", r->sessions,
           r->ephemerals);
    printf("containers %" PRIu64 "\nttls %" PRIu64 "\n", r->containers, r->ttls);
}

static int import(const char *dir, const char *log_dir, const char *config) {
    struct offline_target target;
    int code = offline_target_open(&target, config);
    if (code == OFFLINE_DONE) {
        struct buf why = BUF_INIT;
        struct apache_import im = {.files = &files_posix, .dir = dir, .log_dir = log_dir};
        code = offline_code(apache_import_run(&im, &why));
        print_lines(stderr, "zkreplica: ", &im.notes);
        print_lines(stderr, "zkreplica: ", &why);
        if (code == OFFLINE_DONE) {
            print_result(&im);
            if (im.digest_known && !im.digest_right)
                fprintf(stderr,
                        "zkreplica: the tree is not the one that Apache's server had at its last "
                        "transaction, by the digest that stands there: compare before you trust "
                        "it\n");
            code = offline_target_write(&target, apache_tree_tree(im.tree));
        }
        apache_import_close(&im);
        buf_close(&why);
    }
    offline_target_close(&target);
    return code;
}

int offline_import(int argc, char **argv) {
    const char *words[2], *log_dir = NULL;
    int count = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--log-dir") == 0 && i + 1 < argc)
            log_dir = argv[++i];
        else if (argv[i][0] == '-' || count == 2)
            return OFFLINE_USAGE;
        else
            words[count++] = argv[i];
    }
    if (count < 2)
        return OFFLINE_USAGE;
    return import(words[0], log_dir ? log_dir : words[0], words[1]);
}
