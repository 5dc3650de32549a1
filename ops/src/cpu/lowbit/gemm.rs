//! The products: every row of weights is unpacked once for all rows of activations, into 16-bit integers, whose products are added in
//! pairs by one instruction, or into f32.

use crate::cpu::Level;
use crate::cpu::real::{LANES, narrow, widen};
use crate::cpu::vectorised::{Vectorised, vectorised_at};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::lowbit::{signed, unsigned};
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = ["gemm.w4a4", "gemm.w4a8", "gemm.w4a16"].into_iter().filter_map(operation);
    all.map(|operation| Box::new(Product { operation, level }) as Box<dyn Kernel>).collect()
}

struct Product {
    operation: &'static dyn Operation,
    level: Level,
}

/// Columns that a task takes: their results lie beside each other, on whole cache lines.
const COLUMNS: usize = 32;

impl Kernel for Product {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [m, n] = ["m", "n"].map(|axis| dims[axis]);
        let scheme = Scheme::new(self.operation.def().name, dims, inputs)?;
        let task = |begin: usize| {
            let columns = begin..(begin + COLUMNS).min(n);
            vectorised_at(self.level.or_portable(), Columns { scheme: &scheme, columns })
        };
        let parts: Vec<Vec<bf16>> = (0..n.div_ceil(COLUMNS)).into_par_iter().map(|part| task(part * COLUMNS)).collect();
        let mut out = vec![bf16::ZERO; m * n];
        if n > 0 {
            out.par_chunks_mut(n).enumerate().for_each(|(row, out)| {
                for (out, part) in out.chunks_mut(COLUMNS).zip(&parts) {
                    out.copy_from_slice(&part[row * out.len()..][..out.len()]);
                }
            });
        }
        Ok(Tensors::new().with("out", Tensor::from_vec([m, n], out)?))
    }
}

/// What all tasks share: operands, with activations unpacked.
struct Scheme<'a> {
    m: usize,
    n: usize,
    inner: usize,
    group: usize,
    groups: usize,
    outliers: usize,
    codes: &'a [u8],
    b8: &'a [i8],
    form: Form<'a>,
}

enum Form<'a> {
    A4 { a: Vec<i16>, a_scale: &'a [f32], a8: Vec<i16>, a8_scale: &'a [f32], b_scale: Vec<f32>, b8_scale: &'a [f32] },
    A8 { a: Vec<i16>, a8_scale: &'a [f32], step: &'a [u8], zero: &'a [u8], row_scale: &'a [f32] },
    A16 { a: Vec<f32>, b_scale: Vec<f32>, zero: &'a [u8], b8_scale: &'a [f32] },
}

impl<'a> Scheme<'a> {
    fn new(name: &str, dims: &Dims, inputs: &'a Tensors) -> Result<Scheme<'a>, OpError> {
        let (group, outliers) = (dims["group"], dims["outliers"]);
        let inner = dims["k"] - outliers;
        let shorts = |port: &str| Ok::<_, OpError>(inputs.slice::<i8>(port)?.iter().map(|&x| i16::from(x)).collect());
        let floats = |port: &str| {
            let list = inputs.slice::<bf16>(port)?.iter();
            Ok::<_, OpError>(list.map(|&x| widen(x)).collect::<Vec<f32>>())
        };
        let form = match name {
            "gemm.w4a4" => Form::A4 {
                a: inputs.slice::<u8>("a")?.iter().flat_map(|&byte| signed(byte).map(i16::from)).collect(),
                a_scale: inputs.slice("a_scale")?,
                a8: shorts("a8")?,
                a8_scale: inputs.slice("a8_scale")?,
                b_scale: floats("b_scale")?,
                b8_scale: inputs.slice("b8_scale")?,
            },
            "gemm.w4a8" => Form::A8 {
                a: shorts("a8")?,
                a8_scale: inputs.slice("a8_scale")?,
                step: inputs.slice("b_step")?,
                zero: inputs.slice("b_zero")?,
                row_scale: inputs.slice("row_scale")?,
            },
            _ => Form::A16 {
                a: floats("a")?,
                b_scale: floats("b_scale")?,
                zero: inputs.slice("b_zero")?,
                b8_scale: inputs.slice("b8_scale")?,
            },
        };
        let groups = inner.div_ceil(group);
        let (codes, b8) = (inputs.slice("b")?, inputs.slice("b8")?);
        Ok(Scheme { m: dims["m"], n: dims["n"], inner, group, groups, outliers, codes, b8, form })
    }
}

/// The results of some columns, a row after the other.
struct Columns<'a> {
    scheme: &'a Scheme<'a>,
    columns: std::ops::Range<usize>,
}

impl Vectorised<Vec<bf16>> for Columns<'_> {
    #[inline(always)]
    fn run(self) -> Vec<bf16> {
        let Scheme { m, n, inner, group, groups, outliers, codes, b8, form } = self.scheme;
        let (m, n, inner, group, groups, outliers) = (*m, *n, *inner, *group, *groups, *outliers);
        let (width, k) = (self.columns.len(), inner + outliers);
        let mut out = vec![bf16::ZERO; m * width];
        let (mut shorts, mut floats) = (vec![0i16; k], vec![0f32; k]);
        for (at, column) in self.columns.enumerate() {
            let bytes = &codes[column * (inner / 2)..][..inner / 2];
            let b8 = &b8[column * outliers..][..outliers];
            let (low, last) = shorts.split_at_mut(inner);
            last.iter_mut().zip(b8).for_each(|(w, &b)| *w = i16::from(b));
            match form {
                Form::A4 { a, a_scale, a8, a8_scale, b_scale, b8_scale } => {
                    for (w, &byte) in low.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                        *w = signed(byte).map(i16::from);
                    }
                    for row in 0..m {
                        let mut sum = 0f32;
                        let lists = a[row * inner..][..inner].chunks(group).zip(low.chunks(group));
                        let factors = a_scale[row * groups..].iter().zip(of_column(b_scale, column, n));
                        for ((a, w), (&sa, sb)) in lists.zip(factors) {
                            sum += dot(a, w) as f32 * (sa * sb);
                        }
                        if outliers > 0 {
                            let product = dot(&a8[row * outliers..][..outliers], last);
                            sum += product as f32 * (a8_scale[row] * b8_scale[column]);
                        }
                        out[row * width + at] = narrow(sum);
                    }
                }
                Form::A8 { a, a8_scale, step, zero, row_scale } => {
                    let lists = low.chunks_mut(group).zip(bytes.chunks(group / 2));
                    for ((w, bytes), (step, zero)) in
                        lists.zip(of_column(step, column, n).zip(of_column(zero, column, n)))
                    {
                        let (step, zero) = (i16::from(step), i16::from(zero));
                        for (w, &byte) in w.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                            *w = unsigned(byte).map(|code| (i16::from(code) - zero) * step);
                        }
                    }
                    for row in 0..m {
                        let sum = dot(&a[row * k..][..k], &shorts);
                        let sum = if k == 0 { 0.0 } else { sum as f32 * (a8_scale[row] * row_scale[column]) };
                        out[row * width + at] = narrow(sum);
                    }
                }
                Form::A16 { a, b_scale, zero, b8_scale } => {
                    let (low, last) = floats.split_at_mut(inner);
                    let lists = low.chunks_mut(group).zip(bytes.chunks(group / 2));
                    for ((w, bytes), (scale, zero)) in
                        lists.zip(of_column(b_scale, column, n).zip(of_column(zero, column, n)))
                    {
                        for (w, &byte) in w.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                            *w = unsigned(byte).map(|code| (i16::from(code) - i16::from(zero)) as f32 * scale);
                        }
                    }
                    last.iter_mut().zip(b8).for_each(|(w, &b)| *w = f32::from(b) * b8_scale[column]);
                    for row in 0..m {
                        out[row * width + at] = narrow(dot_f32(&a[row * k..][..k], &floats));
                    }
                }
            }
        }
        out
    }
}

/// The elements of a column of a matrix of `n` of them.
#[inline(always)]
fn of_column<T: Copy>(list: &[T], column: usize, n: usize) -> impl Iterator<Item = T> {
    list.iter().skip(column).step_by(n).copied()
}

/// The exact sum of products, of which there are so few that it fits.
#[inline(always)]
fn dot(x: &[i16], w: &[i16]) -> i32 {
    x.iter().zip(w).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum()
}

#[inline(always)]
fn dot_f32(x: &[f32], w: &[f32]) -> f32 {
    let ((x, x_rest), (w, w_rest)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (x, w) in x.iter().zip(w) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * w[lane];
        }
    }
    let rest: f32 = x_rest.iter().zip(w_rest).map(|(x, w)| x * w).sum();
    sums.iter().sum::<f32>() + rest
}
