//! Lines of assembly text cut into words, and the names and numbers that words stand for.

/// A problem with its column.
pub(super) type Problem = (usize, String);

/// A word of a line with its one-based column.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) column: usize,
    pub(super) text: &'a str,
    /// The rest of the line from this word, without the comment.
    pub(super) rest: &'a str,
}

pub(super) fn fail<T>(word: Word<'_>, message: String) -> Result<T, Problem> {
    Err((word.column, message))
}

/// The start of a word, so that a message stays one line.
pub(super) fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(40).flat_map(char::escape_default).collect();
    if text.chars().nth(40).is_some() {
        clipped.push_str("...");
    }
    clipped
}

/// The words of a line up to its comment; a quoted string is one word.
pub(super) fn split(line: &str) -> Result<Vec<Word<'_>>, Problem> {
    let mut words: Vec<(usize, usize, usize)> = Vec::new();
    let mut end = line.len();
    let mut start: Option<(usize, usize)> = None;
    let mut quote_column = None;
    let mut escaped = false;
    for (index, (byte, c)) in line.char_indices().enumerate() {
        if quote_column.is_some() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quote_column = None,
                _ => {}
            }
            continue;
        }
        match c {
            ';' | '#' => {
                end = byte;
                break;
            }
            c if c.is_whitespace() => words.extend(start.take().map(|(from, column)| (from, byte, column))),
            c => {
                start.get_or_insert((byte, index + 1));
                if c == '"' {
                    quote_column = Some(index + 1);
                }
            }
        }
    }
    if let Some(column) = quote_column {
        return Err((column, "this quote is not closed on its line".to_owned()));
    }
    words.extend(start.map(|(from, column)| (from, end, column)));
    let word = |(from, to, column): (usize, usize, usize)| {
        Some(Word { column, text: line.get(from..to)?, rest: line.get(from..end)? })
    };
    Ok(words.into_iter().filter_map(word).collect())
}

/// The name that a plain or quoted word stands for.
pub(super) fn unquote(word: Word<'_>) -> Result<String, Problem> {
    let Some(inner) = word.text.strip_prefix('"') else {
        if word.text.contains(['"', '\\']) {
            return fail(word, "quote the whole name".to_owned());
        }
        return Ok(word.text.to_owned());
    };
    let mut name = String::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            Some('"') if chars.as_str().is_empty() => return Ok(name),
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\')) => name.push(c),
                Some('u') => {
                    let code = chars.as_str().strip_prefix('{').and_then(|code| code.split_once('}'));
                    let c = code.and_then(|(hex, after)| {
                        let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?;
                        Some((c, after))
                    });
                    let Some((c, after)) = c else {
                        return fail(word, "a character is written `\\u{HEX}`".to_owned());
                    };
                    name.push(c);
                    rest = after;
                    continue;
                }
                _ => return fail(word, "after a backslash write `\"`, `\\` or `u{HEX}`".to_owned()),
            },
            Some('"') | None => return fail(word, "the name must end with its closing quote".to_owned()),
            Some(c) => name.push(c),
        }
        rest = chars.as_str();
    }
}

pub(super) fn not_a_number(text: &str) -> String {
    format!("`{}` is no number: write decimal, or hexadecimal after 0x", clip(text))
}

/// A decimal or `0x` number with an optional minus sign.
pub(super) fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    // The standard parser would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => i64::from_str_radix(hex, 16).ok()?,
        Some(_) => return None,
        None => digits.parse::<i64>().ok()?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

pub(super) fn number_u32(word: Word<'_>) -> Result<u32, Problem> {
    let value = number(word.text).ok_or_else(|| (word.column, not_a_number(word.text)))?;
    u32::try_from(value).map_err(|_| (word.column, format!("{value} does not fit in 32 unsigned bits")))
}
