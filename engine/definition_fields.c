/*
 * definition_fields - the fields of states and of the other objects in a
 * definition: which there are, who may have them, and how each kind is read.
 */
#include "engine/definition_parser.h"

#include <math.h>
#include <string.h>

#include "engine/path.h"
#include "engine/place.h"
#include "engine/template.h"

#define OF(type) (1U << (type))
#define TASK OF(STATE_TASK)
#define PASS OF(STATE_PASS)
#define CHOICE OF(STATE_CHOICE)
#define WAIT OF(STATE_WAIT)
#define SUCCEED OF(STATE_SUCCEED)
#define FAIL OF(STATE_FAIL)
#define PARALLEL OF(STATE_PARALLEL)
#define MAP OF(STATE_MAP)
#define ANY_STATE (OF(STATE_TYPES) - 1)
#define MACHINES \
	(OF(OWNER_DEFINITION) | OF(OWNER_PROCESSOR) | OF(OWNER_BRANCH))
#define RETRIER OF(OWNER_RETRIER)
#define CATCHER OF(OWNER_CATCHER)

static const char jsonata[] =
    "belongs to QueryLanguage JSONata, which is not supported yet";
static const char variables[] =
    "assigns variables, which are not supported yet";

static const struct field_kind {
	const char *name;
	uint32_t owners;
	const char *refusal; /* why it is not supported */
} kinds[FIELDS] = {
	[FIELD_TYPE] = { "Type", ANY_STATE, NULL },
	[FIELD_COMMENT] = { "Comment", OF(OWNERS) - 1, NULL },
	[FIELD_QUERY_LANGUAGE] = { "QueryLanguage",
	    ANY_STATE | OF(OWNER_DEFINITION), NULL },
	[FIELD_NEXT] = { "Next",
	    TASK | PASS | WAIT | PARALLEL | MAP | CATCHER, NULL },
	[FIELD_END] = { "End", TASK | PASS | WAIT | PARALLEL | MAP, NULL },
	[FIELD_INPUT_PATH] = { "InputPath", ANY_STATE & ~FAIL, NULL },
	[FIELD_OUTPUT_PATH] = { "OutputPath", ANY_STATE & ~FAIL, NULL },
	[FIELD_RESULT_PATH] = { "ResultPath",
	    TASK | PASS | PARALLEL | MAP | CATCHER, NULL },
	[FIELD_PARAMETERS] = { "Parameters", TASK | PASS | PARALLEL | MAP,
	    NULL },
	[FIELD_RESULT_SELECTOR] = { "ResultSelector", TASK | PARALLEL | MAP,
	    NULL },
	[FIELD_RETRY] = { "Retry", TASK | PARALLEL | MAP, NULL },
	[FIELD_CATCH] = { "Catch", TASK | PARALLEL | MAP, NULL },
	[FIELD_RESOURCE] = { "Resource", TASK, NULL },
	[FIELD_TIMEOUT_SECONDS] = { "TimeoutSeconds",
	    TASK | OF(OWNER_DEFINITION), NULL },
	[FIELD_TIMEOUT_SECONDS_PATH] = { "TimeoutSecondsPath", TASK, NULL },
	[FIELD_HEARTBEAT_SECONDS] = { "HeartbeatSeconds", TASK, NULL },
	[FIELD_HEARTBEAT_SECONDS_PATH] = { "HeartbeatSecondsPath", TASK,
	    NULL },
	[FIELD_CREDENTIALS] = { "Credentials", TASK, "is not supported" },
	[FIELD_RESULT] = { "Result", PASS, NULL },
	[FIELD_CHOICES] = { "Choices", CHOICE, NULL },
	[FIELD_DEFAULT] = { "Default", CHOICE, NULL },
	[FIELD_SECONDS] = { "Seconds", WAIT, NULL },
	[FIELD_SECONDS_PATH] = { "SecondsPath", WAIT, NULL },
	[FIELD_TIMESTAMP] = { "Timestamp", WAIT, NULL },
	[FIELD_TIMESTAMP_PATH] = { "TimestampPath", WAIT, NULL },
	[FIELD_ERROR] = { "Error", FAIL, NULL },
	[FIELD_ERROR_PATH] = { "ErrorPath", FAIL, NULL },
	[FIELD_CAUSE] = { "Cause", FAIL, NULL },
	[FIELD_CAUSE_PATH] = { "CausePath", FAIL, NULL },
	[FIELD_BRANCHES] = { "Branches", PARALLEL, NULL },
	[FIELD_ITEM_PROCESSOR] = { "ItemProcessor", MAP, NULL },
	[FIELD_ITERATOR] = { "Iterator", MAP, NULL },
	[FIELD_ITEMS_PATH] = { "ItemsPath", MAP, NULL },
	[FIELD_ITEM_SELECTOR] = { "ItemSelector", MAP, NULL },
	[FIELD_MAX_CONCURRENCY] = { "MaxConcurrency", MAP, NULL },
	[FIELD_MAX_CONCURRENCY_PATH] = { "MaxConcurrencyPath", MAP, NULL },
	[FIELD_TOLERATED_COUNT] = { "ToleratedFailureCount", MAP, NULL },
	[FIELD_TOLERATED_COUNT_PATH] = { "ToleratedFailureCountPath", MAP,
	    NULL },
	[FIELD_TOLERATED_PERCENT] = { "ToleratedFailurePercentage", MAP,
	    NULL },
	[FIELD_TOLERATED_PERCENT_PATH] = { "ToleratedFailurePercentagePath",
	    MAP, NULL },
	[FIELD_LABEL] = { "Label", MAP, NULL },
	[FIELD_ITEM_READER] = { "ItemReader", MAP, "is not supported yet" },
	[FIELD_ITEM_BATCHER] = { "ItemBatcher", MAP, "is not supported yet" },
	[FIELD_RESULT_WRITER] = { "ResultWriter", MAP,
	    "is not supported yet" },
	[FIELD_ASSIGN] = { "Assign", ANY_STATE | CATCHER, variables },
	[FIELD_OUTPUT] = { "Output", ANY_STATE | CATCHER, jsonata },
	[FIELD_ARGUMENTS] = { "Arguments", TASK | PARALLEL, jsonata },
	[FIELD_ITEMS] = { "Items", MAP, jsonata },
	[FIELD_STATES] = { "States", MACHINES, NULL },
	[FIELD_START_AT] = { "StartAt", MACHINES, NULL },
	[FIELD_VERSION] = { "Version", OF(OWNER_DEFINITION), NULL },
	[FIELD_PROCESSOR_CONFIG] = { "ProcessorConfig", OF(OWNER_PROCESSOR),
	    NULL },
	[FIELD_MODE] = { "Mode", OF(OWNER_PROCESSOR_CONFIG), NULL },
	[FIELD_EXECUTION_TYPE] = { "ExecutionType",
	    OF(OWNER_PROCESSOR_CONFIG), NULL },
	[FIELD_ERROR_EQUALS] = { "ErrorEquals", RETRIER | CATCHER, NULL },
	[FIELD_INTERVAL_SECONDS] = { "IntervalSeconds", RETRIER, NULL },
	[FIELD_MAX_ATTEMPTS] = { "MaxAttempts", RETRIER, NULL },
	[FIELD_BACKOFF_RATE] = { "BackoffRate", RETRIER, NULL },
	[FIELD_MAX_DELAY_SECONDS] = { "MaxDelaySeconds", RETRIER, NULL },
	[FIELD_JITTER_STRATEGY] = { "JitterStrategy", RETRIER, NULL },
};

_Static_assert(FIELDS <= 64, "struct fields.seen has a bit a field");

const char *
field_name(enum field f)
{
	ASSERT(f < FIELDS);
	return kinds[f].name;
}

/* "a Task state", for messages. */
static const char *
owner_text(unsigned owner, char text[32])
{
	switch (owner) {
	case OWNER_DEFINITION:
		return "a definition";
	case OWNER_PROCESSOR:
		return "an ItemProcessor";
	case OWNER_BRANCH:
		return "a branch";
	case OWNER_PROCESSOR_CONFIG:
		return "a ProcessorConfig";
	case OWNER_RETRIER:
		return "a retrier";
	case OWNER_CATCHER:
		return "a catcher";
	default:
		break;
	}

	const char *type = state_type_name((enum state_type)owner);
	char *to = text;

	to = stpcpy(to, "a ");
	to = stpcpy(to, type);
	stpcpy(to, " state");
	return text;
}

static uint8_t
field_hash(const uint8_t *name, size_t len)
{
	return (uint8_t)(len * 29U + name[0] * 3U + name[len - 1] * 7U +
	                 name[len / 2] * 11U);
}

void
fields_init(struct parser *p)
{
	memset(p->field_index, 0, sizeof(p->field_index));
	for (unsigned f = 0; f < FIELDS; f++) {
		const char *name = kinds[f].name;
		uint8_t at = field_hash((const uint8_t *)name, strlen(name));

		while (p->field_index[at] != 0)
			at++;
		p->field_index[at] = (uint8_t)(f + 1);
	}
}

static enum field
field_find(const struct parser *p, struct slice name)
{
	if (name.len == 0)
		return FIELDS;
	for (uint8_t at = field_hash(name.data, name.len);
	     p->field_index[at] != 0; at++) {
		unsigned f = p->field_index[at] - 1U;

		if (slice_is(name, kinds[f].name))
			return (enum field)f;
	}
	return FIELDS;
}

void
fields_read(struct parser *p, struct slice object, unsigned owner,
            struct fields *out)
{
	struct cursor c = cursor_of(object);
	uint32_t count = cursor_next(&c).count;
	char text[32];

	out->object = object;
	out->seen = 0;
	for (uint32_t n = 0; n < count; n++) {
		struct slice key = cursor_next(&c).bytes;
		struct slice value = cursor_value(&c);
		enum field f = field_find(p, key);
		char name[sizeof(((struct error *)0)->field)];

		if (f == FIELDS) {
			int len = place_len(key, sizeof(name) - 1);

			if (len > 0)
				memcpy(name, key.data, (size_t)len);
			name[len] = '\0';
			parser_error(p, name, parser_line(p, value),
			             "%s has no such field",
			             owner_text(owner, text));
			continue;
		}
		if (fields_have(out, f))
			parser_error(p, kinds[f].name, parser_line(p, value),
			             "is there twice");
		out->seen |= UINT64_C(1) << f;
		out->at[f] = value;
		if ((kinds[f].owners & OF(owner)) == 0)
			field_error(p, out, f, "%s has no such field",
			            owner_text(owner, text));
		else if (kinds[f].refusal != NULL)
			field_error(p, out, f, "%s", kinds[f].refusal);
	}
	if (fields_have(out, FIELD_COMMENT) &&
	    value_type(out->at[FIELD_COMMENT]) != VALUE_STR)
		field_error(p, out, FIELD_COMMENT, "must be a string");
	if (fields_have(out, FIELD_QUERY_LANGUAGE) &&
	    !value_is_str(out->at[FIELD_QUERY_LANGUAGE], "JSONPath")) {
		if (value_is_str(out->at[FIELD_QUERY_LANGUAGE], "JSONata"))
			field_error(p, out, FIELD_QUERY_LANGUAGE,
			            "JSONata is not supported yet, only "
			            "JSONPath");
		else
			field_error(p, out, FIELD_QUERY_LANGUAGE,
			            "must be \"JSONPath\"");
	}
}

bool
field_string(struct parser *p, const struct fields *fs, enum field f,
             struct slice *out)
{
	if (!fields_have(fs, f))
		return false;
	if (value_type(fs->at[f]) != VALUE_STR) {
		field_error(p, fs, f, "must be a string");
		return false;
	}
	*out = value_item(fs->at[f]).bytes;
	return true;
}

bool
field_bool(struct parser *p, const struct fields *fs, enum field f, bool *out)
{
	if (!fields_have(fs, f))
		return false;
	if (value_type(fs->at[f]) != VALUE_BOOL) {
		field_error(p, fs, f, "must be true or false");
		return false;
	}
	*out = value_item(fs->at[f]).b;
	return true;
}

/* JSON knows no integers: 3.0 is as good as 3. */
static bool
whole_number(struct item item, int64_t *out)
{
	if (item.type == VALUE_INT) {
		*out = item.i;
		return true;
	}
	if (item.type != VALUE_DOUBLE || item.d != floor(item.d) ||
	    fabs(item.d) > 9e15)
		return false;
	*out = (int64_t)item.d;
	return true;
}

bool
field_integer(struct parser *p, const struct fields *fs, enum field f,
              int64_t min, int64_t max, int64_t *out)
{
	int64_t number;

	if (!fields_have(fs, f))
		return false;
	if (!whole_number(value_item(fs->at[f]), &number)) {
		field_error(p, fs, f, "must be an integer");
		return false;
	}
	if (number < min || number > max) {
		field_error(p, fs, f, "must be from %lld to %lld",
		            (long long)min, (long long)max);
		return false;
	}
	*out = number;
	return true;
}

bool
field_path(struct parser *p, const struct fields *fs, enum field f,
           enum path_kind kind, struct path **out)
{
	struct slice text;
	struct error err;
	struct path *path;

	if (!field_string(p, fs, f, &text))
		return false;
	error_clear(&err);
	path = path_compile(text, kind, &err);
	if (path == NULL) {
		field_error(p, fs, f, "%s", err.message);
		return false;
	}
	*out = path;
	return true;
}

void
field_path_or_null(struct parser *p, const struct fields *fs, enum field f,
                   enum path_kind kind, struct path_field *out)
{
	if (!fields_have(fs, f))
		return;
	if (value_type(fs->at[f]) == VALUE_NULL) {
		out->discard = true;
		return;
	}
	/* "$" is what holds without the field; no need to walk it. */
	if (value_is_str(fs->at[f], "$"))
		return;
	field_path(p, fs, f, kind, &out->path);
	if (f == FIELD_RESULT_PATH && out->path != NULL &&
	    path_wants_context(out->path))
		field_error(p, fs, f, "must not begin with \"$$\": nothing "
		            "can be put into the context object");
}

void
field_template(struct parser *p, const struct fields *fs, enum field f,
               struct template **out)
{
	size_t wrong = 0;
	struct error err;

	if (!fields_have(fs, f))
		return;
	if (value_type(fs->at[f]) != VALUE_MAP) {
		field_error(p, fs, f, "must be an object");
		return;
	}
	if (*out != NULL) /* the other name of the same field came first */
		return;
	error_clear(&err);
	*out = template_compile(fs->at[f], &wrong, &err);
	if (*out == NULL)
		parser_error(p, field_name(f),
		             parser_line(p, slice_behind(fs->at[f], wrong)),
		             "\"%s\": %s", err.field, err.message);
}

void
field_number(struct parser *p, const struct fields *fs, enum field f,
             enum field path, int64_t min, int64_t max,
             struct number_field *out)
{
	if (fields_have(fs, f) && fields_have(fs, path)) {
		field_error(p, fs, path, "there is %s already",
		            field_name(f));
		return;
	}
	out->given = field_integer(p, fs, f, min, max, &out->number) ||
	    field_path(p, fs, path, PATH_REFERENCE, &out->path);
}

/* An intrinsic function alone is a template with one key. */
static void
text_function(struct parser *p, const struct fields *fs, enum field f,
              struct slice text, struct text_field *out)
{
	struct buf b = BUF_EMPTY;
	struct error err;

	value_pack_map(&b, 1);
	value_pack_text(&b, "v.$");
	value_pack_str(&b, text.data, text.len);
	error_clear(&err);
	out->template = template_compile(buf_slice(&b), NULL, &err);
	if (out->template == NULL)
		field_error(p, fs, f, "%s", err.message);
	buf_fini(&b);
}

void
field_text(struct parser *p, const struct fields *fs, enum field f,
           enum field path, struct text_field *out)
{
	struct slice text;

	if (fields_have(fs, f) && fields_have(fs, path)) {
		field_error(p, fs, path, "there is %s already",
		            field_name(f));
		return;
	}
	if (field_string(p, fs, f, &text))
		out->text = parser_text(p, text);
	if (!field_string(p, fs, path, &text))
		return;
	if (text.len > 0 && text.data[0] == '$')
		field_path(p, fs, path, PATH_REFERENCE, &out->path);
	else
		text_function(p, fs, path, text, out);
}

/* The parts of a context object that text may look at, "$$" included. */
static uint8_t
context_of(struct slice text)
{
	static const struct {
		const char *prefix;
		uint8_t parts;
	} known[] = {
		{ "$$.Execution.Id", CONTEXT_EXECUTION },
		{ "$$.Execution.Name", CONTEXT_EXECUTION },
		{ "$$.Execution.StartTime", CONTEXT_EXECUTION },
		{ "$$.Execution.Input", CONTEXT_INPUT },
		{ "$$.State.", CONTEXT_STATE },
		{ "$$.StateMachine.", CONTEXT_MACHINE },
		{ "$$.Map.Item.Index", CONTEXT_INDEX },
		{ "$$.Map.Item.Value", CONTEXT_ITEM },
		{ "$$.Task.", CONTEXT_TASK },
	};
	const uint8_t *at = text.data;
	const uint8_t *end = text.data + text.len;
	uint8_t parts = 0;
	/* Behind a ?, "$" is the whole object that the path begins at. */
	bool filters = text.len > 0 && memchr(at, '?', text.len) != NULL;

	while (at < end && (at = memchr(at, '$', (size_t)(end - at))) != NULL) {
		size_t left = (size_t)(end - at);
		uint8_t found = CONTEXT_ALL;

		if (left < 2 || at[1] != '$') {
			at++;
			continue;
		}
		for (size_t n = 0; n < sizeof(known) / sizeof(known[0]); n++) {
			size_t len = strlen(known[n].prefix);

			if (!filters && left >= len &&
			    memcmp(at, known[n].prefix, len) == 0) {
				found = known[n].parts;
				break;
			}
		}
		parts |= found;
		at += 2;
	}
	return parts;
}

uint8_t
field_context(const struct fields *fs, enum field f)
{
	return fields_have(fs, f) ? context_of(fs->at[f]) : 0;
}
