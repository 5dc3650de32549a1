//! The rows of a transfer, cut into bursts as `rows.rs` and `burst.rs` of the hardware cut them.

use super::hardware::BURST_WORDS;

/// Rows that are left, and where the one at hand is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rows {
    /// First byte of the row at hand.
    row: u64,
    row_bytes: u64,
    stride: u64,
    /// Rows left, the one at hand included.
    left: u64,
    /// The next word of the row at hand, and how many are left of it.
    word: u64,
    words: u64,
    log_bus: u32,
}

/// A burst: bus words, and how many bytes of its row it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Burst {
    pub words: u64,
    pub bytes: u64,
    /// How many of them are in its first word.
    pub lead: u64,
    /// It is the last one of its row.
    pub ends_row: bool,
}

impl Rows {
    /// Rows of `row_bytes` bytes, at least one, from byte `address` on.
    pub fn new(address: u64, rows: u64, row_bytes: u64, stride: u64, log_bus: u32) -> Rows {
        let mut all = Rows { row: address, row_bytes, stride, left: rows, word: 0, words: 0, log_bus };
        all.enter();
        all
    }

    fn enter(&mut self) {
        self.word = self.row >> self.log_bus;
        self.words = ((self.row + self.row_bytes - 1) >> self.log_bus) - self.word + 1;
    }

    /// The next burst; none behind the last row.
    pub fn next(&mut self) -> Option<Burst> {
        if self.left == 0 {
            return None;
        }
        let room = BURST_WORDS - self.word % BURST_WORDS;
        let words = self.words.min(room);
        let begin = (self.word << self.log_bus).max(self.row);
        let end = ((self.word + words) << self.log_bus).min(self.row + self.row_bytes);
        let lead = ((self.word + 1) << self.log_bus).min(end) - begin;
        let ends_row = words == self.words;
        if ends_row {
            self.left -= 1;
            self.row = self.row.wrapping_add(self.stride);
            if self.left > 0 {
                self.enter();
            }
        } else {
            self.word += words;
            self.words -= words;
        }
        Some(Burst { words, bytes: end - begin, lead, ends_row })
    }

    /// Whether a burst is left.
    pub fn more(&self) -> bool {
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bursts(mut rows: Rows) -> Vec<(u64, u64, bool)> {
        std::iter::from_fn(|| rows.next().map(|b| (b.words, b.bytes, b.ends_row))).collect()
    }

    #[test]
    fn a_burst_ends_at_a_multiple_of_sixteen_words_or_with_its_row() {
        assert_eq!(bursts(Rows::new(0, 1, 300, 0, 3)), [(16, 128, false), (16, 128, false), (6, 44, true)]);
        assert_eq!(bursts(Rows::new(120, 2, 16, 128, 3)), [(1, 8, false), (1, 8, true), (1, 8, false), (1, 8, true)]);
    }

    #[test]
    fn a_row_within_a_word_takes_the_whole_word() {
        assert_eq!(bursts(Rows::new(4, 2, 8, 4, 3)), [(2, 8, true), (1, 8, true)]);
        assert!(!Rows::new(0, 0, 8, 8, 3).more());
    }
}
