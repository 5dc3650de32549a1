//! Sampling: the kernels of `sample.f32` and `speculative_verify.f32`.
//!
//! A row is read twice, once for its maximum and once for its weights, the second time from the processor's caches. Where top-k or
//! top-p asks for an order there is no sort: deficits are kept and counted by their highest nine bits, and only those of the bin in
//! which the filter ends are looked at again.

use super::Level;
use super::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::operation::sampling::weight::{DEFICIT_BITS, LARGEST_DEFICIT, deficit, grid, part, weight};
use crate::operation::sampling::{Draft, Filter, Stream, drafts, filters, streams};
use crate::{OpError, operation};
use rayon::prelude::*;
use tandem_tensor::Tensor;

/// Tokens whose weights are summed together.
const BLOCK: usize = 1024;

/// Bits of a deficit that are counted first: 16 bins an octave.
const FIRST: u32 = 9;

/// Bits that are counted in each of two rounds after that.
const NEXT: u32 = (DEFICIT_BITS - FIRST) / 2;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let sample = operation("sample.f32").map(|operation| Box::new(Sampling { operation, level }) as Box<dyn Kernel>);
    let verify = operation("speculative_verify.f32");
    let verify = verify.map(|operation| Box::new(Verify { operation, level }) as Box<dyn Kernel>);
    sample.into_iter().chain(verify).collect()
}

struct Sampling {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Sampling {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let logits = inputs.slice::<f32>("logits")?;
        let rows: Vec<(Filter, Stream)> = filters(inputs)?.zip(streams(inputs)?).collect();
        let token = |deficits: &mut Vec<u32>, (row, (filter, stream)): (usize, &(Filter, Stream))| {
            let row = Row { level: self.level, logits: &logits[row * n..(row + 1) * n], filter };
            row.token(stream.bits(0), deficits)
        };
        let tokens: Vec<i32> = rows.par_iter().enumerate().map_init(Vec::new, token).collect();
        Ok(Tensors::new().with("token", Tensor::from_vec([m], tokens)?))
    }
}

/// A row of logits with its filter.
struct Row<'a> {
    level: Level,
    logits: &'a [f32],
    filter: &'a Filter,
}

impl Row<'_> {
    /// The token that 64 random bits draw; the list is for deficits.
    fn token(&self, bits: u64, deficits: &mut Vec<u32>) -> i32 {
        let Row { level, logits, filter } = *self;
        let top = vectorised_at(level, Top(logits));
        if top == f32::NEG_INFINITY {
            return -1;
        }
        let (scale, count, least) = (filter.scale(), filter.count(logits.len()), filter.least());
        let place = |token: Option<usize>| token.map_or(-1, |token| token as i32);
        if count == 1 {
            return place(drawn(level, &Greatest { logits, top, scale }, 0));
        }
        if count == logits.len() && filter.mass(0).is_none() {
            return place(drawn(level, &Logits { logits, top, scale, least }, bits));
        }
        deficits.resize(logits.len(), 0);
        let bins = vectorised_at(level, Count { logits, top, scale, deficits });
        let mut kept = bins.all();
        let mut end = None;
        if count < logits.len() {
            let found = bins.end(deficits, Goal::Count(count as u64));
            kept = found.kept;
            end = Some(found);
        }
        if let Some(mass) = filter.mass(kept.mass) {
            end = Some(bins.end(deficits, Goal::Mass(mass)));
        }
        let End { deficit: last, token, .. } = end.unwrap_or(End { deficit: 0, token: logits.len(), kept });
        // Those of the last deficit that come too late go to the bottom, where weights are 0.
        for other in deficits.iter_mut().skip(token + 1) {
            *other = if *other == last { LARGEST_DEFICIT } else { *other };
        }
        place(drawn(level, &Deficits { deficits, last, least }, bits))
    }
}

/// The largest logit, NaNs left out; -inf where there is none.
struct Top<'a>(&'a [f32]);

impl Vectorised<f32> for Top<'_> {
    #[inline(always)]
    fn run(self) -> f32 {
        const LANES: usize = 64;
        let mut tops = [f32::NEG_INFINITY; LANES];
        let (vectors, rest) = self.0.as_chunks::<LANES>();
        for vector in vectors {
            for (top, &x) in tops.iter_mut().zip(vector) {
                *top = if x > *top { x } else { *top };
            }
        }
        tops.iter().chain(rest).fold(f32::NEG_INFINITY, |top, &x| if x > top { x } else { top })
    }
}

/// Tokens and their mass.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    count: u64,
    mass: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.count += other.count;
        self.mass += other.mass;
    }

    fn add_token(&mut self, weight: u32) {
        self.add(Tally { count: 1, mass: weight.into() });
    }
}

/// How far a beginning of the order has to reach.
#[derive(Clone, Copy)]
enum Goal {
    Count(u64),
    Mass(u64),
}

impl Goal {
    fn is_reached(self, tally: Tally) -> bool {
        match self {
            Goal::Count(count) => tally.count >= count,
            Goal::Mass(mass) => tally.mass >= mass,
        }
    }
}

/// The last token of a beginning of the order, and what there is up to it.
struct End {
    deficit: u32,
    token: usize,
    kept: Tally,
}

/// Tallies by the highest bits of deficits.
struct Bins(Vec<Tally>);

/// Keeps the deficits of a row and counts them.
struct Count<'a> {
    logits: &'a [f32],
    top: f32,
    scale: f32,
    deficits: &'a mut [u32],
}

impl Vectorised<Bins> for Count<'_> {
    #[inline(always)]
    fn run(self) -> Bins {
        let Count { logits, top, scale, deficits } = self;
        // Neighbours count in lists of their own, so that none waits for the one before.
        let mut lists = [[Tally::default(); 1 << FIRST]; 2];
        let mut weights = [0; BLOCK];
        for (logits, deficits) in logits.chunks(BLOCK).zip(deficits.chunks_mut(BLOCK)) {
            for ((to, weight_of), &logit) in deficits.iter_mut().zip(&mut weights).zip(logits) {
                *to = deficit(top, logit, scale);
                *weight_of = weight(*to);
            }
            for (at, (deficit, &weight)) in deficits.iter().zip(&weights).enumerate() {
                lists[at % 2][(deficit >> (DEFICIT_BITS - FIRST)) as usize].add_token(weight);
            }
        }
        let [mut all, other] = lists;
        all.iter_mut().zip(other).for_each(|(all, other)| all.add(other));
        Bins(all.to_vec())
    }
}

impl Bins {
    /// All tokens of the row.
    fn all(&self) -> Tally {
        let mut all = Tally::default();
        self.0.iter().for_each(|&bin| all.add(bin));
        all
    }

    /// The bin in which the goal is reached, the last if in none, with what lies before it.
    fn find(&self, goal: Goal, mut before: Tally) -> (u32, Tally) {
        for (at, &bin) in self.0.iter().enumerate() {
            let mut with = before;
            with.add(bin);
            if goal.is_reached(with) || at + 1 == self.0.len() {
                return (at as u32, before);
            }
            before = with;
        }
        (0, before)
    }

    /// The shortest beginning of the order that reaches the goal; there is one.
    fn end(&self, deficits: &[u32], goal: Goal) -> End {
        let (bin, mut before) = self.find(goal, Tally::default());
        let mut left: Vec<(u32, usize)> = Vec::new();
        for (block, list) in deficits.chunks(BLOCK).enumerate() {
            let here =
                list.iter().zip(block * BLOCK..).filter(|(deficit, _)| **deficit >> (DEFICIT_BITS - FIRST) == bin);
            left.extend(here.map(|(&deficit, token)| (deficit, token)));
        }
        for shift in [NEXT, 0] {
            let digit = |deficit: u32| deficit >> shift & ((1 << NEXT) - 1);
            let mut bins = Bins(vec![Tally::default(); 1 << NEXT]);
            left.iter().for_each(|&(deficit, _)| bins.0[digit(deficit) as usize].add_token(weight(deficit)));
            let (bin, here) = bins.find(goal, before);
            before = here;
            left.retain(|&(deficit, _)| digit(deficit) == bin);
        }
        // What is left has one deficit, and lies in the order of the tokens.
        let mut end = End { deficit: 0, token: 0, kept: before };
        for (deficit, token) in left {
            end.kept.add_token(weight(deficit));
            (end.deficit, end.token) = (deficit, token);
            if goal.is_reached(end.kept) {
                break;
            }
        }
        end
    }
}

/// Weights by place.
trait Weights {
    /// How many there are.
    fn len(&self) -> usize;

    /// Writes those from a place on; marked `#[inline(always)]`.
    fn write(&self, from: usize, to: &mut [u32]);

    /// Those of a block, in the buffer.
    #[inline(always)]
    fn block<'a>(&self, block: usize, buffer: &'a mut [u32; BLOCK]) -> &'a [u32] {
        let from = block * BLOCK;
        let to = &mut buffer[..BLOCK.min(self.len() - from)];
        self.write(from, to);
        to
    }
}

/// 1 for the largest logits.
struct Greatest<'a> {
    logits: &'a [f32],
    top: f32,
    scale: f32,
}

impl Weights for Greatest<'_> {
    fn len(&self) -> usize {
        self.logits.len()
    }

    #[inline(always)]
    fn write(&self, from: usize, to: &mut [u32]) {
        for (to, &logit) in to.iter_mut().zip(&self.logits[from..]) {
            *to = u32::from(deficit(self.top, logit, self.scale) == 0);
        }
    }
}

/// Those of logits, of at least `least`.
struct Logits<'a> {
    logits: &'a [f32],
    top: f32,
    scale: f32,
    least: u32,
}

impl Weights for Logits<'_> {
    fn len(&self) -> usize {
        self.logits.len()
    }

    #[inline(always)]
    fn write(&self, from: usize, to: &mut [u32]) {
        for (to, &logit) in to.iter_mut().zip(&self.logits[from..]) {
            let weight = weight(deficit(self.top, logit, self.scale));
            *to = if weight >= self.least { weight } else { 0 };
        }
    }
}

/// Those of deficits up to `last`, of at least `least`.
struct Deficits<'a> {
    deficits: &'a [u32],
    last: u32,
    least: u32,
}

impl Weights for Deficits<'_> {
    fn len(&self) -> usize {
        self.deficits.len()
    }

    #[inline(always)]
    fn write(&self, from: usize, to: &mut [u32]) {
        for (to, &deficit) in to.iter_mut().zip(&self.deficits[from..]) {
            let weight = weight(deficit);
            *to = if weight >= self.least && deficit <= self.last { weight } else { 0 };
        }
    }
}

/// The grid of probabilities.
struct Target<'a>(&'a [f32]);

impl Weights for Target<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn write(&self, from: usize, to: &mut [u32]) {
        to.iter_mut().zip(&self.0[from..]).for_each(|(to, &p)| *to = grid(p));
    }
}

/// What the target has and the draft has not.
struct Residual<'a> {
    target: &'a [f32],
    draft: &'a [f32],
}

impl Weights for Residual<'_> {
    fn len(&self) -> usize {
        self.target.len()
    }

    #[inline(always)]
    fn write(&self, from: usize, to: &mut [u32]) {
        for ((to, &p), &q) in to.iter_mut().zip(&self.target[from..]).zip(&self.draft[from..]) {
            *to = grid(p).saturating_sub(grid(q));
        }
    }
}

/// The sums of weights, a block each.
struct Sums<'a, W>(&'a W);

impl<W: Weights> Vectorised<Vec<u64>> for Sums<'_, W> {
    #[inline(always)]
    fn run(self) -> Vec<u64> {
        let mut sums = vec![0; self.0.len().div_ceil(BLOCK)];
        let mut buffer = [0; BLOCK];
        // A loop and no iterator that collects, whose code would be compiled apart from this and for every processor.
        for (block, sum) in sums.iter_mut().enumerate() {
            for &weight in self.0.block(block, &mut buffer) {
                *sum += u64::from(weight);
            }
        }
        sums
    }
}

/// The place that 64 random bits draw; `None` where there is no weight.
fn drawn(level: Level, weights: &impl Weights, bits: u64) -> Option<usize> {
    let sums = vectorised_at(level, Sums(weights));
    let mut left = part(bits, sums.iter().sum());
    let mut ends = |weight: u64| {
        let here = left < weight;
        left -= if here { 0 } else { weight };
        here
    };
    let block = sums.iter().position(|&sum| ends(sum))?;
    let mut buffer = [0; BLOCK];
    let place = weights.block(block, &mut buffer).iter().position(|&weight| ends(weight.into()));
    place.map(|place| block * BLOCK + place)
}

struct Verify {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Verify {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, length) = (dims["m"], dims["draft"]);
        let rows: Vec<(Draft<'_>, Stream)> = drafts(dims, inputs)?.into_iter().zip(streams(inputs)?).collect();
        let mut tokens = vec![-1; m * (length + 1)];
        let one = |(tokens, (row, stream)): (&mut [i32], &(Draft<'_>, Stream))| {
            let accepted = row.accepted(*stream);
            tokens[..accepted].copy_from_slice(&row.tokens[..accepted]);
            tokens[accepted] = next(self.level, row, accepted, stream.bits(1 + accepted as u32));
            accepted as i32
        };
        let accepted: Vec<i32> = tokens.par_chunks_mut(length + 1).zip(&rows).map(one).collect();
        let tokens = Tensor::from_vec([m, length + 1], tokens)?;
        Ok(Tensors::new().with("accepted", Tensor::from_vec([m], accepted)?).with("tokens", tokens))
    }
}

/// The token that 64 random bits draw behind those that are accepted.
fn next(level: Level, row: &Draft<'_>, accepted: usize, bits: u64) -> i32 {
    let (target, draft) = row.position(accepted);
    let residual = draft.and_then(|draft| drawn(level, &Residual { target, draft }, bits));
    residual.or_else(|| drawn(level, &Target(target), bits)).map_or(-1, |token| token as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;
    use crate::operation::sampling::Kept;

    #[test]
    fn tokens_are_those_of_the_sorted_order_for_any_filter_and_however_logits_lie() {
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            let mut random = Random::new(level as u64);
            let mut deficits = Vec::new();
            for round in 0..400 {
                let n = random.within(1, [4, 300, 5000][round % 3]);
                // Of one bin, of a few deficits, and far apart.
                let spread = [1e-5, 1e-2, 3.0, 40.0][round / 3 % 4];
                let step = [0.0, 1.0 / 64.0][round % 2];
                let logit = |x: f64| if step > 0.0 { (x / step).round() * step } else { x };
                let logits: Vec<f32> = (0..n).map(|_| logit(random.normal() * spread) as f32).collect();
                let filter = Filter {
                    temperature: [1.0, 0.01, 0.6, 0.0][random.within(0, 4)],
                    top_k: random.within(0, 2) as i32 * random.within(1, n + 2) as i32,
                    top_p: [1.0, random.unit() as f32][random.within(0, 2)],
                    min_p: [0.0, random.unit() as f32][random.within(0, 2)],
                };
                let kept = Kept::of(&logits, &filter);
                for bits in [0, random.bits(), u64::MAX] {
                    let found = Row { level, logits: &logits, filter: &filter }.token(bits, &mut deficits);
                    assert_eq!(found, kept.draw(bits), "{level} round {round}: {n} {filter:?} {bits:#x}");
                }
            }
        }
    }
}
