//! `attention.append.bf16`: copies of lines.

use crate::attention::append_lines;
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::{OpError, operation};
use half::bf16;
use tandem_tensor::Tensor;

struct Append {
    operation: &'static dyn Operation,
}

pub(super) fn kernel() -> Option<Box<dyn Kernel>> {
    operation("attention.append.bf16").map(|operation| Box::new(Append { operation }) as Box<dyn Kernel>)
}

impl Kernel for Append {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (page, line) = (dims["page"], dims["hkv"] * dims["d"]);
        let (k, v) = (inputs.slice::<bf16>("k")?, inputs.slice::<bf16>("v")?);
        let mut kv = inputs.get("kv")?.clone();
        let to = kv.as_slice_mut::<bf16>()?;
        // Positions that follow each other in a page are one copy.
        let lines = append_lines(dims, inputs)?;
        let mut at = 0;
        for run in lines.chunk_by(|a, b| a + 1 == *b && a / page == b / page) {
            for (from, side) in [(k, 0), (v, page)] {
                let count = run.len() * line;
                to[(run[0] + side) * line..][..count].copy_from_slice(&from[at * line..][..count]);
            }
            at += run.len();
        }
        Ok(Tensors::new().with("appended", Tensor::new(kv.shape().clone(), kv.into_data())?))
    }
}
