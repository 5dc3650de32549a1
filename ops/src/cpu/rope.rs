//! Rotary position embedding: the kernel of `rope.bf16`.

use super::Level;
use super::real::{narrow, widen};
use super::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::{OpError, operation, rope_turns};
use half::bf16;
use rayon::prelude::*;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = operation("rope.bf16").into_iter();
    all.map(|operation| Box::new(Rope { operation, level }) as Box<dyn Kernel>).collect()
}

struct Rope {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Rope {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let shape = [dims["m"], dims["heads"], dims["d"]];
        let token = (shape[1] * shape[2]).max(1);
        let turns = rope_turns(inputs.scalar("theta")?, dims["rotary"]);
        let positions = inputs.slice::<i32>("positions")?;
        let x = inputs.slice::<bf16>("x")?;
        let mut out = x.to_vec();
        let neighbours = dims["pairs"] == 1;
        out.par_chunks_mut(token).zip(positions).for_each(|(out, &position)| {
            // Signed, in half turns either way, so that the sine is of a small angle.
            let angle = |turns: &u64| turns.wrapping_mul(i64::from(position) as u64) as i64 as f64;
            let scale = std::f64::consts::TAU / 2f64.powi(64);
            let (sin, cos): (Vec<f32>, Vec<f32>) = turns
                .iter()
                .map(|turns| (angle(turns) * scale).sin_cos())
                .map(|(sin, cos)| (sin as f32, cos as f32))
                .unzip();
            vectorised_at(self.level, Token { d: shape[2], neighbours, sin: &sin, cos: &cos, out });
        });
        Ok(Tensors::new().with("out", Tensor::from_vec(shape, out)?))
    }
}

/// The heads of a token, which share their angles.
struct Token<'a> {
    d: usize,
    neighbours: bool,
    sin: &'a [f32],
    cos: &'a [f32],
    out: &'a mut [bf16],
}

impl Vectorised<()> for Token<'_> {
    #[inline(always)]
    fn run(self) {
        let Token { d, neighbours, sin, cos, out } = self;
        let rotated = |a: bf16, b: bf16, i: usize| {
            let (a, b) = (widen(a), widen(b));
            (narrow(a * cos[i] - b * sin[i]), narrow(b * cos[i] + a * sin[i]))
        };
        let pairs = sin.len();
        for head in out.chunks_exact_mut(d) {
            if neighbours {
                for (i, pair) in head[..2 * pairs].as_chunks_mut::<2>().0.iter_mut().enumerate() {
                    (pair[0], pair[1]) = rotated(pair[0], pair[1], i);
                }
            } else {
                let (first, second) = head[..2 * pairs].split_at_mut(pairs);
                for (i, (a, b)) in first.iter_mut().zip(second).enumerate() {
                    (*a, *b) = rotated(*a, *b, i);
                }
            }
        }
    }
}
