#include "replica/server/out.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/limits.h"

#include <stdarg.h>
#include <stdio.h>

/* Longest text of a log line or a reason; longer ones are cut. */
#define TEXT_MAX 512

/* A slice's length is 32 bits: a send is not joined beyond this. */
#define SEND_JOIN_MAX (256u << 20)

void out_init(struct out *o) {
    *o = (struct out){0};
    buf_init(&o->bytes, 0);
}

void out_destroy(struct out *o) {
    buf_close(&o->bytes);
    mem_free(o->list);
    mem_free(o->at);
    *o = (struct out){0};
}

void out_begin(struct out *o) {
    o->count = 0;
    if (o->bytes.cap > OUT_KEEP_BYTES)
        buf_close(&o->bytes);
    buf_reset(&o->bytes);
}

struct updates out_finish(struct out *o) {
    for (size_t i = 0; i < o->count; i++) {
        if (o->list[i].bytes.len > 0)
            o->list[i].bytes.p = o->bytes.data + o->at[i];
    }
    return (struct updates){o->list, o->count};
}

static struct update *out_add(struct out *o, enum update_type type, conn_id_t conn, size_t at) {
    if (o->count == o->cap) {
        o->cap = o->cap ? o->cap * 2 : 32;
        o->list = mem_realloc(o->list, o->cap * sizeof *o->list);
        o->at = mem_realloc(o->at, o->cap * sizeof *o->at);
    }
    CHECK(o->list);
    o->at[o->count] = at;
    struct update *u = &o->list[o->count++];
    *u = (struct update){.type = type, .conn = conn, .bytes = SLICE_NULL};
    return u;
}

/* Makes the bytes from `at` on part of what conn is sent. */
static void out_sent(struct out *o, conn_id_t conn, size_t at) {
    size_t n = o->bytes.len - at;
    struct update *last = o->count ? &o->list[o->count - 1] : NULL;
    bool joins = last && last->type == UPD_SEND && last->conn == conn &&
                 (size_t)last->bytes.len + n <= SEND_JOIN_MAX;
    /* Whatever else has bytes is an update of its own, so these follow the last ones. */
    CHECK(!joins || o->at[o->count - 1] + (size_t)last->bytes.len == at);
    if (!joins) {
        last = out_add(o, UPD_SEND, conn, at);
        last->bytes.len = 0;
    }
    CHECK(n <= INT32_MAX - (size_t)last->bytes.len);
    last->bytes.len += (int32_t)n;
}

struct buf *out_frame(struct out *o, conn_id_t conn) {
    o->frame_at = o->bytes.len;
    o->frame_conn = conn;
    buf_put_u32be(&o->bytes, 0);
    return &o->bytes;
}

void out_frame_seal(struct out *o) {
    buf_patch_u32be(&o->bytes, o->frame_at, (uint32_t)(o->bytes.len - o->frame_at - 4));
}

void out_frame_end(struct out *o) {
    out_frame_seal(o);
    out_sent(o, o->frame_conn, o->frame_at);
}

void out_frame_drop(struct out *o) { o->bytes.len = o->frame_at; }

void out_bytes(struct out *o, conn_id_t conn, const void *p, size_t n) {
    size_t at = o->bytes.len;
    buf_put(&o->bytes, p, n);
    out_sent(o, conn, at);
}

struct buf *out_peer(struct out *o, uint8_t peer) {
    o->peer_at = o->bytes.len;
    o->peer = peer;
    return &o->bytes;
}

void out_peer_end(struct out *o) {
    size_t n = o->bytes.len - o->peer_at;
    CHECK(n <= INT32_MAX);
    struct update *u = out_add(o, UPD_PEER_SEND, 0, o->peer_at);
    u->peer = o->peer;
    u->bytes.len = (int32_t)n;
}

void out_peer_drop(struct out *o, uint8_t peer, const char *why) {
    out_text(o, UPD_PEER_DROP, 0, LOG_INFO, "%s", why);
    o->list[o->count - 1].peer = peer;
}

void out_chunk(struct out *o, enum update_type type, struct slice piece) {
    size_t at = o->bytes.len;
    buf_put(&o->bytes, piece.p, piece.len > 0 ? (size_t)piece.len : 0);
    out_add(o, type, 0, at)->bytes.len = piece.len;
}

void out_start_over(struct out *o, bool distrust, const char *why) {
    out_text(o, UPD_START_OVER, 0, LOG_ERROR, "%s", why);
    o->list[o->count - 1].distrust = distrust;
}

void out_job(struct out *o, struct update u) {
    u.bytes = SLICE_NULL;
    *out_add(o, u.type, 0, 0) = u;
}

void out_log_append(struct out *o, const struct log_record *record) {
    out_add(o, UPD_LOG_APPEND, 0, 0)->record = *record;
}

void out_pause(struct out *o, conn_id_t conn, bool pause) {
    (void)out_add(o, pause ? UPD_PAUSE : UPD_RESUME, conn, 0);
}

void out_deadline(struct out *o, int64_t mono_ms) {
    out_add(o, UPD_DEADLINE, 0, 0)->mono_ms = mono_ms;
}

void out_text(struct out *o, enum update_type type, conn_id_t conn, enum log_level level,
              const char *fmt, ...) {
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0);
    size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    size_t at = o->bytes.len;
    buf_put(&o->bytes, text, len);
    struct update *u = out_add(o, type, conn, at);
    u->level = level;
    u->bytes.len = (int32_t)len;
}
