//! The tokens of print formats.

/// A token; texts are without their quotes, with their escapes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Text(String),
    Word(String),
    Op(&'static str),
}

const OPERATORS: [&str; 28] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", "?", ":", "<",
    ">", "!", "~", "+", "-", "*", "/", "%", "&",
];

/// Splits a print format; `None` at what is no token of C's expressions.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Some(found) };
        let length = if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            })?;
            let part = &rest[1..1 + end];
            // Neighbouring literals are one.
            match found.last_mut() {
                Some(Token::Text(before)) => before.push_str(part),
                _ => found.push(Token::Text(part.to_string())),
            }
            end + 2
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_string()));
            end
        } else if first == '\'' {
            let end = rest[1..].find('\'')?;
            let mut chars = rest[1..1 + end].chars();
            let (Some(character), None) = (chars.next(), chars.next()) else { return None };
            found.push(Token::Word((character as u32).to_string()));
            end + 2
        } else {
            let all = OPERATORS.iter().chain(&["|", "^"]);
            let operator = all.copied().find(|operator| rest.starts_with(operator))?;
            found.push(Token::Op(operator));
            operator.len()
        };
        rest = &rest[length..];
    }
}
