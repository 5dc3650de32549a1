//! Blocks and threads of a product.

use super::LANES;
use super::pack::{Codes, Form, Packed, Pair, Panel, Quad, Weights};
use super::source::Source;
use super::tile::{Place, Tiles};
use crate::cpu::share::{HEIGHT, share_product};
use crate::cpu::shared::{self, Shared};
use crate::cpu::vectorised::{Vectorised, vectorised};
use crate::quantized::stage::Stage;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Bytes of activations in a block: what stays in the second cache beside a panel of weights.
const BLOCK: usize = 512 << 10;

/// Multiply-accumulates below which a second thread costs more than it saves.
pub(crate) const SMALL: usize = 1 << 22;

/// Chunks of rows that a thread draws, where each is of [`CHUNK`] multiply-accumulates at least: little enough that no thread waits
/// long for the last one, and enough that drawing costs nothing beside it.
const CHUNKS: usize = 8;
const CHUNK: usize = 1 << 18;

/// Writes the codes of all rows times all weights at a place among other results.
pub(crate) fn place_product(
    weights: &Weights,
    source: &impl Source,
    stage: &Stage,
    place: Place,
    out: &mut [MaybeUninit<u8>],
) {
    match weights {
        Weights::Quad(packed) => spread(packed, source, stage, place, out),
        Weights::Pair(packed) => spread(packed, source, stage, place, out),
    }
}

/// The codes of all rows times all weights, `[rows, outputs]`.
#[allow(unsafe_code)]
pub(crate) fn product(weights: &Weights, source: &impl Source, stage: &Stage) -> Vec<u8> {
    let outputs = weights.outputs();
    let place = Place { first: 0, stride: outputs };
    // SAFETY: every row meets every panel, and the panels have all outputs.
    unsafe { shared::written(source.rows() * outputs, |out| place_product(weights, source, stage, place, out)) }
}

/// The same in a place that is there.
#[allow(unsafe_code)]
pub(crate) fn multiply(weights: &Weights, source: &impl Source, stage: &Stage, place: Place, out: &mut [u8]) {
    // SAFETY: a product writes codes alone.
    place_product(weights, source, stage, place, unsafe { shared::places(out) });
}

/// A form with the inner loops that read it.
trait Inner: Form {
    fn panel(tiles: &Tiles<'_, Self>, packed: &Packed<Self>);
    /// Writes the codes of one row that is its own activations, where there is a shorter way for that; whether there is.
    fn row(_row: Codes<'_>, _packed: &Packed<Self>, _stage: &Stage, _out: &mut [MaybeUninit<u8>]) -> bool {
        false
    }
    /// Takes the buffers of this thread, for activations and for the bases of rows.
    fn buffer<T>(body: impl FnOnce(&mut (Vec<Self::X>, Vec<usize>)) -> T) -> T;
}

impl Inner for Quad {
    #[allow(unsafe_code)]
    fn panel(tiles: &Tiles<'_, Quad>, _: &Packed<Quad>) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: weights have this form where the processor has the features alone.
        unsafe {
            super::x86::panel_avx512(tiles);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = tiles;
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    fn row(row: Codes<'_>, packed: &Packed<Quad>, stage: &Stage, out: &mut [MaybeUninit<u8>]) -> bool {
        // SAFETY: as above.
        unsafe { super::row::row_avx512(row, packed, stage, out) }
    }

    fn buffer<T>(body: impl FnOnce(&mut (Vec<u8>, Vec<usize>)) -> T) -> T {
        thread_local!(static BUFFER: RefCell<(Vec<u8>, Vec<usize>)> = const { RefCell::new((Vec::new(), Vec::new())) });
        BUFFER.with_borrow_mut(body)
    }
}

impl Inner for Pair {
    #[allow(unsafe_code)]
    fn panel(tiles: &Tiles<'_, Pair>, packed: &Packed<Pair>) {
        #[cfg(target_arch = "x86_64")]
        if packed.level == crate::cpu::Level::Avx2 {
            // SAFETY: weights are of this level where the processor has the features alone.
            return unsafe { super::x86::panel_avx2(tiles) };
        }
        super::portable::panel(tiles);
    }

    fn buffer<T>(body: impl FnOnce(&mut (Vec<i16>, Vec<usize>)) -> T) -> T {
        thread_local!(static BUFFER: RefCell<(Vec<i16>, Vec<usize>)> = const { RefCell::new((Vec::new(), Vec::new())) });
        BUFFER.with_borrow_mut(body)
    }
}

struct Product<'a, F: Form, S> {
    packed: &'a Packed<F>,
    source: &'a S,
    stage: &'a Stage,
    place: Place,
    out: Shared<'a, MaybeUninit<u8>>,
}

/// A block of rows as the inner loops read it.
struct Block<'a, F: Form> {
    rows: Range<usize>,
    activations: &'a mut Vec<F::X>,
    bases: &'a mut Vec<usize>,
    sums: Vec<i32>,
}

/// Cuts the product for the threads at hand.
fn spread<F: Inner>(
    packed: &Packed<F>,
    source: &impl Source,
    stage: &Stage,
    place: Place,
    out: &mut [MaybeUninit<u8>],
) {
    let (rows, panels) = (source.rows(), packed.panels.len());
    if rows == 0 || panels == 0 {
        return;
    }
    if rows == 1
        && let Some(row) = source.row()
        && F::row(row, packed, stage, &mut out[place.first..][..packed.n])
    {
        return;
    }
    let product = Product { packed, source, stage, place, out: Shared::new(out) };
    let k = packed.layout.segments.len() * packed.layout.length;
    let products = packed.n * k.max(1);
    if rayon::current_num_threads() == 1 || rows * products < SMALL {
        return product.draw(std::iter::once((0..rows, 0..panels)));
    }
    let sizes = [rows * source.row_size(), products];
    share_product([rows, panels], sizes, [CHUNKS, CHUNK / (products * HEIGHT)], |pieces| product.draw(pieces));
}

impl<F: Inner, S: Source> Product<'_, F, S> {
    /// Multiplies rows and panels as they come.
    fn draw(&self, draws: impl Iterator<Item = (Range<usize>, Range<usize>)>) {
        F::buffer(|(activations, bases)| {
            let mut block = Block { rows: 0..0, activations, bases, sums: Vec::new() };
            let most = (BLOCK / (self.source.row_size() * size_of::<F::X>()).max(1)).max(2 * HEIGHT);
            for (rows, panels) in draws {
                let mut begin = rows.start;
                while begin < rows.end {
                    let end = self.source.block(begin, most).min(rows.end);
                    self.fill(&mut block, begin..end);
                    self.run(&block, panels.clone());
                    begin = end;
                }
            }
        });
    }

    /// Brings rows to their form, unless they are there.
    fn fill(&self, block: &mut Block<'_, F>, rows: Range<usize>) {
        if block.rows == rows {
            return;
        }
        let Block { activations, bases, sums, .. } = block;
        bases.clear();
        // The inner loops read whole steps; behind the last activation they meet weights of zero.
        let size = self.source.size::<F>(rows.clone()) + self.packed.reach;
        if activations.len() < size {
            activations.resize(size, F::X::default());
        }
        vectorised(Fill::<F, S> { source: self.source, rows: rows.clone(), activations, bases });
        self.sums(activations, bases, sums);
        block.rows = rows;
    }

    fn run(&self, block: &Block<'_, F>, panels: Range<usize>) {
        for &panel in &self.packed.panels[panels] {
            F::panel(&self.tiles(block, panel), self.packed);
        }
    }

    /// A panel times a block.
    fn tiles<'b>(&'b self, block: &'b Block<'_, F>, panel: Panel) -> Tiles<'b, F> {
        Tiles {
            activations: block.activations,
            bases: block.bases,
            offsets: &self.packed.offsets,
            reach: self.packed.reach,
            lines: self.packed.lines(panel),
            vectors: panel.vectors,
            first: panel.first,
            outputs: (panel.vectors * LANES).min(self.packed.n - panel.first),
            zeros: &self.packed.zeros,
            sums: &block.sums,
            stage: self.stage,
            place: self.place,
            row: block.rows.start,
            out: self.out,
        }
    }

    /// The sum of the activations of each row, where a zero point of the weights needs it.
    fn sums(&self, activations: &[F::X], bases: &[usize], sums: &mut Vec<i32>) {
        sums.clear();
        if self.packed.zeros.is_empty() {
            return;
        }
        let layout = &self.packed.layout;
        vectorised(Sums::<F> { activations, bases, segments: &layout.segments, length: layout.length, sums });
    }
}

struct Fill<'a, F: Form, S> {
    source: &'a S,
    rows: Range<usize>,
    activations: &'a mut [F::X],
    bases: &'a mut Vec<usize>,
}

impl<F: Form, S: Source> Vectorised<()> for Fill<'_, F, S> {
    #[inline(always)]
    fn run(self) {
        self.source.fill::<F>(self.rows, self.activations, self.bases);
    }
}

struct Sums<'a, F: Form> {
    activations: &'a [F::X],
    bases: &'a [usize],
    segments: &'a [usize],
    length: usize,
    sums: &'a mut Vec<i32>,
}

impl<F: Form> Vectorised<()> for Sums<'_, F> {
    #[inline(always)]
    fn run(self) {
        let Sums { activations, bases, segments, length, sums } = self;
        sums.extend(bases.iter().map(|base| {
            let segments = segments.iter().map(|segment| &activations[base + segment..][..length]);
            let sum = |row: &[F::X]| row.iter().fold(0i32, |sum, &x| sum.wrapping_add(F::wide(x)));
            segments.fold(0i32, |all, row| all.wrapping_add(sum(row)))
        }));
    }
}
