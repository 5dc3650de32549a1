//! Depthwise convolutions of 8-bit codes: one input channel for each group.

#[cfg(target_arch = "x86_64")]
mod quad;

use super::Level;
use super::conv::Geometry;
use super::int8::{Codes, LANES};
use super::vectorised::{Vectorised, vectorised_at};
use crate::infer::Window;
use crate::quantized::stage::Stage;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// A depthwise convolution with its weights in the order in which the loops read them, and its output stage.
pub(crate) enum Depthwise {
    Lines(Lines),
    /// The faster form, where there is one.
    #[cfg(target_arch = "x86_64")]
    Quads(quad::Quads),
}

/// The form for all processors and numbers.
pub(crate) struct Lines {
    level: Level,
    /// With as many outputs as inputs, each of which is repeated where it has several outputs.
    geometry: Geometry,
    columns: Vec<Column>,
    /// Centred weights: taps outermost, then whole blocks of outputs.
    by_tap: Vec<i16>,
    width: usize,
    zero: u8,
    stage: Stage,
}

impl Depthwise {
    pub(super) fn new(
        level: Level,
        geometry: Geometry,
        codes: Codes<'_>,
        zero_points: &[i32],
        input_zero: u8,
        stage: Stage,
    ) -> Depthwise {
        let taps: usize = geometry.windows.iter().map(|w| w.kernel).product();
        let width = geometry.outputs.next_multiple_of(LANES);
        let mut by_tap = vec![0i16; taps * width];
        for output in 0..geometry.outputs {
            let zero = zero_points.get(output).or(zero_points.first()).copied().unwrap_or(0);
            let zero = zero as i16 + i16::from(codes.flip());
            for tap in 0..taps {
                by_tap[tap * width + output] = i16::from(codes.rank(output * taps + tap)) - zero;
            }
        }
        #[cfg(target_arch = "x86_64")]
        if level == Level::Avx512
            && level.available()
            && let Some(quads) = quad::Quads::new(&geometry, &by_tap, width, input_zero, &stage)
        {
            return Depthwise::Quads(quads);
        }
        let geometry = Geometry { channels: geometry.outputs, ..geometry };
        let columns = columns(&geometry);
        Depthwise::Lines(Lines { level, geometry, columns, by_tap, width, zero: input_zero, stage })
    }

    pub(super) fn geometry(&self) -> &Geometry {
        match self {
            Depthwise::Lines(lines) => &lines.geometry,
            #[cfg(target_arch = "x86_64")]
            Depthwise::Quads(quads) => quads.geometry(),
        }
    }

    /// Writes all codes of the result, which has as many.
    pub(super) fn fill(&self, codes: Codes<'_>, out: &mut [MaybeUninit<u8>]) {
        match self {
            Depthwise::Lines(lines) => lines.fill(codes, out),
            #[cfg(target_arch = "x86_64")]
            Depthwise::Quads(quads) => quads.fill(codes, out),
        }
    }
}

impl Lines {
    fn fill(&self, codes: Codes<'_>, out: &mut [MaybeUninit<u8>]) {
        let geometry = &self.geometry;
        let multiplier = geometry.outputs / geometry.groups;
        let centre = |&code: &u8| i16::from(code ^ codes.flip()) - i16::from(self.zero);
        let mut input: Vec<i16> = if multiplier == 1 {
            codes.bytes.iter().map(centre).collect()
        } else {
            codes.bytes.iter().flat_map(|code| std::iter::repeat_n(centre(code), multiplier)).collect()
        };
        // Whole blocks are read at the end too.
        input.resize(input.len() + LANES, 0);
        let line = geometry.windows[2].output * geometry.channels;
        let body = |(line, out): (usize, &mut [MaybeUninit<u8>])| {
            vectorised_at(self.level, Line { lines: self, input: &input, line, out });
        };
        if rayon::current_num_threads() == 1 || input.len() * self.by_tap.len() / self.width < 1 << 17 {
            out.chunks_exact_mut(line).enumerate().for_each(body);
        } else {
            out.par_chunks_exact_mut(line).enumerate().for_each(body);
        }
    }
}

/// The columns of a window inside the input: the first element relative to the row, the first tap, their number.
#[derive(Clone, Copy)]
struct Column {
    from: usize,
    tap: usize,
    taps: usize,
}

fn columns(geometry: &Geometry) -> Vec<Column> {
    let w: Window = geometry.windows[2];
    let column = |at: usize| {
        let taps = w.taps(at);
        let from = if taps.is_empty() { 0 } else { w.input_at(at, taps.start) * geometry.channels };
        Column { from, tap: taps.start, taps: taps.len() }
    };
    (0..w.output).map(column).collect()
}

/// One line of results.
struct Line<'a> {
    lines: &'a Lines,
    input: &'a [i16],
    line: usize,
    out: &'a mut [MaybeUninit<u8>],
}

impl Vectorised<()> for Line<'_> {
    #[inline(always)]
    fn run(self) {
        let Line { lines, input, line, out } = self;
        let Lines { ref geometry, ref columns, ref by_tap, width, ref stage, .. } = *lines;
        let channels = geometry.channels;
        let [d, h, w] = geometry.windows;
        let image = line / (d.output * h.output);
        let (at_d, at_h) = (line / h.output % d.output, line % h.output);
        let step = w.dilation * channels;
        for (column, out) in columns.iter().zip(out.chunks_exact_mut(channels)) {
            for (block, out) in out.chunks_mut(LANES).enumerate() {
                let first = block * LANES;
                let mut acc = [0i32; LANES];
                for td in d.taps(at_d) {
                    let plane = (image * d.input + d.input_at(at_d, td)) * h.input;
                    for th in h.taps(at_h) {
                        let from = (plane + h.input_at(at_h, th)) * w.input * channels;
                        let mut x_at = from + column.from + first;
                        let mut w_at = ((td * h.kernel + th) * w.kernel + column.tap) * width + first;
                        for _ in 0..column.taps {
                            let (x, taps) = (lanes(input, x_at), lanes(by_tap, w_at));
                            for i in 0..LANES {
                                acc[i] = acc[i].wrapping_add(i32::from(x[i]) * i32::from(taps[i]));
                            }
                            x_at += step;
                            w_at += width;
                        }
                    }
                }
                let codes = stage.block(first, &acc);
                match out.as_mut_array::<LANES>() {
                    Some(out) => *out = codes.map(MaybeUninit::new),
                    None => _ = out.write_copy_of_slice(&codes[..out.len()]),
                }
            }
        }
    }
}

#[inline(always)]
fn lanes(list: &[i16], first: usize) -> &[i16; LANES] {
    &list[first..].as_chunks::<LANES>().0[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::Requant;
    use crate::cpu::conv::Convolution;
    use crate::def::Random;

    #[test]
    fn every_level_gives_the_same_codes_whatever_the_channels_and_strides() {
        let mut random = Random::new(3);
        let axis = |input: usize, kernel: usize, stride: usize, dilation: usize, (before, after): (usize, usize)| {
            let output = (input + before + after - (kernel - 1) * dilation - 1) / stride + 1;
            Window { input, kernel, stride, dilation, before, after, output }
        };
        let windows = [
            [axis(7, 3, 1, 1, (1, 1)), axis(9, 3, 1, 1, (1, 1))],
            [axis(8, 3, 2, 1, (0, 1)), axis(9, 3, 2, 1, (1, 1))],
            [axis(7, 5, 1, 1, (2, 2)), axis(6, 2, 3, 1, (0, 0))],
            [axis(9, 3, 1, 2, (2, 2)), axis(9, 3, 2, 2, (3, 2))],
            [axis(6, 1, 2, 1, (0, 0)), axis(6, 1, 4, 1, (0, 0))],
        ];
        let requants = [
            Requant::DoubleRounding { multiplier: 1_518_500_250, shift: -8 },
            Requant::DoubleRounding { multiplier: 1 << 30, shift: 0 },
            Requant::Float { scale: 0.0041 },
        ];
        for ([h, w], channels) in windows.into_iter().flat_map(|w| [2, 8, 24, 32, 64, 100].map(|c| (w, c))) {
            let geometry =
                Geometry { batch: 2, channels, outputs: channels, groups: channels, windows: [Window::UNIT, h, w] };
            let mut bytes = |len: usize| (0..len).map(|_| random.bits() as u8).collect::<Vec<u8>>();
            let (x, weights) = (bytes(2 * h.input * w.input * channels), bytes(channels * h.kernel * w.kernel));
            for requant in requants {
                let stage = || Stage::of(vec![-900; channels], vec![requant; channels], -4, (-120, 101));
                for (signed, zero) in [(true, 0), (false, 119)] {
                    let run = |level| {
                        let codes = |bytes| Codes { bytes, signed };
                        Convolution::new(level, geometry, codes(&weights), &[zero], 131, stage()).run(codes(&x))
                    };
                    assert!(run(Level::best()) == run(Level::Portable), "{geometry:?} {requant:?} {signed}");
                }
            }
        }
    }
}
