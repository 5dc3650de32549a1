//! Invariant bit packing: rows unpacked by the processor, and the kernels of `ibp_unpack.*`.
//!
//! A word takes a dozen instructions: its width from its mask, the bits of that width from a window of two words, and the deposit of
//! these bits, which is one instruction where the processor has BMI2 and a network of five or six stages elsewhere. Only the
//! place in the stream is carried from word to word, so that words overlap.
#![allow(unsafe_code)]

use super::Level;
use super::rows::task;
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::ibp::{FreeBits, Masks, Stream, Word, participation_words};
use crate::operation::Rows;
use crate::{OpError, operation};
use rayon::prelude::*;
use std::marker::PhantomData;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let narrow = operation("ibp_unpack.u32").map(|operation| boxed::<u32>(operation, level));
    let wide = operation("ibp_unpack.u64").map(|operation| boxed::<u64>(operation, level));
    narrow.into_iter().chain(wide).collect()
}

fn boxed<T: Word>(operation: &'static dyn Operation, level: Level) -> Box<dyn Kernel> {
    Box::new(Unpack::<T> { operation, level, word: PhantomData })
}

/// Masks made ready for unpacking rows.
pub struct Unpacker<'a, T> {
    masks: &'a [T],
    bitval: &'a [T],
    columns: usize,
    /// The network of every mask; empty where an instruction does without.
    free: Vec<FreeBits<T>>,
}

impl<'a, T: Word> Unpacker<'a, T> {
    /// For these masks, with the instructions of a level.
    pub fn new(level: Level, masks: &'a Masks<T>) -> Unpacker<'a, T> {
        Unpacker::of(level, &masks.mask, &masks.bitval, masks.columns)
    }

    fn of(level: Level, masks: &'a [T], bitval: &'a [T], columns: usize) -> Unpacker<'a, T> {
        let free =
            if deposits(level) { Vec::new() } else { masks.iter().map(|&mask| FreeBits::outside(mask)).collect() };
        Unpacker { masks, bitval, columns, free }
    }

    /// Words of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The masks of a cluster.
    ///
    /// # Panics
    /// For a cluster that has none.
    pub fn masks(&self, cluster: usize) -> &'a [T] {
        &self.masks[cluster * self.columns..][..self.columns]
    }

    /// Unpacks a row that is packed with the masks of a cluster.
    ///
    /// # Panics
    /// For another number of words than there are columns, a cluster without masks, or a row without participation.
    pub fn row(&self, cluster: usize, packed: &[T], out: &mut [T]) {
        assert_eq!(out.len(), self.columns, "a row has as many words as columns");
        let (head, words) = packed.split_at(participation_words::<T>(self.columns));
        let range = cluster * self.columns..(cluster + 1) * self.columns;
        let bitval = &self.bitval[range.clone()];
        #[cfg(target_arch = "x86_64")]
        if self.free.is_empty() && self.columns > 0 {
            // SAFETY: the network is left out only where the processor has the instructions.
            return unsafe { x86::row(head, words, (self.masks(cluster), bitval), out) };
        }
        let mut stream = Stream::new(words);
        let columns = out.iter_mut().zip(&self.free[range]).zip(bitval);
        for (column, ((out, free), &bitval)) in columns.enumerate() {
            let participates = head[column / T::BITS as usize].wide() >> (column % T::BITS as usize) & 1 == 1;
            *out = if participates { free.deposit(stream.take(free.count())) | bitval } else { stream.take(T::BITS) };
        }
    }
}

/// Whether a level deposits bits with an instruction on this processor.
fn deposits(level: Level) -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(level, Level::Avx2 | Level::Avx512)
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt");
    #[cfg(not(target_arch = "x86_64"))]
    return {
        let _ = level;
        false
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::ibp::{Stream, Word};
    use std::arch::x86_64::_pdep_u64;

    #[target_feature(enable = "bmi2,popcnt")]
    pub(super) fn row<T: Word>(head: &[T], words: &[T], (mask, bitval): (&[T], &[T]), out: &mut [T]) {
        let mut stream = Stream::new(words);
        let chunk = T::BITS as usize;
        let columns = out.chunks_mut(chunk).zip(mask.chunks(chunk)).zip(bitval.chunks(chunk));
        for (head, ((out, mask), bitval)) in head.iter().zip(columns) {
            let mut participation = head.wide();
            for ((out, &mask), &bitval) in out.iter_mut().zip(mask).zip(bitval) {
                // All ones or all zeros, so that nothing branches on it.
                let all = T::low((participation & 1).wrapping_neg());
                participation >>= 1;
                let free = !(mask & all);
                let bits = stream.take(free.ones());
                *out = T::low(_pdep_u64(bits.wide(), free.wide())) | (bitval & all);
            }
        }
    }
}

struct Unpack<T> {
    operation: &'static dyn Operation,
    level: Level,
    word: PhantomData<fn() -> T>,
}

impl<T: Word> Kernel for Unpack<T> {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (fetch, columns) = (dims["fetch"], dims["columns"]);
        let rows = Rows::<T>::of(dims, inputs)?;
        let unpacker = Unpacker::of(self.level, rows.mask, rows.bitval, columns);
        let mut out = vec![T::default(); fetch * columns];
        let task = task(columns);
        let tasks = out.par_chunks_mut(task).zip(rows.index.par_chunks(task / columns.max(1)));
        tasks.for_each(|(out, index)| {
            for (out, &row) in out.chunks_exact_mut(columns).zip(index) {
                match rows.row(row as usize) {
                    (packed, true) => unpacker.row(rows.cluster[row as usize] as usize, packed, out),
                    (plain, false) => out.copy_from_slice(plain),
                }
            }
        });
        Ok(Tensors::new().with("out", Tensor::from_vec([fetch, columns], out)?))
    }
}
