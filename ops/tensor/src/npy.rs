//! The npy format: one array.
//!
//! # Source
//! NumPy enhancement proposal 1 and the documentation of `numpy.lib.format`, versions 1.0 to 3.0.

use crate::{DType, Data, Shape, Tensor, TensorError};

const MAGIC: &[u8] = b"\x93NUMPY";
/// numpy itself stops at 64 axes.
const MAX_RANK: usize = 64;

/// Reads one array of an `.npy` file (version 1 to 3, C or Fortran order, little-endian).
///
/// # Errors
/// [`TensorError::Format`] when the bytes are not such a file.
pub fn read_npy(bytes: &[u8]) -> Result<Tensor, TensorError> {
    let (header, data) = split(bytes)?;
    if !header.fortran {
        return Tensor::from_le_bytes(header.dtype, header.shape, data);
    }
    let turned = c_order(data, header.dtype.bytes(), &header.shape);
    Tensor::from_le_bytes(header.dtype, header.shape, &turned)
}

/// The dtype of an `.npy` file's array, its extents in the order of its bytes, the slowest first, and where these begin.
///
/// # Errors
/// As [`read_npy`].
pub fn npy_bytes(bytes: &[u8]) -> Result<(DType, Shape, usize), TensorError> {
    let (header, data) = split(bytes)?;
    let mut extents = header.shape.to_vec();
    if header.fortran {
        extents.reverse();
    }
    Ok((header.dtype, extents.into(), bytes.len() - data.len()))
}

/// The header and the bytes behind it, which are as many as it says.
fn split(bytes: &[u8]) -> Result<(Header, &[u8]), TensorError> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return format_error("it does not begin with the npy magic");
    };
    let cut = || TensorError::Format(format!("the header is cut off: the file has {} bytes", bytes.len()));
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (length, rest) = match version[0] {
        1 => {
            let (n, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*n)), rest)
        }
        2 | 3 => {
            let (n, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            (usize::try_from(u32::from_le_bytes(*n)).map_err(|_| cut())?, rest)
        }
        v => return format_error(format!("npy version {v} is not known; versions 1 to 3 are")),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| TensorError::Format("the header is not text".into()))?;
    let header = Header::parse(header)?;
    let needed = header.shape.elements().saturating_mul(header.dtype.bytes());
    if data.len() != needed {
        return format_error(format!(
            "{}{} needs {needed} bytes of data but {} follow the header",
            header.dtype,
            header.shape,
            data.len()
        ));
    }
    Ok((header, data))
}

/// The bytes of an `.npy` file (version 1.0, C order).
///
/// The format knows no bfloat16: such a tensor is written as `f32`, which holds the same values.
pub fn write_npy(tensor: &Tensor) -> Vec<u8> {
    let (descr, data) = match tensor.data() {
        Data::BF16(v) => ("<f4", v.iter().flat_map(|x| x.to_f32().to_le_bytes()).collect()),
        other => (descr(other.dtype()), other.to_le_bytes()),
    };
    let extents: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let shape = match extents.as_slice() {
        [one] => format!("({one},)"),
        many => format!("({})", many.join(", ")),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version, length and header together fill a multiple of 64 bytes, and the header ends in a line feed.
    let prefix = MAGIC.len() + 4;
    let padded = (prefix + header.len() + 1).next_multiple_of(64) - prefix;
    header.extend(std::iter::repeat_n(' ', padded - 1 - header.len()));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // A shape of 64 axes of 20 digits stays far below the limit of version 1.0.
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn format_error<T>(text: impl Into<String>) -> Result<T, TensorError> {
    Err(TensorError::Format(text.into()))
}

fn descr(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "|b1",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::U16 => "<u2",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::I64 => "<i8",
        DType::U64 => "<u8",
        DType::F16 => "<f2",
        DType::BF16 | DType::F32 => "<f4",
        DType::F64 => "<f8",
    }
}

fn dtype(descr: &str) -> Result<DType, TensorError> {
    let (order, kind) = match descr.strip_prefix(['<', '|', '=', '>']) {
        Some(kind) => (&descr[..1], kind),
        None => ("=", descr),
    };
    let dtype = match kind {
        "b1" => DType::Bool,
        "i1" => DType::I8,
        "u1" => DType::U8,
        "i2" => DType::I16,
        "u2" => DType::U16,
        "i4" => DType::I32,
        "u4" => DType::U32,
        "i8" => DType::I64,
        "u8" => DType::U64,
        "f2" => DType::F16,
        "f4" => DType::F32,
        "f8" => DType::F64,
        _ => return format_error(format!("dtype '{descr}' is not supported; booleans, integers and floats are")),
    };
    if order == ">" && dtype.bytes() > 1 {
        return format_error(format!("dtype '{descr}' is big-endian; save the array as little-endian"));
    }
    Ok(dtype)
}

/// What the header says.
struct Header {
    dtype: DType,
    fortran: bool,
    shape: Shape,
}

impl Header {
    /// Parses the Python dictionary of the three known keys.
    fn parse(text: &str) -> Result<Header, TensorError> {
        let mut p = Parser { rest: text };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        p.expect('{')?;
        while !p.take('}') {
            let key = p.string()?;
            p.expect(':')?;
            match key {
                "descr" => descr = Some(dtype(p.string()?)?),
                "fortran_order" => fortran = Some(p.boolean()?),
                "shape" => shape = Some(p.tuple()?),
                other => return format_error(format!("the header has an unknown key '{other}'")),
            }
            if !p.take(',') {
                p.expect('}')?;
                break;
            }
        }
        p.skip_space();
        if !p.rest.is_empty() {
            return format_error("the header goes on behind its dictionary");
        }
        match (descr, fortran, shape) {
            (Some(dtype), Some(fortran), Some(shape)) => Ok(Header { dtype, fortran, shape }),
            _ => format_error("the header lacks one of the keys descr, fortran_order and shape"),
        }
    }
}

/// The few literals of Python that a header is made of.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\n', '\t', '\r']);
    }

    fn take(&mut self, c: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<(), TensorError> {
        if self.take(c) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(8).collect();
        format_error(format!("the header needs '{c}' where it has '{}'", found.escape_default()))
    }

    fn string(&mut self) -> Result<&'a str, TensorError> {
        self.skip_space();
        let quote = if self.rest.starts_with('"') { '"' } else { '\'' };
        self.expect(quote)?;
        match self.rest.split_once(quote) {
            Some((text, rest)) => {
                self.rest = rest;
                Ok(text)
            }
            None => format_error("the header has a string without end"),
        }
    }

    fn boolean(&mut self) -> Result<bool, TensorError> {
        self.skip_space();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        format_error("the header needs True or False for fortran_order")
    }

    fn tuple(&mut self) -> Result<Shape, TensorError> {
        self.expect('(')?;
        let mut extents = Vec::new();
        while !self.take(')') {
            self.skip_space();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            let Ok(extent) = digits.parse() else {
                return format_error(format!("the header has a shape with the extent '{}'", digits.escape_default()));
            };
            // Old versions of numpy on Python 2 wrote long integers.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            extents.push(extent);
            if extents.len() > MAX_RANK {
                return format_error(format!("the header has a shape of more than {MAX_RANK} axes"));
            }
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(Shape(extents))
    }
}

/// Elements of `size` bytes of a Fortran-ordered array, reordered to C order. `data` has exactly the bytes of the shape.
fn c_order(data: &[u8], size: usize, shape: &Shape) -> Vec<u8> {
    let mut turned = Vec::with_capacity(data.len());
    if data.is_empty() {
        return turned;
    }
    let mut strides = vec![size; shape.rank()];
    for i in 1..shape.rank() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut index = vec![0usize; shape.rank()];
    let mut at = 0;
    loop {
        turned.extend_from_slice(&data[at..at + size]);
        // Counts the index up, last axis first, and moves the byte offset along with it.
        let Some(axis) = (0..shape.rank()).rev().find(|&a| {
            if index[a] + 1 < shape[a] {
                return true;
            }
            at -= index[a] * strides[a];
            index[a] = 0;
            false
        }) else {
            return turned;
        };
        index[axis] += 1;
        at += strides[axis];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn error(bytes: &[u8]) -> String {
        read_npy(bytes).unwrap_err().to_string()
    }

    #[test]
    fn every_dtype_and_rank_round_trips() {
        for dtype in DType::ALL {
            for shape in [vec![], vec![1], vec![3], vec![2, 0], vec![2, 3, 1]] {
                let n = Shape::from(shape.as_slice()).elements();
                let values: Vec<f64> = (0..n).map(|i| (i % 2) as f64).collect();
                let t = Tensor::from_f64(dtype, shape, &values).unwrap();
                let bytes = write_npy(&t);
                assert_eq!(bytes.len() % 64, n * if dtype == DType::BF16 { 4 } else { dtype.bytes() } % 64);
                let back = read_npy(&bytes).unwrap();
                assert_eq!((back.shape(), back.to_f64()), (t.shape(), values));
                assert_eq!(back.dtype(), if dtype == DType::BF16 { DType::F32 } else { dtype });
            }
        }
    }

    #[test]
    fn the_file_is_the_one_that_numpy_writes() {
        let bytes = write_npy(&Tensor::from_vec([2, 3], vec![0i16; 6]).unwrap());
        let header = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }";
        let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        expected.extend(header.as_bytes());
        expected.extend(std::iter::repeat_n(b' ', 117 - header.len()));
        expected.push(b'\n');
        expected.extend([0; 12]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn fortran_order_is_turned_around() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n";
        let t = read_npy(&file(header, &[0, 3, 1, 4, 2, 5])).unwrap();
        assert_eq!(t, Tensor::from_vec([2, 3], vec![0u8, 1, 2, 3, 4, 5]).unwrap());
        let cube = "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 1, 2)}";
        let t = read_npy(&file(cube, &[0, 0, 2, 0, 1, 0, 3, 0])).unwrap();
        assert_eq!(t.as_slice::<i16>().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn later_versions_have_a_longer_length() {
        let header = b"{\"shape\": (1L,), \"descr\": \"<f4\", \"fortran_order\": False}";
        let mut bytes = b"\x93NUMPY\x03\x00".to_vec();
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(1.5f32.to_le_bytes());
        assert_eq!(read_npy(&bytes).unwrap().to_f64(), [1.5]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let with = |descr: &str, shape: &str| {
            error(&file(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"), &[0; 4]))
        };
        assert!(error(b"PK\x03\x04").contains("magic"));
        assert!(error(b"\x93NUMPY\x01").contains("cut off: the file has 7 bytes"));
        assert!(error(b"\x93NUMPY\x09\x00").contains("version 9"));
        assert!(with(">f4", "(1,)").contains("big-endian"));
        assert!(with("<c8", "(1,)").contains("'<c8' is not supported"));
        assert!(with("O", "(1,)").contains("not supported"));
        assert!(with("<f4", "(2,)").contains("f32[2] needs 8 bytes of data but 4 follow"));
        assert!(error(&file("", &[])).contains("needs '{'"));
        assert!(with("<f4", "(-1,)").contains("extent ''"));
        assert!(with("<f4", "(99999999999999999999,)").contains("extent"));
        assert!(with("<f4", "(4294967296, 4294967296, 4294967296)").contains("needs"));
        assert!(error(&file("{'descr': '<f4'}", &[])).contains("lacks"));
        assert!(error(&file("{'descr': '<f4", &[])).contains("string without end"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_npy(&bytes);
            let _ = read_npy(&[b"\x93NUMPY\x01\x00".as_slice(), &bytes].concat());
        }

        #[test]
        fn a_damaged_file_is_read_or_refused(at in 0usize..80, value in any::<u8>(), end in 0usize..140) {
            let mut bytes = write_npy(&Tensor::from_vec([2, 3], vec![1i16, 2, 3, 4, 5, 6]).unwrap());
            bytes[at] = value;
            bytes.truncate(end);
            let _ = read_npy(&bytes);
        }
    }
}
