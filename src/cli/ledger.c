/* SPDX-License-Identifier: MIT */
#include "cli/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/types.h"

#define CHECKSUM_TEXT 17 /* 64 bits in hexadecimal */

static const char *const kind_names[LEDGER_KINDS] = {"line", "new-file-line", "file", "directory", "node"};

/* ------------------------------------------------------------------ files */

/* All of a file, with a null behind; NULL and errno. */
static char *slurp(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), e;
	struct stat st;
	char *text = NULL;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st))
		goto out;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		goto out;
	}
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		goto out;
	*size = 0;
	for (ssize_t n = 1; n > 0 && *size < (size_t)st.st_size; *size += (size_t)MAX(n, 0))
		n = read(fd, text + *size, (size_t)st.st_size - *size);
	text[*size] = '\0';
out:
	e = errno;
	close(fd);
	errno = e;
	return text;
}

static int write_all(int fd, const char *text, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, text + done, size - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += (size_t)MAX(n, 0);
	}
	return fsync(fd) ? -errno : 0;
}

/* In one step, with the owner and mode that `like` has, or root's and 0644. */
static int replace(const char *path, const char *text, size_t size, const struct stat *like)
{
	char temporary[PATH_MAX];
	int fd, r;

	if (snprintf(temporary, sizeof(temporary), "%s.userkvm-new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, size);
	if (!r && fchown(fd, like ? like->st_uid : 0, like ? like->st_gid : 0))
		r = -errno;
	if (!r && fchmod(fd, like ? like->st_mode & 07777 : 0644))
		r = -errno;
	close(fd);
	if (!r && rename(temporary, path))
		r = -errno;
	if (r)
		unlink(temporary);
	return r;
}

/* FNV-1a, to tell whether somebody has changed a file since. */
static void checksum(const char *text, size_t size, char *out)
{
	u64 h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		h = (h ^ (u8)text[i]) * 0x100000001b3ULL;
	snprintf(out, CHECKSUM_TEXT, "%016llx", (unsigned long long)h);
}

/* ------------------------------------------------------------------ the ledger's own file */

static int append(struct ledger *l, enum ledger_kind kind, const char *path, const char *detail)
{
	struct ledger_entry *more = realloc(l->entry, (l->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->entry = more;
	more += l->n;
	*more = (struct ledger_entry){kind, strdup(path), strdup(detail)};
	if (!more->path || !more->detail)
		return -ENOMEM;
	l->n++;
	return 0;
}

static void drop(struct ledger *l, size_t i)
{
	free(l->entry[i].path);
	free(l->entry[i].detail);
	memmove(l->entry + i, l->entry + i + 1, (l->n - i - 1) * sizeof(*l->entry));
	l->n--;
}

/* "kind path detail": no path of ours has a space in it. */
static int read_entry(struct ledger *l, char *line)
{
	char *path = strchr(line, ' '), *detail = path ? strchr(path + 1, ' ') : NULL;

	if (!detail)
		return -EINVAL;
	*path++ = *detail++ = '\0';
	for (int kind = 0; kind < LEDGER_KINDS; kind++) {
		if (!strcmp(line, kind_names[kind]))
			return append(l, (enum ledger_kind)kind, path, detail);
	}
	return -EINVAL;
}

int ledger_read(struct ledger *l)
{
	size_t size;
	char *text = slurp(LEDGER_FILE, &size), *rest = text, *line;
	int r = 0;

	memset(l, 0, sizeof(*l));
	if (!text)
		return errno == ENOENT ? 0 : -errno;
	while (!r && (line = strsep(&rest, "\n")) && *line)
		r = read_entry(l, line);
	free(text);
	return r;
}

void ledger_free(struct ledger *l)
{
	while (l->n)
		drop(l, l->n - 1);
	free(l->entry);
	l->entry = NULL;
}

static int save(const struct ledger *l)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f;
	int r;

	if (!l->n) {
		if (unlink(LEDGER_FILE) && errno != ENOENT)
			return -errno;
		rmdir(LEDGER_DIRECTORY);
		return 0;
	}
	if (mkdir(LEDGER_DIRECTORY, 0755) && errno != EEXIST)
		return -errno;
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		fprintf(f, "%s %s %s\n", kind_names[l->entry[i].kind], l->entry[i].path,
			l->entry[i].detail);
	r = fclose(f) ? -ENOMEM : replace(LEDGER_FILE, text, size, NULL);
	free(text);
	return r;
}

static bool holds(const struct ledger *l, enum ledger_kind kind, const char *path)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->entry[i].kind == kind && !strcmp(l->entry[i].path, path))
			return true;
	}
	return false;
}

/* Written down before it is made. */
static int note(struct ledger *l, enum ledger_kind kind, const char *path, const char *detail)
{
	int r = append(l, kind, path, detail);

	return r ? r : save(l);
}

/* It was not made after all. */
static int forget(struct ledger *l, int r)
{
	drop(l, l->n - 1);
	save(l);
	return r;
}

/* ------------------------------------------------------------------ a line */

bool ledger_has_line(const char *path, const char *line)
{
	size_t size, n = strlen(line);
	char *text = slurp(path, &size);
	bool has = false;

	for (char *at = text; at && !has; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		has = !strncmp(at, line, n) && (at[n] == '\n' || !at[n]);
	free(text);
	return has;
}

/* Before what is there, so that taking it away again leaves every byte of that. */
int ledger_add_line(struct ledger *l, const char *path, const char *line)
{
	size_t size = 0;
	char *old, *new;
	struct stat st;
	bool fresh;
	int r, n;

	if (ledger_has_line(path, line))
		return 0;
	old = slurp(path, &size);
	fresh = !old;
	if (fresh && errno != ENOENT)
		return -errno;
	if (!fresh && stat(path, &st))
		return -errno;
	n = asprintf(&new, "%s\n%s", line, fresh ? "" : old);
	free(old);
	if (n < 0)
		return -ENOMEM;
	r = note(l, fresh ? LEDGER_LINE_MADE : LEDGER_LINE, path, line);
	if (!r) {
		r = replace(path, new, (size_t)n, fresh ? NULL : &st);
		if (r)
			forget(l, r);
	}
	free(new);
	return r;
}

/* What others have added since stays; a file that was not there, and has nothing more, goes. */
static int undo_line(const struct ledger_entry *e)
{
	size_t size, n = strlen(e->detail);
	char *text = slurp(e->path, &size), *at;
	struct stat st;
	int r;

	if (!text)
		return errno == ENOENT ? 0 : -errno;
	for (at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		if (!strncmp(at, e->detail, n) && at[n] == '\n')
			break;
	}
	if (!at) {
		free(text);
		return 0; /* gone already */
	}
	size -= n + 1;
	memmove(at, at + n + 1, size - (size_t)(at - text));
	if (!size && e->kind == LEDGER_LINE_MADE)
		r = unlink(e->path) ? -errno : 0;
	else
		r = stat(e->path, &st) ? -errno : replace(e->path, text, size, &st);
	free(text);
	return r;
}

/* ------------------------------------------------------------------ a file */

/* The directories that lead to it, each written down if it is made. */
static int make_directories(struct ledger *l, const char *path)
{
	char part[PATH_MAX];
	int r;

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (access(part, F_OK)) {
			r = note(l, LEDGER_MADE_DIRECTORY, part, "");
			if (r)
				return r;
			if (mkdir(part, 0755))
				return forget(l, -errno);
		}
		*slash = '/';
	}
	return 0;
}

int ledger_add_file(struct ledger *l, const char *path, const char *content)
{
	char sum[CHECKSUM_TEXT];
	int r;

	if (holds(l, LEDGER_FILE_MADE, path))
		return 0;
	if (access(path, F_OK) == 0)
		return -EEXIST;
	checksum(content, strlen(content), sum);
	r = make_directories(l, path);
	if (!r)
		r = note(l, LEDGER_FILE_MADE, path, sum);
	if (r)
		return r;
	r = replace(path, content, strlen(content), NULL);
	return r ? forget(l, r) : 0;
}

static int undo_file(const struct ledger_entry *e)
{
	char sum[CHECKSUM_TEXT], *text;
	size_t size;

	text = slurp(e->path, &size);
	if (!text)
		return errno == ENOENT ? 0 : -errno;
	checksum(text, size, sum);
	free(text);
	if (strcmp(sum, e->detail))
		return -EBUSY;
	return unlink(e->path) ? -errno : 0;
}

static int undo_directory(const struct ledger_entry *e)
{
	return rmdir(e->path) && errno != ENOENT ? -errno : 0;
}

/* ------------------------------------------------------------------ a node */

int ledger_add_node(struct ledger *l, const char *path, mode_t mode, gid_t group, dev_t device)
{
	char detail[32];
	int r;

	if (holds(l, LEDGER_NODE, path))
		return 0;
	if (access(path, F_OK) == 0)
		return -EEXIST;
	snprintf(detail, sizeof(detail), "%llx", (unsigned long long)device);
	r = note(l, LEDGER_NODE, path, detail);
	if (r)
		return r;
	if (mknod(path, S_IFCHR | 0600, device))
		return forget(l, -errno);
	if (chown(path, 0, group) || chmod(path, mode))
		return -errno;
	return 0;
}

static int undo_node(const struct ledger_entry *e)
{
	struct stat st;

	if (lstat(e->path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != strtoull(e->detail, NULL, 16))
		return -EBUSY;
	return unlink(e->path) ? -errno : 0;
}

/* ------------------------------------------------------------------ back again */

static int undo(const struct ledger_entry *e)
{
	switch (e->kind) {
	case LEDGER_LINE:
	case LEDGER_LINE_MADE:
		return undo_line(e);
	case LEDGER_FILE_MADE:
		return undo_file(e);
	case LEDGER_MADE_DIRECTORY:
		return undo_directory(e);
	default:
		return undo_node(e);
	}
}

int ledger_undo(struct ledger *l, size_t keep, FILE *out)
{
	int left = 0, r;

	for (size_t i = l->n; i-- > keep;) {
		struct ledger_entry *e = &l->entry[i];

		r = undo(e);
		if (r) {
			fprintf(out, "kept     %s: %s\n", e->path,
				r == -EBUSY ? "somebody has changed it since" : strerror(-r));
			left++;
			continue;
		}
		fprintf(out, e->kind == LEDGER_LINE ? "restored %s\n" : "removed  %s\n", e->path);
		drop(l, i);
	}
	r = save(l);
	return r ? r : left;
}
