/* timestamp - RFC 3339 dates; see timestamp.h. */
#include "engine/timestamp.h"

#include <errno.h>
#include <stdbool.h>

#define SECOND_US INT64_C(1000000)
#define DAY_SECONDS INT64_C(86400)

/* Days since 1970-01-01 in the Gregorian calendar; years from March on. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year =
	    (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 +
	       of_year - 719468;
}

static void
date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t of_era = z - era * 146097;
	int64_t y =
	    (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = y + era * 400 + (*month <= 2);
}

static int64_t
month_days(int64_t year, int64_t month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30,
					31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* Takes count digits and then, unless it is 0, the character behind them. */
static bool
take_digits(struct slice *s, uint32_t count, char behind, int64_t *out)
{
	size_t len = count + (behind != '\0');
	int64_t v = 0;

	if (s->len < len)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (s->data[i] < '0' || s->data[i] > '9')
			return false;
		v = v * 10 + (s->data[i] - '0');
	}
	if (behind != '\0' && s->data[count] != (uint8_t)behind)
		return false;
	s->data += len;
	s->len -= len;
	*out = v;
	return true;
}

/* Behind a '.'; what is finer than a microsecond is cut off. */
static bool
take_fraction(struct slice *s, int64_t *us_out)
{
	int64_t us = 0, unit = SECOND_US / 10;
	size_t n = 0;

	for (; n < s->len && s->data[n] >= '0' && s->data[n] <= '9'; n++) {
		us += (s->data[n] - '0') * unit;
		unit /= 10;
	}
	s->data += n;
	s->len -= n;
	*us_out = us;
	return n > 0;
}

/* "Z" or "+01:00", and nothing behind it. */
static bool
take_offset(struct slice *s, int64_t *seconds_out)
{
	int64_t hours, minutes, sign;

	if (s->len == 1 && s->data[0] == 'Z') {
		*seconds_out = 0;
		return true;
	}
	if (s->len == 0 || (s->data[0] != '+' && s->data[0] != '-'))
		return false;
	sign = s->data[0] == '-' ? -1 : 1;
	s->data++;
	s->len--;
	if (!take_digits(s, 2, ':', &hours) ||
	    !take_digits(s, 2, '\0', &minutes) || s->len != 0 || hours > 23 ||
	    minutes > 59)
		return false;
	*seconds_out = sign * (hours * 3600 + minutes * 60);
	return true;
}

int
timestamp_parse(struct slice text, int64_t *us_out)
{
	struct slice s = text;
	int64_t year, month, day, hour, minute, second, us = 0, offset, at;

	if (!take_digits(&s, 4, '-', &year) ||
	    !take_digits(&s, 2, '-', &month) ||
	    !take_digits(&s, 2, 'T', &day) || !take_digits(&s, 2, ':', &hour) ||
	    !take_digits(&s, 2, ':', &minute) ||
	    !take_digits(&s, 2, '\0', &second))
		return -EINVAL;
	if (s.len > 0 && s.data[0] == '.') {
		s.data++;
		s.len--;
		if (!take_fraction(&s, &us))
			return -EINVAL;
	}
	if (!take_offset(&s, &offset) || month < 1 || month > 12 || day < 1 ||
	    day > month_days(year, month) || hour > 23 || minute > 59 ||
	    second > 60)
		return -EINVAL;
	at = days_of(year, month, day) * DAY_SECONDS + hour * 3600 +
	     minute * 60 - offset;
	/* A leap second is only ever the last one of a day in UTC. */
	if (second == 60 && ((at + 60) % DAY_SECONDS) != 0)
		return -EINVAL;
	*us_out = (at + second) * SECOND_US + us;
	return 0;
}

/* At least width digits; returns where the text ends. */
static char *
put_digits(char *at, int64_t v, int width)
{
	char digits[20];
	int n = 0;

	for (; v > 0 || n < width; v /= 10)
		digits[n++] = (char)('0' + v % 10);
	while (n > 0)
		*at++ = digits[--n];
	return at;
}

void
timestamp_text(int64_t us, char text[TIMESTAMP_TEXT_SIZE])
{
	int64_t days = us / (DAY_SECONDS * SECOND_US);
	int64_t rest = us % (DAY_SECONDS * SECOND_US);
	int64_t year, month, day;
	char *at = text;

	if (rest < 0) {
		rest += DAY_SECONDS * SECOND_US;
		days--;
	}
	date_of(days, &year, &month, &day);
	if (year < 0) {
		*at++ = '-';
		year = -year;
	}
	at = put_digits(at, year, 4);
	*at++ = '-';
	at = put_digits(at, month, 2);
	*at++ = '-';
	at = put_digits(at, day, 2);
	*at++ = 'T';
	at = put_digits(at, rest / (3600 * SECOND_US), 2);
	*at++ = ':';
	at = put_digits(at, rest / (60 * SECOND_US) % 60, 2);
	*at++ = ':';
	at = put_digits(at, rest / SECOND_US % 60, 2);
	*at++ = '.';
	at = put_digits(at, rest % SECOND_US / 1000, 3);
	*at++ = 'Z';
	*at = '\0';
}
