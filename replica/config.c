#include "replica/config_reader.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/zoocfg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* A configuration is a page of text; what is longer is some other file. */
#define CONFIG_FILE_MAX (1u << 20)
#define TICK_MS_DEFAULT 3000
#define PREALLOC_KIB_DEFAULT 65536
#define SESSIONLESS_MS_DEFAULT 10000
#define BACKLOG_DEFAULT 50
#define FRAME_BYTES_DEFAULT 1048575
#define SYNC_WARN_MS_DEFAULT 1000
#define INIT_TICKS_DEFAULT 10
#define SNAP_COUNT_DEFAULT 100000
#define SNAP_SIZE_KIB_DEFAULT (4 << 20)
#define SNAP_RETAIN_MIN 3 /* and the default */
#define SYNC_TICKS_DEFAULT 5
#define CONTAINER_CHECK_MS_DEFAULT 60000
#define CONTAINERS_PER_MINUTE_DEFAULT 10000

enum key_kind { KEY_INT, KEY_KIB, KEY_FLAG, KEY_TEXT, KEY_REAL };

#define FIELD_NONE ((size_t)-1)

struct config_key {
    const char *name;
    const char *other; /* ALIAS: the key that is meant */
    enum key_kind kind;
    bool family;
    size_t field;
    int64_t min, max;
};

static const struct config_key keys[] = {
#define OBEYED(n, k, f, lo, hi) {n, NULL, KEY_##k, false, offsetof(struct config, f), lo, hi},
#define IDLE(n, k, lo, hi) {n, NULL, KEY_##k, false, FIELD_NONE, lo, hi},
#define ALIAS(n, o) {n, o, KEY_TEXT, false, FIELD_NONE, 0, 0},
#define FAMILY(n) {n, NULL, KEY_TEXT, true, FIELD_NONE, 0, 0},
#include "replica/config_keys.def"
#undef OBEYED
#undef IDLE
#undef ALIAS
#undef FAMILY
};

void config_reader_note(struct config_reader *r, enum log_level level, struct buf *text) {
    buf_put_u8(text, 0);
    r->note(r->note_ctx, level, (const char *)text->data);
    buf_close(text);
}

static const struct config_key *key_find(const char *name) {
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const struct config_key *k = &keys[i];
        if (k->family ? strncmp(name, k->name, strlen(k->name)) == 0 : strcmp(name, k->name) == 0)
            return k->other ? key_find(k->other) : k;
    }
    return NULL;
}

bool config_parse_int(const char *text, int64_t *ret_value) {
    char *end;
    errno = 0;
    bool hex = strncasecmp(text + strspn(text, "+-"), "0x", 2) == 0;
    long long v = strtoll(text, &end, hex ? 16 : 10);
    if (end == text || *end != 0 || errno != 0)
        return false;
    *ret_value = v;
    return true;
}

static bool parse_flag(const char *text, bool *ret_value) {
    bool yes = strcasecmp(text, "true") == 0 || strcasecmp(text, "yes") == 0;
    if (!yes && strcasecmp(text, "false") != 0 && strcasecmp(text, "no") != 0)
        return false;
    *ret_value = yes;
    return true;
}

int config_wrong_value(struct config_reader *r, int line, const char *key, const char *value,
                       const char *right) {
    buf_printf(r->why, "%s:%d: wrong value for %s: \"%.200s\"; %s", r->file, line, key, value,
               right);
    return -EINVAL;
}

static int set_int(struct config_reader *r, const struct config_key *k, int line,
                   const char *value) {
    int64_t v;
    if (!config_parse_int(value, &v) || v < k->min || v > k->max) {
        char right[128];
        snprintf(right, sizeof right, "a number from %lld to %lld is right%s", (long long)k->min,
                 (long long)k->max, k->kind == KEY_KIB ? " (KiB)" : "");
        return config_wrong_value(r, line, k->name, value, right);
    }
    if (k->field == FIELD_NONE)
        return 0;
    char *field = (char *)&r->config + k->field;
    if (k->kind == KEY_KIB)
        *(int64_t *)(void *)field = v * 1024;
    else
        *(int32_t *)(void *)field = (int32_t)v;
    return 0;
}

static int set_value(struct config_reader *r, const struct config_key *k, int line,
                     const char *value) {
    char *field = k->field == FIELD_NONE ? NULL : (char *)&r->config + k->field;
    switch (k->kind) {
    case KEY_INT:
    case KEY_KIB:
        return set_int(r, k, line, value);
    case KEY_FLAG: {
        bool yes;
        if (!parse_flag(value, &yes))
            return config_wrong_value(r, line, k->name, value, "true, false, yes or no is right");
        if (field)
            *(bool *)field = yes;
        return 0;
    }
    case KEY_TEXT:
        if (field) {
            char **text = (char **)(void *)field;
            mem_free(*text);
            *text = value[0] ? mem_strdup(value) : NULL;
        }
        return 0;
    case KEY_REAL: {
        char *end;
        strtod(value, &end);
        if (end == value || *end != 0)
            return config_wrong_value(r, line, k->name, value, "a number such as 0.33 is right");
        return 0;
    }
    }
    return 0;
}

static void remember_idle(struct config_reader *r, const char *key) {
    buf_printf(&r->idle, " %s", key);
}

/* The keys that need more than a field. 1: not one of them. */
static int set_special(struct config_reader *r, int line, const char *key, const char *value) {
    int rc = config_ensemble_line(r, line, key, value);
    if (rc != 1)
        return rc;
    if (strcmp(key, "txnLogSizeLimitInKb") == 0) {
        if (!config_parse_int(value, &r->log_limit_kib) || r->log_limit_kib < -1 ||
            r->log_limit_kib > 1048576)
            return config_wrong_value(r, line, key, value,
                                      "-1 or a number to 1048576 (KiB) is right");
        return 0;
    }
    if (strcmp(key, "dynamicConfigFile") == 0) {
        if (r->dynamic)
            return config_wrong_value(r, line, key, value, "only the first file may name another");
        mem_free(r->dynamic_file);
        r->dynamic_file = mem_strdup(value);
        return 0;
    }
    return 1;
}

static int config_line(void *ctx, int line, const char *key, const char *value) {
    struct config_reader *r = ctx;
    if (strncmp(key, "zookeeper.", 10) == 0)
        key += 10;
    int rc = set_special(r, line, key, value);
    if (rc != 1)
        return rc;
    const struct config_key *k = key_find(key);
    if (!k) {
        struct buf text = BUF_INIT;
        buf_printf(&text, "%s:%d: unknown key %.200s, it is not used", r->file, line, key);
        config_reader_note(r, LOG_WARN, &text);
        return 0;
    }
    if (k->field == FIELD_NONE)
        remember_idle(r, key);
    if (k->field == offsetof(struct config, client_port))
        r->client_port_line = line;
    return set_value(r, k, line, value);
}

static int read_lines(struct config_reader *r, struct slice text) {
    int line = 0;
    int rc = zoocfg_parse(text, config_line, r, &line);
    if (rc != 0 && r->why->len == 0)
        buf_printf(r->why, "%s:%d: this line is not `key=value`", r->file, line);
    return rc;
}

int config_file_read(const char *path, struct buf *ret_text, struct buf *ret_why) {
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        rc = -errno;
        buf_printf(ret_why, "%s: cannot be read: %s", path, strerror(-rc));
        return rc;
    }
    for (;;) {
        uint8_t chunk[4096];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            rc = -errno;
            buf_printf(ret_why, "%s: cannot be read: %s", path, strerror(-rc));
            break;
        }
        if (n == 0)
            break;
        buf_put(ret_text, chunk, (size_t)n);
        if (ret_text->len > CONFIG_FILE_MAX) {
            rc = -EFBIG;
            buf_printf(ret_why, "%s: longer than %u bytes, no zoo.cfg", path, CONFIG_FILE_MAX);
            break;
        }
    }
    close(fd);
    return rc;
}

/* The ensemble's members may stand in a file of their own. */
static int read_dynamic(struct config_reader *r) {
    if (!r->dynamic_file)
        return 0;
    struct buf text = BUF_INIT;
    const char *file = r->file;
    int rc = config_file_read(r->dynamic_file, &text, r->why);
    if (rc == 0) {
        r->file = r->dynamic_file;
        r->dynamic = true;
        rc = read_lines(r, (struct slice){text.data, (int32_t)text.len});
    }
    if (rc == 0)
        r->file = file;
    buf_close(&text);
    return rc;
}

static int check_timeouts(struct config_reader *r) {
    struct config *c = &r->config;
    if (c->min_session_timeout_ms == -1)
        c->min_session_timeout_ms = 2 * c->tick_ms;
    if (c->max_session_timeout_ms == -1)
        c->max_session_timeout_ms = 20 * c->tick_ms;
    if (c->min_session_timeout_ms < 1 || c->max_session_timeout_ms < 1) {
        buf_printf(r->why, "%s: minSessionTimeout and maxSessionTimeout must be above 0 (ms)",
                   r->file);
        return -EINVAL;
    }
    if (c->min_session_timeout_ms > c->max_session_timeout_ms) {
        buf_printf(r->why, "%s: minSessionTimeout (%d) is above maxSessionTimeout (%d)", r->file,
                   c->min_session_timeout_ms, c->max_session_timeout_ms);
        return -EINVAL;
    }
    return 0;
}

static int check_data_dir(struct config_reader *r) {
    if (r->config.data_dir)
        return 0;
    buf_printf(r->why, "%s: dataDir is missing: `dataDir=/var/lib/zookeeper` is right", r->file);
    return -EINVAL;
}

static int check_client_port(struct config_reader *r) {
    if (r->config.client_port != 0)
        return 0;
    buf_printf(r->why, "%s: clientPort is missing: `clientPort=2181` is right", r->file);
    return -EINVAL;
}

static int reader_finish(struct config_reader *r) {
    int rc = read_dynamic(r);
    if (rc == 0)
        rc = check_data_dir(r);
    if (rc == 0)
        rc = config_ensemble_finish(r);
    if (rc == 0)
        rc = check_client_port(r);
    if (rc == 0)
        rc = check_timeouts(r);
    if (rc != 0)
        return rc;
    struct config *c = &r->config;
    if (!c->data_log_dir)
        c->data_log_dir = mem_strdup(c->data_dir);
    if (c->listen_backlog < 1)
        c->listen_backlog = BACKLOG_DEFAULT;
    if (c->snap_retain < SNAP_RETAIN_MIN)
        c->snap_retain = SNAP_RETAIN_MIN; /* as ZooKeeper does */
    if (r->log_limit_kib > 0)
        c->segment_bytes = r->log_limit_kib * 1024;
    if (r->idle.len > 0) {
        struct buf text = BUF_INIT;
        buf_printf(&text, "%s: known keys without effect in this version:%.*s", r->file,
                   (int)r->idle.len, (const char *)r->idle.data);
        config_reader_note(r, LOG_INFO, &text);
    }
    return 0;
}

static void reader_init(struct config_reader *r, const char *name, config_note_fn *note, void *ctx,
                        struct buf *why) {
    *r = (struct config_reader){.file = name, .note = note, .note_ctx = ctx, .why = why};
    r->log_limit_kib = -1;
    buf_init(&r->idle, 0);
    r->config = (struct config){
        .tick_ms = TICK_MS_DEFAULT,
        .listen_backlog = -1,
        .max_conns_per_ip = 60,
        .min_session_timeout_ms = -1,
        .max_session_timeout_ms = -1,
        .max_frame_bytes = FRAME_BYTES_DEFAULT,
        .max_outstanding = 1000,
        .first_frame_ms = SESSIONLESS_MS_DEFAULT,
        .segment_bytes = (int64_t)PREALLOC_KIB_DEFAULT * 1024,
        .snap_count = SNAP_COUNT_DEFAULT,
        .snap_size_limit_bytes = (int64_t)SNAP_SIZE_KIB_DEFAULT * 1024,
        .snap_retain = SNAP_RETAIN_MIN,
        .sync_warn_ms = SYNC_WARN_MS_DEFAULT,
        .container_check_ms = CONTAINER_CHECK_MS_DEFAULT,
        .containers_per_minute = CONTAINERS_PER_MINUTE_DEFAULT,
        .extended_types = true, /* docs/decisions/0012 */
        .force_sync = true,
        .init_ticks = INIT_TICKS_DEFAULT,
        .sync_ticks = SYNC_TICKS_DEFAULT,
        .leader_serves = true,
        .read_only_mode = true,
        .standalone = true,
    };
}

int config_parse(struct slice text, const char *name, config_note_fn *note, void *ctx,
                 struct config *ret_config, struct buf *ret_why) {
    struct config_reader r;
    reader_init(&r, name, note, ctx, ret_why);
    int rc = read_lines(&r, text);
    if (rc == 0)
        rc = reader_finish(&r);
    mem_free(r.dynamic_file);
    buf_close(&r.idle);
    if (rc != 0)
        config_close(&r.config);
    else
        *ret_config = r.config;
    return rc;
}

int config_load(const char *path, config_note_fn *note, void *ctx, struct config *ret_config,
                struct buf *ret_why) {
    struct buf text = BUF_INIT;
    int rc = config_file_read(path, &text, ret_why);
    if (rc == 0)
        rc = config_parse((struct slice){text.data, (int32_t)text.len}, path, note, ctx, ret_config,
                          ret_why);
    buf_close(&text);
    return rc;
}

void config_close(struct config *c) {
    mem_free(c->data_dir);
    mem_free(c->data_log_dir);
    mem_free(c->client_address);
    mem_free(c->super_digest);
    mem_free(c->word_whitelist);
    for (uint32_t i = 0; i < c->server_count; i++) {
        mem_free(c->servers[i].host);
        mem_free(c->servers[i].client_host);
    }
    mem_free(c->servers);
    mem_free(c->quorum);
    *c = (struct config){0};
}
