//! The modifiers of an opcode, each of which must be understood by someone.

use crate::float::Mode;
use crate::types::Type;

/// The words of an opcode; those taken are understood.
pub(super) struct Modifiers<'a> {
    words: Vec<(&'a str, bool)>,
}

impl<'a> Modifiers<'a> {
    /// The modifiers of `opcode`, without its first word.
    pub fn new(opcode: &'a str) -> Self {
        Self { words: opcode.split('.').skip(1).map(|w| (w, false)).collect() }
    }

    /// Takes `word` if it is there.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.words.iter_mut().find(|(w, used)| !used && *w == word);
        found.map(|(_, used)| *used = true).is_some()
    }

    /// Takes all of `words`, returns whether any was there.
    pub fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().filter(|w| self.take(w)).count() > 0
    }

    /// Takes the first of the words of `table` that is there.
    pub fn choose<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        table.iter().find(|(w, _)| self.take(w)).map(|(_, value)| *value)
    }

    /// Takes the next type.
    pub fn ty(&mut self) -> Option<Type> {
        let (word, used) = self.words.iter_mut().find(|(w, used)| !used && Type::parse(w).is_some())?;
        *used = true;
        Type::parse(word)
    }

    /// Takes the first word that `read` understands.
    pub fn parse<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (word, used) = self.words.iter_mut().find(|(w, used)| !used && read(w).is_some())?;
        *used = true;
        read(word)
    }

    /// Takes a rounding mode of a floating-point result.
    pub fn rounding(&mut self) -> Option<Mode> {
        self.choose(&[
            ("rn", Mode::Near),
            ("rz", Mode::Zero),
            ("rm", Mode::Down),
            ("rp", Mode::Up),
            ("rna", Mode::Away),
        ])
    }

    /// Takes hints on caches, which change nothing here. Returns whether an operand with a cache policy follows.
    pub fn cache(&mut self) -> bool {
        for (word, used) in &mut self.words {
            let hint = matches!(*word, "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc" | "weak" | "L2")
                || word.starts_with("L1::evict")
                || *word == "L1::no_allocate"
                || (word.starts_with("L2::") && *word != "L2::cache_hint");
            *used |= hint;
        }
        self.take("L2::cache_hint")
    }

    /// The first word that nobody took.
    pub fn left(&self) -> Option<&'a str> {
        self.words.iter().find(|(_, used)| !used).map(|(w, _)| *w)
    }
}
