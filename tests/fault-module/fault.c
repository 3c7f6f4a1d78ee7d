// SPDX-License-Identifier: GPL-2.0
/*
 * Faults that only the kernel itself can have, caused while the module is loaded:
 * insmod fault.ko kind=oops
 *
 * Loaded in guests of the fault suite and nowhere else. Builds on Linux 5.4 and newer.
 */
#include <linux/compiler.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

static char *kind = "";
module_param(kind, charp, 0);
MODULE_PARM_DESC(kind, "oops, lockup, stall or hang");

/* The address is not known to the compiler, which would leave out what follows. */
static int *volatile nowhere;

static int __init fault_init(void)
{
	if (!strcmp(kind, "oops"))
		return *nowhere;
	if (!strcmp(kind, "lockup")) {
		/* No cpu_relax() here: an emulator takes its time over that. */
		preempt_disable();
		for (;;)
			barrier();
	}
	if (!strcmp(kind, "stall")) {
		/* The watchdog of soft lock-ups would speak up first. */
		rcu_read_lock();
		for (;;) {
			touch_softlockup_watchdog();
			barrier();
		}
	}
	if (!strcmp(kind, "hang")) {
		/* Nobody wakes this task up. */
		for (;;) {
			set_current_state(TASK_UNINTERRUPTIBLE);
			schedule();
		}
	}
	return -EINVAL;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_DESCRIPTION("Faults caused on purpose, for the tests of a harness");
MODULE_LICENSE("GPL");
