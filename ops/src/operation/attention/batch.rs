//! What all forms of attention have in common: requests, each with rows of queries and positions of keys and values.
//!
//! A kernel computes a [`Batch`] and does not know the form that it comes from: a page table, offsets into rows that follow each
//! other, and the blocks of a sparse matrix all say which line of memory a position lies in.

use super::kv4::scale_row;
use crate::lowbit::{stand_for, unsigned};
use crate::operation::real::widen;
use half::bf16;
use std::borrow::Cow;
use std::ops::Range;

/// Attention over requests: one level of it, where a form has several.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Heads of the queries.
    pub q_heads: usize,
    /// Heads of the keys and values; head `h` of the queries reads head `h / group`.
    pub kv_heads: usize,
    /// Elements of a head.
    pub d: usize,
    /// Factor of every score.
    pub scale: f32,
    /// Which positions a row sees, as far as they follow from its place.
    pub span: Span,
    /// Requests in order; a row of queries and a head belong to at most one of them.
    pub requests: Vec<Request>,
    /// Rows of queries and results.
    pub rows: usize,
    /// `[rows, q_heads, d]`.
    pub q: &'a [bf16],
    /// Where keys and values lie.
    pub store: Store<'a>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its rows of queries.
    pub rows: Range<usize>,
    /// Its positions of keys and values.
    pub kv: usize,
    /// Where its entries in the table begin, or its first line where there is no table.
    pub first: usize,
    /// The heads of keys and values that it is about.
    pub heads: Range<usize>,
    /// The byte where its mask begins.
    pub mask: usize,
}

/// Keys and values in memory: lines of `line` elements, a head after the other.
#[derive(Clone, Debug)]
pub struct Store<'a> {
    /// Keys; the first element is that of line 0.
    pub k: Rows<'a>,
    /// Values; the first element is that of line 0.
    pub v: Rows<'a>,
    /// Elements from a line to the next.
    pub line: usize,
    /// The page of every entry of every request, in order; none where positions of a request follow each other line by line.
    pub table: Option<Cow<'a, [i32]>>,
    /// Positions of a page.
    pub page: usize,
    /// Lines from a page to the next.
    pub page_lines: usize,
    /// Pages, or lines where there is no table.
    pub pages: usize,
}

/// The form that the elements of lines have; those of a head at a line are a row.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// They are numbers.
    Numbers(&'a [bf16]),
    /// Codes of four bits, two a byte, and a scale and a zero for each row: see [`crate::lowbit::stand_for`].
    Codes {
        /// Codes, the one of the even element in the low half.
        codes: &'a [u8],
        /// A scale and a zero for each row, in the order of [`super::scale_row`].
        scales: &'a [bf16],
    },
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// Its numbers.
    Numbers(&'a [bf16]),
    /// Its codes, two a byte, and what each code stands for.
    Codes(&'a [u8], [f32; 16]),
}

impl<'a> From<&'a [bf16]> for Rows<'a> {
    fn from(numbers: &'a [bf16]) -> Rows<'a> {
        Rows::Numbers(numbers)
    }
}

impl Rows<'_> {
    /// Bytes of a row of `d` elements.
    pub fn bytes(&self, d: usize) -> usize {
        match self {
            Rows::Numbers(_) => 2 * d,
            Rows::Codes { .. } => d / 2 + 4,
        }
    }
}

impl Row<'_> {
    /// Hands out every number with its place.
    #[inline(always)]
    pub fn each(&self, mut to: impl FnMut(usize, f32)) {
        match self {
            Row::Numbers(numbers) => {
                numbers.iter().enumerate().for_each(|(at, &x)| to(at, widen(x)));
            }
            Row::Codes(codes, numbers) => {
                for (at, &byte) in codes.iter().enumerate() {
                    let [low, high] = unsigned(byte);
                    to(2 * at, numbers[usize::from(low)]);
                    to(2 * at + 1, numbers[usize::from(high)]);
                }
            }
        }
    }

    /// Writes the numbers, as many as there is room for.
    #[inline(always)]
    pub fn write(&self, to: &mut [f32]) {
        match self {
            Row::Numbers(numbers) => {
                to.iter_mut().zip(*numbers).for_each(|(to, &x)| *to = widen(x));
            }
            Row::Codes(codes, numbers) => {
                for ([even, odd], &byte) in to.as_chunks_mut::<2>().0.iter_mut().zip(*codes) {
                    let [low, high] = unsigned(byte);
                    (*even, *odd) = (numbers[usize::from(low)], numbers[usize::from(high)]);
                }
            }
        }
    }

    /// The numbers.
    pub fn numbers(&self) -> Vec<f64> {
        let mut all = Vec::new();
        self.each(|_, x| all.push(f64::from(x)));
        all
    }
}

/// The positions that a row sees from its place alone. Rows are aligned to the end: the last one stands at the last position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whether a row sees no position after its own.
    pub causal: bool,
    /// How many positions a row sees up to its own.
    pub window: Option<usize>,
}

impl Span {
    /// Every position.
    pub const ALL: Span = Span { causal: false, window: None };

    /// The positions that row `row` of `rows` sees among `kv`.
    pub fn positions(&self, row: usize, rows: usize, kv: usize) -> Range<usize> {
        // How many positions end with the row's own; none where the row stands before the first.
        let upto = (kv + row + 1).saturating_sub(rows);
        let end = if self.causal { upto.min(kv) } else { kv };
        let begin = self.window.map_or(0, |window| upto.saturating_sub(window));
        begin.min(end)..end
    }

    /// The positions that at least one of these rows sees: from the first of the first row to the last of the last.
    pub fn of_rows(&self, of: Range<usize>, rows: usize, kv: usize) -> Range<usize> {
        if of.is_empty() {
            return 0..0;
        }
        let (first, last) = (self.positions(of.start, rows, kv), self.positions(of.end - 1, rows, kv));
        first.start.min(last.end)..last.end
    }
}

impl Batch<'_> {
    /// Heads of queries to a head of keys.
    pub fn group(&self) -> usize {
        self.q_heads / self.kv_heads.max(1)
    }

    /// Pairs of a row and a head of queries with a position that the row sees by its span.
    pub fn pairs(&self) -> u64 {
        let of = |request: &Request| {
            let rows = request.rows.len();
            let seen = (0..rows).map(|row| self.span.positions(row, rows, request.kv).len() as u64).sum::<u64>();
            seen * (request.heads.len() * self.group()) as u64
        };
        self.requests.iter().map(of).sum()
    }

    /// Positions, times heads, that at least one row of their request sees: what has to be read at least.
    pub fn positions(&self) -> u64 {
        let of = |request: &Request| {
            let rows = request.rows.len();
            (self.span.of_rows(0..rows, rows, request.kv).len() * request.heads.len()) as u64
        };
        self.requests.iter().map(of).sum()
    }
}

impl<'a> Store<'a> {
    /// The line of a request's position.
    pub fn line_of(&self, request: &Request, position: usize) -> usize {
        match &self.table {
            None => request.first + position,
            Some(table) => {
                // A checked table holds pages only.
                table[request.first + position / self.page] as usize * self.page_lines + position % self.page
            }
        }
    }

    /// The key of a head at a line.
    #[inline(always)]
    pub fn key(&self, line: usize, head: usize, d: usize) -> Row<'a> {
        self.row(&self.k, line, head, d)
    }

    /// The value of a head at a line.
    #[inline(always)]
    pub fn value(&self, line: usize, head: usize, d: usize) -> Row<'a> {
        self.row(&self.v, line, head, d)
    }

    #[inline(always)]
    fn row(&self, of: &Rows<'a>, line: usize, head: usize, d: usize) -> Row<'a> {
        let begin = line * self.line + head * d;
        match *of {
            Rows::Numbers(numbers) => Row::Numbers(&numbers[begin..][..d]),
            Rows::Codes { codes, scales } => {
                let scale = &scales[2 * scale_row(line, head, self.line / d, self.page)..][..2];
                Row::Codes(&codes[begin / 2..][..d / 2], stand_for(scale[0], scale[1]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_to_the_end_of_their_positions() {
        let causal = Span { causal: true, window: None };
        let seen: Vec<_> = (0..3).map(|row| causal.positions(row, 3, 5)).collect();
        assert_eq!(seen, [0..3, 0..4, 0..5]);
        assert_eq!(causal.of_rows(0..2, 3, 5), 0..4);
        // More rows than positions: the first ones see nothing.
        let seen: Vec<_> = (0..4).map(|row| causal.positions(row, 4, 2).len()).collect();
        assert_eq!(seen, [0, 0, 1, 2]);
        let window = Span { causal: true, window: Some(2) };
        let seen: Vec<_> = (0..3).map(|row| window.positions(row, 3, 5)).collect();
        assert_eq!(seen, [1..3, 2..4, 3..5]);
        assert_eq!(window.of_rows(1..3, 3, 5), 2..5);
        assert_eq!(Span::ALL.positions(0, 9, 5), 0..5);
        assert!(window.of_rows(0..4, 4, 0).is_empty());
    }
}
