//! Activations: the kernels of `activation.bf16` and `silu_mul.bf16`.

use super::Level;
use super::real::{narrow, widen};
use super::rows::task;
use super::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::operation::{activation_of, silu};
use crate::{ACTIVATIONS, OpError, operation};
use half::bf16;
use rayon::prelude::*;
use std::sync::OnceLock;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let tables = operation("activation.bf16").map(|operation| Box::new(Table { operation }) as Box<dyn Kernel>);
    let gated = operation("silu_mul.bf16").map(|operation| Box::new(Gated { operation, level }) as Box<dyn Kernel>);
    tables.into_iter().chain(gated).collect()
}

/// A bfloat16 has 65536 values, so that an activation is a look-up.
struct Table {
    operation: &'static dyn Operation,
}

/// The activation of every bfloat16, by its bits; made when it is first asked for.
fn table(kind: usize) -> &'static [bf16] {
    static TABLES: [OnceLock<Vec<bf16>>; ACTIVATIONS.len()] = [const { OnceLock::new() }; ACTIVATIONS.len()];
    let of = |bits: u16| bf16::from_f64(activation_of(kind, bf16::from_bits(bits).to_f64()));
    TABLES[kind].get_or_init(|| (0..=u16::MAX).map(of).collect())
}

impl Kernel for Table {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let x = inputs.slice::<bf16>("x")?;
        let table = table(dims["kind"]);
        let mut out = vec![bf16::ZERO; x.len()];
        let task = task(1);
        out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = table[usize::from(x.to_bits())]);
        });
        Ok(Tensors::new().with("out", Tensor::from_vec([x.len()], out)?))
    }
}

struct Gated {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Gated {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let x = inputs.slice::<bf16>("x")?;
        let mut out = vec![bf16::ZERO; m * n];
        let task = task(n);
        out.par_chunks_mut(task).zip(x.par_chunks(2 * task)).for_each(|(out, x)| {
            vectorised_at(self.level, Rows { n, x, out });
        });
        Ok(Tensors::new().with("out", Tensor::from_vec([m, n], out)?))
    }
}

struct Rows<'a> {
    n: usize,
    x: &'a [bf16],
    out: &'a mut [bf16],
}

impl Vectorised<()> for Rows<'_> {
    #[inline(always)]
    fn run(self) {
        let Rows { n, x, out } = self;
        for (x, out) in x.chunks_exact(2 * n).zip(out.chunks_exact_mut(n)) {
            let (gates, ups) = x.split_at(n);
            for ((out, &gate), &up) in out.iter_mut().zip(gates).zip(ups) {
                let gate = widen(gate);
                *out = narrow(silu(gate) * widen(up));
            }
        }
    }
}
