/*
 * board - see board.h.
 */
#include "flusher/board.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/board_socket.h"
#include "common/config_group.h"
#include "common/log.h"
#include "common/mem.h"


struct arrived {
	struct scoreboard *board;
	uint32_t spawn;
};

struct boards {
	int fd; /* -1: none, or no more */
	struct event *event;
	struct arrived *arrived; /* CONFIG_SLOTS_MAX, by slot */
};

static void
boards_closed(struct boards *b)
{
	event_del(b->event);
	close(b->fd);
	b->fd = -1;
}

static void
board_arrived(struct boards *b, uint16_t slot, uint32_t spawn, int fd)
{
	struct arrived *a;

	if (slot < CONFIG_SLOTS_MAX) {
		a = &b->arrived[slot];
		scoreboard_unmap(&a->board);
		a->spawn = spawn;
		a->board = scoreboard_map(fd);
		if (a->board == NULL)
			log_warning("no scoreboard slot=%u: %s", slot,
			            strerror(errno));
	}
	close(fd);
}

/* Everything that is there. */
static void
boards_read(struct boards *b)
{
	while (b->fd >= 0) {
		uint32_t spawn;
		uint16_t slot;
		int fd, rc = board_receive(b->fd, &slot, &spawn, &fd);

		if (rc == 0)
			board_arrived(b, slot, spawn, fd);
		else if (rc == -EAGAIN)
			return;
		else if (rc == -EPROTO)
			log_warning("a message that is no scoreboard");
		else
			boards_closed(b); /* the supervisor is gone */
	}
}

static void
boards_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	boards_read(arg);
}

struct boards *
boards_create(struct event_base *base, int fd)
{
	struct boards *b = mem_zalloc(sizeof(*b));

	b->fd = fd;
	if (fd < 0)
		return b;
	b->arrived = mem_calloc(CONFIG_SLOTS_MAX, sizeof(*b->arrived));
	b->event = event_new(base, fd, EV_READ | EV_PERSIST, boards_cb, b);
	ASSERT(b->event != NULL && event_add(b->event, NULL) == 0);
	return b;
}

void
boards_destroy(struct boards **bp)
{
	struct boards *b = *bp;

	if (b == NULL)
		return;
	if (b->event != NULL) {
		event_free(b->event);
		for (uint32_t i = 0; i < CONFIG_SLOTS_MAX; i++)
			scoreboard_unmap(&b->arrived[i].board);
	}
	if (b->fd >= 0)
		close(b->fd);
	free(b->arrived);
	free(b);
	*bp = NULL;
}

struct scoreboard *
boards_take(struct boards *b, uint16_t slot, uint32_t spawn)
{
	struct scoreboard *board;

	/* It was sent before the HELLO, and may be behind others. */
	boards_read(b);
	if (b->arrived == NULL || slot >= CONFIG_SLOTS_MAX ||
	    b->arrived[slot].spawn != spawn)
		return NULL;
	board = b->arrived[slot].board;
	b->arrived[slot].board = NULL;
	return board;
}

/* ---- places ---- */

void
places_open(struct places *p, struct scoreboard *board, uint32_t count)
{
	ASSERT(board != NULL && count <= SCOREBOARD_PLACES);
	places_close(p);
	p->board = board;
	p->free = mem_calloc(count, sizeof(*p->free));
	p->free_count = count;
	for (uint32_t i = 0; i < count; i++)
		p->free[i] = (uint16_t)(count - 1 - i);
}

void
places_close(struct places *p)
{
	scoreboard_unmap(&p->board);
	free(p->free);
	p->free = NULL;
	p->free_count = 0;
}

uint32_t
places_take(struct places *p)
{
	ASSERT(p->free_count > 0);
	return p->free[--p->free_count];
}

void
places_reserve(struct places *p, uint32_t place)
{
	for (uint32_t i = 0; i < p->free_count; i++) {
		if (p->free[i] != place)
			continue;
		memmove(p->free + i, p->free + i + 1,
		        (p->free_count - i - 1) * sizeof(*p->free));
		p->free_count--;
		return;
	}
	ASSERT(false);
}

void
places_give(struct places *p, uint32_t place)
{
	scoreboard_free(p->board, place);
	p->free[p->free_count++] = (uint16_t)place;
}
