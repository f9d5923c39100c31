/* The simulator's world: an ensemble of real members over virtual clocks, disks, links and
 * connections, clients on the real client session, faults, and the oracles that look at all of it.
 * Everything follows from one seed (docs/simulator.md).
 *
 *   sim_main     options, seeds, output         check_history  what is committed, everywhere the
 * same sim_world    time and dispatch, phases      check_log      what each disk owes sim_host one
 * member behind env.h        check_model    an own small tree, every version of it sim_pipe FIFO
 * bytes with delays         check_reply    what clients were told sim_disk     checkpoints, rot
 * check_disk     snapshots and purges sim_link     members to members
 * check_watch    events sim_wire     clients to members             check_session  sessions and
 * their expiry sim_client   the clients' work              sim_hooks      where the core is
 * listened to sim_plan     what a seed draws              sim_fault      what goes wrong
 */
#ifndef ZKFS_TESTS_SIM_SIM_H
#define ZKFS_TESTS_SIM_SIM_H

#include <setjmp.h>

#include "common/buf.h"
#include "common/client.h"
#include "common/prng.h"
#include "replica/member.h"
#include "replica/zab/zab.h"
#include "tests/lib/mem_files.h"
#include "tests/sim/check.h"
#include "tests/sim/sim_pipe.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/sim_queue.h"

#define MS 1000 /* the world's time is in microseconds */
#define SIM_DIR "log"
#define ROTTEN_SNAPS_MAX 8u
#define ROTTEN_SEGMENTS_MAX 32u

enum sim_event_type {
    SE_TIMER = 1,    /* member: its deadline */
    SE_FLUSH,        /* member: the end of a wake-up */
    SE_SYNC_RUN,     /* member: the log's writes happen */
    SE_SYNC_DONE,    /* member: and it hears of it */
    SE_START,        /* member */
    SE_LINK_TRY,     /* pair of members */
    SE_LINK_PIPE,    /* direction of a pair: its first item arrives */
    SE_CONN_TO,      /* connection: something arrives at the member */
    SE_CONN_FROM,    /* connection: something arrives at the client */
    SE_CLIENT_TIMER, /* client: its deadline */
    SE_CLIENT_OP,    /* client: the next operation */
    SE_FAULT,        /* fault of the plan: begins */
    SE_FAULT_END,
    SE_HEAL,            /* the faults are over */
    SE_CHECKPOINT_RUN,  /* member: the checkpoints' writes happen */
    SE_CHECKPOINT_DONE, /* member: and it hears of it */
};

enum sim_crash { CRASH_KILL, CRASH_KEEP, CRASH_LOSE, CRASH_TEAR };

struct world;

struct sim_host {
    struct world *w;
    uint32_t index;
    uint8_t id;
    bool voter;
    struct mem_files *disk;
    struct env env;
    struct member *member; /* NULL while it is down */
    struct replica *core;  /* of member */
    struct zab *zab;       /* of core */
    uint64_t life;         /* counts starts */
    bool absent;           /* not started before the plan says so */
    uint32_t held_down;    /* faults that want it down */
    bool syncing;          /* between env.log_sync and member_log_synced */
    int sync_result;
    bool checkpointing; /* between env.checkpoint_run and member_checkpoint_ran */
    bool flush_queued;
    int64_t frozen_us; /* it stands still until then */
    bool dying;        /* inside one of its calls; reaped behind it */
    enum sim_crash dying_how;
    bool stopped; /* it asked for its end */
    char stop_why[256];
    bool refused;            /* it does not start any more: its disk is rotten */
    bool excused;            /* a disk fault was armed: it may stop */
    bool rotten;             /* bits were flipped: it may refuse to start */
    bool wiped;              /* lost its disk at some time */
    bool mended;             /* a repair began since the last start of a core */
    bool full;               /* its disk has no more room */
    uint32_t crash_nth_call; /* armed: the power goes at this file call of the next sync */
    /* Armed likewise, over as many runs of the checkpoints as that takes. */
    uint32_t cut_in_checkpoint, full_in_checkpoint;
    uint32_t cut_in_repair;                /* of the next repair */
    zxid_t rotten_snaps[ROTTEN_SNAPS_MAX]; /* bits of these were flipped */
    uint32_t rotten_snap_count;
    zxid_t rotten_segments[ROTTEN_SEGMENTS_MAX];
    uint32_t rotten_segment_count;
    int64_t timer_us, timer_armed_us;
    int64_t mono_offset_us, wall_offset_ms;
    int32_t drift_ppm;
    struct prng random;
    enum zab_role role; /* as told by ZAB_ROLE */
    bool serving;
    struct check_host check;
};

struct sim_link {
    uint8_t a, b;            /* member indexes, a < b */
    struct sim_pipe pipe[2]; /* to b, to a */
    bool open[2];            /* what b, a were told */
    bool fresh[2];           /* and that of this generation */
    bool up;                 /* this generation is not broken */
    bool try_queued;
};

struct sim_wire {
    conn_id_t id;
    uint32_t client; /* or SIM_INTRUDER, SIM_OPERATOR */
    uint32_t member;
    uint64_t life;            /* of the member */
    struct sim_pipe to, from; /* the member, the client */
    session_id_t session;     /* that its server has answered it with */
    zxid_t asked_zxid;        /* an operator's: what was applied when the word came */
    bool server_open, client_open;
    bool paused;
    bool connected;                 /* the client was told */
    bool read_only;                 /* its server has no quorum, and its session no history */
    bool server_answered, answered; /* with a ConnectResponse: sent, and come */
    bool given_up;                  /* the client reads no more from it */
    bool set_watches;               /* sent and not answered */
};

struct world {
    struct sim_plan plan;
    struct prng net, disk, work, chaos, snap;
    struct sim_queue queue;
    int64_t now_us;
    uint64_t steps;
    uint64_t trace; /* hash of everything that happened */
    bool verbose;
    bool healing; /* the second phase: no new faults, progress is demanded */
    int64_t heal_us;
    bool hopeless; /* too many disks are gone: no progress is demanded */
    bool done;
    struct sim_host hosts[SIM_HOSTS_MAX];
    uint32_t host_count;
    struct quorum_server servers[SIM_HOSTS_MAX];
    struct sim_host *running; /* whose code runs, or ran last */
    struct sim_host *inside;  /* whose call is under way */
    struct sim_link links[SIM_HOSTS_MAX * (SIM_HOSTS_MAX - 1) / 2];
    uint32_t link_count;
    uint32_t blocked[SIM_HOSTS_MAX][SIM_HOSTS_MAX]; /* by faults: from, to */
    int64_t slow_us[SIM_HOSTS_MAX];                 /* added to what it sends and gets */
    int64_t slow_disk_us[SIM_HOSTS_MAX];
    uint32_t faults_waiting;                      /* for a moment */
    uint32_t cut[SIM_CLIENTS_MAX][SIM_HOSTS_MAX]; /* client from member */
    struct sim_wire **wires;
    size_t wire_count, wire_cap;
    struct sim_client *clients[SIM_CLIENTS_MAX];
    struct check *check;
    bool failed;
    bool broken; /* a CHECK ended the run in the middle of a step */
    char why[512];
    jmp_buf *on_check; /* a CHECK of the rooms ends the run here */
};

/* sim_world.c */
struct world *world_new(const struct sim_plan *plan, bool verbose);
void world_free(struct world *w); /* also after a violation */
/* To its end, a violation or the plan's last step. */
void world_run(struct world *w);
void world_push(struct world *w, int64_t at_us, enum sim_event_type type, uint32_t who,
                uint64_t gen);
/* The first violation ends the run after the event at hand. */
void world_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_trace(struct world *w, uint64_t a, uint64_t b);
void world_trace_bytes(struct world *w, const void *p, size_t n);
/* A line of the dialogue; costs nothing unless verbose. */
#define SAY(w, ...)                                                                                \
    do {                                                                                           \
        if ((w)->verbose)                                                                          \
            world_say(w, __VA_ARGS__);                                                             \
    } while (0)
#define SAY_MESSAGE(w, from, to, item)                                                             \
    do {                                                                                           \
        if ((w)->verbose)                                                                          \
            say_message(w, from, to, item);                                                        \
    } while (0)
void say_message(struct world *w, uint8_t from, uint8_t to, const struct sim_item *item);
void world_say(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
extern struct world *world_now; /* the one that runs, for the hooks */

/* sim_host.c */
/* Around every call into a member. */
void host_enter(struct sim_host *m);
void host_leave(struct sim_host *m);
void host_init(struct world *w, uint32_t index);
void host_close(struct sim_host *m);
void host_begin(struct sim_host *m); /* SE_START */
/* Ends it at once, or behind the call of it that is under way. */
void host_crash(struct sim_host *m, enum sim_crash how);
void host_wake(struct sim_host *m); /* something was fed: a flush will follow */
void host_timer(struct sim_host *m);
void host_do_flush(struct sim_host *m);
void host_sync_run(struct sim_host *m);
void host_sync_done(struct sim_host *m);
/* Buries who died inside a call. */
void hosts_reap(struct world *w);
int64_t host_mono_ms(const struct sim_host *m);
int64_t host_wall_ms(const struct sim_host *m);
struct sim_host *host_by_id(struct world *w, uint8_t id);

/* sim_disk.c */
/* env.checkpoint_run, and what comes of it. */
void disk_want_checkpoint(struct sim_host *m);
void disk_checkpoint_run(struct sim_host *m);
void disk_checkpoint_done(struct sim_host *m);
/* How it dies between two file calls: the power goes, or the process alone is killed, whose names
 * and bytes are in the cache then. */
enum sim_crash disk_cut_how(struct sim_host *m);
/* A damaged disk is looked at: what was armed for that. */
void disk_repair_begins(struct sim_host *m);
void disk_repaired(struct sim_host *m);
/* Whether a call has failed that was to fail, or would find no room. */
bool disk_fault_happened(const struct sim_host *m);
void disk_fault_forget(struct sim_host *m); /* what happened to the life before */
/* No more than so many bytes have room; 0: there is room again. */
void disk_fill(struct sim_host *m, uint64_t room_bytes);
/* Whether anything is wrong with it: its damage, or that it is not known what it had. */
bool disk_is_whole(const struct sim_host *m);
/* While it is down: a bit flips, of any file, or of a snapshot; all files go. */
void disk_rot(struct sim_host *m);
void disk_rot_snapshot(struct sim_host *m);
void disk_wipe(struct sim_host *m);
/* Likewise: some bits of files flip, or a file is lost, or nothing but zeros is left of it; or the
 * newest segment is lost. */
void disk_damage(struct sim_host *m, enum sim_damage what);
/* A snapshot of that zxid (0: every one) was written anew. */
void disk_snapshot_anew(struct sim_host *m, zxid_t zxid);
bool disk_snapshots_rotten(const struct sim_host *m);
/* The snapshots of a disk by their names, ascending, and its segments with what they begin behind.
 */
struct disk_file {
    zxid_t zxid;   /* of its name */
    zxid_t behind; /* of a segment, by its header; -1: it has none yet */
    size_t size;
};
#define DISK_FILES_MAX 256u
struct disk_files {
    struct disk_file snaps[DISK_FILES_MAX], segments[DISK_FILES_MAX];
    uint32_t snap_count, segment_count;
    size_t snap_bytes, log_bytes;
};
void disk_list(const struct sim_host *m, struct disk_files *ret_files);

/* sim_link.c */
void links_init(struct world *w);
void links_close(struct world *w);
void link_send(struct sim_host *from, uint8_t peer, struct slice bytes);
void link_drop(struct sim_host *m, uint8_t peer, struct slice why);
void link_try(struct world *w, uint32_t pair);
void link_arrive(struct world *w, uint32_t direction, uint64_t gen);
void links_of_started(struct sim_host *m);
/* The member is gone; a loud end is noticed by the others, a silent one by nobody. */
void links_of_dead(struct sim_host *m, bool silent);
void link_break(struct world *w, uint32_t a, uint32_t b);
/* The end at `told` hears that the link is gone; that at `host` does not. */
void link_sever(struct world *w, uint32_t host, uint32_t told);
void link_block(struct world *w, uint32_t from, uint32_t to, bool block);

/* sim_wire.c */
conn_id_t wire_open(struct world *w, uint32_t client, uint32_t member);
/* Somebody connects to ask for a checkpoint. */
void wire_ask_snap(struct world *w, uint32_t member);
void wire_client_send(struct world *w, conn_id_t id, struct slice frames);
void wire_client_close(struct world *w, conn_id_t id);
void wire_server_send(struct sim_host *m, conn_id_t id, struct slice bytes);
void wire_server_close(struct sim_host *m, conn_id_t id);
void wire_server_pause(struct sim_host *m, conn_id_t id, bool pause);
void wire_arrive_to(struct world *w, uint32_t index, uint64_t gen);
void wire_arrive_from(struct world *w, uint32_t index, uint64_t gen);
void wires_of_dead(struct sim_host *m, bool silent);
void wire_break(struct world *w, conn_id_t id);
void wires_cut(struct world *w, uint32_t client, uint32_t member, bool cut);
void wires_close(struct world *w);
struct sim_wire *wire_find(struct world *w, conn_id_t id);

/* sim_fault.c */
void faults_push(struct world *w);
void fault_begin(struct world *w, uint32_t index);
void fault_end(struct world *w, uint32_t index);
void faults_heal(struct world *w);
/* It refuses its disk, and the faults are over: it gets a new one, if the ensemble bears that. */
void fault_refused(struct sim_host *m);
/* Something happened inside a member that a fault may be waiting for. */
void fault_trigger(struct sim_host *m, enum sim_moment moment);

/* sim_end.c */
/* Whether the healed ensemble has done all that was demanded. */
bool end_reached(struct world *w);
void end_describe(struct world *w, char *text, size_t n);

#endif
