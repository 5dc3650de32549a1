//! Products of floating-point matrices: `out = a bᵀ + bias`, sums in f32, then an activation.
//!
//! Weights are packed in panels of up to four vectors of sixteen outputs, so that the inner loop loads a step of weights once for
//! all rows of a tile; rows of `a` are read where they lie.

mod act;
mod pack;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use act::Epilogue;
pub(crate) use pack::{Bf16, F32, Form, Packed, Rows};

use super::Level;
use super::share::{HEIGHT, share_product};
use super::shared::Shared;
use pack::{LANES, Panel};
use std::ops::Range;

/// Multiply-accumulates below which a second thread costs more than it saves.
const SMALL: usize = 1 << 18;

/// Bytes of rows in a block: what stays in the second cache beside a panel of weights.
const BLOCK: usize = 512 << 10;

/// Chunks of rows that a thread draws.
const CHUNKS: usize = 4;

/// Steps of a pass: weights of so many steps stay near the first cache while all rows of a block pass.
const PASS: usize = 256;

/// A panel times a block of rows.
pub(crate) struct Tiles<'a, F: Form> {
    rows: &'a [F::X],
    /// Elements from one row to the next.
    pitch: usize,
    /// First row, and how many.
    begin: usize,
    count: usize,
    /// Of the panel's steps, the ones of `steps`.
    lines: &'a [F::Line],
    /// Steps of this pass, and whether they are the last ones.
    steps: Range<usize>,
    last: bool,
    panel: Panel,
    n: usize,
    epilogue: &'a Epilogue,
    out: Shared<'a, f32>,
}

impl<F: Form> Tiles<'_, F> {
    /// Panics unless every read of the inner loops is inside the rows and the lines.
    fn check(&self) {
        assert!(self.pitch >= self.steps.end * F::GROUP, "a row of too few steps");
        let end = (self.begin + self.count).saturating_sub(1) * self.pitch + self.steps.end * F::GROUP;
        assert!(self.count == 0 || end <= self.rows.len(), "a row reaches beyond its matrix");
        assert!(self.steps.len() * self.panel.vectors <= self.lines.len(), "a panel of too few lines");
    }

    /// Writes the results of the sums of a vector in a row, or the sums where steps are left. Those of the passes before are added:
    /// errors of a long sum grow with the length of a pass and the number of passes, not with their product.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn finish(&self, row: usize, vector: usize, mut sums: [f32; LANES]) {
        if self.steps.start > 0 {
            sums.iter_mut().zip(self.partial(row, vector)).for_each(|(sum, before)| *sum += before);
        }
        let results = if self.last { self.epilogue.apply(self.panel.first + vector * LANES, sums) } else { sums };
        // SAFETY: the place is used here alone.
        let out = unsafe { self.outputs(row, vector) };
        match out.as_mut_array::<LANES>() {
            Some(out) => *out = results,
            None => out.copy_from_slice(&results[..out.len()]),
        }
    }

    /// The sums of the passes before this one.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn partial(&self, row: usize, vector: usize) -> [f32; LANES] {
        let mut sums = [0.0; LANES];
        // SAFETY: the place is used here alone.
        let out = unsafe { self.outputs(row, vector) };
        match out.as_array::<LANES>() {
            Some(out) => sums = *out,
            None => sums[..out.len()].copy_from_slice(out),
        }
        sums
    }

    /// The place of the results of a vector in a row.
    ///
    /// # Safety
    /// No other place with one of these results may be in use.
    #[inline(always)]
    #[allow(unsafe_code)]
    #[expect(clippy::mut_from_ref, reason = "places are apart by contract")]
    unsafe fn outputs(&self, row: usize, vector: usize) -> &mut [f32] {
        let first = self.panel.first + vector * LANES;
        // SAFETY: the rows and outputs of a panel times a block belong to one task alone; the rest is the caller's.
        unsafe { self.out.part(row * self.n + first, LANES.min(self.n - first)) }
    }
}

/// A form with the inner loops that read it.
pub(crate) trait Inner: Form {
    /// All tiles of a panel times a block.
    fn panel(level: Level, tiles: &Tiles<'_, Self>);
}

impl Inner for F32 {
    #[allow(unsafe_code)]
    fn panel(level: Level, tiles: &Tiles<'_, F32>) {
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: weights are packed for a level that the processor has.
            Level::Avx512 => unsafe { x86::f32_avx512(tiles) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { x86::f32_avx2(tiles) },
            _ => portable::panel(tiles),
        }
    }
}

impl Inner for Bf16 {
    #[allow(unsafe_code)]
    fn panel(_: Level, tiles: &Tiles<'_, Bf16>) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: weights have this form where the processor has the features alone.
        unsafe {
            x86::bf16_avx512(tiles);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = tiles;
    }
}

/// `out[m, n]` of rows `[m, k]` and packed weights.
pub(crate) fn multiply<F: Inner>(packed: &Packed<F>, rows: &Rows<'_, F>, epilogue: &Epilogue, out: &mut [f32]) {
    let (m, n, panels) = (rows.count, packed.n, packed.panels.len());
    let shared = Shared::new(out);
    let run = |range: Range<usize>, panels: Range<usize>| {
        let most = (BLOCK / (rows.pitch * size_of::<F::X>()).max(1)).max(HEIGHT);
        for begin in range.clone().step_by(most) {
            for &panel in &packed.panels[panels.clone()] {
                let mut first = 0;
                loop {
                    let end = packed.steps.min(first + PASS);
                    let last = end == packed.steps;
                    let tiles = Tiles {
                        rows: rows.elements,
                        pitch: rows.pitch,
                        begin,
                        count: most.min(range.end - begin),
                        lines: &packed.lines(panel)[first * panel.vectors..end * panel.vectors],
                        steps: first..end,
                        last,
                        panel,
                        n,
                        epilogue,
                        out: shared,
                    };
                    tiles.check();
                    F::panel(packed.level, &tiles);
                    if last {
                        break;
                    }
                    first = end;
                }
            }
        }
    };
    if rayon::current_num_threads() == 1 || m * n * (packed.steps * F::GROUP).max(1) < SMALL {
        return run(0..m, 0..panels);
    }
    share_product([m, panels], [m, n], [CHUNKS, 1], |pieces| pieces.for_each(|(rows, panels)| run(rows, panels)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;
    use half::bf16;
    use half::slice::HalfFloatSliceExt;

    #[test]
    fn errors_of_long_sums_stay_small_at_every_level() {
        let [m, n, k] = [3, 21, 16_384];
        let mut random = Random::new(9);
        let mut values = |len: usize| -> Vec<f32> { (0..len).map(|_| random.normal() as f32).collect() };
        let (a, b) = (values(m * k), values(n * k));
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            let mut out = vec![0f32; m * n];
            crate::cpu::gemm::f32(level, [m, n, k], &a, &b, &vec![0.0; n], 0, &mut out);
            let (mut errors, mut squares) = (0.0, 0.0);
            for (at, &found) in out.iter().enumerate() {
                let pairs = a[at / n * k..][..k].iter().zip(&b[at % n * k..][..k]);
                let exact: f64 = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                errors += (f64::from(found) - exact).powi(2);
                squares += exact * exact;
            }
            let rms = f64::sqrt(errors / squares);
            assert!(rms < 7e-7, "{level}: {rms}");
        }
    }

    /// Kernels take pairs of bf16 where that is fastest alone; here they are multiplied wherever it can be done.
    #[test]
    fn pairs_of_bf16_give_the_sums_of_their_products() {
        #[cfg(target_arch = "x86_64")]
        let there = Level::Avx512.available() && is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let there = false;
        if !there {
            println!("skipped: no instructions for bf16");
            return;
        }
        let mut random = Random::new(3);
        for [m, n, k] in [[1, 1, 1], [7, 70, 33], [13, 20, 600], [30, 130, 513]] {
            let mut values = |len: usize| -> Vec<bf16> { (0..len).map(|_| bf16::from_f64(random.normal())).collect() };
            let (a, b, bias) = (values(m * k), values(n * k), vec![0.5; n]);
            let (mut room, mut out) = (Vec::new(), vec![0f32; m * n]);
            let packed = Packed::<Bf16>::new(Level::Avx512, b.reinterpret_cast(), n, k, Vec::new());
            let rows = Rows::new(a.reinterpret_cast(), m, k, &mut room);
            multiply(&packed, &rows, &Epilogue::new(&bias, 1), &mut out);
            for (at, &found) in out.iter().enumerate() {
                let pairs = a[at / n * k..][..k].iter().zip(&b[at % n * k..][..k]);
                let exact = pairs.fold(0.5, |sum, (x, w)| sum + x.to_f64() * w.to_f64()).max(0.0);
                assert!((f64::from(found) - exact).abs() < 1e-3, "{m} {n} {k} at {at}: {found} {exact}");
            }
        }
    }
}
