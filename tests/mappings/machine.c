/* SPDX-License-Identifier: MIT */
/* tests/mappings/machine.c: the VM, the guest's driver, and what the VMM does to its memory. */
#include "mappings.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HANGS 5.0 /* seconds of CPU time for a batch, which takes some milliseconds */

/*
 * The driver. At GS: where the next record is, where the next struct out goes, the record of R_RUN. It needs no
 * stack but the gates', and every gate is on that one.
 */
GUEST(driver, 64,
      "guest_next:\n mov %gs:0, %rsi\n addq $32, %gs:0\n mov (%rsi), %eax\n mov 8(%rsi), %rdi\n mov 16(%rsi), %rbx\n"
      "lea guest_ops(%rip), %rdx\n movslq (%rdx,%rax,4), %rcx\n add %rdx, %rcx\n jmp *%rcx\n"
      ".balign 4\n"
      "guest_ops: .long guest_o_end - guest_ops, guest_o_64 - guest_ops, guest_o_32 - guest_ops\n"
      ".long guest_o_invlpg - guest_ops, guest_o_cr3 - guest_ops, guest_o_cr4 - guest_ops, guest_o_cr0 - guest_ops\n"
      ".long guest_o_invpcid - guest_ops, guest_o_run - guest_ops, guest_o_wait - guest_ops\n"
      ".long guest_o_post - guest_ops, guest_o_ask - guest_ops\n"
      "guest_o_end: hlt\n jmp guest_next\n"
      "guest_o_64: mov %rbx, (%rdi)\n jmp guest_next\n"
      "guest_o_32: mov %ebx, (%rdi)\n jmp guest_next\n"
      "guest_o_invlpg: invlpg (%rdi)\n jmp guest_next\n"
      "guest_o_cr3: mov %rdi, %cr3\n jmp guest_next\n"
      "guest_o_cr4: mov %rdi, %cr4\n jmp guest_next\n"
      "guest_o_cr0: mov %rdi, %cr0\n jmp guest_next\n"
      "guest_o_invpcid: invpcid 16(%rsi), %rdi\n jmp guest_next\n"
      "guest_o_wait: cmp %rdi, 0x1a000\n je guest_next\n pause\n jmp guest_o_wait\n"
      "guest_o_post: mov %rdi, 0x1a000\n jmp guest_next\n"
      "guest_o_ask: mov %edi, %eax\n out %eax, $0x10\n jmp guest_next\n"
      "guest_o_run: movdqu 176(%rdi), %xmm0\n movdqu 192(%rdi), %xmm1\n movdqu 208(%rdi), %xmm2\n"
      "movdqu 224(%rdi), %xmm3\n mov %rdi, %rsp\n pop %rax\n pop %rcx\n pop %rdx\n pop %rbx\n lea 8(%rsp), %rsp\n"
      "pop %rbp\n pop %rsi\n pop %rdi\n pop %r8\n pop %r9\n pop %r10\n pop %r11\n pop %r12\n pop %r13\n pop %r14\n"
      "pop %r15\n iretq\n"
      "guest_common: push %r15\n push %r14\n push %r13\n push %r12\n push %r11\n push %r10\n push %r9\n push %r8\n"
      "push %rdi\n push %rsi\n push %rbp\n push $0\n push %rbx\n push %rdx\n push %rcx\n push %rax\n"
      "cld\n mov %rsp, %rsi\n mov %gs:8, %rdi\n addq $256, %gs:8\n mov $23, %ecx\n rep movsq\n"
      "mov %cr2, %rax\n mov %rax, (%rdi)\n movdqu %xmm0, 8(%rdi)\n movdqu %xmm1, 24(%rdi)\n"
      "movdqu %xmm2, 40(%rdi)\n movdqu %xmm3, 56(%rdi)\n jmp guest_next\n"
      ".set guest_v, 0\n .balign 16\n guest_gates:\n"
      ".rept 49\n .balign 16\n"
      ".if (guest_v == 8) | (guest_v >= 10 && guest_v <= 14) | (guest_v == 17)\n .else\n push $0\n .endif\n"
      "push $guest_v\n jmp guest_common\n .set guest_v, guest_v + 1\n .endr\n");
extern const uint8_t guest_gates[];

static struct minivmm vcpu[VCPUS];
static uint8_t *data; /* where slot 1 is; guarded by slot_lock while vCPUs run */
static int data_file;
static uint32_t slot_flags;
static pthread_mutex_t slot_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread[VCPUS];
static sem_t begin[VCPUS], done[VCPUS];
static _Atomic unsigned running;
static bool ending, meddling;
static uint64_t digest;

/* ---- guest memory that the model does not have */

static void put_gdt(void)
{
	static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff,
				       0x00cff3000000ffff, 0x00affb000000ffff};

	memcpy(vcpu[0].mem + MINIVMM_GDT, gdt, sizeof(gdt));
}

static void put_idt(void)
{
	for (unsigned v = 0; v <= VECTOR_END; v++) {
		uint32_t to = MINIVMM_CODE + (uint32_t)(guest_gates - driver.start) + v * 16;
		uint32_t gate[4] = {KERNEL_CS << 16 | (to & 0xffff), (to & 0xffff0000) | 0xee01};

		memcpy(vcpu[0].mem + MINIVMM_IDT + v * 16, gate, sizeof(gate));
	}
}

static void put_tss(unsigned v)
{
	uint64_t ist = IST_AT(v);

	memcpy(vcpu[0].mem + TSS_AT(v) + 4, &ist, 8);
	memcpy(vcpu[0].mem + TSS_AT(v) + 36, &ist, 8);
}

static void set_registers(unsigned v)
{
	struct kvm_sregs s;

	minivmm_load(&vcpu[v], MINIVMM_LONG, driver);
	minivmm_get_sregs(&vcpu[v], &s);
	script_registers(v, &s);
	s.gdt.limit = 6 * 8 - 1;
	s.idt.limit = (VECTOR_END + 1) * 16 - 1;
	/* A return to user mode would take from it what is the supervisor's. */
	s.gs.selector = USER_DS;
	s.gs.dpl = 3;
	s.gs.base = MINE_AT(v);
	s.tr = (struct kvm_segment){.base = TSS_AT(v), .limit = 103, .selector = 0x30, .type = 11, .present = 1};
	minivmm_set_sregs(&vcpu[v], &s);
}

static void to_guest(uint64_t gpa, uint64_t size)
{
	memcpy(gpa < DATA ? vcpu[0].mem + gpa : data + (gpa - DATA), model_at(gpa), size);
}

/* ---- memslots */

static void slot(uint64_t size)
{
	struct kvm_userspace_memory_region r = {.slot = 1, .flags = slot_flags, .guest_phys_addr = DATA,
						.memory_size = size, .userspace_addr = (uintptr_t)data};

	EXPECT(!ioctl(vcpu[0].vm, KVM_SET_USER_MEMORY_REGION, &r), "memslot: %s", strerror(errno));
}

static uint8_t *map_data(void *where)
{
	void *p = mmap(where, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | (where ? MAP_FIXED : 0), data_file, 0);

	EXPECT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static void slot_anew(uint32_t flags)
{
	slot(0);
	slot_flags = flags;
	slot(DATA_SIZE);
}

static void move_slot(void)
{
	uint8_t *old = data;

	slot(0);
	data = map_data(NULL);
	slot(DATA_SIZE);
	munmap(old, DATA_SIZE);
}

static bool take_log(const uint8_t *expected)
{
	uint64_t bitmap[DATA_SIZE / PAGE / 64];
	struct kvm_dirty_log l = {.slot = 1, .dirty_bitmap = bitmap};

	if (!(slot_flags & KVM_MEM_LOG_DIRTY_PAGES))
		return true;
	EXPECT(!ioctl(vcpu[0].vm, KVM_GET_DIRTY_LOG, &l), "KVM_GET_DIRTY_LOG: %s", strerror(errno));
	for (unsigned p = 0; expected && p < DATA_SIZE / PAGE; p++) {
		if (expected[p] != MAY_BE_WRITTEN && expected[p] != (bitmap[p / 64] >> p % 64 & 1)) {
			fprintf(stderr, "page %u was %swritten and is%s in the log\n", p, expected[p] ? "" : "not ",
				expected[p] ? " not" : "");
			return false;
		}
	}
	return true;
}

static void punch(unsigned page, unsigned pages)
{
	madvise(data + page * PAGE, pages * PAGE, MADV_DONTNEED);
}

/* What the guest has asked for. */
static bool answer(const struct asked *a)
{
	bool good = true;

	pthread_mutex_lock(&slot_lock);
	switch (a->what) {
	case ASK_READ_ONLY:
		slot_anew(KVM_MEM_READONLY);
		break;
	case ASK_WRITABLE:
		slot_anew(0);
		break;
	case ASK_LOG:
		slot_flags |= KVM_MEM_LOG_DIRTY_PAGES;
		slot(DATA_SIZE);
		break;
	case ASK_NO_LOG:
		slot_flags &= ~KVM_MEM_LOG_DIRTY_PAGES;
		slot(DATA_SIZE);
		break;
	case ASK_TAKE_LOG:
		good = take_log(meddling ? NULL : a->written);
		break;
	case ASK_MOVE:
		move_slot();
		break;
	case ASK_AGAIN:
		slot_anew(slot_flags);
		break;
	default:
		punch(0, 96);
	}
	pthread_mutex_unlock(&slot_lock);
	return good;
}

/* What a guest does not see. Not of random.c: that would depend on how fast the guest is. */
static void meddle(void)
{
	static uint64_t n;
	uint64_t r = ++n * 0x9e3779b97f4a7c15ULL >> 20;

	pthread_mutex_lock(&slot_lock);
	switch (r % 5) {
	case 0:
		slot_flags ^= KVM_MEM_LOG_DIRTY_PAGES;
		slot(DATA_SIZE);
		break;
	case 1:
		take_log(NULL);
		break;
	case 2:
		punch((unsigned)(r >> 8) % 80, 1 + (unsigned)(r >> 16) % 16);
		break;
	case 3:
		map_data(data);
		break;
	default:
		mprotect(data + (r >> 8) % 80 * PAGE, PAGE, PROT_READ);
		mprotect(data, DATA_SIZE, PROT_READ | PROT_WRITE);
	}
	pthread_mutex_unlock(&slot_lock);
	usleep((useconds_t)(r >> 24) % 300);
}

/* ---- vCPUs */

static bool lost[VCPUS]; /* one has gone wrong */

static void run_script(unsigned v)
{
	struct kvm_regs r = {.rip = MINIVMM_CODE, .rflags = 2};
	int exit;

	minivmm_set_regs(&vcpu[v], &r);
	while (!lost[v]) {
		exit = minivmm_run(&vcpu[v]);
		if (exit == KVM_EXIT_HLT)
			return;
		if (exit == KVM_EXIT_IO && vcpu[v].run->io.port == ASK_PORT) {
			uint32_t n;

			memcpy(&n, (uint8_t *)vcpu[v].run + vcpu[v].run->io.data_offset, sizeof(n));
			lost[v] = !answer(&batch.asked[n]);
		} else if (exit == KVM_EXIT_MMIO ? !vcpu[v].run->mmio.is_write : exit != -EFAULT || !meddling) {
			fprintf(stderr, "vCPU %u: exit %s\n", v, minivmm_exit_name(exit));
			lost[v] = true;
		}
	}
}

static void *vcpu_thread(void *arg)
{
	unsigned v = (unsigned)(uintptr_t)arg;

	for (;;) {
		sem_wait(&begin[v]);
		if (ending)
			return NULL;
		run_script(v);
		running--;
		sem_post(&done[v]);
	}
}

void machine_create(void)
{
	uint64_t zero = 0;

	minivmm_create(&vcpu[0]);
	for (unsigned v = 1; v < batch.vcpus; v++)
		minivmm_add_vcpu(&vcpu[0], v, &vcpu[v]);
	data_file = memfd_create("mappings", 0);
	EXPECT(data_file >= 0 && !ftruncate(data_file, DATA_SIZE), "memfd: %s", strerror(errno));
	data = map_data(NULL);
	slot_flags = 0;
	slot(DATA_SIZE);
	digest = 0;
	memset(lost, 0, sizeof(lost));
	for (unsigned v = 0; v < batch.vcpus; v++)
		set_registers(v);
	put_gdt();
	put_idt();
	memcpy(vcpu[0].mem + TURN_AT, &zero, sizeof(zero));
	to_guest(TABLES, COMPARED - TABLES);
	to_guest(DATA, DATA_SIZE);
	ending = false;
	for (unsigned v = 0; v < batch.vcpus; v++) {
		put_tss(v);
		sem_init(&begin[v], 0, 0);
		sem_init(&done[v], 0, 0);
		EXPECT(!pthread_create(&thread[v], NULL, vcpu_thread, (void *)(uintptr_t)v), "no thread");
	}
}

void machine_destroy(void)
{
	ending = true;
	for (unsigned v = 0; v < batch.vcpus; v++) {
		sem_post(&begin[v]);
		pthread_join(thread[v], NULL);
	}
	for (unsigned v = 1; v < batch.vcpus; v++)
		minivmm_remove_vcpu(&vcpu[v]);
	minivmm_destroy(&vcpu[0]);
	munmap(data, DATA_SIZE);
	close(data_file);
}

/* ---- what came of it */

static void put_script(unsigned v)
{
	uint64_t mine[2] = {SCRIPT_AT(v), OUTS_AT(v)};

	memcpy(vcpu[0].mem + MINE_AT(v), mine, sizeof(mine));
	memcpy(vcpu[0].mem + SCRIPT_AT(v), batch.script[v], batch.nrecords[v] * sizeof(struct record));
	memcpy(vcpu[0].mem + BLOCKS_AT(v), batch.block[v], batch.nblocks[v] * sizeof(struct block));
}

static bool same(const struct out *a, const struct out *b)
{
	return !memcmp(a->reg, b->reg, sizeof(a->reg)) && a->vector == b->vector && a->error == b->error &&
	       a->rip == b->rip && a->cs == b->cs && a->rsp == b->rsp && a->ss == b->ss &&
	       (a->vector != VECTOR_PF || a->cr2 == b->cr2) && !memcmp(a->xmm, b->xmm, sizeof(a->xmm));
}

static void add_to_digest(const struct out *o)
{
	const uint64_t *word = (const uint64_t *)o;

	for (unsigned i = 0; i < sizeof(*o) / 8; i++) {
		if (&word[i] != &o->cr2 || o->vector == VECTOR_PF)
			digest = (digest ^ word[i]) * 0x100000001b3ull;
	}
}

static void print_outs(const struct out *is, const struct out *should)
{
	for (unsigned i = 0; i < 16; i++)
		fprintf(stderr, "  %-6s %2u %18lx %18lx%s\n", "reg", i, is->reg[i], should->reg[i],
			is->reg[i] == should->reg[i] ? "" : " <");
	for (unsigned i = 0; i < 8; i++)
		fprintf(stderr, "  %-6s %2u %18lx %18lx%s\n", "xmm", i, is->xmm[i / 2][i % 2], should->xmm[i / 2][i % 2],
			is->xmm[i / 2][i % 2] == should->xmm[i / 2][i % 2] ? "" : " <");
	fprintf(stderr, "  vector %lu, %lu due; error %lx, %lx; rip %lx, %lx; rsp %lx, %lx; cr2 %lx, %lx\n", is->vector,
		should->vector, is->error, should->error, is->rip, should->rip, is->rsp, should->rsp, is->cr2,
		should->cr2);
}

static bool compare_outs(unsigned v)
{
	const struct out *o = (const struct out *)(vcpu[0].mem + OUTS_AT(v));
	uint64_t end;

	memcpy(&end, vcpu[0].mem + MINE_AT(v) + 8, sizeof(end));
	for (unsigned n = 0; n < batch.nblocks[v]; n++) {
		unsigned at = batch.record[v][n];

		add_to_digest(&o[n]);
		if (same(&o[n], &batch.expected[v][n]) && end >= OUTS_AT(v) + (n + 1) * sizeof(*o))
			continue;
		fprintf(stderr, "vCPU %u, record %u, code %lx, cs %lx, rflags %lx: what came of probe %u, and should\n", v,
			at, batch.block[v][n].rip, batch.block[v][n].cs, batch.block[v][n].rflags, batch.probe[v][n]);
		print_outs(&o[n], &batch.expected[v][n]);
		probe_print(batch.probe[v][n]);
		script_print(v, at > 40 ? at - 40 : 0, at);
		return false;
	}
	if (end != OUTS_AT(v) + batch.nblocks[v] * sizeof(*o))
		fprintf(stderr, "vCPU %u has said more than it was asked\n", v);
	return end == OUTS_AT(v) + batch.nblocks[v] * sizeof(*o);
}

static bool compare_memory(uint64_t gpa, uint64_t size)
{
	const uint8_t *is = gpa < DATA ? vcpu[0].mem + gpa : data + (gpa - DATA), *should = model_at(gpa);

	for (uint64_t i = 0; i < size; i += 8) {
		if (!memcmp(is + i, should + i, 8))
			continue;
		fprintf(stderr, "memory at %#lx: %016lx, and should be %016lx\n", gpa + i, *(const uint64_t *)(is + i),
			*(const uint64_t *)(should + i));
		return false;
	}
	return true;
}

static bool compare(void)
{
	bool good = true;

	for (unsigned v = 0; v < batch.vcpus; v++)
		good = good && !lost[v] && compare_outs(v);
	return good && compare_memory(TABLES, COMPARED - TABLES) && compare_memory(DATA, DATA_COMPARED);
}

uint64_t machine_digest(void)
{
	return digest;
}

static double cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* False: a vCPU runs on where it should not be. */
static bool wait_for(unsigned v, double since)
{
	while (cpu_time() - since < HANGS) {
		struct timespec t;

		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_sec++;
		if (!sem_timedwait(&done[v], &t))
			return true;
	}
	fprintf(stderr, "vCPU %u does not come to an end\n", v);
	return false;
}

bool machine_run(bool with_meddling)
{
	double since = cpu_time();
	bool ended = true;

	meddling = with_meddling;
	to_guest(CODE, PROBE_PAGES * PAGE);
	for (unsigned v = 0; v < batch.vcpus; v++)
		put_script(v);
	running = batch.vcpus;
	for (unsigned v = 0; v < batch.vcpus; v++)
		sem_post(&begin[v]);
	while (meddling && running && cpu_time() - since < HANGS)
		meddle();
	for (unsigned v = 0; v < batch.vcpus; v++)
		ended = ended && wait_for(v, since);
	return ended && compare();
}
