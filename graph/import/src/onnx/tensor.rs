//! Tensors of ONNX files.

use super::proto::TensorProto;
use crate::{ImportError, MAX_TENSOR_BYTES};
use tandem_tensor::{DType, Data, Shape, Tensor};

/// How the elements of an ONNX type are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elem {
    /// As the dtype of the same meaning.
    Plain(DType),
    /// Integers of 2 or 4 bits, one in a byte.
    Narrow {
        /// Bits of one element.
        bits: u32,
        /// Two's complement.
        signed: bool,
    },
    /// Floats of 4 or 8 bits; the bytes hold the codes.
    Coded(Code),
}

/// Floating-point types of at most 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    E4M3Fn,
    E4M3FnUz,
    E5M2,
    E5M2FnUz,
    E2M1,
    E8M0,
}

impl Elem {
    /// The type that an ONNX file numbers so.
    pub fn of(data_type: i32) -> Option<Elem> {
        use Elem::*;
        Some(match data_type {
            1 => Plain(DType::F32),
            2 => Plain(DType::U8),
            3 => Plain(DType::I8),
            4 => Plain(DType::U16),
            5 => Plain(DType::I16),
            6 => Plain(DType::I32),
            7 => Plain(DType::I64),
            9 => Plain(DType::Bool),
            10 => Plain(DType::F16),
            11 => Plain(DType::F64),
            12 => Plain(DType::U32),
            13 => Plain(DType::U64),
            16 => Plain(DType::BF16),
            17 => Coded(Code::E4M3Fn),
            18 => Coded(Code::E4M3FnUz),
            19 => Coded(Code::E5M2),
            20 => Coded(Code::E5M2FnUz),
            21 => Narrow { bits: 4, signed: false },
            22 => Narrow { bits: 4, signed: true },
            23 => Coded(Code::E2M1),
            24 => Coded(Code::E8M0),
            25 => Narrow { bits: 2, signed: false },
            26 => Narrow { bits: 2, signed: true },
            _ => return None,
        })
    }

    /// The number of a dtype in an ONNX file.
    pub fn code(dtype: DType) -> i32 {
        match dtype {
            DType::F32 => 1,
            DType::U8 => 2,
            DType::I8 => 3,
            DType::U16 => 4,
            DType::I16 => 5,
            DType::I32 => 6,
            DType::I64 => 7,
            DType::Bool => 9,
            DType::F16 => 10,
            DType::F64 => 11,
            DType::U32 => 12,
            DType::U64 => 13,
            DType::BF16 => 16,
        }
    }

    /// The dtype of the elements in memory.
    pub fn dtype(self) -> DType {
        match self {
            Elem::Plain(dtype) => dtype,
            Elem::Narrow { signed: true, .. } => DType::I8,
            Elem::Narrow { signed: false, .. } | Elem::Coded(_) => DType::U8,
        }
    }

    /// Smallest and largest value of an integer type.
    pub fn integer_range(self) -> Option<(i128, i128)> {
        match self {
            Elem::Plain(dtype) => dtype.integer_range(),
            Elem::Narrow { bits, signed: true } => Some((-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)),
            Elem::Narrow { bits, signed: false } => Some((0, (1i128 << bits) - 1)),
            Elem::Coded(_) => None,
        }
    }

    /// Bits of one element in `raw_data`.
    fn bits(self) -> usize {
        match self {
            Elem::Plain(dtype) => dtype.bytes() * 8,
            Elem::Narrow { bits, .. } => bits as usize,
            Elem::Coded(Code::E2M1) => 4,
            Elem::Coded(_) => 8,
        }
    }

    /// The name that messages use.
    pub fn name(data_type: i32) -> &'static str {
        match data_type {
            0 => "undefined",
            8 => "string",
            14 => "complex64",
            15 => "complex128",
            17 => "float8e4m3fn",
            18 => "float8e4m3fnuz",
            19 => "float8e5m2",
            20 => "float8e5m2fnuz",
            23 => "float4e2m1",
            24 => "float8e8m0",
            _ => "unknown",
        }
    }
}

impl Code {
    /// The value of every code.
    pub fn values(self) -> Vec<f32> {
        let codes = if self == Code::E2M1 { 16u32 } else { 256 };
        (0..codes).map(|code| self.value(code)).collect()
    }

    fn value(self, code: u32) -> f32 {
        let (mantissa_bits, bias) = match self {
            Code::E4M3Fn => (3, 7),
            Code::E4M3FnUz => (3, 8),
            Code::E5M2 => (2, 15),
            Code::E5M2FnUz => (2, 16),
            Code::E2M1 => (1, 1),
            Code::E8M0 => {
                return if code == 255 { f32::NAN } else { 2f64.powi(code as i32 - 127) as f32 };
            }
        };
        let sign_bit = if self == Code::E2M1 { 3 } else { 7 };
        let special = match self {
            Code::E4M3Fn if code & 0x7f == 0x7f => Some(f32::NAN),
            Code::E4M3FnUz | Code::E5M2FnUz if code == 0x80 => Some(f32::NAN),
            Code::E5M2 if code & 0x7f == 0x7c => Some(f32::INFINITY),
            Code::E5M2 if code & 0x7f > 0x7c => Some(f32::NAN),
            _ => None,
        };
        let magnitude = special.unwrap_or_else(|| {
            let exponent = (code & ((1 << sign_bit) - 1)) >> mantissa_bits;
            let mantissa = f64::from(code & ((1 << mantissa_bits) - 1)) / f64::from(1u32 << mantissa_bits);
            let value = match exponent {
                0 => mantissa * 2f64.powi(1 - bias),
                e => (1.0 + mantissa) * 2f64.powi(e as i32 - bias),
            };
            value as f32
        });
        if code >> sign_bit & 1 == 1 { -magnitude } else { magnitude }
    }
}

/// The tensor of a message; `place` names it in errors.
pub(super) fn tensor(proto: &TensorProto, place: &str) -> Result<(Tensor, Elem), ImportError> {
    let Some(elem) = Elem::of(proto.data_type) else {
        return Err(ImportError::UnsupportedModel {
            place: place.to_owned(),
            problem: format!(
                "its element type {} ({}) is not supported; integers, floats and booleans are",
                proto.data_type,
                Elem::name(proto.data_type)
            ),
        });
    };
    if proto.data_location == Some(1) {
        return Err(ImportError::UnsupportedModel {
            place: place.to_owned(),
            problem: "its data lies in another file; save the model with all data inside the .onnx file".into(),
        });
    }
    let shape = shape_of(&proto.dims, place)?;
    let count = shape.elements();
    let dtype = elem.dtype();
    if count.saturating_mul(dtype.bytes()) > MAX_TENSOR_BYTES {
        return Err(ImportError::malformed(place, format!("its shape {shape} is larger than Tandem takes")));
    }
    let wrong = |found: usize| {
        ImportError::malformed(place, format!("its shape {shape} has {count} elements but the file holds {found}"))
    };
    let data = if let Some(raw) = proto.raw_data.as_ref().filter(|r| !r.is_empty() || count == 0) {
        let needed = count.saturating_mul(elem.bits()).div_ceil(8);
        if raw.len() != needed {
            return Err(wrong(raw.len() * 8 / elem.bits()));
        }
        match elem.bits() {
            b if b < 8 => unpack(raw, count, elem),
            _ => Data::from_le_bytes(dtype, raw),
        }
    } else {
        let found = typed_len(proto, elem);
        let needed = if elem.bits() < 8 { count.saturating_mul(elem.bits()).div_ceil(8) } else { count };
        if found != needed {
            return Err(wrong(found));
        }
        typed(proto, elem, count)
    };
    let tensor = Tensor::new(shape, data).map_err(|e| ImportError::malformed(place, e.to_string()))?;
    Ok((tensor, elem))
}

/// Extents of a message.
pub(super) fn shape_of(dims: &[i64], place: &str) -> Result<Shape, ImportError> {
    let mut shape = Vec::with_capacity(dims.len());
    for &d in dims {
        let d = usize::try_from(d).map_err(|_| {
            ImportError::malformed(place, format!("its extent {d} is negative; extents count elements"))
        })?;
        shape.push(d);
    }
    Ok(Shape(shape))
}

fn typed_len(proto: &TensorProto, elem: Elem) -> usize {
    match elem.dtype() {
        DType::F32 => proto.float_data.len(),
        DType::F64 => proto.double_data.len(),
        DType::I64 => proto.int64_data.len(),
        DType::U32 | DType::U64 => proto.uint64_data.len(),
        _ => proto.int32_data.len(),
    }
}

fn typed(proto: &TensorProto, elem: Elem, count: usize) -> Data {
    let small = &proto.int32_data;
    // Half-precision floats stand as their bit patterns in `int32_data`.
    let bits: fn(&i32) -> [u8; 2] = |x| (*x as u16).to_le_bytes();
    match elem.dtype() {
        _ if elem.bits() < 8 => {
            let raw: Vec<u8> = small.iter().map(|&x| x as u8).collect();
            unpack(&raw, count, elem)
        }
        DType::F32 => Data::F32(proto.float_data.clone()),
        DType::F64 => Data::F64(proto.double_data.clone()),
        DType::I64 => Data::I64(proto.int64_data.clone()),
        DType::U64 => Data::U64(proto.uint64_data.clone()),
        DType::U32 => Data::U32(proto.uint64_data.iter().map(|&x| x as u32).collect()),
        DType::I32 => Data::I32(small.clone()),
        DType::I16 => Data::I16(small.iter().map(|&x| x as i16).collect()),
        DType::U16 => Data::U16(small.iter().map(|&x| x as u16).collect()),
        DType::I8 => Data::I8(small.iter().map(|&x| x as i8).collect()),
        DType::U8 => Data::U8(small.iter().map(|&x| x as u8).collect()),
        DType::Bool => Data::Bool(small.iter().map(|&x| u8::from(x != 0)).collect()),
        dtype @ (DType::F16 | DType::BF16) => {
            Data::from_le_bytes(dtype, &small.iter().flat_map(bits).collect::<Vec<u8>>())
        }
    }
}

/// Elements of fewer than 8 bits, the first one in the lowest bits of a byte.
fn unpack(raw: &[u8], count: usize, elem: Elem) -> Data {
    let bits = elem.bits();
    let per_byte = 8 / bits;
    let codes = (0..count).map(|i| {
        let byte = raw.get(i / per_byte).copied().unwrap_or(0);
        (byte >> (i % per_byte * bits)) & ((1u8 << bits) - 1)
    });
    match elem {
        Elem::Narrow { signed: true, .. } => {
            let up = 8 - bits;
            Data::I8(codes.map(|c| ((c << up) as i8) >> up).collect())
        }
        _ => Data::U8(codes.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(dims: &[i64], data_type: i32, raw: &[u8]) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type, raw_data: Some(raw.to_vec()), ..TensorProto::default() }
    }

    #[test]
    fn raw_bytes_are_little_endian() {
        let (t, _) = tensor(&proto(&[2], 5, &[1, 0, 0xff, 0xff]), "t").unwrap();
        assert_eq!(t.as_slice::<i16>().unwrap(), [1, -1]);
    }

    #[test]
    fn nibbles_are_unpacked_lowest_first_with_their_sign() {
        let (t, _) = tensor(&proto(&[3], 22, &[0xf1, 0x08]), "t").unwrap();
        assert_eq!(t.as_slice::<i8>().unwrap(), [1, -1, -8]);
        let (t, _) = tensor(&proto(&[3], 21, &[0xf1, 0x08]), "t").unwrap();
        assert_eq!(t.as_slice::<u8>().unwrap(), [1, 15, 8]);
    }

    #[test]
    fn halves_in_the_typed_field_are_bit_patterns() {
        let proto = TensorProto { dims: vec![1], data_type: 10, int32_data: vec![0x3c00], ..TensorProto::default() };
        assert_eq!(tensor(&proto, "t").unwrap().0.to_f64(), [1.0]);
    }

    #[test]
    fn a_shape_that_the_data_does_not_fill_is_refused_before_anything_is_allocated() {
        for dims in [vec![3], vec![1 << 31, 1 << 31, 1 << 31], vec![-1], vec![1 << 29]] {
            assert!(tensor(&proto(&dims, 1, &[0; 8]), "t").is_err(), "{dims:?}");
        }
    }

    #[test]
    fn eight_bit_floats_decode_to_their_published_extremes() {
        let top = |c: Code| c.values().into_iter().filter(|v| v.is_finite()).fold(0.0f32, f32::max);
        assert_eq!(top(Code::E4M3Fn), 448.0);
        assert_eq!(top(Code::E4M3FnUz), 240.0);
        assert_eq!(top(Code::E5M2), 57344.0);
        assert_eq!(top(Code::E5M2FnUz), 57344.0);
        assert_eq!(top(Code::E2M1), 6.0);
    }
}
