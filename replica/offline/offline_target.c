#include "replica/offline/offline_target.h"

#include "common/mem.h"
#include "replica/config.h"
#include "replica/io/files_posix.h"
#include "replica/offline/fresh_store.h"
#include "replica/offline/offline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

void offline_say(const struct buf *text) {
    fprintf(stderr, "zkreplica: %.*s\n", (int)text->len, (const char *)text->data);
}

int offline_code(int err) {
    switch (err) {
    case 0:
        return OFFLINE_DONE;
    case -EBADMSG:
    case -EPROTONOSUPPORT:
    case -ENOENT:
    case -ENOTEMPTY:
        return OFFLINE_REFUSED;
    default:
        return OFFLINE_FAILED;
    }
}

/* Only what is wrong is of interest here. */
static void note(void *ctx, enum log_level level, const char *text) {
    if (level <= LOG_WARN)
        fprintf(stderr, "zkreplica: %s\n", text);
}

int offline_target_open(struct offline_target *t, const char *config_path) {
    struct config config;
    struct buf why = BUF_INIT, dir = BUF_INIT;
    *t = (struct offline_target){0};
    if (config_load(config_path, note, NULL, &config, &why) != 0) {
        offline_say(&why);
        buf_close(&why);
        return OFFLINE_WRONG;
    }
    buf_printf(&dir, "%s/log", config.data_log_dir);
    t->log_dir = mem_strndup((const char *)dir.data, dir.len);
    buf_close(&dir);
    config_close(&config);
    int err = fresh_store_check(&files_posix, t->log_dir, &why);
    if (err < 0)
        offline_say(&why);
    buf_close(&why);
    return offline_code(err);
}

int offline_target_write(const struct offline_target *t, struct tree *tree) {
    uint64_t salt = 0;
    struct buf why = BUF_INIT;
    int err = 0;
    if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt) {
        err = -errno;
        buf_printf(&why, "no random numbers: %s", strerror(errno));
    } else {
        err = fresh_store_write(&files_posix, t->log_dir, tree, salt, &why);
    }
    if (err < 0)
        offline_say(&why);
    else
        printf("wrote %s\nzxid 0x%" PRIx64 "\nznodes %" PRIu64 "\ndata_bytes %" PRIu64 "\n",
               t->log_dir, tree_last_zxid(tree), tree_znode_count(tree), tree_data_bytes(tree));
    buf_close(&why);
    return offline_code(err);
}

void offline_target_close(struct offline_target *t) {
    mem_free(t->log_dir);
    t->log_dir = NULL;
}
