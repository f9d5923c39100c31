/* A lost sequential create has no name to look at: its znode, if it was made, is among the youngest
 * children of the parent, for the numbers rise with the zxid. An ephemeral one is known by its
 * owner; a persistent one only by data that is not empty, and only if there is just one such. */
#include "fs/zk_lost.h"

#include "common/path.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS_MIN 10 /* %010d, PROTOCOL 1.6 */

static struct slice dir_of(struct slice path) {
    int32_t n = path.len;
    while (n > 0 && path.p[n - 1] != '/')
        n--;
    return (struct slice){.p = path.p, .len = n > 1 ? n - 1 : 1};
}

static struct slice prefix_of(struct slice path) {
    int32_t n = path.len;
    while (n > 0 && path.p[n - 1] != '/')
        n--;
    return (struct slice){.p = path.p + n, .len = path.len - n};
}

/* The number behind the prefix; false when the name is not one that the server made from it. */
static bool number_of(struct slice name, struct slice prefix, int64_t *ret) {
    int32_t digits = name.len - prefix.len;
    if (digits < DIGITS_MIN || digits > DIGITS_MIN + 1)
        return false;
    if (prefix.len > 0 && memcmp(name.p, prefix.p, (size_t)prefix.len) != 0)
        return false;
    char text[DIGITS_MIN + 2] = {0};
    memcpy(text, name.p + prefix.len, (size_t)digits);
    char *end;
    *ret = strtoll(text, &end, 10);
    return *end == '\0' && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
}

/* Keeps the highest numbers, in falling order. */
static void candidate_add(struct lost *lost, struct slice dir, struct slice name, int64_t number) {
    size_t at = 0;
    while (at < lost->candidate_count && lost->candidates[at].number > number)
        at++;
    if (lost->candidate_count == LOST_CANDIDATES_MAX) {
        lost->more_candidates = true;
        if (at == LOST_CANDIDATES_MAX)
            return;
        mem_free(lost->candidates[--lost->candidate_count].path);
    }
    memmove(&lost->candidates[at + 1], &lost->candidates[at],
            (lost->candidate_count - at) * sizeof(lost->candidates[0]));
    struct buf path = BUF_INIT;
    buf_put(&path, dir.p, dir.len > 1 ? (size_t)dir.len : 0);
    buf_put_u8(&path, '/');
    buf_put(&path, name.p, (size_t)name.len);
    lost->candidates[at] = (struct lost_candidate){
        .number = number, .path = mem_strndup((const char *)path.data, path.len)};
    lost->candidate_count++;
    buf_close(&path);
}

void zk_lost_seq_begin(struct zk *zk, struct zk_call *call) {
    zk_lost_ask(zk, call, OP_GET_CHILDREN2, dir_of(call->lost->ops[0].path));
}

static bool is_ephemeral(const struct lost *lost) {
    return lost->ops[0].mode == CREATE_EPHEMERAL_SEQUENTIAL;
}

/* Whether the one child that looks like ours is ours. */
static bool match_will_do(const struct lost *lost) {
    const struct wc_op *op = &lost->ops[0];
    return is_ephemeral(lost) || (!op->exclusive && op->data.len > 0);
}

static void decide(struct zk *zk, struct zk_call *call) {
    struct lost *lost = call->lost;
    struct wc_result r = {.verdict = WC_UNKNOWN};
    if (lost->match_count == 1 && !lost->in_doubt && match_will_do(lost)) {
        r = (struct wc_result){.verdict = WC_DONE, .zxid = lost->match_stat.czxid};
        lost->found[0].stat = lost->match_stat;
        lost->ops[0].path = slice_from_str(lost->candidates[lost->match].path);
    } else if (lost->match_count == 0 && !lost->in_doubt &&
               (is_ephemeral(lost) || !lost->parent_changed)) {
        r.verdict = WC_AGAIN; /* Nobody else would have removed it so soon, or nothing has changed.
                               */
    }
    zk_lost_decide(zk, call, r);
}

static void ask_next(struct zk *zk, struct zk_call *call) {
    struct lost *lost = call->lost;
    if (lost->candidate_at == lost->candidate_count) {
        if (lost->more_candidates)
            lost->in_doubt = true;
        decide(zk, call);
        return;
    }
    const char *path = lost->candidates[lost->candidate_at].path;
    zk_lost_ask(zk, call, OP_GET_DATA, slice_from_str(path));
}

static void on_children(struct zk *zk, struct zk_call *call, const struct client_update *u) {
    struct lost *lost = call->lost;
    struct slice path = lost->ops[0].path;
    struct proto_get_children2_response rec;
    struct cursor in;
    cursor_init(&in, u->bytes.p, u->bytes.len > 0 ? (size_t)u->bytes.len : 0);
    if (u->err == ZK_NONODE) { /* Sent again, the server says so itself. */
        zk_lost_decide(zk, call, (struct wc_result){.verdict = WC_AGAIN});
        return;
    }
    if (u->err != 0 || !proto_decode(&in, PROTO_get_children2_response, &rec)) {
        zk_call_fail(zk, call, ZK_CONNECTIONLOSS);
        return;
    }
    lost->parent_changed = rec.stat.pzxid > call->before;
    int32_t at = 0;
    int64_t number;
    struct slice name;
    while (jvec_next_string(&rec.children, &at, &name)) {
        if (number_of(name, prefix_of(path), &number))
            candidate_add(lost, dir_of(path), name, number);
    }
    ask_next(zk, call);
}

static void on_candidate(struct zk *zk, struct zk_call *call, const struct client_update *u) {
    struct lost *lost = call->lost;
    struct wc_look look;
    if (u->err == ZK_NOAUTH && lost->asked == OP_GET_DATA) {
        const char *path = lost->candidates[lost->candidate_at].path;
        zk_lost_ask(zk, call, OP_EXISTS, slice_from_str(path));
        return;
    }
    if (!zk_lost_decode_look(lost->asked, u, &look)) {
        zk_call_fail(zk, call, ZK_CONNECTIONLOSS);
        return;
    }
    if (look.exists && look.stat.czxid <= call->before) {
        decide(zk, call); /* This one and all lower numbers are older than the request. */
        return;
    }
    struct wc_op op = lost->ops[0];
    op.exclusive = false; /* Whether one match will do is decided at the end. */
    struct wc_result r = write_check(&op, call->before, client_session_id(zk->client), &look);
    if (r.verdict == WC_UNKNOWN) {
        lost->in_doubt = true;
    } else if (r.verdict == WC_DONE && !zk_own_has(zk, call, r.zxid)) {
        lost->match_count++;
        lost->match = lost->candidate_at;
        lost->match_stat = look.stat;
    }
    if (lost->match_count > 0 && is_ephemeral(lost)) {
        /* Several may have been lost together: they are all ours and all alike, so each takes one,
         * and at once, before another can. */
        lost->in_doubt = false;
        decide(zk, call);
        return;
    }
    lost->candidate_at++;
    ask_next(zk, call);
}

void zk_lost_seq_reply(struct zk *zk, struct zk_call *call, const struct client_update *u) {
    if (call->lost->asked == OP_GET_CHILDREN2)
        on_children(zk, call, u);
    else
        on_candidate(zk, call, u);
}
