//! Norms of rows: the kernels of `rms_norm.bf16`, `add_rms_norm.bf16` and `layer_norm.bf16`.

use super::Level;
use super::real::{narrow, sum_of, widen};
use super::rows::task;
use super::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = ["rms_norm.bf16", "add_rms_norm.bf16", "layer_norm.bf16"].into_iter().filter_map(operation);
    all.map(|operation| Box::new(Norm { operation, level }) as Box<dyn Kernel>).collect()
}

struct Norm {
    operation: &'static dyn Operation,
    level: Level,
}

/// What is the same for all rows.
struct Constants {
    n: usize,
    weight: Vec<f32>,
    /// That of a layer norm, which also subtracts the mean.
    bias: Option<Vec<f32>>,
    eps: f32,
}

impl Kernel for Norm {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n, level) = (dims["m"], dims["n"], self.level);
        let def = self.operation.def();
        let vector = |name: &str| Ok::<_, OpError>(inputs.slice::<bf16>(name)?.iter().map(|&x| widen(x)).collect());
        let bias = if def.input("bias").is_some() { Some(vector("bias")?) } else { None };
        let constants = Constants { n, weight: vector("weight")?, bias, eps: inputs.scalar("eps")? };
        let x = inputs.slice::<bf16>("x")?;
        let mut out = vec![bf16::ZERO; x.len()];
        let task = task(n);
        let mut results = Tensors::new();
        if def.input("residual").is_some() {
            let residual = inputs.slice::<bf16>("residual")?;
            let mut sum = vec![bf16::ZERO; x.len()];
            let operands = x.par_chunks(task).zip(residual.par_chunks(task));
            out.par_chunks_mut(task).zip(sum.par_chunks_mut(task)).zip(operands).for_each(
                |((out, sum), (x, residual))| {
                    vectorised_at(level, Rows { constants: &constants, x, added: Some((residual, sum)), out });
                },
            );
            results = results.with("sum", Tensor::from_vec([m, n], sum)?);
        } else {
            out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
                vectorised_at(level, Rows { constants: &constants, x, added: None, out });
            });
        }
        Ok(results.with("out", Tensor::from_vec([m, n], out)?))
    }
}

struct Rows<'a> {
    constants: &'a Constants,
    x: &'a [bf16],
    /// What is added first, and where the sum goes.
    added: Option<(&'a [bf16], &'a mut [bf16])>,
    out: &'a mut [bf16],
}

impl Vectorised<()> for Rows<'_> {
    #[inline(always)]
    fn run(self) {
        let Rows { constants: Constants { n, weight, bias, eps }, x, mut added, out } = self;
        let (n, count) = (*n, *n as f32);
        let mut row = vec![0f32; n];
        for (at, (x, out)) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)).enumerate() {
            match &mut added {
                Some((residual, sum)) => {
                    let (residual, sum) = (&residual[at * n..][..n], &mut sum[at * n..][..n]);
                    for i in 0..n {
                        sum[i] = narrow(widen(x[i]) + widen(residual[i]));
                        row[i] = widen(sum[i]);
                    }
                }
                None => row.iter_mut().zip(x).for_each(|(v, &x)| *v = widen(x)),
            }
            if bias.is_some() {
                let mean = sum_of(&row, |v| v) / count;
                row.iter_mut().for_each(|v| *v -= mean);
            }
            let factor = 1.0 / (sum_of(&row, |v| v * v) / count + eps).sqrt();
            let weighted = row.iter().zip(weight);
            match bias {
                Some(bias) => out.iter_mut().zip(weighted.zip(bias)).for_each(|(out, ((v, w), b))| {
                    *out = narrow(v * factor * w + b);
                }),
                None => out.iter_mut().zip(weighted).for_each(|(out, (v, w))| *out = narrow(v * factor * w)),
            }
        }
    }
}
