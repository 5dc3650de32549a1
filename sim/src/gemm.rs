//! GEMM: packed inputs and weights, the choice of a kernel, and the portable kernel.
//!
//! A kernel takes the sums of an instruction (`sums.rs`) tile by tile: accumulators stay in registers over all products. Inputs
//! and weights are kept a second time in the form that the kernel reads, packed when INP and WGT are written.

use std::hint::black_box;
use std::ops::Range;

use tandem_isa::HwConfig;

use crate::loops::{Axis, Indices};
use crate::sums::{Start, Sums, Target, Term};

/// What makes a signed byte an unsigned one that is 128 greater.
const FLIP: u8 = 0x80;

/// How GEMM is computed. All kernels give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Plain Rust, on every host.
    Portable,
    /// 256-bit multiply-add of 16-bit pairs.
    Avx2,
    /// AVX-512 dot products of four bytes.
    Vnni,
}

/// Work that is compiled for the vectors of each kernel.
///
/// `run`, and what it calls on each lane, must be inlined to have an effect.
pub(crate) trait Work {
    fn run(self);
}

/// Inputs and weights in the form that a kernel reads.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    kernel: Kernel,
    block_in: usize,
    block_out: usize,
    pub form: Form,
}

#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// Widened to 16 bits: weights as `[element][block_in][block_out]`, inputs in the order of INP.
    Columns { weights: Vec<i16>, inputs: Vec<i16> },
    /// Widened to 16 bits: weights as `[element][block_in / 2][block_out][2]`, inputs in the order of INP.
    Pairs { weights: Vec<i16>, inputs: Vec<i16> },
    /// Weights as `[element][block_in / 4][block_out][4]`; inputs in the order of INP, 128 greater, so that they are unsigned;
    /// and corrections for that as `[element][block_out]`: -128 times the sum of a row of weights.
    Quads { weights: Vec<u8>, corrections: Vec<i32>, inputs: Vec<u8> },
}

/// Everything one GEMM instruction, or a part of its outer loop, needs.
pub(crate) struct GemmCall<'a> {
    pub uops: &'a [Indices],
    /// First turn of the outer loop.
    pub first: u32,
    /// The outer loop, `count` turns from `first`.
    pub outer: Axis,
    pub inner: Axis,
    pub batch: usize,
    pub packed: &'a Packed,
    pub acc: &'a mut [i32],
    /// Room for its lists.
    pub sums: &'a mut Sums,
}

impl Kernel {
    /// The kernels that this host can run, the slowest first.
    pub fn available() -> Vec<Kernel> {
        let mut kernels = vec![Kernel::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if crate::simd::has_avx2() {
                kernels.push(Kernel::Avx2);
            }
            if crate::simd::has_vnni() {
                kernels.push(Kernel::Vnni);
            }
        }
        kernels
    }

    /// The fastest kernel of this host.
    pub fn best() -> Kernel {
        Kernel::available().last().copied().unwrap_or(Kernel::Portable)
    }

    /// Does work with the vectors of the kernel.
    pub(crate) fn run(self, work: impl Work) {
        #[cfg(target_arch = "x86_64")]
        return crate::simd::run(self, work);
        #[cfg(not(target_arch = "x86_64"))]
        work.run();
    }
}

impl Packed {
    /// Inputs and weights that are all zero.
    pub fn new(config: &HwConfig, kernel: Kernel) -> Packed {
        let (block_in, block_out) = (config.block_in(), config.block_out());
        let weights = config.wgt_depth() * config.wgt_elem_bytes();
        let inputs = config.inp_depth() * config.inp_elem_bytes();
        let form = match kernel {
            Kernel::Portable => Form::Columns { weights: vec![0; weights], inputs: vec![0; inputs] },
            Kernel::Avx2 => Form::Pairs { weights: vec![0; weights], inputs: vec![0; inputs] },
            Kernel::Vnni => Form::Quads {
                weights: vec![0; weights],
                corrections: vec![0; config.wgt_depth() * block_out],
                inputs: vec![FLIP; inputs],
            },
        };
        Packed { kernel, block_in, block_out, form }
    }

    /// Packs a range of bytes of INP again.
    pub fn update_inp(&mut self, inp: &[u8], bytes: Range<usize>) {
        self.kernel.run(PackInputs { inp: &inp[bytes.clone()], form: &mut self.form, at: bytes.start });
    }

    /// Packs a range of elements of WGT again.
    pub fn update_wgt(&mut self, wgt: &[u8], elements: Range<usize>) {
        let (block_in, block_out, at) = (self.block_in, self.block_out, elements.start);
        let wgt = &wgt[elements.start * block_in * block_out..elements.end * block_in * block_out];
        match &mut self.form {
            Form::Columns { weights, .. } => {
                self.kernel.run(PackWeights { wgt, weights, block_in, block_out, at, pairs: false });
            }
            Form::Pairs { weights, .. } => {
                self.kernel.run(PackWeights { wgt, weights, block_in, block_out, at, pairs: true });
            }
            #[cfg(target_arch = "x86_64")]
            Form::Quads { weights, corrections, .. } => {
                let weights = &mut weights[at * block_in * block_out..elements.end * block_in * block_out];
                let corrections = &mut corrections[at * block_out..elements.end * block_out];
                crate::simd::pack_quads(wgt, [block_in, block_out], weights, corrections);
            }
            // No other host has the kernel.
            #[cfg(not(target_arch = "x86_64"))]
            Form::Quads { .. } => {}
        }
    }

    /// Elements of INP and of WGT held.
    fn depths(&self, batch: usize) -> [usize; 2] {
        let (inputs, weights) = match &self.form {
            Form::Columns { weights, inputs } | Form::Pairs { weights, inputs } => (inputs.len(), weights.len()),
            Form::Quads { weights, inputs, .. } => (inputs.len(), weights.len()),
        };
        [inputs / (batch * self.block_in), weights / (self.block_in * self.block_out)]
    }
}

impl GemmCall<'_> {
    /// Whether every index lies inside its scratchpad: what the kernels rely on.
    fn in_range(&self) -> bool {
        if self.uops.is_empty() || self.outer.count == 0 || self.inner.count == 0 {
            return false;
        }
        let reach = |first: u32, outer: u32, inner: u32| {
            u64::from(first)
                + (u64::from(self.first) + u64::from(self.outer.count) - 1) * u64::from(outer)
                + (u64::from(self.inner.count) - 1) * u64::from(inner)
        };
        let (mut dst, mut src, mut wgt) = (0, 0, 0);
        for uop in self.uops {
            (dst, src, wgt) = (dst.max(uop.dst), src.max(uop.src), wgt.max(uop.wgt));
        }
        let (outer, inner) = (self.outer, self.inner);
        let [inputs, weights] = self.packed.depths(self.batch);
        reach(dst, outer.dst, inner.dst) < self.depth() as u64
            && reach(src, outer.src, inner.src) < inputs as u64
            && reach(wgt, outer.wgt, inner.wgt) < weights as u64
    }

    /// Elements of ACC.
    fn depth(&self) -> usize {
        self.acc.len() / (self.batch * self.packed.block_out)
    }

    /// Multiplies and accumulates. Nothing happens where an index is out of range, which callers have checked before.
    pub fn run(mut self, kernel: Kernel) {
        if !self.in_range() {
            return;
        }
        let mut uops = self.uops;
        while !uops.is_empty() {
            let (axes, depth) = ([self.outer, self.inner], self.depth());
            let listed = self.sums.list(uops, self.first, axes, self.batch, depth);
            uops = uops.get(listed..).unwrap_or_default();
            self.add(kernel);
        }
    }

    /// Adds what `sums` lists.
    fn add(&mut self, kernel: Kernel) {
        let Packed { block_in, block_out, .. } = *self.packed;
        #[cfg(target_arch = "x86_64")]
        if crate::simd::gemm(self, kernel, block_in, block_out) {
            return;
        }
        let _ = kernel;
        match block_out {
            4 => portable::<4>(self),
            8 => portable::<8>(self),
            16 => portable::<16>(self),
            32 => portable::<32>(self),
            // A configuration has no other blocks.
            _ => {}
        }
    }
}

struct PackInputs<'a> {
    inp: &'a [u8],
    form: &'a mut Form,
    /// First byte.
    at: usize,
}

impl Work for PackInputs<'_> {
    #[inline(always)]
    fn run(self) {
        let range = self.at..self.at + self.inp.len();
        match self.form {
            Form::Columns { inputs, .. } | Form::Pairs { inputs, .. } => {
                let inputs = inputs.get_mut(range).unwrap_or_default();
                inputs.iter_mut().zip(self.inp).for_each(|(to, &from)| *to = i16::from(from as i8));
            }
            Form::Quads { inputs, .. } => {
                let inputs = inputs.get_mut(range).unwrap_or_default();
                inputs.iter_mut().zip(self.inp).for_each(|(to, &from)| *to = from ^ FLIP);
            }
        }
    }
}

struct PackWeights<'a> {
    wgt: &'a [u8],
    weights: &'a mut [i16],
    /// The order of [`Form::Pairs`] instead of that of [`Form::Columns`].
    pairs: bool,
    block_in: usize,
    block_out: usize,
    /// First element.
    at: usize,
}

impl Work for PackWeights<'_> {
    #[inline(always)]
    fn run(self) {
        match (self.block_in, self.block_out) {
            (4, 4) => self.blocks::<4, 4>(),
            (4, 8) => self.blocks::<4, 8>(),
            (4, 16) => self.blocks::<4, 16>(),
            (4, 32) => self.blocks::<4, 32>(),
            (8, 4) => self.blocks::<8, 4>(),
            (8, 8) => self.blocks::<8, 8>(),
            (8, 16) => self.blocks::<8, 16>(),
            (8, 32) => self.blocks::<8, 32>(),
            (16, 4) => self.blocks::<16, 4>(),
            (16, 8) => self.blocks::<16, 8>(),
            (16, 16) => self.blocks::<16, 16>(),
            (16, 32) => self.blocks::<16, 32>(),
            (32, 4) => self.blocks::<32, 4>(),
            (32, 8) => self.blocks::<32, 8>(),
            (32, 16) => self.blocks::<32, 16>(),
            (32, 32) => self.blocks::<32, 32>(),
            // A configuration has no other blocks.
            _ => {}
        }
    }
}

impl PackWeights<'_> {
    #[inline(always)]
    fn blocks<const BI: usize, const BO: usize>(self) {
        let elements = self.wgt.as_chunks::<BI>().0.as_chunks::<BO>().0;
        if self.pairs {
            let packed = self.weights.as_chunks_mut::<2>().0.as_chunks_mut::<BO>().0.chunks_exact_mut(BI / 2);
            for (rows, pairs) in elements.iter().zip(packed.skip(self.at)) {
                for (pair, column) in pairs.iter_mut().enumerate() {
                    for (to, row) in column.iter_mut().zip(rows) {
                        *to = [row[2 * pair], row[2 * pair + 1]].map(|value| i16::from(value as i8));
                    }
                }
            }
        } else {
            let packed = self.weights.as_chunks_mut::<BO>().0.as_chunks_mut::<BI>().0.iter_mut();
            for (rows, columns) in elements.iter().zip(packed.skip(self.at)) {
                for (lane, column) in columns.iter_mut().enumerate() {
                    *column = rows.map(|row| i16::from(row[lane] as i8));
                }
            }
        }
    }
}

/// The kernel of every host.
fn portable<const BO: usize>(call: &mut GemmCall) {
    let Form::Columns { weights, inputs } = &call.packed.form else { return };
    let (bi, acc) = (call.packed.block_in, call.acc.as_chunks_mut::<BO>().0);
    call.sums.tiles(2, |start, targets, terms| {
        // Weights serve two targets where their sums fit in 16 registers of four.
        match (targets, BO) {
            ([first, second], ..=16) => portable_tile(acc, [first, second], start, terms, inputs, weights, bi),
            _ => targets.iter().for_each(|one| portable_tile(acc, [one], start, terms, inputs, weights, bi)),
        }
    });
}

#[inline(always)]
fn portable_tile<const BO: usize, const TARGETS: usize>(
    acc: &mut [[i32; BO]],
    targets: [&Target; TARGETS],
    start: Start,
    terms: &[Term],
    inputs: &[i16],
    weights: &[i16],
    bi: usize,
) {
    let mut sums = [[0i32; BO]; TARGETS];
    for term in terms {
        let columns = (start.wgt + term.wgt) as usize * bi;
        let Some(columns) = weights.as_chunks::<BO>().0.get(columns..columns + bi) else { return };
        let rows = targets.map(|target| {
            let row = (start.inp + target.inp + term.inp) as usize * bi;
            inputs.get(row..row + bi).unwrap_or_default()
        });
        for (lane, column) in columns.iter().enumerate() {
            for (sums, row) in sums.iter_mut().zip(rows) {
                let Some(&input) = row.get(lane) else { return };
                // Unseen, an input stays a factor of all output lanes. Otherwise compilers sum over inputs, and gather weights.
                let input = i32::from(black_box(input));
                for (sum, weight) in sums.iter_mut().zip(column) {
                    *sum = sum.wrapping_add(input * i32::from(*weight));
                }
            }
        }
    }
    for (target, sums) in targets.into_iter().zip(sums) {
        if let Some(acc) = acc.get_mut((start.acc + target.acc) as usize) {
            acc.iter_mut().zip(sums).for_each(|(acc, sum)| *acc = acc.wrapping_add(sum));
        }
    }
}
