//! Weights in the order in which the inner loops read them.

use super::{LANES, Layout};
use crate::cpu::Level;

/// 8-bit codes with the zero point that they are counted from.
#[derive(Clone, Copy)]
pub(crate) struct Codes<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether the bytes are `i8`.
    pub(crate) signed: bool,
}

/// How operands lie in memory for one kind of inner loop.
pub(crate) trait Form: Copy + Send + Sync + 'static {
    /// An activation.
    type X: Copy + Default + Send + Sync;
    /// Weights of [`LANES`] outputs for one step.
    type Line: Copy + Send + Sync;
    /// Products that go to one sum in a step.
    const GROUP: usize;
    /// Whether sums are of products of codes as they are, which the zero points correct afterwards.
    const RAW: bool;

    /// An activation from its code, counted from the smallest one; `zero` is that of the zero point.
    fn activation(rank: u8, zero: u8) -> Self::X;
    /// An activation as a number.
    fn wide(x: Self::X) -> i32;
    /// A line of zeros.
    fn blank() -> Self::Line;
    /// Puts a centred weight, or one as it is, in a line.
    fn put(line: &mut Self::Line, lane: usize, at: usize, weight: i16);
}

/// Bytes in groups of four.
#[derive(Clone, Copy)]
pub(crate) struct Quad;

/// Centred 16-bit numbers in pairs.
#[derive(Clone, Copy)]
pub(crate) struct Pair;

/// Aligned so that a load of a line never touches two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

impl Form for Quad {
    type X = u8;
    type Line = Aligned<[i8; 4 * LANES]>;
    const GROUP: usize = 4;
    const RAW: bool = true;

    #[inline(always)]
    fn activation(rank: u8, _: u8) -> u8 {
        rank
    }

    #[inline(always)]
    fn wide(x: u8) -> i32 {
        i32::from(x)
    }

    fn blank() -> Self::Line {
        Aligned([0; 4 * LANES])
    }

    #[inline(always)]
    fn put(line: &mut Self::Line, lane: usize, at: usize, weight: i16) {
        line.0[4 * lane + at] = weight as i8;
    }
}

impl Form for Pair {
    type X = i16;
    type Line = Aligned<[i16; 2 * LANES]>;
    const GROUP: usize = 2;
    const RAW: bool = false;

    #[inline(always)]
    fn activation(rank: u8, zero: u8) -> i16 {
        i16::from(rank) - i16::from(zero)
    }

    #[inline(always)]
    fn wide(x: i16) -> i32 {
        i32::from(x)
    }

    fn blank() -> Self::Line {
        Aligned([0; 2 * LANES])
    }

    #[inline(always)]
    fn put(line: &mut Self::Line, lane: usize, at: usize, weight: i16) {
        line.0[2 * lane + at] = weight;
    }
}

/// A weight matrix `[n, k]`, packed for a level.
pub(crate) enum Weights {
    Quad(Packed<Quad>),
    Pair(Packed<Pair>),
}

/// Panels of up to four vectors of outputs. Within a panel, a step of every vector follows the other.
pub(crate) struct Packed<F: Form> {
    pub(super) level: Level,
    pub(super) n: usize,
    pub(super) layout: Layout,
    /// Steps of a segment.
    pub(super) steps: usize,
    pub(super) lines: Vec<F::Line>,
    pub(super) panels: Vec<Panel>,
    /// Zero point of each output, from which sums are still to be counted; empty where all are zero.
    pub(super) zeros: Vec<i32>,
    /// What is to be added to the bias of each output.
    pub(super) fold: Vec<i32>,
}

#[derive(Clone, Copy)]
pub(super) struct Panel {
    /// First output.
    pub(super) first: usize,
    /// Vectors of outputs.
    pub(super) vectors: usize,
    /// First line.
    pub(super) line: usize,
}

impl Codes<'_> {
    /// The code counted from the smallest one of its type.
    #[inline(always)]
    pub(crate) fn rank(&self, at: usize) -> u8 {
        self.bytes[at] ^ self.flip()
    }

    /// What makes ranks of codes, by exclusive or.
    #[inline(always)]
    pub(crate) fn flip(&self) -> u8 {
        if self.signed { 0x80 } else { 0 }
    }
}

impl Weights {
    /// Packs `[n, k]` weights with a zero point for each output or one for all, for activations with the zero point of rank
    /// `input_zero`. The order of k is that of the layout.
    pub(crate) fn new(
        level: Level,
        codes: Codes<'_>,
        zero_points: &[i32],
        n: usize,
        layout: Layout,
        input_zero: u8,
    ) -> Weights {
        match level.or_portable().vector() {
            Level::Avx512 => Weights::Quad(Packed::new(level, codes, zero_points, n, layout, input_zero, 4)),
            level => Weights::Pair(Packed::new(level, codes, zero_points, n, layout, input_zero, 1)),
        }
    }

    /// What the zero points add to the bias of each output.
    pub(crate) fn fold(&self) -> &[i32] {
        match self {
            Weights::Quad(packed) => &packed.fold,
            Weights::Pair(packed) => &packed.fold,
        }
    }
}

impl<F: Form> Packed<F> {
    fn new(
        level: Level,
        codes: Codes<'_>,
        zero_points: &[i32],
        n: usize,
        layout: Layout,
        input_zero: u8,
        widest: usize,
    ) -> Packed<F> {
        let (segments, length) = (layout.segments.len(), layout.length);
        let k = segments * length;
        let steps = length.div_ceil(F::GROUP);
        let vectors = n.div_ceil(LANES);
        let mut lines = vec![F::blank(); vectors * segments * steps];
        let mut panels = Vec::with_capacity(vectors.div_ceil(widest));
        // Panels of nearly the same width: the last one shall not be a narrow rest.
        let count = vectors.div_ceil(widest);
        let mut vector = 0;
        for index in 0..count {
            let width = (vectors - vector).div_ceil(count - index);
            panels.push(Panel { first: vector * LANES, vectors: width, line: vector * segments * steps });
            vector += width;
        }
        let zero_of = |output: usize| {
            let zero = zero_points.get(output).or(zero_points.first()).copied().unwrap_or(0);
            // Weights without sign are stored as numbers with one.
            if codes.signed { zero } else { zero - 128 }
        };
        let (mut zeros, mut fold) = (Vec::new(), vec![0i32; n]);
        for panel in &panels {
            let outputs = panel.first..(panel.first + panel.vectors * LANES).min(n);
            for output in outputs {
                let zero = zero_of(output);
                let (vector, lane) = ((output - panel.first) / LANES, output % LANES);
                let mut sum = 0i32;
                for segment in 0..segments {
                    let row = output * k + segment * length;
                    let first = panel.line + segment * steps * panel.vectors + vector;
                    for at in 0..length {
                        let weight = i16::from((codes.rank(row + at) ^ 0x80) as i8);
                        sum = sum.wrapping_add(i32::from(weight));
                        let weight = if F::RAW { weight } else { weight - zero as i16 };
                        let line = &mut lines[first + at / F::GROUP * panel.vectors];
                        F::put(line, lane, at % F::GROUP, weight);
                    }
                }
                if F::RAW {
                    let both = (k as i32).wrapping_mul(zero);
                    fold[output] = both.wrapping_sub(sum).wrapping_mul(i32::from(input_zero));
                }
            }
        }
        if F::RAW && (0..n).any(|output| zero_of(output) != 0) {
            zeros = (0..vectors * LANES).map(|output| if output < n { zero_of(output) } else { 0 }).collect();
        }
        Packed { level, n, layout, steps, lines, panels, zeros, fold }
    }

    /// Lines of a panel.
    pub(super) fn lines(&self, panel: Panel) -> &[F::Line] {
        &self.lines[panel.line..][..panel.vectors * self.layout.segments.len() * self.steps]
    }

    /// Activations that the inner loops read behind a base.
    pub(super) fn reach(&self) -> usize {
        let furthest = self.layout.segments.iter().max().copied().unwrap_or(0);
        furthest + self.steps * F::GROUP
    }
}
