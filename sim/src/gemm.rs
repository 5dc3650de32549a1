//! GEMM: packed weights, the choice of a kernel, and the portable kernel.
//!
//! Additions wrap, so their order does not matter and a kernel may take the loops in any order. Weights are kept a second time
//! in the order of the kernel, packed when WGT is written.

use std::ops::Range;

use tandem_isa::HwConfig;

use crate::loops::{Axis, Indices};

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

/// Weights in the order of a kernel.
#[derive(Clone, Debug)]
pub(crate) enum Packed {
    /// `[element][block_in / 2][block_out][2]`, widened to 16 bits.
    Pairs { data: Vec<i16>, block_in: usize, block_out: usize },
    /// `[element][block_in / 4][block_out][4]`, and `[element][block_out]` corrections: -128 times the sum of a row, because the
    /// kernel adds 128 to every input to make it unsigned.
    Quads { data: Vec<u8>, correction: Vec<i32>, block_in: usize, block_out: usize },
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
    pub inp: &'a [u8],
    pub packed: &'a Packed,
    pub acc: &'a mut [i32],
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
}

impl Packed {
    /// Weights that are all zero.
    pub fn new(config: &HwConfig, kernel: Kernel) -> Packed {
        let (block_in, block_out) = (config.block_in(), config.block_out());
        let len = config.wgt_depth() * config.wgt_elem_bytes();
        match kernel {
            Kernel::Portable | Kernel::Avx2 => Packed::Pairs { data: vec![0; len], block_in, block_out },
            Kernel::Vnni => {
                let correction = vec![0; config.wgt_depth() * block_out];
                Packed::Quads { data: vec![0; len], correction, block_in, block_out }
            }
        }
    }

    /// Packs a range of WGT elements again.
    pub fn update(&mut self, wgt: &[u8], elements: Range<usize>) {
        match self {
            Packed::Pairs { data, block_in, block_out } => {
                let size = *block_in * *block_out;
                let bytes = elements.start * size..elements.end * size;
                let sources = wgt[bytes.clone()].chunks_exact(size);
                for (source, packed) in sources.zip(data[bytes].chunks_exact_mut(size)) {
                    for (o, row) in source.chunks_exact(*block_in).enumerate() {
                        for (pair, values) in row.as_chunks::<2>().0.iter().enumerate() {
                            let at = (pair * *block_out + o) * 2;
                            packed[at..at + 2].copy_from_slice(&values.map(|value| i16::from(value as i8)));
                        }
                    }
                }
            }
            Packed::Quads { data, correction, block_in, block_out } => {
                let size = *block_in * *block_out;
                let bytes = elements.start * size..elements.end * size;
                let sums =
                    correction[elements.start * *block_out..elements.end * *block_out].chunks_exact_mut(*block_out);
                let sources = wgt[bytes.clone()].chunks_exact(size);
                for ((source, packed), sums) in sources.zip(data[bytes].chunks_exact_mut(size)).zip(sums) {
                    match *block_in {
                        4 => pack_quads::<1>(source, packed, sums),
                        8 => pack_quads::<2>(source, packed, sums),
                        16 => pack_quads::<4>(source, packed, sums),
                        _ => pack_quads::<8>(source, packed, sums),
                    }
                }
            }
        }
    }

    fn blocks(&self) -> (usize, usize) {
        match self {
            Packed::Pairs { block_in, block_out, .. } | Packed::Quads { block_in, block_out, .. } => {
                (*block_in, *block_out)
            }
        }
    }

    /// WGT elements held.
    pub(crate) fn depth(&self) -> usize {
        let (block_in, block_out) = self.blocks();
        match self {
            Packed::Pairs { data, .. } => data.len() / (block_in * block_out),
            Packed::Quads { data, .. } => data.len() / (block_in * block_out),
        }
    }
}

impl GemmCall<'_> {
    /// Whether every index lies inside its scratchpad: what the kernels rely on.
    fn in_range(&self) -> bool {
        let (block_in, block_out) = self.packed.blocks();
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
        reach(dst, outer.dst, inner.dst) < (self.acc.len() / (self.batch * block_out)) as u64
            && reach(src, outer.src, inner.src) < (self.inp.len() / (self.batch * block_in)) as u64
            && reach(wgt, outer.wgt, inner.wgt) < self.packed.depth() as u64
    }

    /// Multiplies and accumulates. Nothing happens where an index is out of range, which callers have checked before.
    pub fn run(mut self, kernel: Kernel) {
        if !self.in_range() {
            return;
        }
        let (block_in, block_out) = self.packed.blocks();
        #[cfg(target_arch = "x86_64")]
        if crate::simd::gemm(&mut self, kernel, block_in, block_out) {
            return;
        }
        let _ = kernel;
        match (block_in, block_out) {
            (4, 4) => portable::<4, 4>(&mut self),
            (4, 8) => portable::<4, 8>(&mut self),
            (4, 16) => portable::<4, 16>(&mut self),
            (4, 32) => portable::<4, 32>(&mut self),
            (8, 4) => portable::<8, 4>(&mut self),
            (8, 8) => portable::<8, 8>(&mut self),
            (8, 16) => portable::<8, 16>(&mut self),
            (8, 32) => portable::<8, 32>(&mut self),
            (16, 4) => portable::<16, 4>(&mut self),
            (16, 8) => portable::<16, 8>(&mut self),
            (16, 16) => portable::<16, 16>(&mut self),
            (16, 32) => portable::<16, 32>(&mut self),
            (32, 4) => portable::<32, 4>(&mut self),
            (32, 8) => portable::<32, 8>(&mut self),
            (32, 16) => portable::<32, 16>(&mut self),
            (32, 32) => portable::<32, 32>(&mut self),
            // A configuration has no other blocks.
            _ => {}
        }
    }
}

/// Packs one element of `4 * QUADS` input lanes: a transposition of groups of four bytes, and the corrections.
fn pack_quads<const QUADS: usize>(source: &[u8], packed: &mut [u8], corrections: &mut [i32]) {
    let rows = source.as_chunks::<4>().0.as_chunks::<QUADS>().0;
    let (block_out, columns) = (corrections.len(), packed.as_chunks_mut::<4>().0);
    for (quad, column) in columns.chunks_exact_mut(block_out).enumerate() {
        for (to, row) in column.iter_mut().zip(rows) {
            *to = row[quad];
        }
    }
    for (correction, row) in corrections.iter_mut().zip(rows) {
        let sum: i32 = row.as_flattened().iter().map(|&value| i32::from(value as i8)).sum();
        *correction = -128 * sum;
    }
}

/// The kernel of every host.
fn portable<const BI: usize, const BO: usize>(call: &mut GemmCall) {
    let Packed::Pairs { data, .. } = call.packed else { return };
    let (inp, batch) = (call.inp, call.batch);
    for y in call.first..call.first + call.outer.count {
        for uop in call.uops {
            let dst = uop.dst + y * call.outer.dst;
            let src = uop.src + y * call.outer.src;
            let wgt = uop.wgt + y * call.outer.wgt;
            for x in 0..call.inner.count {
                let wgt = (wgt + x * call.inner.wgt) as usize * BI * BO;
                let Some(weights) = data.get(wgt..wgt + BI * BO) else { return };
                for b in 0..batch {
                    let dst = ((dst + x * call.inner.dst) as usize * batch + b) * BO;
                    let src = ((src + x * call.inner.src) as usize * batch + b) * BI;
                    let Some(Ok(acc)) = call.acc.get_mut(dst..dst + BO).map(<&mut [i32; BO]>::try_from) else { return };
                    let Some(inp) = inp.get(src..src + BI) else { return };
                    row(acc, inp, weights);
                }
            }
        }
    }
}

/// `acc[o] += inp · weights[o]` for the lanes of one row.
#[inline(always)]
fn row<const BO: usize>(acc: &mut [i32; BO], inp: &[u8], weights: &[i16]) {
    let mut sums = *acc;
    for (inputs, weights) in inp.as_chunks::<2>().0.iter().zip(weights.chunks_exact(2 * BO)) {
        let [first, second] = inputs.map(|input| i16::from(input as i8));
        for (sum, pair) in sums.iter_mut().zip(weights.as_chunks::<2>().0) {
            // Two products of bytes fit in 17 bits: only the accumulation can wrap.
            let dot = i32::from(first) * i32::from(pair[0]) + i32::from(second) * i32::from(pair[1]);
            *sum = sum.wrapping_add(dot);
        }
    }
    *acc = sums;
}
