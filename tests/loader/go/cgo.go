// SPDX-License-Identifier: MIT

//go:build cgo

package main

// #include <unistd.h>
import "C"

// Linked to libc, and still making its system calls by itself.
func init() {
	_ = C.getpid()
}
