/* What goes wrong, and how it ends. */
#include "tests/sim/sim.h"

#include "common/mem.h"
#include "tests/sim/sim_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const names[FAULT_TYPES] = {"crash",
                                               "power cut in a sync",
                                               "disk error",
                                               "rot",
                                               "loss of the disk",
                                               "partition",
                                               "is not heard",
                                               "does not hear",
                                               "links break",
                                               "slow links",
                                               "slow disk",
                                               "freeze",
                                               "client cut off",
                                               "connection breaks",
                                               "wall clock jumps",
                                               "is severed",
                                               "client has to move",
                                               "intruder",
                                               "power cut in a checkpoint",
                                               "no room for a checkpoint",
                                               "rot of a snapshot",
                                               "asks for a checkpoint",
                                               "damage",
                                               "power cut in a repair",
                                               "full disk"};

void faults_push(struct world *w) {
    for (uint32_t i = 0; i < w->plan.fault_count; i++)
        if (!w->plan.faults[i].left_out)
            world_push(w, w->plan.faults[i].at_us, SE_FAULT, i, 0);
}

void fault_trigger(struct sim_host *m, enum sim_moment moment) {
    struct world *w = m->w;
    for (uint32_t i = 0; w->faults_waiting > 0 && i < w->plan.fault_count; i++) {
        struct sim_fault *f = &w->plan.faults[i];
        if (!f->waiting || f->moment != moment)
            continue;
        f->waiting = false;
        w->faults_waiting--;
        if (f->host == HOST_OF_MOMENT) {
            f->struck = m->index;
            f->struck_is_known = true;
        }
        f->moment = MOMENT_NOW;
        f->until_us += w->now_us; /* it was a length */
        int64_t delay_us = prng_chance(&w->chaos, 1, 2) ? 0 : prng_range(&w->chaos, 0, 4 * MS);
        world_push(w, w->now_us + delay_us, SE_FAULT, i, 0);
        return;
    }
}

/* The host that the plan means, as roles are now. */
static struct sim_host *resolve(struct world *w, struct sim_fault *f) {
    if (!f->struck_is_known && f->host < w->host_count)
        f->struck = f->host;
    else if (!f->struck_is_known) {
        bool leader = f->host != HOST_FOLLOWER;
        uint32_t at = (uint32_t)prng_below(&w->chaos, w->host_count);
        f->struck = at;
        for (uint32_t i = 0; i < w->host_count; i++) {
            uint32_t host = (at + i) % w->host_count;
            enum zab_role role = w->hosts[host].role;
            if (role == (leader ? ZAB_LEADING : ZAB_FOLLOWING))
                f->struck = host;
        }
    }
    f->struck_is_known = true;
    return &w->hosts[f->struck];
}

/* ---- on its disk ---- */

/* Voters without any history count in elections when they are a quorum by themselves, as those of a
 * new ensemble have to; and what a quorum has lost is lost. So a disk may be damaged only while
 * that many others are whole: one more failure than an ensemble bears is no test of it. */
static bool may_lose_disk(const struct sim_host *m) {
    const struct world *w = m->w;
    uint32_t impaired = 1;
    for (uint32_t i = 0; i < w->plan.voters; i++)
        impaired += i != m->index && !disk_is_whole(&w->hosts[i]);
    return !m->voter || (!w->plan.uneven && impaired <= (w->plan.voters - 1) / 2);
}

/* ---- between them ---- */

static void partition(struct world *w, uint32_t side, bool begin) {
    for (uint32_t a = 0; a < w->host_count; a++)
        for (uint32_t b = 0; b < w->host_count; b++)
            if ((side >> a & 1) != (side >> b & 1))
                link_block(w, a, b, begin);
}

static void one_way(struct world *w, const struct sim_host *m, bool outward, bool begin) {
    for (uint32_t i = 0; i < w->host_count; i++)
        link_block(w, outward ? m->index : i, outward ? i : m->index, begin);
}

/* Connections that a partition has held back for long do not all come back to life. */
static void break_some(struct world *w) {
    for (uint32_t i = 0; i < w->link_count; i++)
        if (prng_chance(&w->net, 1, 3))
            link_break(w, w->links[i].a, w->links[i].b);
}

/* As where something in the middle resets connections of one side only. */
static void sever(struct world *w, const struct sim_host *m, bool begin) {
    for (uint32_t i = 0; i < w->host_count; i++) {
        if (i == m->index)
            continue;
        if (begin)
            link_sever(w, m->index, i);
        link_block(w, i, m->index, begin);
    }
}

/* What the client sent before still comes, through a server that it has left. */
static void move_client(struct world *w, struct sim_fault *f) {
    const struct sim_wire *wire = wire_find(w, w->clients[f->arg]->wire);
    if (!wire)
        return;
    f->struck = wire->member;
    w->slow_us[wire->member] = prng_range(&w->chaos, 20 * MS, 150 * MS);
    wire_break(w, wire->id);
}

static void cut_client(struct world *w, const struct sim_fault *f, bool begin) {
    bool from_all = (f->at_us & 1) != 0;
    for (uint32_t i = 0; i < w->host_count; i++)
        if (from_all || i == f->struck)
            wires_cut(w, f->arg, i, begin);
}

static void intrude(struct world *w, const struct sim_fault *f, uint32_t host) {
    struct sim_client *c = w->clients[f->arg];
    session_id_t session = c->client ? client_session_id(c->client) : 0;
    if (session == 0)
        return;
    uint8_t guess[PASSWD_BYTES];
    memset(guess, (int)prng_below(&w->chaos, 256), sizeof guess);
    struct proto_connect_request req = {.timeout_ms = 1000,
                                        .session_id = session,
                                        .passwd = {guess, PASSWD_BYTES},
                                        .has_read_only = true};
    struct buf b = BUF_INIT;
    buf_put_u32be(&b, 0);
    proto_encode(&b, PROTO_connect_request, &req);
    buf_patch_u32be(&b, 0, (uint32_t)(b.len - 4));
    conn_id_t wire = wire_open(w, SIM_INTRUDER, host);
    wire_client_send(w, wire, (struct slice){b.data, (int32_t)b.len});
    buf_close(&b);
}

/* ---- begin and end ---- */

static void hold_down(struct sim_host *m, enum sim_crash how) {
    m->held_down++;
    host_crash(m, how);
}

static void let_up(struct sim_host *m) {
    if (m->held_down > 0 && --m->held_down == 0)
        world_push(m->w, m->w->now_us, SE_START, m->index, 0);
}

/* Of a disk. */
static void begin_on_disk(const struct sim_fault *f, struct sim_host *m) {
    switch (f->type) {
    case FAULT_ROT:
        hold_down(m, CRASH_KILL);
        if (may_lose_disk(m))
            disk_rot(m);
        break;
    case FAULT_ROT_SNAPSHOT:
        hold_down(m, CRASH_KILL);
        if (may_lose_disk(m))
            disk_rot_snapshot(m);
        break;
    case FAULT_DAMAGE:
        hold_down(m, CRASH_KILL);
        if (may_lose_disk(m))
            disk_damage(m, (enum sim_damage)f->arg);
        break;
    case FAULT_WIPE:
        hold_down(m, CRASH_KILL);
        if (may_lose_disk(m))
            disk_wipe(m);
        break;
    case FAULT_CUT_IN_REPAIR:
        m->cut_in_repair = f->arg;
        break;
    case FAULT_FULL:
        disk_fill(m, f->arg);
        break;
    case FAULT_CUT_IN_SYNC:
        m->crash_nth_call = f->arg;
        break;
    case FAULT_CUT_IN_CHECKPOINT:
        m->cut_in_checkpoint = f->arg;
        break;
    case FAULT_CHECKPOINT_FULL:
        m->full_in_checkpoint = f->arg;
        break;
    case FAULT_DISK_ERROR:
        m->excused = true;
        mem_files_fault(m->disk, f->arg, MEM_FAULT_ERROR, (f->at_us & 1) != 0 ? -EIO : -ENOSPC);
        break;
    default:
        break;
    }
}

static void begin(struct world *w, struct sim_fault *f, struct sim_host *m) {
    switch (f->type) {
    case FAULT_CRASH:
        hold_down(m, (enum sim_crash)f->arg);
        break;
    case FAULT_SNAP_WORD:
        wire_ask_snap(w, m->index);
        break;
    case FAULT_PARTITION:
        partition(w, f->arg, true);
        break;
    case FAULT_ONE_WAY:
    case FAULT_DEAF:
        one_way(w, m, f->type == FAULT_ONE_WAY, true);
        break;
    case FAULT_LINK_BREAK:
        for (uint32_t i = 0; i < w->host_count; i++)
            if (i != m->index)
                link_break(w, i, m->index);
        break;
    case FAULT_SLOW_LINKS:
        w->slow_us[m->index] = f->arg;
        break;
    case FAULT_SLOW_DISK:
        w->slow_disk_us[m->index] = f->arg;
        break;
    case FAULT_FREEZE:
        m->frozen_us = f->until_us;
        break;
    case FAULT_CLIENT_CUT:
        cut_client(w, f, true);
        break;
    case FAULT_CONN_BREAK:
        wire_break(w, w->clients[f->arg]->wire);
        break;
    case FAULT_WALL_JUMP:
        m->wall_offset_ms += prng_range(&w->chaos, -100000, 100000);
        break;
    case FAULT_SEVER:
        sever(w, m, true);
        break;
    case FAULT_MOVE:
        move_client(w, f);
        break;
    case FAULT_INTRUDER:
        intrude(w, f, m->index);
        break;
    default:
        begin_on_disk(f, m);
        break;
    }
}

static void end(struct world *w, struct sim_fault *f, struct sim_host *m) {
    switch (f->type) {
    case FAULT_CRASH:
    case FAULT_ROT:
    case FAULT_ROT_SNAPSHOT:
    case FAULT_DAMAGE:
    case FAULT_WIPE:
        let_up(m);
        break;
    case FAULT_FULL:
        disk_fill(m, 0);
        break;
    case FAULT_PARTITION:
        partition(w, f->arg, false);
        break_some(w);
        break;
    case FAULT_ONE_WAY:
    case FAULT_DEAF:
        one_way(w, m, f->type == FAULT_ONE_WAY, false);
        break_some(w);
        break;
    case FAULT_SEVER:
        sever(w, m, false);
        break;
    case FAULT_MOVE:
    case FAULT_SLOW_LINKS:
        w->slow_us[m->index] = 0;
        break;
    case FAULT_SLOW_DISK:
        w->slow_disk_us[m->index] = 0;
        break;
    case FAULT_CLIENT_CUT:
        cut_client(w, f, false);
        break;
    default:
        break;
    }
}

void fault_begin(struct world *w, uint32_t index) {
    struct sim_fault *f = &w->plan.faults[index];
    if (w->healing || f->begun)
        return;
    if (f->moment != MOMENT_NOW) {
        f->waiting = true;
        w->faults_waiting++;
        return;
    }
    f->begun = true;
    struct sim_host *m = resolve(w, f);
    SAY(w, "FAULT %s at %u, arg %u", names[f->type], m->id, f->arg);
    begin(w, f, m);
    if (f->until_us < w->now_us + MS)
        f->until_us = w->now_us + MS;
    world_push(w, f->until_us, SE_FAULT_END, index, 0);
}

void fault_end(struct world *w, uint32_t index) {
    struct sim_fault *f = &w->plan.faults[index];
    if (!f->begun)
        return;
    f->begun = false;
    SAY(w, "END of %s at %u", names[f->type], w->hosts[f->struck].id);
    end(w, f, &w->hosts[f->struck]);
}

/* A minority may stay away, when the others have all that there is. */
static bool may_stay_away(struct world *w) {
    if (!w->plan.heal_quorum_only || w->plan.uneven || w->plan.voters < 3)
        return false;
    for (uint32_t i = 0; i < w->plan.voters; i++)
        if (w->hosts[i].wiped || !disk_is_whole(&w->hosts[i]))
            return false;
    return true;
}

void fault_refused(struct sim_host *m) {
    struct world *w = m->w;
    if (!w->healing)
        return;
    if (may_lose_disk(m))
        disk_wipe(m);
    w->hopeless = w->hopeless || m->refused;
    world_push(w, w->now_us, SE_START, m->index, 0);
}

void faults_heal(struct world *w) {
    w->faults_waiting = 0;
    for (uint32_t i = 0; i < w->plan.fault_count; i++) {
        struct sim_fault *f = &w->plan.faults[i];
        f->waiting = false;
        if (f->begun)
            fault_end(w, i);
        f->begun = false;
    }
    uint32_t away = may_stay_away(w) ? (w->plan.voters - 1) / 2 : 0;
    uint32_t first = (uint32_t)prng_below(&w->chaos, w->plan.voters);
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct sim_host *m = &w->hosts[i];
        m->frozen_us = 0;
        m->crash_nth_call = m->cut_in_checkpoint = m->full_in_checkpoint = m->cut_in_repair = 0;
        mem_files_fault(m->disk, 0, MEM_FAULT_ERROR, 0);
        if (m->refused)
            fault_refused(m);
        if (i < w->plan.voters && (i + w->plan.voters - first) % w->plan.voters < away)
            hold_down(m, CRASH_KILL);
        else
            world_push(w, w->now_us, SE_START, i, 0);
    }
}
