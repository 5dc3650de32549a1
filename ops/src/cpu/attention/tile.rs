//! Some rows and heads against a stretch of positions: online softmax in blocks.
//!
//! Loops are over arrays of fixed length, so that they vectorise for whatever instructions they are compiled for.

use crate::attention::{At, Batch, Variant, exp2};
use crate::cpu::real::widen;
use crate::cpu::vectorised::Vectorised;
use std::f32::consts::LOG2_E;
use std::ops::Range;

/// Positions of a block.
const BLOCK: usize = 64;
/// Elements that are summed side by side.
const LANES: usize = 16;
/// From so many rows on, a block of keys is transposed first: a score is then no sum across lanes.
const MANY: usize = 8;

/// The work.
pub(super) struct Tile<'a, V> {
    pub(super) batch: &'a Batch<'a>,
    pub(super) request: usize,
    pub(super) head: usize,
    pub(super) packed: Range<usize>,
    pub(super) positions: Range<usize>,
    pub(super) variant: &'a V,
}

/// The same for instructions that multiply and add at once.
pub(super) struct Fused<'a, V>(pub(super) Tile<'a, V>);

impl<V: Variant> Vectorised<(Vec<f32>, Vec<f32>)> for Fused<'_, V> {
    #[inline(always)]
    fn run(self) -> (Vec<f32>, Vec<f32>) {
        self.0.states::<true>()
    }
}

/// `x y + z`, rounded once where that is an instruction.
#[inline(always)]
fn fma<const FUSED: bool>(x: f32, y: f32, z: f32) -> f32 {
    if FUSED { x.mul_add(y, z) } else { x * y + z }
}

impl<V: Variant> Tile<'_, V> {
    /// `o`, a row after the other, and the logarithms of the sums of weights.
    #[inline(always)]
    pub(super) fn states<const FUSED: bool>(&self) -> (Vec<f32>, Vec<f32>) {
        let (batch, d, count) = (self.batch, self.batch.d, self.packed.len());
        let request = &batch.requests[self.request];
        let q = self.queries();
        let many = count >= MANY;
        let mut keys = vec![0f32; BLOCK * d];
        let mut values = vec![0f32; BLOCK * d];
        let mut scores = vec![[0f32; BLOCK]; count];
        let mut o = vec![0f32; count * d];
        let (mut largest, mut total) = (vec![f32::NEG_INFINITY; count], vec![0f32; count]);
        let mut begin = self.positions.start;
        while begin < self.positions.end {
            let end = (begin + BLOCK).min(self.positions.end);
            for (at, position) in (begin..end).enumerate() {
                let line = batch.store.line_of(request, position);
                let key = batch.store.key(line, self.head, d);
                if many {
                    // What the last block has left behind `end` is overwritten by no one and read by no one.
                    key.each(|i, x| keys[i * BLOCK + at] = x);
                } else {
                    key.write(&mut keys[at * d..][..d]);
                }
                batch.store.value(line, self.head, d).write(&mut values[at * d..][..d]);
            }
            if many {
                by_columns::<FUSED>(&q, &keys, &mut scores, d);
            } else {
                by_rows::<FUSED>(&q, &keys[..(end - begin) * d], &mut scores, d);
            }
            for (row, scores) in scores.iter_mut().enumerate() {
                self.weigh(row, begin, end, scores, &mut largest[row], &mut total[row], &mut o[row * d..][..d]);
                accumulate::<FUSED>(&scores[..end - begin], &values, &mut o[row * d..][..d]);
            }
            begin = end;
        }
        for (row, o) in o.chunks_exact_mut(d.max(1)).enumerate() {
            if V::SOFTMAX && total[row] != 0.0 {
                o.iter_mut().for_each(|x| *x /= total[row]);
            }
        }
        let lse = largest.iter().zip(&total).map(|(&largest, &total)| match total {
            _ if !V::SOFTMAX => 0.0,
            0.0 => f32::NEG_INFINITY,
            // Where every score is a NaN there is no largest.
            total => total.log2() + if largest == f32::NEG_INFINITY { 0.0 } else { largest },
        });
        (o, lse.collect())
    }

    /// Row of the request and head of the query.
    #[inline(always)]
    fn place(&self, at: usize) -> (usize, usize) {
        let (packed, group) = (self.packed.start + at, self.batch.group());
        (packed / group, self.head * group + packed % group)
    }

    fn queries(&self) -> Vec<f32> {
        let (batch, d) = (self.batch, self.batch.d);
        let first = batch.requests[self.request].rows.start;
        let row = |at: usize| {
            let (row, head) = self.place(at);
            batch.q[((first + row) * batch.q_heads + head) * d..][..d].iter().map(|&x| widen(x))
        };
        (0..self.packed.len()).flat_map(row).collect()
    }

    /// Makes weights of a row's scores at `begin..end`, and brings what was summed so far to the new largest score.
    #[inline(always)]
    fn weigh(
        &self,
        at: usize,
        begin: usize,
        end: usize,
        scores: &mut [f32; BLOCK],
        largest: &mut f32,
        total: &mut f32,
        o: &mut [f32],
    ) {
        let request = &self.batch.requests[self.request];
        let (row, head) = self.place(at);
        let (rows, positions) = (request.rows.len(), request.kv);
        let seen = self.batch.span.positions(row, rows, positions);
        let hidden = if V::SOFTMAX { f32::NEG_INFINITY } else { 0.0 };
        for (at, score) in scores.iter_mut().enumerate() {
            let position = begin + at;
            let place = At { request: self.request, row, rows, position, positions, head, mask: request.mask };
            let x = self.variant.logit(*score * self.batch.scale, &place);
            let in_span = position >= seen.start && position < seen.end.min(end);
            // The mask has no bit for positions that there are not.
            *score =
                if in_span && self.variant.keep(&place) { if V::SOFTMAX { x * LOG2_E } else { x } } else { hidden };
        }
        if !V::SOFTMAX {
            return;
        }
        let mut lanes = [*largest; LANES];
        for part in scores.chunks_exact(LANES) {
            for (lane, &x) in lanes.iter_mut().zip(part) {
                // A NaN is no maximum; it comes back as a weight.
                *lane = if x > *lane { x } else { *lane };
            }
        }
        let now = lanes.into_iter().fold(*largest, |a, b| if b > a { b } else { a });
        let base = if now == f32::NEG_INFINITY { 0.0 } else { now };
        let mut sums = [0f32; LANES];
        for part in scores.chunks_exact_mut(LANES) {
            for (sum, x) in sums.iter_mut().zip(part) {
                *x = exp2(*x - base);
                *sum += *x;
            }
        }
        let sum: f32 = sums.iter().sum();
        if now > *largest {
            let factor = exp2(*largest - base);
            *total *= factor;
            o.iter_mut().for_each(|x| *x *= factor);
            *largest = now;
        }
        *total += sum;
    }
}

/// Scores from keys `[d, BLOCK]`.
#[inline(always)]
fn by_columns<const FUSED: bool>(q: &[f32], keys: &[f32], scores: &mut [[f32; BLOCK]], d: usize) {
    let mut rows = scores.chunks_exact_mut(4);
    let mut row = 0;
    for scores in &mut rows {
        // Four rows share what is read of the keys, half a block at a time so that sums stay in registers.
        for half in [0, BLOCK / 2] {
            let mut sums = [[0f32; BLOCK / 2]; 4];
            for i in 0..d {
                let keys: &[f32; BLOCK / 2] = keys[i * BLOCK + half..][..BLOCK / 2].try_into().expect("half a block");
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = q[(row + r) * d + i];
                    sums.iter_mut().zip(keys).for_each(|(sum, &k)| *sum = fma::<FUSED>(x, k, *sum));
                }
            }
            scores.iter_mut().zip(&sums).for_each(|(scores, sums)| scores[half..][..BLOCK / 2].copy_from_slice(sums));
        }
        row += 4;
    }
    for scores in rows.into_remainder() {
        let mut sums = [0f32; BLOCK];
        for i in 0..d {
            let keys: &[f32; BLOCK] = keys[i * BLOCK..][..BLOCK].try_into().expect("a block");
            let x = q[row * d + i];
            sums.iter_mut().zip(keys).for_each(|(sum, &k)| *sum = fma::<FUSED>(x, k, *sum));
        }
        *scores = sums;
        row += 1;
    }
}

/// Scores from keys `[positions, d]`.
#[inline(always)]
fn by_rows<const FUSED: bool>(q: &[f32], keys: &[f32], scores: &mut [[f32; BLOCK]], d: usize) {
    for (at, key) in keys.chunks_exact(d.max(1)).enumerate() {
        for (q, scores) in q.chunks_exact(d.max(1)).zip(scores.iter_mut()) {
            let mut sums = [0f32; LANES];
            let (parts, rest) = q.as_chunks::<LANES>();
            let (keys, key_rest) = key.as_chunks::<LANES>();
            for (part, keys) in parts.iter().zip(keys) {
                for lane in 0..LANES {
                    sums[lane] = fma::<FUSED>(part[lane], keys[lane], sums[lane]);
                }
            }
            let mut width = LANES / 2;
            while width > 0 {
                for lane in 0..width {
                    sums[lane] += sums[lane + width];
                }
                width /= 2;
            }
            let rest: f32 = rest.iter().zip(key_rest).map(|(q, k)| q * k).sum();
            scores[at] = sums[0] + rest;
        }
    }
}

/// Adds values `[positions, d]` by their weights.
#[inline(always)]
fn accumulate<const FUSED: bool>(weights: &[f32], values: &[f32], o: &mut [f32]) {
    const WIDTH: usize = 4 * LANES;
    let d = o.len();
    let mut parts = o.chunks_exact_mut(WIDTH);
    let mut at = 0;
    for part in &mut parts {
        let mut sums: [f32; WIDTH] = (&*part).try_into().expect("a chunk");
        for (position, &weight) in weights.iter().enumerate() {
            let values: &[f32; WIDTH] = values[position * d + at..][..WIDTH].try_into().expect("a chunk");
            sums.iter_mut().zip(values).for_each(|(sum, &v)| *sum = fma::<FUSED>(weight, v, *sum));
        }
        part.copy_from_slice(&sums);
        at += WIDTH;
    }
    let rest = parts.into_remainder();
    for (position, &weight) in weights.iter().enumerate() {
        let values = &values[position * d + at..][..rest.len()];
        rest.iter_mut().zip(values).for_each(|(sum, &v)| *sum = fma::<FUSED>(weight, v, *sum));
    }
}
