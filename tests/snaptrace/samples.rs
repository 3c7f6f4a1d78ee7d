//! The samples of `tests/samples`, printed as trace-cmd printed them.

use std::fs;

use crate::fixture::printed;
use crate::fixture::stored::folder;

/// Samples, options of `report`, and the file with the text that is expected.
const SAMPLES: [(&str, &[&str], &str); 11] = [
    ("01-fn.dat", &[], "01-fn.txt"),
    ("02-fnstack.dat", &[], "02-fnstack.txt"),
    ("02-fnstack.dat", &["-O", "parent"], "02-fnstack.parent.txt"),
    ("03-graph.dat", &[], "03-graph.txt"),
    ("03-graph.dat", &["-t"], "03-graph.ns.txt"),
    ("05-events.dat", &[], "05-events.txt"),
    ("05-events.dat", &["-l"], "05-events.latency.txt"),
    ("05-events.dat", &["-R"], "05-events.raw.txt"),
    ("06-fn-v6.dat", &[], "06-fn-v6.txt"),
    ("07-nocomp.dat", &[], "07-nocomp.txt"),
    ("15-overwrite.dat", &[], "15-overwrite.txt"),
];

#[test]
fn samples_are_printed_as_trace_cmd_prints_them() {
    let samples = folder("samples");
    for (sample, options, expected) in SAMPLES {
        let arguments = [&["report", "--style", "trace-cmd-3.1"], options].concat();
        let printed = printed(&arguments, &samples.join(sample));
        let text = String::from_utf8_lossy(&fs::read(samples.join(expected)).unwrap()).into_owned();
        for (number, (printed, expected_line)) in (1..).zip(printed.lines().zip(text.lines())) {
            assert_eq!(printed, expected_line, "{expected}, line {number}");
        }
        assert!(printed == text, "{expected}: the ends differ");
    }
}
