//! Arithmetic of a warp: functions from the lanes of up to three registers to those of one.

pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod float;
pub(crate) mod half;
pub(crate) mod int;

/// Lanes of a warp.
pub(crate) const WARP: usize = 32;

/// One register of all lanes. A value narrower than 64 bits is extended with zeros.
pub(crate) type Lanes = [u64; WARP];

/// Computes all lanes, those switched off too: such a function has no effect but its result, and faults on nothing.
pub(crate) type LaneFn = fn(&Lanes, &Lanes, &Lanes, &mut Lanes);

/// Compares all lanes; bit `i` is lane `i`.
pub(crate) type CompareFn = fn(&Lanes, &Lanes) -> u32;

/// Makes a [`LaneFn`] of an expression over one to three lanes.
macro_rules! lanes {
    (|$a:ident| $e:expr) => {{
        fn every(x: &$crate::alu::Lanes, _: &$crate::alu::Lanes, _: &$crate::alu::Lanes, out: &mut $crate::alu::Lanes) {
            for (o, a) in out.iter_mut().zip(x) {
                let $a = *a;
                *o = $e;
            }
        }
        every as $crate::alu::LaneFn
    }};
    (|$a:ident, $b:ident| $e:expr) => {{
        fn every(x: &$crate::alu::Lanes, y: &$crate::alu::Lanes, _: &$crate::alu::Lanes, out: &mut $crate::alu::Lanes) {
            for i in 0..$crate::alu::WARP {
                let ($a, $b) = (x[i], y[i]);
                out[i] = $e;
            }
        }
        every as $crate::alu::LaneFn
    }};
    (|$a:ident, $b:ident, $c:ident| $e:expr) => {{
        fn every(x: &$crate::alu::Lanes, y: &$crate::alu::Lanes, z: &$crate::alu::Lanes, out: &mut $crate::alu::Lanes) {
            for i in 0..$crate::alu::WARP {
                let ($a, $b, $c) = (x[i], y[i], z[i]);
                out[i] = $e;
            }
        }
        every as $crate::alu::LaneFn
    }};
}
pub(crate) use lanes;
