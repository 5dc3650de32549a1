//! Attention: rows of one request and one head of keys against a stretch of positions at a time, all of them in parallel.
//!
//! Pieces of a row's positions have states, which merge in order, so that results do not depend on the number of threads.

mod append;
mod tile;

use super::{Level, vectorised::vectorised_at};
use crate::attention::{Batch, Variant, WithVariant, levels, merge, with_variant};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;
use tandem_tensor::{Data, Tensor};

/// Rows times heads of queries that share what is read of keys and values.
const ROWS: usize = 16;
/// Positions of a piece: enough that merging is cheap beside it.
const PIECE: usize = 1024;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    const FORMS: [&str; 8] = [
        "attention.decode.bf16",
        "attention.decode_kv4.bf16",
        "attention.prefill.bf16",
        "attention.ragged.bf16",
        "attention.cascade.bf16",
        "attention.block_sparse.bf16",
        "attention.variable_block_sparse.bf16",
        "attention.sparse_decode.bf16",
    ];
    let forms = FORMS.into_iter().filter_map(operation);
    let mut all: Vec<Box<dyn Kernel>> =
        forms.map(|operation| Box::new(Attention { operation, level }) as Box<dyn Kernel>).collect();
    all.extend(operation("attention.merge").map(|operation| Box::new(Merge { operation }) as Box<dyn Kernel>));
    all.extend(append::kernels(level));
    all
}

struct Attention {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Attention {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let def = self.operation.def();
        let levels = levels(def.name, dims, inputs)?;
        let Some(first) = levels.first() else { return Ok(def.empty_outputs(dims)) };
        let (rows, heads, d) = (first.rows, first.q_heads, first.d);
        let (o, lse) = with_variant(def, dims, inputs, Levels { levels: &levels, level: self.level })?;
        Ok(Tensors::new()
            .with("o", Tensor::new([rows, heads, d], Data::BF16(o))?)
            .with("lse", Tensor::from_vec([rows, heads], lse)?))
    }
}

/// Attention over levels whose states merge, with whatever variant.
struct Levels<'a> {
    levels: &'a [Batch<'a>],
    level: Level,
}

impl WithVariant for Levels<'_> {
    type Out = (Vec<bf16>, Vec<f32>);

    fn with<V: Variant>(self, variant: &V) -> Self::Out {
        attend(self.levels, self.level, variant)
    }
}

/// Rows and heads of queries against a stretch of positions.
struct Task {
    batch: usize,
    request: usize,
    /// Head of keys and values.
    head: usize,
    /// Rows times heads of the group, of the request.
    packed: Range<usize>,
    positions: Range<usize>,
}

/// Results and logarithms of sums for all rows and heads, of a variant that need not be one of this crate's.
///
/// # Panics
/// Where batches break what [`crate::def::accept`] checks.
pub fn attend<V: Variant>(levels: &[Batch<'_>], level: Level, variant: &V) -> (Vec<bf16>, Vec<f32>) {
    let Some(Batch { rows, q_heads, d, .. }) = levels.first().cloned() else { return (Vec::new(), Vec::new()) };
    let group = levels[0].group();
    let tasks = tasks(levels);
    let states: Vec<(Vec<f32>, Vec<f32>)> = tasks
        .par_iter()
        .map(|task| {
            let batch = &levels[task.batch];
            let tile = tile::Tile {
                batch,
                request: task.request,
                head: task.head,
                packed: task.packed.clone(),
                positions: task.positions.clone(),
                variant,
            };
            match level.or_portable() {
                Level::Portable => tile.states::<false>(),
                level => vectorised_at(level, tile::Fused(tile)),
            }
        })
        .collect();
    // Which states are of a row and head, in the order of the tasks: that of levels and positions.
    let mut of = vec![Vec::new(); rows * q_heads];
    for (number, task) in tasks.iter().enumerate() {
        let request = &levels[task.batch].requests[task.request];
        for (at, packed) in task.packed.clone().enumerate() {
            let (row, head) = (request.rows.start + packed / group, task.head * group + packed % group);
            of[row * q_heads + head].push((number, at));
        }
    }
    let mut o = vec![bf16::ZERO; rows * q_heads * d];
    let mut lse = vec![f32::NEG_INFINITY; rows * q_heads];
    let places = o.par_chunks_mut(d.max(1)).zip(&mut lse).zip(&of).with_min_len(16);
    places.for_each_init(
        || vec![0f32; d],
        |sum, ((o, lse), of)| {
            let states = of.iter().map(|&(number, at)| {
                let (o, lse) = &states[number];
                (&o[at * d..][..d], lse[at])
            });
            *lse = if V::SOFTMAX {
                merge(states, sum)
            } else {
                sum.fill(0.0);
                states.for_each(|(o, _)| sum.iter_mut().zip(o).for_each(|(sum, o)| *sum += o));
                0.0
            };
            o.iter_mut().zip(sum.iter()).for_each(|(o, &x)| *o = bf16::from_f32(x));
        },
    );
    if d == 0 {
        // There are no chunks to go through, but rows all the same.
        lse.fill(if V::SOFTMAX { f32::NEG_INFINITY } else { 0.0 });
    }
    (o, lse)
}

fn tasks(levels: &[Batch<'_>]) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (number, batch) in levels.iter().enumerate() {
        let group = batch.group();
        for (at, request) in batch.requests.iter().enumerate() {
            let rows = request.rows.len();
            for head in request.heads.clone() {
                for begin in (0..rows * group).step_by(ROWS) {
                    let packed = begin..(begin + ROWS).min(rows * group);
                    let of = packed.start / group..(packed.end - 1) / group + 1;
                    let seen = batch.span.of_rows(of, rows, request.kv);
                    let mut position = seen.start;
                    // Rows that see nothing have a state too.
                    loop {
                        let end = (position + PIECE).min(seen.end);
                        let (packed, positions) = (packed.clone(), position..end);
                        tasks.push(Task { batch: number, request: at, head, packed, positions });
                        position = end;
                        if position >= seen.end {
                            break;
                        }
                    }
                }
            }
        }
    }
    tasks
}

/// `attention.merge`.
struct Merge {
    operation: &'static dyn Operation,
}

impl Kernel for Merge {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (states, d, rows) = (dims["states"], dims["d"], dims["n"] * dims["heads"]);
        let (o, lse) = (inputs.slice::<f32>("o")?, inputs.slice::<f32>("lse")?);
        let (mut merged, mut merged_lse) = (vec![0f32; rows * d], vec![0f32; rows]);
        let of = |row: usize| {
            (0..states).map(move |state| {
                let at = state * rows + row;
                (&o[at * d..][..d], lse[at])
            })
        };
        if d == 0 {
            merged_lse.iter_mut().enumerate().for_each(|(row, lse)| *lse = merge(of(row), &mut []));
        }
        let places = merged.par_chunks_mut(d.max(1)).zip(&mut merged_lse).with_min_len(16).enumerate();
        places.for_each(|(row, (out, lse))| *lse = merge(of(row), out));
        let shape = [dims["n"], dims["heads"], d];
        Ok(Tensors::new()
            .with("merged", Tensor::from_vec(shape, merged)?)
            .with("merged_lse", Tensor::from_vec([shape[0], shape[1]], merged_lse)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{At, Operand, Snippet};
    use crate::def::accept;

    /// Weights that fall with the square of the distance, which is none of this crate's variants.
    struct Bell<'a> {
        widths: &'a [f32],
    }

    impl Variant for Bell<'_> {
        fn logit(&self, x: f32, at: &At) -> f32 {
            let away = (at.place() - at.position as i64) as f32 * self.widths[at.head];
            x - away * away
        }

        fn snippet(&self) -> Snippet<'_> {
            Snippet::plain().operand(Operand::F32(self.widths))
        }
    }

    fn drawn(sample: &str) -> (Dims, Tensors) {
        let operation = operation("attention.prefill.bf16").unwrap();
        let sample = operation.samples().into_iter().find(|other| other.name == sample).unwrap();
        let inputs = operation.sample(sample.name, &sample.dims, 2).unwrap();
        (accept(operation, &sample.dims, &inputs).unwrap(), inputs)
    }

    #[test]
    fn a_variant_of_ones_own_needs_no_other_code() {
        let (dims, inputs) = drawn("mixed");
        let batch = &levels("attention.prefill.bf16", &dims, &inputs).unwrap()[0];
        let widths: Vec<f32> = (0..dims["hq"]).map(|head| 0.05 * (head + 1) as f32).collect();
        let found = attend(std::slice::from_ref(batch), Level::best(), &Bell { widths: &widths });
        for (number, request) in batch.requests.iter().enumerate() {
            let (row, head) = (request.rows.len() - 1, number % batch.q_heads);
            let place = (request.rows.start + row) * batch.q_heads + head;
            let q = &batch.q[place * batch.d..][..batch.d];
            let (mut total, mut out) = (0f64, vec![0f64; batch.d]);
            for position in 0..request.kv {
                let line = batch.store.line_of(request, position);
                let k = batch.store.key(line, head / batch.group(), batch.d).numbers();
                let dot: f64 = q.iter().zip(k).map(|(q, k)| q.to_f64() * k).sum();
                let away = (request.kv - 1 - position) as f64 * f64::from(widths[head]);
                let weight = (dot * f64::from(batch.scale) - away * away).exp();
                total += weight;
                let v = batch.store.value(line, head / batch.group(), batch.d).numbers();
                out.iter_mut().zip(v).for_each(|(out, v)| *out += weight * v);
            }
            assert!((f64::from(found.1[place]) - total.log2()).abs() < 1e-5);
            for (at, out) in out.into_iter().enumerate() {
                assert!((found.0[place * batch.d + at].to_f64() - out / total).abs() < 1e-2);
            }
        }
    }

    #[test]
    fn long_rows_are_merged_from_pieces_in_their_order() {
        let (dims, inputs) = drawn("long_kv");
        let batches = levels("attention.prefill.bf16", &dims, &inputs).unwrap();
        let tasks = tasks(&batches);
        let pieces: Vec<_> = tasks.iter().map(|task| task.positions.clone()).collect();
        assert_eq!(pieces, [0..1024, 1024..1531]);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| attend(&batches, Level::best(), &crate::attention::Plain))
        };
        assert_eq!(run(1), run(3));
    }
}
