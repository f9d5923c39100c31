/* Plays a dialogue: reads a file, does its commands on an ensemble, and prints the file again with
 * what came of each. When that is the file itself, the dialogue holds (tests/trace/run compares).
 *
 *   # ...      a comment, kept
 *   > WORD...  a command, kept; below it stands what came of it
 *   other      what came of it when the dialogue was written; replaced
 *
 * The commands are in the table below. */
#include "tests/spec/zab_world.h"

#include "common/check.h"
#include "common/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 12u

struct play {
    struct zab_world *w;
    struct world_config config;
    char *words[WORDS_MAX];
    size_t count;
    const char *file;
    unsigned line;
};

_Noreturn static void play_fail(const struct play *p, const char *why) {
    fprintf(stderr, "%s:%u: %s\n", p->file, p->line, why);
    exit(2);
}

static void print_trace(const struct zab_world *w) {
    if (w->trace.len > 0)
        fwrite(w->trace.data, 1, w->trace.len, stdout);
}

static void play_broken(struct zab_world *w, const char *why) {
    print_trace(w);
    printf("BROKEN: %s\n", why);
    fflush(stdout);
    exit(3);
}

static uint32_t number(const struct play *p, size_t i) {
    if (i >= p->count)
        play_fail(p, "a number is missing");
    char *end;
    unsigned long n = strtoul(p->words[i], &end, 10);
    if (*end || n > UINT32_MAX)
        play_fail(p, "this is no number");
    return (uint32_t)n;
}

static uint8_t server(const struct play *p, size_t i) {
    uint32_t id = number(p, i);
    if (id == 0 || id >= WORLD_IDS || !p->w->servers[id].there)
        play_fail(p, "there is no such server");
    return (uint8_t)id;
}

static bool word_is(const struct play *p, size_t i, const char *word) {
    return i < p->count && strcmp(p->words[i], word) == 0;
}

/* --- commands --- */

/* ensemble VOTERS [OBSERVERS] */
static void do_ensemble(struct play *p) {
    p->config.voters = number(p, 1);
    p->config.observers = p->count > 2 ? number(p, 2) : 0;
    if (p->config.voters == 0 || p->config.voters + p->config.observers >= WORLD_IDS)
        play_fail(p, "no such ensemble");
    world_free(p->w);
    p->w = world_new(&p->config);
    p->w->on_broken = play_broken;
}

/* limit counter|window|recent|read N: before `ensemble` */
static void do_limit(struct play *p) {
    if (word_is(p, 1, "counter"))
        p->config.counter_limit = number(p, 2);
    else if (word_is(p, 1, "window"))
        p->config.window_bytes = number(p, 2);
    else if (word_is(p, 1, "recent"))
        p->config.recent_bytes = number(p, 2);
    else
        play_fail(p, "no such limit");
}

/* start ID...: and links with everybody who runs */
static void do_start(struct play *p) {
    for (size_t i = 1; i < p->count; i++) {
        uint8_t id = server(p, i);
        if (p->w->servers[id].z)
            play_fail(p, "it runs");
        world_start(p->w, id);
        for (uint8_t peer = 1; peer < WORLD_IDS; peer++)
            if (peer != id && p->w->servers[peer].z)
                world_connect(p->w, id, peer);
    }
}

/* crash ID [keep|lose]: what the disk was asked and has not done is there, or not (lose) */
static void do_crash(struct play *p) {
    uint8_t id = server(p, 1);
    if (!p->w->servers[id].z)
        play_fail(p, "it does not run");
    world_crash(p->w, id, word_is(p, 2, "keep") ? WORLD_KEEP_ALL : WORLD_LOSE_ALL);
}

static void do_wipe(struct play *p) {
    uint8_t id = server(p, 1);
    if (p->w->servers[id].z)
        play_fail(p, "it runs");
    world_wipe(p->w, id);
}

static void do_settle(struct play *p) { world_settle(p->w); }
static void do_advance(struct play *p) { world_advance(p->w, number(p, 1)); }

/* propose ID [COUNT]: without settling */
static void do_propose(struct play *p) {
    uint32_t count = p->count > 2 ? number(p, 2) : 1;
    for (uint32_t i = 0; i < count; i++)
        world_propose(p->w, server(p, 1));
}

/* disk ID: what was asked of it is done; disk ID hold|free */
static void do_disk(struct play *p) {
    uint8_t id = server(p, 1);
    if (word_is(p, 2, "hold") || word_is(p, 2, "free"))
        p->w->servers[id].disk_held = word_is(p, 2, "hold");
    else
        world_disk_some(p->w, id, p->count > 2 ? number(p, 2) : WORLD_KEEP_ALL);
}

static void do_connect(struct play *p) { world_connect(p->w, server(p, 1), server(p, 2)); }
static void do_disconnect(struct play *p) { world_disconnect(p->w, server(p, 1), server(p, 2)); }
static void do_sever(struct play *p) { world_sever(p->w, server(p, 1), server(p, 2)); }
static void do_mend(struct play *p) { world_mend(p->w, server(p, 1), server(p, 2)); }
static void do_cut(struct play *p) { world_cut(p->w, server(p, 1), server(p, 2)); }
static void do_uncut(struct play *p) { world_uncut(p->w, server(p, 1), server(p, 2)); }

static enum zab_msg_type message_type(const struct play *p, size_t i) {
    static const char *const names[ZM_TYPE_END] = {
        [ZM_VOTE] = "VOTE",
        [ZM_FOLLOWERINFO] = "FOLLOWERINFO",
        [ZM_LEADERINFO] = "LEADERINFO",
        [ZM_ACKEPOCH] = "ACKEPOCH",
        [ZM_SYNC] = "SYNC",
        [ZM_SNAPCHUNK] = "SNAPCHUNK",
        [ZM_SNAPEND] = "SNAPEND",
        [ZM_SYNCREADY] = "SYNCREADY",
        [ZM_PROPOSAL] = "PROPOSAL",
        [ZM_ACK] = "ACK",
        [ZM_COMMIT] = "COMMIT",
        [ZM_INFORM] = "INFORM",
        [ZM_UPTODATE] = "UPTODATE",
        [ZM_PING] = "PING",
        [ZM_PONG] = "PONG",
        [ZM_APP] = "APP",
    };
    for (int type = 1; type < ZM_TYPE_END; type++)
        if (word_is(p, i, names[type]))
            return (enum zab_msg_type)type;
    play_fail(p, "there is no such message");
}

/* until FROM TO MESSAGE: settles, with that message held at the head of its link */
static void do_until(struct play *p) {
    world_run_to(p->w, server(p, 1), server(p, 2), message_type(p, 3));
}

/* block FROM TO MESSAGE: held from now on; unblock: all of them go on */
static void do_block(struct play *p) {
    world_block(p->w, server(p, 1), server(p, 2), message_type(p, 3));
}
static void do_unblock(struct play *p) { world_unblock(p->w); }

/* show WORD..., hide WORD...: messages, disk, events, votes, pings (all: the first three) */
static void do_show(struct play *p) {
    bool hide = word_is(p, 0, "hide");
    for (size_t i = 1; i < p->count; i++) {
        bool all = word_is(p, i, "all");
        if (all || word_is(p, i, "messages"))
            p->w->hide_messages = hide;
        if (all || word_is(p, i, "disk"))
            p->w->hide_disk = hide;
        if (all || word_is(p, i, "events"))
            p->w->hide_events = hide;
        if (word_is(p, i, "votes"))
            p->w->hide_votes = hide;
        if (word_is(p, i, "pings"))
            p->w->show_pings = !hide;
    }
}

/* status: a line for each server */
static void do_status(struct play *p) {
    for (uint8_t id = 1; id < WORLD_IDS; id++) {
        const struct world_server *s = &p->w->servers[id];
        if (!s->there)
            continue;
        struct buf line = BUF_INIT;
        buf_printf(&line, "%u %s", id, s->z ? world_role_text(s->role) : "down");
        if (s->leader && s->leader != id)
            buf_printf(&line, " %u", s->leader);
        buf_printf(&line, "%s, promised %u, log 0x%llx, applied 0x%llx",
                   s->serving ? ", serving" : "", s->disk.accepted_epoch,
                   (unsigned long long)world_durable(p->w, id), (unsigned long long)s->applied);
        world_say(p->w, "%.*s", (int)line.len, (const char *)line.data);
        buf_close(&line);
    }
}

/* agree: everybody serves behind one leader with the same history and state */
static void do_agree(struct play *p) {
    world_expect_agreement(p->w);
    world_say(p->w, "all agree at 0x%llx", (unsigned long long)world_committed(p->w));
}

static const struct {
    const char *word;
    void (*run)(struct play *p);
} commands[] = {
    {"ensemble", do_ensemble},
    {"limit", do_limit},
    {"start", do_start},
    {"crash", do_crash},
    {"wipe", do_wipe},
    {"settle", do_settle},
    {"advance", do_advance},
    {"propose", do_propose},
    {"disk", do_disk},
    {"connect", do_connect},
    {"disconnect", do_disconnect},
    {"sever", do_sever},
    {"mend", do_mend},
    {"cut", do_cut},
    {"uncut", do_uncut},
    {"until", do_until},
    {"block", do_block},
    {"unblock", do_unblock},
    {"show", do_show},
    {"hide", do_show},
    {"status", do_status},
    {"agree", do_agree},
};

static void play_command(struct play *p, char *text) {
    p->count = 0;
    for (char *save = NULL, *word = strtok_r(text, " \t", &save); word;
         word = strtok_r(NULL, " \t", &save)) {
        if (p->count == WORDS_MAX)
            play_fail(p, "too many words");
        p->words[p->count++] = word;
    }
    for (size_t i = 0; p->count > 0 && i < sizeof commands / sizeof commands[0]; i++) {
        if (!word_is(p, 0, commands[i].word))
            continue;
        if (!p->w && commands[i].run != do_ensemble && commands[i].run != do_limit)
            play_fail(p, "an ensemble comes first");
        commands[i].run(p);
        return;
    }
    play_fail(p, "there is no such command");
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: trace FILE\n");
        return 2;
    }
    struct play p = {.file = argv[1]};
    FILE *f = fopen(argv[1], "re");
    if (!f) {
        fprintf(stderr, "trace: %s: %s\n", argv[1], strerror(errno));
        return 2;
    }
    char line[512];
    while (fgets(line, sizeof line, f)) {
        p.line++;
        if (line[0] == '#' || line[0] == '\n') {
            fputs(line, stdout);
            continue;
        }
        if (line[0] != '>')
            continue;
        fputs(line, stdout);
        line[strcspn(line, "\n")] = 0;
        play_command(&p, line + 1);
        if (!p.w)
            continue;
        print_trace(p.w);
        buf_reset(&p.w->trace);
    }
    fclose(f);
    world_free(p.w);
    return 0;
}
