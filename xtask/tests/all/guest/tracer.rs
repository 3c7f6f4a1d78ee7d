//! The tracer in guests: settings restored however a recording ends, CPU hotplug, and errors that name their
//! cause.

use std::fs;

use libtest_mimic::Failed;
use xtask::base::cache::Cache;
use xtask::base::workspace::Workspace;
use xtask::kernel;

use crate::common::{demand, expect, root};

/// Ends recordings by signals, and compares all control files before and after.
const ENDINGS: &str = r#"
cd /sys/kernel/tracing
state() {
    for file in current_tracer tracing_on tracing_cpumask trace_clock trace_options set_* \
        max_graph_depth buffer_size_kb options/* events/sched/*/filter events/sched/*/trigger; do
        echo "== $file"; cat "$file"
    done
    ls instances
}
snaptrace start -p function -l vfs_open -n vfs_fsync -C global -b 100 --max-graph-depth 3 || exit 1
snaptrace set -e sched:sched_wakeup -f 'pid > 5' -R 'traceon if pid == 1' || exit 1
state > /tmp/before
ended() {
    signal=$1; wanted=$2; shift 2
    snaptrace record -o /tmp/out.dat "$@" > /tmp/out 2>&1 &
    pid=$!
    until grep -q Hit /tmp/out; do sleep 1; done
    kill -$signal $pid
    wait $pid
    status=$?
    [ $status = $wanted ] || echo "$signal $*: status $status"
    [ $signal != KILL ] || snaptrace list -t > /tmp/list 2>&1 || cat /tmp/list
    [ $signal != KILL ] || grep -q "process $pid was killed" /tmp/list || echo "nothing was said: $(cat /tmp/list)"
    state > /tmp/after
    diff /tmp/before /tmp/after || echo "$signal $*: not restored"
}
ended KILL 137 -p function -l '__kmalloc*'
ended KILL 137 -p function -l '__kmalloc*' --func-stack -e sched:sched_switch -f 'prev_pid > 0' -C local -b 50
ended KILL 137 --top -e sched:sched_wakeup -f 'pid > 9' -R stacktrace
ended QUIT 131 --top -e sched:sched_wakeup -f 'pid > 9' -R stacktrace
ended TERM 143 -p function_graph -g vfs_read --max-graph-depth 1
ended INT 0 -p function -l '__kmalloc*'
ls /run
"#;

pub fn restored(kernel: &str) -> Result<(), Failed> {
    let (stdout, _) = expect(0, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", ENDINGS])?;
    demand(stdout.is_empty(), "something is not as it was, or was left behind", &stdout)
}

/// On two CPUs, of which the kernel starts one: checks which CPU's data has which records. Prints a message
/// for each thing that is not as expected.
const COMES_AND_GOES: &str = r#"
cd /sys/kernel/tracing
# The CPUs that a recording has sched_switch of.
cpus() { snaptrace report -F sched_switch "$1" | sed -n 's/^[^[]* \[0*\([0-9][0-9]*\)\] .*$/\1/p' | sort -u | tr '\n' ' '; }
is() { [ "$2" = "$3" ] || echo "$1: '$2' and not '$3'"; }
record() {
    name=$1; wanted=$2; shift 2
    timeout 300 snaptrace record -q -o /tmp/out.dat "$@" > /tmp/said 2>&1 || { echo "$name: status $?"; cat /tmp/said; }
    [ -s /tmp/said ] && { echo "$name said:"; cat /tmp/said; }
    is "$name: CPUs" "$(cpus /tmp/out.dat)" "$wanted"
    is "$name: head" "$(snaptrace report /tmp/out.dat | head -1)" cpus=2
}
switch() { echo $1 > /sys/devices/system/cpu/cpu1/online; }
cat > /tmp/coming.sh <<'END'
sleep 1; echo 1 > /sys/devices/system/cpu/cpu1/online; taskset 2 true; sleep 1; taskset 2 true; taskset 2 true
END
cat > /tmp/going.sh <<'END'
taskset 2 true; sleep 1; echo 0 > /sys/devices/system/cpu/cpu1/online; sleep 1; true
END
event="-e sched:sched_switch"
is "CPUs online at first" "$(cat /sys/devices/system/cpu/online)" 0
is "slots" "$(cat /sys/devices/system/cpu/possible)" 0-1
mkdir instances/early
record "never online" "0 " $event true
record "never online, at the top" "0 " --top -s 0 $event true
is stat "$(snaptrace stat | grep -c '^ *1   no buffer: not online yet$')" 1
record "comes, in an instance" "0 1 " $event sh /tmp/coming.sh
record "goes, in an instance" "0 1 " $event sh /tmp/going.sh
record "offline before, in an instance" "0 " $event true
# The top buffer keeps a CPU that was online, and what it had recorded.
echo 1 > events/sched/sched_switch/enable
switch 1; taskset 2 true; switch 0
echo 0 > events/sched/sched_switch/enable
grep -q '^entries: [1-9]' per_cpu/cpu1/stats || echo "nothing was left at the top"
record "offline before, at the top" "0 " --top $event true
is "left at the top" "$(head -1 per_cpu/cpu1/stats)" "entries: 0"
record "comes, at the top" "0 1 " --top -s 0 $event sh /tmp/coming.sh
record "goes, at the top" "0 1 " --top $event sh /tmp/going.sh
streamed=$(timeout 300 snaptrace stream $event sh /tmp/coming.sh 2>/tmp/said | sed -n 's/^[^[]* \[0*\([0-9][0-9]*\)\] .*$/\1/p' | sort -u | tr '\n' ' ')
is "streamed" "$streamed" "0 1 "; cat /tmp/said
switch 0
# It was made before the CPU came, so it has its buffer; one made now has not.
mkdir instances/late
for instance in early late; do
    echo 1 > instances/$instance/events/sched/sched_switch/enable
    true; sleep 0.1
    snaptrace extract -q -B $instance -o /tmp/out.dat || echo "extract of $instance: status $?"
    is "extracted from $instance" "$(cpus /tmp/out.dat)" "0 "
    is "no buffer in $instance" "$(snaptrace stat -B $instance | grep -c 'no buffer: ')" $([ $instance = late ] && echo 1 || echo 0)
done
"#;

pub fn absent_cpus(kernel: &str) -> Result<(), Failed> {
    let run = ["run", "--kernel", kernel, "--cpus", "2", "--max-cpus", "2", "--append", "maxcpus=1", "--"];
    let (stdout, _) = expect(0, &root(), &[&run[..], &["sh", "-c", COMES_AND_GOES]].concat())?;
    demand(stdout.is_empty(), "not all is as it should be", &stdout)?;
    let refused = |status, flags: &[&str]| {
        expect(status, &root(), &[&["run", "--kernel", kernel], flags, &["--", "true"]].concat())
    };
    let (_, stderr) = refused(2, &["--cpus", "4", "--max-cpus", "2"])?;
    demand(stderr.contains("cannot have 4 CPUs in 2 slots"), "no reason", &stderr)?;
    refused(2, &["--max-cpus", "65"]).map(drop)
}

/// The CPU time, in clock ticks, of a recording while nothing happens; in a bit-exact guest it is the same in
/// every run.
const IDLE: &str = r#"
snaptrace record -q -s 0 -p function -l __x64_sys_swapoff -o /tmp/out.dat > /tmp/said 2>&1 &
pid=$!
ticks() { set -- $(cat /proc/$pid/stat); echo $((${14} + ${15})); }
until [ "$(cat /sys/kernel/tracing/instances/*/tracing_on 2>/dev/null)" = 1 ]; do sleep 1; done
sleep 1; before=$(ticks); sleep 4; after=$(ticks)
kill -INT $pid; wait $pid || echo "status $?"
cat /tmp/said
[ $((after - before)) -lt 40 ] || echo "$((after - before)) ticks in 4 s"
snaptrace report /tmp/out.dat
"#;

pub fn no_spinning(kernel: &str) -> Result<(), Failed> {
    let run = ["run", "--exact", "--kernel", kernel, "--max-cpus", "4", "--", "sh", "-c", IDLE];
    let (stdout, _) = expect(0, &root(), &run)?;
    demand(stdout == "cpus=4\n", "the recording was not idle, or did not end", &stdout)
}

/// In a pid namespace, and then in a locked-down kernel, if the kernel supports these.
const CAUSES: &str = r#"
if [ -e /proc/self/ns/pid ]; then
    snaptrace record -q -F -e sched -o /tmp/out.dat true || echo "outside: status $?"
    unshare -p -f --mount-proc sh -c 'for command in start set "record -q" trace stream; do
        snaptrace $command -F -e sched true 2> /tmp/said; [ $? = 2 ] || echo "$command -F: status $?"
        grep -q -- "-F would choose the wrong process: this is a pid namespace" /tmp/said || cat /tmp/said
    done
    snaptrace record -q -P $$ -e sched -o /tmp/out.dat true 2> /tmp/said; [ $? = 2 ] || echo "-P: status $?"
    snaptrace record -q -e sched -o /tmp/out.dat true || echo "without -F: status $?"
    cat /sys/kernel/tracing/set_event'
    echo "namespaces"
fi
mount -t securityfs securityfs /sys/kernel/security
if [ -e /sys/kernel/security/lockdown ]; then
    echo confidentiality > /sys/kernel/security/lockdown
    for command in "list -t" "list -f" check stat "record -e sched true" "start -p function" "set -e sched" \
        "trace -p function true" "stream -e sched true" show stop restart clear reset filter extract \
        snapshot check-events; do
        snaptrace $command 2> /tmp/said; [ $? = 13 ] || echo "$command: status $?"
        grep -q 'the kernel is locked down (/sys/kernel/security/lockdown says confidentiality)' /tmp/said ||
            { echo "$command:"; cat /tmp/said; }
    done
    echo "lockdown"
fi
"#;

pub fn named_causes(kernel: &str) -> Result<(), Failed> {
    let (stdout, _) = expect(0, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", CAUSES])?;
    let h = Workspace::new(root(), Cache::open()?, false);
    let image = kernel::cached(&h, h.matrix()?.find(kernel)?)?.ok_or("the kernel is gone")?;
    let config = fs::read_to_string(image.config)?;
    let has = |symbol: &str| config.contains(&format!("CONFIG_{symbol}=y\n"));
    let (namespaces, lockdown) = (has("PID_NS"), has("SECURITY_LOCKDOWN_LSM"));
    let wanted = [(namespaces, "namespaces\n"), (lockdown, "lockdown\n")]
        .map(|(has, said)| if has { said } else { "" });
    demand(stdout == wanted.concat(), "a cause is not named", &stdout)?;
    if !lockdown {
        return Ok(());
    }
    // If locked down from the boot on, there are no files at all, and securityfs is not mounted.
    let run =
        ["run", "--kernel", kernel, "--append", "lockdown=confidentiality", "--", "snaptrace", "list", "-t"];
    let (_, stderr) = expect(13, &root(), &run)?;
    demand(stderr.contains("it was booted with lockdown=confidentiality"), "the cause is not named", &stderr)
}

pub fn few_cells(kernel: &str) -> Result<(), Failed> {
    let (stdout, stderr) =
        expect(0, &root(), &["restore", "--quick", "--only", "snaptrace", "--kernel", kernel])?;
    let passed = stdout.lines().last().and_then(|line| line.strip_suffix(" passed, 0 failed"));
    let passed = passed.and_then(|count| count.parse().ok()).unwrap_or(0);
    demand(passed >= 15, "hardly any cell was run", &(stdout + &stderr))
}
