/*
 * mocks - what tasks answer when a definition is tried out.
 */
#include "ctl/mocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/value.h"

#define MOCKS_MAGIC 0x30c45001U
#define CALLS_MAX 1000000000U

struct mocks {
	uint32_t magic;
	struct buf bytes; /* the file, as msgpack */
	struct json_places places;
	bool is_local;          /* Step Functions Local's format */
	struct slice responses; /* MockedResponses, or the plain map */
	struct slice test_case; /* state to response; no data: by name */
	uint32_t *calls;        /* of each state so far, by number */
	uint32_t calls_cap;
};

/* ---- one answer ---- */

static bool
get(struct slice map, const char *key, struct slice *out)
{
	return value_get(map, slice_of(key), out);
}

/* Either spelling, as Step Functions Local has capitals and others not. */
static bool
get_either(struct slice map, const char *key, const char *other,
	   struct slice *out)
{
	return get(map, key, out) || get(map, other, out);
}

static int
read_text(struct slice v, const char *what, struct slice *out,
	  struct error *err)
{
	if (value_type(v) != VALUE_STR) {
		error_set(err, "%s must be a string", what);
		return -EINVAL;
	}
	*out = value_item(v).bytes;
	return 0;
}

/* {"Error": …, "Cause": …} */
static int
read_failure(struct slice map, struct mock_answer *out, struct error *err)
{
	struct slice v;
	int rc;

	if (value_type(map) != VALUE_MAP ||
	    !get_either(map, "Error", "error", &v)) {
		error_set(err, "a throw needs {\"Error\": …, \"Cause\": …}");
		return -EINVAL;
	}
	rc = read_text(v, "Error", &out->error, err);
	if (rc == 0 && get_either(map, "Cause", "cause", &v) &&
	    value_type(v) != VALUE_NULL)
		rc = read_text(v, "Cause", &out->cause, err);
	return rc;
}

static bool
is_true(struct slice v)
{
	return value_type(v) == VALUE_BOOL && value_item(v).b;
}

int
mock_answer_read(struct slice answer, struct slice input,
		 struct mock_answer *out, struct error *err)
{
	struct mock_answer a = { .failed = false };
	struct slice v;
	int rc = 0;

	if (value_type(answer) != VALUE_MAP) {
		error_set(err, "an answer must be an object");
		return -EINVAL;
	}
	if (get_either(answer, "return", "Return", &v)) {
		/* A result has to fit where every other result fits. */
		rc = value_check(v, VALUE_DEPTH_MAX, err);
		a.value = v;
	} else if (get_either(answer, "throw", "Throw", &v)) {
		a.failed = true;
		rc = read_failure(v, &a, err);
	} else if (get_either(answer, "error", "Error", &v)) {
		a.failed = true;
		rc = read_failure(answer, &a, err);
	} else if (get(answer, "timeout", &v) && is_true(v)) {
		a.failed = true;
		a.error = SLICE_LITERAL("States.Timeout");
	} else if (get(answer, "echo", &v) && is_true(v)) {
		a.value = input;
	} else {
		error_set(err, "an answer needs one of \"return\", \"throw\", "
			       "\"error\", \"echo\": true, \"timeout\": true");
		rc = -EINVAL;
	}
	if (rc != 0)
		return -EINVAL;
	*out = a;
	return 0;
}

/* ---- checking the file ---- */

static void
place_error(const struct mocks *m, struct slice at, const char *where,
	    struct error *err)
{
	char text[sizeof(err->message)];

	err->line =
	    json_places_line(&m->places, (size_t)(at.data - m->bytes.data));
	memcpy(text, err->message, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	error_set(err, "mock \"%s\": %.300s", where, text);
}

/* "0" or "1-2"; false for anything else. */
static bool
parse_range(struct slice key, uint32_t *from_out, uint32_t *to_out)
{
	uint64_t numbers[2] = { 0, 0 };
	uint32_t n = 0;
	bool digit = false;

	for (size_t i = 0; i < key.len; i++) {
		uint8_t byte = key.data[i];

		if (byte >= '0' && byte <= '9') {
			numbers[n] = numbers[n] * 10 + (byte - '0');
			if (numbers[n] > CALLS_MAX)
				return false;
			digit = true;
		} else if (byte == '-' && n == 0 && digit) {
			n = 1;
			digit = false;
		} else {
			return false;
		}
	}
	*from_out = (uint32_t)numbers[0];
	*to_out = (uint32_t)numbers[n];
	return digit && *from_out <= *to_out;
}

/* A response of MockedResponses: attempts to answers. */
static int
check_attempts(const struct mocks *m, const char *name, struct slice response,
	       struct error *err)
{
	struct cursor c = cursor_of(response);
	uint32_t count = value_count(response);
	struct mock_answer answer;

	if (value_type(response) != VALUE_MAP || count == 0) {
		error_set(err, "expected an object of attempts: {\"0\": "
			       "{\"Return\": …}, \"1-2\": {\"Throw\": …}}");
		place_error(m, response, name, err);
		return -EINVAL;
	}
	cursor_next(&c);
	for (uint32_t n = 0; n < count; n++) {
		struct slice key = value_item(cursor_value(&c)).bytes;
		struct slice v = cursor_value(&c);
		uint32_t from, to;

		if (!parse_range(key, &from, &to)) {
			error_set(err,
				  "\"%.*s\" is no attempt; expected a "
				  "number from 0 or a range like \"1-2\"",
				  (int)(key.len < 60 ? key.len : 60),
				  (const char *)key.data);
			place_error(m, v, name, err);
			return -EINVAL;
		}
		if (mock_answer_read(v, SLICE_NONE, &answer, err) != 0) {
			place_error(m, v, name, err);
			return -EINVAL;
		}
	}
	return 0;
}

/* An answer of the plain map: one, or a sequence of them. */
static int
check_answer(const struct mocks *m, const char *name, struct slice answer,
	     struct error *err)
{
	struct mock_answer read;
	struct slice list, one;

	if (value_type(answer) != VALUE_MAP ||
	    !get(answer, "sequence", &list)) {
		if (mock_answer_read(answer, SLICE_NONE, &read, err) == 0)
			return 0;
		place_error(m, answer, name, err);
		return -EINVAL;
	}
	if (value_type(list) != VALUE_ARRAY || value_count(list) == 0) {
		error_set(err, "\"sequence\" must be an array that is not "
			       "empty");
		place_error(m, list, name, err);
		return -EINVAL;
	}
	for (uint32_t n = 0; value_at(list, n, &one); n++) {
		if (mock_answer_read(one, SLICE_NONE, &read, err) != 0) {
			place_error(m, one, name, err);
			return -EINVAL;
		}
	}
	return 0;
}

static int
check_responses(const struct mocks *m, struct error *err)
{
	struct cursor c = cursor_of(m->responses);
	uint32_t count = value_count(m->responses);
	int rc = 0;

	cursor_next(&c);
	for (uint32_t n = 0; n < count && rc == 0; n++) {
		struct slice key = value_item(cursor_value(&c)).bytes;
		struct slice v = cursor_value(&c);
		char *name = mem_strndup(key.data, key.len < 80 ? key.len : 80);

		rc = m->is_local ? check_attempts(m, name, v, err)
				 : check_answer(m, name, v, err);
		free(name);
	}
	return rc;
}

/* ---- choosing a test case ---- */

/* The pair of a map at a position. */
static void
pair_at(struct slice map, uint32_t position, struct slice *key, struct slice *v)
{
	struct cursor c = cursor_of(map);

	cursor_next(&c);
	for (uint32_t n = 0; n <= position; n++) {
		*key = value_item(cursor_value(&c)).bytes;
		*v = cursor_value(&c);
	}
}

/* The cases of one machine, or an empty slice. */
static struct slice
cases_of(struct slice machine)
{
	struct slice cases;

	if (value_type(machine) != VALUE_MAP ||
	    !get(machine, "TestCases", &cases) ||
	    value_type(cases) != VALUE_MAP)
		return SLICE_NONE;
	return cases;
}

/*
 * Finds "MACHINE/CASE", "CASE" or, for NULL, the first case: of the machine
 * that is called like the workflow, else of the first.
 */
static bool
find_case(struct slice machines, const char *wanted, const char *workflow,
	  struct slice *out)
{
	uint32_t count = value_count(machines);
	struct slice key, machine, cases, preferred = SLICE_NONE;

	for (uint32_t n = 0; n < count; n++) {
		size_t len;

		pair_at(machines, n, &key, &machine);
		cases = cases_of(machine);
		len = key.len;
		if (cases.len == 0)
			continue;
		if (preferred.len == 0 || slice_is(key, workflow))
			preferred = cases;
		if (wanted != NULL && strlen(wanted) > len &&
		    memcmp(wanted, key.data, len) == 0 && wanted[len] == '/' &&
		    get(cases, wanted + len + 1, out))
			return true;
	}
	if (preferred.len == 0)
		return false;
	if (wanted == NULL) {
		if (value_count(preferred) == 0)
			return false;
		pair_at(preferred, 0, &key, out);
		return true;
	}
	if (get(preferred, wanted, out))
		return true;
	for (uint32_t n = 0; n < count; n++) {
		pair_at(machines, n, &key, &machine);
		cases = cases_of(machine);
		if (cases.len != 0 && get(cases, wanted, out))
			return true;
		if (cases.len != 0 && slice_is(key, wanted) &&
		    value_count(cases) > 0) {
			pair_at(cases, 0, &key, out);
			return true;
		}
	}
	return false;
}

/* Every state's response of the chosen case must exist. */
static int
check_case(const struct mocks *m, struct error *err)
{
	uint32_t count = value_count(m->test_case);

	if (value_type(m->test_case) != VALUE_MAP) {
		error_set(err, "a test case must be an object from state to "
			       "response");
		return -EINVAL;
	}
	for (uint32_t n = 0; n < count; n++) {
		struct slice key, v, response;

		pair_at(m->test_case, n, &key, &v);
		if (value_type(v) == VALUE_STR &&
		    value_get(m->responses, value_item(v).bytes, &response))
			continue;
		error_set(err,
			  "the test case names a response for state "
			  "\"%.*s\" that MockedResponses does not have",
			  (int)(key.len < 80 ? key.len : 80),
			  (const char *)key.data);
		err->line = json_places_line(&m->places,
					     (size_t)(v.data - m->bytes.data));
		return -EINVAL;
	}
	return 0;
}

static int
read_local(struct mocks *m, struct slice file, const char *test_case,
	   const char *workflow, struct error *err)
{
	struct slice machines;

	m->is_local = true;
	if (!get(file, "MockedResponses", &m->responses) ||
	    value_type(m->responses) != VALUE_MAP) {
		error_set(err, "there is no object MockedResponses");
		return -EINVAL;
	}
	if (!get(file, "StateMachines", &machines)) {
		if (test_case == NULL)
			return check_responses(m, err);
		error_set(err,
			  "there are no StateMachines to choose the test "
			  "case \"%s\" from",
			  test_case);
		return -EINVAL;
	}
	if (value_type(machines) != VALUE_MAP ||
	    !find_case(machines, test_case, workflow, &m->test_case)) {
		if (test_case != NULL)
			error_set(err, "there is no test case \"%s\"",
				  test_case);
		else
			error_set(err, "StateMachines has no TestCases");
		return -EINVAL;
	}
	if (check_responses(m, err) != 0)
		return -EINVAL;
	return check_case(m, err);
}

struct mocks *
mocks_parse(const char *text, size_t len, const char *test_case,
	    const char *workflow, struct error *err)
{
	struct mocks *m = mem_zalloc(sizeof(*m));
	struct slice file, unused;
	int rc;

	m->magic = MOCKS_MAGIC;
	rc = json_parse(text, len, DEFINITION_DEPTH_MAX, &m->bytes, &m->places,
			err);
	if (rc != 0)
		goto fail;
	file = buf_slice(&m->bytes);
	if (value_type(file) != VALUE_MAP) {
		error_set(err, "mocks must be an object");
		goto fail;
	}
	if (get(file, "MockedResponses", &unused) ||
	    get(file, "StateMachines", &unused)) {
		rc = read_local(m, file, test_case, workflow, err);
	} else if (test_case != NULL) {
		error_set(err, "a plain map of mocks has no test cases");
		rc = -EINVAL;
	} else {
		m->responses = file;
		rc = check_responses(m, err);
	}
	if (rc == 0)
		return m;
fail:
	mocks_destroy(&m);
	return NULL;
}

void
mocks_destroy(struct mocks **mp)
{
	struct mocks *m = *mp;

	if (m == NULL)
		return;
	*mp = NULL;
	CHECK_OBJ(m, MOCKS_MAGIC);
	buf_fini(&m->bytes);
	json_places_fini(&m->places);
	free(m->calls);
	m->magic = 0;
	free(m);
}

/* ---- asking ---- */

/* How often the state was called before; counts this call. */
static uint32_t
count_call(struct mocks *m, uint32_t state_no)
{
	if (state_no >= m->calls_cap) {
		uint32_t cap = state_no + 64;

		m->calls = mem_realloc(m->calls, cap * sizeof(*m->calls));
		memset(m->calls + m->calls_cap, 0,
		       (cap - m->calls_cap) * sizeof(*m->calls));
		m->calls_cap = cap;
	}
	return m->calls[state_no]++;
}

/* By Resource, by the action in it, by the state's name: the first found. */
static bool
find_response(const struct mocks *m, const struct mock_question *q,
	      struct slice *out)
{
	struct slice name;

	if (m->test_case.data != NULL)
		return value_get(m->test_case, q->state, &name) &&
		       value_get(m->responses, value_item(name).bytes, out);
	if (m->is_local && value_get(m->responses, q->state, out))
		return true;
	return value_get(m->responses, q->resource, out) ||
	       value_get(m->responses, q->action, out) ||
	       value_get(m->responses, q->state, out);
}

/* The answer for that call; behind the last range, the last one's. */
static struct slice
answer_of_attempt(struct slice response, uint32_t call)
{
	struct cursor c = cursor_of(response);
	uint32_t count = value_count(response);
	struct slice best = SLICE_NONE;
	uint32_t best_to = 0;

	cursor_next(&c);
	for (uint32_t n = 0; n < count; n++) {
		struct slice key = value_item(cursor_value(&c)).bytes;
		struct slice v = cursor_value(&c);
		uint32_t from, to;

		if (!parse_range(key, &from, &to))
			continue;
		if (call >= from && call <= to)
			return v;
		if (best.data == NULL || to > best_to) {
			best = v;
			best_to = to;
		}
	}
	return best;
}

static struct slice
answer_of_sequence(struct slice list, uint32_t position)
{
	uint32_t count = value_count(list);
	struct slice answer = SLICE_NONE;

	ASSERT(
	    value_at(list, position < count ? position : count - 1, &answer));
	return answer;
}

bool
mocks_ask(struct mocks *m, const struct mock_question *q,
	  struct mock_answer *out)
{
	struct slice answer, list;
	uint32_t call;
	int rc;

	CHECK_OBJ(m, MOCKS_MAGIC);
	if (!find_response(m, q, &answer))
		return false;
	call = count_call(m, q->state_no);
	if (m->is_local) {
		answer = answer_of_attempt(answer, call);
	} else if (get(answer, "sequence", &list)) {
		/*
		 * A state that polls comes back to its task as a new first
		 * attempt and still expects the next answer. Inside Map and
		 * Parallel the items are mixed, so there the attempt counts.
		 */
		answer = answer_of_sequence(list, q->is_inside ? q->attempt - 1
							       : call);
	}
	rc = mock_answer_read(answer, q->input, out, NULL);
	ASSERT(rc == 0); /* checked when the file was read */
	return true;
}
