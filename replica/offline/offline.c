#include "replica/offline/offline.h"

#include "replica/offline/offline_target.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    const char *usage;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"--import", "APACHE_DIR [--log-dir APACHE_LOG_DIR] CONFIG", offline_import},
    {"--restore", "SNAPSHOT_FILE CONFIG", offline_restore},
    {"--dump", "DIR|FILE [--from ZXID] [-v]", offline_dump},
    {"--check", "DIR", offline_check},
};

static const struct command *find(const char *name) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

bool offline_command(int argc, char **argv) { return argc > 1 && find(argv[1]); }

int offline_run(int argc, char **argv) {
    const struct command *c = find(argv[1]);
    int code = c->run(argc - 2, argv + 2);
    if (code == OFFLINE_USAGE) {
        fprintf(stderr, "usage: zkreplica %s %s\n", c->name, c->usage);
        return OFFLINE_WRONG;
    }
    /* What could not be printed was not done. */
    if (fflush(stdout) != 0 && code == OFFLINE_DONE)
        return OFFLINE_FAILED;
    return code;
}
