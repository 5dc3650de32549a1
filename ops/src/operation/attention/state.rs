//! Merging states: `attention.merge`.

use super::HEADS;
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use tandem_tensor::{DType, Tensor};

/// The definition.
pub(super) struct Merge;

static MERGE: OpDef = OpDef {
    name: "attention.merge",
    summary: "the state of all positions from states of some of them: o by weights 2^lse, and the logarithm of their sum",
    axes: &[
        Axis { name: "states", kind: AxisKind::Extent, default: 2, doc: "states of a row" },
        Axis { name: "n", kind: AxisKind::Extent, default: 64, doc: "rows" },
        Axis { name: "heads", kind: AxisKind::Extent, default: 32, doc: "heads of the queries" },
        HEADS[2],
    ],
    inputs: &[
        Port {
            name: "o",
            dtype: DType::F32,
            dims: &[Dim::Axis("states"), Dim::Axis("n"), Dim::Axis("heads"), Dim::Axis("d")],
            doc: "results",
        },
        Port {
            name: "lse",
            dtype: DType::F32,
            dims: &[Dim::Axis("states"), Dim::Axis("n"), Dim::Axis("heads")],
            doc: "logarithms to base 2 of sums of weights; -inf where a state is of nothing",
        },
    ],
    outputs: &[
        Port {
            name: "merged",
            dtype: DType::F32,
            dims: &[Dim::Axis("n"), Dim::Axis("heads"), Dim::Axis("d")],
            doc: "results; 0 where all states are of nothing",
        },
        Port { name: "merged_lse", dtype: DType::F32, dims: &[Dim::Axis("n"), Dim::Axis("heads")], doc: "logarithms" },
    ],
    holds: &[],
    agree: Agree::Relative { rms: 1e-6, max: 1e-5 },
    fpga: Grade::ReferenceOnly("the core multiplies 8-bit integers and has no exponential"),
};

/// The merged state of a row: of states `(o, lse)` in order.
///
/// Associative and commutative up to rounding, with `(0, -inf)` as its neutral element.
pub fn merge<'a>(states: impl Iterator<Item = (&'a [f32], f32)> + Clone, out: &mut [f32]) -> f32 {
    // The largest of numbers; a NaN makes a weight that is one.
    let largest = states.clone().map(|(_, lse)| lse).fold(f32::NEG_INFINITY, f32::max);
    let base = if largest == f32::NEG_INFINITY { 0.0 } else { largest };
    out.fill(0.0);
    let mut total = 0.0;
    for (o, lse) in states {
        let weight = (lse - base).exp2();
        total += weight;
        // What weighs nothing may be anything.
        if weight != 0.0 {
            out.iter_mut().zip(o).for_each(|(out, &o)| *out += weight * o);
        }
    }
    if total == 0.0 {
        return f32::NEG_INFINITY;
    }
    out.iter_mut().for_each(|out| *out /= total);
    base + total.log2()
}

impl Operation for Merge {
    fn def(&self) -> &'static OpDef {
        &MERGE
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_rows", [2, 0, 4, 64]),
            ("no_states", [0, 3, 2, 64]),
            ("one_state", [1, 5, 2, 64]),
            ("pairs", [2, 17, 4, 128]),
            ("some_of_nothing", [3, 20, 3, 64]),
            ("far_apart", [4, 9, 2, 80]),
            ("many", [33, 3, 1, 256]),
            ("unaligned", [3, 4, 3, 7]),
            ("nan_and_inf", [3, 8, 2, 64]),
        ];
        let names = ["states", "n", "heads", "d"];
        all.map(|(name, dims)| Sample::new(&MERGE, name, &std::array::from_fn::<_, 4, _>(|i| (names[i], dims[i]))))
            .into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let n = match size {
            Size::Simulator => 16,
            Size::Processor => 1024,
            Size::Gpu => 16384,
        };
        vec![Sample::new(&MERGE, "pairs", &[("n", n)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        MERGE.constrain(dims)?;
        let shape = [dims["states"], dims["n"], dims["heads"]];
        let mut random = Random::new(seed);
        let o = random.normal_tensor(DType::F32, [shape[0], shape[1], shape[2], dims["d"]], 1.0);
        let spread = if name == "far_apart" { 60.0 } else { 2.0 };
        let mut lse: Vec<f64> = (0..shape.iter().product()).map(|_| 5.0 + spread * random.normal()).collect();
        for (at, lse) in lse.iter_mut().enumerate() {
            *lse = match (name, at % 7) {
                ("some_of_nothing", 0..5) => f64::NEG_INFINITY,
                ("nan_and_inf", 1) => f64::NAN,
                ("nan_and_inf", 4) => f64::INFINITY,
                _ => *lse,
            };
        }
        Ok(Tensors::new().with("o", o).with("lse", Tensor::from_f64(DType::F32, shape, &lse)?))
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (states, d, rows) = (dims["states"], dims["d"], dims["n"] * dims["heads"]);
        let (o, lse) = (inputs.get("o")?.to_f64(), inputs.get("lse")?.to_f64());
        let (mut merged, mut merged_lse) = (vec![0.0; rows * d], vec![0.0; rows]);
        for row in 0..rows {
            let of = |state: usize| lse[state * rows + row];
            let largest = (0..states).map(of).fold(f64::NEG_INFINITY, f64::max);
            let base = if largest == f64::NEG_INFINITY { 0.0 } else { largest };
            let total: f64 = (0..states).map(|state| (of(state) - base).exp2()).sum();
            merged_lse[row] = if total == 0.0 { f64::NEG_INFINITY } else { base + total.log2() };
            for at in 0..d {
                let sum: f64 = (0..states)
                    .map(|state| (o[(state * rows + row) * d + at], (of(state) - base).exp2()))
                    .filter(|&(_, weight)| weight != 0.0)
                    .map(|(o, weight)| o * weight)
                    .sum();
                merged[row * d + at] = if total == 0.0 { 0.0 } else { sum / total };
            }
        }
        let shape = [dims["n"], dims["heads"], d];
        Ok(Tensors::new()
            .with("merged", Tensor::from_f64(DType::F32, shape, &merged)?)
            .with("merged_lse", Tensor::from_f64(DType::F32, [shape[0], shape[1]], &merged_lse)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let (states, rows, d) = (dims["states"] as u64, (dims["n"] * dims["heads"]) as u64, dims["d"] as u64);
        Work { flops: 2 * states * rows * d, dram_bytes: 4 * (states + 1) * rows * (d + 1), ..Work::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_associative_and_nothing_is_neutral() {
        let mut random = Random::new(3);
        let mut state = || ([random.normal() as f32, random.normal() as f32], 4.0 * random.normal() as f32);
        for _ in 0..200 {
            let [a, b, c] = [state(), state(), state()];
            let of = |states: &[([f32; 2], f32)]| {
                let mut o = [0.0; 2];
                let lse = merge(states.iter().map(|(o, lse)| (&o[..], *lse)), &mut o);
                (o, lse)
            };
            let near = |(a, la): ([f32; 2], f32), (b, lb): ([f32; 2], f32)| {
                let error = (a[0] - b[0]).abs() + (a[1] - b[1]).abs() + (la - lb).abs();
                assert!(error < 1e-5, "{a:?} {la} {b:?} {lb}");
            };
            near(of(&[of(&[a, b]), c]), of(&[a, of(&[b, c])]));
            near(of(&[a, b]), of(&[b, a]));
            let nothing = ([f32::NAN; 2], f32::NEG_INFINITY);
            assert_eq!(of(&[a, nothing]), a);
            assert_eq!(of(&[nothing, nothing]), ([0.0; 2], f32::NEG_INFINITY));
        }
    }
}
