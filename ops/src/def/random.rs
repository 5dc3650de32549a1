//! Numbers at random for samples; a seed gives the same numbers everywhere.

use tandem_tensor::{DType, Shape, Tensor};

/// A deterministic source of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source that a seed determines.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number in `begin..end`; `begin` where that is empty.
    pub fn within(&mut self, begin: usize, end: usize) -> usize {
        begin + (self.bits() % end.saturating_sub(begin).max(1) as u64) as usize
    }

    /// Puts elements in an order of which all are equally likely.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.within(0, at + 1));
        }
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of the normal distribution with mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f64 {
        // 1 - unit is never zero.
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A tensor of numbers of the normal distribution with this standard deviation, rounded to the dtype.
    pub fn normal_tensor(&mut self, dtype: DType, shape: impl Into<Shape>, deviation: f64) -> Tensor {
        let shape = shape.into();
        let values: Vec<f64> = (0..shape.elements()).map(|_| self.normal() * deviation).collect();
        Tensor::from_f64(dtype, shape, &values).expect("as many values as elements")
    }

    /// A tensor of 8-bit codes, all of them equally likely.
    pub fn codes(&mut self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let codes: Vec<i8> = (0..shape.elements()).map(|_| self.bits() as i8).collect();
        Tensor::from_vec(shape, codes).expect("as many codes as elements")
    }
}
