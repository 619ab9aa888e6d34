/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzzer's inputs, each a file or a directory of them, without libFuzzer. An input that is
 * not handled right ends the process, as it does under libFuzzer.
 */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "machine.h"

#define INPUT_BYTES 65536

static unsigned replayed;

static void replay_file(const char *path)
{
	u8 *data = malloc(INPUT_BYTES);
	FILE *f = fopen(path, "rb");
	size_t n;

	MUST(data && f, "%s", path);
	n = fread(data, 1, INPUT_BYTES, f);
	fclose(f);
	fprintf(stderr, "%s\n", path); /* the last line names what went wrong */
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	replayed++;
}

static void replay(const char *path)
{
	char name[4096];
	struct dirent *e;
	struct stat st;
	DIR *d;

	MUST(!stat(path, &st), "%s", path);
	if (!S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	d = opendir(path);
	MUST(d, "%s", path);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		replay_file(name);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	setenv("FUZZ_FRESH", "1", 1); /* no input sees what another left */
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%u inputs\n", replayed);
	return replayed ? 0 : 1;
}
