#include "common/mem.h"
#include "replica/io/files_posix.h"
#include "replica/offline/end_sessions.h"
#include "replica/offline/offline.h"
#include "replica/offline/offline_target.h"
#include "replica/offline/snapshot_tree.h"
#include "replica/tree/tree_load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int read_exact(struct snapshot_tree *c, const char *path, struct buf *why) {
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    int err = snapshot_tree_read(c, &files_posix, dir, slash ? slash + 1 : path, why);
    mem_free(dir);
    if (err < 0)
        return err;
    if (!tree_exact(c->tree)) {
        buf_printf(why,
                   "%s: this snapshot needs the log behind it (from zxid 0x%" PRIx64
                   " to 0x%" PRIx64 "): take a copy of the whole directory instead",
                   path, c->begun, c->ended);
        return -EBADMSG;
    }
    if (c->ended == 0)
        buf_printf(why, "%s: there is nothing in it", path);
    return c->ended == 0 ? -EBADMSG : 0;
}

static int restore(const char *path, const struct offline_target *target) {
    struct snapshot_tree c;
    struct buf why = BUF_INIT;
    uint64_t ephemerals = 0;
    int err = read_exact(&c, path, &why);
    if (err == 0 && (err = end_sessions_drop(c.tree, &ephemerals)) < 0)
        buf_printf(&why, "%s: there is an ephemeral in it that has children", path);
    int code = offline_code(err);
    if (code == OFFLINE_DONE) {
        printf("snapshot %s\nsessions_ended %" PRIu64 "\nephemerals_removed %" PRIu64 "\n", path,
               c.sessions, ephemerals);
        code = offline_target_write(target, c.tree);
    } else {
        offline_say(&why);
    }
    buf_close(&why);
    snapshot_tree_close(&c);
    return code;
}

int offline_restore(int argc, char **argv) {
    if (argc != 2 || argv[0][0] == '-' || argv[1][0] == '-')
        return OFFLINE_USAGE;
    struct offline_target target;
    int code = offline_target_open(&target, argv[1]);
    if (code == OFFLINE_DONE)
        code = restore(argv[0], &target);
    offline_target_close(&target);
    return code;
}
