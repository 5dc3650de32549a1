//! Splits PTX text in tokens that know their line.

use crate::error::ParseError;

/// One token of PTX text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// An opcode with its modifiers, a directive, a register, a symbol or a label, dots and double colons included.
    Word(String),
    /// An integer literal as 64-bit two's complement.
    Int(u64),
    /// A single-precision literal `0f…` as its bits.
    F32(u32),
    /// A double-precision literal: `0d…` or decimal.
    F64(u64),
    /// The text between double quotes.
    Text(String),
    /// Any other character.
    Punct(char),
}

/// A token and the line, from 1, on which it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spanned {
    pub token: Token,
    pub line: u32,
}

/// Splits `text` in tokens; comments are dropped.
pub(crate) fn tokens(text: &str) -> Result<Vec<Spanned>, ParseError> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut out) = (0, 1u32, Vec::new());
    while at < bytes.len() {
        let c = bytes[at];
        match c {
            // The driver hands PTX over with a terminating zero, and so may callers.
            0 => break,
            b'\n' => {
                line += 1;
                at += 1;
            }
            _ if c.is_ascii_whitespace() => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while at < bytes.len() && bytes[at] != b'\n' {
                    at += 1;
                }
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = text[at + 2..].find("*/").map(|n| at + 2 + n + 2);
                let end = end.ok_or_else(|| ParseError::new(line, "a comment is not closed"))?;
                line += bytes[at..end].iter().filter(|b| **b == b'\n').count() as u32;
                at = end;
            }
            b'"' => {
                let end = text[at + 1..].find('"').map(|n| at + 1 + n);
                let end = end.ok_or_else(|| ParseError::new(line, "a quoted text is not closed"))?;
                out.push(Spanned { token: Token::Text(text[at + 1..end].to_owned()), line });
                line += bytes[at..end].iter().filter(|b| **b == b'\n').count() as u32;
                at = end + 1;
            }
            b'0'..=b'9' => {
                let end = at + bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'.').count();
                out.push(Spanned { token: number(&text[at..end], line)?, line });
                at = end;
            }
            _ if starts_word(c, bytes.get(at + 1)) => {
                let end = word_end(bytes, at);
                out.push(Spanned { token: Token::Word(text[at..end].to_owned()), line });
                at = end;
            }
            _ if c.is_ascii() => {
                out.push(Spanned { token: Token::Punct(c as char), line });
                at += 1;
            }
            _ => return Err(ParseError::new(line, "the text holds a character outside ASCII")),
        }
    }
    Ok(out)
}

fn starts_word(c: u8, next: Option<&u8>) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, b'_' | b'$' | b'%')
        || (c == b'.' && next.is_some_and(|n| n.is_ascii_alphabetic() || *n == b'_'))
}

/// Where the word from `at` ends. A single colon ends it, since it closes a label; a double one is part of it.
fn word_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        let c = bytes[at];
        if c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'.') {
            at += 1;
        } else if c == b':' && bytes.get(at + 1) == Some(&b':') {
            at += 2;
        } else {
            break;
        }
    }
    at
}

fn number(text: &str, line: u32) -> Result<Token, ParseError> {
    let bad = || ParseError::new(line, format!("`{text}` is no number"));
    let rest = text.get(2..).unwrap_or_default();
    let digits = |radix| {
        let rest = rest.trim_end_matches(['U', 'u']);
        u64::from_str_radix(rest, radix).map(Token::Int).map_err(|_| bad())
    };
    match text.get(..2) {
        Some("0x" | "0X") => digits(16),
        Some("0b" | "0B") => digits(2),
        Some("0f" | "0F") if rest.len() == 8 => u32::from_str_radix(rest, 16).map(Token::F32).map_err(|_| bad()),
        Some("0d" | "0D") if rest.len() == 16 => u64::from_str_radix(rest, 16).map(Token::F64).map_err(|_| bad()),
        _ if text.contains('.') => text.parse().map(|x: f64| Token::F64(x.to_bits())).map_err(|_| bad()),
        _ => {
            let digits = text.trim_end_matches(['U', 'u']);
            let octal = digits.len() > 1 && digits.starts_with('0');
            u64::from_str_radix(digits, if octal { 8 } else { 10 }).map(Token::Int).map_err(|_| bad())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|t| t.token).collect()
    }

    #[test]
    fn opcodes_keep_their_modifiers_and_labels_lose_their_colon() {
        assert_eq!(
            words("L: cp.async.shared::cta.L2::128B p;"),
            [
                Token::Word("L".into()),
                Token::Punct(':'),
                Token::Word("cp.async.shared::cta.L2::128B".into()),
                Token::Word("p".into()),
                Token::Punct(';')
            ]
        );
    }

    #[test]
    fn numbers_of_every_radix_are_read() {
        assert_eq!(words("0x1F 017 12U 0b101"), [31, 15, 12, 5].map(Token::Int));
        assert_eq!(words("0f3F800000 1.5"), [Token::F32(0x3f80_0000), Token::F64(1.5f64.to_bits())]);
        assert!(tokens("12q").is_err());
    }

    #[test]
    fn lines_are_counted_through_comments_and_texts() {
        let found = tokens("// a\n/* b\n */ x \"q\nr\" y").unwrap();
        assert_eq!(found.iter().map(|t| t.line).collect::<Vec<_>>(), [3, 3, 4]);
    }
}
