/* SPDX-License-Identifier: MIT */
/* loader/world.c: the program that the dynamic linker thinks it runs: it brings in libuserkvm.so. */
#include "loader/loader.h"

/* The library asks whether it is there (preload/main.c). */
__attribute__((visibility("default"))) const char userkvm_world = 1;

int main(void)
{
	return loader_main();
}
