//! `attention.append.bf16`, copies of lines, and `attention.append_kv4.bf16`, rows that become codes.

use crate::attention::{append_lines, scale_row};
use crate::cpu::Level;
use crate::cpu::rows::task;
use crate::cpu::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::lowbit::Asymmetric;
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use tandem_tensor::{Element, Tensor};

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let mut all: Vec<Box<dyn Kernel>> = Vec::new();
    all.extend(operation("attention.append.bf16").map(|operation| Box::new(Append { operation }) as Box<dyn Kernel>));
    let coded = operation("attention.append_kv4.bf16");
    all.extend(coded.map(|operation| Box::new(Coded { operation, level }) as Box<dyn Kernel>));
    all
}

struct Append {
    operation: &'static dyn Operation,
}

impl Kernel for Append {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let line = dims["hkv"] * dims["d"];
        let (k, v) = (inputs.slice::<bf16>("k")?, inputs.slice::<bf16>("v")?);
        let appended = put(inputs.get("kv")?, [k, v], line, dims["page"], &append_lines(dims, inputs)?)?;
        Ok(Tensors::new().with("appended", appended))
    }
}

/// The pages with new lines of `line` elements, of keys and of values.
fn put<T: Element>(
    pages: &Tensor,
    new: [&[T]; 2],
    line: usize,
    page: usize,
    lines: &[usize],
) -> Result<Tensor, OpError> {
    let mut pages = pages.clone();
    let to = pages.as_slice_mut::<T>()?;
    // Positions that follow each other in a page are one copy.
    let mut at = 0;
    for run in lines.chunk_by(|a, b| a + 1 == *b && a / page == b / page) {
        for (from, side) in new.into_iter().zip([0, page]) {
            let count = run.len() * line;
            to[(run[0] + side) * line..][..count].copy_from_slice(&from[at * line..][..count]);
        }
        at += run.len();
    }
    Ok(Tensor::new(pages.shape().clone(), pages.into_data())?)
}

struct Coded {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Coded {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (page, hkv, d) = (dims["page"], dims["hkv"], dims["d"]);
        let lines = append_lines(dims, inputs)?;
        let quantized = |port: &str| -> Result<(Vec<u8>, Vec<bf16>), OpError> {
            let numbers = inputs.slice::<bf16>(port)?;
            let rows = numbers.len() / d;
            let (mut codes, mut scales) = (vec![0u8; rows * (d / 2)], vec![bf16::ZERO; rows * 2]);
            let part = (task(d) / d).max(1);
            let places = codes.par_chunks_mut(part * (d / 2)).zip(scales.par_chunks_mut(part * 2));
            places.zip(numbers.par_chunks(part * d)).for_each(|((codes, scales), numbers)| {
                vectorised_at(self.level.or_portable(), Rows { numbers, d, codes, scales });
            });
            Ok((codes, scales))
        };
        let ((k, k_scales), (v, v_scales)) = (quantized("k")?, quantized("v")?);
        let appended = put(inputs.get("kv")?, [&k, &v], hkv * d / 2, page, &lines)?;
        let mut scales = inputs.get("kv_scale")?.clone();
        let to = scales.as_slice_mut::<bf16>()?;
        for (new, side) in [(&k_scales, 0), (&v_scales, page)] {
            for (line, new) in lines.iter().zip(new.chunks_exact(2 * hkv)) {
                for (head, new) in new.chunks_exact(2).enumerate() {
                    to[2 * scale_row(line + side, head, hkv, page)..][..2].copy_from_slice(new);
                }
            }
        }
        Ok(Tensors::new()
            .with("appended", appended)
            .with("appended_scale", Tensor::new(scales.shape().clone(), scales.into_data())?))
    }
}

/// Rows of `d` numbers, and where their codes, scales and zeros go.
struct Rows<'a> {
    numbers: &'a [bf16],
    d: usize,
    codes: &'a mut [u8],
    scales: &'a mut [bf16],
}

impl Vectorised<()> for Rows<'_> {
    #[inline(always)]
    fn run(self) {
        let codes = self.codes.chunks_exact_mut(self.d / 2);
        let places = codes.zip(self.scales.as_chunks_mut::<2>().0);
        for (row, (codes, scale)) in self.numbers.chunks_exact(self.d).zip(places) {
            let form = Asymmetric::quantize(row, codes);
            *scale = [form.scale, form.zero];
        }
    }
}
