/* SPDX-License-Identifier: MIT */
/* explore/scenarios.h: what scenarios.c lists and other files of scenarios define. */
#ifndef EXPLORE_SCENARIOS_H
#define EXPLORE_SCENARIOS_H

#include "base/types.h"

/* An actor: a vCPU (arg) that writes its page, page 0 for the first, and reads what it wrote. */
#define OWN_LAST_WRITE 2
void own_writes_stay(void *arg);

/* scenarios_files.c: what becomes of what was written to a file */
void setup_writeback(void);
void setup_dax_writeback(void);
void setup_truncate(void);
void setup_dax(void);
void check_truncated(void);
void check_file(void);
void setup_cache_writeback(void);
void setup_cache_dax(void);
void setup_cache_truncate(void);
void check_regrown(void);
void setup_dax_halted(void);
void setup_cache_code(void);
void setup_cache_slot(void);

/* scenarios_code.c: one page of code under several names */
void setup_code_alias(void);
void setup_code_two(void);
void setup_code_files_two(void);
void setup_code_own(void);
void setup_code_vms(void);
void setup_code_beside(void);
void setup_code_file(void);
void setup_code_both(void);
void setup_code_shared(void);
void setup_code_copy(void);
void setup_code_use(void);
void setup_code_gone(void);
void setup_code_vm_ends(void);
void setup_code_vms_two(void);
void setup_code_names(void);
void setup_code_copy_beside(void);
void setup_code_room(void);

/* scenarios_vmm.c: a VMM that owns its address space */
void setup_arena(void);
void setup_unseen(void);
void setup_tables(void);
void setup_two_slots(void);
void setup_two_slots_one(void);
void setup_read_only(void);
void setup_window_late(void);

/* scenarios_pages.c: whose the memory is */
void setup_unbind(void);
void setup_pin(void);
void setup_pfnmap(void);
void setup_pfnmap_refused(void);
void setup_driver(void);
void setup_swap(void);
void check_swap(void);
void setup_merge(void);
void setup_protect(void);
void setup_fork(void);
void setup_poison(void);

void setup_age_write(void);
void check_age_write(void);

/* Fork, and see twice from the child what is at hva (scenarios_pages.c). */
void fork_and_look_at(u64 hva);

/* scenarios_huge.c: huge pages */
void setup_thp_collapse(void);
void setup_thp_move(void);
void check_thp_whole(void);
void setup_thp_migrate(void);
void setup_thp_beside(void);
void setup_thp_ahead(void);
void setup_thp_part(void);
void setup_hugetlb_beside(void);
void setup_thp_poison(void);
void setup_thp_fork(void);
void setup_pin_fork(void);
void setup_pin_fork_huge(void);
void setup_pin_free(void);
void setup_hugetlb(void);
void check_hugetlb(void);
void setup_hugetlb_hole(void);

/* scenarios_advice.c: madvise, soft-dirty, write protection, another process */
void setup_lazy_free(void);
void check_lazy_free(void);
void setup_soft_dirty(void);
void check_soft_dirty(void);
void setup_guard(void);
void setup_other_process(void);

/* scenarios_ranges.c: ranges that are not whole */
void setup_attributes(void);
void setup_part_middle(void);
void setup_part_end(void);
void setup_part_shifted(void);
void setup_part_begin(void);
void setup_part_two(void);
void setup_part_boundary(void);
void check_part(void);
void setup_log_part(void);
void setup_log_part_all(void);
void check_log_part(void);
void setup_many(void);

/* scenarios_uses.c: host-side uses */
void setup_cache_two(void);
void setup_cache_told(void);
void setup_cache_refused(void);
void setup_cache_readonly(void);
void check_caches(void);
void setup_cache_pfnmap(void);
void setup_replace(void);
void setup_cache_replace(void);
void setup_cache_age(void);
void check_cache_age(void);

/* scenarios_rings.c */
void setup_ring_full(void);
void setup_ring_host(void);
void check_rings(void);
void setup_ring_host_full(void);
void setup_ring_no_room(void);
void setup_ring_gone(void);
void setup_ring_smaller(void);
void check_ring_gone(void);
void setup_ring_forged(void);
void setup_ring_large(void);

/* scenarios_tokens.c: a begin and its end */
void setup_rebind(void);
void setup_teardown(void);
void setup_monitor(void);
void setup_open_above(void);
void setup_open_below(void);

/* scenarios_alone.c: one thread */
void setup_tlb(void);
void setup_slots(void);
void setup_look(void);
void setup_look_huge(void);

/* scenarios_oom.c: memory runs out */
void setup_no_memory(void);
void setup_no_tokens(void);

/* scenarios_requests.c: one thing is asked of a vCPU while it does another */
void setup_log_start(void);
void setup_log_huge(void);
void setup_log_huge_all(void);
void check_log_huge(void);
void check_log_start(void);
void setup_log_move(void);
void setup_log_move_copy(void);
void check_log_move(void);
void setup_requests(void);
void setup_ring(void);
void check_ring(void);
void setup_stop(void);
void setup_stop_guest(void);
void setup_stop_both(void);
void setup_stop_signal(void);
void setup_stop_slot(void);
void setup_stop_device(void);
void setup_stop_device_shared(void);
void setup_stop_unmapped(void);
void setup_stop_slow(void);
void setup_stop_held_up(void);
void setup_log_leave(void);
void check_log_leave(void);
void check_both_stopped(void);

void setup_code_content(void); /* scenarios_code.c */
/* scenarios_calls.c */
void setup_log_clear(void);
void setup_log_all(void);
void check_log_clear(void);
void setup_reports(void);
void setup_cache_read(void);
void setup_signals(void);
void setup_refused(void);

#endif
