//! How an activation lies in DRAM.
//!
//! An activation is cut into *cells*: one pixel of `max(BLOCK_IN, BLOCK_OUT)` channels and BATCH rows. Cells are ordered
//! `[row group][channel block][h][w]`. Within a cell lie INP elements, `[cell / BLOCK_IN][BATCH][BLOCK_IN]`, so that a LOAD
//! of INP reads it directly; a STORE writes the same bytes, as OUTINP where BATCH and the two block sizes make the orders
//! differ. Unsigned codes are stored minus 128, so that the machine sees signed bytes only. Sums of 32 bits are several such
//! activations one behind the other, of their bytes from the lowest on, as many as say all.

use crate::JitError;
use crate::fold::Fold;
use tandem_isa::{HwConfig, MemoryType};
use tandem_tensor::{DType, Data, Shape, Tensor, TensorType};

/// Bytes of a sum.
pub(crate) const SUM_BYTES: usize = 4;

/// Extents of a channels-last activation; axes that its rank lacks are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Dims {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

/// The extents of a shape of rank 1 to 4.
pub(crate) fn dims(shape: &Shape) -> Option<Dims> {
    let (n, h, w, c) = match shape[..] {
        [c] => (1, 1, 1, c),
        [n, c] => (n, 1, 1, c),
        [n, w, c] => (n, 1, w, c),
        [n, h, w, c] => (n, h, w, c),
        _ => return None,
    };
    (n > 0 && h > 0 && w > 0 && c > 0).then_some(Dims { n, h, w, c })
}

/// The element and cell sizes of a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub batch: usize,
    pub block_in: usize,
    pub block_out: usize,
    /// Channels of a cell.
    pub cell: usize,
    /// INP elements of a cell.
    pub inp_per_cell: usize,
    /// OUT elements (and ACC vectors) of a cell.
    pub out_per_cell: usize,
    /// How results are stored.
    pub store: MemoryType,
    /// Taps that LANE multiplies at once at most.
    pub lane_taps: usize,
}

impl Geometry {
    pub fn new(config: &HwConfig) -> Self {
        let (batch, block_in, block_out) = (config.batch(), config.block_in(), config.block_out());
        let cell = block_in.max(block_out);
        let store = if batch > 1 && block_in != block_out { MemoryType::OutInp } else { MemoryType::Out };
        Self {
            batch,
            block_in,
            block_out,
            cell,
            inp_per_cell: cell / block_in,
            out_per_cell: cell / block_out,
            store,
            lane_taps: config.lane_taps(),
        }
    }

    /// Channel blocks of `channels`.
    pub fn blocks(&self, channels: usize) -> usize {
        channels.div_ceil(self.cell)
    }

    /// Row groups of `rows` rows.
    pub fn groups(&self, rows: usize) -> usize {
        rows.div_ceil(self.batch)
    }

    /// Bytes of an activation.
    pub fn bytes(&self, d: Dims) -> u64 {
        [self.groups(d.n), self.blocks(d.c), d.h, d.w, self.batch * self.cell]
            .iter()
            .fold(1u64, |n, &x| n.saturating_mul(x as u64))
    }
}

/// Where an input or output of a compiled segment lies, and how its bytes are arranged.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Index into [`Program::sections`](tandem_isa::Program).
    pub section: usize,
    /// Name of the value.
    pub name: String,
    shape: Shape,
    dtype: DType,
    dims: Dims,
    geometry: Geometry,
    samples: usize,
    /// Bytes of an element, each of which is an activation of its own.
    bytes: usize,
    /// How neighbouring pixels share a cell.
    fold: Option<Fold>,
}

impl Binding {
    pub(crate) fn new(
        section: usize,
        name: &str,
        ty: &TensorType,
        geometry: &Geometry,
        samples: usize,
        bytes: usize,
        fold: Option<Fold>,
    ) -> Self {
        let dims = dims(&ty.shape).unwrap_or(Dims { n: 1, h: 1, w: 1, c: 1 });
        Self {
            section,
            name: name.to_string(),
            shape: ty.shape.clone(),
            dtype: ty.dtype,
            dims,
            geometry: *geometry,
            samples,
            bytes,
            fold,
        }
    }

    /// Bytes of the packed activation.
    pub fn bytes(&self) -> usize {
        self.bytes * self.image_bytes()
    }

    /// Bytes of the activation of one byte of its elements.
    fn image_bytes(&self) -> usize {
        self.geometry.bytes(self.packed()) as usize
    }

    /// Extents of what lies in DRAM.
    fn packed(&self) -> Dims {
        self.fold.as_ref().map_or(self.dims, |fold| fold.dims)
    }

    /// The bytes that the device reads, for at most [`Compiled::samples`](crate::Compiled) samples. Rows and lanes
    /// that no sample fills are zero, or what stands for zero in the first layer.
    ///
    /// # Errors
    /// When there are too many samples, or one of another shape or dtype.
    pub fn pack(&self, samples: &[&Tensor]) -> Result<Vec<u8>, JitError> {
        if samples.len() > self.samples {
            return Err(JitError::Invalid(format!(
                "{} samples given for '{}', but one run takes {}",
                samples.len(),
                self.name,
                self.samples
            )));
        }
        let mut bytes = vec![self.fold.as_ref().map_or(0, |fold| fold.pad_value); self.bytes()];
        for (index, tensor) in samples.iter().enumerate() {
            if tensor.shape() != &self.shape || tensor.dtype() != self.dtype {
                return Err(JitError::Invalid(format!(
                    "'{}' is {}{} but the program takes {}{}",
                    self.name,
                    tensor.dtype(),
                    tensor.shape(),
                    self.dtype,
                    self.shape
                )));
            }
            match tensor.data() {
                Data::I8(v) => self.scatter(&mut bytes, index, |i| v[i] as u8),
                Data::U8(v) => self.scatter(&mut bytes, index, |i| v[i] ^ 0x80),
                _ => return Err(JitError::Invalid(format!("'{}' is {}, not an 8-bit tensor", self.name, self.dtype))),
            }
        }
        Ok(bytes)
    }

    /// The tensors of the first `samples` samples in the device's bytes. Of an input, codes that its first layer does not read
    /// may be missing there, and are 0 then.
    ///
    /// # Errors
    /// When the bytes are not as many as [`Binding::bytes`].
    pub fn unpack(&self, bytes: &[u8], samples: usize) -> Result<Vec<Tensor>, JitError> {
        if bytes.len() != self.bytes() || samples > self.samples {
            return Err(JitError::Invalid(format!(
                "'{}' occupies {} bytes for {} samples, but {} bytes and {samples} samples were given",
                self.name,
                self.bytes(),
                self.samples,
                bytes.len()
            )));
        }
        let elements = self.shape.elements();
        (0..samples)
            .map(|index| {
                let image = |image: &[u8]| {
                    let mut codes = vec![0u8; elements];
                    self.each_run(index, |at, offset, len| {
                        codes[at..at + len].copy_from_slice(&image[offset..offset + len])
                    });
                    codes
                };
                let data = match self.dtype {
                    DType::U8 => Data::U8(image(bytes).into_iter().map(|b| b ^ 0x80).collect()),
                    DType::I32 => {
                        let bytes: Vec<Vec<u8>> = bytes.chunks(self.image_bytes()).map(image).collect();
                        let (low, last) = bytes.split_at(self.bytes - 1);
                        let sum = |at: usize| {
                            let high = i32::from(last[0][at] as i8);
                            low.iter().rev().fold(high, |sum, byte| sum << 8 | i32::from(byte[at]))
                        };
                        Data::I32((0..elements).map(sum).collect())
                    }
                    _ => Data::I8(image(bytes).into_iter().map(|b| b as i8).collect()),
                };
                Tensor::new(self.shape.clone(), data).map_err(|e| JitError::Invalid(e.to_string()))
            })
            .collect()
    }

    fn scatter(&self, bytes: &mut [u8], sample: usize, code: impl Fn(usize) -> u8) {
        self.each_run(sample, |at, offset, len| {
            for (k, byte) in bytes[offset..offset + len].iter_mut().enumerate() {
                *byte = code(at + k);
            }
        });
    }

    /// Calls `run(first element of the tensor, first byte of the image, length)` for every run of channels that is
    /// contiguous in both.
    fn each_run(&self, sample: usize, mut run: impl FnMut(usize, usize, usize)) {
        let (d, p, g) = (self.dims, self.packed(), self.geometry);
        let blocks = g.blocks(p.c);
        for n in 0..d.n {
            let row = sample * d.n + n;
            let (group, b) = (row / g.batch, row % g.batch);
            // All channels of a pixel of the tensor, which begin at a channel of a packed one.
            let mut pixel = |y: usize, x: usize, packed: usize, first: usize| {
                let (mut channel, from) = (0, ((n * d.h + y) * d.w + x) * d.c);
                while channel < d.c {
                    let at = first + channel;
                    let len = (g.block_in - at % g.block_in).min(d.c - channel);
                    let cell = (group * blocks + at / g.cell) * p.h * p.w + packed;
                    let element = cell * g.inp_per_cell + at % g.cell / g.block_in;
                    run(from + channel, (element * g.batch + b) * g.block_in + at % g.block_in, len);
                    channel += len;
                }
            };
            for packed in 0..p.h * p.w {
                let (y, x) = (packed / p.w, packed % p.w);
                match &self.fold {
                    None => pixel(y, x, packed, 0),
                    Some(fold) => fold.each_pixel(y, x, |row, column, first| pixel(row, column, packed, first)),
                }
            }
        }
    }
}
