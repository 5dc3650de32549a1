//! Private information retrieval: the kernel of `pir_scan.u64`.
//!
//! The database goes through the caches once, in blocks of 64 buckets, which stay there for all requests. A few requests are summed
//! with masks, in tiles of four requests by as many words as registers hold; more are products over GF(2) where the processor has
//! GFNI with AVX-512 ([`field`]). What is executed and where it reads depends on the extents alone; bits of requests are only ever
//! operands of `and` and of such products.
//!
//! On a core of a Xeon of the Sapphire Rapids generation, 2.1 GHz, 64 buckets of 1 KiB in the second-level cache, the sums of a
//! request go through 120 GB/s with masks of AVX-512, 60 with AVX2, 20 with SSE2, and 400 with products for 64 requests. Memory,
//! of some 8 GB/s there, is the limit to about 12 requests with masks and to about 30 with products.

#[cfg(target_arch = "x86_64")]
mod field;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Level;
use super::share::{Draws, share};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::{OpError, operation};
use std::sync::{Mutex, PoisonError};
use tandem_tensor::Tensor;

/// Buckets of a block: those of a word of a request.
const BUCKETS: usize = 64;
/// Requests that a tile of sums is for.
const QUERIES: usize = 4;
/// Words of a stripe: 64 buckets of one fill half of a second-level cache of 512 KiB.
const STRIPE: usize = 512;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let scan = operation("pir_scan.u64").map(|operation| Box::new(Scan { operation, level }) as Box<dyn Kernel>);
    scan.into_iter().collect()
}

struct Scan {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Scan {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [buckets, words, queries] = ["buckets", "words", "queries"].map(|axis| dims[axis]);
        let (db, requests) = (inputs.slice::<u64>("db")?, inputs.slice::<u64>("requests")?);
        let out = Mutex::new(vec![0u64; queries * words]);
        let form = Form::of(self.level, queries);
        let (blocks, stripes) = (buckets.div_ceil(BUCKETS), words.div_ceil(STRIPE));
        let scan = |draws: Draws<'_>| {
            // Sums of this thread. The exclusive or of several threads is the same in any order.
            let mut sums = Vec::new();
            for range in draws {
                sums.resize(form.room(queries, words), 0);
                for piece in range {
                    let (block, stripe) = (piece / stripes, piece % stripes);
                    let (bucket, first) = (block * BUCKETS, stripe * STRIPE);
                    let rows = BUCKETS.min(buckets - bucket);
                    let db = &db[bucket * words..(bucket + rows) * words];
                    let columns = first..words.min(first + STRIPE);
                    let block = Block { db, words, columns, requests, length: blocks, block, sums: &mut sums };
                    block.sum(form);
                }
            }
            if !sums.is_empty() {
                let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
                form.join(&sums, words, &mut out);
            }
        };
        // A chunk is some 256 KiB of the database.
        let chunk = (1 << 15) / (BUCKETS * words.clamp(1, STRIPE));
        share(blocks * stripes, chunk, scan);
        let out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Tensors::new().with("out", Tensor::from_vec([queries, words], out)?))
    }
}

/// Up to 64 buckets, and the stripe of their words that is summed.
struct Block<'a> {
    /// Whole buckets.
    db: &'a [u64],
    words: usize,
    columns: std::ops::Range<usize>,
    /// All requests, each of `length` words.
    requests: &'a [u64],
    length: usize,
    /// The word of a request that these buckets belong to.
    block: usize,
    /// The sums of all requests, as the form keeps them.
    sums: &'a mut [u64],
}

/// A mask for every bucket of a block and request of a tile: all ones, or zero.
type Masks = [[u64; QUERIES]; BUCKETS];

/// How blocks are summed.
#[derive(Clone, Copy)]
enum Form {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Field,
}

impl Form {
    /// One that the processor has the instructions for.
    fn of(level: Level, queries: usize) -> Form {
        #[cfg(target_arch = "x86_64")]
        match level.or_portable() {
            Level::Avx512 if queries > QUERIES && field::available() => return Form::Field,
            Level::Avx512 => return Form::Avx512,
            Level::Avx2 => return Form::Avx2,
            _ => {}
        }
        let _ = (level, queries);
        Form::Portable
    }

    /// Words of the sums of so many requests.
    fn room(self, queries: usize, words: usize) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Form::Field => field::room(queries, words),
            _ => queries * words,
        }
    }

    /// Adds sums, of which there are some, to the results.
    fn join(self, sums: &[u64], words: usize, out: &mut [u64]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Form::Field => field::join(sums, words, out),
            _ => out.iter_mut().zip(sums).for_each(|(out, sum)| *out ^= sum),
        }
    }
}

impl Block<'_> {
    /// Adds the sums of the stripe.
    #[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
    fn sum(self, form: Form) {
        match form {
            // SAFETY: the processor has the features that the function is compiled for, or there were no such form.
            #[cfg(target_arch = "x86_64")]
            Form::Field => unsafe { field::sum(self) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Form::Avx512 => unsafe { x86::avx512(self) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Form::Avx2 => unsafe { x86::avx2(self) },
            Form::Portable => self.portable(),
        }
    }

    fn portable(self) {
        let Block { db, words, columns, requests, length, block, sums } = self;
        for (requests, sums) in requests.chunks(QUERIES * length).zip(sums.chunks_mut(QUERIES * words)) {
            let masks = masks(requests, length, block);
            let at = tiles::<4>(db, words, columns.start, columns.end, &masks, sums);
            tiles::<1>(db, words, at, columns.end, &masks, sums);
        }
    }
}

/// The masks of up to four requests; those of absent ones are zero.
#[inline(always)]
fn masks(requests: &[u64], length: usize, block: usize) -> Masks {
    let mut bits = [0u64; QUERIES];
    bits.iter_mut().zip(requests.chunks_exact(length)).for_each(|(bits, request)| *bits = request[block]);
    let mut masks = [[0; QUERIES]; BUCKETS];
    for (bucket, masks) in masks.iter_mut().enumerate() {
        masks.iter_mut().zip(bits).for_each(|(mask, bits)| *mask = (bits >> bucket & 1).wrapping_neg());
    }
    masks
}

/// Adds the sums of whole tiles of `L` words from `at` on, and gives where they end.
#[inline(always)]
fn tiles<const L: usize>(
    db: &[u64],
    words: usize,
    mut at: usize,
    end: usize,
    masks: &Masks,
    sums: &mut [u64],
) -> usize {
    while end - at >= L {
        let mut tile = [[0u64; L]; QUERIES];
        for (bucket, masks) in db.chunks_exact(words).zip(masks) {
            let bucket: &[u64; L] = bucket[at..at + L].try_into().expect("a slice of L words");
            for (tile, mask) in tile.iter_mut().zip(masks) {
                for (sum, word) in tile.iter_mut().zip(bucket) {
                    *sum ^= word & mask;
                }
            }
        }
        for (sums, tile) in sums.chunks_exact_mut(words).zip(&tile) {
            sums[at..at + L].iter_mut().zip(tile).for_each(|(sum, tile)| *sum ^= tile);
        }
        at += L;
    }
    at
}
