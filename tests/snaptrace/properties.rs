//! What holds for whatever input: what is written is read back, and what is quick agrees with what
//! is plain. The inputs are the same in every run.

use std::collections::HashMap;
use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use snaptrace::tracefs::filter::{FunctionFilter, Functions};
use trace_dat::Reader;
use trace_dat::bytes::ByteOrder;
use trace_dat::event::{Context, Events, Symbols};
use trace_dat::filter::Grouping;
use trace_dat::filter::{Filter, Subject};
use trace_dat::print_fmt::printf::conversions;
use trace_dat::ring_buffer::SubBuffers;
use trace_dat::ring_buffer::{Layout, Missed, Walk};
use trace_dat::write::{Compression, CpuData, Metadata, System, Version, write};

use crate::fixture::made_up;

const PAGE: usize = 512;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Default::default() }
}

fn order() -> impl Strategy<Value = ByteOrder> {
    select(vec![ByteOrder::Little, ByteOrder::Big])
}

/// Records by the time since the one before, what was missed, and a payload.
fn records() -> impl Strategy<Value = Vec<(u64, Missed, Vec<u8>)>> {
    let delta = prop_oneof![0..1000_u64, (1 << 26)..(1_u64 << 28), 0..(1_u64 << 58)];
    let missed = prop_oneof![
        8 => Just(Missed::No),
        1 => Just(Missed::Some),
        1 => (0..u64::from(u32::MAX)).prop_map(Missed::Count),
    ];
    vec((delta, missed, vec(any::<u8>(), 0..200)), 0..40).prop_map(|records| {
        let mut time = 0_u64;
        let absolute = |(delta, missed, payload)| {
            time = time.wrapping_add(delta) >> 1;
            (time, missed, payload)
        };
        records.into_iter().map(absolute).collect()
    })
}

/// A payload as the ring buffer stores it: in whole words, and of one at least where it is short.
fn stored(payload: &[u8]) -> Vec<u8> {
    let mut stored = payload.to_vec();
    stored.resize(payload.len().next_multiple_of(4), 0);
    stored
}

fn written(order: ByteOrder, long_size: usize, records: &[(u64, Missed, Vec<u8>)]) -> Vec<u8> {
    let mut buffers = SubBuffers::new(order, long_size, PAGE);
    for (time, missed, payload) in records {
        assert!(buffers.add(*time, *missed, payload));
    }
    buffers.finish()
}

/// Records without an empty payload, which no event has: the kernel's buffer has no such record.
fn with_payload(records: Vec<(u64, Missed, Vec<u8>)>) -> Vec<(u64, Missed, Vec<u8>)> {
    records.into_iter().filter(|(_, _, payload)| !payload.is_empty()).collect()
}

const FORMAT: &str = "name: demo\nID: 42\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
    \tfield:int a;\toffset:4;\tsize:4;\tsigned:1;\n\
    \tfield:int b;\toffset:8;\tsize:4;\tsigned:1;\n\n\
    print fmt: \"%d %d\", REC->a, REC->b\n";

fn metadata(cpus: usize) -> Metadata {
    Metadata {
        ftrace_formats: vec![FORMAT.into()],
        systems: vec![System { name: "other".into(), formats: vec![FORMAT.replace("42", "43").into()] }],
        kallsyms: b"1000 T open\n2000 T last\n".to_vec(),
        cmdlines: b"7 cat\n".to_vec(),
        cpu_count: cpus as u32,
        ..made_up::metadata(PAGE)
    }
}

/// A word of a glob, as it is written.
fn element() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "_", "*", "?", "[ab]", "[!a]", "[a-b]", "\\*", "\\a"])
}

/// Whether a name fits the elements of a glob, tried out in every way.
fn fits(elements: &[&str], name: &[u8]) -> bool {
    let Some((element, rest)) = elements.split_first() else { return name.is_empty() };
    if *element == "*" {
        return (0..=name.len()).any(|taken| fits(rest, &name[taken..]));
    }
    let Some((&letter, behind)) = name.split_first() else { return false };
    let here = match *element {
        "?" => true,
        "[ab]" | "[a-b]" => letter == b'a' || letter == b'b',
        "[!a]" => letter != b'a',
        "\\*" => letter == b'*',
        "\\a" => letter == b'a',
        plain => letter == plain.as_bytes()[0],
    };
    here && fits(rest, behind)
}

/// A condition: its text in full brackets, and what it is for the fields `a` and `b`.
#[derive(Clone, Debug)]
enum Condition {
    Compare(Value, &'static str, Value),
    Not(Box<Condition>),
    Join(Box<Condition>, &'static str, Box<Condition>),
}

#[derive(Clone, Debug)]
enum Value {
    Number(u32),
    Field(&'static str),
    Compute(Box<Value>, &'static str, Box<Value>),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Value::Number(number) => number.to_string(),
            Value::Field(name) => (*name).to_owned(),
            Value::Compute(left, sign, right) => format!("({} {sign} {})", left.text(), right.text()),
        }
    }

    fn of(&self, a: i32, b: i32) -> i128 {
        match self {
            Value::Number(number) => i128::from(*number),
            Value::Field(name) => i128::from(if *name == "a" { a } else { b }),
            Value::Compute(left, sign, right) => {
                let (left, right) = (left.of(a, b), right.of(a, b));
                match *sign {
                    "+" => left + right,
                    "-" => left - right,
                    "*" => left * right,
                    "&" => left & right,
                    "|" => left | right,
                    _ => left ^ right,
                }
            }
        }
    }
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Condition::Compare(left, sign, right) => format!("({} {sign} {})", left.text(), right.text()),
            Condition::Not(inner) => format!("!{}", inner.text()),
            Condition::Join(left, sign, right) => format!("({} {sign} {})", left.text(), right.text()),
        }
    }

    fn of(&self, a: i32, b: i32) -> bool {
        match self {
            Condition::Compare(left, sign, right) => {
                let (left, right) = (left.of(a, b), right.of(a, b));
                match *sign {
                    "==" => left == right,
                    "!=" => left != right,
                    "<" => left < right,
                    "<=" => left <= right,
                    ">" => left > right,
                    _ => left >= right,
                }
            }
            Condition::Not(inner) => !inner.of(a, b),
            Condition::Join(left, "&&", right) => left.of(a, b) && right.of(a, b),
            Condition::Join(left, _, right) => left.of(a, b) || right.of(a, b),
        }
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let value =
        prop_oneof![(0..20_u32).prop_map(Value::Number), select(vec!["a", "b"]).prop_map(Value::Field)];
    let value = value.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), select(vec!["+", "-", "*", "&", "|", "^"]), inner)
            .prop_map(|(left, sign, right)| Value::Compute(Box::new(left), sign, Box::new(right)))
    });
    let signs = select(vec!["==", "!=", "<", "<=", ">", ">="]);
    // One side names a field: comparisons of numbers alone name no event.
    let compare = (select(vec!["a", "b"]).prop_map(Value::Field), signs, value)
        .prop_map(|(left, sign, right)| Condition::Compare(left, sign, right));
    compare.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
            (inner.clone(), select(vec!["&&", "||"]), inner).prop_map(|(left, sign, right)| Condition::Join(
                Box::new(left),
                sign,
                Box::new(right)
            )),
        ]
    })
}

fn context() -> Context {
    let symbols = Symbols::default();
    Context { order: ByteOrder::Little, long_size: 8, symbols, printk: HashMap::new() }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn records_that_are_written_are_read(order in order(), long in select(vec![4_usize, 8]), records in records()) {
        let records = with_payload(records);
        let layout = Layout::usual(order, long);
        let mut found = Vec::new();
        for page in written(order, long, &records).chunks(PAGE) {
            let mut walk = Walk::start(&layout, page).unwrap();
            while walk.advance(&layout, page).unwrap() {
                found.push((walk.time(), walk.missed(), page[walk.payload()].to_vec()));
            }
        }
        let expected: Vec<_> =
            records.iter().map(|(time, missed, payload)| (*time, *missed, stored(payload))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn globs_match_what_a_plain_matcher_does(
        elements in vec(element(), 1..6),
        names in vec("[ab_*]{1,6}", 1..8),
    ) {
        let pattern = elements.concat();
        let list = names.join("\n") + "\n";
        let filter = FunctionFilter::parse(&pattern).unwrap();
        let expected = names.iter().filter(|name| fits(&elements, name.as_bytes())).count();
        prop_assert_eq!(Functions::parse(&list).count(&filter), expected, "{} in {:?}", pattern, names);
    }

    #[test]
    fn conversions_print_as_rust_does(value in any::<u32>(), width in 0_usize..14) {
        let context = context();
        let text = |format: String| {
            let parsed = conversions(format.as_bytes()).unwrap();
            let mut out = Vec::new();
            parsed[0].1.as_ref().unwrap().number(u64::from(value), &context, &mut out);
            String::from_utf8(out).unwrap()
        };
        prop_assert_eq!(text(format!("%{width}u")), format!("{value:width$}"));
        prop_assert_eq!(text(format!("%-{width}u")), format!("{value:<width$}"));
        prop_assert_eq!(text(format!("%0{width}x")), format!("{value:0width$x}"));
        prop_assert_eq!(text(format!("%{width}X")), format!("{value:width$X}"));
        prop_assert_eq!(text(format!("%{width}o")), format!("{value:width$o}"));
        prop_assert_eq!(text(format!("%0{width}d")), format!("{:0width$}", value as i32));
        prop_assert_eq!(text(format!("%+{width}d")), format!("{:>width$}", format!("{:+}", value as i32)));
        prop_assert_eq!(text(format!("%{width}hhd")), format!("{:width$}", value as i8));
        prop_assert_eq!(text(format!("%.{width}u")), format!("{value:0width$}"));
    }

    #[test]
    fn symbols_are_found_as_by_looking_at_each(
        gaps in vec(1_u64..50, 1..30),
        address in 0_u64..1600,
    ) {
        let mut starts = Vec::new();
        let mut text = String::new();
        for (index, gap) in gaps.iter().enumerate() {
            let start = starts.last().copied().unwrap_or(100) + gap;
            starts.push(start);
            text += &format!("{start:x} T f{index}\n");
        }
        let symbols = Symbols::parse(text);
        let index = starts.iter().rposition(|start| *start <= address);
        // Where the last one ends is not known: it has its first byte only.
        let index = index.filter(|index| index + 1 < starts.len() || starts[*index] == address);
        let expected = index.map(|index| format!("f{index}"));
        prop_assert_eq!(symbols.find(address).map(|symbol| symbol.name.to_owned()), expected);
    }

    #[test]
    fn event_filters_are_what_they_say(condition in condition(), a in -8_i32..24, b in -8_i32..24) {
        let mut events = Events::default();
        events.add("demo", FORMAT, 8).unwrap();
        let record = [&[42, 0, 0, 0][..], &a.to_le_bytes(), &b.to_le_bytes()].concat();
        let subject = Subject { data: &record, cpu: 0, time: 0, comm: b"" };
        let text = format!("demo: {}", condition.text());
        for grouping in [Grouping::AsC, Grouping::LeftToRight] {
            let filter = Filter::compile(&text, &events, grouping).unwrap();
            let event = events.iter().next().unwrap();
            prop_assert_eq!(filter.matches(event, subject, &context()), condition.of(a, b), "{}", &text);
        }
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn recordings_that_are_written_are_read(
        cpus in vec(records(), 1..4),
        (version, compression) in select(vec![
            (Version::V6, Compression::None),
            (Version::V7, Compression::None),
            (Version::V7, Compression::Zlib),
            (Version::V7, Compression::Zstd),
        ]),
    ) {
        let cpus: Vec<_> = cpus.into_iter().map(with_payload).collect();
        let pages: Vec<Vec<u8>> = cpus.iter().map(|records| written(ByteOrder::Little, 8, records)).collect();
        let mut sources: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
        let mut data: Vec<CpuData<'_>> = (0..)
            .zip(&mut sources)
            .map(|(cpu, data)| CpuData { cpu, size: data.len() as u64, data })
            .collect();
        let mut file = Cursor::new(Vec::new());
        write(&mut file, version, compression, &metadata(cpus.len()), &mut data).unwrap();
        let reader = Reader::new("properties.dat", file.into_inner()).unwrap();
        prop_assert_eq!(reader.cpus() as usize, cpus.len());
        prop_assert_eq!(reader.clock(), Some("local"));
        prop_assert_eq!(reader.cmdlines().get(&7).map(Vec::as_slice), Some(&b"cat"[..]));
        prop_assert_eq!(reader.events().iter().count(), 2);
        let mut records = reader.records();
        let mut found = vec![Vec::new(); cpus.len()];
        while let Some(record) = records.next() {
            found[record.cpu as usize].push((record.time, record.missed, record.data.to_vec()));
        }
        records.finish().unwrap();
        let expected: Vec<Vec<_>> = cpus
            .iter()
            .map(|records| records.iter().map(|(time, missed, data)| (*time, *missed, stored(data))).collect())
            .collect();
        prop_assert_eq!(found, expected);
    }
}
