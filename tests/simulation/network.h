/*
 * network - flusher/db.h over the world's network: database sessions that
 * connect, lose what they sent, hear too late, and come back.
 */
#ifndef TESTS_SIMULATION_NETWORK_H
#define TESTS_SIMULATION_NETWORK_H

#include "flusher/db.h"
#include "tests/simulation/world.h"

struct backend;
struct conn;
struct process;

/* One statement on its way; values are kept for the history. */
struct sent {
	const struct db_statement *statement;
	const uint8_t *values[16];
	int lengths[16];
	bool nulls[16];
};

/* What the network does to a call on purpose. */
enum mishap {
	MISHAP_NONE,
	MISHAP_REPLY_LOST, /* it runs; the session ends before the reply */
	MISHAP_MUTE,       /* it runs; nothing ever comes back */
};

/* A call as the server sees it. */
struct message {
	TAILQ_ENTRY(message) entry;
	struct conn *conn;
	struct sent *list;
	uint32_t count;
	uint32_t cap;
	uint32_t at;       /* what runs, for the server */
	uint32_t sync_at;  /* how many of them arrived */
	enum mishap mishap;
	bool cut;          /* the rest and the end of it never arrive */
	bool end;          /* no call: the client has closed */
	bool failed;
	struct db_reply reply;
	bool in_error;     /* it left a failed transaction open */
};

/* The flusher's sessions end as those of a dead process do. */
void network_process_died(struct process *p);

/* For the server: what goes back. */
void conn_reply(struct conn *c, struct message *m);
void conn_notify(struct conn *c, const char *channel);
/* The server's end of it is closed. */
void conn_close_server(struct conn *c, const char *why);
struct pool *conn_pool(const struct conn *c);
const struct uuid *conn_incarnation(const struct conn *c);

/* A random fault of the network: one session breaks. */
void network_break_one(void);
void network_reset(void);

#endif
