/*
 * simulation - thousands of histories of the real flusher in a world that a
 * seed makes; README.md says what is real in it and what is checked.
 *
 * Histories run in children, some hundred each: a flusher that gives itself
 * up leaves its memory behind, as it does at an exit.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulation/history.h"

#define CHILD_HISTORIES 200U

static const char usage_text[] =
    "usage: simulation --seeds FROM-TO [--plant=NAME]\n"
    "       simulation --seed SEED [--trace] [--plant=NAME]\n"
    "       simulation --same FROM-TO    each seed twice: the same history\n"
    "       simulation --self-test COUNT each planted fault is found within\n"
    "                                    so many seeds\n";

struct sums {
	uint64_t histories;
	uint64_t hash;
	uint64_t virtual_us;
	uint64_t steps;
	uint64_t instances;
	uint64_t parked;
	uint64_t thrown_away;
	uint64_t sights[SIGHT_COUNT];
};

static _Noreturn void
usage(void)
{
	fputs(usage_text, stderr);
	exit(2);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
sums_add(struct sums *sums, const struct history_result *r)
{
	sums->histories++;
	sums->hash = (sums->hash ^ r->hash) * UINT64_C(0x100000001b3);
	sums->virtual_us += r->virtual_us;
	sums->steps += r->steps;
	sums->instances += r->instances;
	sums->parked += r->parked;
	sums->thrown_away += r->thrown_away;
	for (int i = 0; i < SIGHT_COUNT; i++)
		sums->sights[i] += r->sights[i];
}

/* A crash of the flusher's own code is a finding like any other. */
static void
crashed(int number)
{
	char text[200];
	int len = snprintf(text, sizeof(text),
	                   "FAILED seed %llu: signal %d\n"
	                   "repeat: simulation --seed %llu --trace\n",
	                   (unsigned long long)world.seed, number,
	                   (unsigned long long)world.seed);

	if (write(STDOUT_FILENO, text, (size_t)len) < 0)
		_exit(3);
	_exit(1);
}

static _Noreturn void
child_run(uint64_t from, uint64_t to, bool twice, int out)
{
	struct sums sums = { .histories = 0 };

	signal(SIGSEGV, crashed);
	signal(SIGBUS, crashed);
	signal(SIGFPE, crashed);
	for (uint64_t seed = from; seed <= to; seed++) {
		struct history_result r = history_run(seed);

		sums_add(&sums, &r);
		if (!twice)
			continue;
		if (history_run(seed).hash != r.hash) {
			printf("FAILED seed %llu: not the same twice\n",
			       (unsigned long long)seed);
			fflush(stdout);
			_exit(1);
		}
	}
	fflush(stdout);
	if (write(out, &sums, sizeof(sums)) != (ssize_t)sizeof(sums))
		_exit(3);
	_exit(0);
}

/* 0, or 1 when a history failed; it has said so, unless quiet. */
static int
part_run(uint64_t from, uint64_t to, bool twice, bool quiet,
         struct sums *sums)
{
	struct sums part;
	int fds[2];
	int status;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) < 0 || (pid = fork()) < 0) {
		perror("simulation");
		exit(3);
	}
	if (pid == 0) {
		if (quiet) {
			int null = open("/dev/null", O_WRONLY);

			dup2(null, STDOUT_FILENO);
		}
		child_run(from, to, twice, fds[1]);
	}
	close(fds[1]);
	if (read(fds[0], &part, sizeof(part)) != (ssize_t)sizeof(part))
		part.histories = 0;
	close(fds[0]);
	if (waitpid(pid, &status, 0) < 0 || status != 0 ||
	    part.histories == 0)
		return 1;
	sums->histories += part.histories;
	sums->hash = (sums->hash ^ part.hash) * UINT64_C(0x100000001b3);
	sums->virtual_us += part.virtual_us;
	sums->steps += part.steps;
	sums->instances += part.instances;
	sums->parked += part.parked;
	sums->thrown_away += part.thrown_away;
	for (int i = 0; i < SIGHT_COUNT; i++)
		sums->sights[i] += part.sights[i];
	return 0;
}

/* How often what has to happen at times did; 1 when something never did. */
static int
sights_print(const struct sums *sums)
{
	int missed = sums->parked == 0 && sums->histories >= OFTEN;

	printf("  %8llu times: an instance parked\n",
	       (unsigned long long)sums->parked);
	printf("  %8llu times: a completion thrown away, its action run again\n",
	       (unsigned long long)sums->thrown_away);
	for (int i = 0; i < SIGHT_COUNT; i++) {
		printf("  %8llu times: %s\n",
		       (unsigned long long)sums->sights[i], sight_texts[i]);
		missed |= sums->sights[i] == 0 &&
		    sums->histories >= sight_histories[i];
	}
	if (missed)
		printf("FAILED: something that has to be seen never was\n");
	return missed;
}

static int
seeds_run(uint64_t from, uint64_t to, bool twice)
{
	struct sums sums = { .histories = 0 };
	double begun = seconds();
	double took;
	int failed = 0;

	for (uint64_t at = from; at <= to && !failed;
	     at += CHILD_HISTORIES) {
		uint64_t last = at + CHILD_HISTORIES - 1;

		failed = part_run(at, last < to ? last : to, twice, false,
		                  &sums);
	}
	took = seconds() - begun;
	printf("%llu histories in %.1f s (%.0f/s), %llu instances, %llu "
	       "steps, virtual time %.0f s (%.0f times as fast), hash "
	       "%016llx\n",
	       (unsigned long long)sums.histories, took,
	       (double)sums.histories / took,
	       (unsigned long long)sums.instances,
	       (unsigned long long)sums.steps, (double)sums.virtual_us / 1e6,
	       (double)sums.virtual_us / 1e6 / took,
	       (unsigned long long)sums.hash);
	return failed || sights_print(&sums);
}

static int
self_test(uint64_t count)
{
	int missed = 0;

	for (int plant = PLANT_NONE + 1; plant < PLANTS; plant++) {
		struct sums sums = { .histories = 0 };
		uint64_t seed = 1;

		world.plant = (enum plant)plant;
		while (seed <= count &&
		       part_run(seed, seed, false, true, &sums) == 0)
			seed++;
		if (seed > count) {
			printf("NOT FOUND within %llu seeds: %s\n",
			       (unsigned long long)count,
			       plant_name(world.plant));
			missed++;
		} else {
			printf("found at seed %llu: %s\n",
			       (unsigned long long)seed,
			       plant_name(world.plant));
		}
	}
	return missed > 0;
}

static void
parse_range(const char *text, uint64_t *from, uint64_t *to)
{
	char *end;

	*from = strtoull(text, &end, 10);
	if (end == text || *end != '-')
		usage();
	*to = strtoull(end + 1, &end, 10);
	if (*end != '\0' || *to < *from)
		usage();
}

static void
parse_plant(const char *name)
{
	for (int plant = 0; plant < PLANTS; plant++)
		if (strcmp(plant_name((enum plant)plant), name) == 0) {
			world.plant = (enum plant)plant;
			return;
		}
	for (int plant = 0; plant < PLANTS; plant++)
		fprintf(stderr, "%s\n", plant_name((enum plant)plant));
	usage();
}

int
main(int argc, char **argv)
{
	uint64_t from = 0, to = 0, self = 0;
	bool twice = false;

	clearenv(); /* the flusher reads it */
	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;

		if (strcmp(argv[i], "--trace") == 0) {
			world.trace = true;
		} else if (strncmp(argv[i], "--plant=", 8) == 0) {
			parse_plant(argv[i] + 8);
		} else if (strcmp(argv[i], "--seeds") == 0 && more) {
			parse_range(argv[++i], &from, &to);
		} else if (strcmp(argv[i], "--same") == 0 && more) {
			parse_range(argv[++i], &from, &to);
			twice = true;
		} else if (strcmp(argv[i], "--seed") == 0 && more) {
			from = to = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--self-test") == 0 && more) {
			self = strtoull(argv[++i], NULL, 10);
		} else {
			usage();
		}
	}
	if (self > 0)
		return self_test(self);
	if (to == 0)
		usage();
	return seeds_run(from, to, twice);
}
