/*
 * migrations - the numbered SQL files of this folder, carried in the binary.
 *
 * Version N of the schema works with daemons made for N and for N-1.
 */
#ifndef SCHEMA_MIGRATIONS_H
#define SCHEMA_MIGRATIONS_H

#include <stdint.h>

/* The version this build was made for: the number of the last file. */
#define SCHEMA_VERSION 2

struct schema_migration {
	int version; /* 1-based, without gaps */
	const char *name;
	const char *sql; /* run in one transaction; records itself */
};

/* SCHEMA_VERSION of them, by rising version. */
extern const struct schema_migration schema_migrations[SCHEMA_VERSION];

#endif
