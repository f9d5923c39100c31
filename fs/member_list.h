/* The members of an ensemble as clients can learn of them: out of /zookeeper/config, and of their
 * answers to the word `srvr`. Pure. */
#ifndef ZKFS_FS_MEMBER_LIST_H
#define ZKFS_FS_MEMBER_LIST_H

#include "common/types.h"

struct member {
    int64_t id; /* -1: not known */
    char *name; /* host:port, as it is shown */
    char *host, *port;
    char role[16]; /* leader, follower, observer, standalone, read-only; or why that is not known */
    char zxid[24]; /* 0x…, or `-` */
};

/* All that an ensemble can have, and more: server ids are up to 255. */
#define MEMBERS_MAX 256

struct member_list {
    struct member *at;
    size_t count;
};

/* Adds `HOST:PORT` or `[V6]:PORT`; port 2181 where there is none. */
void member_list_add(struct member_list *l, int64_t id, struct slice address);
/* Adds those of the znode's lines, `server.N=HOST:PORT:PORT[:ROLE];[CLIENTHOST:]CLIENTPORT`. False,
 * and nothing is added, when there are none or when one does not tell where clients connect. */
bool member_list_read(struct member_list *l, struct slice config);
/* What the server said, `""` when nothing. */
void member_read_answer(struct member *m, const char *answer);
void member_list_close(struct member_list *l);

#endif
