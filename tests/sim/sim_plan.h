/* What a seed draws before anything happens: the ensemble, its limits, the clients' work, and the
 * faults with their times. A smaller plan (sim --shrink) is the same plan with parts left out. */
#ifndef ZKFS_TESTS_SIM_SIM_PLAN_H
#define ZKFS_TESTS_SIM_SIM_PLAN_H

#include "common/types.h"

#define SIM_HOSTS_MAX 10
#define SIM_CLIENTS_MAX 8
#define SIM_FAULTS_MAX 48

enum sim_fault_type {
    FAULT_CRASH,       /* arg: enum sim_crash; starts again at until_us */
    FAULT_CUT_IN_SYNC, /* the power goes at the arg-th file call of the next sync */
    FAULT_DISK_ERROR,  /* the arg-th file call from now fails with EIO or ENOSPC */
    FAULT_ROT,         /* a bit of the disk flips while the member is down */
    FAULT_WIPE,        /* all files are gone while the member is down */
    FAULT_PARTITION,   /* arg: hosts of one side, as bits */
    FAULT_ONE_WAY,     /* nothing gets from `a` to the others */
    FAULT_DEAF,        /* nothing gets from the others to `a` */
    FAULT_LINK_BREAK,  /* every link of `a`, once */
    FAULT_SLOW_LINKS,
    FAULT_SLOW_DISK,
    FAULT_FREEZE,     /* the process stands still (SIGSTOP), the machine does not */
    FAULT_CLIENT_CUT, /* client arg and host a hear nothing of each other */
    FAULT_CONN_BREAK, /* every connection of client arg, once */
    FAULT_WALL_JUMP,  /* the wall clock is set */
    FAULT_SEVER,      /* the others are told that their links to `a` are gone; `a` hears nothing */
    FAULT_MOVE,       /* client arg's server is slow, and then its connection breaks */
    FAULT_INTRUDER,   /* somebody comes with client arg's session and a wrong password */
    FAULT_CUT_IN_CHECKPOINT, /* the power goes at the arg-th file call of the next checkpoint */
    FAULT_CHECKPOINT_FULL,   /* that call finds the disk full */
    FAULT_ROT_SNAPSHOT,      /* a bit of a snapshot flips while the member is down */
    FAULT_SNAP_WORD,         /* an operator asks for a checkpoint */
    FAULT_DAMAGE,            /* of a file while the member is down; arg: enum sim_damage */
    FAULT_CUT_IN_REPAIR,     /* the power goes at the arg-th file call of the next repair */
    FAULT_FULL,              /* the disk has room for arg bytes, and no more for a while */
    FAULT_TYPES
};

enum sim_damage { DAMAGE_ANY, DAMAGE_NEWEST };

/* When a fault begins: at its time, or when this happens the next time after it, at any host. */
enum sim_moment {
    MOMENT_NOW,
    MOMENT_SYNC,         /* a learner is told how it will be synchronised */
    MOMENT_SAVE_EPOCH,   /* a promise is to be made durable */
    MOMENT_APPEND_EPOCH, /* (e,0) is to be appended */
    MOMENT_TRUNCATE,
    MOMENT_SNAP_BEGIN,
    MOMENT_SNAP_END,
    MOMENT_LEADING, /* elected */
    MOMENT_SERVE,
    MOMENT_PROPOSE,
    MOMENT_CHECKPOINT_BEGIN,
    MOMENT_CHECKPOINT_END,
    MOMENT_PURGE,
    MOMENT_REPAIR, /* a damaged disk is looked at */
    MOMENT_COUNT
};

/* Whom a fault strikes beside hosts by their index. */
#define HOST_LEADER 200u
#define HOST_FOLLOWER 201u
#define HOST_OF_MOMENT 202u

struct sim_fault {
    enum sim_fault_type type;
    enum sim_moment moment;
    int64_t at_us, until_us; /* until: a length where there is a moment */
    uint32_t host;
    uint32_t arg;
    bool left_out; /* by the shrinker */
    /* While it runs. */
    bool waiting, struck_is_known, begun;
    uint32_t struck; /* the host that it is about */
};

struct sim_plan {
    uint64_t seed;
    const char *profile;
    uint32_t profile_index;
    bool plain;
    uint32_t voters, observers, clients;
    bool uneven; /* weights or groups are not all the same */
    uint32_t weights[SIM_HOSTS_MAX];
    uint8_t groups[SIM_HOSTS_MAX];
    uint32_t late_host; /* does not start before late_us; SIM_HOSTS_MAX: none */
    int64_t late_us;
    /* zab, the store, the server */
    uint32_t counter_limit, window_bytes, recent_bytes, inflight_max, inflight_bytes_max;
    int64_t segment_bytes;
    int64_t snap_count, snap_size_bytes; /* 0: no checkpoints by that */
    int32_t snap_retain;
    int32_t heartbeat_ms, silence_ms, init_ms;
    int32_t session_timeout_ms; /* the shortest that clients ask for */
    /* the world */
    int64_t net_min_us, net_max_us, disk_min_us, disk_max_us;
    int32_t drift_ppm; /* at most, either way */
    /* the work */
    int64_t think_us;     /* between a client's operations, on average */
    uint32_t pipeline;    /* operations of one client under way */
    uint32_t value_bytes; /* at most */
    bool sync_often;
    bool read_only; /* servers without a quorum serve who asks for that */
    bool staying;   /* some clients add watches that stay */
    bool extended;  /* and make containers and TTL znodes */
    int32_t containers_per_minute, container_never_used_ms;
    uint32_t paths;
    int64_t faults_us; /* how long the first phase is */
    uint32_t max_steps;
    bool heal_quorum_only;
    struct sim_fault faults[SIM_FAULTS_MAX];
    uint32_t fault_count;
};

extern const char *const sim_profiles[];
uint32_t sim_profile_count(void);
/* profile: an index of sim_profiles, or -1: the seed's own choice. plain: as it was drawn before
 * there were checkpoints, and without them. */
void sim_plan_draw(struct sim_plan *plan, uint64_t seed, int profile, bool plain);

#endif
