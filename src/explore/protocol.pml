/* SPDX-License-Identifier: MIT */
/*
 * src/explore/protocol.pml: guest memory's protocol once more, by hand and without the source, for the model
 * checker spin: what the explorer says of the code, this says of the idea. A vCPU's handshake with whoever flushes
 * (docs/memory.md, "The handshake"), the sequence check of a fault, and the stop of the world.
 *
 * Two vCPUs use one page; the primary MMU takes it away and gives it back. A vCPU's store of its mode may stay in its
 * store buffer until a fence, an atomic or any moment the processor likes (x86). The tests leave one thing out:
 *
 *   NO_FENCE     no fence between the mode's store and the look at the requests
 *   NO_SEQUENCE  a fault that was overtaken by an invalidation installs all the same
 *   NO_TOKEN     a fault during an invalidation installs all the same
 *   NO_FLUSH     TLBs are not flushed before the page goes
 *   NO_GATE      a vCPU enters guest mode while another has stopped it
 *   LOST_STOP    a vCPU looks for a stop before it takes up its requests, and a stop between the two is lost
 */
#define VCPUS 2
#define TURNS 2 /* accesses of each vCPU; of which the first vCPU stops the other in one */

#ifdef NO_SEQUENCE
#define NOT_OVERTAKEN true
#else
#define NOT_OVERTAKEN (seen == sequence)
#endif
#ifdef NO_TOKEN
#define NONE_IN_PROGRESS true
#else
#define NONE_IN_PROGRESS (tokens == 0)
#endif

#define FLUSH 1
#define STOP  2

bool page = true; /* the frame is the VMM's still */
bool pte = true;  /* the primary MMU shows it */
bool leaf;	  /* stage 2 */
bool tlb[VCPUS];
byte requests[VCPUS];
bool in_guest[VCPUS]; /* the mode, as others see it */
bool coming[VCPUS];   /* its store is in the buffer still */
byte answers[VCPUS];
byte tokens, sequence; /* under mmu_lock, which is what makes the blocks below atomic */
byte stopper;	       /* 1 + the vCPU that has stopped the others */
bool stopped;	       /* and they are out */
bool over;	       /* the stop has been made */

/* The buffer drains when it likes. */
active [VCPUS] proctype buffer()
{
	byte me = _pid;

end:	do
	:: atomic { coming[me] -> in_guest[me] = true; coming[me] = false }
	od
}

inline fence() /* or an atomic operation: what is in the buffer is there */
{
	atomic { if :: coming[me] -> in_guest[me] = true; coming[me] = false :: else fi }
}

inline answer()
{
	if
	:: requests[me] ->
		atomic {
			fence();
			taken = requests[me];
			requests[me] = 0
		}
		if
		:: taken & FLUSH -> tlb[me] = false; answers[me]++
		:: else
		fi
	:: else
	fi
}

inline look_for_stop()
{
#ifdef NO_GATE
	out = false
#else
	out = stopper != 0 && stopper != me + 1
#endif
}

inline held_back()
{
#ifdef LOST_STOP
	look_for_stop();
	if :: out :: else -> answer() fi
#else
	answer();
	look_for_stop()
#endif
}

inline leave()
{
	atomic { fence(); in_guest[me] = false }
}

inline enter()
{
	do
	:: coming[me] = true;
#ifndef NO_FENCE
	   fence();
#endif
	   held_back();
	   if
	   :: out -> leave(); (stopper == 0 || stopper == me + 1)
	   :: else -> break
	   fi
	od
}

inline safe_point()
{
	if
	:: requests[me] ->
		held_back();
		if :: out -> leave(); enter() :: else fi
	:: else
	fi
}

/* A fault, outside guest mode: look, ask the primary MMU, check, install. */
inline fault()
{
	leave();
	seen = sequence;
	there = pte;
	atomic { /* mmu_lock for read; nothing yields in it but the install itself */
		if
		:: (there && NOT_OVERTAKEN && NONE_IN_PROGRESS) -> leaf = true
		:: else
		fi
	}
	enter()
}

inline access()
{
	if
	:: tlb[me]
	:: else ->
		walked = leaf;
		if
		:: walked -> tlb[me] = true
		:: else -> fault()
		fi
	fi;
	if
	:: tlb[me] ->
		assert(page); /* what is reached is the VMM's */
		assert(!stopped || stopper == me + 1) /* and nobody has stopped this vCPU */
	:: else
	fi
}

inline stop_others()
{
	atomic { stopper == 0 -> stopper = me + 1 } /* stop_lock */
	leave();
	stopper = me + 1;
	atomic { requests[1 - me] = requests[1 - me] | STOP };
	!in_guest[1 - me];
	stopped = true;
	enter();
	access();
	stopped = false;
	stopper = 0
}

active [VCPUS] proctype vcpu()
{
	byte me = _pid - VCPUS;
	byte n, taken, seen;
	bool out, there, walked;

	enter();
	do
	:: n < TURNS -> n++; access(); safe_point()
	:: n == TURNS -> break
	od;
	if
	:: me == 0 -> stop_others(); over = true
	:: else -> /* guest code that leaves only when it is asked to */
		do
		:: over -> break
		:: requests[me] -> safe_point()
		od
	fi;
	leave()
}

active proctype primary()
{
	byte i, before;

	atomic { tokens++; leaf = false } /* begin, with mmu_lock held for write */
#ifndef NO_FLUSH
	i = 0;
	do
	:: i < VCPUS ->
		before = answers[i];
		atomic { requests[i] = requests[i] | FLUSH };
		(!in_guest[i] || answers[i] != before); /* it is out, and looks before it is in; or it has answered */
		i++
	:: else -> break
	od;
#endif
	pte = false;
	page = false; /* another process's now */
	atomic { tokens--; sequence++ }
	page = true;
	pte = true
}
