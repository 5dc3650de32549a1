//! Products with low-rank adapters: the kernels of `sgmv.*`.
//!
//! Rows of equal adapters are gathered from all segments, so that the weights of an adapter come from memory once for up to [`ROWS`]
//! of them. Products of rows with A are sums along `h1`, several rows and ranks at a time; those with B go through columns that stay
//! in registers while the ranks are added up in their order. So results do not depend on the number of threads.

use super::Level;
use super::real::{LANES, narrow, widen};
use super::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::sgmv::Batch;
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;
use tandem_tensor::{Data, Tensor};

/// Rows of an adapter that a task takes: those of x stay in the second-level cache.
const ROWS: usize = 64;
/// Ranks that a task of shrinking takes.
const RANKS: usize = 8;
/// Columns that a task of expanding takes.
const COLUMNS: usize = 512;
/// Columns that are in registers at a time.
const WIDE: usize = 2 * LANES;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = ["sgmv.shrink.bf16", "sgmv.expand.bf16", "sgmv.bf16"].into_iter().filter_map(operation);
    all.map(|operation| Box::new(Sgmv { operation, level }) as Box<dyn Kernel>).collect()
}

struct Sgmv {
    operation: &'static dyn Operation,
    level: Level,
}

/// Rows of an adapter, its entries, and products of the former with A, a row after the other.
struct Group {
    entries: Range<usize>,
    rows: Vec<usize>,
    v: Vec<f32>,
}

impl Kernel for Sgmv {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (n, width) = (dims["n"], dims["rank"]);
        let batch = Batch::of(dims, inputs)?;
        let gathered = batch.gathered().into_iter();
        let mut groups: Vec<Group> = gathered.map(|(entries, rows)| Group { entries, rows, v: Vec::new() }).collect();
        let has = |port: &str| self.operation.def().input(port).is_some();
        if has("x") {
            shrink(self.level, &batch, inputs.slice("x")?, &mut groups);
        } else {
            let v = inputs.slice::<f32>("v")?;
            let row = |row: usize, ranks: usize| &v[row * width..][..ranks];
            for Group { entries, rows, v } in &mut groups {
                *v = rows.iter().flat_map(|&at| row(at, entries.len())).copied().collect();
            }
        }
        if has("y") {
            let out = expand(self.level, &batch, inputs.slice("y")?, &groups);
            return Ok(Tensors::new().with("out", Tensor::new([n, batch.h2], Data::BF16(out))?));
        }
        let mut v = vec![0f32; n * width];
        for group in groups.iter().filter(|group| !group.entries.is_empty()) {
            for (&row, own) in group.rows.iter().zip(group.v.chunks_exact(group.entries.len())) {
                v[row * width..][..own.len()].copy_from_slice(own);
            }
        }
        Ok(Tensors::new().with("v", Tensor::from_vec([n, width], v)?))
    }
}

/// Computes the products with A of all groups.
fn shrink(level: Level, batch: &Batch<'_>, x: &[bf16], groups: &mut [Group]) {
    let mut tasks = Vec::new();
    for (number, group) in groups.iter_mut().enumerate() {
        group.v = vec![0.0; group.rows.len() * group.entries.len()];
        for first in (0..group.rows.len()).step_by(ROWS) {
            let rows = first..(first + ROWS).min(group.rows.len());
            let ranks = (0..group.entries.len()).step_by(RANKS);
            tasks.extend(ranks.map(|rank| (number, rows.clone(), rank..(rank + RANKS).min(group.entries.len()))));
        }
    }
    let products = |(number, rows, ranks): &(usize, Range<usize>, Range<usize>)| {
        let Group { entries, rows: all, .. } = &groups[*number];
        let x: Vec<&[bf16]> = all[rows.clone()].iter().map(|&row| &x[row * batch.h1..][..batch.h1]).collect();
        let a: Vec<&[bf16]> = ranks.clone().map(|rank| batch.a_row(entries.start + rank)).collect();
        match level.or_portable() {
            Level::Portable => products::<false, 2, 2>(&x, &a),
            Level::Avx512 => vectorised_at(level, Products::<4, 4> { x: &x, a: &a }),
            _ => vectorised_at(level, Products::<2, 2> { x: &x, a: &a }),
        }
    };
    let all: Vec<Vec<f32>> = tasks.par_iter().map(products).collect();
    for ((number, rows, ranks), found) in tasks.into_iter().zip(all) {
        let Group { entries, v, .. } = &mut groups[number];
        for (row, found) in rows.zip(found.chunks_exact(ranks.len())) {
            v[row * entries.len() + ranks.start..][..ranks.len()].copy_from_slice(found);
        }
    }
}

/// Products of rows of x and of A, `R` and `J` of them at a time.
struct Products<'a, const R: usize, const J: usize> {
    x: &'a [&'a [bf16]],
    a: &'a [&'a [bf16]],
}

impl<const R: usize, const J: usize> Vectorised<Vec<f32>> for Products<'_, R, J> {
    #[inline(always)]
    fn run(self) -> Vec<f32> {
        products::<true, R, J>(self.x, self.a)
    }
}

#[inline(always)]
fn products<const FUSED: bool, const R: usize, const J: usize>(x: &[&[bf16]], a: &[&[bf16]]) -> Vec<f32> {
    let mut out = vec![0f32; x.len() * a.len()];
    let (x_groups, x_rest) = x.as_chunks::<R>();
    let (a_groups, a_rest) = a.as_chunks::<J>();
    let ranks = a.len();
    let mut put = |row: usize, rank: usize, sums: &[f32]| out[row * ranks + rank..][..sums.len()].copy_from_slice(sums);
    for (at, a) in a_groups.iter().enumerate() {
        for (row, x) in x_groups.iter().enumerate() {
            dots::<FUSED, R, J>(x, a).iter().enumerate().for_each(|(i, sums)| put(row * R + i, at * J, sums));
        }
        for (row, &x) in x_rest.iter().enumerate() {
            put(x_groups.len() * R + row, at * J, &dots::<FUSED, 1, J>(&[x], a)[0]);
        }
    }
    for (at, &a) in a_rest.iter().enumerate() {
        for (row, &x) in x.iter().enumerate() {
            put(row, a_groups.len() * J + at, &dots::<FUSED, 1, 1>(&[x], &[a])[0]);
        }
    }
    out
}

/// `x y + z`, rounded once where that is an instruction.
#[inline(always)]
fn fma<const FUSED: bool>(x: f32, y: f32, z: f32) -> f32 {
    if FUSED { x.mul_add(y, z) } else { x * y + z }
}

/// The products of every x with every a, whose lengths are one.
#[inline(always)]
fn dots<const FUSED: bool, const R: usize, const J: usize>(x: &[&[bf16]; R], a: &[&[bf16]; J]) -> [[f32; J]; R] {
    let len = x[0].len();
    let mut sums = [[[0f32; LANES]; J]; R];
    let x: [&[bf16]; R] = std::array::from_fn(|i| &x[i][..len]);
    let a: [&[bf16]; J] = std::array::from_fn(|j| &a[j][..len]);
    for at in 0..len / LANES {
        let x: [[f32; LANES]; R] = std::array::from_fn(|i| wide(&x[i][at * LANES..][..LANES]));
        for j in 0..J {
            let a: [f32; LANES] = wide(&a[j][at * LANES..][..LANES]);
            for i in 0..R {
                for lane in 0..LANES {
                    sums[i][j][lane] = fma::<FUSED>(x[i][lane], a[lane], sums[i][j][lane]);
                }
            }
        }
    }
    let begin = len / LANES * LANES;
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let rest = x[i][begin..].iter().zip(&a[j][begin..]).map(|(&x, &a)| widen(x) * widen(a));
            rest.sum::<f32>() + sum(sums[i][j])
        })
    })
}

/// The sum of lanes, by halves.
#[inline(always)]
fn sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// As many elements as there are lanes, as f32; zero beyond the end of the list.
#[inline(always)]
fn wide<const LEN: usize>(list: &[bf16]) -> [f32; LEN] {
    let mut out = [0f32; LEN];
    out.iter_mut().zip(list).for_each(|(out, &x)| *out = widen(x));
    out
}

/// Columns of rows of a group.
struct Columns<'a> {
    group: usize,
    /// Of the group's rows.
    first: usize,
    begin: usize,
    out: Vec<&'a mut [bf16]>,
}

/// The sums of y and of the products with B of all groups.
fn expand(level: Level, batch: &Batch<'_>, y: &[bf16], groups: &[Group]) -> Vec<bf16> {
    let h2 = batch.h2;
    let mut out = vec![bf16::ZERO; y.len()];
    let mut rows: Vec<Option<&mut [bf16]>> = out.chunks_exact_mut(h2.max(1)).map(Some).collect();
    let mut tasks = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        for first in (0..group.rows.len()).step_by(ROWS) {
            let all = &group.rows[first..(first + ROWS).min(group.rows.len())];
            let begins = (0..h2).step_by(COLUMNS);
            let mut pieces: Vec<Columns<'_>> = begins
                .map(|begin| Columns { group: number, first, begin, out: Vec::with_capacity(all.len()) })
                .collect();
            // A row is of one segment, and a segment of one group.
            for row in all.iter().filter_map(|&row| rows.get_mut(row)?.take()) {
                row.chunks_mut(COLUMNS).zip(&mut pieces).for_each(|(part, piece)| piece.out.push(part));
            }
            tasks.append(&mut pieces);
        }
    }
    tasks.into_par_iter().for_each(|Columns { group, first, begin, mut out }| {
        let Group { entries, rows, v } = &groups[group];
        let Some(len) = out.first().map(|row| row.len()) else { return };
        let y = |at: usize| &y[rows[first + at] * h2 + begin..][..len];
        let ranks = entries.len();
        if ranks == 0 {
            return out.iter_mut().enumerate().for_each(|(at, out)| out.copy_from_slice(y(at)));
        }
        let y: Vec<&[bf16]> = (0..out.len()).map(y).collect();
        let b: Vec<&[bf16]> = entries.clone().map(|entry| &batch.b_row(entry)[begin..][..len]).collect();
        let v: Vec<&[f32]> = v[first * ranks..].chunks_exact(ranks).take(out.len()).collect();
        let (v, b, y, out) = (&v[..], &b[..], &y[..], &mut out[..]);
        match level.or_portable() {
            Level::Portable => sums::<false, 2>(v, b, y, out),
            Level::Avx512 => vectorised_at(level, Sums::<4> { v, b, y, out }),
            _ => vectorised_at(level, Sums::<2> { v, b, y, out }),
        }
    });
    out
}

/// Sums of y and the products of rows of v with B, `R` rows at a time.
struct Sums<'a, 'out, const R: usize> {
    v: &'a [&'a [f32]],
    b: &'a [&'a [bf16]],
    y: &'a [&'a [bf16]],
    out: &'a mut [&'out mut [bf16]],
}

impl<const R: usize> Vectorised<()> for Sums<'_, '_, R> {
    #[inline(always)]
    fn run(self) {
        sums::<true, R>(self.v, self.b, self.y, self.out);
    }
}

#[inline(always)]
fn sums<const FUSED: bool, const R: usize>(v: &[&[f32]], b: &[&[bf16]], y: &[&[bf16]], out: &mut [&mut [bf16]]) {
    let len = y.first().map_or(0, |y| y.len());
    for begin in (0..len).step_by(WIDE) {
        let columns = begin..(begin + WIDE).min(len);
        let mut row = 0;
        while row + R <= v.len() {
            step::<FUSED, R>(&v[row..], b, &y[row..], &mut out[row..], columns.clone());
            row += R;
        }
        for row in row..v.len() {
            step::<FUSED, 1>(&v[row..], b, &y[row..], &mut out[row..], columns.clone());
        }
    }
}

/// Columns that fit in registers, of the first `R` rows.
#[inline(always)]
fn step<const FUSED: bool, const R: usize>(
    v: &[&[f32]],
    b: &[&[bf16]],
    y: &[&[bf16]],
    out: &mut [&mut [bf16]],
    columns: Range<usize>,
) {
    let mut sums = [[0f32; WIDE]; R];
    let v: [&[f32]; R] = std::array::from_fn(|i| &v[i][..b.len()]);
    for (rank, b) in b.iter().enumerate() {
        let b: [f32; WIDE] = match columns.len() {
            WIDE => wide(&b[columns.start..][..WIDE]),
            _ => wide(&b[columns.clone()]),
        };
        for i in 0..R {
            let v = v[i][rank];
            for lane in 0..WIDE {
                sums[i][lane] = fma::<FUSED>(v, b[lane], sums[i][lane]);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let places = out[i][columns.clone()].iter_mut().zip(&y[i][columns.clone()]);
        places.zip(sums).for_each(|((out, &y), sum)| *out = narrow(widen(y) + sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::{Random, Sample, accept};

    #[test]
    fn results_do_not_depend_on_the_number_of_threads_nor_on_how_rows_of_an_adapter_are_cut_into_segments() {
        let operation = operation("sgmv.bf16").unwrap();
        let extents = [("s", 9), ("rows", 30), ("adapters", 4), ("rank", 20), ("h1", 150), ("h2", 1100), ("page", 25)];
        let sample = Sample::new(operation.def(), "ragged", &extents);
        let inputs = operation.sample("ragged", &sample.dims, 5).unwrap();
        let run = |threads: usize, inputs: &Tensors| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let segments = inputs.get("segments").unwrap().len() - 1;
            let dims = accept(operation, &sample.dims.clone().with("s", segments), inputs).unwrap();
            let kernel = Sgmv { operation, level: Level::best() };
            pool.install(|| kernel.run(&dims, inputs)).unwrap()
        };
        let expected = run(1, &inputs);
        assert_eq!(expected, run(3, &inputs));
        // Every row a segment of its own.
        let batch = Batch::of(&accept(operation, &sample.dims, &inputs).unwrap(), &inputs).unwrap();
        let of = |segment: &crate::sgmv::Segment| {
            let adapter = segment.adapter.map_or(-1, |adapter| adapter as i32);
            vec![adapter; segment.rows.len()]
        };
        let adapters: Vec<i32> = batch.segments.iter().flat_map(of).collect();
        let rows: Vec<i32> = (0..=adapters.len() as i32).collect();
        let single = inputs
            .clone()
            .with("segments", Tensor::from_vec([rows.len()], rows).unwrap())
            .with("adapter", Tensor::from_vec([adapters.len()], adapters).unwrap());
        assert_eq!(expected, run(2, &single));
    }

    #[test]
    fn random_batches_agree_with_the_reference_at_every_level() {
        let mut random = Random::new(11);
        for round in 0..60 {
            let name = ["sgmv.shrink.bf16", "sgmv.expand.bf16", "sgmv.bf16"][round % 3];
            let operation = operation(name).unwrap();
            let mut sample = Sample::new(operation.def(), "random", &[]);
            let draws = ["distinct", "ragged", "zipf", "skewed", "repeated", "odd_ranks", "no_adapter"];
            sample.name = draws[random.within(0, draws.len())];
            let most = [("s", 9), ("rows", 12), ("adapters", 6), ("rank", 70), ("h1", 200), ("h2", 700), ("page", 90)];
            for (axis, most) in
                most.into_iter().filter(|(axis, _)| operation.def().axes.iter().any(|a| a.name == *axis))
            {
                sample.dims.set(axis, random.within(1, most));
            }
            for level in Level::ALL.into_iter().filter(|level| level.available()) {
                let verdict = crate::def::conform(&Sgmv { operation, level }, &sample, round as u64).unwrap();
                assert!(verdict.agrees, "{level} {name} {} {}: {:?}", sample.name, sample.dims, verdict.results);
            }
        }
    }
}
