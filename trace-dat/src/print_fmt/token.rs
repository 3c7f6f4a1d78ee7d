//! The tokens of print formats, as in C.

/// A token. Texts have no quotes; their escapes are not replaced.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Text(String),
    /// A character in quotes, as a number.
    Char(u8),
    Word(String),
    Op(&'static str),
}

const OPERATORS: [&str; 33] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", "?", ":", "<",
    ">", "!", "~", "+", "-", "*", "/", "%", "&", "|", "^", ".", ";", "=",
];

/// Splits a print format into tokens; fails with the reason if a part is not a token of C expressions.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(found) };
        let length = if first == '"' {
            let part = quoted(&rest[1..], '"').ok_or("has a text without its closing quote")?;
            // Adjacent literals are joined.
            match found.last_mut() {
                Some(Token::Text(before)) => before.push_str(part),
                _ => found.push(Token::Text(part.to_string())),
            }
            part.len() + 2
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_string()));
            end
        } else if first == '\'' {
            let part = quoted(&rest[1..], '\'').ok_or("has a character without its closing quote")?;
            let &[character] = unescaped(part).as_slice() else {
                return Err(format!("has '{part}', which is no character"));
            };
            found.push(Token::Char(character));
            part.len() + 2
        } else {
            let operator = OPERATORS.iter().copied().find(|operator| rest.starts_with(operator));
            let operator =
                operator.ok_or_else(|| format!("has '{first}', which is no part of an expression"))?;
            found.push(Token::Op(operator));
            operator.len()
        };
        rest = &rest[length..];
    }
}

/// The text before the closing quote.
fn quoted(text: &str, quote: char) -> Option<&str> {
    let mut escaped = false;
    let end = text.find(|c| {
        let end = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        end
    })?;
    Some(&text[..end])
}

/// Replaces the escapes in a text by their characters.
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'\\' || at == bytes.len() {
            out.push(byte);
            continue;
        }
        let escape = bytes[at];
        at += 1;
        out.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            b'e' => 27,
            b'x' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let mut value = 0;
                while let Some(next) = bytes.get(at).copied().and_then(digit) {
                    value = value << 4 & 0xff | next;
                    at += 1;
                }
                value as u8
            }
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                for _ in 0..2 {
                    let Some(next @ b'0'..=b'7') = bytes.get(at) else { break };
                    value = value << 3 | u32::from(next - b'0');
                    at += 1;
                }
                value as u8
            }
            other => other,
        });
    }
    out
}
