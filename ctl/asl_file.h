/*
 * asl_file - a definition from a file: read, parsed, its errors shown.
 */
#ifndef CTL_ASL_FILE_H
#define CTL_ASL_FILE_H

#include "ctl/ctl.h"
#include "engine/definition.h"

/*
 * Reads and checks the definition in path. On errors prints all of them as
 * FILE:LINE: state "X", field "Y": message, with --json also as {"errors":…}
 * on stdout; exit code 1. text_out may be NULL; the caller releases both.
 */
int asl_file_load(const struct ctl *c, const char *path,
		  struct definition **out, struct buf *text_out) MUST_CHECK;

#endif
