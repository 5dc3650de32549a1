//! The host tensor.

use crate::{DType, Shape, TensorError};
use half::{bf16, f16};

/// Elements of a tensor, row-major, one variant per dtype. `Bool` holds 0 or 1.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    Bool(Vec<u8>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Runs `$body` with `$v` bound to the vector inside a [`Data`], whatever its element type.
macro_rules! each {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::Bool($v) => $body,
            Data::I8($v) => $body,
            Data::U8($v) => $body,
            Data::I16($v) => $body,
            Data::U16($v) => $body,
            Data::I32($v) => $body,
            Data::U32($v) => $body,
            Data::I64($v) => $body,
            Data::U64($v) => $body,
            Data::F16($v) => $body,
            Data::BF16($v) => $body,
            Data::F32($v) => $body,
            Data::F64($v) => $body,
        }
    };
}

/// A Rust type that is the element type of some dtype.
pub trait Element: Copy + Sized {
    /// The dtype.
    const DTYPE: DType;
    /// The elements, when `data` holds this type.
    fn slice(data: &Data) -> Option<&[Self]>;
    /// The elements to write, when `data` holds this type.
    fn slice_mut(data: &mut Data) -> Option<&mut [Self]>;
    /// Wraps elements.
    fn wrap(elements: Vec<Self>) -> Data;
}

macro_rules! element {
    ($($t:ty, $v:ident);* $(;)?) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$v;
            fn slice(data: &Data) -> Option<&[Self]> {
                match data { Data::$v(x) => Some(x), _ => None }
            }
            fn slice_mut(data: &mut Data) -> Option<&mut [Self]> {
                match data { Data::$v(x) => Some(x), _ => None }
            }
            fn wrap(elements: Vec<Self>) -> Data { Data::$v(elements) }
        }
    )*};
}
element! { i8, I8; u8, U8; i16, I16; u16, U16; i32, I32; u32, U32; i64, I64; u64, U64; f16, F16; bf16, BF16; f32, F32; f64, F64 }

impl Data {
    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Data::Bool(_) => DType::Bool,
            Data::I8(_) => DType::I8,
            Data::U8(_) => DType::U8,
            Data::I16(_) => DType::I16,
            Data::U16(_) => DType::U16,
            Data::I32(_) => DType::I32,
            Data::U32(_) => DType::U32,
            Data::I64(_) => DType::I64,
            Data::U64(_) => DType::U64,
            Data::F16(_) => DType::F16,
            Data::BF16(_) => DType::BF16,
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` zeros of a dtype.
    pub fn zeros(dtype: DType, len: usize) -> Data {
        match dtype {
            DType::Bool => Data::Bool(vec![0; len]),
            DType::I8 => Data::I8(vec![0; len]),
            DType::U8 => Data::U8(vec![0; len]),
            DType::I16 => Data::I16(vec![0; len]),
            DType::U16 => Data::U16(vec![0; len]),
            DType::I32 => Data::I32(vec![0; len]),
            DType::U32 => Data::U32(vec![0; len]),
            DType::I64 => Data::I64(vec![0; len]),
            DType::U64 => Data::U64(vec![0; len]),
            DType::F16 => Data::F16(vec![f16::ZERO; len]),
            DType::BF16 => Data::BF16(vec![bf16::ZERO; len]),
            DType::F32 => Data::F32(vec![0.0; len]),
            DType::F64 => Data::F64(vec![0.0; len]),
        }
    }

    /// Elements from packed little-endian bytes; a trailing part of an element is dropped.
    pub fn from_le_bytes(dtype: DType, bytes: &[u8]) -> Data {
        macro_rules! read {
            ($t:ty) => {
                bytes.as_chunks::<{ size_of::<$t>() }>().0.iter().map(|c| <$t>::from_le_bytes(*c)).collect()
            };
        }
        match dtype {
            DType::Bool => Data::Bool(bytes.iter().map(|&b| (b != 0) as u8).collect()),
            DType::I8 => Data::I8(bytes.iter().map(|&b| b as i8).collect()),
            DType::U8 => Data::U8(bytes.to_vec()),
            DType::I16 => Data::I16(read!(i16)),
            DType::U16 => Data::U16(read!(u16)),
            DType::I32 => Data::I32(read!(i32)),
            DType::U32 => Data::U32(read!(u32)),
            DType::I64 => Data::I64(read!(i64)),
            DType::U64 => Data::U64(read!(u64)),
            DType::F16 => Data::F16(read!(f16)),
            DType::BF16 => Data::BF16(read!(bf16)),
            DType::F32 => Data::F32(read!(f32)),
            DType::F64 => Data::F64(read!(f64)),
        }
    }

    /// Packed little-endian bytes.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Data::Bool(v) | Data::U8(v) => v.clone(),
            Data::I8(v) => v.iter().map(|&x| x as u8).collect(),
            Data::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::BF16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// A dense row-major tensor in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Data,
}

impl Tensor {
    /// A tensor of the given elements.
    ///
    /// # Errors
    /// When the number of elements is not that of the shape.
    pub fn new(shape: impl Into<Shape>, data: Data) -> Result<Self, TensorError> {
        let shape = shape.into();
        if shape.elements() != data.len() {
            return Err(TensorError::Length { expected: shape.elements(), found: data.len(), shape });
        }
        Ok(Self { shape, data })
    }

    /// A tensor of elements of one Rust type.
    ///
    /// # Errors
    /// When the number of elements is not that of the shape.
    pub fn from_vec<T: Element>(shape: impl Into<Shape>, elements: Vec<T>) -> Result<Self, TensorError> {
        Self::new(shape, T::wrap(elements))
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self { shape: Shape::default(), data: T::wrap(vec![value]) }
    }

    /// A tensor of zeros. The caller has checked that the shape is of a sane size.
    pub fn zeros(dtype: DType, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let data = Data::zeros(dtype, shape.elements());
        Self { shape, data }
    }

    /// A tensor from packed little-endian bytes.
    ///
    /// # Errors
    /// When the bytes are not exactly those of the shape.
    pub fn from_le_bytes(dtype: DType, shape: impl Into<Shape>, bytes: &[u8]) -> Result<Self, TensorError> {
        let shape = shape.into();
        let expected = shape.elements();
        if bytes.len() != expected.saturating_mul(dtype.bytes()) {
            return Err(TensorError::Length { expected, found: bytes.len() / dtype.bytes(), shape });
        }
        Ok(Self { shape, data: Data::from_le_bytes(dtype, bytes) })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements with their dtype.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements, given up.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// The elements as a slice of `T`.
    ///
    /// # Errors
    /// When the tensor holds another dtype.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], TensorError> {
        T::slice(&self.data).ok_or(TensorError::DType { expected: T::DTYPE, found: self.data.dtype() })
    }

    /// The elements as a mutable slice of `T`.
    ///
    /// # Errors
    /// When the tensor holds another dtype.
    pub fn as_slice_mut<T: Element>(&mut self) -> Result<&mut [T], TensorError> {
        let found = self.data.dtype();
        T::slice_mut(&mut self.data).ok_or(TensorError::DType { expected: T::DTYPE, found })
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the shapes have different numbers of elements.
    pub fn reshaped(self, shape: impl Into<Shape>) -> Result<Self, TensorError> {
        Self::new(shape, self.data)
    }

    /// Every element as `f64`; 64-bit integers beyond 2^53 are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::Bool(v) | Data::U8(v) => v.iter().map(|&x| x as f64).collect(),
            Data::I8(v) => v.iter().map(|&x| x as f64).collect(),
            Data::I16(v) => v.iter().map(|&x| x as f64).collect(),
            Data::U16(v) => v.iter().map(|&x| x as f64).collect(),
            Data::I32(v) => v.iter().map(|&x| x as f64).collect(),
            Data::U32(v) => v.iter().map(|&x| x as f64).collect(),
            Data::I64(v) => v.iter().map(|&x| x as f64).collect(),
            Data::U64(v) => v.iter().map(|&x| x as f64).collect(),
            Data::F16(v) => v.iter().map(|&x| x.to_f64()).collect(),
            Data::BF16(v) => v.iter().map(|&x| x.to_f64()).collect(),
            Data::F32(v) => v.iter().map(|&x| x as f64).collect(),
            Data::F64(v) => v.clone(),
        }
    }

    /// Every element of an integer or boolean tensor as `i64` (`u64` wraps); `None` for a floating-point tensor.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match &self.data {
            Data::Bool(v) | Data::U8(v) => v.iter().map(|&x| x as i64).collect(),
            Data::I8(v) => v.iter().map(|&x| x as i64).collect(),
            Data::I16(v) => v.iter().map(|&x| x as i64).collect(),
            Data::U16(v) => v.iter().map(|&x| x as i64).collect(),
            Data::I32(v) => v.iter().map(|&x| x as i64).collect(),
            Data::U32(v) => v.iter().map(|&x| x as i64).collect(),
            Data::I64(v) => v.clone(),
            Data::U64(v) => v.iter().map(|&x| x as i64).collect(),
            Data::F16(_) | Data::BF16(_) | Data::F32(_) | Data::F64(_) => return None,
        })
    }

    /// A tensor of a floating-point dtype with these values rounded to it, or of an integer dtype with the values
    /// rounded half to even and saturated.
    ///
    /// # Errors
    /// When the number of values is not that of the shape.
    pub fn from_f64(dtype: DType, shape: impl Into<Shape>, values: &[f64]) -> Result<Self, TensorError> {
        macro_rules! int {
            ($t:ty) => {
                values.iter().map(|x| x.round_ties_even() as $t).collect()
            };
        }
        let data = match dtype {
            DType::Bool => Data::Bool(values.iter().map(|&x| (x != 0.0) as u8).collect()),
            DType::I8 => Data::I8(int!(i8)),
            DType::U8 => Data::U8(int!(u8)),
            DType::I16 => Data::I16(int!(i16)),
            DType::U16 => Data::U16(int!(u16)),
            DType::I32 => Data::I32(int!(i32)),
            DType::U32 => Data::U32(int!(u32)),
            DType::I64 => Data::I64(int!(i64)),
            DType::U64 => Data::U64(int!(u64)),
            DType::F16 => Data::F16(values.iter().map(|&x| f16::from_f32(to_odd(x))).collect()),
            DType::BF16 => Data::BF16(values.iter().map(|&x| bf16::from_f32(to_odd(x))).collect()),
            DType::F32 => Data::F32(values.iter().map(|&x| x as f32).collect()),
            DType::F64 => Data::F64(values.to_vec()),
        };
        Self::new(shape, data)
    }

    /// Packed little-endian bytes.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.data.to_le_bytes()
    }

    /// The index of the largest element; the first of equal ones. `None` for an empty tensor; NaN is never the largest.
    pub fn argmax(&self) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for (i, v) in self.to_f64().into_iter().enumerate() {
            if best.is_none_or(|(_, b)| v > b || b.is_nan()) {
                best = Some((i, v));
            }
        }
        best.map(|(i, _)| i)
    }
}

/// `x` as `f32`, where an inexact value gets an odd significand. A later rounding to a format of at most 22 bits then has
/// the result of one rounding from `x`, because no value between two neighbours looks like a tie.
fn to_odd(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) == x || x.is_nan() || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    // The neighbour on the side of `x`; below the largest finite value when the rounding has overflowed.
    if f64::from(nearest).abs() > x.abs() {
        f32::from_bits(nearest.to_bits() - 1)
    } else {
        f32::from_bits(nearest.to_bits() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_elements_is_the_largest_and_nan_never_is() {
        let of = |v: Vec<f32>| Tensor::from_vec([v.len()], v).unwrap().argmax();
        assert_eq!(of(vec![1.0, 3.0, 3.0]), Some(1));
        assert_eq!(of(vec![f32::NAN, -1.0, f32::NAN]), Some(1));
        assert_eq!(of(vec![]), None);
    }

    #[test]
    fn halves_are_rounded_once() {
        let above_tie = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        let below_tie = 1.0 + 3.0 * 2f64.powi(-11) - 2f64.powi(-40);
        let values =
            [above_tie, -above_tie, below_tie, 1.0 + 2f64.powi(-11), 65520.0 - 2f64.powi(-20), 1e300, 2f64.powi(-26)];
        let t = Tensor::from_f64(DType::F16, [7], &values).unwrap();
        let step = 2f64.powi(-10);
        assert_eq!(t.to_f64(), [1.0 + step, -1.0 - step, 1.0 + step, 1.0, 65504.0, f64::INFINITY, 0.0]);
        let b = Tensor::from_f64(DType::BF16, [3], &[1.0 + 2f64.powi(-8) + 2f64.powi(-50), f64::MAX, -0.0]).unwrap();
        assert_eq!(b.to_f64(), [1.0 + 2f64.powi(-7), f64::INFINITY, -0.0]);
        assert!(Tensor::from_f64(DType::F16, [1], &[f64::NAN]).unwrap().to_f64()[0].is_nan());
    }

    #[test]
    fn bytes_round_trip_in_every_dtype() {
        for dtype in DType::ALL {
            let t = Tensor::from_f64(dtype, [3], &[0.0, 1.0, 1.0]).unwrap();
            let bytes = t.to_le_bytes();
            assert_eq!(bytes.len(), 3 * dtype.bytes());
            assert_eq!(Tensor::from_le_bytes(dtype, [3], &bytes).unwrap(), t);
            assert!(Tensor::from_le_bytes(dtype, [4], &bytes).is_err());
            assert!(Tensor::from_le_bytes(dtype, [usize::MAX, 3], &bytes).is_err());
        }
    }

    #[test]
    fn integers_round_half_to_even_and_saturate() {
        let t = Tensor::from_f64(DType::I8, [4], &[0.5, 1.5, 1e9, f64::NAN]).unwrap();
        assert_eq!(t.as_slice::<i8>().unwrap(), [0, 2, 127, 0]);
    }
}
