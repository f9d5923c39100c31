/* Links to the other servers of the ensemble: one TCP connection for each pair, that carries
 * everything. Who has the greater id dials; an observer dials every voter; observers do not talk to
 * each other.
 *
 *    dial: RESOLVING -> CONNECTING -> GREETING (our preamble is sent, theirs is waited for) -> UP
 *    accept:                          GREETING (theirs is waited for, ours answers it)      -> UP
 *
 * All before UP takes at most PEER_GREETING_MS. When a second link of the same peer comes up, it
 * wins: the peer would not dial while it believed in the first. The member hears of the old one's
 * end first. A link that broke is dialled again at once when it had been of use, then with
 * back-off.
 *
 * Whoever reaches the port can claim to be a peer: it belongs into a trusted network, as
 * ZooKeeper's. */
#ifndef ZKFS_REPLICA_IO_PEER_CONN_H
#define ZKFS_REPLICA_IO_PEER_CONN_H

#include "common/types.h"
#include "replica/io/resolve.h"
#include "replica/io/tcp_listen.h"

struct loop;
struct peer;
struct peer_link;

/* Another server of the ensemble; loop_config has a table of them. */
struct loop_peer {
    uint8_t id;
    const char *host; /* name or address */
    int32_t port;
    bool voter; /* else an observer */
};

struct peers {
    struct loop *loop;
    struct resolver resolver;
    struct tcp_listen ports[2]; /* peerPort, and electionPort where it is another one */
    struct peer *list;          /* as many as the configuration has */
    size_t count;
    struct peer_link *links; /* all, those that greet too; the newest last */
    struct peer_link *dirty; /* have output to write, or must go */
    size_t strangers;        /* accepted, and not known yet who they are */
    uint64_t last_number;
    uint8_t *read_buffer;
    bool stopping;
    int64_t refused_logged_ms; /* when the last line about a refused link was written */
    uint64_t refused;          /* since then */
};

int peers_init(struct peers *ps, struct loop *l); /* 0 or negative errno */
/* Listens and begins to dial; the member must be there. 0, or negative errno with the cause
 * logged. */
int peers_open(struct peers *ps);
/* env.peer_send and peer_drop. */
void peers_send(struct peers *ps, uint8_t id, struct slice bytes);
void peers_drop(struct peers *ps, uint8_t id, struct slice why);
/* Writes what was collected, each link's output in one piece. */
void peers_flush(struct peers *ps);
/* The loop is stopping: nothing is read, dialled or accepted any more. */
void peers_stop(struct peers *ps);
/* The end: closes every link without telling the member. */
void peers_drop_all(struct peers *ps);
void peers_close(struct peers *ps); /* after the loop has closed all handles */
/* How many descriptors the links may take: they are kept back from the clients. */
size_t peers_descriptors(const struct peers *ps);

/* peer_listen.c's way in: takes the connection that waits at `server`. */
int peers_accept(struct peers *ps, uv_stream_t *server);

#endif
