//! The job that the host gives to PID 1.

use serde::{Deserialize, Serialize};

/// The path of the job in the guest.
pub const JOB_PATH: &str = "/job.json";
/// The folder of the guest's kernel modules, without subfolders, as `name.ko`.
pub const MODULE_DIR: &str = "/lib/modules";
/// The folder of the test workloads: one program under several names.
pub const WORKLOAD_DIR: &str = "/workloads";
/// The names of that program.
pub const WORKLOADS: [&str; 5] = ["cat", "insmod", "ls", "repeat", "sh"];
/// The path of the steps' standard input in the guest, if the host passes it as a file.
pub const STDIN_PATH: &str = "/stdin";
/// The name of the virtio-serial port that carries the frames.
pub const RESULTS_PORT: &str = "snaptrace.results";
/// The name of the virtio-serial port for the steps' standard input, if the host sends it while the guest
/// runs.
pub const INPUT_PORT: &str = "snaptrace.input";

/// Everything that PID 1 does in one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Names of the modules to load before the results port is opened, in load order.
    pub boot_modules: Vec<String>,
    /// Commands, run one after another until one ends with an unexpected status.
    pub steps: Vec<Step>,
    /// Guest files to send back after the steps, whether the steps succeeded or not.
    pub get: Vec<String>,
    /// Environment variables of the steps and of the shell, beside the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// Give the console to an interactive shell after the steps.
    pub shell: bool,
    /// Rows and columns of the shell's terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(u16, u16)>,
    /// The steps' standard input is the port [`INPUT_PORT`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input: bool,
    /// The steps' standard input. It is not part of `/job.json`, but a file of its own, [`STDIN_PATH`].
    /// Without it the steps read end of file.
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
