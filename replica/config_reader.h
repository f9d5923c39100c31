/* zoo.cfg while it is read: shared by config.c (keys with a field) and config_ensemble.c (the
 * ensemble's). */
#ifndef ZKFS_REPLICA_CONFIG_READER_H
#define ZKFS_REPLICA_CONFIG_READER_H

#include "replica/config.h"

/* Where something was said, for messages. */
struct config_place {
    const char *file;
    int line; /* 0: nowhere */
};

/* What is gathered while the lines go by. */
struct config_reader {
    struct config config; /* servers and quorum too, in order of their lines until the end */
    const char *file;
    bool dynamic; /* the file that dynamicConfigFile named is being read */
    int client_port_line;
    int64_t log_limit_kib; /* txnLogSizeLimitInKb; -1: not given */
    char *dynamic_file;
    struct buf idle; /* names of keys without effect, for one line */
    /* By server id; group.N and weight.N may stand before the servers. */
    struct config_place server_places[256], group_places[256], weight_places[256];
    uint8_t groups[256];
    uint32_t weights[256];
    struct config_place peer_type_place;
    bool peer_type_observer;
    config_note_fn *note;
    void *note_ctx;
    struct buf *why;
};

/* Hands the text on and closes it. */
void config_reader_note(struct config_reader *r, enum log_level level, struct buf *text);
/* Java's Integer.decode, for that is how ZooKeeper reads its properties: 0x… is often seen in
 * jute.maxbuffer. */
bool config_parse_int(const char *text, int64_t *ret_value);
/* Says so in r->why; -EINVAL. */
int config_wrong_value(struct config_reader *r, int line, const char *key, const char *value,
                       const char *right);
/* The whole file, or a negative errno with a sentence in ret_why. */
int config_file_read(const char *path, struct buf *ret_text, struct buf *ret_why);

/* server.N, group.N, weight.N and peerType. 1: the key is none of them. */
int config_ensemble_line(struct config_reader *r, int line, const char *key, const char *value);
/* When all lines are read: who this server is, and whether the ensemble is one. */
int config_ensemble_finish(struct config_reader *r);

#endif
