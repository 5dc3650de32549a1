//! Softmax: the kernels of `softmax.*`.

use super::Level;
use super::real::{max_of, narrow, sum_of, widen};
use super::rows::task;
use super::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::operation::exp;
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use tandem_tensor::{DType, Tensor};

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = ["softmax.f32", "softmax.bf16"].into_iter().filter_map(operation);
    all.map(|operation| Box::new(Softmax { operation, level }) as Box<dyn Kernel>).collect()
}

struct Softmax {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Softmax {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let (beta, log) = (inputs.scalar("beta")?, dims["log"] == 1);
        let out = match self.operation.def().inputs[0].dtype {
            DType::BF16 => {
                let out = self.rows(inputs.slice::<bf16>("x")?, n, (beta, log), (widen, narrow));
                Tensor::from_vec([m, n], out)
            }
            _ => {
                let out = self.rows(inputs.slice::<f32>("x")?, n, (beta, log), (|x| x, |x| x));
                Tensor::from_vec([m, n], out)
            }
        };
        Ok(Tensors::new().with("out", out?))
    }
}

impl Softmax {
    fn rows<T: Copy + Default + Send + Sync>(
        &self,
        x: &[T],
        n: usize,
        (beta, log): (f32, bool),
        (widen, narrow): (impl Fn(T) -> f32 + Copy + Sync, impl Fn(f32) -> T + Copy + Sync),
    ) -> Vec<T> {
        let mut out = vec![T::default(); x.len()];
        let task = task(n);
        out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
            vectorised_at(self.level, Rows { x, out, n, beta, log, widen, narrow });
        });
        out
    }
}

struct Rows<'a, T, W, N> {
    x: &'a [T],
    out: &'a mut [T],
    n: usize,
    beta: f32,
    log: bool,
    widen: W,
    narrow: N,
}

impl<T: Copy, W: Fn(T) -> f32, N: Fn(f32) -> T> Vectorised<()> for Rows<'_, T, W, N> {
    #[inline(always)]
    fn run(self) {
        let Rows { x, out, n, beta, log, widen, narrow } = self;
        let mut row = vec![0f32; n];
        for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            for (v, &x) in row.iter_mut().zip(x) {
                *v = widen(x) * beta;
            }
            let top = max_of(&row);
            if log {
                let subtrahend = sum_of(&row, |v| exp(v - top)).ln();
                for (out, &v) in out.iter_mut().zip(&row) {
                    *out = narrow((v - top) - subtrahend);
                }
            } else {
                row.iter_mut().for_each(|v| *v = exp(*v - top));
                let factor = 1.0 / sum_of(&row, |v| v);
                for (out, &v) in out.iter_mut().zip(&row) {
                    *out = narrow(v * factor);
                }
            }
        }
    }
}
