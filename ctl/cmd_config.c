/*
 * cmd_config - which settings hold, and where each came from.
 */
#include <stdio.h>

#include "common/conninfo.h"
#include "common/json.h"
#include "ctl/ctl.h"
#include "ctl/json_out.h"
#include "ctl/out.h"
#include "ctl/target.h"

static void
show_json(const struct target *t)
{
	struct json_out j = JSON_OUT_EMPTY;
	struct buf masked = BUF_EMPTY;

	json_out_open(&j, NULL, '{');
	json_out_text(&j, "file", t->config_file);
	json_out_text(&j, "dir", t->dir);
	json_out_text(&j, "dir_origin", t->dir_origin);
	if (t->conninfo != NULL)
		conninfo_mask(t->conninfo, &masked);
	json_out_text(&j, "database",
		      t->conninfo != NULL ? buf_text(&masked) : NULL);
	json_out_text(&j, "database_origin", t->conninfo_origin);
	json_out_close(&j, '}');
	out_json(&j);
	buf_fini(&masked);
}

int
cmd_config_show(struct ctl *c)
{
	struct config config;
	struct target t;
	int rc = target_load(c, &config, &t);

	if (rc != CTL_OK)
		return rc;
	if (out_is_json(c)) {
		show_json(&t);
	} else {
		printf("# file: %s\n",
		       t.config_file != NULL ? t.config_file : "none");
		printf("# directory from %s, database from %s\n", t.dir_origin,
		       t.conninfo != NULL ? t.conninfo_origin : "nowhere");
		config_print(&config, stdout);
	}
	config_fini(&config);
	target_fini(&t);
	return CTL_OK;
}

int
cmd_config_check(struct ctl *c)
{
	struct config config;
	struct target t;
	int rc = target_load(c, &config, &t);

	if (rc != CTL_OK)
		return rc;
	if (t.config_file != NULL)
		note(c, "%s is good", t.config_file);
	else
		note(c, "there is no configuration file; the built-in values "
			"and the environment are good");
	if (t.conninfo == NULL)
		note(c, "no database is configured");
	config_fini(&config);
	target_fini(&t);
	return CTL_OK;
}
