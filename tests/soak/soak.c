/* Many hours of writes in fast motion: one replica, its core and its store in one process over a
 * disk in memory and a clock of its own, with one client that creates, sets and deletes znodes of a
 * bounded tree, and restarts all along. Checked after each batch and each restart: what
 * docs/recovery.md says of the disk's bound, of what a start replays, that the tree is the one of
 * the acknowledged writes, and that memory stays where it is. Prints TAP.
 *
 *   soak [--writes N] [--seed N] [--snap-count N] [--retain N] */
#include "tests/soak/soak.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/check.h"
#include "common/proto.h"

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- what is checked ---- */

/* The directory, by its names. */
struct census {
    uint64_t snaps, largest_bytes;
    zxid_t oldest; /* of the snapshots that have a name; INT64_MAX: none */
    zxid_t logs[LOGS_MAX];
    size_t log_count;
};

static void count_file(void *ctx, const char *path, uint64_t size_bytes) {
    struct census *c = ctx;
    const char *name = path + strlen(DIR) + 1;
    zxid_t zxid = (zxid_t)strtoull(strchr(name, '.') ? strchr(name, '.') + 1 : "", NULL, 16);
    if (strncmp(name, "snapshot.", 9) == 0) {
        c->snaps++;
        if (c->largest_bytes < size_bytes)
            c->largest_bytes = size_bytes;
        if (zxid > 0 && zxid < c->oldest)
            c->oldest = zxid;
    }
    if (strncmp(name, "log.", 4) == 0) {
        CHECK(c->log_count < LOGS_MAX);
        c->logs[c->log_count++] = zxid;
    }
}

/* Whether there is more than what a start may need: a snapshot beyond those that are kept, or a
 * segment that ends before the oldest one. */
static bool superfluous(const struct soak *s, const struct census *c) {
    size_t before = 0;
    for (size_t i = 0; i < c->log_count; i++)
        before += c->logs[i] <= c->oldest;
    return c->snaps > s->retain + 1 || (c->snaps > s->retain && before > 1);
}

/* docs/recovery.md: one checkpoint more than are kept, and the log behind the oldest kept one. What
 * is written while one is made comes on top of each snapCount; a restart interrupts it once more.
 */
static uint64_t bound(const struct soak *s) {
    return (s->retain + 1) * (s->snap_max_bytes + (s->snap_count + 2 * s->longest) * RECORD_BYTES) +
           2 * SEGMENT_BYTES + BESIDE_BYTES;
}

static void check_directory(struct soak *s) {
    struct census c = {.oldest = INT64_MAX};
    plain_files_each(s->files, count_file, &c);
    if (s->snap_max_bytes < c.largest_bytes)
        s->snap_max_bytes = c.largest_bytes;
    uint64_t bytes = plain_files_bytes(s->files);
    if (s->dir_max_bytes < bytes)
        s->dir_max_bytes = bytes;
    s->bound_bytes = bound(s);
    if (bytes > s->bound_bytes)
        soak_not_ok(s, "bytes of the directory", bytes, s->bound_bytes);
    s->late = superfluous(s, &c) ? s->late + 1 : 0;
    if (s->late > PURGE_BATCHES) {
        printf("# %" PRIu64 " snapshots, the oldest 0x%" PRIx64 ", %zu segments\n", c.snaps,
               (uint64_t)c.oldest, c.log_count);
        soak_wrong(s, "what is superfluous is removed");
    }
}

/* How much a start would replay: what the newest snapshot does not have. */
static uint64_t records_behind(struct soak *s) {
    return soak_records(s) - (s->newest == 0 ? 0 : soak_record_number(s, s->newest));
}

static void check_replay(struct soak *s) {
    uint64_t behind = records_behind(s);
    if (s->replayed_max < behind)
        s->replayed_max = behind;
    if (behind > s->snap_count + 2 * s->longest)
        soak_not_ok(s, "records behind the newest snapshot", behind,
                    s->snap_count + 2 * s->longest);
}

static void check_key(struct soak *s, uint32_t n, struct cursor body) {
    const struct key *key = &s->keys[n];
    uint8_t bytes[VALUE_MAX];
    struct proto_get_data_response response;
    if (!proto_decode(&body, PROTO_get_data_response, &response))
        soak_wrong(s, "getData is answered");
    struct slice value = soak_value(key->stamp, bytes);
    if (response.stat.version != key->version || response.data.len != value.len ||
        memcmp(response.data.p, value.p, (size_t)value.len) != 0)
        soak_wrong(s, "each znode is the one of the last write to it");
}

/* Reads the whole tree and compares it with the model; every byte of the answers, with zxids, times
 * and counts of children, goes into `out`. */
static void read_tree(struct soak *s, struct buf *out) {
    char text[32];
    buf_reset(out);
    for (uint32_t n = 0; n < PARENTS; n++)
        soak_put_get(s,
                     (struct slice){(const uint8_t *)text, snprintf(text, sizeof text, "/p%u", n)});
    for (uint32_t n = 0; n < KEYS; n++) {
        if (s->keys[n].there)
            soak_put_get(s, soak_path(n, text));
    }
    struct cursor all;
    cursor_init(&all, s->inbox.data, s->inbox.len);
    uint32_t children = 0, counted = 0;
    for (uint32_t n = 0; n < PARENTS; n++) {
        struct cursor body = soak_next_reply(s, &all);
        buf_put(out, body.p, cursor_left(&body));
        struct proto_get_data_response response;
        if (!proto_decode(&body, PROTO_get_data_response, &response))
            soak_wrong(s, "getData is answered");
        children += (uint32_t)response.stat.num_children;
    }
    for (uint32_t n = 0; n < KEYS; n++) {
        if (!s->keys[n].there)
            continue;
        counted++;
        struct cursor body = soak_next_reply(s, &all);
        buf_put(out, body.p, cursor_left(&body));
        check_key(s, n, body);
    }
    if (children != counted)
        soak_wrong(s, "there is no znode that was not written");
    buf_reset(&s->inbox);
    soak_take_replies(s);
}

static size_t heap_bytes(void) {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Without what the records take that were replayed, which zab keeps: as many as chance had it. */
static void check_heap(struct soak *s, uint64_t replayed) {
    size_t bytes = heap_bytes(), kept = (size_t)replayed * KEPT_RECORD_BYTES;
    bytes -= kept < bytes ? kept : bytes;
    if (s->restarts <= WARM_RESTARTS && s->heap_bytes < bytes)
        s->heap_bytes = bytes;
    size_t most = s->heap_bytes + s->heap_bytes / 10 + HEAP_SLACK_BYTES;
    if (s->restarts > WARM_RESTARTS && bytes > most)
        soak_not_ok(s, "bytes of memory in use behind a start", bytes, most);
}

/* ---- the run ---- */

static void start(struct soak *s) {
    struct member_config config = {
        .replica = {.tick_ms = 2000,
                    .min_session_timeout_ms = 4000,
                    .max_session_timeout_ms = 40000,
                    .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
                    .max_outstanding = 1000,
                    .snap_count = (int64_t)s->snap_count,
                    .version = "soak"},
        .wal = {.dir = DIR, .segment_bytes = SEGMENT_BYTES, .snap_retain = (int64_t)s->retain},
    };
    struct buf why = BUF_INIT;
    s->deadline_ms = INT64_MAX;
    double begin = now_s();
    if (member_start(&config, &s->env, &s->member, &why) != 0) {
        printf("# %.*s\n", (int)why.len, (const char *)why.data);
        soak_wrong(s, "it starts");
    }
    s->start_ms += ((now_s() - begin) * 1000 - s->start_ms) / (s->restarts < 8 ? 1 : 8);
    buf_close(&why);
    member_flush(s->member);
    soak_connect(s);
}

/* The process ends wherever it is: in the middle of a snapshot, too. */
static void restart(struct soak *s, struct buf *before, struct buf *after) {
    read_tree(s, before);
    check_replay(s);
    if (heap_bytes() > HEAP_SERVING_BYTES)
        soak_not_ok(s, "bytes of memory in use", heap_bytes(), HEAP_SERVING_BYTES);
    while (s->checkpoint_wanted)
        soak_run_checkpoint(s);
    uint64_t replayed = records_behind(s);
    member_free(s->member);
    s->restarts++;
    start(s);
    read_tree(s, after);
    if (before->len != after->len || memcmp(before->data, after->data, before->len) != 0)
        soak_wrong(s, "the tree behind a restart is the one before it");
    check_heap(s, replayed);
}

static void tell(struct soak *s, double begin) {
    printf("# %" PRIu64 " writes in %.1f s, %" PRIu64 " restarts, %" PRIu64
           " snapshots; the last starts took %.2f ms; at most %" PRIu64
           " records replayed, directory %.2f MiB (bound %.2f); heap %.2f MiB\n",
           s->done, now_s() - begin, s->restarts, s->snaps, s->start_ms, s->replayed_max,
           (double)s->dir_max_bytes / (1 << 20), (double)s->bound_bytes / (1 << 20),
           (double)heap_bytes() / (1 << 20));
    (void)fflush(stdout);
}

static void batch(struct soak *s) {
    for (int i = 0; i < BATCH; i++) {
        if (i % WRITES_PER_MS == 0)
            s->now_ms++;
        soak_put_write(s);
    }
    s->done += BATCH;
    soak_take_replies(s);
    soak_run_timers(s);
    check_directory(s);
}

/* Some starts come soon behind the last, so that what they replay adds up; but not before the
 * snapshot that such a start makes due has been made. */
static uint64_t restart_after(struct soak *s) {
    if (prng_chance(&s->prng, 1, 2))
        return 2 * s->longest + prng_below(&s->prng, s->snap_count);
    return (uint64_t)prng_range(&s->prng, RESTART_MIN, RESTART_MAX);
}

static void run(struct soak *s) {
    struct buf before = BUF_INIT, after = BUF_INIT;
    double begin = now_s();
    char text[32];
    start(s);
    for (uint32_t n = 0; n < PARENTS; n++)
        soak_put_create(s, (struct slice){(const uint8_t *)text, snprintf(text, 32, "/p%u", n)},
                        SLICE_NULL);
    soak_take_replies(s);
    uint64_t next = RESTART_MIN, told = 0;
    while (s->done < s->writes) {
        batch(s);
        if (s->done >= next) {
            restart(s, &before, &after);
            next = s->done + restart_after(s);
        }
        if (s->done / TELL_EVERY > told) {
            told = s->done / TELL_EVERY;
            tell(s, begin);
        }
    }
    restart(s, &before, &after);
    tell(s, begin);
    buf_close(&before);
    buf_close(&after);
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise) {
    for (int i = 1; i + 1 < argc; i += 2) {
        char *end;
        if (strcmp(argv[i], name) != 0)
            continue;
        uint64_t v = strtoull(argv[i + 1], &end, 10);
        CHECK(*end == '\0');
        return v;
    }
    return otherwise;
}

int main(int argc, char **argv) {
    static struct soak s;
    s.writes = option(argc, argv, "--writes", 2000000);
    s.snap_count = option(argc, argv, "--snap-count", 5000);
    s.retain = option(argc, argv, "--retain", 3);
    uint64_t seed = option(argc, argv, "--seed", 1);
    printf("# seed %" PRIu64 "\n", seed);
    prng_init(&s.prng, seed);
    soak_world_init(&s);
    run(&s);
    if (s.snaps < s.writes / s.snap_count / 2)
        soak_not_ok(&s, "too few snapshots", s.snaps, s.writes / s.snap_count / 2);
    printf("ok - the tree behind each of %" PRIu64 " restarts is the one before it\n", s.restarts);
    printf("ok - the directory stays within its bound: %" PRIu64 " bytes of %" PRIu64 "\n",
           s.dir_max_bytes, s.bound_bytes);
    printf("ok - a start replays what snapCount allows: %" PRIu64 " records of %" PRIu64 "\n",
           s.replayed_max, s.snap_count + 2 * s.longest);
    printf("ok - memory stays as it is behind the first starts: %zu bytes\n", heap_bytes());
    member_free(s.member);
    soak_world_close(&s);
    return 0;
}
