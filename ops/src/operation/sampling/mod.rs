//! Sampling: tokens drawn from logits, and drafts verified, by computations that are the same to the last bit on every machine.
//!
//! Probabilities are integers here ([`weight`]), whose sums do not depend on their order, and random numbers are a function of a key
//! and a counter ([`philox`]), so that no state is kept and every backend draws the very same token.

mod filter;
mod philox;
mod sample;
mod verify;
pub mod weight;

use crate::OpError;
use crate::def::{Axis, AxisKind, Dim, Operation, Port, Random, Tensors};
use tandem_tensor::{DType, Tensor};

pub use filter::{Filter, Kept, top};
pub use philox::{Stream, philox};
pub use sample::{filters, streams};
pub use verify::{Draft, drafts};

pub(super) const ALL: &[&dyn Operation] = &[&sample::Sampling, &verify::Verify];

const ROWS: Axis = Axis { name: "m", kind: AxisKind::Extent, default: 16, doc: "rows: sequences" };
const TOKENS: Axis = Axis { name: "n", kind: AxisKind::Extent, default: 32_000, doc: "tokens of the vocabulary" };

/// The operands of the random numbers.
const RANDOM: [Port; 3] = [
    Port { name: "seed", dtype: DType::U64, dims: &[], doc: "key of Philox4x32-10, lower word first" },
    Port { name: "stream", dtype: DType::U64, dims: &[Dim::Axis("m")], doc: "words 0 and 1 of the counter" },
    Port { name: "step", dtype: DType::U32, dims: &[Dim::Axis("m")], doc: "word 2 of the counter" },
];

/// Operands of the random numbers for `m` rows.
fn with_random(inputs: Tensors, random: &mut Random, m: usize) -> Result<Tensors, OpError> {
    let streams: Vec<u64> = (0..m).map(|_| random.bits()).collect();
    let steps: Vec<u32> = (0..m).map(|_| random.bits() as u32).collect();
    let inputs = inputs.with("seed", Tensor::scalar(random.bits()));
    Ok(inputs.with("stream", Tensor::from_vec([m], streams)?).with("step", Tensor::from_vec([m], steps)?))
}
