/*
 * loop - libevent with our memory.
 */
#include "common/loop.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/mem.h"

struct event_base *
loop_create(void)
{
	event_set_mem_functions(mem_alloc, mem_realloc, free);
	return event_base_new();
}
