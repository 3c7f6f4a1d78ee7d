#!/bin/sh
# Makes as many kinds of events happen as a guest can, and takes the buffer out twice: as the kernel's own
# text, and as a recording. For a guest; xtask/tests/all/judge.rs compares the two. What a kernel lacks
# fails quietly, and its events are not in that kernel's list.
exec 2> /tmp/said
tracing=/sys/kernel/tracing
cd $tracing

echo 40000 > buffer_size_kb

# Events of our own, of each kind and type of argument.
busybox=0x$(od -An -tx8 -j24 -N8 /bin/busybox | tr -d ' ')
[ -x /bin/od ] || busybox=0x$(hexdump -s 24 -n 8 -e '1/8 "%x"' /bin/busybox)
open=do_sys_openat2
grep -q " $open$" /proc/kallsyms || open=do_sys_open
echo "p:judge/probe $open dfd=%di:s32 name=+0(%si):ustring mode=%dx:x16 word=+0(%sp):symbol all=%ax:u64 bits=%dx:b4@2/32" >> kprobe_events
echo "p:judge/array $open words=+0(%sp):x32[3] bytes=+0(%si):u8[4] char=+0(%si):x8" >> kprobe_events
echo "r:judge/result $open fd=\$retval:s64" >> kprobe_events
echo "p:judge/start /bin/busybox:$((busybox & 0x3fffff)) stack=%sp:x64" >> uprobe_events
echo 'judge_switch pid_t pid; u64 count; char comm[16]' >> synthetic_events
echo 'hist:keys=pid:p=prio' > events/sched/sched_waking/trigger
echo 'hist:keys=next_pid:c=next_prio:onmatch(sched.sched_waking).judge_switch(next_pid,$c,next_comm)' > events/sched/sched_switch/trigger

# Everything, while next to nothing is done.
echo 1 > events/enable
echo 0 > events/syscalls/enable
echo 0 > events/raw_syscalls/enable
echo 0 > tracing_on
echo > trace
mkdir -p /tmp/mnt /tmp/cgroup /tmp/other
echo 1 > tracing_on
/bin/busybox true
cat /proc/uptime > /dev/null
echo 0 > tracing_on

# What happens all the time is left out of the rest.
for event in rcu msr exceptions percpu mmap_lock maple_tree x86_fpu mmap tlb pagemap vsyscall \
    kmem/kmalloc kmem/kmalloc_node kmem/kfree kmem/kmem_cache_alloc kmem/kmem_cache_alloc_node kmem/kmem_cache_free kmem/mm_page_alloc \
    kmem/mm_page_free kmem/mm_page_free_batched kmem/mm_page_alloc_zone_locked kmem/mm_page_pcpu_drain kmem/rss_stat \
    irq_vectors/local_timer_entry irq_vectors/local_timer_exit timer/hrtimer_start \
    timer/hrtimer_cancel timer/hrtimer_expire_entry timer/hrtimer_expire_exit timer/timer_start \
    timer/timer_cancel timer/timer_init timer/tick_stop power/cpu_idle power/cpu_idle_miss sched/sched_stat_runtime \
    irq/softirq_raise irq/softirq_entry irq/softirq_exit filemap/mm_filemap_add_to_page_cache \
    filemap/mm_filemap_delete_from_page_cache judge synthetic; do
    [ ! -e events/$event/enable ] || echo 0 > events/$event/enable
done
echo 1 > tracing_on
# Work for a kworker, which a moment ago had some only by chance.
echo > /proc/sys/vm/stat_refresh
echo 0 > events/workqueue/workqueue_queue_work/enable
echo 0 > events/workqueue/workqueue_activate_work/enable

# Marks, the log, processes and signals.
echo 'a mark' > trace_marker
printf '\1\0\0\0raw' > trace_marker_raw
echo judge > /dev/kmsg
echo 1 > /proc/sys/kernel/sched_schedstats
sh -c 'kill -USR1 $$; sleep 0.01' &
renice 5 $$ > /dev/null
timeout 1 sleep 0.01
wait
echo 5 > /proc/self/oom_score_adj
exec 3<> /dev/cpu_dma_latency && printf '\0\0\0\0' >&3 && exec 3>&-
for device in /sys/bus/pci/devices/*/power /sys/bus/platform/devices/*/power; do
    [ ! -e $device/control ] || { echo auto; echo on; } > $device/control
    [ ! -e $device/pm_qos_resume_latency_us ] || { echo 100 > $device/pm_qos_resume_latency_us; echo 0 > $device/pm_qos_resume_latency_us; }
done
stty -F /dev/ttyS0 -a > /dev/null
stty -F /dev/ttyS1 -a > /dev/null
cat /proc/interrupts > /dev/null
for irq in /proc/irq/*/smp_affinity; do cat $irq > /tmp/mask; cat /tmp/mask > $irq; done
hwclock -u -r > /dev/null
hwclock -u -w
echo +2 > /sys/class/rtc/rtc0/wakealarm
mount -t nosuchfs none /tmp/mnt
snaptrace start -B judge -e oom:oom_score_adj_update > /dev/null && snaptrace reset -B judge > /dev/null

# Sockets.
ip link set lo up
ip addr add 127.0.0.1/8 dev lo
ping -c 1 -W 1 127.0.0.1 > /dev/null
head -c 100000 /dev/zero > /tmp/page
httpd -p 127.0.0.1:80 -h /tmp
wget -q -O /dev/null http://127.0.0.1/page
nc -w 1 127.0.0.1 81 < /dev/null
nslookup -type=a judge 127.0.0.1 > /dev/null &
ip link add type nosuch
ip link set lo mtu 1400
ip -6 addr add ::1/128 dev lo
ping6 -c 1 -W 1 ::1 > /dev/null
sleep 0.1

# A disk with a file system.
for module in crc16 mbcache jbd2 ext4 loop fuse; do insmod /lib/modules/$module.ko; done
gunzip -c /extra/ext4.img.gz > /tmp/disk
losetup /dev/loop0 /tmp/disk
echo mq-deadline > /sys/block/loop0/queue/scheduler
mount -t ext4 -o discard,lazytime /dev/loop0 /tmp/mnt && {
    cd /tmp/mnt
    head -c 300000 /dev/zero > a
    sync a
    head -c 5000 /dev/zero >> a
    dd if=a of=b bs=4k count=9 oflag=direct conv=fsync
    dd if=b of=/dev/null bs=4k iflag=direct
    dd if=/dev/zero of=a bs=4k seek=5 count=3 conv=notrunc
    fallocate -l 200000 c
    dd if=/dev/zero of=c bs=4k seek=7 count=2 conv=notrunc,fsync
    truncate -s 100 c
    mkdir d && ln a d/l && ln -s a s && mv b d && rm a && mknod n p
    sync
    echo 3 > /proc/sys/vm/drop_caches
    cat d/b d/l > /dev/null
    ls -lR > /dev/null
    rm -r d c s
    sync -f .
    cd $tracing
    mount -o remount,sync /tmp/mnt
    head -c 9000 /dev/zero > /tmp/mnt/e
    fstrim /tmp/mnt
    fsfreeze --freeze /tmp/mnt && fsfreeze --unfreeze /tmp/mnt
    echo judge > /sys/fs/ext4/loop0/trigger_fs_error
    umount /tmp/mnt
    mount -t ext4 -o data=journal,nodelalloc /dev/loop0 /tmp/mnt
    head -c 300000 /dev/zero > /tmp/mnt/f
    sync
    truncate -s 4000 /tmp/mnt/f
    rm /tmp/mnt/f
    umount /tmp/mnt
    head -c 300000 /dev/zero > /tmp/small
    losetup /dev/loop1 /tmp/small
    mke2fs /dev/loop1 > /dev/null
    mount -t ext4 /dev/loop1 /tmp/mnt
    head -c 30000 /dev/zero > /tmp/mnt/g
    sync
    rm /tmp/mnt/g
    umount /tmp/mnt
    losetup -d /dev/loop1
    # Swapped out to it.
    mkswap /dev/loop0 > /dev/null
    swapon /dev/loop0
}

# Memory.
mount -t cgroup2 none /tmp/cgroup && {
    echo +memory > /tmp/cgroup/cgroup.subtree_control
    mkdir /tmp/cgroup/a
    mkdir /tmp/cgroup/b
    echo 3M > /tmp/cgroup/b/memory.high
    sh -c 'echo $$ > /tmp/cgroup/b/cgroup.procs; head -c 5000000 /dev/zero > /tmp/more; cat /tmp/more > /dev/null'
    sleep 1 &
    echo $! > /tmp/cgroup/b/cgroup.procs
    echo 1 > /tmp/cgroup/b/cgroup.freeze
    echo 0 > /tmp/cgroup/b/cgroup.freeze
    kill %1
    wait
    rmdir /tmp/cgroup/a /tmp/cgroup/b
}
swapoff /dev/loop0
losetup -d /dev/loop0
rmmod fuse
mount -t cgroup -o none,name=judge none /tmp/other
mount -o remount,release_agent=/bin/true /tmp/other
mkdir /tmp/other/a && mv /tmp/other/a /tmp/other/b && rmdir /tmp/other/b
umount /tmp/other
echo 1 > /proc/sys/vm/compact_memory
echo 3 > /proc/sys/vm/drop_caches
sleep 2
echo 0 > tracing_on

cat trace > /tmp/kernel.txt
snaptrace extract -q -o /tmp/judge.dat
true
