#include "tests/unit/io/shell_play.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replica/member.h"
#include "replica/store/store.h"
#include "tests/lib/unit.h"

struct member {
    const struct env *env;
    conn_id_t paused;
    struct {
        conn_id_t conn;
        uint8_t byte;
    } writes[256];
    size_t written, syncing; /* of writes: appended in all; handed to the sync under way */
    bool sync_active;
    int32_t addr_len;
    int64_t tick_ms, told_ms;
};

static struct member the_member;

atomic_int flushes, syncs, sync_us, opened, closed, starts, start_error, sync_error;

/* The clock that the member is shown never goes back. */
static int64_t now_ms(struct member *m) {
    int64_t now = m->env->mono_ms(m->env->ctx);
    ck_assert_int_ge(now, m->told_ms);
    m->told_ms = now;
    return now;
}

static void send_frame(struct member *m, conn_id_t conn, uint8_t first, uint32_t n) {
    uint8_t *frame = calloc(1, n + 4);
    uint32_t length = htonl(n);
    memcpy(frame, &length, 4);
    frame[4] = first;
    m->env->client_send(m->env->ctx, conn, (struct slice){frame, (int32_t)n + 4});
    free(frame);
}

int member_start(const struct member_config *config, const struct env *env,
                 struct member **ret_member, struct buf *ret_why) {
    starts++;
    if (start_error != 0) {
        buf_printf(ret_why, "no start");
        return start_error;
    }
    the_member = (struct member){.env = env};
    *ret_member = &the_member;
    return 0;
}

void member_free(struct member *m) {}

struct store *member_store(struct member *m) {
    return NULL;
}

void member_client_open(struct member *m, conn_id_t conn, struct slice addr, uint16_t port) {
    m->addr_len = addr.len;
    ck_assert_uint_ne(port, 0);
    opened++;
}

void member_client_word(struct member *m, conn_id_t conn, struct slice word) {
    m->env->client_send(m->env->ctx, conn, word);
    m->env->client_close(m->env->ctx, conn, (struct slice){0});
}

void member_client_closed(struct member *m, conn_id_t conn) { closed++; }

/* It stands alone. */
void member_peer_up(struct member *m, uint8_t peer) { ck_abort(); }
void member_peer_message(struct member *m, uint8_t peer, struct slice message) { ck_abort(); }
void member_peer_down(struct member *m, uint8_t peer) { ck_abort(); }

void member_client_frame(struct member *m, conn_id_t conn, struct slice frame) {
    switch (frame.p[0]) {
    case 'e':
        send_frame(m, conn, frame.p[1], (uint32_t)frame.len);
        break;
    case 'b':
        send_frame(m, conn, 'b', 2 << 20);
        break;
    case 'c':
        send_frame(m, conn, frame.p[1], (uint32_t)frame.len);
        m->env->client_close(m->env->ctx, conn, (struct slice){(const uint8_t *)"test", 4});
        break;
    case 'p':
        ck_assert_uint_ne(m->paused, conn); /* nothing is fed while it is paused */
        m->paused = conn;
        m->env->client_pause(m->env->ctx, conn, true);
        m->env->set_timer(m->env->ctx, now_ms(m) + 50);
        send_frame(m, conn, frame.p[1], (uint32_t)frame.len);
        break;
    case 'w':
        m->writes[m->written].conn = conn;
        m->writes[m->written++].byte = frame.p[1];
        break;
    case 't':
        m->env->set_timer(m->env->ctx, now_ms(m) - 5);
        m->tick_ms = now_ms(m) + 20;
        m->env->set_timer(m->env->ctx, m->tick_ms);
        usleep(60000);
        break;
    case 'm':
        send_frame(m, conn, now_ms(m) < m->tick_ms ? 'b' : 'a', 1);
        break;
    case 'n': {
        struct process_info info;
        m->env->process_info(m->env->ctx, &info);
        bool slow = info.sync_max_us >= 50000 && info.sync_total_us >= info.sync_count * 50000;
        send_frame(m, conn, slow ? (uint8_t)('0' + info.sync_count) : '-', 1);
        break;
    }
    case 'l':
        send_frame(m, conn, (uint8_t)m->addr_len, 1);
        break;
    }
}

void member_tick(struct member *m) {
    conn_id_t conn = m->paused;
    if (m->tick_ms != 0)
        ck_assert_int_ge(now_ms(m), m->tick_ms);
    if (conn == 0)
        return;
    m->paused = 0;
    m->env->client_pause(m->env->ctx, conn, false);
}

void member_flush(struct member *m) {
    flushes++;
    now_ms(m);
    if (m->sync_active || m->written == 0)
        return;
    m->sync_active = true;
    m->syncing = m->written;
    m->env->log_sync(m->env->ctx);
}

void store_checkpoint_run(struct store *s) {}

void member_checkpoint_ran(struct member *m) {}

int store_sync_run(struct store *s) {
    syncs++;
    if (sync_us > 0)
        usleep((unsigned)sync_us);
    return sync_error;
}

void member_log_synced(struct member *m, int result) {
    ck_assert(m->sync_active);
    m->sync_active = false;
    if (result != 0) {
        m->env->stop(m->env->ctx, (struct slice){(const uint8_t *)"disk", 4});
        return;
    }
    for (size_t i = 0; i < m->syncing; i++)
        send_frame(m, m->writes[i].conn, m->writes[i].byte, 2);
    m->written -= m->syncing;
    memmove(m->writes, m->writes + m->syncing, m->written * sizeof m->writes[0]);
    member_flush(m);
}
