//! The producers. A row is made, gathered and quantised while it is in the first-level cache.

use crate::cpu::Level;
use crate::cpu::real::widen;
use crate::cpu::rows::task;
use crate::cpu::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::lowbit::{Symmetric, largest, mean_square};
use crate::operation::silu;
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let names = ["reorder_quantize.bf16", "rms_norm_quantize.bf16", "silu_mul_quantize.bf16"];
    let all = names.into_iter().filter_map(operation);
    all.map(|operation| Box::new(Produce { operation, level }) as Box<dyn Kernel>).collect()
}

struct Produce {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Produce {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, k, group, outliers) = (dims["m"], dims["k"], dims["group"], dims["outliers"]);
        let inner = k - outliers;
        let groups = inner.div_ceil(group);
        let source = match self.operation.def().name {
            "silu_mul_quantize.bf16" => Source::Gated(inputs.slice("gate")?, inputs.slice("up")?),
            "rms_norm_quantize.bf16" => {
                let weight = inputs.slice::<bf16>("weight")?.iter().map(|&x| widen(x)).collect();
                Source::Normed(inputs.slice("x")?, weight, inputs.scalar("eps")?)
            }
            _ => Source::Plain(inputs.slice("x")?),
        };
        let shared = Shared { k, inner, group, source, order: inputs.slice("order")?, clip: inputs.scalar("clip")? };
        let (mut a, mut a_scale) = (vec![0u8; m * (inner / 2)], vec![0f32; m * groups]);
        let (mut a8, mut a8_scale) = (vec![0i8; m * outliers], vec![0f32; m]);
        let rows = task(k) / k.max(1);
        // Empty lists have no chunks, where every task needs its own.
        let tasks = m.div_ceil(rows);
        let cut = |width: usize| (rows * width).max(1);
        let mut parts: Vec<Part<'_>> = (0..tasks).map(|_| Part::default()).collect();
        parts.iter_mut().zip(a.chunks_mut(cut(inner / 2))).for_each(|(part, a)| part.a = a);
        parts.iter_mut().zip(a_scale.chunks_mut(cut(groups))).for_each(|(part, list)| part.a_scale = list);
        parts.iter_mut().zip(a8.chunks_mut(cut(outliers))).for_each(|(part, list)| part.a8 = list);
        parts.iter_mut().zip(a8_scale.chunks_mut(cut(1))).for_each(|(part, list)| part.a8_scale = list);
        parts.into_par_iter().enumerate().for_each(|(index, part)| {
            vectorised_at(self.level.or_portable(), Rows { shared: &shared, first: index * rows, part });
        });
        let tensors = [
            ("a", Tensor::from_vec([m, inner / 2], a)?),
            ("a_scale", Tensor::from_vec([m, groups], a_scale)?),
            ("a8", Tensor::from_vec([m, outliers], a8)?),
            ("a8_scale", Tensor::from_vec([m], a8_scale)?),
        ];
        Ok(tensors.into_iter().collect())
    }
}

/// What rows are made of.
enum Source<'a> {
    Plain(&'a [bf16]),
    Normed(&'a [bf16], Vec<f32>, f32),
    Gated(&'a [bf16], &'a [bf16]),
}

/// What all tasks share.
struct Shared<'a> {
    k: usize,
    inner: usize,
    group: usize,
    source: Source<'a>,
    order: &'a [i32],
    clip: f32,
}

/// The results of some rows.
#[derive(Default)]
struct Part<'a> {
    a: &'a mut [u8],
    a_scale: &'a mut [f32],
    a8: &'a mut [i8],
    a8_scale: &'a mut [f32],
}

struct Rows<'a, 'out> {
    shared: &'a Shared<'a>,
    first: usize,
    part: Part<'out>,
}

impl Vectorised<()> for Rows<'_, '_> {
    #[inline(always)]
    fn run(self) {
        let Rows { shared: Shared { k, inner, group, source, order, clip }, first, part } = self;
        let (k, inner, group) = (*k, *inner, *group);
        let groups = inner.div_ceil(group);
        let (mut made, mut row) = (vec![0f32; k], vec![0f32; k]);
        for (at, last_scale) in part.a8_scale.iter_mut().enumerate() {
            let own = (first + at) * k;
            match source {
                Source::Plain(x) => made.iter_mut().zip(&x[own..][..k]).for_each(|(v, &x)| *v = widen(x)),
                Source::Normed(x, weight, eps) => {
                    made.iter_mut().zip(&x[own..][..k]).for_each(|(v, &x)| *v = widen(x));
                    let factor = 1.0 / (mean_square(&made) + eps).sqrt();
                    made.iter_mut().zip(weight).for_each(|(x, weight)| *x = *x * factor * weight);
                }
                Source::Gated(gate, up) => {
                    let lists = gate[own..][..k].iter().zip(&up[own..][..k]);
                    made.iter_mut().zip(lists).for_each(|(v, (&g, &u))| *v = silu(widen(g)) * widen(u));
                }
            }
            row.iter_mut().zip(*order).for_each(|(place, &channel)| *place = made[channel as usize]);
            let (low, last) = row.split_at(inner);
            let bytes = part.a[at * (inner / 2)..][..inner / 2].chunks_mut(group / 2);
            let scales = &mut part.a_scale[at * groups..][..groups];
            for ((list, bytes), scale) in low.chunks(group).zip(bytes).zip(scales) {
                let form = Symmetric::new(largest(list), *clip, 4);
                *scale = form.scale;
                for (byte, &[even, odd]) in bytes.iter_mut().zip(list.as_chunks::<2>().0) {
                    *byte = form.code(even) as u8 & 15 | (form.code(odd) as u8) << 4;
                }
            }
            let form = Symmetric::new(largest(last), 1.0, 8);
            *last_scale = form.scale;
            let codes = &mut part.a8[at * last.len()..][..last.len()];
            codes.iter_mut().zip(last).for_each(|(code, &x)| *code = form.code(x));
        }
    }
}
