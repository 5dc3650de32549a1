//! Elements as numbers: wide enough to hold any dtype, narrowed once.

use crate::Act;
use half::{bf16, f16};
use tandem_tensor::{DType, Data, Shape, Tensor, TensorError};

/// Elements of a tensor, widened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    /// Integers and booleans.
    Int(Vec<i128>),
    /// Floats.
    Real(Vec<f64>),
}

impl Numbers {
    /// The elements of `tensor`.
    pub(super) fn of(tensor: &Tensor) -> Numbers {
        macro_rules! int {
            ($v:expr) => {
                Numbers::Int($v.iter().map(|&x| i128::from(x)).collect())
            };
        }
        match tensor.data() {
            Data::Bool(v) | Data::U8(v) => int!(v),
            Data::I8(v) => int!(v),
            Data::I16(v) => int!(v),
            Data::U16(v) => int!(v),
            Data::I32(v) => int!(v),
            Data::U32(v) => int!(v),
            Data::I64(v) => int!(v),
            Data::U64(v) => int!(v),
            Data::F16(_) | Data::BF16(_) | Data::F32(_) | Data::F64(_) => Numbers::Real(tensor.to_f64()),
        }
    }
}

/// A tensor of `dtype` from integers: integer dtypes keep the low bits, `Bool` is "not zero", floats round.
pub(super) fn from_ints(dtype: DType, shape: &Shape, values: &[i128]) -> Result<Tensor, TensorError> {
    macro_rules! int {
        ($t:ty) => {
            values.iter().map(|&x| x as $t).collect()
        };
    }
    let data = match dtype {
        DType::Bool => Data::Bool(values.iter().map(|&x| u8::from(x != 0)).collect()),
        DType::I8 => Data::I8(int!(i8)),
        DType::U8 => Data::U8(int!(u8)),
        DType::I16 => Data::I16(int!(i16)),
        DType::U16 => Data::U16(int!(u16)),
        DType::I32 => Data::I32(int!(i32)),
        DType::U32 => Data::U32(int!(u32)),
        DType::I64 => Data::I64(int!(i64)),
        DType::U64 => Data::U64(int!(u64)),
        DType::F16 => Data::F16(values.iter().map(|&x| f16::from_f32(x as f32)).collect()),
        DType::BF16 => Data::BF16(values.iter().map(|&x| bf16::from_f32(x as f32)).collect()),
        DType::F32 => Data::F32(int!(f32)),
        DType::F64 => Data::F64(int!(f64)),
    };
    Tensor::new(shape.clone(), data)
}

/// A tensor of `dtype` from reals: floats round to nearest, integer dtypes truncate toward zero and saturate, `Bool` is
/// "not zero".
pub(super) fn from_reals(dtype: DType, shape: &Shape, values: &[f64]) -> Result<Tensor, TensorError> {
    if dtype.is_float() || dtype == DType::Bool {
        return Tensor::from_f64(dtype, shape.clone(), values);
    }
    let whole: Vec<f64> = values.iter().map(|x| x.trunc()).collect();
    Tensor::from_f64(dtype, shape.clone(), &whole)
}

/// Applies a fused activation to reals. NaN stays.
pub(super) fn activate(act: Act, values: &mut [f64]) {
    let (low, high) = act.range();
    let (low, high) = (f64::from(low), f64::from(high));
    if act != Act::None {
        for v in values {
            *v = clip(*v, low, high);
        }
    }
}

/// Applies a fused activation to integers.
pub(super) fn activate_ints<T: Copy + Ord + From<i8>>(act: Act, values: &mut [T]) {
    let (low, high): (Option<i8>, Option<i8>) = match act {
        Act::None => return,
        Act::Relu => (Some(0), None),
        Act::Relu6 => (Some(0), Some(6)),
        Act::ReluN1To1 => (Some(-1), Some(1)),
    };
    for v in values {
        *v = low.map_or(*v, |l| (*v).max(l.into()));
        *v = high.map_or(*v, |h| (*v).min(h.into()));
    }
}

/// `min(max(x, low), high)` that keeps NaN, and gives `high` when the bounds cross.
pub(super) fn clip(x: f64, low: f64, high: f64) -> f64 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_their_low_bits_and_reals_saturate() {
        let s = Shape::from([3]);
        let wrapped = from_ints(DType::I8, &s, &[127, 128, -129]).unwrap();
        assert_eq!(wrapped.as_slice::<i8>().unwrap(), [127, -128, 127]);
        let cut = from_reals(DType::I8, &s, &[-1.9, 1.9, 300.0]).unwrap();
        assert_eq!(cut.as_slice::<i8>().unwrap(), [-1, 1, 127]);
        let big = from_ints(DType::U64, &s, &[i128::from(u64::MAX), -1, 5]).unwrap();
        assert_eq!(big.as_slice::<u64>().unwrap(), [u64::MAX, u64::MAX, 5]);
    }

    #[test]
    fn activations_keep_nan_and_bounds() {
        let mut v = [f64::NAN, -2.0, 3.0, 9.0];
        activate(Act::Relu6, &mut v);
        assert!(v[0].is_nan());
        assert_eq!(v[1..], [0.0, 3.0, 6.0]);
        let mut i = [-5i64, 0, 7];
        activate_ints(Act::ReluN1To1, &mut i);
        assert_eq!(i, [-1, 0, 1]);
        assert_eq!(clip(0.0, 3.0, 1.0), 1.0);
    }
}
