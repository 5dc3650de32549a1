//! Pools of codes: the kernels of `max_pool.i8` and `average_pool.i8`.

use super::Level;
use super::vectorised::{Vectorised, vectorised_at};
use crate::arith::{Requant, average_requant};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::infer::Window;
use crate::operation::windows;
use crate::{OpError, operation};
use rayon::prelude::*;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = ["max_pool.i8", "average_pool.i8"].into_iter().filter_map(operation);
    all.map(|operation| Box::new(Pool { operation, level }) as Box<dyn Kernel>).collect()
}

struct Pool {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Pool {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [high, wide] = windows(dims).ok_or_else(|| OpError::invalid(format!("no window fits for {dims}")))?;
        let average = self.operation.def().input("zero_point").is_some();
        let padding = match average && dims["padding"] == 1 {
            true => Some(inputs.scalar::<i32>("zero_point")?),
            false => None,
        };
        let least = if average && dims["codes"] == 1 { -128 } else { 0 };
        let line = Line {
            channels: dims["c"],
            windows: [high, wide],
            average,
            padding,
            least,
            range: [inputs.scalar("lo")?, inputs.scalar("hi")?],
            x: inputs.slice::<i8>("x")?,
            index: 0,
            out: &mut [],
        };
        let shape = [dims["n"], high.output, wide.output, dims["c"]];
        let mut out = vec![0i8; shape.iter().product()];
        let width = (wide.output * dims["c"]).max(1);
        out.par_chunks_mut(width).enumerate().for_each(|(index, out)| {
            vectorised_at(self.level, Line { index, out, ..line });
        });
        Ok(Tensors::new().with("out", Tensor::from_vec(shape, out)?))
    }
}

/// A row of results.
struct Line<'a> {
    channels: usize,
    windows: [Window; 2],
    average: bool,
    /// The code of padding, where it counts.
    padding: Option<i32>,
    /// The code that codes are counted from.
    least: i32,
    range: [i32; 2],
    x: &'a [i8],
    /// Of all rows of all images.
    index: usize,
    out: &'a mut [i8],
}

impl Vectorised<()> for Line<'_> {
    #[inline(always)]
    fn run(self) {
        let Line { channels, windows: [high, wide], average, padding, least, range, x, index, out } = self;
        let (image, row) = (index / high.output, index % high.output);
        let [lo, hi] = range.map(|code| code as i8);
        let mut sums = vec![0i32; if average { channels } else { 0 }];
        let pixel = |th: usize, column: usize, tw: usize| {
            let line = image * high.input + high.input_at(row, th);
            &x[(line * wide.input + wide.input_at(column, tw)) * channels..][..channels]
        };
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            let (rows, columns) = (high.taps(row), wide.taps(column));
            if !average {
                out.fill(lo);
                for th in rows {
                    for tw in columns.clone() {
                        out.iter_mut().zip(pixel(th, column, tw)).for_each(|(top, &code)| *top = (*top).max(code));
                    }
                }
                out.iter_mut().for_each(|code| *code = (*code).min(hi));
                continue;
            }
            let inside = rows.len() * columns.len();
            let (mut count, mut start) = (inside, 0);
            if let Some(code) = padding {
                count = high.padded_taps(row) * wide.padded_taps(column);
                start = (count - inside) as i32 * code;
            }
            sums.fill(start - count as i32 * least);
            for th in rows {
                for tw in columns.clone() {
                    sums.iter_mut().zip(pixel(th, column, tw)).for_each(|(sum, &code)| *sum += i32::from(code));
                }
            }
            let Requant::HalfAway { multiplier, shift } = average_requant(count as u32) else { continue };
            for (out, &sum) in out.iter_mut().zip(&sums) {
                // The magnitude fits 31 bits and the multiplier as well.
                let size = u64::from(sum.unsigned_abs()) * multiplier as u64;
                let mean = ((size + (1 << (shift - 1))) >> shift) as i32;
                let mean = if sum < 0 { -mean } else { mean } + least;
                *out = mean.max(range[0]).min(range[1]) as i8;
            }
        }
    }
}
