// SPDX-License-Identifier: MIT
//! What client.rs does to itself before it opens /dev/kvm.

use std::{env, fs};

extern "C" {
    fn chroot(path: *const std::ffi::c_char) -> i32;
    fn fork() -> i32;
    fn getuid() -> u32;
    fn prctl(option: i32, a: u64, b: u64, c: u64, d: u64) -> i32;
    fn setgid(id: u32) -> i32;
    fn setuid(id: u32) -> i32;
    fn syscall(number: i64, ...) -> i64;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

const NOBODY: u32 = 65534;
const NO_NEW_PRIVS: i32 = 38;
const SECCOMP: i64 = 317;
const LANDLOCK_MAKE: i64 = 444;
const LANDLOCK_ENTER: i64 = 446;

pub fn drop_user() {
    unsafe {
        assert!(getuid() != 0 || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0), "setuid");
    }
}

pub fn empty_root() {
    let dir = env::temp_dir().join(format!("userkvm-root-{}", std::process::id()));
    if unsafe { getuid() } != 0 {
        return;
    }
    fs::create_dir(&dir).expect("a directory");
    env::set_current_dir(&dir).expect("the new root");
    fs::remove_dir(&dir).expect("an empty directory");
    assert!(unsafe { chroot(c".".as_ptr()) } == 0, "chroot");
}

pub fn forbid_files() {
    let handled: u64 = 1 << 1 | 1 << 2 | 1 << 3; // writing, reading, listing
    let rules = unsafe { syscall(LANDLOCK_MAKE, &handled, 8u64, 0u64) };
    if rules < 0 {
        return; // a kernel without
    }
    unsafe {
        assert!(prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
        assert!(syscall(LANDLOCK_ENTER, rules, 0u64) == 0, "landlock");
    }
    fs::read("/etc/passwd").expect_err("landlock lets files be read");
}

pub fn in_child(machine: impl Fn()) {
    let mut status = -1;
    unsafe {
        let pid = fork();
        if pid == 0 {
            machine();
            _exit(0);
        }
        assert!(pid > 0 && waitpid(pid, &mut status, 0) == pid && status == 0, "the child: {status:x}");
    }
}

#[repr(C)]
struct Instruction(u16, u8, u8, u32);
#[repr(C)]
struct Program(u16, *const Instruction);

/// What Rust's library, its libc and this program call, and nothing else: read, write, close, poll, mmap,
/// mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, ioctl, writev, mremap, madvise,
/// clone, exit, fcntl, sigaltstack, prctl, gettid, tkill, futex, sched_getaffinity, exit_group, tgkill,
/// openat, open, stat, set_robust_list, getrandom, membarrier, statx, rseq, clone3, getpid, sched_yield.
const OWN: [u32; 37] = [
    0, 1, 3, 7, 9, 10, 11, 12, 13, 14, 15, 16, 20, 25, 28, 56, 60, 72, 131, 157, 186, 200, 202, 204,
    231, 234, 257, 2, 4, 273, 318, 324, 332, 334, 435, 39, 24,
];

pub fn allow_only_own() {
    let mut filter = vec![Instruction(0x20, 0, 0, 0)]; // the call's number
    for number in OWN {
        filter.push(Instruction(0x15, 0, 1, number));
        filter.push(Instruction(0x06, 0, 0, 0x7fff_0000));
    }
    filter.push(Instruction(0x06, 0, 0, 0x8000_0000)); // kill the process
    let program = Program(filter.len() as u16, filter.as_ptr());
    unsafe {
        assert!(prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
        assert!(syscall(SECCOMP, 1u64, 0u64, &program) == 0, "seccomp");
    }
}
