//! Operands of a product in the order in which the inner loops read them.

use crate::cpu::Level;
use crate::cpu::int8::Aligned;
use crate::cpu::transpose::{SIDE, transpose};
use rayon::prelude::*;

/// Outputs that one vector of sums holds.
pub(super) const LANES: usize = 16;

/// How operands lie in memory for one kind of inner loop.
pub(crate) trait Form: Copy + Send + Sync + 'static {
    /// An element of `a` and of the weights.
    type X: Copy + Default + Send + Sync;
    /// Weights of [`LANES`] outputs for one step.
    type Line: Copy + Send + Sync;
    /// Products that go to one sum in a step.
    const GROUP: usize;

    /// A line of zeros.
    fn blank() -> Self::Line;
    /// Puts a weight in a line.
    fn put(line: &mut Self::Line, lane: usize, at: usize, weight: Self::X);
}

/// Elements of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct F32;

/// Pairs of bf16, by their bits.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

impl Form for F32 {
    type X = f32;
    type Line = Aligned<[f32; LANES]>;
    const GROUP: usize = 1;

    fn blank() -> Self::Line {
        Aligned([0.0; LANES])
    }

    #[inline(always)]
    fn put(line: &mut Self::Line, lane: usize, _: usize, weight: f32) {
        line.0[lane] = weight;
    }
}

impl Form for Bf16 {
    type X = u16;
    type Line = Aligned<[u16; 2 * LANES]>;
    const GROUP: usize = 2;

    fn blank() -> Self::Line {
        Aligned([0; 2 * LANES])
    }

    #[inline(always)]
    fn put(line: &mut Self::Line, lane: usize, at: usize, weight: u16) {
        line.0[2 * lane + at] = weight;
    }
}

/// Weights in panels. Within a panel, a step of every vector follows the other.
pub(crate) struct Packed<F: Form> {
    pub(super) level: Level,
    pub(super) n: usize,
    /// Steps of a sum.
    pub(super) steps: usize,
    pub(super) panels: Vec<Panel>,
    lines: Vec<F::Line>,
}

#[derive(Clone, Copy)]
pub(super) struct Panel {
    /// First output.
    pub(super) first: usize,
    /// Vectors of outputs.
    pub(super) vectors: usize,
    line: usize,
}

impl<F: Form> Packed<F> {
    /// Packs weights `[n, k]` for a level, in the memory of `room`.
    pub(crate) fn new(level: Level, weights: &[F::X], n: usize, k: usize, room: Vec<F::Line>) -> Packed<F> {
        let level = level.or_portable();
        let steps = k.div_ceil(F::GROUP);
        let vectors = n.div_ceil(LANES);
        let count = vectors.div_ceil(if level == Level::Avx512 { 4 } else { 1 });
        // Panels of nearly the same width: the last one shall not be a narrow rest.
        let edge = |index: usize| (index * vectors).checked_div(count).unwrap_or(0);
        let panels: Vec<Panel> = (0..count)
            .map(|index| Panel {
                first: edge(index) * LANES,
                vectors: edge(index + 1) - edge(index),
                line: edge(index) * steps,
            })
            .collect();
        let mut lines = room;
        // Every weight is written below; places behind the last one of a row, or of the last vector, hold zeros.
        lines.resize(vectors * steps, F::blank());
        for (index, panel) in panels.iter().enumerate() {
            let lines = &mut lines[panel.line..][..panel.vectors * steps];
            if index + 1 == count && !n.is_multiple_of(LANES) {
                lines.fill(F::blank());
            } else if !k.is_multiple_of(F::GROUP) {
                lines[(steps - 1) * panel.vectors..].fill(F::blank());
            }
        }
        let mut rest = lines.as_mut_slice();
        let mut parts = Vec::with_capacity(count);
        for &panel in &panels {
            let (part, behind) = rest.split_at_mut(panel.vectors * steps);
            parts.push((panel, part));
            rest = behind;
        }
        // An empty sum has no lines to write.
        parts.into_par_iter().filter(|_| k > 0).for_each(|(panel, lines)| {
            for vector in 0..panel.vectors {
                let first = panel.first + vector * LANES;
                let outputs = LANES.min(n - first);
                let rows = &weights[first * k..][..outputs * k];
                let (words, lines) = (SIDE * F::GROUP, &mut lines[vector..]);
                // Blocks of words first, then what is left of each row; sixteen elements of a row are one line of the cache.
                let mut done = 0;
                while outputs == SIDE && done + words <= k {
                    let block = &mut lines[done / F::GROUP * panel.vectors..];
                    if !transpose(&rows[done..], k, block, panel.vectors, 0) {
                        break;
                    }
                    done += words;
                }
                for begin in (done..k).step_by(LANES) {
                    for (lane, row) in rows.chunks_exact(k).enumerate() {
                        for (at, &weight) in row.iter().enumerate().take(begin + LANES).skip(begin) {
                            F::put(&mut lines[at / F::GROUP * panel.vectors], lane, at % F::GROUP, weight);
                        }
                    }
                }
            }
        });
        Packed { level, n, steps, panels, lines }
    }

    /// The memory.
    pub(crate) fn into_room(self) -> Vec<F::Line> {
        self.lines
    }

    pub(super) fn lines(&self, panel: Panel) -> &[F::Line] {
        &self.lines[panel.line..][..panel.vectors * self.steps]
    }
}

/// Rows of whole steps.
pub(crate) struct Rows<'a, F: Form> {
    pub(super) elements: &'a [F::X],
    pub(super) pitch: usize,
    pub(super) count: usize,
}

impl<'a, F: Form> Rows<'a, F> {
    /// Rows `[m, k]`; copied to `room` with zeros behind where `k` is no number of whole steps: what stands behind a row may be
    /// no number, and its product with a weight of zero is none.
    pub(crate) fn new(elements: &'a [F::X], m: usize, k: usize, room: &'a mut Vec<F::X>) -> Rows<'a, F> {
        let pitch = k.next_multiple_of(F::GROUP);
        if pitch == k {
            return Rows { elements, pitch, count: m };
        }
        room.resize(m * pitch, F::X::default());
        for (to, row) in room.chunks_exact_mut(pitch).zip(elements.chunks_exact(k)) {
            to[..k].copy_from_slice(row);
        }
        Rows { elements: room, pitch, count: m }
    }
}
