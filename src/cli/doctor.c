/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
int cli_doctor(int argc, char **argv)
{
	return CLI_OK;
}
