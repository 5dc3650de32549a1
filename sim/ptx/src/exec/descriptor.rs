//! Matrix descriptors: how an operand of `wgmma` lies in shared memory.
//!
//! # Source
//!
//! PTX ISA 9.0, "Asynchronous warpgroup-level matrix shared memory layout" of `wgmma.mma_async`: the fields are those of
//! "Matrix Descriptor Format", the meaning of both offsets is that of "Leading Dimension Byte Offset" and "Stride
//! Dimension Byte Offset", the places of elements are those of the table "Canonical Layouts".
//!
//! | operand | leading offset | stride offset |
//! |---|---|---|
//! | K-major, no swizzle | between 16-byte columns | between groups of 8 rows |
//! | K-major, swizzled | not used | between groups of 8 rows |
//! | MN-major, no swizzle | between groups of 8 indices of K | between 16-byte columns along M or N |
//! | MN-major, swizzled | between spans of 32, 64 or 128 bytes along M or N | between groups of 8 indices of K |
//!
//! A swizzle permutes the 16-byte chunks by bits of the shared address, as tensor copies do, and not by bits of the
//! offset in the matrix. So a start address may move within a tile: by 32 bytes to the next step along a K-major row, by
//! 16 rows to the next step of an MN-major operand.

use crate::Swizzle;
use crate::fault::{FaultKind, Trouble};

/// How a matrix lies in shared memory, from its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    start: u32,
    leading: u32,
    stride: u32,
    swizzle: Swizzle,
    /// MN-major: contiguous along M or N.
    pub transposed: bool,
}

impl Layout {
    /// Reads a descriptor: 14 bits each from bit 0 the start address, from 16 the leading, from 32 the stride offset, in
    /// units of 16 bytes; from bit 49 the base offset, from 62 the swizzle.
    ///
    /// The base offset is for tiles that do not start where the pattern of the swizzle repeats (1024, 512 or 256 bytes).
    /// The ISA gives the formula of its value, but not what the hardware does with it, so it must be 0 here.
    pub fn new(descriptor: u64, transposed: bool) -> Result<Self, Trouble> {
        let field = |from: u32| (descriptor >> from & 0x3fff) as u32 * 16;
        if descriptor >> 49 & 7 != 0 {
            let message = "a base offset in a matrix descriptor is not run by the simulator; align the tile";
            return Err(Trouble::new(FaultKind::Operand, message));
        }
        let swizzle = match descriptor >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::B128,
            2 => Swizzle::B64,
            _ => Swizzle::B32,
        };
        Ok(Self { start: field(0), leading: field(16), stride: field(32), swizzle, transposed })
    }

    /// The shared address of 16 bytes: K-major those of row `row` from byte `column` of K on; MN-major those of index
    /// `row` of K from byte `column` of M or N on.
    pub fn chunk(&self, row: u32, column: u32) -> u32 {
        let span = self.swizzle.span();
        let plain = match (self.transposed, self.swizzle) {
            (false, Swizzle::None) => row / 8 * self.stride + row % 8 * 16 + column / 16 * self.leading,
            (false, _) => row / 8 * self.stride + row % 8 * span + column,
            (true, Swizzle::None) => column / 16 * self.stride + row % 8 * 16 + row / 8 * self.leading,
            (true, _) => column / span * self.leading + column % span + row % 8 * span + row / 8 * self.stride,
        };
        self.swizzle.apply(self.start + plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(start: u64, leading: u64, stride: u64, swizzle: u64) -> u64 {
        start >> 4 | (leading >> 4) << 16 | (stride >> 4) << 32 | swizzle << 62
    }

    /// A layout as the ISA writes it: for M or N and for K the extents and distances of nested dimensions, the innermost
    /// first, in elements.
    struct Example {
        mn: &'static [(u32, u32)],
        k: &'static [(u32, u32)],
        element_bytes: u32,
        leading: u64,
        stride: u64,
        /// The code of the swizzle in a descriptor, and how many bits of the address it permutes.
        swizzle: (u64, u32),
        transposed: bool,
    }

    /// The examples below the table of canonical layouts, with the exact layout and the offsets that the ISA states.
    const EXAMPLES: &[Example] = &[
        Example {
            mn: &[(8, 4), (2, 32)],
            k: &[(4, 1), (4, 64)],
            element_bytes: 4,
            leading: 64 * 4,
            stride: 32 * 4,
            swizzle: (0, 0),
            transposed: false,
        },
        Example {
            mn: &[(8, 8), (2, 64)],
            k: &[(4, 1), (4, 4)],
            element_bytes: 4,
            leading: 16,
            stride: 64 * 4,
            swizzle: (3, 1),
            transposed: false,
        },
        Example {
            mn: &[(8, 1), (2, 64)],
            k: &[(8, 8), (2, 128)],
            element_bytes: 2,
            leading: 128 * 2,
            stride: 64 * 2,
            swizzle: (0, 0),
            transposed: true,
        },
        Example {
            mn: &[(8, 1), (2, 8), (2, 128)],
            k: &[(8, 16), (2, 256)],
            element_bytes: 2,
            leading: 128 * 2,
            stride: 256 * 2,
            swizzle: (3, 1),
            transposed: true,
        },
        Example {
            mn: &[(8, 1), (4, 8), (2, 256)],
            k: &[(8, 32), (2, 512)],
            element_bytes: 2,
            leading: 256 * 2,
            stride: 512 * 2,
            swizzle: (2, 2),
            transposed: true,
        },
        // The last is not among them: it is the line of the table for 128 bytes, with two atoms along N and K each.
        Example {
            mn: &[(8, 1), (8, 8), (2, 512)],
            k: &[(8, 64), (2, 1024)],
            element_bytes: 2,
            leading: 512 * 2,
            stride: 1024 * 2,
            swizzle: (1, 3),
            transposed: true,
        },
    ];

    fn offset(modes: &[(u32, u32)], mut index: u32) -> u32 {
        let mut out = 0;
        for (extent, distance) in modes {
            out += index % extent * distance;
            index /= extent;
        }
        out
    }

    #[test]
    fn the_examples_of_canonical_layouts_lie_where_the_isa_says() {
        for (number, e) in EXAMPLES.iter().enumerate() {
            let start = 4096;
            let layout = Layout::new(descriptor(start, e.leading, e.stride, e.swizzle.0), e.transposed).unwrap();
            let extent = |modes: &[(u32, u32)]| modes.iter().map(|(n, _)| n).product::<u32>();
            for mn in 0..extent(e.mn) {
                // An instruction takes 32 bytes along K of a K-major operand, 16 indices of an MN-major one.
                for k in 0..extent(e.k).min(if e.transposed { 16 } else { 32 / e.element_bytes }) {
                    let plain = start as u32 + (offset(e.mn, mn) + offset(e.k, k)) * e.element_bytes;
                    let want = plain ^ (plain >> 7 & ((1 << e.swizzle.1) - 1)) << 4;
                    let (row, byte) = if e.transposed { (k, mn) } else { (mn, k) };
                    let byte = byte * e.element_bytes;
                    let have = layout.chunk(row, byte & !15) + byte % 16;
                    assert_eq!(have, want, "example {number}, ({mn}, {k})");
                }
            }
        }
    }

    #[test]
    fn a_tile_of_128_byte_rows_is_permuted_as_a_tensor_copy_permutes_it() {
        let layout = Layout::new(descriptor(2048, 16, 1024, 1), false).unwrap();
        for row in 0..64 {
            for column in (0..128).step_by(16) {
                assert_eq!(layout.chunk(row, column), Swizzle::B128.apply(2048 + row * 128 + column));
            }
        }
    }

    #[test]
    fn a_start_address_within_a_tile_gives_the_rest_of_the_tile() {
        let tile = Layout::new(descriptor(2048, 8192, 1024, 1), false).unwrap();
        let step = Layout::new(descriptor(2048 + 96, 8192, 1024, 1), false).unwrap();
        assert!((0..64).all(|row| step.chunk(row, 16) == tile.chunk(row, 96 + 16)));
        let tile = Layout::new(descriptor(2048, 8192, 1024, 1), true).unwrap();
        let step = Layout::new(descriptor(2048 + 16 * 128, 8192, 1024, 1), true).unwrap();
        for (row, column) in (0..16).flat_map(|row| (0..512).step_by(16).map(move |column| (row, column))) {
            assert_eq!(step.chunk(row, column), tile.chunk(row + 16, column));
        }
    }

    #[test]
    fn a_base_offset_is_refused() {
        assert!(Layout::new(descriptor(2048, 16, 1024, 1) | 1 << 49, false).is_err());
    }
}
