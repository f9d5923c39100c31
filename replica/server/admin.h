/* The four-letter words: plain text on the client port, in the shapes that operators parse
 * (PROTOCOL 3.1, 3.2). */
#ifndef ZKFS_REPLICA_SERVER_ADMIN_H
#define ZKFS_REPLICA_SERVER_ADMIN_H

#include "replica/server/core.h"

/* Answers the word and closes c. process may be NULL. */
void admin_word(struct replica *r, struct conn *c, struct slice word,
                const struct process_info *process);

/* Whether the word is one of 4lw.commands.whitelist (names and commas, `*`; NULL: the default). */
bool admin_whitelisted(const char *whitelist, struct slice word);

#endif
