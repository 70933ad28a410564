/*
 * dev_cluster - where the private cluster lies and what state it is in.
 */
#include "supervisor/dev_cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/mem.h"
#include "supervisor/reap.h"

#define BIN_PARENT "/usr/lib/postgresql"
#define VERSION_MIN 14
#define CONFIG_MARK "# Written by rappeld --dev at every start.\n"

static char *
path_of(const char *dir, const char *name)
{
	struct buf b = BUF_EMPTY;

	buf_printf(&b, "%s/%s", dir, name);
	return buf_text(&b);
}

/* Up to size - 1 bytes of a small file, ended by NUL; -1 if there is none. */
static ssize_t
read_small(const char *dir, const char *name, char *text, size_t size)
{
	char *path = path_of(dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = -1;

	free(path);
	if (fd < 0)
		return -1;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

/* ---- the programs ---- */

static bool
has_programs(const char *bin)
{
	char *postgres = path_of(bin, "postgres");
	char *initdb = path_of(bin, "initdb");
	bool both = access(postgres, X_OK) == 0 && access(initdb, X_OK) == 0;

	free(postgres);
	free(initdb);
	return both;
}

/* BIN_PARENT/N/bin of that version, or of the newest when it is 0. */
static char *
debian_bin(int version)
{
	DIR *parent = opendir(BIN_PARENT);
	struct dirent *e;
	char *best = NULL;
	int best_version = 0;

	if (parent == NULL)
		return NULL;
	while ((e = readdir(parent)) != NULL) {
		int v = atoi(e->d_name);
		char path[PATH_MAX];

		if (v < VERSION_MIN || v <= best_version ||
		    (version != 0 && v != version))
			continue;
		snprintf(path, sizeof(path), "%s/%d/bin", BIN_PARENT, v);
		if (!has_programs(path))
			continue;
		free(best);
		best = mem_strdup(path);
		best_version = v;
	}
	closedir(parent);
	return best;
}

/* A folder of $PATH, where other systems have them. */
static char *
path_bin(void)
{
	const char *path = getenv("PATH");
	char *copy = mem_strdup(path != NULL ? path : "");
	char *save = NULL, *found = NULL;

	for (char *p = strtok_r(copy, ":", &save); p != NULL && found == NULL;
	     p = strtok_r(NULL, ":", &save)) {
		if (has_programs(p))
			found = mem_strdup(p);
	}
	free(copy);
	return found;
}

static int
find_programs(struct dev_cluster *c, struct error *err)
{
	char text[32];
	int version = 0;

	if (read_small(c->data, "PG_VERSION", text, sizeof(text)) > 0)
		version = atoi(text);
	c->bin = debian_bin(version);
	if (c->bin == NULL)
		c->bin = path_bin();
	if (c->bin != NULL)
		return 0;
	if (version != 0)
		error_set(err,
		          "%s was made by PostgreSQL %d, which is not "
		          "installed here",
		          c->data, version);
	else
		error_set(err,
		          "--dev needs PostgreSQL %d or later (the Debian "
		          "package \"postgresql\"), or name a database with "
		          "RAPPEL_DATABASE_URL",
		          VERSION_MIN);
	return EXIT_CONFIG;
}

/* ---- directories ---- */

/* Root may not run PostgreSQL: the user that Debian made for it does. */
static int
find_user(struct dev_cluster *c, struct error *err)
{
	int rc;

	c->uid = geteuid();
	c->gid = getegid();
	if (c->uid != 0)
		return 0;
	rc = account_open(&c->account, "postgres");
	if (rc == -ENOENT) {
		error_set(err,
		          "PostgreSQL does not run as root and there is no "
		          "user \"postgres\"; install the package "
		          "\"postgresql\" or run rappeld as another user");
		return EXIT_CONFIG;
	}
	if (rc < 0) {
		error_set(err, "the user \"postgres\" cannot be looked up: %s",
		          strerror(-rc));
		return EXIT_FAILURE;
	}
	c->uid = c->account.uid;
	c->gid = c->account.gid;
	return 0;
}

/* A folder of that user's alone. 0 or -errno. */
static int
own_folder(const struct dev_cluster *c, const char *path)
{
	struct stat st;
	int fd, rc = 0;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 ||
	    ((st.st_uid != c->uid || st.st_gid != c->gid) &&
	     fchown(fd, c->uid, c->gid) != 0) ||
	    ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) != 0))
		rc = -errno;
	close(fd);
	return rc;
}

int
dev_cluster_open(struct dev_cluster *c, const char *dir, struct error *err)
{
	struct buf conninfo = BUF_EMPTY;
	struct sockaddr_un addr;
	int rc;

	memset(c, 0, sizeof(*c));
	/* PostgreSQL and libpq read lists and quotes into these. */
	if (strpbrk(dir, ",\"'\\\n") != NULL) {
		error_set(err,
		          "--dev: the directory's path must not hold commas, "
		          "quotes or backslashes: %.200s",
		          dir);
		return EXIT_CONFIG;
	}
	c->dir = mem_strdup(dir);
	c->data = path_of(dir, "pg");
	c->fresh = path_of(dir, "pg.init");
	c->sockets = path_of(dir, "pg-socket");
	c->log = path_of(dir, "pg.log");
	buf_printf(&conninfo,
	           "host='%s' port=" DEV_PORT " user=rappel dbname=rappel",
	           c->sockets);
	c->conninfo = buf_text(&conninfo);
	rc = EXIT_CONFIG;
	if (strlen(c->sockets) + sizeof("/.s.PGSQL." DEV_PORT) >
	    sizeof(addr.sun_path)) {
		error_set(err,
		          "--dev: %.200s is too long for a socket's path; "
		          "choose a shorter directory with --dir",
		          c->sockets);
		goto fail;
	}
	rc = find_user(c, err);
	if (rc == 0)
		rc = find_programs(c, err);
	if (rc != 0)
		goto fail;
	rc = own_folder(c, c->sockets);
	if (rc < 0) {
		error_set(err, "%s: %s", c->sockets, strerror(-rc));
		rc = EXIT_PERMISSION;
		goto fail;
	}
	return 0;
fail:
	dev_cluster_close(c);
	return rc;
}

void
dev_cluster_close(struct dev_cluster *c)
{
	free(c->dir);
	free(c->data);
	free(c->fresh);
	free(c->sockets);
	free(c->log);
	free(c->conninfo);
	free(c->bin);
	account_fini(&c->account);
	memset(c, 0, sizeof(*c));
}

bool
dev_cluster_exists(const struct dev_cluster *c)
{
	struct stat st;

	return lstat(c->data, &st) == 0;
}

bool
dev_cluster_half_made(const struct dev_cluster *c)
{
	struct stat st;

	return lstat(c->fresh, &st) == 0;
}

int
dev_cluster_adopt(const struct dev_cluster *c)
{
	return rename(c->fresh, c->data) == 0 ? 0 : -errno;
}

int
dev_cluster_make_fresh(const struct dev_cluster *c)
{
	return own_folder(c, c->fresh);
}

/* ---- a running postmaster ---- */

pid_t
dev_cluster_postmaster(const struct dev_cluster *c)
{
	char text[64], link[64], cwd[PATH_MAX], exe[PATH_MAX];
	const char *base;
	ssize_t n;
	int pid;

	if (read_small(c->data, "postmaster.pid", text, sizeof(text)) <= 0)
		return 0;
	pid = atoi(text);
	if (pid <= 1)
		return 0;
	/* The number may belong to anybody by now: it is a postmaster of
	 * ours if it is PostgreSQL and lives in our data directory. */
	snprintf(link, sizeof(link), "/proc/%d/cwd", pid);
	n = readlink(link, cwd, sizeof(cwd) - 1);
	cwd[n > 0 ? n : 0] = '\0';
	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	n = readlink(link, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	base = strrchr(exe, '/');
	if (strcmp(cwd, c->data) != 0 || base == NULL ||
	    strncmp(base, "/postgres", strlen("/postgres")) != 0)
		return 0;
	return pid;
}

bool
dev_cluster_accepts(const struct dev_cluster *c, pid_t pid)
{
	char text[512], *at = text;

	if (read_small(c->data, "postmaster.pid", text, sizeof(text)) <= 0 ||
	    atoi(text) != pid)
		return false;
	/* The eighth line is its status, as pg_ctl reads it. */
	for (int line = 1; line < 8; line++) {
		at = strchr(at, '\n');
		if (at == NULL)
			return false;
		at++;
	}
	return strncmp(at, "ready", 5) == 0;
}

/* ---- other files ---- */

int
dev_cluster_open_log(const struct dev_cluster *c)
{
	int fd = open(c->log,
	              O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
	              0600);

	return fd >= 0 ? fd : -errno;
}

int
dev_cluster_write_config(const struct dev_cluster *c)
{
	char *path = path_of(c->dir, "rappel.conf");
	char *next = path_of(c->dir, "rappel.conf.new");
	char text[sizeof(CONFIG_MARK)];
	struct buf b = BUF_EMPTY;
	int fd = -1, rc = 0;
	ssize_t n;

	n = read_small(c->dir, "rappel.conf", text, sizeof(text));
	if (n > 0 && strcmp(text, CONFIG_MARK) != 0)
		goto out; /* somebody's own */
	buf_add_text(&b, CONFIG_MARK);
	buf_printf(&b,
	           "# Groups of workers and other settings belong into a file "
	           "of your own,\n# which needs no database:\n"
	           "#     rappeld --dev --dir \"%s\" -c FILE\n",
	           c->dir);
	buf_printf(&b, "[database]\nurl = \"%s\"\n[pool]\ndir = \"%s\"\n",
	           c->conninfo, c->dir);
	fd = open(next,
	          O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, b.data, b.len) != (ssize_t)b.len ||
	    rename(next, path) != 0)
		rc = errno != 0 ? -errno : -EIO;
out:
	if (fd >= 0)
		close(fd);
	buf_fini(&b);
	free(path);
	free(next);
	return rc;
}
