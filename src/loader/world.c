/* SPDX-License-Identifier: MIT */
/* loader/world.c: the program that the dynamic linker thinks it runs: it brings in libuserkvm.so. */
#include "loader/loader.h"

int main(void)
{
	return loader_main();
}
