#include "common/log.h"
#include "replica/io/conn_state.h"
#include "replica/io/loop_state.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static int64_t wait_ms(const struct clients *cs, enum conn_wait wait) {
    switch (wait) {
    case WAIT_FIRST:
        return cs->loop->config->first_frame_ms;
    case WAIT_STALL:
        return CONN_STALL_MS;
    case WAIT_LINGER:
    case WAIT_NONE:
        break;
    }
    return CONN_LINGER_MS;
}

/* The deadline is looked at after the next poll, when what came in time has been read. */
static void on_timer(uv_timer_t *timer) {
    struct clients *cs = timer->data;
    cs->timer_at_ms = INT64_MAX;
    cs->deadline_due = true;
    loop_hurry(cs->loop);
}

static void timer_for(struct clients *cs, int64_t at_ms) {
    if (at_ms >= cs->timer_at_ms)
        return;
    int64_t left_ms = at_ms - loop_mono_ms();
    cs->timer_at_ms = at_ms;
    uv_update_time(&cs->loop->uv); /* the timer counts from it, and it is as old as this wake-up */
    uv_timer_start(&cs->timer, on_timer, left_ms > 0 ? (uint64_t)left_ms + 1 : 0, 0);
}

void conn_wait(struct client_conn *c, enum conn_wait wait) {
    struct clients *cs = c->clients;
    if (c->wait != WAIT_NONE)
        CDL_DELETE2(cs->waiting[c->wait], c, wait_prev, wait_next);
    c->wait = wait;
    if (wait == WAIT_NONE)
        return;
    c->wait_until_ms = loop_mono_ms() + wait_ms(cs, wait);
    CDL_APPEND2(cs->waiting[wait], c, wait_prev, wait_next);
    timer_for(cs, c->wait_until_ms);
}

static void expire_one(struct client_conn *c) {
    struct client_name name;
    switch (c->wait) {
    case WAIT_FIRST:
        log_info(
            "closed a client connection: no whole request in time peer=%s timeout_ms=%d bytes=%zu",
            conn_name(c, &name), c->clients->loop->config->first_frame_ms, c->in.len);
        break;
    case WAIT_STALL:
        if (c->queued_bytes - conn_unsent(c) - c->stall_mark >= CONN_STALL_BYTES) {
            c->stall_mark = c->queued_bytes - conn_unsent(c);
            conn_wait(c, WAIT_STALL);
            return;
        }
        log_warn(
            "closed a client connection: it does not read its replies peer=%s unread_bytes=%llu "
            "timeout_ms=%d",
            conn_name(c, &name), (unsigned long long)conn_unsent(c), CONN_STALL_MS);
        break;
    case WAIT_LINGER:
    case WAIT_NONE:
        break;
    }
    conn_drop(c);
}

void clients_expire(struct clients *cs) {
    if (!cs->deadline_due)
        return;
    cs->deadline_due = false;
    int64_t now_ms = loop_mono_ms();
    for (int wait = 0; wait < WAIT_COUNT; wait++) {
        struct client_conn *c;
        while ((c = cs->waiting[wait]) != NULL && c->wait_until_ms <= now_ms)
            expire_one(c);
        if (c)
            timer_for(cs, c->wait_until_ms);
    }
}

int clients_init(struct clients *cs, struct loop *l) {
    *cs = (struct clients){.loop = l, .timer_at_ms = INT64_MAX};
    cs->read_buffer = mem_alloc(CONN_READ_BYTES);
    cs->timer.data = cs;
    return uv_timer_init(&l->uv, &cs->timer);
}

void clients_close(struct clients *cs) {
    mem_free(cs->read_buffer);
    cs->read_buffer = NULL;
}

void conn_forget(struct client_conn *c) {
    if (c->known)
        HASH_DELETE(hh, c->clients->by_id, c);
    c->known = false;
}

void conn_set_dirty(struct client_conn *c, bool dirty) {
    if (c->dirty == dirty)
        return;
    c->dirty = dirty;
    if (dirty)
        DL_APPEND2(c->clients->dirty, c, dirty_prev, dirty_next);
    else
        DL_DELETE2(c->clients->dirty, c, dirty_prev, dirty_next);
}

void conn_set_ready(struct client_conn *c, bool ready) {
    if (c->ready == ready)
        return;
    c->ready = ready;
    if (ready)
        DL_APPEND2(c->clients->ready, c, ready_prev, ready_next);
    else
        DL_DELETE2(c->clients->ready, c, ready_prev, ready_next);
}

void conn_set_address(struct client_conn *c, const struct sockaddr_storage *sa) {
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        memcpy(c->addr, &in->sin_addr, 4);
        c->addr_len = 4;
        c->port = ntohs(in->sin_port);
        return;
    }
    const struct sockaddr_in6 *in6 = (const void *)sa;
    c->port = ntohs(in6->sin6_port);
    /* An IPv4 client of the IPv6 socket is an IPv4 client: ACLs name it so. */
    bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
    c->addr_len = mapped ? 4 : 16;
    memcpy(c->addr, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), (size_t)c->addr_len);
}

const char *conn_name(const struct client_conn *c, struct client_name *ret_name) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (c->addr_len != 0)
        inet_ntop(c->addr_len == 4 ? AF_INET : AF_INET6, c->addr, host, sizeof host);
    snprintf(ret_name->text, sizeof ret_name->text, c->addr_len == 16 ? "[%s]:%u" : "%s:%u", host,
             c->port);
    return ret_name->text;
}
