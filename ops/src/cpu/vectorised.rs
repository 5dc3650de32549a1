//! Loops compiled for what the processor at hand offers.
//!
//! A body of safe, portable loops is compiled again with AVX2 and with AVX-512 enabled, and the best variant is chosen at run
//! time.
#![allow(unsafe_code)]

/// A body for [`vectorised`]; `run` is marked `#[inline(always)]`.
pub(crate) trait Vectorised<T> {
    fn run(self) -> T;
}

/// Runs a body whose loops vectorise better with the features of this processor. The body is inlined into each variant.
pub(crate) fn vectorised<T>(body: impl Vectorised<T>) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        // The detection keeps its result, so that asking is a few loads.
        if super::Level::Avx512.available() {
            // SAFETY: the processor has the features that the function is compiled for.
            return unsafe { avx512(body) };
        }
        if super::Level::Avx2.available() {
            // SAFETY: as above.
            return unsafe { avx2(body) };
        }
    }
    body.run()
}

/// As [`vectorised`], with the features of that level instead of the best ones.
pub(crate) fn vectorised_at<T>(level: super::Level, body: impl Vectorised<T>) -> T {
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: the processor has the features that the function is compiled for.
        super::Level::Avx512 if super::Level::Avx512.available() => return unsafe { avx512(body) },
        // SAFETY: as above.
        super::Level::Avx2 if super::Level::Avx2.available() => return unsafe { avx2(body) },
        _ => {}
    }
    let _ = level;
    body.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn avx512<T>(body: impl Vectorised<T>) -> T {
    body.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<T>(body: impl Vectorised<T>) -> T {
    body.run()
}
