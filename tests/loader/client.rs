// SPDX-License-Identifier: MIT
//! A monitor in Rust: two vCPUs of one VM, each on a thread of its own, that tell by MMIO of each
//! interrupt they are given. A panic unwinds through frames that a trap has interrupted.

mod jail;

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::{env, panic, ptr, thread};

extern "C" {
    fn ioctl(fd: i32, request: u64, ...) -> i32;
    fn mmap(at: *mut u8, len: usize, prot: i32, flags: i32, fd: i32, off: i64) -> *mut u8;
}

const CREATE_VM: u64 = 0xae01;
const CHECK_EXTENSION: u64 = 0xae03;
const MMAP_SIZE: u64 = 0xae04;
const SET_MEMORY: u64 = 0x4020_ae46;
const CREATE_VCPU: u64 = 0xae41;
const RUN: u64 = 0xae80;
const SET_REGS: u64 = 0x4090_ae82;
const GET_SREGS: u64 = 0x8138_ae83;
const SET_SREGS: u64 = 0x4138_ae84;
const INTERRUPT: u64 = 0x4004_ae86;
/// include/userkvm.h: the machine's own device has none.
const LINK_GUEST_MEMFD: u64 = 0x756b_0001;

const MEMORY: usize = 0x10000;
const CODE: usize = 0x1000;
const ENTRY: usize = 0x1100;
const VECTOR: u32 = 0x20;
const MMIO: u64 = 0xd0000;
const ROUNDS: u16 = 300;

/// sti; mov $0xd000, %ax; mov %ax, %ds; 1: mov %bx, (0); jmp 1b
const GUEST: [u8; 12] = [
    0xfb, 0xb8, 0x00, 0xd0, 0x8e, 0xd8, 0x89, 0x1e, 0x00, 0x00, 0xeb, 0xfa,
];
/// inc %bx; iret
const HANDLER: [u8; 2] = [0x43, 0xcf];

fn call(fd: i32, request: u64, arg: u64) -> i32 {
    let r = unsafe { ioctl(fd, request, arg) };
    assert!(r >= 0, "ioctl {request:x}: {}", std::io::Error::last_os_error());
    r
}

fn map(len: usize, fd: i32) -> *mut u8 {
    let anonymous = if fd < 0 { 0x20 } else { 0 };
    let p = unsafe { mmap(ptr::null_mut(), len, 3, 1 | anonymous, fd, 0) };
    assert!(p as isize != -1, "mmap: {}", std::io::Error::last_os_error());
    p
}

fn load(vcpu: i32, id: u64) {
    let mut sregs = [0u8; 0x138];
    let mut regs = [0u64; 18];
    call(vcpu, GET_SREGS, sregs.as_mut_ptr() as u64);
    for segment in 0..6 {
        sregs[24 * segment..24 * segment + 8].fill(0); // base
        sregs[24 * segment + 12..24 * segment + 14].fill(0); // selector
    }
    call(vcpu, SET_SREGS, sregs.as_ptr() as u64);
    regs[6] = 0x8000 - 0x100 * id; // rsp
    regs[16] = CODE as u64; // rip
    regs[17] = 2; // rflags
    call(vcpu, SET_REGS, regs.as_ptr() as u64);
}

fn drive(vcpu: i32, state: usize) {
    let at = |offset: usize| (state + offset) as *const u8;
    for n in 0..ROUNDS {
        call(vcpu, RUN, 0);
        let (reason, told_at, told) = unsafe {
            (
                ptr::read_volatile(at(8) as *const u32),
                ptr::read_volatile(at(32) as *const u64),
                ptr::read_volatile(at(40) as *const u16),
            )
        };
        assert_eq!((reason, told_at, told), (6, MMIO, n)); // KVM_EXIT_MMIO
        call(vcpu, INTERRUPT, &VECTOR as *const u32 as u64);
        if n % 50 == 0 {
            let caught = panic::catch_unwind(|| drop(std::fs::metadata("/dev/kvm").map(|_| panic!())));
            assert!(caught.is_err());
        }
    }
}

/// Until somebody writes a line: `userkvm why`, `walk` and `map` look at it meanwhile.
fn stand() {
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).expect("a line");
}

fn machine(then: fn()) {
    let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm").expect("/dev/kvm");
    let fd = kvm.as_raw_fd();
    assert_eq!(call(fd, CHECK_EXTENSION, LINK_GUEST_MEMFD), 1, "the machine's own");
    let vm = call(fd, CREATE_VM, 0);
    let memory = map(MEMORY, -1);
    unsafe {
        ptr::copy(GUEST.as_ptr(), memory.add(CODE), GUEST.len());
        ptr::copy(HANDLER.as_ptr(), memory.add(ENTRY), HANDLER.len());
        ptr::write(memory.add(4 * VECTOR as usize) as *mut u32, ENTRY as u32);
    }
    let slot = [0u64, 0, MEMORY as u64, memory as u64];
    call(vm, SET_MEMORY, slot.as_ptr() as u64);
    let size = call(fd, MMAP_SIZE, 0) as usize;
    let threads: Vec<_> = (0..2)
        .map(|id| {
            let vcpu = call(vm, CREATE_VCPU, id);
            let state = map(size, vcpu) as usize;
            load(vcpu, id);
            thread::spawn(move || drive(vcpu, state))
        })
        .collect();
    for t in threads {
        t.join().expect("a vCPU's thread");
    }
    then();
}

fn main() {
    panic::set_hook(Box::new(|p| {
        if p.location().map_or(true, |l| !p.to_string().contains("explicit panic") || l.line() == 0) {
            eprintln!("{p}");
        }
    }));
    for deed in env::args().skip(1) {
        match deed.as_str() {
            "plain" => machine(|| ()),
            "stand" => machine(stand),
            "spawn" => {
                machine(|| ());
                let me = env::current_exe().expect("a name");
                assert!(Command::new(me).arg("plain").env_clear().status().expect("a child").success());
                machine(|| ());
            }
            "fork" => jail::in_child(|| machine(|| ())),
            "user" => jail::drop_user(),
            "root" => jail::empty_root(),
            "landlock" => jail::forbid_files(),
            "filter" => jail::allow_only_own(),
            _ => panic!("no such deed: {deed}"),
        }
    }
}
