/*
 * ack - see ack.h.
 */
#include "flusher/ack.h"

#include "common/fault.h"
#include "common/link.h"
#include "flusher/adopt.h"
#include "flusher/commit.h"
#include "flusher/flusher.h"
#include "flusher/rebuild.h"

void
ack_received(struct ack *a)
{
	a->received++;
}

void
ack_settled(struct ack *a, uint64_t frame)
{
	if (frame > a->settled)
		a->settled = frame;
}

uint64_t
ack_joined(const struct flusher *f)
{
	uint64_t upto = f->ack.received;

	if (adopt_pending(f->adopt) != 0 && adopt_pending(f->adopt) <= upto)
		upto = adopt_pending(f->adopt) - 1;
	if (rebuild_pending(f) != 0 && rebuild_pending(f) <= upto)
		upto = rebuild_pending(f) - 1;
	return upto;
}

void
ack_run(struct flusher *f)
{
	struct ack *a = &f->ack;
	uint64_t upto, more;
	struct slice nothing = SLICE_LITERAL("\xc0");

	if (f->link == NULL || a->sent == a->received)
		return;
	/* Nothing is on its way: the rest was judged as it came. */
	if (commit_quiet(f->commit))
		ack_settled(a, ack_joined(f));
	upto = a->settled;
	if (ack_joined(f) < upto)
		upto = ack_joined(f);
	while (a->sent < upto) {
		more = upto - a->sent;
		if (more > UINT32_MAX)
			more = UINT32_MAX;
		FAULT_POINT("flush.before_ack");
		frame_add(link_out(f->link), FRAME_ACK, 0, 0, (uint32_t)more,
		          nothing);
		a->sent += more;
		link_send(f->link);
	}
}
