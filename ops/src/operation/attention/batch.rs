//! What all forms of attention have in common: requests, each with rows of queries and positions of keys and values.
//!
//! A kernel computes a [`Batch`] and does not know the form that it comes from: a page table, offsets into rows that follow each
//! other, and the blocks of a sparse matrix all say which line of memory a position lies in.

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
    pub k: &'a [bf16],
    /// Values; the first element is that of line 0.
    pub v: &'a [bf16],
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

impl Store<'_> {
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
    pub fn key(&self, line: usize, head: usize, d: usize) -> &[bf16] {
        &self.k[line * self.line + head * d..][..d]
    }

    /// The value of a head at a line.
    pub fn value(&self, line: usize, head: usize, d: usize) -> &[bf16] {
        &self.v[line * self.line + head * d..][..d]
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
