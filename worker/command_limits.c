/*
 * command_limits - a table of names, units and resources.
 */
#include "worker/command_limits.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/units.h"
#include "common/value.h"
#include "worker/command_template.h"

static const struct limit {
	const char *name;
	__rlimit_resource_t resource;
	const struct unit *units;
	uint64_t scale; /* of the units in one of the kernel's */
	uint64_t min;
	const char *like; /* for people */
	int signal;       /* that says so, or 0 */
} kinds[COMMAND_LIMITS_COUNT] = {
	{ "cpu", RLIMIT_CPU, units_duration, CLOCK_SECOND_US, 1,
	  "seconds, or a text like \"5min\"", SIGXCPU },
	{ "memory", RLIMIT_AS, units_size, 1, 1,
	  "bytes, or a text like \"1GB\"", 0 },
	{ "file_size", RLIMIT_FSIZE, units_size, 1, 0,
	  "bytes, or a text like \"64MB\"", SIGXFSZ },
	{ "open_files", RLIMIT_NOFILE, units_count, 1, 1, "a number", 0 },
	{ "processes", RLIMIT_NPROC, units_count, 1, 1, "a number", 0 },
};

static int
limit_parse(const struct limit *kind, struct slice value, uint64_t *out,
	    struct error *err)
{
	struct buf text = BUF_EMPTY;
	uint64_t n = 0;
	int rc = -EINVAL;

	if (value_type(value) != VALUE_BOOL &&
	    command_template_scalar(value, &text))
		rc = units_parse(buf_text(&text), kind->units, &n);
	buf_fini(&text);
	/* A part of a second is a second. */
	n = n / kind->scale + (n % kind->scale != 0);
	if (rc < 0 || n < kind->min) {
		error_set(err, "\"limits\": \"%s\" must be %s, at least %u",
			  kind->name, kind->like, (unsigned)kind->min);
		return -EINVAL;
	}
	*out = n;
	return 0;
}

int
command_limits_parse(struct slice value, struct command_limits *out,
		     struct error *err)
{
	uint32_t count = value_count(value);
	struct cursor c = cursor_of(value);

	if (value_type(value) != VALUE_MAP) {
		error_set(err, "\"limits\" must be an object");
		return -EINVAL;
	}
	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice name = cursor_next(&c).bytes;
		struct slice v = cursor_value(&c);
		uint32_t k = 0;

		while (k < COMMAND_LIMITS_COUNT &&
		       !slice_is(name, kinds[k].name))
			k++;
		if (k == COMMAND_LIMITS_COUNT) {
			error_set(err,
				  "\"limits\": there is no \"%.*s\", only "
				  "\"cpu\", \"memory\", \"file_size\", "
				  "\"open_files\" and \"processes\"",
				  (int)(name.len < 64 ? name.len : 64),
				  (const char *)name.data);
			return -EINVAL;
		}
		if (limit_parse(&kinds[k], v, &out->values[k], err) < 0)
			return -EINVAL;
		out->set |= 1U << k;
	}
	return 0;
}

int
command_limits_apply(const struct command_limits *limits)
{
	for (uint32_t k = 0; k < COMMAND_LIMITS_COUNT; k++) {
		struct rlimit r;
		rlim_t soft = limits->values[k], hard = soft;

		if ((limits->set & (1U << k)) == 0)
			continue;
		/* A second to end by itself, after SIGXCPU. */
		if (kinds[k].resource == RLIMIT_CPU && hard < RLIM_INFINITY)
			hard++;
		if (getrlimit(kinds[k].resource, &r) != 0)
			return -errno;
		r.rlim_cur = soft < r.rlim_cur ? soft : r.rlim_cur;
		r.rlim_max = hard < r.rlim_max ? hard : r.rlim_max;
		if (r.rlim_cur > r.rlim_max)
			r.rlim_cur = r.rlim_max;
		if (setrlimit(kinds[k].resource, &r) != 0)
			return -errno;
	}
	return 0;
}

const char *
command_limits_signal(const struct command_limits *limits, int signal)
{
	for (uint32_t k = 0; k < COMMAND_LIMITS_COUNT; k++) {
		if ((limits->set & (1U << k)) != 0 &&
		    kinds[k].signal == signal && signal != 0)
			return kinds[k].name;
	}
	return NULL;
}
