//! What this machine can do at most, measured: the denominator of every "fraction of the peak".
//!
//! Arithmetic runs in registers only, on sums that do not wait for each other; memory is read in order, each thread its own part.
#![allow(unsafe_code)]

use super::Level;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peak {
    /// Products of 8-bit integers summed in 32 bits; multiply and add count as two operations.
    Int8,
    /// Products of bf16 summed in f32. `None` without instructions for them.
    Bf16,
    /// Fused multiply-adds of f32.
    F32,
    /// Bytes read from a buffer beyond every cache's share of a thread (64 MiB a thread).
    Memory,
}

impl Peak {
    /// All of them.
    pub const ALL: [Peak; 4] = [Peak::Int8, Peak::Bf16, Peak::F32, Peak::Memory];

    /// Operations or bytes in a second on `threads` threads at once: the best of runs that fill `time`, three at least. `None`
    /// where the level has no such instructions or the processor lacks the level.
    ///
    /// # Units
    /// Operations or bytes a second, all threads together.
    pub fn measure(self, level: Level, threads: usize, time: Duration) -> Option<f64> {
        let threads = threads.max(1);
        let work = self.work(level)?;
        let mut rounds = 1usize;
        let begin = Instant::now();
        let (mut best, mut runs) = (0f64, 0);
        let mut parts: Vec<Part> = (0..threads).map(|_| Part::new(self)).collect();
        while runs < 3 || begin.elapsed() < time {
            let seconds = together(&mut parts, rounds, work);
            if seconds < 1e-3 && rounds < 1 << 30 {
                // Too short beside the start of the threads.
                rounds *= 4;
                continue;
            }
            let done = rounds as f64 * threads as f64 * self.unit(level);
            best = best.max(done / seconds);
            runs += 1;
        }
        Some(best)
    }

    fn work(self, level: Level) -> Option<fn(&mut Part, usize)> {
        if !level.available() {
            return None;
        }
        match (self, level) {
            (Peak::Memory, _) => Some(read),
            #[cfg(target_arch = "x86_64")]
            (_, Level::Avx512 | Level::Avx2) => x86::work(self, level),
            (Peak::F32, _) => Some(portable_f32),
            (Peak::Int8, _) => Some(portable_int8),
            (Peak::Bf16, _) => None,
        }
    }

    /// Operations or bytes of a round.
    fn unit(self, level: Level) -> f64 {
        let lanes = match level {
            Level::Avx512 => 16,
            Level::Avx2 => 8,
            _ => return if self == Peak::Memory { BUFFER as f64 } else { (2 * PORTABLE) as f64 },
        };
        let products = match (self, level) {
            (Peak::Memory, _) => return BUFFER as f64,
            (Peak::F32, _) => 1,
            (Peak::Int8, Level::Avx512) => 4,
            (Peak::Bf16 | Peak::Int8, _) => 2,
        };
        (2 * SUMS * lanes * products) as f64
    }
}

/// Independent sums of a loop: as many as hide the latency of two units.
const SUMS: usize = 12;
/// Independent sums of the portable loops.
const PORTABLE: usize = 64;
/// Bytes that a thread reads.
const BUFFER: usize = 64 << 20;

/// What a thread has of its own.
struct Part {
    buffer: Vec<u64>,
}

impl Part {
    fn new(peak: Peak) -> Part {
        let words = if peak == Peak::Memory { BUFFER / 8 } else { 0 };
        Part { buffer: (0..words as u64).collect() }
    }
}

/// Seconds from the common start to the end of the last thread.
fn together(parts: &mut [Part], rounds: usize, work: fn(&mut Part, usize)) -> f64 {
    let barrier = Barrier::new(parts.len());
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .iter_mut()
            .map(|part| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let begin = Instant::now();
                    work(part, rounds);
                    (begin, Instant::now())
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let (begin, end) = (spans.iter().map(|span| span.0).min(), spans.iter().map(|span| span.1).max());
    begin.zip(end).map_or(f64::INFINITY, |(begin, end)| (end - begin).as_secs_f64())
}

fn read(part: &mut Part, rounds: usize) {
    for _ in 0..rounds {
        let sum = super::vectorised::vectorised(Sum(&part.buffer));
        black_box(sum);
    }
}

struct Sum<'a>(&'a [u64]);

impl super::vectorised::Vectorised<u64> for Sum<'_> {
    #[inline(always)]
    fn run(self) -> u64 {
        let (chunks, _) = self.0.as_chunks::<64>();
        let mut sums = [0u64; 64];
        for chunk in chunks {
            for (sum, word) in sums.iter_mut().zip(chunk) {
                *sum ^= word;
            }
        }
        sums.iter().fold(0, |all, sum| all ^ sum)
    }
}

fn portable_f32(_: &mut Part, rounds: usize) {
    let (a, b) = (black_box(0.999f32), black_box(1e-3f32));
    let mut sums = [0f32; PORTABLE];
    for _ in 0..rounds {
        sums.iter_mut().for_each(|sum| *sum = *sum * a + b);
    }
    black_box(sums);
}

fn portable_int8(_: &mut Part, rounds: usize) {
    let (a, b) = (black_box(3i16), black_box(-5i16));
    let mut sums = [0i32; PORTABLE];
    for _ in 0..rounds {
        let product = i32::from(black_box(a)) * i32::from(b);
        sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(product));
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Level, Part, Peak, SUMS, black_box};
    use std::arch::x86_64::*;

    pub(super) fn work(peak: Peak, level: Level) -> Option<fn(&mut Part, usize)> {
        Some(match (peak, level) {
            // SAFETY: the caller has seen that the processor has the level.
            (Peak::Int8, Level::Avx2) => |_, rounds| unsafe { int8_avx2(rounds) },
            // SAFETY: as above.
            (Peak::F32, Level::Avx2) => |_, rounds| unsafe { f32_avx2(rounds) },
            // SAFETY: as above.
            (Peak::Int8, _) => |_, rounds| unsafe { int8_avx512(rounds) },
            // SAFETY: as above.
            (Peak::F32, _) => |_, rounds| unsafe { f32_avx512(rounds) },
            (Peak::Bf16, Level::Avx512) if is_x86_feature_detected!("avx512bf16") => {
                // SAFETY: as above, and it has these instructions too.
                |_, rounds| unsafe { bf16_avx512(rounds) }
            }
            _ => return None,
        })
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn int8_avx512(rounds: usize) {
        let (a, b) = (black_box(_mm512_set1_epi8(3)), black_box(_mm512_set1_epi8(-5)));
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn bf16_avx512(rounds: usize) {
        let one = black_box(_mm512_set1_ps(1e-3));
        let (a, b) = (_mm512_cvtne2ps_pbh(one, one), _mm512_cvtne2ps_pbh(one, one));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f")]
    fn f32_avx512(rounds: usize) {
        let (a, b) = (black_box(_mm512_set1_ps(0.999)), black_box(_mm512_set1_ps(1e-3)));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2")]
    fn int8_avx2(rounds: usize) {
        let (mut a, b) = (_mm256_set1_epi16(3), black_box(_mm256_set1_epi16(-5)));
        let mut sums = [_mm256_setzero_si256(); SUMS];
        for _ in 0..rounds {
            // Else the product would be taken out of the loop.
            a = black_box(a);
            for sum in &mut sums {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(a, _mm256_xor_si256(b, *sum)));
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    fn f32_avx2(rounds: usize) {
        let (a, b) = (black_box(_mm256_set1_ps(0.999)), black_box(_mm256_set1_ps(1e-3)));
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_this_processor_has_an_int8_and_an_f32_peak() {
        for level in Level::ALL {
            for peak in [Peak::Int8, Peak::F32] {
                let found = peak.measure(level, 2, Duration::ZERO);
                assert_eq!(found.is_some(), level.available(), "{level} {peak:?}");
                assert!(found.is_none_or(|rate| rate.is_finite() && rate > 0.0));
            }
        }
    }
}
