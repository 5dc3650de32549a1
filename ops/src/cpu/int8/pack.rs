//! Weights in the order in which the inner loops read them.

use super::{LANES, Layout};
use crate::cpu::Level;
use crate::cpu::transpose::{SIDE, transpose};
use crate::cpu::vectorised::{Vectorised, vectorised};
use rayon::prelude::*;

/// 8-bit codes, of either sign or of none.
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
    /// Puts the weights of a step of all outputs in a line.
    fn put_all(line: &mut Self::Line, rows: [&[u8]; LANES], flip: u8, zeros: [i16; LANES]);
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
    fn put_all(line: &mut Self::Line, rows: [&[u8]; LANES], flip: u8, _: [i16; LANES]) {
        for (to, row) in line.0.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
            *to = std::array::from_fn(|i| (row[i] ^ flip) as i8);
        }
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
    fn put_all(line: &mut Self::Line, rows: [&[u8]; LANES], flip: u8, zeros: [i16; LANES]) {
        for ((to, row), zero) in line.0.as_chunks_mut::<2>().0.iter_mut().zip(rows).zip(zeros) {
            *to = std::array::from_fn(|i| i16::from((row[i] ^ flip) as i8) - zero);
        }
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
    /// First activation of each step, from the base of a row.
    pub(super) offsets: Vec<usize>,
    /// Activations that the inner loops read behind a base.
    pub(super) reach: usize,
    pub(super) lines: Vec<F::Line>,
    pub(super) panels: Vec<Panel>,
    /// Zero point of each output, from which sums are still to be counted; empty where all are zero.
    pub(super) zeros: Vec<i32>,
    /// What is to be added to the bias of each output.
    pub(super) fold: Vec<i32>,
}

#[derive(Clone, Copy, Debug)]
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
        match level.or_portable() {
            Level::Avx512 => Weights::Quad(Packed::new(level, codes, zero_points, n, layout, input_zero, 4)),
            level => Weights::Pair(Packed::new(level, codes, zero_points, n, layout, input_zero, 1)),
        }
    }

    /// Number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Weights::Quad(packed) => packed.n,
            Weights::Pair(packed) => packed.n,
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
        let k = layout.segments.len() * layout.length;
        let steps = 0..layout.length.div_ceil(F::GROUP);
        let offset = |&segment: &usize| steps.clone().map(move |step| segment + step * F::GROUP);
        let offsets: Vec<usize> = layout.segments.iter().flat_map(offset).collect();
        let reach = offsets.iter().max().map_or(0, |furthest| furthest + F::GROUP);
        let vectors = n.div_ceil(LANES);
        // Panels of nearly the same width: the last one shall not be a narrow rest.
        let count = vectors.div_ceil(widest);
        let edge = |index: usize| (index * vectors).checked_div(count).unwrap_or(0);
        let panels: Vec<Panel> = (0..count)
            .map(|index| Panel {
                first: edge(index) * LANES,
                vectors: edge(index + 1) - edge(index),
                line: edge(index) * offsets.len(),
            })
            .collect();
        let zeros: Vec<i32> = (0..vectors * LANES)
            .map(|output| {
                let zero = zero_points.get(output).or(zero_points.first()).copied().unwrap_or(0);
                // Weights without sign are stored as numbers with one.
                if output >= n || codes.signed { zero } else { zero - 128 }
            })
            .collect();
        let mut lines = vec![F::blank(); vectors * offsets.len()];
        let mut fold = vec![0i32; n];
        let mut rest = (lines.as_mut_slice(), fold.as_mut_slice());
        let mut parts = Vec::with_capacity(count);
        for &panel in &panels {
            let (lines, behind) = rest.0.split_at_mut(panel.vectors * offsets.len());
            let (fold, after) = rest.1.split_at_mut((panel.vectors * LANES).min(n - panel.first));
            parts.push((panel, lines, fold));
            rest = (behind, after);
        }
        parts.into_par_iter().for_each(|(panel, lines, fold)| {
            vectorised(Pack::<F> { panel, lines, codes, zeros: &zeros, n, k, length: layout.length });
            if !F::RAW || k == 0 {
                return;
            }
            let rows = codes.bytes[panel.first * k..].chunks_exact(k);
            for ((fold, row), zero) in fold.iter_mut().zip(rows).zip(&zeros[panel.first..]) {
                let sum = vectorised(Sum { row, flip: codes.flip() ^ 0x80 });
                let both = (k as i32).wrapping_mul(*zero);
                *fold = both.wrapping_sub(sum).wrapping_mul(i32::from(input_zero));
            }
        });
        let zeros = if F::RAW && zeros[..n].iter().any(|&zero| zero != 0) { zeros } else { Vec::new() };
        Packed { level, n, layout, offsets, reach, lines, panels, zeros, fold }
    }

    /// Lines of a panel.
    pub(super) fn lines(&self, panel: Panel) -> &[F::Line] {
        &self.lines[panel.line..][..panel.vectors * self.offsets.len()]
    }
}

/// Fills the lines of a panel.
struct Pack<'a, F: Form> {
    panel: Panel,
    lines: &'a mut [F::Line],
    codes: Codes<'a>,
    zeros: &'a [i32],
    n: usize,
    k: usize,
    length: usize,
}

impl<F: Form> Vectorised<()> for Pack<'_, F> {
    #[inline(always)]
    fn run(self) {
        let Pack { panel, lines, codes, zeros, n, k, length } = self;
        // Numbers with sign, whatever the codes are.
        let flip = codes.flip() ^ 0x80;
        let steps = length.div_ceil(F::GROUP);
        for vector in 0..panel.vectors {
            let first = panel.first + vector * LANES;
            let outputs = LANES.min(n - first);
            let zeros: [i16; LANES] = std::array::from_fn(|lane| zeros[first + lane] as i16);
            let rows: [&[u8]; LANES] =
                std::array::from_fn(|lane| &codes.bytes[(first + lane.min(outputs - 1)) * k..][..k]);
            let mut at = 0;
            while at < lines.len() / panel.vectors {
                let (segment, step) = (at / steps, at % steps);
                let first_code = first * k + segment * length + step * F::GROUP;
                let block = SIDE * F::GROUP <= length - step * F::GROUP && outputs == SIDE && F::RAW;
                let place = &mut lines[at * panel.vectors + vector..];
                let flips = u32::from_ne_bytes([flip; 4]);
                if block && transpose(&codes.bytes[first_code..], k, place, panel.vectors, flips) {
                    at += SIDE;
                    continue;
                }
                let begin = segment * length + step * F::GROUP;
                let count = F::GROUP.min(length - step * F::GROUP);
                let line = &mut place[0];
                at += 1;
                if count == F::GROUP && outputs == LANES {
                    F::put_all(line, rows.map(|row| &row[begin..begin + F::GROUP]), flip, zeros);
                    continue;
                }
                for lane in 0..outputs {
                    for i in 0..count {
                        let weight = i16::from((rows[lane][begin + i] ^ flip) as i8);
                        F::put(line, lane, i, if F::RAW { weight } else { weight - zeros[lane] });
                    }
                }
            }
        }
    }
}

/// The sum of weights, as numbers with sign.
struct Sum<'a> {
    row: &'a [u8],
    flip: u8,
}

impl Vectorised<i32> for Sum<'_> {
    #[inline(always)]
    fn run(self) -> i32 {
        self.row.iter().fold(0i32, |sum, &code| sum.wrapping_add(i32::from((code ^ self.flip) as i8)))
    }
}
