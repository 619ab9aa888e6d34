/* SPDX-License-Identifier: MIT */
/* irqfds: eventfds that raise GSIs, and those that hear of the acknowledgement. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "harness.h"
#include "sync/atomic.h"
#include "vm/eventfd.h"
#include "vm/irq.h"

#define VECTOR 0x55
#define GSI    20
#define LEVEL  0x8000ULL

static struct vm *vm;

static void on_ack(u32 gsi)
{
	vm_irq_acked(vm, gsi);
}

static int setup(void **state)
{
	setup_kernel_1(state);
	apic_write(0, APIC_LVT0, LVT_MASKED);
	vm = calloc(1, sizeof(*vm));
	vm->irqchip = m.ic;
	m.on_ack = on_ack;
	return vm_irq_create(vm) || eventfds_start() || vm_irq_start(vm);
}

static int teardown(void **state)
{
	vm_irq_destroy(vm);
	machine_teardown(state);
	free(vm);
	return 0;
}

static int irqfd(int fd, u32 gsi, u32 flags, int resample)
{
	struct kvm_irqfd a = {
		.fd = (u32)fd, .gsi = gsi, .flags = flags, .resamplefd = (u32)resample};

	return vm_irqfd(vm, &a);
}

static void signal_fd(int fd)
{
	u64 one = 1;

	assert_int_equal(write(fd, &one, 8), 8);
}

/* The helper thread is prompt, not instant: how long it takes is the scheduler's business. */
static bool arrives(void)
{
	while (irq_has(0) < 0)
		usleep(500);
	return irq_has(0) == VECTOR;
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void signal_raises_the_gsi(void **state)
{
	int fd = eventfd(0, 0);

	ioapic_redirect(GSI, VECTOR);
	assert_int_equal(irqfd(fd, GSI, 0, 0), 0);
	for (u32 i = 0; i < 3; i++) {
		distrusts = 0;
		signal_fd(fd);
		assert_true(arrives());
		assert_int_equal(sync_load(&distrusts), 1); /* before the interrupt */
		assert_int_equal(irq_get(0), VECTOR);
		apic_write(0, APIC_EOI, 0);
	}
	assert_false(readable(fd)); /* the counter was taken */
	close(fd);
}

static void signal_before_assign_counts(void **state)
{
	int fd = eventfd(1, 0);

	ioapic_redirect(GSI, VECTOR);
	assert_int_equal(irqfd(fd, GSI, 0, 0), 0);
	assert_true(arrives());
	close(fd);
}

static void outlives_the_number_it_was_named_by(void **state)
{
	int fd = eventfd(0, 0), other = dup(fd);

	ioapic_redirect(GSI, VECTOR);
	assert_int_equal(irqfd(fd, GSI, 0, 0), 0);
	close(fd);
	signal_fd(other);
	assert_true(arrives());
	assert_int_equal(irqfd(other, GSI, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	close(other);
}

static void nothing_after_deassign(void **state)
{
	int fd = eventfd(0, 0);

	ioapic_redirect(GSI, VECTOR);
	for (u32 i = 0; i < 200; i++) {
		assert_int_equal(irqfd(fd, GSI, 0, 0), 0);
		signal_fd(fd);
		assert_int_equal(irqfd(fd, GSI, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
		if (irq_get(0) == VECTOR)
			apic_write(0, APIC_EOI, 0);
		assert_int_equal(irq_has(0), -1);
	}
	usleep(2000);
	assert_int_equal(irq_has(0), -1);
	close(fd);
}

static void many_eventfds_one_thread(void **state)
{
	int fd[32];

	for (u32 i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = eventfd(0, 0);
		assert_int_equal(irqfd(fd[i], GSI, 0, 0), 0);
	}
	ioapic_redirect(GSI, VECTOR);
	signal_fd(fd[31]);
	assert_true(arrives());
	for (u32 i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
}

static void resampling_lowers_and_tells(void **state)
{
	int fd = eventfd(0, 0), resample = eventfd(0, 0);

	ioapic_redirect(GSI, VECTOR | LEVEL);
	assert_int_equal(irqfd(fd, GSI, KVM_IRQFD_FLAG_RESAMPLE, resample), 0);
	signal_fd(fd);
	assert_true(arrives());
	assert_int_equal(irq_get(0), VECTOR);
	assert_false(readable(resample));
	apic_write(0, APIC_EOI, 0);
	assert_true(readable(resample));
	assert_int_equal(irq_has(0), -1); /* lowered by the acknowledgement */
	signal_fd(fd);
	assert_true(arrives());
	/* Deassigned while up: the line goes down with it. */
	assert_int_equal(irqfd(fd, GSI, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	irq_get(0);
	apic_write(0, APIC_EOI, 0);
	assert_int_equal(irq_has(0), -1);
	close(fd);
	close(resample);
}

static void helper_descriptors_stay_out_of_the_way(void **state)
{
	int fd = eventfd(0, 0), next;

	assert_int_equal(irqfd(fd, GSI, 0, 0), 0);
	next = dup(fd);
	assert_int_equal(next, fd + 1);
	close(next);
	close(fd);
}

/* ---- the same calls, refused and granted, here and by the machine's own KVM if there is one
 */

static int kvm_vm = -1;

static int real_irqfd(int fd, u32 gsi, u32 flags, int resample)
{
	struct kvm_irqfd a = {
		.fd = (u32)fd, .gsi = gsi, .flags = flags, .resamplefd = (u32)resample};

	return ioctl(kvm_vm, KVM_IRQFD, &a) < 0 ? -errno : 0;
}

static void both(int expect, int fd, u32 gsi, u32 flags, int resample)
{
	assert_int_equal(irqfd(fd, gsi, flags, resample), expect);
	if (kvm_vm >= 0)
		assert_int_equal(real_irqfd(fd, gsi, flags, resample), expect);
}

static void errors_are_kvms(void **state)
{
	int dev = open("/dev/kvm", O_RDWR | O_CLOEXEC), fd = eventfd(0, 0), fd2 = eventfd(0, 0);
	int plain = open("/dev/null", O_RDONLY | O_CLOEXEC), same = dup(fd);
	struct irqchip *ic = vm->irqchip;

	kvm_vm = dev < 0 ? -1 : ioctl(dev, KVM_CREATE_VM, 0);
	vm->irqchip = NULL;
	both(-EINVAL, fd, GSI, 0, 0);
	both(-EINVAL, fd, GSI, 4, 0);
	both(-EBADF, 999, GSI, KVM_IRQFD_FLAG_DEASSIGN, 0);
	vm->irqchip = ic;
	if (kvm_vm >= 0)
		assert_int_equal(ioctl(kvm_vm, KVM_CREATE_IRQCHIP, 0), 0);
	both(-EBADF, 999, GSI, 0, 0);
	both(-EINVAL, plain, GSI, 0, 0);
	both(-EBADF, fd, GSI, KVM_IRQFD_FLAG_RESAMPLE, 999);
	both(-EINVAL, fd, GSI, KVM_IRQFD_FLAG_RESAMPLE, plain);
	both(0, fd, GSI, 0, 0);
	both(-EBUSY, fd, GSI, 0, 0);
	both(-EBUSY, same, GSI + 1, 0, 0); /* the same eventfd by another number */
	both(0, fd2, GSI, 0, 0);	   /* one GSI, two eventfds */
	both(0, fd, GSI + 1, KVM_IRQFD_FLAG_DEASSIGN, 0); /* none such: no error */
	both(-EBUSY, fd, GSI, 0, 0);
	both(0, same, GSI, KVM_IRQFD_FLAG_DEASSIGN, 0);
	both(0, fd, 100000, 0, 0); /* a GSI without a route */
	both(-EINVAL, plain, GSI, KVM_IRQFD_FLAG_DEASSIGN, 0);
	if (kvm_vm >= 0)
		close(kvm_vm);
	if (dev >= 0)
		close(dev);
	close(fd);
	close(fd2);
	close(same);
	close(plain);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(signal_raises_the_gsi),
		T(signal_before_assign_counts),
		T(outlives_the_number_it_was_named_by),
		T(nothing_after_deassign),
		T(many_eventfds_one_thread),
		T(resampling_lowers_and_tells),
		T(helper_descriptors_stay_out_of_the_way),
		T(errors_are_kvms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
