//! The job that the host hands to PID 1.

use serde::{Deserialize, Serialize};

/// Where the job lies in the guest.
pub const JOB_PATH: &str = "/job.json";
/// Where the guest's kernel modules lie, flat, as `name.ko`.
pub const MODULE_DIR: &str = "/lib/modules";
/// Where the test workloads lie: one program under several names.
pub const WORKLOAD_DIR: &str = "/workloads";
/// The names of that program.
pub const WORKLOADS: [&str; 5] = ["cat", "insmod", "ls", "repeat", "sh"];
/// Where a step's standard input lies in the guest, where the host passes one as a file.
pub const STDIN_PATH: &str = "/stdin";
/// The name of the virtio-serial port that carries the frames.
pub const RESULTS_PORT: &str = "snaptrace.results";
/// The name of the virtio-serial port on which standard input arrives, where the host passes it on
/// while the guest runs.
pub const INPUT_PORT: &str = "snaptrace.input";

/// Everything that PID 1 does in one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Modules to load before the results port is looked for, in load order, by name.
    pub boot_modules: Vec<String>,
    /// Commands, run one after another until one ends with an unexpected status.
    pub steps: Vec<Step>,
    /// Guest files to send back after the steps, whether these succeeded or not.
    pub get: Vec<String>,
    /// Give the console to an interactive shell after the steps.
    pub shell: bool,
    /// Rows and columns of the terminal that the shell is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(u16, u16)>,
    /// The steps read what comes through the port [`INPUT_PORT`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input: bool,
    /// The steps' standard input. It lies beside the job, at [`STDIN_PATH`], and is no part of it;
    /// without one they see an end of file.
    #[serde(skip)]
    pub stdin: Option<Vec<u8>>,
}

/// One command of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Program and arguments; the program is looked up in the guest's `PATH`.
    pub argv: Vec<String>,
    /// The exit status that counts as success.
    #[serde(default)]
    pub expect: i32,
    /// Run under SCHED_FIFO, so that no timer tick takes the CPU away.
    #[serde(default)]
    pub fifo: bool,
}
