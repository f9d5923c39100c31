#include "replica/io/checkpoint_uv.h"

#include "common/check.h"
#include "replica/io/loop_state.h"

static void work(uv_work_t *req) {
    struct checkpoint_uv *c = req->data;
    store_checkpoint_run(member_store(c->loop->member));
}

static void after(uv_work_t *req, int status) {
    struct checkpoint_uv *c = req->data;
    c->running = false;
    if (!c->ending)
        member_checkpoint_ran(c->loop->member);
}

void checkpoint_uv_init(struct checkpoint_uv *c, struct loop *l) {
    *c = (struct checkpoint_uv){.loop = l, .work = {.data = c}};
}

void checkpoint_uv_want(struct checkpoint_uv *c) {
    CHECK(!c->running);
    c->running = true;
    int rc = uv_queue_work(&c->loop->uv, &c->work, work, after);
    CHECK(rc == 0);
}

void checkpoint_uv_close(struct checkpoint_uv *c) { c->ending = true; }
