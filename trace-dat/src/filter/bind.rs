//! Event filters: select records by the values of their fields; pure.
//!
//! The language is trace-cmd's: `EVENTS: CONDITION`, as in `sched_switch: prev_pid == 1`. It is parsed by
//! [`super::parse`]. Here a filter is bound to each event that it names, so that no names are looked up
//! for a record.

use std::cell::Cell;
use std::collections::BTreeSet;

use regex_lite::{Regex, RegexBuilder};

use super::parse::{Arithmetic, Comparison, Expr, Grouping, parse};
use crate::bytes::until_nul;
use crate::error::{Error, ErrorKind, Result};
use crate::event::context::Context;
use crate::event::events::Events;
use crate::event::field::Field;
use crate::event::format::Event;

/// A record, and the values besides its fields that a filter can use.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The event, from its common fields on.
    pub data: &'a [u8],
    /// The CPU that recorded it, for `CPU`.
    pub cpu: u32,
    /// Its time stamp in units of the trace clock, for `TIMESTAMP`.
    pub time: u64,
    /// The command of its process, for `COMM`.
    pub comm: &'a [u8],
}

/// One filter, bound to the events of a recording.
#[derive(Debug)]
pub struct Filter {
    /// By the event's index; `None` for events that the filter does not name.
    conditions: Vec<Option<Condition>>,
}

impl Filter {
    /// Compiles `EVENTS`, or `EVENTS: CONDITION`, for the events of a recording.
    ///
    /// EVENTS are `SYSTEM/EVENT`, or either alone, separated by commas, each a regular expression
    /// over the whole name. CONDITION compares fields, `COMM`, `CPU` and `TIMESTAMP` with numbers
    /// and quoted texts by `== != < <= > >=` and, with regular expressions, `=~` and `!~`; it may
    /// compute with `& | ^ + - * / %` and join by `&& || !`. A comparison is false for an event
    /// without its field.
    ///
    /// Fails when the text does not parse, when an event does not exist, when none of the events has a
    /// field of a given name, and when none has it with a fitting type; see [`ErrorKind`].
    ///
    /// ```
    /// use trace_dat::filter::Filter;
    /// use trace_dat::filter::Grouping;
    /// use trace_dat::event::Events;
    /// let error = Filter::compile("sched_switch: prev_pid ==", &Events::default(), Grouping::AsC);
    /// assert_eq!(error.unwrap_err().kind(), trace_dat::ErrorKind::Filter);
    /// ```
    pub fn compile(text: &str, events: &Events, grouping: Grouping) -> Result<Filter> {
        let parsed = parse(text, grouping)?;
        let mut conditions = Vec::new();
        conditions.resize_with(events.iter().count(), || None);
        let mut named = BTreeSet::new();
        for (system, name) in &parsed.events {
            let found = named_events(events, system.as_deref(), name.as_deref());
            let found = found.map_err(|error| bad(text, &error))?;
            if found.is_empty() {
                return Err(no_event(text, events, system.as_deref(), name.as_deref()));
            }
            named.extend(found);
        }
        let named = || events.iter().filter(|event| named.contains(&event.index));
        let Some(condition) = &parsed.condition else {
            named().for_each(|event| conditions[event.index] = Some(Condition::Always(true)));
            return Ok(Filter { conditions });
        };
        let mut names = BTreeSet::new();
        condition.names(&mut names);
        for name in names.into_iter().filter(|name| !SPECIAL.contains(name)) {
            if !named().any(|event| event.field(name).is_some()) {
                let fields: BTreeSet<&str> = named()
                    .flat_map(|event| event.fields.iter().map(|field| field.name.as_str()))
                    .chain(SPECIAL)
                    .collect();
                let what = format!("no event that it names has a field '{name}'");
                let error = unusable(ErrorKind::UnknownField, text, &what);
                return Err(error.unknown(name, fields.into_iter().map(str::to_string)));
            }
        }
        // A field may be a number in one event and text in another; one event that fits is enough.
        let (mut mismatch, mut fits) = (None, false);
        for event in named() {
            let binder = Binder { event, mismatch: Cell::new(None), found: Cell::new(false) };
            conditions[event.index] = Some(binder.condition(condition).map_err(|error| bad(text, &error))?);
            match binder.mismatch.take() {
                Some(what) => mismatch = mismatch.or(Some(what)),
                None => fits |= binder.found.get(),
            }
        }
        match mismatch {
            Some(what) if !fits => Err(bad(text, &what)),
            _ => Ok(Filter { conditions }),
        }
    }

    /// Whether a record matches; a record of an event that the filter does not name never does.
    pub fn matches(&self, event: &Event, subject: Subject<'_>, context: &Context) -> bool {
        match self.conditions.get(event.index) {
            Some(Some(condition)) => condition.holds(subject, context),
            _ => false,
        }
    }
}

/// Names of values that filters can use besides fields.
const SPECIAL: [&str; 3] = ["COMM", "CPU", "TIMESTAMP"];

fn bad(text: &str, what: &str) -> Error {
    unusable(ErrorKind::Filter, text, what)
}

fn unusable(kind: ErrorKind, text: &str, what: &str) -> Error {
    Error::new(kind, format!("the filter '{text}' cannot be used: {what}"))
}

/// The regular expression of a name. It must match the whole name, and ignores case.
fn whole(name: &str) -> std::result::Result<Regex, String> {
    pattern(&format!("^(?:{name})$")).map_err(|_| format!("'{name}' is not a regular expression"))
}

fn pattern(text: &str) -> std::result::Result<Regex, String> {
    let built = RegexBuilder::new(text).case_insensitive(true).build();
    built.map_err(|error| format!("\"{text}\" is not a regular expression: {error}"))
}

/// The indexes of the events that a name chooses; without a system, it may name a system or an event.
fn named_events(
    events: &Events,
    system: Option<&str>,
    name: Option<&str>,
) -> std::result::Result<Vec<usize>, String> {
    let (system_fits, name_fits) = (system.map(whole).transpose()?, name.map(whole).transpose()?);
    let fits = |event: &&Event| match (&system_fits, &name_fits) {
        (Some(system), Some(name)) => system.is_match(&event.system) && name.is_match(&event.name),
        (None, Some(either)) => either.is_match(&event.system) || either.is_match(&event.name),
        (Some(system), None) => system.is_match(&event.system),
        (None, None) => false,
    };
    Ok(events.iter().filter(fits).map(|event| event.index).collect())
}

fn no_event(text: &str, events: &Events, system: Option<&str>, name: Option<&str>) -> Error {
    let wanted = match (system, name) {
        (Some(system), Some(name)) => format!("{system}/{name}"),
        (only, other) => only.or(other).unwrap_or_default().to_string(),
    };
    let names: Vec<&str> = match (system, name) {
        (Some(_), None) => events.iter().map(|event| event.system.as_str()).collect(),
        _ => events.iter().map(|event| event.name.as_str()).collect(),
    };
    let what = format!("the recording knows no event '{wanted}'");
    unusable(ErrorKind::UnknownEvent, text, &what)
        .unknown(name.or(system).unwrap_or_default(), names.into_iter().map(str::to_string))
}

/// A condition for one event, with its fields instead of their names.
#[derive(Debug)]
enum Condition {
    Always(bool),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Compare(Number, Comparison, Number),
    Equal(Text, Text),
    Like(Text, Regex),
    NotZero(Number),
}

#[derive(Debug)]
enum Number {
    Literal(i128),
    Field(Field),
    Cpu,
    Time,
    Compute(Box<Number>, Arithmetic, Box<Number>),
}

#[derive(Debug)]
enum Text {
    Literal(Vec<u8>),
    Comm,
    Field(Field),
    /// The name of the function that contains an address.
    Function(Field),
}

/// A number or a text.
enum Value {
    Number(Number),
    Text(Text),
}

/// Binds a condition to the fields of one event.
struct Binder<'e> {
    event: &'e Event,
    /// The first comparison of a number with a text.
    mismatch: Cell<Option<String>>,
    /// Whether the event has any of the fields.
    found: Cell<bool>,
}

impl Binder<'_> {
    fn condition(&self, expr: &Expr) -> std::result::Result<Condition, String> {
        Ok(match expr {
            Expr::Not(inner) => Condition::Not(Box::new(self.condition(inner)?)),
            Expr::And(left, right) => {
                Condition::And(Box::new(self.condition(left)?), Box::new(self.condition(right)?))
            }
            Expr::Or(left, right) => {
                Condition::Or(Box::new(self.condition(left)?), Box::new(self.condition(right)?))
            }
            Expr::Compare(left, how, right) => self.comparison(left, *how, right)?,
            value => match self.value(value)? {
                Some(Value::Number(number)) => Condition::NotZero(number),
                Some(Value::Text(_)) => return Err("a text alone is no condition".into()),
                None => Condition::Always(false),
            },
        })
    }

    fn comparison(
        &self,
        left: &Expr,
        how: Comparison,
        right: &Expr,
    ) -> std::result::Result<Condition, String> {
        let negated = matches!(how, Comparison::NotEqual | Comparison::NotLike);
        let like = matches!(how, Comparison::Like | Comparison::NotLike);
        if like && !matches!(right, Expr::Text(_)) {
            return Err("=~ and !~ need a regular expression in quotes on their right".into());
        }
        if like && let Expr::Text(text) = right {
            // Checked before the field is looked up: a wrong pattern is an error for every event.
            pattern(text)?;
        }
        let (Some(left), Some(right)) = (self.value(left)?, self.value(right)?) else {
            return Ok(Condition::Always(false));
        };
        let (left, right) = match (left, right) {
            (Value::Number(left), Value::Number(right)) => {
                return Ok(Condition::Compare(left, how, right));
            }
            (Value::Text(left), Value::Text(right)) => (left, right),
            // An address is compared with the name of a function.
            (Value::Number(Number::Field(field)), Value::Text(right)) if is_address(&field) => {
                (Text::Function(field), right)
            }
            (Value::Text(left), Value::Number(Number::Field(field))) if is_address(&field) => {
                (left, Text::Function(field))
            }
            (Value::Number(number), Value::Text(text)) | (Value::Text(text), Value::Number(number)) => {
                self.mismatch.set(Some(format!("{} compared with {}", number.describe(), text.describe())));
                return Ok(Condition::Always(false));
            }
        };
        let condition = match (how, right) {
            (Comparison::Like | Comparison::NotLike, Text::Literal(text)) => {
                Condition::Like(left, pattern(&String::from_utf8_lossy(&text))?)
            }
            (Comparison::Equal | Comparison::NotEqual, right) => Condition::Equal(left, right),
            _ => return Err("texts are compared by ==, !=, =~ and !~ only".into()),
        };
        Ok(if negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    /// The value of an expression; `None` when the event lacks a field in it.
    fn value(&self, expr: &Expr) -> std::result::Result<Option<Value>, String> {
        Ok(Some(match expr {
            Expr::Number(number) => Value::Number(Number::Literal(*number)),
            Expr::Text(text) => Value::Text(Text::Literal(text.as_bytes().to_vec())),
            Expr::Name(name) => match (name.as_str(), self.event.field(name)) {
                (_, Some(field)) => {
                    self.found.set(true);
                    if field.is_string() {
                        Value::Text(Text::Field(field.clone()))
                    } else {
                        Value::Number(Number::Field(field.clone()))
                    }
                }
                ("COMM", None) => Value::Text(Text::Comm),
                ("CPU", None) => Value::Number(Number::Cpu),
                ("TIMESTAMP", None) => Value::Number(Number::Time),
                _ => return Ok(None),
            },
            Expr::Compute(left, how, right) => {
                let (Some(left), Some(right)) = (self.value(left)?, self.value(right)?) else {
                    return Ok(None);
                };
                match (left, right) {
                    (Value::Number(left), Value::Number(right)) => {
                        Value::Number(Number::Compute(Box::new(left), *how, Box::new(right)))
                    }
                    (Value::Text(text), _) | (_, Value::Text(text)) => {
                        return Err(format!("{} is not a number to compute with", text.describe()));
                    }
                }
            }
            _ => return Err("a condition in brackets is not a value to compare".into()),
        }))
    }
}

/// Whether a field may hold a function's address.
fn is_address(field: &Field) -> bool {
    !field.array && (field.is_pointer() || field.is_long())
}

impl Condition {
    fn holds(&self, subject: Subject<'_>, context: &Context) -> bool {
        match self {
            Condition::Always(holds) => *holds,
            Condition::Not(inner) => !inner.holds(subject, context),
            Condition::And(left, right) => left.holds(subject, context) && right.holds(subject, context),
            Condition::Or(left, right) => left.holds(subject, context) || right.holds(subject, context),
            Condition::Compare(left, how, right) => {
                let values = (left.of(subject, context), right.of(subject, context));
                matches!(values, (Some(left), Some(right)) if how.holds(left, right))
            }
            Condition::Equal(left, right) => left.of(subject, context) == right.of(subject, context),
            Condition::Like(text, pattern) => {
                pattern.is_match(&String::from_utf8_lossy(text.of(subject, context)))
            }
            Condition::NotZero(number) => number.of(subject, context).is_some_and(|number| number != 0),
        }
    }
}

impl Number {
    /// The value; `None` when the record ends before the field, or on division by zero.
    fn of(&self, subject: Subject<'_>, context: &Context) -> Option<i128> {
        Some(match self {
            Number::Literal(number) => *number,
            Number::Cpu => i128::from(subject.cpu),
            Number::Time => i128::from(subject.time),
            Number::Field(field) => {
                let number = field.number(context.order, subject.data)?;
                let unused = 64 - 8 * field.size.clamp(1, 8) as u32;
                if field.signed {
                    i128::from((number << unused) as i64 >> unused)
                } else {
                    i128::from(number)
                }
            }
            Number::Compute(left, how, right) => {
                let (left, right) = (left.of(subject, context)?, right.of(subject, context)?);
                match how {
                    Arithmetic::And => left & right,
                    Arithmetic::Or => left | right,
                    Arithmetic::Xor => left ^ right,
                    Arithmetic::Add => left.wrapping_add(right),
                    Arithmetic::Subtract => left.wrapping_sub(right),
                    Arithmetic::Multiply => left.wrapping_mul(right),
                    Arithmetic::Divide => left.checked_div(right)?,
                    Arithmetic::Remainder => left.checked_rem(right)?,
                }
            }
        })
    }

    fn describe(&self) -> String {
        match self {
            Number::Field(field) => format!("the number '{}'", field.name),
            Number::Literal(number) => format!("the number {number}"),
            Number::Cpu => "the number CPU".into(),
            Number::Time => "the number TIMESTAMP".into(),
            Number::Compute(..) => "a computed number".into(),
        }
    }
}

impl Text {
    /// The text; empty when the record ends before the field, or no function contains the address.
    fn of<'s>(&'s self, subject: Subject<'s>, context: &'s Context) -> &'s [u8] {
        match self {
            Text::Literal(text) => text,
            Text::Comm => subject.comm,
            Text::Field(field) => field.bytes(context.order, subject.data).map_or(&[][..], until_nul),
            Text::Function(field) => {
                let address = field.number(context.order, subject.data);
                let symbol = address.and_then(|address| context.symbols.find(address));
                symbol.map_or(&[][..], |symbol| symbol.name.as_bytes())
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Text::Literal(text) => format!("the text \"{}\"", String::from_utf8_lossy(text)),
            Text::Comm => "the text COMM".into(),
            Text::Field(field) | Text::Function(field) => format!("the text '{}'", field.name),
        }
    }
}
