/* The servers of a mount: their names as given, and the addresses found for them. */
#ifndef ZKFS_FS_SERVER_LIST_H
#define ZKFS_FS_SERVER_LIST_H

#include "common/types.h"

#include <netdb.h>
#include <sys/socket.h>

/* Where there is none. */
#define SERVER_PORT "2181"

struct server_list;

/* Takes `HOST`, `HOST:REST`, `[V6]` or `[V6]:REST` apart; the rest is null where there is no colon.
 * NULL, or why that cannot be done. */
const char *server_list_split(struct slice text, struct slice *ret_host, struct slice *ret_rest);
/* See conn_uv_new: reads the text and looks all names up. */
struct server_list *server_list_new(const char *text, const char **ret_why);
/* Reads the text only; no name is looked up. */
struct server_list *server_list_parse(const char *text, const char **ret_why);
void server_list_free(struct server_list *l);
int32_t server_list_count(const struct server_list *l);
const char *server_list_name(const struct server_list *l, int32_t server);
/* 0: it has to be looked up (again). */
int32_t server_list_address_count(const struct server_list *l, int32_t server);
/* The addresses in turn: each call gives the one after that of the call before, from the one that
 * worked last. There must be one. Borrowed until the addresses change. */
const struct sockaddr *server_list_next_address(struct server_list *l, int32_t server);
/* The address given last answered: the next attempt begins with it. */
void server_list_works(struct server_list *l, int32_t server);
/* All addresses failed: they are looked up again before the next attempt, for they may have
 * changed. */
void server_list_forget(struct server_list *l, int32_t server);
void server_list_set_addresses(struct server_list *l, int32_t server, const struct addrinfo *found);
/* What to ask getaddrinfo for. Borrowed. */
void server_list_lookup_args(const struct server_list *l, int32_t server, const char **ret_host,
                             const char **ret_port, struct addrinfo *ret_hints);

#endif
