/* Creation, data, children and ACLs through the C client; see client.h. */
#include "tests/compat/client.h"

#include <stdlib.h>
#include <string.h>

struct creation {
    const char *step, *path, *data;
    int flags;
};

void run_create(struct script *s) {
    const struct creation list[] = {
        {"persistent", "/c/p", "value", 0},
        {"empty data", "/c/empty", "", 0},
        {"null data", "/c/null", NULL, 0},
        {"exists already", "/c/p", "value", 0},
        {"no parent", "/c/none/x", "", 0},
        {"ephemeral", "/c/e", "e", ZOO_EPHEMERAL},
        {"child of an ephemeral", "/c/e/x", "", 0},
        {"sequential", "/c/s-", "", ZOO_SEQUENCE},
        {"ephemeral sequential", "/c/s-", "", ZOO_SEQUENCE | ZOO_EPHEMERAL},
        {"sequential without a prefix", "/c/", "", ZOO_SEQUENCE},
        {"bad path", "/c//x", "", 0},
        {"relative path", "c/x", "", 0},
        {"the root", "/", "", 0},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        const struct creation *c = &list[i];
        char step[128], path[128] = "-";
        struct Stat stat = {0};
        int length = c->data != NULL ? (int)strlen(c->data) : -1;
        snprintf(step, sizeof step, "create, %s", c->step);
        int rc = zoo_create(s->zh, c->path, c->data, length, &ZOO_OPEN_ACL_UNSAFE, c->flags, path,
                            sizeof path);
        say(step, "%d %s", rc, rc == ZOK ? path : "-");
        if (rc != ZOK)
            continue;
        snprintf(step, sizeof step, "exists, %s", c->step);
        rc = zoo_exists(s->zh, path, 0, &stat);
        say_stat(s, step, rc, &stat);
    }
    struct Stat stat = {0};
    char path[64];
    int rc = zoo_create2(s->zh, "/c/two-", "12", 2, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path,
                         sizeof path, &stat);
    say_stat(s, rc == ZOK ? path : "create2", rc, &stat);
    rc = zoo_create2(s->zh, "/c/p", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path, &stat);
    say("create2, exists already", "%d", rc);
}

static void say_get(struct script *s, const char *step, const char *path) {
    char data[64] = "";
    int length = sizeof data;
    struct Stat stat = {0};
    int rc = zoo_get(s->zh, path, 0, data, &length, &stat);
    if (rc == ZOK)
        say(step, "length %d <%.*s>", length, length > 0 ? length : 0, data);
    say_stat(s, step, rc, &stat);
}

void run_data(struct script *s) {
    struct Stat stat = {0};
    say_get(s, "get", "/c/p");
    say_get(s, "get of empty data", "/c/empty");
    say_get(s, "get of null data", "/c/null");
    say_get(s, "get of none", "/c/none");
    say_stat(s, "set any version", zoo_set2(s->zh, "/c/p", "v1", 2, -1, &stat), &stat);
    say_stat(s, "set version 1", zoo_set2(s->zh, "/c/p", "v2", 2, 1, &stat), &stat);
    say_stat(s, "set version 1 again", zoo_set2(s->zh, "/c/p", "v3", 2, 1, &stat), &stat);
    say_stat(s, "set to empty", zoo_set2(s->zh, "/c/p", "", 0, 2, &stat), &stat);
    say_get(s, "get after it", "/c/p");
    say_stat(s, "set to null", zoo_set2(s->zh, "/c/p", NULL, -1, 3, &stat), &stat);
    say_get(s, "get after it", "/c/p");
    say_stat(s, "set of none", zoo_set2(s->zh, "/c/none", "", 0, -1, &stat), &stat);
    say_stat(s, "exists of none", zoo_exists(s->zh, "/c/none", 0, &stat), &stat);
    say("delete wrong version", "%d", zoo_delete(s->zh, "/c/p", 0));
    say("delete of a parent", "%d", zoo_delete(s->zh, "/c", -1));
    say("delete right version", "%d", zoo_delete(s->zh, "/c/p", 4));
    say("delete of none", "%d", zoo_delete(s->zh, "/c/p", -1));
    char *big = calloc(1, 1000000);
    if (big == NULL)
        return;
    say("create of 1,000,000 bytes", "%d",
        zoo_create(s->zh, "/c/big", big, 1000000, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    int length = 1000000;
    int rc = zoo_get(s->zh, "/c/big", 0, big, &length, &stat);
    say("get of it", "%d length %d", rc, length);
    say("delete of it", "%d", zoo_delete(s->zh, "/c/big", -1));
    free(big);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void say_children(const char *step, int rc, struct String_vector *v) {
    if (rc != ZOK) {
        say(step, "%d", rc);
        return;
    }
    if (v->count > 0)
        qsort(v->data, (size_t)v->count, sizeof v->data[0], by_name);
    printf("%s: %d children:", step, v->count);
    for (int32_t i = 0; i < v->count; i++)
        printf(" %s", v->data[i]);
    printf("\n");
    deallocate_String_vector(v);
}

void run_children(struct script *s) {
    static const char *const paths[] = {"/c", "/c/empty", "/c/none", "/zookeeper"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct String_vector v = {0};
        struct Stat stat = {0};
        char step[64];
        snprintf(step, sizeof step, "children of %s", paths[i]);
        say_children(step, zoo_get_children(s->zh, paths[i], 0, &v), &v);
        int rc = zoo_get_children2(s->zh, paths[i], 0, &v, &stat);
        say_children(step, rc, &v);
        say_stat(s, step, rc, &stat);
    }
}

static void say_acl(struct script *s, zhandle_t *zh, const char *step, const char *path) {
    struct ACL_vector v = {0};
    struct Stat stat = {0};
    int rc = zoo_get_acl(zh, path, &v, &stat);
    if (rc == ZOK) {
        for (int32_t i = 0; i < v.count; i++)
            say(step, "%d %s:%s", v.data[i].perms, v.data[i].id.scheme, v.data[i].id.id);
        deallocate_ACL_vector(&v);
    }
    say_stat(s, step, rc, &stat);
}

static void on_auth(int rc, const void *ctx) { say((const char *)ctx, "%d", rc); }

/* What each permission allows to somebody who has only that one. */
static void run_permissions(zhandle_t *owner, zhandle_t *stranger) {
    for (int perms = 0; perms <= ZOO_PERM_ALL; perms = perms == 0 ? 1 : perms * 2) {
        char path[32], child[64], data[8];
        int length = sizeof data;
        struct Stat stat;
        struct ACL acl[] = {{perms, ZOO_ANYONE_ID_UNSAFE}, {ZOO_PERM_ALL, ZOO_AUTH_IDS}};
        struct ACL_vector v = {2, acl};
        snprintf(path, sizeof path, "/c/perm-%d", perms);
        snprintf(child, sizeof child, "%s/child", path);
        int rc = zoo_create(owner, path, "", 0, &v, 0, NULL, 0);
        zoo_create(owner, child, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
        catch_up(stranger);
        int get = zoo_get(stranger, path, 0, data, &length, &stat);
        struct String_vector names = {0};
        int list = zoo_get_children(stranger, path, 0, &names);
        if (list == ZOK)
            deallocate_String_vector(&names);
        int set = zoo_set(stranger, path, "x", 1, -1);
        int deleted = zoo_delete(stranger, child, -1);
        int created = zoo_create(stranger, child, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
        int admin = zoo_set_acl(stranger, path, -1, &ZOO_OPEN_ACL_UNSAFE);
        say("permissions", "%d: created %d get %d children %d set %d delete %d create %d setACL %d",
            perms, rc, get, list, set, deleted, created, admin);
    }
}

void run_acl(struct script *s) {
    zhandle_t *other = open_session(s, NULL);
    say("acl, creator without auth", "%d",
        zoo_create(s->zh, "/c/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    say("add_auth", "%d", zoo_add_auth(s->zh, "digest", "user:pass", 9, on_auth, "auth"));
    say("acl, creator", "%d",
        zoo_create(s->zh, "/c/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    say("acl, read only for all", "%d",
        zoo_create(s->zh, "/c/ro", "x", 1, &ZOO_READ_ACL_UNSAFE, 0, NULL, 0));
    say_acl(s, s->zh, "get_acl", "/c/acl");
    say_acl(s, s->zh, "get_acl of an open one", "/c");
    say_acl(s, s->zh, "get_acl of a read only one", "/c/ro");
    catch_up(other);
    say_acl(s, other, "get_acl by another", "/c/acl");
    say("set of a read only one", "%d", zoo_set(s->zh, "/c/ro", "y", 1, -1));
    struct ACL acl[] = {{ZOO_PERM_READ, ZOO_ANYONE_ID_UNSAFE}, {ZOO_PERM_ALL, ZOO_AUTH_IDS}};
    struct ACL_vector v = {2, acl};
    say("set_acl by another", "%d", zoo_set_acl(other, "/c/acl", -1, &v));
    say("set_acl wrong version", "%d", zoo_set_acl(s->zh, "/c/acl", 7, &v));
    say("set_acl", "%d", zoo_set_acl(s->zh, "/c/acl", 0, &v));
    say_acl(s, s->zh, "get_acl after it", "/c/acl");
    catch_up(other);
    say_acl(s, other, "get_acl by another after it", "/c/acl");
    say("set_acl of none", "%d", zoo_set_acl(s->zh, "/c/none", -1, &v));
    struct ACL_vector none = {0, NULL};
    say("set_acl to nothing", "%d", zoo_set_acl(s->zh, "/c/acl", -1, &none));
    run_permissions(s->zh, other);
    say("acl, close", "%d", zookeeper_close(other));
}
