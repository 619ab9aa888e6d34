/* SPDX-License-Identifier: MIT */
/* ioeventfds and coalesced zones. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../hang.h"
#include "harness.h"
#include "vm/irq.h"

#define PIO	 KVM_IOEVENTFD_FLAG_PIO
#define MATCH	 KVM_IOEVENTFD_FLAG_DATAMATCH
#define DEASSIGN KVM_IOEVENTFD_FLAG_DEASSIGN
#define DOORBELL 0xfeb00000ULL
#define RING_MAX                                                                               \
	((PAGE_SIZE - sizeof(struct kvm_coalesced_mmio_ring)) /                                \
	 sizeof(struct kvm_coalesced_mmio))

static struct vm *vm;
static struct vcpu *vcpu;
static u8 ring_page[PAGE_SIZE] __attribute__((aligned(4096)));
static struct kvm_coalesced_mmio_ring *ring = (void *)ring_page;

static int setup(void **state)
{
	vm = calloc(1, sizeof(*vm));
	vcpu = calloc(1, sizeof(*vcpu));
	vcpu->vm = vm;
	vcpu->coalesced_ring = ring_page;
	memset(ring_page, 0, sizeof(ring_page));
	return vm_iobus_create(vm);
}

static int teardown(void **state)
{
	vm_iobus_destroy(vm);
	free(vcpu);
	free(vm);
	return 0;
}

static int ioeventfd(int fd, u64 addr, u32 len, u32 flags, u64 match)
{
	struct kvm_ioeventfd a = {
		.fd = fd, .addr = addr, .len = len, .flags = flags, .datamatch = match};

	return vm_ioeventfd(vm, &a);
}

static bool mmio_write(u64 addr, u32 size, u64 v)
{
	return vm_bus_mmio(vcpu, addr, size, true, &v);
}

static bool pio_write(u16 port, u32 size, u64 v)
{
	return vm_bus_pio(vcpu, port, size, true, &v);
}

static u64 count(int fd)
{
	u64 v;

	return read(fd, &v, 8) == 8 ? v : 0;
}

static int new_eventfd(void)
{
	return eventfd(0, EFD_NONBLOCK);
}

static void write_signals(void **state)
{
	int fd = new_eventfd();
	u64 v = 0;

	assert_int_equal(ioeventfd(fd, DOORBELL, 4, 0, 0), 0);
	assert_true(mmio_write(DOORBELL, 4, 7));
	assert_true(mmio_write(DOORBELL, 4, 8));
	assert_int_equal(count(fd), 2);
	assert_false(mmio_write(DOORBELL, 2, 7));
	assert_false(mmio_write(DOORBELL + 4, 4, 7));
	assert_false(pio_write((u16)DOORBELL, 4, 7));
	assert_false(vm_bus_mmio(vcpu, DOORBELL, 4, false, &v));
	assert_int_equal(count(fd), 0);
	close(fd);
}

/* A blocking eventfd that holds all it can: its writer would wait for a reader. */
static void a_full_counter_is_signalled(void **state)
{
	int fd = eventfd(0, 0);
	u64 most = UINT64_MAX - 1;

	assert_int_equal(ioeventfd(fd, DOORBELL, 4, 0, 0), 0);
	assert_int_equal(write(fd, &most, 8), 8);
	alarm(hang_limit(25));
	assert_true(mmio_write(DOORBELL, 4, 7));
	alarm(0);
	assert_true(count(fd) == most);
	close(fd);
}

static void any_length(void **state)
{
	int fd = new_eventfd();

	assert_int_equal(ioeventfd(fd, DOORBELL, 0, 0, 0), 0);
	for (u32 size = 1; size <= 8; size *= 2)
		assert_true(mmio_write(DOORBELL, size, 1));
	assert_int_equal(count(fd), 4);
	close(fd);
}

static void datamatch_chooses(void **state)
{
	int fd[3];

	for (u32 i = 0; i < 3; i++) {
		fd[i] = new_eventfd();
		assert_int_equal(ioeventfd(fd[i], 0x510, 2, PIO | MATCH, i), 0);
	}
	assert_true(pio_write(0x510, 2, 0xffff0001)); /* the low 16 bits are the data */
	assert_false(pio_write(0x510, 2, 9));
	assert_int_equal(count(fd[0]), 0);
	assert_int_equal(count(fd[1]), 1);
	assert_int_equal(count(fd[2]), 0);
	assert_int_equal(ioeventfd(fd[1], 0x510, 2, PIO | MATCH | DEASSIGN, 1), 0);
	assert_false(pio_write(0x510, 2, 1));
	assert_true(pio_write(0x510, 2, 2));
	for (u32 i = 0; i < 3; i++)
		close(fd[i]);
}

static void many_addresses(void **state)
{
	int fd[64];

	for (u32 i = 0; i < 64; i++) {
		fd[i] = new_eventfd();
		assert_int_equal(ioeventfd(fd[i], DOORBELL + (i * 37 % 64) * 4, 4, 0, 0), 0);
	}
	for (u32 i = 0; i < 64; i++) {
		assert_true(mmio_write(DOORBELL + (i * 37 % 64) * 4, 4, 0));
		assert_int_equal(count(fd[i]), 1);
	}
	for (u32 i = 0; i < 64; i++) {
		assert_int_equal(ioeventfd(fd[i], DOORBELL + (i * 37 % 64) * 4, 4, DEASSIGN, 0),
				 0);
		assert_false(mmio_write(DOORBELL + (i * 37 % 64) * 4, 4, 0));
		close(fd[i]);
	}
}

/* ---- coalesced zones */

static int zone(u64 addr, u32 size, u32 pio, bool add)
{
	struct kvm_coalesced_mmio_zone z = {.addr = addr, .size = size, .pio = pio};

	return vm_coalesced_zone(vm, &z, add);
}

static void writes_are_put_in_order(void **state)
{
	assert_int_equal(zone(0xa0000, 0x1000, 0, true), 0);
	assert_true(mmio_write(0xa0010, 4, 0x11223344));
	assert_true(mmio_write(0xa0fff, 1, 0x55));
	assert_false(mmio_write(0xa0ffe, 4, 0)); /* beyond its end */
	assert_false(mmio_write(0x9ffff, 1, 0));
	assert_false(pio_write(0x10, 1, 0));
	assert_int_equal(ring->first, 0);
	assert_int_equal(ring->last, 2);
	assert_int_equal(ring->coalesced_mmio[0].phys_addr, 0xa0010);
	assert_int_equal(ring->coalesced_mmio[0].len, 4);
	assert_int_equal(ring->coalesced_mmio[0].data[0], 0x44);
	assert_int_equal(ring->coalesced_mmio[0].pio, 0);
	assert_int_equal(ring->coalesced_mmio[1].data[0], 0x55);
	assert_int_equal(zone(0x70, 2, 1, true), 0);
	assert_true(pio_write(0x71, 1, 0x66));
	assert_int_equal(ring->coalesced_mmio[2].pio, 1);
	assert_int_equal(ring->coalesced_mmio[2].phys_addr, 0x71);
}

static void a_full_ring_leaves_it_to_the_vmm(void **state)
{
	zone(0xa0000, 0x1000, 0, true);
	for (u32 i = 0; i < RING_MAX - 1; i++)
		assert_true(mmio_write(0xa0000, 4, i));
	assert_false(mmio_write(0xa0000, 4, 0));
	ring->first = 1;
	assert_true(mmio_write(0xa0000, 4, 0));
	assert_int_equal(ring->last, 0);
	ring->last = 100000; /* the VMM can write anything there */
	assert_false(mmio_write(0xa0000, 4, 0));
}

static void a_zone_ends(void **state)
{
	zone(0xa0000, 0x1000, 0, true);
	zone(0xb0000, 0x1000, 0, true);
	assert_int_equal(zone(0xa0100, 0x10, 0, false), 0); /* a part names the whole */
	assert_false(mmio_write(0xa0000, 4, 0));
	assert_true(mmio_write(0xb0000, 4, 0));
	assert_int_equal(zone(0xc0000, 0x10, 0, false), 0);
	assert_int_equal(zone(0xb0000, 0x10, 2, true), -EINVAL);
	assert_int_equal(zone(0xb0000, 0x10, 2, false), -EINVAL);
}

static void ioeventfd_comes_first(void **state)
{
	int fd = new_eventfd();

	zone(DOORBELL, 0x1000, 0, true);
	assert_int_equal(ioeventfd(fd, DOORBELL, 4, 0, 0), 0);
	assert_true(mmio_write(DOORBELL, 4, 0));
	assert_int_equal(count(fd), 1);
	assert_int_equal(ring->last, 0);
	assert_true(mmio_write(DOORBELL, 2, 0));
	assert_int_equal(ring->last, 1);
	close(fd);
}

static void the_controllers_come_before_all(void **state)
{
	struct vcpu v = {.vm = vm};
	int fd = new_eventfd();
	u32 x = 0;

	setup_kernel_1(NULL);
	vm->irqchip = m.ic;
	v.lapic = m.vcpu[0].lapic;
	assert_int_equal(ioeventfd(fd, 0xfee00080, 4, 0, 0), 0);
	x = 0x20;
	assert_true(vm_bus_mmio(&v, 0xfee00080, 4, true, &x));
	assert_int_equal(count(fd), 0);
	assert_int_equal(apic_read(0, APIC_TPR), 0x20);
	vm->irqchip = NULL;
	machine_teardown(NULL);
	close(fd);
}

/* ---- errors, here and by the machine's own KVM if there is one */

static int kvm_vm = -1;

static void both(int expect, int fd, u64 addr, u32 len, u32 flags, u64 match)
{
	struct kvm_ioeventfd a = {
		.fd = fd, .addr = addr, .len = len, .flags = flags, .datamatch = match};

	assert_int_equal(vm_ioeventfd(vm, &a), expect);
	if (kvm_vm >= 0)
		assert_int_equal(ioctl(kvm_vm, KVM_IOEVENTFD, &a) < 0 ? -errno : 0, expect);
}

static void errors_are_kvms(void **state)
{
	int dev = open("/dev/kvm", O_RDWR | O_CLOEXEC), fd = new_eventfd(), fd2 = new_eventfd();
	int plain = open("/dev/null", O_RDONLY | O_CLOEXEC);

	kvm_vm = dev < 0 ? -1 : ioctl(dev, KVM_CREATE_VM, 0);
	both(-EINVAL, fd, DOORBELL, 3, 0, 0);
	both(-EINVAL, fd, DOORBELL, 16, 0, 0);
	both(-EINVAL, fd, ~0ULL, 4, 0, 0);
	both(-EINVAL, fd, DOORBELL, 4, 0x20, 0);
	both(-EINVAL, fd, DOORBELL, 0, MATCH, 0);
	both(-EBADF, 999, DOORBELL, 4, 0, 0);
	both(-EINVAL, plain, DOORBELL, 4, 0, 0);
	both(-EINVAL, 999, DOORBELL, 3, 0, 0); /* arguments before descriptors */
	both(0, fd, DOORBELL, 4, 0, 0);
	both(-EEXIST, fd2, DOORBELL, 4, 0, 0);
	both(-EEXIST, fd2, DOORBELL, 4, MATCH, 1);
	both(-EEXIST, fd2, DOORBELL, 0, 0, 0);
	both(0, fd2, DOORBELL, 2, 0, 0);
	both(0, fd2, DOORBELL, 4, PIO, 0); /* another bus */
	both(0, fd, DOORBELL + 64, 8, MATCH, 1);
	both(0, fd, DOORBELL + 64, 8, MATCH, 2);
	both(-EEXIST, fd, DOORBELL + 64, 8, MATCH, 2);
	both(-ENOENT, fd2, DOORBELL, 4, DEASSIGN, 0); /* another eventfd's */
	both(-ENOENT, fd, DOORBELL, 2, DEASSIGN, 0);
	both(-ENOENT, fd, DOORBELL, 4, DEASSIGN | MATCH, 0);
	both(-ENOENT, fd, DOORBELL + 64, 8, DEASSIGN | MATCH, 3);
	both(-EBADF, 999, DOORBELL, 4, DEASSIGN, 0);
	both(-EINVAL, plain, DOORBELL, 4, DEASSIGN, 0);
	both(0, fd, DOORBELL, 4, DEASSIGN, 0);
	both(-ENOENT, fd, DOORBELL, 4, DEASSIGN, 0);
	both(0, fd, DOORBELL + 64, 8, DEASSIGN | MATCH, 2);
	if (kvm_vm >= 0)
		close(kvm_vm);
	if (dev >= 0)
		close(dev);
	close(fd);
	close(fd2);
	close(plain);
}

static void a_bus_holds_a_thousand(void **state)
{
	int fd = new_eventfd();

	for (u32 i = 0; i < 1000; i++)
		assert_int_equal(zone(i * 0x1000, 0x1000, 0, true), 0);
	assert_int_equal(zone(0xb0000000, 0x10, 0, true), -ENOSPC);
	assert_int_equal(ioeventfd(fd, DOORBELL, 4, 0, 0), -ENOSPC);
	assert_int_equal(ioeventfd(fd, 0x510, 4, PIO, 0), 0);
	close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(write_signals),
		T(a_full_counter_is_signalled),
		T(any_length),
		T(datamatch_chooses),
		T(many_addresses),
		T(writes_are_put_in_order),
		T(a_full_ring_leaves_it_to_the_vmm),
		T(a_zone_ends),
		T(ioeventfd_comes_first),
		T(the_controllers_come_before_all),
		T(errors_are_kvms),
		T(a_bus_holds_a_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
