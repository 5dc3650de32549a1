//! Work in chunks that threads draw.
//!
//! A thread that other programs disturb draws fewer chunks and does not keep the others waiting. Every thread has a part of the work
//! where it begins, the same one in every run, so that what it wrote then still lies in its own cache; it draws from the parts of the
//! others when its own is empty.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The part of a thread, on cache lines of its own.
#[repr(align(128))]
struct Part {
    next: AtomicUsize,
    end: usize,
}

/// The chunks that a thread draws.
pub(super) struct Draws<'a> {
    parts: &'a [Part],
    /// Parts that were empty, counted from the thread's own.
    own: usize,
    empty: usize,
    chunk: usize,
}

impl Iterator for Draws<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        while self.empty < self.parts.len() {
            let part = &self.parts[(self.own + self.empty) % self.parts.len()];
            // Chunks carry no data from one thread to another.
            let begin = part.next.fetch_add(self.chunk, Ordering::Relaxed);
            if begin < part.end {
                return Some(begin..part.end.min(begin + self.chunk));
            }
            self.empty += 1;
        }
        None
    }
}

/// Rows of whole tiles of a product, whatever the number of vectors in a panel.
pub(super) const HEIGHT: usize = 24;

/// Rows and panels of a product that a thread draws.
pub(super) struct Pieces<'a> {
    draws: Draws<'a>,
    rows: usize,
    panels: usize,
    by_panels: bool,
}

impl Iterator for Pieces<'_> {
    type Item = (Range<usize>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let drawn = self.draws.next()?;
        Some(if self.by_panels {
            (0..self.rows, drawn)
        } else {
            (drawn.start * HEIGHT..self.rows.min(drawn.end * HEIGHT), 0..self.panels)
        })
    }
}

/// Spreads a product of rows and panels of weights over the threads. The sizes of all rows and of all weights have any one unit.
/// Rows are drawn in chunks of at least `least` tiles, about `chunks` of them for each thread.
pub(super) fn share_product(
    [rows, panels]: [usize; 2],
    [row_size, weight_size]: [usize; 2],
    [chunks, least]: [usize; 2],
    body: impl Fn(Pieces<'_>) + Sync,
) {
    let threads = rayon::current_num_threads();
    // The operand that is cut is read once, the other one for every chunk.
    let by_panels = panels >= threads && (weight_size > 4 * row_size || rows < 2 * HEIGHT * threads);
    let tiles = rows.div_ceil(HEIGHT);
    let (count, chunk) = if by_panels { (panels, 1) } else { (tiles, least.max(tiles / (chunks * threads))) };
    share(count, chunk, |draws| body(Pieces { draws, rows, panels, by_panels }));
}

/// Spreads `0..count` over the threads of the pool at hand, in chunks of `chunk`. The calling thread takes part, so that it never
/// waits for another one to wake up while there is work.
pub(super) fn share(count: usize, chunk: usize, body: impl Fn(Draws<'_>) + Sync) {
    let chunk = chunk.max(1);
    let threads = rayon::current_num_threads().min(count.div_ceil(chunk)).max(1);
    let edge = |index: usize| index * count / threads;
    let part = |index| Part { next: AtomicUsize::new(edge(index)), end: edge(index + 1) };
    let parts: Vec<Part> = (0..threads).map(part).collect();
    let run = || {
        let own = rayon::current_thread_index().unwrap_or(0);
        body(Draws { parts: &parts, own, empty: 0, chunk });
    };
    if threads == 1 {
        return run();
    }
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| run());
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_drawn_once_whatever_the_number_of_threads() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for (count, chunk) in [(0, 4), (1, 1), (7, 0), (100, 7), (64, 64), (1000, 3)] {
                let drawn: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                let body = |draws: Draws<'_>| {
                    for range in draws {
                        assert!(range.len() <= chunk.max(1) && !range.is_empty());
                        drawn[range].iter().for_each(|count| _ = count.fetch_add(1, Ordering::Relaxed));
                    }
                };
                pool.install(|| share(count, chunk, body));
                // From a thread outside the pool too.
                share(count, chunk, body);
                assert!(drawn.iter().all(|count| count.load(Ordering::Relaxed) == 2), "{count} {chunk} {threads}");
            }
        }
    }
}
