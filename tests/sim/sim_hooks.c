/* Where the cores are listened to. The linker leads these calls here first (--wrap), so the rooms'
 * own code runs unchanged: what a core is told and wants, what zab tells the core, and the limits
 * that a plan makes small. */
#include "tests/sim/sim.h"

#include "replica/mender.h"
#include "replica/server/core.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

struct replica *__real_replica_new(const struct replica_config *config);
struct replica *__wrap_replica_new(const struct replica_config *config);
struct updates __real_replica_step(struct replica *r, const struct event *ev);
struct updates __wrap_replica_step(struct replica *r, const struct event *ev);
struct zab *__real_zab_new(const struct zab_config *config);
struct zab *__wrap_zab_new(const struct zab_config *config);
bool __real_zab_next(struct zab *z, struct zab_output *ret_output);
bool __wrap_zab_next(struct zab *z, struct zab_output *ret_output);
zxid_t __real_zab_propose(struct zab *z, struct blob *take_payload);
zxid_t __wrap_zab_propose(struct zab *z, struct blob *take_payload);
int __real_mender_new(const struct member_config *config, const struct env *env,
                      const zxid_t *refused, size_t refused_count, struct mender **ret_mender,
                      struct buf *ret_why);
int __wrap_mender_new(const struct member_config *config, const struct env *env,
                      const zxid_t *refused, size_t refused_count, struct mender **ret_mender,
                      struct buf *ret_why);
_Noreturn void __real_check_failed(const char *file, int line, const char *condition);
_Noreturn void __wrap_check_failed(const char *file, int line, const char *condition);

struct replica *__wrap_replica_new(const struct replica_config *config) {
    struct sim_host *m = world_now->running;
    struct replica *r = __real_replica_new(config);
    m->core = r;
    m->role = ZAB_LOOKING;
    m->serving = false;
    check_host_starts(m);
    return r;
}

struct updates __wrap_replica_step(struct replica *r, const struct event *ev) {
    struct sim_host *m = world_now->running;
    check_event(m, ev);
    struct updates u = __real_replica_step(r, ev);
    check_applied(m);
    check_updates(m, &u);
    check_disk_stepped(m);
    return u;
}

/* The core that read the disk is gone, and so is what it read. */
int __wrap_mender_new(const struct member_config *config, const struct env *env,
                      const zxid_t *refused, size_t refused_count, struct mender **ret_mender,
                      struct buf *ret_why) {
    struct sim_host *m = world_now->running;
    m->core = NULL;
    m->zab = NULL;
    check_host_failed(m);
    disk_repair_begins(m);
    int err = __real_mender_new(config, env, refused, refused_count, ret_mender, ret_why);
    m->mended = err == 0;
    return err;
}

struct zab *__wrap_zab_new(const struct zab_config *config) {
    const struct sim_plan *p = &world_now->plan;
    struct zab_config c = *config;
    c.counter_limit = p->counter_limit;
    c.window_bytes = p->window_bytes;
    c.recent_bytes = p->recent_bytes;
    c.inflight_max = p->inflight_max;
    c.inflight_bytes_max = p->inflight_bytes_max;
    struct zab *z = __real_zab_new(&c);
    world_now->running->zab = z;
    return z;
}

bool __wrap_zab_next(struct zab *z, struct zab_output *ret_output) {
    struct sim_host *m = world_now->running;
    check_applied(m);
    if (!__real_zab_next(z, ret_output))
        return false;
    check_output(m, ret_output);
    return true;
}

zxid_t __wrap_zab_propose(struct zab *z, struct blob *take_payload) {
    check_propose(world_now->running, blob_slice(take_payload));
    return __real_zab_propose(z, take_payload);
}

/* A broken invariant inside a room is a violation like any other; the memory of that run is lost.
 */
_Noreturn void __wrap_check_failed(const char *file, int line, const char *condition) {
    if (!world_now || !world_now->on_check)
        __real_check_failed(file, line, condition);
    world_fail(world_now, "a CHECK fails: %s:%d: %s", file, line, condition);
    longjmp(*world_now->on_check, 1);
}
