//! What instructions a kernel may use.

use std::fmt;

/// A set of instructions that kernels are compiled for, found at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI. Kernels of bf16 use its BF16 instructions where the processor has them too.
    Avx512,
    /// AArch64 with Advanced SIMD: the portable loops, which the compiler vectorises.
    Neon,
}

impl Level {
    /// All of them, simplest first.
    pub const ALL: [Level; 4] = [Level::Portable, Level::Avx2, Level::Avx512, Level::Neon];

    /// The best level of this processor.
    pub fn best() -> Level {
        Level::ALL.into_iter().rev().find(|level| level.available()).unwrap_or(Level::Portable)
    }

    /// Whether this processor has it.
    pub fn available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Level::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }

    /// This level, or the portable one where the processor lacks it: what a routine uses that is handed a level by anyone.
    pub(crate) fn or_portable(self) -> Level {
        if self.available() { self } else { Level::Portable }
    }

    /// Name of the backend, as in tables.
    pub fn backend(self) -> &'static str {
        if self == Level::Portable { "cpu-scalar" } else { "cpu-simd" }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Neon => "neon",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_level_is_one_that_the_processor_has() {
        assert!(Level::best().available());
        // No processor is of two architectures.
        assert!(!(Level::Neon.available() && Level::Avx2.available()));
    }
}
