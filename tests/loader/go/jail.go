// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	setNoNewPrivs = 38
	sysSeccomp    = 317
	landlockMake  = 444
	landlockEnter = 446
	nobody        = 65534
)

// Where libc makes the threads, Go's runtime cannot have all of them make a call: the calling one does.
func everyThread(nr, a, b, c uintptr) syscall.Errno {
	_, _, e := syscall.AllThreadsSyscall(nr, a, b, c)
	if e == syscall.ENOTSUP {
		runtime.LockOSThread()
		_, _, e = syscall.RawSyscall(nr, a, b, c)
	}
	return e
}

// Every thread makes the call, by a signal that Go's runtime, or libc, sends to it.
func dropUser() {
	if os.Getuid() != 0 {
		return
	}
	if err := syscall.Setgid(nobody); err != nil {
		fail("setgid: %v", err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		fail("setuid: %v", err)
	}
}

func emptyRoot() {
	if os.Getuid() != 0 {
		return
	}
	dir, err := os.MkdirTemp("", "userkvm-root")
	if err != nil {
		fail("%v", err)
	}
	if err := os.Chdir(dir); err != nil {
		fail("chdir: %v", err)
	}
	os.Remove(dir)
	if err := syscall.Chroot("."); err != nil {
		fail("chroot: %v", err)
	}
}

func forbidFiles() {
	handled := uint64(1<<1 | 1<<2 | 1<<3) // writing, reading, listing
	rules, _, e := syscall.Syscall(landlockMake, uintptr(unsafe.Pointer(&handled)), 8, 0)
	if e != 0 {
		return // a kernel without
	}
	if e := everyThread(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0); e != 0 {
		fail("no_new_privs: %v", e)
	}
	if e := everyThread(landlockEnter, rules, 0, 0); e != 0 {
		fail("landlock: %v", e)
	}
	if _, err := os.ReadFile("/etc/passwd"); err == nil {
		fail("landlock lets files be read")
	}
}

// What Go's runtime and this program call, and libc's where it makes the threads; nothing else.
var own = []uint32{
	syscall.SYS_READ, syscall.SYS_WRITE, syscall.SYS_CLOSE, syscall.SYS_MMAP, syscall.SYS_MUNMAP,
	syscall.SYS_MPROTECT, syscall.SYS_MADVISE, syscall.SYS_MINCORE, syscall.SYS_BRK, syscall.SYS_IOCTL,
	syscall.SYS_OPENAT, syscall.SYS_FCNTL, syscall.SYS_FUTEX, syscall.SYS_CLONE, 435,
	syscall.SYS_EXIT, syscall.SYS_EXIT_GROUP, syscall.SYS_RT_SIGACTION, syscall.SYS_RT_SIGPROCMASK,
	syscall.SYS_RT_SIGRETURN, syscall.SYS_SIGALTSTACK, syscall.SYS_GETTID, syscall.SYS_GETPID,
	syscall.SYS_TGKILL, syscall.SYS_SCHED_YIELD, syscall.SYS_SCHED_GETAFFINITY, syscall.SYS_NANOSLEEP,
	syscall.SYS_EPOLL_CREATE1, syscall.SYS_EPOLL_CTL, syscall.SYS_EPOLL_PWAIT, syscall.SYS_EVENTFD2,
	syscall.SYS_PRCTL, syscall.SYS_SET_ROBUST_LIST, 334, 318, // rseq, getrandom
}

type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

func allowOnlyOwn() {
	f := []instruction{{code: 0x20}} // the call's number
	for _, nr := range own {
		f = append(f, instruction{0x15, 0, 1, nr}, instruction{0x06, 0, 0, 0x7fff0000})
	}
	f = append(f, instruction{0x06, 0, 0, 0x80000000}) // kill the process
	program := struct {
		n      uint16
		filter *instruction
	}{uint16(len(f)), &f[0]}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.RawSyscall(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0)
	_, _, e := syscall.RawSyscall(sysSeccomp, 1, 1, uintptr(unsafe.Pointer(&program))) // all threads
	if e != 0 {
		fail("seccomp: %v", e)
	}
}
