// SPDX-License-Identifier: MIT

// A monitor in Go: two vCPUs of one VM, each on a thread of its own, that tell the monitor by MMIO of
// each interrupt it gives them, while other goroutines work, collect garbage and start programs. Go's
// runtime makes its own system calls, handles every signal, and interrupts its threads at will.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

const (
	createVM       = 0xae01
	checkExtension = 0xae03
	mmapSize       = 0xae04
	setMemory      = 0x4020ae46
	createVCPU     = 0xae41
	run            = 0xae80
	getRegs        = 0x8090ae81
	setRegs        = 0x4090ae82
	getSregs       = 0x8138ae83
	setSregs       = 0x4138ae84
	interrupt      = 0x4004ae86
	exitMMIO       = 6
	exitReasonAt   = 8
	mmioAt         = 32

	linkGuestMemfd = 0x756b0001 // include/userkvm.h: the machine's own device has none

	rounds  = 300
	vector  = 0x20
	codeAt  = 0x1000
	gateAt  = 4 * vector
	entryAt = 0x1100
	mmio    = 0xd0000
)

// sti; mov $0xd000, %ax; mov %ax, %ds; 1: mov %bx, (0); jmp 1b
var code = []byte{0xfb, 0xb8, 0x00, 0xd0, 0x8e, 0xd8, 0x89, 0x1e, 0x00, 0x00, 0xeb, 0xfa}

// inc %bx; iret
var entry = []byte{0x43, 0xcf}

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func ioctl(fd uintptr, request uintptr, arg uintptr) (uintptr, syscall.Errno) {
	r, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, request, arg)
	return r, e
}

func must(fd uintptr, request uintptr, arg uintptr) uintptr {
	r, e := ioctl(fd, request, arg)
	if e != 0 {
		fail("ioctl %x: %v", request, e)
	}
	return r
}

func load(vcpu uintptr, id uintptr) {
	var sregs [0x138]byte
	var regs [18]uint64

	must(vcpu, getSregs, uintptr(unsafe.Pointer(&sregs[0])))
	for i := 0; i < 6; i++ { // cs, ds, es, fs, gs, ss: base and selector
		binary.LittleEndian.PutUint64(sregs[24*i:], 0)
		binary.LittleEndian.PutUint16(sregs[24*i+12:], 0)
	}
	must(vcpu, setSregs, uintptr(unsafe.Pointer(&sregs[0])))
	regs[7] = 0x8000 - 0x100*uint64(id) // rsp
	regs[16] = codeAt                   // rip
	regs[17] = 2                        // rflags
	must(vcpu, setRegs, uintptr(unsafe.Pointer(&regs[0])))
}

func drive(vcpu uintptr, state []byte, done *sync.WaitGroup) {
	defer done.Done()
	runtime.LockOSThread()
	for n := 0; n < rounds; {
		_, e := ioctl(vcpu, run, 0)
		if e == syscall.EINTR || e == syscall.EAGAIN {
			continue
		}
		if e != 0 {
			fail("KVM_RUN: %v", e)
		}
		if reason := binary.LittleEndian.Uint32(state[exitReasonAt:]); reason != exitMMIO {
			fail("exit %d", reason)
		}
		at := binary.LittleEndian.Uint64(state[mmioAt:])
		told := int(binary.LittleEndian.Uint16(state[mmioAt+8:]))
		if at != mmio || told != n {
			fail("%d told at %x, not %d", told, at, n)
		}
		v := uint32(vector)
		must(vcpu, interrupt, uintptr(unsafe.Pointer(&v)))
		n++
	}
}

func machine() {
	file, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		fail("%v", err)
	}
	kvm := file.Fd()
	if must(kvm, checkExtension, linkGuestMemfd) != 1 {
		fail("/dev/kvm is the machine's own")
	}
	vm := must(kvm, createVM, 0)
	memory, err := syscall.Mmap(-1, 0, 0x10000, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		fail("mmap: %v", err)
	}
	copy(memory[codeAt:], code)
	copy(memory[entryAt:], entry)
	binary.LittleEndian.PutUint16(memory[gateAt:], entryAt)
	slot := [4]uint64{0, 0, 0x10000, uint64(uintptr(unsafe.Pointer(&memory[0])))}
	must(vm, setMemory, uintptr(unsafe.Pointer(&slot[0])))
	size := must(kvm, mmapSize, 0)
	var done sync.WaitGroup
	for id := uintptr(0); id < 2; id++ {
		vcpu := must(vm, createVCPU, id)
		state, err := syscall.Mmap(int(vcpu), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_SHARED)
		if err != nil {
			fail("mmap of a vCPU: %v", err)
		}
		load(vcpu, id)
		done.Add(1)
		go drive(vcpu, state, &done)
	}
	busy(&done)
	done.Wait()
	syscall.Close(int(vm))
	file.Close()
}

// What a program does besides: garbage, panics, other goroutines.
func busy(done *sync.WaitGroup) {
	for i := 0; i < 4; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			for j := 0; j < 20; j++ {
				recovered()
				_ = make([]byte, 1<<20)
				runtime.GC()
			}
		}()
	}
}

// A fault becomes a panic by a signal's handler.
func recovered() {
	defer func() {
		if recover() == nil {
			fail("a null pointer was followed")
		}
	}()
	var p *int
	*p = 1
}

func again(deed string) {
	self, err := os.Executable()
	if err != nil {
		fail("%v", err)
	}
	c := exec.Command(self, deed)
	c.Env = []string{}
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		fail("the child: %v", err)
	}
}

func main() {
	for _, deed := range os.Args[1:] {
		switch deed {
		case "plain":
			machine()
		case "spawn":
			machine()
			again("plain")
			machine()
		case "user":
			dropUser()
		case "root":
			emptyRoot()
		case "landlock":
			forbidFiles()
		case "filter":
			allowOnlyOwn()
		default:
			fail("no such deed: %s", deed)
		}
	}
}
