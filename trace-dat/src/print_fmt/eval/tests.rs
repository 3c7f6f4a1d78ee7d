//! The text of print formats, in our own style and in trace-cmd's.

use super::Run;
use crate::bytes::ByteOrder;
use crate::event::{Context, Event, Symbols};

/// An event with a print format, a record of it, and the context. Its fields are `a` = 6, `b` = -1, `s` =
/// "text", `loc`, which points at "abc", and others.
fn example(print: &str, long_size: usize) -> (Event, Vec<u8>, Context) {
    let text = format!(
        "name: demo\nID: 1\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
         \tfield:u64 a;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:int b;\toffset:16;\tsize:4;\tsigned:1;\n\
         \tfield:__data_loc char[] loc;\toffset:20;\tsize:4;\tsigned:1;\n\
         \tfield:char s[8];\toffset:24;\tsize:8;\tsigned:1;\n\
         \tfield:__rel_loc char[] rel;\toffset:32;\tsize:4;\tsigned:1;\n\
         \tfield:__data_loc unsigned long[] mask;\toffset:36;\tsize:4;\tsigned:0;\n\
         \tfield:u8 id[16];\toffset:40;\tsize:16;\tsigned:0;\n\
         \tfield:u8 mac[6];\toffset:56;\tsize:6;\tsigned:0;\n\
         \tfield:s16 small;\toffset:62;\tsize:2;\tsigned:1;\n\
         \tfield:__u8 addr[28];\toffset:64;\tsize:28;\tsigned:0;\n\
         \tfield:u8 ip[4];\toffset:92;\tsize:4;\tsigned:0;\n\
         \tfield:u32 words[2];\toffset:96;\tsize:8;\tsigned:0;\n\
         \tfield:void * ptr;\toffset:104;\tsize:8;\tsigned:0;\n\
         \tfield:struct in6_addr six;\toffset:112;\tsize:16;\tsigned:0;\n\
         \tfield:__data_loc u8[] bytes;\toffset:128;\tsize:4;\tsigned:0;\n\
         \tfield:char letter;\toffset:132;\tsize:1;\tsigned:1;\n\
         \tfield:long wide;\toffset:136;\tsize:8;\tsigned:1;\n\nprint fmt: {print}\n"
    );
    let event = Event::parse("demo", &text, long_size).unwrap();
    let mut record = vec![0; 8];
    record.extend(6_u64.to_le_bytes());
    record.extend((-1_i32).to_le_bytes());
    record.extend((144_u32 | 4 << 16).to_le_bytes());
    record.extend(b"text\0\0\0\0");
    // Beyond the end of the field, which is at 36.
    record.extend((112_u32 | 4 << 16).to_le_bytes());
    record.extend((152_u32 | 16 << 16).to_le_bytes());
    record.extend(0..16_u8);
    record.extend([0xa, 0xb, 0xc, 1, 2, 3]);
    record.extend((-2_i16).to_le_bytes());
    record.extend(2_u16.to_le_bytes());
    record.extend(8080_u16.to_be_bytes());
    record.extend([127, 0, 0, 1]);
    record.extend([0; 20]);
    record.extend([10, 0, 2, 15]);
    record.extend(7_u32.to_le_bytes());
    record.extend(0xffff_fffe_u32.to_le_bytes());
    record.extend(0xffff_8880_0000_0000_u64.to_le_bytes());
    record.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    record.extend((168_u32 | 3 << 16).to_le_bytes());
    record.extend([b'x', 0, 0, 0]);
    record.extend((-5_i64).to_le_bytes());
    record.extend(b"abc\0rel\0");
    record.extend(5_u64.to_le_bytes());
    record.extend((1_u64 << 63 | 1 << 31).to_le_bytes());
    record.extend([0x10, 0x20, 0x30, 0]);
    let context = Context {
        order: ByteOrder::Little,
        long_size,
        symbols: Symbols::parse("1000 T open\n1000 D KNOWN\n2000 T close\n".to_string()),
        printk: Default::default(),
    };
    (event, record, context)
}

fn shown_with(print: &str, long_size: usize) -> [Option<String>; 2] {
    let (event, record, context) = example(print, long_size);
    [false, true].map(|trace_cmd| {
        let program = event.print(trace_cmd)?;
        let mut out = Vec::new();
        let run = Run::new(&event, &record, &context);
        run.print(program, &mut out);
        assert!(!run.is_short(), "{print}");
        Some(String::from_utf8_lossy(&out).into_owned())
    })
}

/// The text of a print format: read according to C, and as trace-cmd reads it.
fn shown(print: &str) -> [Option<String>; 2] {
    shown_with(print, 8)
}

fn why_not(print: &str) -> String {
    example(print, 8).0.why_not().unwrap_or("it is understood").to_string()
}

/// Checks print formats and their texts in our style and in trace-cmd's; `None` if it does not parse.
fn assert_shown(all: &[(&str, &str, Option<&str>)]) {
    for (print, ours, theirs) in all {
        let [own, trace_cmd] = shown(print);
        let why = || format!("{print}: {}", why_not(print));
        assert_eq!(own.as_deref(), Some(*ours), "{}", why());
        assert_eq!(trace_cmd.as_deref(), *theirs, "trace-cmd: {print}");
    }
}

/// Checks print formats whose text is the same in both styles.
fn assert_same(all: &[(&str, &str)]) {
    for (print, text) in all {
        assert_shown(&[(print, text, Some(text))]);
    }
}

#[test]
fn print_formats_are_run() {
    assert_same(&[
        ("\"%d %u %x\", REC->b, REC->b, (u8)REC->b", "-1 4294967295 ff"),
        ("\"%s|%-6s|%.2s|%5s\", REC->s, REC->s, REC->s, __get_str(loc)", "text|text  |te|  abc"),
        ("\"%03llu %#lx %p %p\", REC->a, REC->a, (void *)REC->a, (void *)0", "006 0x6 0x6 (nil)"),
        ("\"%ps %pS\", (void *)0x1004, (void *)(0x1000 + REC->a)", "open open+0x6"),
        ("\"%*d|%d\", 4, (int)REC->a, REC->a > 5 ? 1 : 0", "   6|1"),
        ("\"%s\", __print_flags(REC->a, \"+\", { 1UL << 1, \"two\" }, { 4, \"four\" })", "two+four"),
        ("\"%s\", __print_symbolic(REC->a, { 6, \"si\" \"x\" })", "six"),
        ("\"%s\", __print_symbolic(REC->a, { 5, \"five\" })", "0x6"),
        ("\"%s %d\", __print_hex(__get_dynamic_array(loc), 3), __get_dynamic_array_len(loc)", "61 62 63 4"),
        ("\"%lx %s\", (long *)KNOWN + REC->a * 0, REC->a ? \"yes\" : \"no\"", "1000 yes"),
    ]);
    assert_eq!(shown("\"%d\", 2 + 3 * 4 - 1 << 1 == 26 && !0 ? 7 : 8")[0].as_deref(), Some("7"));
}

#[test]
fn what_pointers_point_at_is_printed() {
    let id = "0001:0203:0405:0607:0809:0a0b:0c0d:0e0f|000102030405060708090a0b0c0d0e0f|1:203:405:607:809:a0b:c0d:e0f";
    assert_same(&[
        (
            "\"%pU|%pUb|%pUB\", REC->id, REC->id, REC->id",
            "00010203-0405-0607-0809-0a0b0c0d0e0f|00010203-0405-0607-0809-0a0b0c0d0e0f|00010203-0405-0607-0809-0A0B0C0D0E0F",
        ),
        (
            "\"%pUl|%pUL\", REC->id, REC->id",
            "03020100-0504-0706-0809-0a0b0c0d0e0f|03020100-0504-0706-0809-0A0B0C0D0E0F",
        ),
        (
            "\"%pM|%pMF|%pMR\", REC->mac, REC->mac, REC->mac",
            "0a:0b:0c:01:02:03|0a-0b-0c-01-02-03|03:02:01:0c:0b:0a",
        ),
        ("\"%pm|%pmR\", REC->mac, REC->mac", "0a0b0c010203|0302010c0b0a"),
        (
            "\"%pI4|%pi4|%pI4h|%pI4n\", REC->ip, REC->ip, REC->ip, REC->ip",
            "10.0.2.15|010.000.002.015|15.2.0.10|10.0.2.15",
        ),
        ("\"%pI4l|%pI4b\", REC->ip, REC->ip", "15.2.0.10|10.0.2.15"),
        ("\"%pI6|%pi6|%pI6c\", REC->id, REC->id, REC->id", id),
        ("\"%pI6c\", REC->six", "2001:db8::1"),
        (
            "\"%pIS|%pISpc|%pISp|%piS|%pISh\", REC->addr, REC->addr, REC->addr, REC->addr, REC->addr",
            "127.0.0.1|127.0.0.1:8080|127.0.0.1:8080|127.000.000.001|1.0.0.127",
        ),
        ("\"%*ph|%*phC\", 3, __get_dynamic_array(bytes), 3, __get_dynamic_array(bytes)", "10 20 30|10:20:30"),
        ("\"%*phD|%*phN\", 3, __get_dynamic_array(bytes), 2, __get_dynamic_array(bytes)", "10-20-30|1020"),
        (
            "\"%pS %ps %pF %pf\", (void *)0x1004, (void *)0x1004, (void *)0x1004, (void *)0x1004",
            "open+0x4 open open+0x4 open",
        ),
    ]);
    assert_shown(&[
        ("\"%pI6c\", &REC->six", "2001:db8::1", None),
        ("\"%pI4\", &REC->id[4]", "4.5.6.7", None),
        ("\"%pIScp\", REC->addr", "127.0.0.1:8080", Some("127.0.0.1p")),
        ("\"%pISpc\", __get_rel_sockaddr(rel)", "(einval)", None),
        (
            "\"%pK|%px\", REC->ptr, REC->ptr",
            "0xffff888000000000|0xffff888000000000",
            Some("0xffff888000000000K|0xffff888000000000x"),
        ),
        ("\"%pB\", (void *)0x2000", "open+0x1000", Some("0x2000B")),
        (
            "\"%pe|%pe\", (void *)(long)REC->b, REC->ptr",
            "-EPERM|0xffff888000000000",
            Some("0xffffffffe|0xffff888000000000e"),
        ),
        ("\"%*ph\", 4, REC->ip", "0a 00 02 0f", Some("ARG TYPE NOT FIELD BUT 2")),
        ("\"%*ph\", 4, (u8 *)REC->ip", "0a 00 02 0f", Some("ARG TYPE NOT FIELD BUT 7")),
        ("\"%3ph\", __get_dynamic_array(bytes)", "10 20 30", Some("10")),
        ("\"%pI4\", REC->id", "0.1.2.3", Some("INVALIDIPv4")),
        ("\"%pM\", REC->ip", "0a:00:02:0f:07:00", Some("INVALIDMAC")),
        ("\"%pI4\", __get_dynamic_array(bytes)", "16.32.48.0", Some("ARG TYPE NOT FIELD BUT 10")),
        ("\"%ptT|%ptTd\", &REC->a, &REC->a", "1970-01-01T00:00:06|1970-01-01", None),
        ("\"%ptTt|%ptTs\", &REC->a, &REC->a", "00:00:06|1970-01-01 00:00:06", None),
        ("\"%c|%c%%\", REC->letter, REC->s[1]", "x|e%", Some(">c<|>c<%")),
        ("\"%#x %#o %#X\", 0, 0, 0", "0x0 0 0X0", Some("0 0 0")),
        ("\"%+d\", REC->a", "+6", Some(">+<d")),
    ]);
}

#[test]
fn bits_and_text_are_printed_as_the_width_asks_for() {
    // trace-cmd prints their addresses in its own memory.
    for (print, ours) in [
        ("\"%*pb\", 70, __get_dynamic_array(mask)", "00,00000000,00000005"),
        ("\"%*pbl\", 128, __get_dynamic_array(mask)", "0,2,95,127"),
        ("\"%*pE\", 5, REC->s", "text\\0"),
    ] {
        assert_eq!(shown(print)[0].as_deref(), Some(ours), "{print}");
    }
}

#[test]
fn functions_of_the_kernel_are_known() {
    assert_same(&[
        ("\"%s\", __get_bitmask(mask)", "80000000,80000000,00000000,00000005"),
        ("\"%s %s\", __get_rel_str(rel), __get_str(loc)", "rel abc"),
        ("\"%s\", __print_hex_str(REC->id, 4)", "00010203"),
        ("\"%s\", __print_hex(REC->id, 4)", "00 01 02 03"),
        ("\"%d\", __builtin_expect(!!(REC->a), 0)", "1"),
        ("\"%d\", sizeof(unsigned long)", "8"),
        ("\"%d\", sizeof(REC->b)", "4"),
        ("\"%d\", (REC)->b", "-1"),
        ("\"%x\", __le16_to_cpup(__get_dynamic_array(bytes))", "2010"),
        ("\"%s\", __print_symbolic(REC->a, {1, \"one\"},)", "0x6"),
        ("\"%s\", __print_symbolic(REC->a, {HI_SOFTIRQ, \"hi\"}, {TASKLET_SOFTIRQ, \"tasklet\"})", "tasklet"),
    ]);
    assert_shown(&[
        ("\"%s\", __get_cpumask(mask)", "80000000,80000000,00000000,00000005", Some("0,2,95,127")),
        ("\"%s\", __print_array(REC->words, 2, 4)", "{0x7,0xfffffffe}", Some("7 4294967294")),
        ("\"%s\", __print_array(__get_dynamic_array(bytes), 3, 1)", "{0x10,0x20,0x30}", Some("16 32 48")),
        (
            "\"%s\", __print_array(REC->id, 2, 3)",
            "{BAD SIZE:3 0x0,0x1,0x2,0x3,0x4,0x5}",
            Some("BAD SIZE:3 0x0 1"),
        ),
        ("\"%s\", __print_array(REC->id, 2, sizeof(u64))", "{0x706050403020100,0xf0e0d0c0b0a0908}", None),
        ("\"%s\", __print_dynamic_array(bytes, 1)", "{0x10,0x20,0x30}", None),
        ("\"%s\", __print_flags_u64(REC->a, \"|\", {2, \"two\"}, {4, \"four\"})", "two|four", None),
        ("\"%s\", __print_symbolic_u64(REC->a, {2, \"two\"}, {6, \"six\"})", "six", None),
        (
            "\"%llu.%09u\", __print_ns_to_secs(REC->a * 1000000000), __print_ns_without_secs(REC->a)",
            "6.000000006",
            None,
        ),
        ("\"%s\", __get_stacktrace(mask)", "=> 0x5\n=> 0x8000000080000000\n", None),
        ("\"%d\", __builtin_constant_p(REC->a)", "0", None),
        ("\"%d\", __builtin_choose_expr(1, 5, REC->a)", "5", None),
        ("\"%d %d %d\", sizeof(u64), sizeof(REC->words), sizeof(struct in6_addr)", "8 8 16", None),
        ("\"%d\", sizeof(void *)", "8", None),
        ("\"%x\", be16_to_cpu(REC->small)", "feff", None),
        ("\"%s\", __print_symbolic(REC->a, {})", "0x6", None),
        ("\"%s\", __print_flags(REC->a, \"|\")", "0x6", None),
        (
            "\"%s\", __print_hex_dump(\"pre: \", DUMP_PREFIX_OFFSET, 16, 1, __get_dynamic_array(bytes), 3, true)",
            "\npre: 00000000: 10 20 30                                         . 0\n",
            None,
        ),
        (
            "\"%s\", __print_hex_dump(\"\", DUMP_PREFIX_NONE, 16, 4, REC->id, 16, false)",
            "\n03020100 07060504 0b0a0908 0f0e0d0c\n",
            None,
        ),
    ]);
}

#[test]
fn casts_indices_and_pointers_are_those_of_c() {
    assert_same(&[
        ("\"%d\", ((u8 *)__get_dynamic_array(bytes))[1]", "32"),
        ("\"%x\", REC->words[1]", "fffffffe"),
        ("\"%d\", REC->id[REC->a]", "6"),
        ("\"%s\", REC->a > 5 ? REC->a > 7 ? \"x\" : \"y\" : \"z\"", "y"),
        ("\"%s\", REC->a > 7 ? \"x\" : REC->a > 5 ? \"y\" : \"z\"", "y"),
    ]);
    assert_shown(&[
        ("\"%s\", ((char *)__get_str(loc))[0] ? \"yes\" : \"\"", "yes", Some("")),
        ("\"%d\", ((u16 *)__get_dynamic_array(bytes))[1]", "48", Some("32")),
        ("\"%x\", *(u16 *)__get_dynamic_array(bytes)", "2010", None),
        ("\"%llx\", *(u64 *)REC->id", "706050403020100", None),
        ("\"%d\", REC->id[REC->a + 1]", "7", None),
        ("\"%d\", *(REC->id + 2) + *((u8 *)&REC->words[1] + 1)", "257", None),
        ("\"%d\", REC->letter == 'x'", "1", Some("0")),
        ("\"%d\", '\\n' + 1", "11", Some("1")),
        ("\"%d\", REC->a ?: 5", "6", None),
        ("\"%lld %d\", REC->b / 2, REC->small >> 1", "0 -1", Some("2147483647 32767")),
        ("\"%lld\", (long long)REC->b", "-1", Some("4294967295")),
        ("\"%llu\", (__u8)REC->b", "255", Some("4294967295")),
        ("\"%lx\", (unsigned long)REC->b", "ffffffffffffffff", Some("ffffffff")),
        ("\"%s\", REC->b < 0 ? \"negative\" : \"positive\"", "negative", Some("positive")),
        ("\"%s\", __print_symbolic(REC->b, {-1, \"minus\"}, {0, \"zero\"})", "minus", Some("0xffffffff")),
        ("\"%llu\", REC->words[0] + REC->words[1]", "5", Some("4294967301")),
    ]);
}

#[test]
fn widths_are_those_of_the_whole_text_or_of_each_name() {
    assert_shown(&[
        ("\"%-6s|\", __print_symbolic(REC->a, {5, \"five\"})", "0x6   |", Some("0x6|")),
        (
            "\"%9s|\", __print_flags(REC->a, \"+\", {2, \"two\"}, {4, \"four\"})",
            " two+four|",
            Some("      two+     four|"),
        ),
        ("\"%8s|\", __print_hex(REC->id, 2)", "   00 01|", Some("00 01|")),
        ("\"%9s|\", __print_array(REC->words, 1, 4)", "    {0x7}|", Some("7|")),
    ]);
}

#[test]
fn macros_that_the_kernel_writes_out_are_followed() {
    for (print, ours) in [
        ("\"%x\", __builtin_bswap16(REC->small)", "feff"),
        ("\"%llx\", __builtin_bswap64((u64)1)", "100000000000000"),
        ("\"%s\", str_yes_no(REC->a)", "yes"),
        ("\"%d\", ((int)(sizeof(struct { int:(-!!(1 > 2)); }))) + 3", "3"),
        ("\"%llu\", (typeof(((1UL) << 1)))((REC->a & (1UL << 1)) >> (__builtin_ffsll(1UL << 1) - 1))", "1"),
        ("\"%s\", __print_symbolic(REC->a, { 5, \"five\", }, { 6, \"six\", })", "six"),
        ("\"a=%llu \"%s\"\", REC->a, REC->s", "a=6 \"text\""),
        ("\"%u\", 1 << (REC->a + 32)", "64"),
    ] {
        assert_eq!(shown(print)[0].as_deref(), Some(ours), "{print}: {}", why_not(print));
    }
    assert_eq!(why_not(""), "has no print format");
    assert_eq!(shown("\"\", REC->a")[0].as_deref(), Some(""));
    assert_eq!(why_not("\"%s\", ({ int x = 1; x; })"), "has statements, not only an expression");
}

#[test]
fn names_that_are_not_known_are_not_guessed() {
    assert_same(&[
        ("\"%s\", __print_flags(REC->a, \"|\", { SOME_NAME, \"some\"}, {2, \"two\"})", "two|0x4"),
        ("\"%s\", __print_flags(REC->a, \"|\", { 1 << SOME_NAME, \"some\"}, {2, \"two\"})", "two|0x4"),
        ("\"%s\", __print_flags(0, \"|\", { 1 << SOME_NAME, \"some\"}, {2, \"two\"})", ""),
        ("\"%s\", __print_flags(0, \"|\", { 0, \"none\"}, {2, \"two\"})", ""),
    ]);
    assert_shown(&[
        ("\"%s\", __print_flags(0, \"|\", { SOME_NAME, \"some\"}, {2, \"two\"})", "", Some("some")),
        ("\"%s\", __print_symbolic(-1, { SOME_NAME, \"some\"})", "0xffffffffffffffff", Some("some")),
        (
            "\"%s\", __print_flags(REC->a, \"|\", { 0, \"none\"}, {2, \"two\"})",
            "none|two|0x4",
            Some("two|0x4"),
        ),
        ("\"%d\", REC->a == TASKLET_SOFTIRQ", "1", Some("0")),
    ]);
    assert_eq!(why_not("\"%d\", REC->a == SOME_NAME"), "uses SOME_NAME, whose value no format tells");
}

#[test]
fn a_long_of_32_bits_has_its_sign() {
    // trace-cmd ignores the sign of numbers, and its own long has 64 bits.
    assert_eq!(
        shown_with("\"%ld %lu %lx\", REC->b, REC->b, (long)REC->b", 4).map(Option::unwrap),
        ["-1 4294967295 ffffffff", "4294967295 4294967295 ffffffff"]
    );
    assert_eq!(
        shown_with("\"%s\", __print_symbolic(REC->b, {-1, \"minus\"})", 4).map(Option::unwrap),
        ["minus", "0xffffffff"]
    );
    assert_eq!(shown_with("\"%d\", sizeof(long)", 4).map(Option::unwrap), ["4", "4"]);
}

#[test]
fn operators_are_read_in_the_order_that_trace_cmd_takes_them() {
    assert_shown(&[
        ("\"%llx\", REC->a & (0x100 | 0x200 | 4)", "4", Some("204")),
        ("\"%llx\", (REC->a | 1) * 2", "e", Some("e")),
        ("\"%llx\", REC->a ^ 1", "7", Some("0")),
        ("\"%d\", REC->a > 5 ? 1 : 2 + 3", "1", Some("4")),
        ("\"%d\", REC->a * -1", "-6", Some("-1")),
        ("\"%d\", 10 - 2 - 3", "5", Some("11")),
        ("\"%d\", 2 + 3 * 4 - 1 << 1 == 26 && !0 ? 7 : 8", "7", Some("10")),
        ("\"%d\", (1 << 3) + (REC->a ? 2 : 3) * 2", "12", Some("4")),
        ("\"%s\", jbd2_dev_to_name(REC->a << 20)", "6:0", None),
        ("\"%s|%s\", \"t\\\"q\", \"a\" \"b\"", "t\"q|ab", Some("t\\\"q|ab")),
    ]);
    assert_eq!(shown("\"%d\", REC->none"), [None, Some("0".to_string())]);
    assert_eq!(shown("\"%s\", 0x10"), [None, Some("0x10".to_string())]);
}

#[test]
fn a_null_pointer_ends_a_list_of_names() {
    let flags = "\"%s\", __print_flags(REC->a, \"|\", {4, \"FOUR\"}, {2, \"TWO\"}, { 0, ((void *)0) } )";
    assert_same(&[(flags, "FOUR|TWO")]);
    assert_eq!(shown("\"%s\", __print_flags(REC->a, \"|\", {4, 1})")[0], None);
}

#[test]
fn what_is_not_understood_says_why() {
    for (print, reason) in [
        ("\"%d\"", "has fewer arguments than its print format asks for"),
        ("\"%d\", REC->none", "uses the field 'none', which it does not have"),
        ("\"%d\", f(REC->a)", "calls f(), which only the kernel has"),
        (
            "\"%pV\", REC->ptr",
            "prints a format with its arguments (%pV) behind a pointer, which is not in the record",
        ),
        (
            "\"%pd\", REC->ptr",
            "prints the name of a dentry (%pd) behind a pointer, which is not in the record",
        ),
        ("\"%pI4\", REC->ptr", "prints an IPv4 address behind a pointer, which is not in the record"),
        ("\"%d\", REC->ptr->x", "follows a pointer to 'x', which is not in the record"),
        (
            "\"%d\", REC->six.s6_addr",
            "looks at the member 's6_addr' of a structure, whose layout no format tells",
        ),
        ("\"%d\", *(int *)REC->ptr", "follows a pointer, and what it points at is not in the record"),
        ("\"%d\", ({ int x; x; })", "has statements, not only an expression"),
        ("\"%d\", sizeof(struct other)", "needs the size of struct other, which no format tells"),
        ("\"%p\", REC->s", "prints where something stood in the kernel's memory"),
        ("\"%f\", REC->a", "has %f, which no printf knows"),
        ("\"%d\", (REC->a", "has nothing where ')' should stand"),
        ("\"%s\", REC->b", "prints a number as text"),
        ("x", "has a print format that is no text in quotes"),
        ("\"%d\", 1 @ 2", "has '@', which is no part of an expression"),
    ] {
        assert_eq!(why_not(print), reason, "{print}");
        assert_eq!(shown(print)[0], None, "{print}");
    }
}

#[test]
fn made_up_formats_do_not_exhaust_the_stack() {
    for (start, end) in
        [("(", ")"), ("!", ""), ("1 ? ", " : 1"), ("-", ""), ("__builtin_expect(", ", 1)"), ("(u8)", "")]
    {
        let deep = format!("\"%d\", {}1{}", start.repeat(100_000), end.repeat(100_000));
        assert_eq!(shown(&deep)[0], None, "{start}");
    }
    for part in [" + 1", " * 1 + 1", "[1]", " ? 1 : 1", " ?: 1"] {
        let long = format!("\"%d\", 1{}", part.repeat(100_000));
        assert_eq!(shown(&long)[0], None, "{part}");
    }
}

#[test]
fn addresses_of_version_6_are_shortened_as_the_kernel_does_it() {
    let text = |bytes: [u8; 16]| {
        let mut out = Vec::new();
        let context = example("\"\"", 8).2;
        let spec = crate::print_fmt::printf::conversions(b"%pI6c").unwrap().remove(0).1.unwrap();
        spec.print_bytes(&bytes, &context, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let mut bytes = [0; 16];
    assert_eq!(text(bytes), "::");
    bytes[15] = 1;
    assert_eq!(text(bytes), "::1");
    bytes[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 2, 15]);
    assert_eq!(text(bytes), "::ffff:10.0.2.15");
    let isatap = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x5e, 0xfe, 192, 168, 1, 1];
    assert_eq!(text(isatap), "fe80::5efe:192.168.1.1");
    assert_eq!(text([0x20, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]), "2001:0:1::1:0:1");
}
