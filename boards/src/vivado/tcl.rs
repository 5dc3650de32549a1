//! Tcl as values: commands of words, printed with the quotes that each word needs.

use std::fmt;

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Characters that mean themselves.
    Text(String),
    /// What a variable holds.
    Variable(&'static str),
    /// What a command answers.
    Call(Command),
    /// A list of words that mean themselves.
    List(Vec<String>),
    /// A script, as the arms of `if` and `foreach` are.
    Body(Vec<Command>),
    /// A condition, as Tcl's expressions are written.
    Expression(String),
    /// Words without space between them, in quotes.
    Joined(Vec<Word>),
}

/// A command: its name, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    words: Vec<Word>,
    comment: Option<&'static str>,
}

/// A command without arguments.
pub fn command(name: &str) -> Command {
    Command { words: vec![text(name)], comment: None }
}

/// A word of characters that mean themselves.
pub fn text(text: impl Into<String>) -> Word {
    Word::Text(text.into())
}

impl Command {
    /// With words that mean themselves.
    pub fn words(mut self, words: &[&str]) -> Command {
        self.words.extend(words.iter().map(|word| text(*word)));
        self
    }

    /// With another word.
    pub fn word(mut self, word: Word) -> Command {
        self.words.push(word);
        self
    }

    /// With what a command answers.
    pub fn call(self, command: Command) -> Command {
        self.word(Word::Call(command))
    }

    /// With a sentence above it.
    pub fn comment(mut self, sentence: &'static str) -> Command {
        self.comment = Some(sentence);
        self
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        for (i, word) in self.words.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            word.write(f, depth)?;
        }
        Ok(())
    }
}

impl Word {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Word::Text(text) => f.write_str(&quoted(text)),
            Word::Variable(name) => write!(f, "${name}"),
            Word::Call(command) => {
                f.write_str("[")?;
                command.write(f, depth)?;
                f.write_str("]")
            }
            Word::List(words) => {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                write!(f, "{{{}}}", words.join(" "))
            }
            Word::Body(commands) => {
                f.write_str("{\n")?;
                script(f, commands, depth + 1)?;
                write!(f, "{:1$}}}", "", 4 * depth)
            }
            Word::Expression(expression) => write!(f, "{{{expression}}}"),
            Word::Joined(words) => {
                f.write_str("\"")?;
                for word in words {
                    match word {
                        Word::Text(text) => f.write_str(&escaped(text))?,
                        Word::Variable(name) => write!(f, "${{{name}}}")?,
                        other => other.write(f, depth)?,
                    }
                }
                f.write_str("\"")
            }
        }
    }
}

/// Commands, one a line.
pub struct Script<'a>(pub &'a [Command]);

impl fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        script(f, self.0, 0)
    }
}

fn script(f: &mut fmt::Formatter<'_>, commands: &[Command], depth: usize) -> fmt::Result {
    for command in commands {
        if let Some(sentence) = command.comment {
            writeln!(f, "{:1$}# {sentence}", "", 4 * depth)?;
        }
        write!(f, "{:1$}", "", 4 * depth)?;
        command.write(f, depth)?;
        writeln!(f)?;
    }
    Ok(())
}

/// A word that means these characters.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:+=,*<>@!%^|~".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    // Braces keep everything as it is, but for braces of their own that do not match and a backslash.
    let mut depth = 0i32;
    let balanced = text.chars().all(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth >= 0 && c != '\\'
    });
    if balanced && depth == 0 { format!("{{{text}}}") } else { format!("\"{}\"", escaped(text)) }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\\"[]${}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(command: Command) -> String {
        Script(&[command]).to_string()
    }

    #[test]
    fn words_get_the_quotes_that_they_need() {
        let words = ["a.b", "", "two words", "$money", "[x]", "}{", "back\\slash"];
        assert_eq!(
            print(command("puts").words(&words)),
            "puts a.b {} {two words} {$money} {[x]} \"\\}\\{\" \"back\\\\slash\"\n"
        );
    }

    #[test]
    fn commands_nest_in_calls_and_bodies() {
        let inner = command("puts").word(Word::Joined(vec![text("is \"a\": "), Word::Variable("x")]));
        let test = command("if").word(Word::Expression("$x < 0".into())).word(Word::Body(vec![inner.comment("Why.")]));
        assert_eq!(print(test), "if {$x < 0} {\n    # Why.\n    puts \"is \\\"a\\\": ${x}\"\n}\n");
        let call = command("set").words(&["x"]).call(command("get_ports").words(&["led[0]"]));
        assert_eq!(print(call), "set x [get_ports {led[0]}]\n");
    }
}
