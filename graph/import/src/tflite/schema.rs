//! The parts of the TFLite schema that Tandem reads.
//!
//! # Source
//! `tensorflow/lite/schema/schema.fbs`, version 3: field numbers and enumerations.

use super::flatbuffer::{Table, Vector};
use crate::{ImportError, MAX_TENSOR_BYTES};
use tandem_tensor::{DType, Data, QuantParams, Shape, Tensor};

/// A model file with its first subgraph.
pub(crate) struct Model<'a> {
    file: &'a [u8],
    codes: Vector<'a>,
    buffers: Vector<'a>,
    pub description: String,
    pub tensors: Vector<'a>,
    pub operators: Vector<'a>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
}

/// Which operator a node applies.
pub(crate) struct Code {
    pub builtin: i32,
    pub custom: Option<String>,
}

/// What the file says about a tensor.
pub(crate) struct TensorInfo<'a> {
    pub name: String,
    pub shape: Vec<i32>,
    /// The shape has extents that are only known when the model runs.
    pub dynamic: bool,
    pub ty: i8,
    pub is_variable: bool,
    sparse: bool,
    buffer: usize,
    quant: Option<Table<'a>>,
}

impl<'a> Model<'a> {
    pub fn read(file: &'a [u8]) -> Result<Self, ImportError> {
        let root = Table::root(file)?;
        let version = root.i32(0, 0)?;
        if version != 3 {
            return Err(ImportError::unsupported_model(
                "TFLite schema",
                format!("version {version} is unknown; convert the model with a current TFLite converter"),
            ));
        }
        let subgraphs = root.vector(2, 4)?;
        // Further subgraphs hold the bodies of control flow, whose operators are refused where they are needed.
        let Some(main) = subgraphs.table(0)? else {
            return Err(ImportError::malformed("TFLite model", "it has no subgraph, so there is nothing to run"));
        };
        Ok(Model {
            file,
            codes: root.vector(1, 4)?,
            buffers: root.vector(4, 4)?,
            description: root.string(3)?,
            tensors: main.vector(0, 4)?,
            operators: main.vector(3, 4)?,
            inputs: main.vector(1, 4)?.i32s().collect(),
            outputs: main.vector(2, 4)?.i32s().collect(),
        })
    }

    /// The operator of a node. Files before 2021 use a code of one byte, later ones a second field as well.
    pub fn code(&self, operator: &Table<'_>) -> Result<Code, ImportError> {
        let index = operator.i32(0, 0)?;
        let table = usize::try_from(index).ok().and_then(|i| self.codes.table(i).transpose()).transpose()?;
        let Some(table) = table else {
            let problem = format!("a node uses operator code {index} but there are {}", self.codes.len());
            return Err(ImportError::malformed("TFLite model", problem));
        };
        let builtin = i32::from(table.i8(0, 0)?).max(table.i32(3, 0)?);
        let custom = table.string(1)?;
        Ok(Code { builtin, custom: (!custom.is_empty()).then_some(custom) })
    }

    pub fn tensor(&self, index: usize) -> Result<TensorInfo<'a>, ImportError> {
        let Some(t) = self.tensors.table(index)? else {
            let problem = format!("tensor {index} is used but there are {}", self.tensors.len());
            return Err(ImportError::malformed("TFLite model", problem));
        };
        let shape: Vec<i32> = t.vector(0, 4)?.i32s().collect();
        let dynamic = shape.iter().any(|&d| d < 0) || t.vector(7, 4)?.i32s().any(|d| d < 0);
        Ok(TensorInfo {
            name: t.string(3)?,
            dynamic,
            shape,
            ty: t.i8(1, 0)?,
            is_variable: t.bool(5)?,
            sparse: t.table(6)?.is_some(),
            buffer: usize::try_from(t.i32(2, 0)?).unwrap_or(usize::MAX),
            quant: t.table(4)?,
        })
    }

    /// The bytes of a constant tensor; `None` when it has none.
    pub fn data(&self, info: &TensorInfo<'a>) -> Result<Option<&'a [u8]>, ImportError> {
        let Some(buffer) = self.buffers.table(info.buffer)? else {
            let problem = format!("it lies in buffer {} but there are {}", info.buffer, self.buffers.len());
            return Err(ImportError::malformed(format!("tensor '{}'", info.name), problem));
        };
        let inside = buffer.vector(0, 1)?.bytes();
        if !inside.is_empty() {
            return Ok(Some(inside));
        }
        // Large models keep their weights behind the flatbuffer; offsets 0 and 1 mean that there are none.
        let (offset, size) = (buffer.u64(1)?, buffer.u64(2)?);
        if offset <= 1 || size == 0 {
            return Ok(None);
        }
        let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        let bytes = range.and_then(|(o, n)| self.file.get(o..o.checked_add(n)?));
        bytes.map(Some).ok_or_else(|| ImportError::Truncated {
            offset: usize::try_from(offset).unwrap_or(usize::MAX),
            len: self.file.len(),
            what: format!("the data of tensor '{}'", info.name),
        })
    }
}

impl TensorInfo<'_> {
    /// The dtype of the values, INT4 as `i8`.
    pub fn dtype(&self) -> Result<DType, ImportError> {
        Ok(match self.ty {
            0 => DType::F32,
            1 => DType::F16,
            2 => DType::I32,
            3 => DType::U8,
            4 => DType::I64,
            6 => DType::Bool,
            7 => DType::I16,
            9 | INT4 => DType::I8,
            10 => DType::F64,
            12 => DType::U64,
            15 => DType::U32,
            16 => DType::U16,
            18 => DType::BF16,
            other => {
                let name = match other {
                    5 => "STRING",
                    8 => "COMPLEX64",
                    11 => "COMPLEX128",
                    13 => "RESOURCE",
                    14 => "VARIANT",
                    _ => "unknown",
                };
                return Err(ImportError::unsupported_model(
                    format!("tensor '{}'", self.name),
                    format!("its type {name} ({other}) is not supported; export the model with numeric tensors"),
                ));
            }
        })
    }

    /// The shape, when every extent is known.
    pub fn known_shape(&self) -> Result<Shape, ImportError> {
        let place = || format!("tensor '{}'", self.name);
        let mut shape = Vec::with_capacity(self.shape.len().min(16));
        for &d in &self.shape {
            let Ok(d) = usize::try_from(d) else {
                return Err(ImportError::unsupported_model(
                    place(),
                    format!("its shape {:?} is not known; export the model with fixed extents", self.shape),
                ));
            };
            shape.push(d);
        }
        let shape = Shape(shape);
        if shape.rank() > tandem_graph::MAX_RANK || shape.elements() > MAX_TENSOR_BYTES {
            return Err(ImportError::malformed(place(), format!("its shape {shape} is absurd; the limit is 1 GiB")));
        }
        Ok(shape)
    }

    /// The quantisation of an integer tensor.
    pub fn quant(&self, shape: Option<&Shape>) -> Result<Option<QuantParams>, ImportError> {
        let Some(table) = self.quant else { return Ok(None) };
        let scales = table.vector(2, 4)?;
        let zeros = table.vector(3, 8)?;
        let dtype = self.dtype()?;
        if scales.is_empty() || !dtype.is_integer() {
            return Ok(None);
        }
        // The kernels never use the scale of a bias or an index; files hold anything there.
        if dtype.bytes() > 2 {
            return Ok(None);
        }
        let place = || format!("tensor '{}'", self.name);
        if scales.len() == 1 {
            let scale = scales.f32s().next().unwrap_or(0.0);
            let zero = zeros.i64s().next().unwrap_or(0);
            let zero = i32::try_from(zero)
                .map_err(|_| ImportError::malformed(place(), format!("its zero point {zero} is absurd")))?;
            return Ok(Some(QuantParams::per_tensor(scale, zero)));
        }
        let stated = table.i32(6, 0)?;
        let extents = shape.map(|s| s.0.as_slice()).unwrap_or_default();
        let axis = match usize::try_from(stated).ok().filter(|&a| a < extents.len()) {
            Some(axis) => axis,
            // Some files give the axis of the weights to tensors of rank 1, where only one axis can be meant.
            None if extents.len() == 1 => 0,
            None => {
                let problem = format!(
                    "it has {} scales along axis {stated} but only {} axes; convert the model again",
                    scales.len(),
                    extents.len()
                );
                return Err(ImportError::malformed(place(), problem));
            }
        };
        if extents.get(axis) != Some(&scales.len()) || !matches!(zeros.len(), 0 | 1) && zeros.len() != scales.len() {
            let problem = format!("{} scales and {} zero points do not fit axis {axis}", scales.len(), zeros.len());
            return Err(ImportError::malformed(place(), problem));
        }
        let mut zero_point = Vec::with_capacity(scales.len());
        let one = if zeros.len() == 1 { zeros.i64s().next() } else { None };
        let given: Vec<i64> = if zeros.len() == scales.len() { zeros.i64s().collect() } else { Vec::new() };
        for i in 0..scales.len() {
            let zero = given.get(i).copied().or(one).unwrap_or(0);
            zero_point.push(
                i32::try_from(zero)
                    .map_err(|_| ImportError::malformed(place(), format!("its zero point {zero} is absurd")))?,
            );
        }
        Ok(Some(QuantParams { scale: scales.f32s().collect(), zero_point, axis: Some(axis) }))
    }

    /// The tensor that `bytes` hold.
    pub fn tensor(&self, shape: Shape, bytes: &[u8]) -> Result<Tensor, ImportError> {
        let place = || format!("tensor '{}'", self.name);
        if self.sparse {
            return Err(ImportError::unsupported_model(
                place(),
                "its data is stored sparsely; convert the model without sparsity",
            ));
        }
        let wrong = |found: usize| {
            let problem = format!("its shape {shape} does not fit its {found} bytes of data; the file is damaged");
            ImportError::malformed(place(), problem)
        };
        if self.ty == INT4 {
            if bytes.len() != shape.elements().div_ceil(2) {
                return Err(wrong(bytes.len()));
            }
            // Low half first; the shifts extend the sign.
            let codes = bytes.iter().flat_map(|&b| [((b << 4) as i8) >> 4, (b as i8) >> 4]);
            let codes = codes.take(shape.elements()).collect();
            return Tensor::new(shape.clone(), Data::I8(codes)).map_err(|_| wrong(bytes.len()));
        }
        Tensor::from_le_bytes(self.dtype()?, shape.clone(), bytes).map_err(|_| wrong(bytes.len()))
    }
}

const INT4: i8 = 17;
