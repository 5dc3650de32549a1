//! Tensor maps: the simulator's own form of the opaque 128-byte descriptor of tensor copies.

use thiserror::Error;

use crate::memory::word;
use crate::types::{Kind, Type};

/// First bytes of a map, by which a descriptor of another maker is found.
const MAGIC: [u8; 8] = *b"ptx-map\x01";
const BYTES: usize = 128;
const MOST_BOX: u32 = 256;

/// How 16-byte chunks of a box are permuted in shared memory, against bank conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Swizzle {
    /// Not at all.
    #[default]
    None,
    /// Within 32 bytes.
    B32,
    /// Within 64 bytes.
    B64,
    /// Within 128 bytes.
    B128,
}

impl Swizzle {
    /// Bytes within which chunks move.
    pub fn span(self) -> u32 {
        match self {
            Self::None => 16,
            Self::B32 => 32,
            Self::B64 => 64,
            Self::B128 => 128,
        }
    }

    /// Where the byte at shared address `at` of the plain layout lies.
    ///
    /// Bits 4 to 6 of the address are combined with bits 7 to 9 by exclusive or, as many of them as the span has.
    pub fn apply(self, at: u32) -> u32 {
        let chunks = self.span() / 16 - 1;
        at ^ (at >> 3 & chunks << 4)
    }
}

/// Why a tensor map could not be made or read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("tensor map: {0}")]
pub struct TensorMapError(String);

/// A tensor in global memory and the box that copies take from it.
///
/// # Shapes
///
/// Dimension 0 is the innermost and contiguous; `extents` and `tile` have one entry for each dimension, `strides` one
/// for each but the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    pub(crate) address: u64,
    pub(crate) element: u32,
    pub(crate) extents: Vec<u64>,
    /// Bytes; that of dimension 0 is the element.
    pub(crate) strides: Vec<u64>,
    pub(crate) tile: Vec<u32>,
    pub(crate) swizzle: Swizzle,
}

impl TensorMap {
    /// Encodes the map of a tensor at `address` whose elements have `element_bytes` bytes.
    ///
    /// # Units
    ///
    /// `strides` are bytes; `extents` and `tile`, the box, are elements.
    ///
    /// # Errors
    ///
    /// What the driver refuses: a rank outside 1 to 5, an address or stride that is no multiple of 16, a box of more
    /// than 256 or of no elements in a dimension, an inner box that is no multiple of 16 bytes or wider than the swizzle.
    pub fn tiled(
        element_bytes: u32,
        rank: u32,
        address: u64,
        extents: &[u64],
        strides: &[u64],
        tile: &[u32],
        swizzle: Swizzle,
    ) -> Result<[u8; BYTES], TensorMapError> {
        let mut all = vec![u64::from(element_bytes)];
        all.extend(strides);
        let map = Self {
            address,
            element: element_bytes,
            extents: extents.to_vec(),
            strides: all,
            tile: tile.to_vec(),
            swizzle,
        };
        map.check(rank)?;
        Ok(map.encode())
    }

    fn check(&self, rank: u32) -> Result<(), TensorMapError> {
        let fail = |message: String| Err(TensorMapError(message));
        if !(1..=5).contains(&rank) {
            return fail(format!("{rank} dimensions are not possible; give 1 to 5"));
        }
        let n = rank as usize;
        if self.extents.len() != n || self.strides.len() != n || self.tile.len() != n {
            return fail(format!("{n} dimensions need {n} extents, {} strides and {n} box sizes", n - 1));
        }
        if ![1, 2, 4, 8].contains(&self.element) {
            return fail(format!("elements of {} bytes are not possible", self.element));
        }
        if self.address == 0 || !self.address.is_multiple_of(16) {
            return fail(format!("address {:#x} is no multiple of 16", self.address));
        }
        if let Some(e) = self.extents.iter().find(|e| **e == 0 || **e > 1 << 32) {
            return fail(format!("an extent of {e} is not possible; give 1 to 2^32"));
        }
        for (i, stride) in self.strides.iter().enumerate().skip(1) {
            if *stride == 0 || stride % 16 != 0 || *stride >= 1 << 40 {
                return fail(format!("stride {stride} of dimension {i} is no multiple of 16 below 2^40"));
            }
        }
        if let Some(b) = self.tile.iter().find(|b| **b == 0 || **b > MOST_BOX) {
            return fail(format!("a box of {b} elements in a dimension is not possible; give 1 to {MOST_BOX}"));
        }
        let inner = self.tile[0] * self.element;
        if !inner.is_multiple_of(16) {
            return fail(format!("the inner {inner} bytes of the box are no multiple of 16"));
        }
        if self.swizzle != Swizzle::None && inner > self.swizzle.span() {
            return fail(format!("the inner {inner} bytes of the box exceed the swizzle's {}", self.swizzle.span()));
        }
        Ok(())
    }

    /// Bytes of a box in shared memory.
    pub(crate) fn box_bytes(&self) -> u32 {
        self.tile.iter().fold(self.element, |n, t| n.saturating_mul(*t))
    }

    /// The type by which reductions combine elements, of which a map knows the size alone.
    pub(crate) fn ty(&self) -> Type {
        Type { kind: Kind::U, bits: 8 * self.element }
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..8].copy_from_slice(&MAGIC);
        let swizzle = match self.swizzle {
            Swizzle::None => 0,
            Swizzle::B32 => 1,
            Swizzle::B64 => 2,
            Swizzle::B128 => 3,
        };
        let rank = self.extents.len();
        out[8..11].copy_from_slice(&[rank as u8, self.element as u8, swizzle]);
        out[16..24].copy_from_slice(&self.address.to_le_bytes());
        for i in 0..rank {
            // An extent of 2^32 is one too large for its field, so one less is kept.
            out[24 + 4 * i..28 + 4 * i].copy_from_slice(&((self.extents[i] - 1) as u32).to_le_bytes());
            out[44 + 8 * i..52 + 8 * i].copy_from_slice(&self.strides[i].to_le_bytes());
            out[84 + 2 * i..86 + 2 * i].copy_from_slice(&(self.tile[i] as u16).to_le_bytes());
        }
        out
    }

    /// Reads an encoded map.
    pub(crate) fn decode(bytes: &[u8; BYTES]) -> Result<Self, TensorMapError> {
        if bytes[..8] != MAGIC {
            return Err(TensorMapError(
                "the 128 bytes are no map of this simulator; encode it with TensorMap::tiled, and pass its address"
                    .to_owned(),
            ));
        }
        let rank = usize::from(bytes[8]).min(5);
        let map = Self {
            address: word(&bytes[16..][..8]),
            element: bytes[9].into(),
            extents: (0..rank).map(|i| word(&bytes[24 + 4 * i..][..4]) + 1).collect(),
            strides: (0..rank).map(|i| word(&bytes[44 + 8 * i..][..8])).collect(),
            tile: (0..rank).map(|i| word(&bytes[84 + 2 * i..][..2]) as u32).collect(),
            swizzle: [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128][usize::from(bytes[10] & 3)],
        };
        map.check(rank as u32)?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(tile: &[u32], swizzle: Swizzle) -> Result<[u8; 128], TensorMapError> {
        TensorMap::tiled(2, 2, 0x2_0000_0000, &[1 << 32, 100], &[4096], tile, swizzle)
    }

    #[test]
    fn a_map_survives_its_encoding() {
        let bytes = map(&[64, 128], Swizzle::B128).unwrap();
        let read = TensorMap::decode(&bytes).unwrap();
        assert_eq!((read.extents, read.strides, read.tile), (vec![1 << 32, 100], vec![2, 4096], vec![64, 128]));
        assert!(TensorMap::decode(&[0; 128]).is_err());
    }

    #[test]
    fn what_the_driver_refuses_is_refused() {
        assert!(map(&[128, 8], Swizzle::B128).is_err());
        assert!(map(&[128, 8], Swizzle::None).is_ok());
        assert!(map(&[4, 8], Swizzle::None).is_err());
        assert!(map(&[64, 257], Swizzle::None).is_err());
        assert!(TensorMap::tiled(2, 2, 8, &[64, 64], &[128], &[64, 64], Swizzle::None).is_err());
        assert!(TensorMap::tiled(2, 2, 16, &[64, 64], &[130], &[64, 64], Swizzle::None).is_err());
        assert!(TensorMap::tiled(2, 6, 16, &[64; 6], &[128; 5], &[8; 6], Swizzle::None).is_err());
        assert!(TensorMap::tiled(2, 2, 16, &[64], &[128], &[64, 64], Swizzle::None).is_err());
    }

    #[test]
    fn a_swizzle_permutes_the_chunks_of_its_span() {
        for swizzle in [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128] {
            let mut seen: Vec<u32> = (0..1024).map(|a| swizzle.apply(a)).collect();
            assert!(seen.iter().zip(0..).all(|(to, from)| to / swizzle.span() == from / swizzle.span()));
            seen.sort_unstable();
            assert!(seen.iter().zip(0..).all(|(to, from)| *to == from));
        }
        assert_eq!(Swizzle::B128.apply(128), 128 + 16);
        assert_eq!(Swizzle::B64.apply(128 + 16), 128);
    }
}
