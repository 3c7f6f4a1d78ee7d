//! Parses the text of event filters; pure.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind, Result};

/// How `&&` and `||` are grouped if there are no brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// `&&` before `||`.
    AsC,
    /// From left to right, as trace-cmd does.
    LeftToRight,
}

/// A filter as written.
#[derive(Debug)]
pub(crate) struct FilterText {
    /// System and event of each name; a name without a system may be either.
    pub events: Vec<(Option<String>, Option<String>)>,
    /// The condition; `None` to match every record of the events.
    pub condition: Option<Expr>,
}

/// A condition or a value.
#[derive(Debug, PartialEq)]
pub(crate) enum Expr {
    Number(i128),
    Text(String),
    Name(String),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Comparison, Box<Expr>),
    Compute(Box<Expr>, Arithmetic, Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    NotLike,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    And,
    Or,
    Xor,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Comparison {
    /// Whether the comparison of two numbers is true.
    pub fn holds(self, left: i128, right: i128) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Like | Comparison::NotLike => false,
        }
    }
}

impl Expr {
    /// Adds all names in the expression to `found`.
    pub fn names<'e>(&'e self, found: &mut BTreeSet<&'e str>) {
        match self {
            Expr::Name(name) => drop(found.insert(name)),
            Expr::Number(_) | Expr::Text(_) => {}
            Expr::Not(inner) => inner.names(found),
            Expr::And(left, right)
            | Expr::Or(left, right)
            | Expr::Compare(left, _, right)
            | Expr::Compute(left, _, right) => {
                left.names(found);
                right.names(found);
            }
        }
    }
}

/// Parses `EVENTS` or `EVENTS: CONDITION`.
pub(crate) fn parse(text: &str, grouping: Grouping) -> Result<FilterText> {
    let bad =
        |what: String| Error::new(ErrorKind::Filter, format!("the filter '{text}' does not parse: {what}"));
    let (names, condition) = match text.split_once(':') {
        Some((names, condition)) => (names, Some(condition)),
        None => (text, None),
    };
    let mut events = Vec::new();
    for name in names.split(',') {
        let part = |part: &str| Some(part.trim().to_string()).filter(|part| !part.is_empty());
        let (system, event) = match name.split_once('/') {
            Some((system, event)) => (part(system), part(event)),
            None => (None, part(name)),
        };
        if system.is_none() && event.is_none() {
            return Err(bad("it names no event".into()));
        }
        events.push((system, event));
    }
    let condition = match condition {
        None => None,
        Some(condition) => {
            let tokens = tokens(condition).map_err(bad)?;
            if tokens.len() > MOST_TOKENS {
                return Err(bad(format!("it has more than {MOST_TOKENS} words")));
            }
            let mut parser = Parser { tokens: &tokens, grouping, depth: 0 };
            let condition = parser.any().map_err(bad)?;
            if let Some(token) = parser.tokens.first() {
                return Err(bad(format!("{} is left over", token.describe())));
            }
            Some(condition)
        }
    };
    Ok(FilterText { events, condition })
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(i128),
    Text(String),
    Name(String),
    Sign(&'static str),
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Token::Number(number) => format!("the number {number}"),
            Token::Text(text) => format!("the text \"{text}\""),
            Token::Name(name) => format!("'{name}'"),
            Token::Sign(sign) => format!("'{sign}'"),
        }
    }
}

/// All operators and brackets, longer ones first.
const SIGNS: [&str; 21] = [
    "&&", "||", "==", "!=", "=~", "!~", "<=", ">=", "<", ">", "!", "(", ")", "&", "|", "^", "+", "-", "*",
    "/", "%",
];

fn tokens(text: &str) -> std::result::Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let taken = if first == '"' || first == '\'' {
            let end = rest[1..].find(first).ok_or_else(|| format!("the quote {first} is not closed"))?;
            tokens.push(Token::Text(rest[1..=end].to_string()));
            end + 2
        } else if first.is_ascii_digit() {
            let digits = &rest[..length];
            let number = number(digits).ok_or_else(|| format!("'{digits}' is not a number"))?;
            tokens.push(Token::Number(number));
            length
        } else if length > 0 {
            tokens.push(Token::Name(rest[..length].to_string()));
            length
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| match first {
                '=' => "'=' is no comparison, '==' is".to_string(),
                other => format!("'{other}' has no meaning in it"),
            })?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

/// Parses a number as in C: decimal, or hexadecimal after `0x`, or octal after `0`.
fn number(digits: &str) -> Option<i128> {
    let number = if let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    number.ok().map(i128::from)
}

/// Limits that no real filter reaches; they keep an extreme one from exhausting the stack.
const MOST_TOKENS: usize = 2000;
const DEEPEST: usize = 64;

struct Parser<'t> {
    tokens: &'t [Token],
    grouping: Grouping,
    depth: usize,
}

type Parsed = std::result::Result<Expr, String>;

impl Parser<'_> {
    fn take(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let Some(Token::Sign(sign)) = self.tokens.first() else { return None };
        signs.contains(sign).then(|| {
            self.tokens = &self.tokens[1..];
            *sign
        })
    }

    fn any(&mut self) -> Parsed {
        let mut left = self.all()?;
        loop {
            left = match self.take(&["||", "&&"]) {
                Some("||") => Expr::Or(left.into(), self.all()?.into()),
                // An operator is left here only if both are grouped from left to right.
                Some(_) => Expr::And(left.into(), self.all()?.into()),
                None => return Ok(left),
            };
        }
    }

    fn all(&mut self) -> Parsed {
        let mut left = self.not()?;
        while self.grouping == Grouping::AsC && self.take(&["&&"]).is_some() {
            left = Expr::And(left.into(), self.not()?.into());
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed {
        if self.take(&["!"]).is_none() {
            return self.comparison();
        }
        self.deeper()?;
        let inner = self.not()?;
        self.depth -= 1;
        Ok(Expr::Not(inner.into()))
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.computed(0)?;
        let how = match self.take(&["==", "!=", "<", "<=", ">", ">=", "=~", "!~"]) {
            None => return Ok(left),
            Some("==") => Comparison::Equal,
            Some("!=") => Comparison::NotEqual,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::Greater,
            Some(">=") => Comparison::GreaterOrEqual,
            Some("=~") => Comparison::Like,
            Some(_) => Comparison::NotLike,
        };
        Ok(Expr::Compare(left.into(), how, self.computed(0)?.into()))
    }

    /// Parses arithmetic, which binds tighter than comparisons, from `|` to `* / %`.
    fn computed(&mut self, level: usize) -> Parsed {
        const LEVELS: [&[&str]; 5] = [&["|"], &["^"], &["&"], &["+", "-"], &["*", "/", "%"]];
        let Some(signs) = LEVELS.get(level) else { return self.value() };
        let mut left = self.computed(level + 1)?;
        while let Some(sign) = self.take(signs) {
            let how = match sign {
                "|" => Arithmetic::Or,
                "^" => Arithmetic::Xor,
                "&" => Arithmetic::And,
                "+" => Arithmetic::Add,
                "-" => Arithmetic::Subtract,
                "*" => Arithmetic::Multiply,
                "/" => Arithmetic::Divide,
                _ => Arithmetic::Remainder,
            };
            left = Expr::Compute(left.into(), how, self.computed(level + 1)?.into());
        }
        Ok(left)
    }

    fn value(&mut self) -> Parsed {
        if self.take(&["("]).is_some() {
            self.deeper()?;
            let inner = self.any()?;
            self.depth -= 1;
            return match self.take(&[")"]) {
                Some(_) => Ok(inner),
                None => Err("a bracket is not closed".into()),
            };
        }
        if self.take(&["-"]).is_some() {
            return match self.tokens.split_first() {
                Some((Token::Number(number), rest)) => {
                    self.tokens = rest;
                    Ok(Expr::Number(-number))
                }
                _ => Err("'-' stands before something that is not a number".into()),
            };
        }
        let Some((token, rest)) = self.tokens.split_first() else {
            return Err("a value is missing at its end".into());
        };
        self.tokens = rest;
        Ok(match token {
            Token::Number(number) => Expr::Number(*number),
            Token::Text(text) => Expr::Text(text.clone()),
            Token::Name(name) => Expr::Name(name.clone()),
            Token::Sign(_) => return Err(format!("{} stands where a value should", token.describe())),
        })
    }

    fn deeper(&mut self) -> std::result::Result<(), String> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(format!("it is nested more than {DEEPEST} deep")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows an expression with all its brackets.
    fn show(expr: &Expr) -> String {
        match expr {
            Expr::Number(number) => number.to_string(),
            Expr::Text(text) => format!("\"{text}\""),
            Expr::Name(name) => name.clone(),
            Expr::Not(inner) => format!("!{}", show(inner)),
            Expr::And(left, right) => format!("({} and {})", show(left), show(right)),
            Expr::Or(left, right) => format!("({} or {})", show(left), show(right)),
            Expr::Compare(left, how, right) => format!("({} {how:?} {})", show(left), show(right)),
            Expr::Compute(left, how, right) => format!("({} {how:?} {})", show(left), show(right)),
        }
    }

    fn shown(text: &str, grouping: Grouping) -> String {
        show(&parse(text, grouping).unwrap().condition.unwrap())
    }

    #[test]
    fn conditions_group_as_in_c_or_from_left_to_right() {
        let text = "a: x == 1 || y==2 && !z != 'q'";
        assert_eq!(shown(text, Grouping::AsC), "((x Equal 1) or ((y Equal 2) and !(z NotEqual \"q\")))");
        assert_eq!(
            shown(text, Grouping::LeftToRight),
            "(((x Equal 1) or (y Equal 2)) and !(z NotEqual \"q\"))"
        );
    }

    #[test]
    fn arithmetic_binds_tighter_than_comparisons() {
        assert_eq!(
            shown("a: x & 0x10 == 020 + 2 * -3", Grouping::AsC),
            "((x And 16) Equal (16 Add (2 Multiply -3)))"
        );
        assert_eq!(shown("a: (x | 1) ^ 2", Grouping::AsC), "((x Or 1) Xor 2)");
    }

    #[test]
    fn events_have_a_system_a_name_or_either() {
        let parsed = parse("sched / sched_switch, kmem/, function", Grouping::AsC).unwrap();
        let some = |text: &str| Some(text.to_string());
        assert_eq!(
            parsed.events,
            [(some("sched"), some("sched_switch")), (some("kmem"), None), (None, some("function"))]
        );
        assert!(parsed.condition.is_none());
    }

    #[test]
    fn what_does_not_parse_says_why() {
        for (text, why) in [
            ("", "it names no event"),
            ("a,,b", "it names no event"),
            ("a:", "a value is missing at its end"),
            ("a: x ==", "a value is missing at its end"),
            ("a: x = 1", "'=' is no comparison"),
            ("a: x == 1 y", "'y' is left over"),
            ("a: (x == 1", "a bracket is not closed"),
            ("a: x == \"1", "the quote \" is not closed"),
            ("a: x == 0x", "'0x' is not a number"),
            ("a: x == 99999999999999999999", "is not a number"),
            ("a: == 1", "'==' stands where a value should"),
            ("a: x ~ 1", "'~' has no meaning"),
        ] {
            let error = parse(text, Grouping::AsC).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert_eq!(error.kind(), ErrorKind::Filter, "{text}");
        }
        let deep = format!("a: {}", "(".repeat(1_000));
        assert!(parse(&deep, Grouping::AsC).unwrap_err().to_string().contains("nested"));
        let long = format!("a: {}1", "1 && ".repeat(10_000));
        assert!(parse(&long, Grouping::AsC).unwrap_err().to_string().contains("words"));
    }
}
