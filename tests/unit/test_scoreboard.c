/* Tests of common/scoreboard.h and common/board_socket.h: who wins a place,
 * what a worker that writes anything can and cannot do, and handing over. */
#include "common/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/board_socket.h"
#include "tests/unit/unit.h"

#define ROUNDS 20000U
#define WORD_BYTES 8U

static const struct uuid somebody = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
	                                13, 14, 15, 16 } };

static struct scoreboard *
board_new(int *fd_out)
{
	int fd = scoreboard_make();
	struct scoreboard *b;

	ck_assert_int_ge(fd, 0);
	b = scoreboard_map(fd);
	ck_assert_ptr_nonnull(b);
	if (fd_out != NULL)
		*fd_out = fd;
	else
		close(fd);
	return b;
}

START_TEST(life_of_a_place)
{
	struct scoreboard *b = board_new(NULL);
	struct scoreboard_place p = scoreboard_look(b, 7);

	ck_assert_int_eq(p.phase, PLACE_FREE);
	scoreboard_number(b, 7, UINT64_MAX - 1);
	scoreboard_wait(b, 7, SCOREBOARD_TOKEN_MAX, &somebody, UINT64_MAX, 9);
	p = scoreboard_look(b, 7);
	ck_assert_uint_eq(p.number, UINT64_MAX - 1);
	ck_assert_int_eq(p.phase, PLACE_WAITING);
	ck_assert_uint_eq(p.token, SCOREBOARD_TOKEN_MAX);
	ck_assert(uuid_equal(&p.instance, &somebody));
	ck_assert_uint_eq(p.activation, UINT64_MAX);
	ck_assert_uint_eq(p.attempt, 9);

	ck_assert(!scoreboard_claim(b, 7, 12, 99)); /* another token */
	ck_assert(scoreboard_claim(b, 7, SCOREBOARD_TOKEN_MAX, 1234));
	ck_assert(!scoreboard_claim(b, 7, SCOREBOARD_TOKEN_MAX, 1235));
	ck_assert(!scoreboard_recall(b, 7, SCOREBOARD_TOKEN_MAX));
	p = scoreboard_look(b, 7);
	ck_assert_int_eq(p.phase, PLACE_RUNNING);
	scoreboard_done(b, 7, 12); /* not its own */
	ck_assert_int_eq(scoreboard_glance(b, 7).phase, PLACE_RUNNING);
	scoreboard_done(b, 7, SCOREBOARD_TOKEN_MAX);
	ck_assert_int_eq(scoreboard_glance(b, 7).phase, PLACE_DONE);
	scoreboard_free(b, 7);
	ck_assert_int_eq(scoreboard_look(b, 7).phase, PLACE_FREE);

	/* What was recalled is never run, not even when the place is somebody
	 * else's by then. */
	scoreboard_wait(b, 7, 20, &somebody, 1, 1);
	ck_assert(scoreboard_recall(b, 7, 20));
	ck_assert(!scoreboard_recall(b, 7, 20));
	ck_assert(!scoreboard_claim(b, 7, 20, 1));
	scoreboard_wait(b, 7, 21, &somebody, 1, 1);
	ck_assert(!scoreboard_claim(b, 7, 20, 1));
	ck_assert(scoreboard_claim(b, 7, 21, 5));
	ck_assert_uint_eq(scoreboard_glance(b, 7).began_us, 5);
	scoreboard_unmap(&b);
	ck_assert_ptr_null(b);
	scoreboard_unmap(&b);
}
END_TEST

START_TEST(who_runs)
{
	struct scoreboard *b = board_new(NULL);
	struct scoreboard_place p;
	uint32_t at = 0;

	ck_assert(!scoreboard_running(b, &at, &p));
	ck_assert_uint_eq(at, 0);
	for (uint32_t i = 0; i < SCOREBOARD_PLACES; i++)
		scoreboard_wait(b, i, i + 1, &somebody, i, i);
	ck_assert(scoreboard_claim(b, 3, 4, 100));
	ck_assert(scoreboard_claim(b, SCOREBOARD_PLACES - 1,
	                           SCOREBOARD_PLACES, 200));
	ck_assert(scoreboard_running(b, &at, &p));
	ck_assert_uint_eq(p.activation, 3);
	ck_assert_uint_eq(p.began_us, 100);
	ck_assert(scoreboard_running(b, &at, &p));
	ck_assert_uint_eq(p.token, SCOREBOARD_PLACES);
	ck_assert_uint_eq(at, SCOREBOARD_PLACES);
	ck_assert(!scoreboard_running(b, &at, &p));
	scoreboard_unmap(&b);
}
END_TEST

/* ---- races ---- */

struct race {
	struct scoreboard *board;
	pthread_barrier_t start;
	uint32_t won; /* by the other side */
};

static void *
recaller(void *arg)
{
	struct race *race = arg;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		pthread_barrier_wait(&race->start);
		race->won += scoreboard_recall(race->board, 0, i);
		pthread_barrier_wait(&race->start);
	}
	return NULL;
}

START_TEST(claim_against_recall)
{
	struct race race = { .board = board_new(NULL) };
	uint32_t claimed = 0;
	pthread_t thread;

	ck_assert_int_eq(pthread_barrier_init(&race.start, NULL, 2), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, recaller, &race), 0);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		bool mine;

		scoreboard_wait(race.board, 0, i, &somebody, i, 1);
		pthread_barrier_wait(&race.start);
		mine = scoreboard_claim(race.board, 0, i, i);
		pthread_barrier_wait(&race.start);
		claimed += mine;
		ck_assert_int_eq(scoreboard_glance(race.board, 0).phase,
		                 mine ? PLACE_RUNNING : PLACE_RECALLED);
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&race.start);
	/* Exactly one wins each. */
	ck_assert_uint_eq(claimed + race.won, ROUNDS);
	scoreboard_unmap(&race.board);
}
END_TEST

/* Two processes claim the same places over their own mappings of one file. */
START_TEST(two_processes)
{
	int fd, go[2], status;
	struct scoreboard *b = board_new(&fd);
	uint32_t mine = 0, theirs = 0;
	pid_t pid;

	for (uint32_t i = 0; i < SCOREBOARD_PLACES; i++)
		scoreboard_wait(b, i, i + 5, &somebody, i, 1);
	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct scoreboard *own = scoreboard_map(fd);
		char byte;

		ck_assert_int_eq(read(go[0], &byte, 1), 1);
		for (uint32_t i = SCOREBOARD_PLACES; i-- > 0;) {
			/* began_us tells whose it was. */
			if (scoreboard_claim(own, i, i + 5, 2))
				scoreboard_done(own, i, i + 5);
		}
		_exit(0);
	}
	ck_assert_int_eq(write(go[1], "g", 1), 1);
	for (uint32_t i = 0; i < SCOREBOARD_PLACES; i++)
		mine += scoreboard_claim(b, i, i + 5, 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	for (uint32_t i = 0; i < SCOREBOARD_PLACES; i++) {
		struct scoreboard_place p = scoreboard_look(b, i);

		theirs += p.phase == PLACE_DONE;
		ck_assert(p.phase == PLACE_DONE || p.phase == PLACE_RUNNING);
	}
	ck_assert_uint_eq(mine + theirs, SCOREBOARD_PLACES);
	close(go[0]);
	close(go[1]);
	close(fd);
	scoreboard_unmap(&b);
}
END_TEST

/* ---- hostile contents ---- */

static const struct {
	const char *name;
	uint64_t word;
	enum place_phase phase;
	uint64_t token;
} words[] = {
	{ "zero", 0, PLACE_FREE, 0 },
	{ "no phase: 5", 5, PLACE_FREE, 0 },
	{ "no phase: 7, all bits", UINT64_MAX, PLACE_FREE,
	  SCOREBOARD_TOKEN_MAX },
	{ "running nothing", PLACE_RUNNING, PLACE_RUNNING, 0 },
	{ "a token", 77 << 3 | PLACE_WAITING, PLACE_WAITING, 77 },
};

START_TEST(hostile_words)
{
	int fd;
	struct scoreboard *b = board_new(&fd);
	struct scoreboard_place p;
	uint32_t at = 0;

	ck_assert_int_eq(pwrite(fd, &words[_i].word, WORD_BYTES, 64 * 9),
	                 WORD_BYTES);
	p = scoreboard_look(b, 9);
	CASE(&words[_i], p.phase == words[_i].phase);
	CASE(&words[_i], p.token == words[_i].token);
	CASE(&words[_i], scoreboard_running(b, &at, &p) ==
	                     (words[_i].phase == PLACE_RUNNING));
	CASE(&words[_i], !scoreboard_recall(b, 9, 78));
	CASE(&words[_i], !scoreboard_claim(b, 9, 78, 1));
	/* The flusher takes the place again, whatever is in it. */
	scoreboard_wait(b, 9, 80, &somebody, 1, 1);
	CASE(&words[_i], scoreboard_claim(b, 9, 80, 1));
	close(fd);
	scoreboard_unmap(&b);
}
END_TEST

START_TEST(layout)
{
	int fd;
	struct scoreboard *b = board_new(&fd);
	uint8_t bytes[64];
	uint64_t word, began, activation;
	uint32_t attempt;

	scoreboard_wait(b, 2, 0x123456789, &somebody, 0xabcdef, 17);
	ck_assert(scoreboard_claim(b, 2, 0x123456789, 4711));
	ck_assert_int_eq(pread(fd, bytes, 64, 128), 64);
	memcpy(&word, bytes, 8);
	memcpy(&began, bytes + 8, 8);
	memcpy(&activation, bytes + 32, 8);
	memcpy(&attempt, bytes + 40, 4);
	ck_assert_uint_eq(word, UINT64_C(0x123456789) << 3 | 2);
	ck_assert_uint_eq(began, 4711);
	ck_assert_mem_eq(bytes + 16, somebody.bytes, 16);
	ck_assert_uint_eq(activation, 0xabcdef);
	ck_assert_uint_eq(attempt, 17);
	close(fd);
	scoreboard_unmap(&b);
}
END_TEST

START_TEST(sealed)
{
	int fd;
	struct scoreboard *b = board_new(&fd);

	ck_assert_int_ne(ftruncate(fd, 64), 0);
	ck_assert_int_ne(ftruncate(fd, 1 << 20), 0);
	ck_assert_int_ne(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	/* A hole reads as FREE, and takes nobody down. */
	scoreboard_wait(b, 0, 3, &somebody, 1, 1);
	ck_assert_int_eq(fallocate(fd,
	                           FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	                           0, SCOREBOARD_BYTES),
	                 0);
	ck_assert_int_eq(scoreboard_look(b, 0).phase, PLACE_FREE);
	close(fd);
	scoreboard_unmap(&b);
}
END_TEST

static const struct {
	const char *name;
	long bytes; /* < 0: no memfd at all */
	int seals;
} strangers[] = {
	{ "a pipe", -1, 0 },
	{ "too short", 65536 - 64, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL },
	{ "too long", 65536 + 1, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL },
	{ "not sealed", 65536, 0 },
	{ "may shrink", 65536, F_SEAL_GROW | F_SEAL_SEAL },
	{ "may get more seals", 65536, F_SEAL_SHRINK | F_SEAL_GROW },
};

START_TEST(not_a_board)
{
	int pair[2] = { -1, -1 };
	struct scoreboard *b;

	if (strangers[_i].bytes < 0) {
		ck_assert_int_eq(pipe(pair), 0);
	} else {
		pair[0] = memfd_create("x", MFD_ALLOW_SEALING);
		ck_assert_int_ge(pair[0], 0);
		ck_assert_int_eq(ftruncate(pair[0], strangers[_i].bytes), 0);
		if (strangers[_i].seals != 0)
			ck_assert_int_eq(fcntl(pair[0], F_ADD_SEALS,
			                       strangers[_i].seals),
			                 0);
	}
	b = scoreboard_map(pair[0]);
	CASE(&strangers[_i], b == NULL && errno != 0);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

/* ---- handing over ---- */

START_TEST(handed_over)
{
	int fd, got = -1, pair[2];
	struct scoreboard *b = board_new(&fd), *theirs;
	uint32_t spawn = 0;
	uint16_t slot = 0;

	ck_assert_int_eq(board_socket_pair(pair), 0);
	ck_assert_int_eq(board_receive(pair[1], &slot, &spawn, &got), -EAGAIN);
	ck_assert_int_eq(board_send(pair[0], 1023, 70000, fd), 0);
	close(fd);
	ck_assert_int_eq(board_receive(pair[1], &slot, &spawn, &got), 0);
	ck_assert_uint_eq(slot, 1023);
	ck_assert_uint_eq(spawn, 70000);
	ck_assert_int_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
	theirs = scoreboard_map(got);
	ck_assert_ptr_nonnull(theirs);
	scoreboard_wait(theirs, 5, 6, &somebody, 7, 8);
	ck_assert(scoreboard_claim(b, 5, 6, 9));
	ck_assert_int_eq(scoreboard_look(theirs, 5).phase, PLACE_RUNNING);
	close(got);
	close(pair[0]);
	ck_assert_int_eq(board_receive(pair[1], &slot, &spawn, &got), -EPIPE);
	close(pair[1]);
	scoreboard_unmap(&b);
	scoreboard_unmap(&theirs);
}
END_TEST

START_TEST(full_socket)
{
	int fd, got, pair[2], rc;
	struct scoreboard *b = board_new(&fd);
	uint32_t sent = 0, spawn;
	uint16_t slot;

	ck_assert_int_eq(board_socket_pair(pair), 0);
	while ((rc = board_send(pair[0], 0, sent, fd)) == 0)
		sent++;
	ck_assert(rc == -EAGAIN || rc == -ETOOMANYREFS);
	ck_assert_uint_ge(sent, 100);
	for (uint32_t i = 0; i < sent; i++) {
		ck_assert_int_eq(board_receive(pair[1], &slot, &spawn, &got),
		                 0);
		ck_assert_uint_eq(spawn, i);
		close(got);
	}
	close(fd);
	close(pair[0]);
	close(pair[1]);
	scoreboard_unmap(&b);
}
END_TEST

START_TEST(strange_messages)
{
	static const uint8_t nine[9] = { 0 };
	int got = -1, pair[2];
	uint32_t spawn;
	uint16_t slot;

	ck_assert_int_eq(board_socket_pair(pair), 0);
	for (size_t len = 1; len <= sizeof(nine); len++) {
		ck_assert_int_eq(send(pair[0], nine, len, 0), (int)len);
		ck_assert_int_eq(
		    board_receive(pair[1], &slot, &spawn, &got), -EPROTO);
	}
	ck_assert_int_eq(board_send(pair[0], 0, 1, pair[0]), 0);
	ck_assert_int_eq(board_receive(pair[1], &slot, &spawn, &got), 0);
	ck_assert_ptr_null(scoreboard_map(got)); /* a socket */
	close(got);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ life_of_a_place, 0 },
		{ who_runs, 0 },
		{ claim_against_recall, 0 },
		{ two_processes, 0 },
		{ hostile_words, COUNT(words) },
		{ layout, 0 },
		{ sealed, 0 },
		{ not_a_board, COUNT(strangers) },
		{ handed_over, 0 },
		{ full_socket, 0 },
		{ strange_messages, 0 },
	};

	return unit_run("scoreboard", tests, COUNT(tests));
}
