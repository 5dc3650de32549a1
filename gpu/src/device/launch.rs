//! Launches and their arguments.

use super::{Buffer, Facts};
use crate::error::{GpuError, Result};
use crate::nvrtc::Instance;
use tandem_tensor::DType;

/// Arguments in the order of the kernel's parameters, laid out as the PTX parameter space is: each at the next multiple of its
/// own alignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    bytes: Vec<u8>,
    places: Vec<(usize, usize)>,
    align: usize,
}

impl Args {
    /// None yet.
    pub fn new() -> Args {
        Args::default()
    }

    /// An address, as of [`Buffer::at`].
    pub fn address(self, address: u64) -> Args {
        self.push(&address.to_le_bytes(), 8)
    }

    /// The address of a buffer.
    pub fn buffer(self, buffer: &Buffer) -> Args {
        self.address(buffer.address())
    }

    /// The address of a buffer, or null.
    pub fn optional(self, buffer: Option<&Buffer>) -> Args {
        self.address(buffer.map_or(0, Buffer::address))
    }

    /// A 32-bit integer.
    pub fn u32(self, value: u32) -> Args {
        self.push(&value.to_le_bytes(), 4)
    }

    /// A signed 32-bit integer.
    pub fn i32(self, value: i32) -> Args {
        self.push(&value.to_le_bytes(), 4)
    }

    /// A 64-bit integer.
    pub fn u64(self, value: u64) -> Args {
        self.push(&value.to_le_bytes(), 8)
    }

    /// A single-precision number.
    pub fn f32(self, value: f32) -> Args {
        self.push(&value.to_le_bytes(), 4)
    }

    /// The descriptor of [`super::Device::tensor_map`], for a parameter `const __grid_constant__ TensorMap`.
    pub fn tensor_map(self, map: &[u8; 128]) -> Args {
        self.push(map, 64)
    }

    /// A structure whose members are these arguments, as one argument.
    pub fn block(self, members: &Args) -> Args {
        let mut bytes = members.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(members.align.max(1)), 0);
        self.push(&bytes, members.align.max(1))
    }

    /// All arguments.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Offset and size of each argument.
    pub fn places(&self) -> &[(usize, usize)] {
        &self.places
    }

    fn push(mut self, value: &[u8], align: usize) -> Args {
        let offset = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(offset, 0);
        self.bytes.extend_from_slice(value);
        self.places.push((offset, value.len()));
        self.align = self.align.max(align);
        self
    }
}

/// One launch of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Blocks of a cluster.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub shared: u32,
    /// Arguments.
    pub args: Args,
}

impl Launch {
    /// A launch without clusters and without dynamic shared memory.
    pub fn new(grid: [u32; 3], block: [u32; 3], args: Args) -> Launch {
        Launch { grid, block, cluster: [1, 1, 1], shared: 0, args }
    }

    /// The same with dynamic shared memory.
    pub fn shared(self, bytes: u32) -> Launch {
        Launch { shared: bytes, ..self }
    }

    /// The same in clusters.
    pub fn cluster(self, cluster: [u32; 3]) -> Launch {
        Launch { cluster, ..self }
    }

    pub(super) fn check(&self, instance: &Instance, facts: &Facts) -> Result<()> {
        let invalid = |text: String| Err(GpuError::Invalid(format!("{}: {text}", instance.id())));
        let all = |extents: [u32; 3]| extents.iter().map(|&extent| u64::from(extent)).product::<u64>();
        if all(self.grid) == 0 || self.grid[0] > i32::MAX as u32 || self.grid[1] > 65535 || self.grid[2] > 65535 {
            return invalid(format!("a grid of {:?} blocks cannot be launched", self.grid));
        }
        if all(self.block) == 0 || all(self.block) > 1024 || self.block[2] > 64 {
            return invalid(format!("a block of {:?} threads cannot be launched", self.block));
        }
        let whole = self.grid.iter().zip(self.cluster).all(|(&grid, cluster)| cluster > 0 && grid % cluster == 0);
        if !whole || all(self.cluster) > 8 {
            return invalid(format!("a grid of {:?} blocks has no clusters of {:?}", self.grid, self.cluster));
        }
        if self.shared > facts.shared_per_block {
            let text = format!("{} bytes of shared memory are more than {}", self.shared, facts.shared_per_block);
            return invalid(text);
        }
        Ok(())
    }
}

/// How TMA permutes 16-byte pieces in shared memory, so that columns do not meet in one bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// Not at all.
    None,
    /// Within 32 bytes.
    Bytes32,
    /// Within 64 bytes.
    Bytes64,
    /// Within 128 bytes.
    Bytes128,
}

impl Swizzle {
    /// The longest inner box row, in bytes.
    pub fn span(self) -> usize {
        match self {
            Swizzle::None => usize::MAX,
            Swizzle::Bytes32 => 32,
            Swizzle::Bytes64 => 64,
            Swizzle::Bytes128 => 128,
        }
    }
}

/// A tensor in device memory as TMA sees it. The innermost axis comes first.
///
/// # Units
/// Extents and the box in elements, strides in bytes.
#[derive(Clone, Copy, Debug)]
pub struct TensorMap<'a> {
    /// Type of the elements.
    pub dtype: DType,
    /// Address of the first element; a multiple of 16.
    pub address: u64,
    /// Extent of each axis.
    pub extents: &'a [u64],
    /// Stride of each axis but the innermost; multiples of 16.
    pub strides: &'a [u64],
    /// Elements of one copy along each axis; at most 256.
    pub box_extents: &'a [u32],
    /// Permutation in shared memory.
    pub swizzle: Swizzle,
}

impl TensorMap<'_> {
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(GpuError::Invalid(format!("a tensor map with {text}")));
        let rank = self.extents.len();
        if rank == 0 || rank > 5 || self.strides.len() + 1 != rank || self.box_extents.len() != rank {
            return invalid(format!(
                "{rank} extents, {} strides and a box of {} axes",
                self.strides.len(),
                self.box_extents.len()
            ));
        }
        if !self.address.is_multiple_of(16) {
            return invalid(format!("address {:#x}, which is no multiple of 16", self.address));
        }
        if let Some(extent) = self.extents.iter().find(|&&extent| extent == 0 || extent > 1 << 32) {
            return invalid(format!("extent {extent}, not one of 1 to 2^32"));
        }
        if let Some(stride) = self.strides.iter().find(|&&stride| stride % 16 != 0 || stride >= 1 << 40) {
            return invalid(format!("stride {stride}, which is no multiple of 16 below 2^40"));
        }
        if let Some(extent) = self.box_extents.iter().find(|&&extent| extent == 0 || extent > 256) {
            return invalid(format!("a box of {extent} elements on one axis, not 1 to 256"));
        }
        let row = self.box_extents[0] as usize * self.dtype.bytes();
        if !row.is_multiple_of(16) || row > self.swizzle.span() {
            return invalid(format!("box rows of {row} bytes, not a multiple of 16 within its swizzle"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_lie_at_multiples_of_their_alignment() {
        let args = Args::new().u32(7).address(0x1122).f32(1.0).tensor_map(&[9; 128]).i32(-1);
        assert_eq!(args.places(), [(0, 4), (8, 8), (16, 4), (64, 128), (192, 4)]);
        assert_eq!(args.bytes().len(), 196);
        assert_eq!(args.bytes()[8..10], [0x22, 0x11]);
        let args = Args::new().i32(1).block(&Args::new().u32(2).u64(3).u32(4));
        assert_eq!((args.places(), args.bytes().len()), (&[(0, 4), (8, 24)][..], 32));
    }

    #[test]
    fn a_tensor_map_that_the_hardware_refuses_is_refused_with_the_reason() {
        let good = TensorMap {
            dtype: DType::BF16,
            address: 0x1000,
            extents: &[64, 9],
            strides: &[128],
            box_extents: &[64, 8],
            swizzle: Swizzle::Bytes128,
        };
        good.check().unwrap();
        let bad = [
            (TensorMap { address: 0x1008, ..good }, "address 0x1008"),
            (TensorMap { strides: &[120], ..good }, "stride 120"),
            (TensorMap { extents: &[0, 9], ..good }, "extent 0"),
            (TensorMap { box_extents: &[128, 8], ..good }, "box rows of 256 bytes"),
            (TensorMap { box_extents: &[64, 257], ..good }, "a box of 257"),
            (TensorMap { strides: &[], ..good }, "0 strides"),
        ];
        for (map, text) in bad {
            let error = map.check().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
