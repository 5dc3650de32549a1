//! Global memory of the simulated device.

use std::collections::HashMap;

use thiserror::Error;

use crate::module::Module;
use crate::op::GLOBAL_BASE;

/// Bytes that follow every allocation and belong to none, so that a small step past the end is found.
const GUARD: u64 = 4096;

/// The alignment of allocations, as of `cuMemAlloc`.
const ALIGN: u64 = 256;

/// What fresh memory holds: a NaN in every floating-point format, −1 as an integer.
pub(crate) const POISON: u8 = 0xff;

/// At most eight bytes as a number, the lowest first.
#[inline(always)]
pub(crate) fn word(bytes: &[u8]) -> u64 {
    // The usual sizes without a copy of so many bytes, which processors are slow to read back as a whole.
    match *bytes {
        [a] => return a.into(),
        [a, b] => return u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => return u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => return u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => {}
    }
    let mut out = [0; 8];
    out[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(out)
}

/// Why an address could not be accessed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AccessError {
    /// No allocation holds the address.
    #[error("{len} bytes at {address:#x} lie in no allocation; {near}")]
    Unallocated {
        /// The first byte.
        address: u64,
        /// Bytes of the access.
        len: usize,
        /// The nearest allocation in words.
        near: String,
    },
    /// The allocation has been freed.
    #[error("{len} bytes at {address:#x} lie in an allocation that has been freed")]
    Freed {
        /// The first byte.
        address: u64,
        /// Bytes of the access.
        len: usize,
    },
}

#[derive(Clone, Debug)]
struct Allocation {
    base: u64,
    len: u64,
    /// `None` once freed.
    bytes: Option<Vec<u8>>,
}

/// Global memory of the simulated device: allocations with guard gaps, never at the same address twice.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Sorted by base, since addresses only grow.
    allocations: Vec<Allocation>,
    next: u64,
    /// The allocation that was used last: most accesses are to it.
    last: usize,
    /// Bases of the variables of modules that have been loaded, by the module's identity.
    variables: HashMap<u64, Vec<u64>>,
}

impl Memory {
    /// Memory with no allocation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allocates `bytes` bytes of poison (all ones) at an address that is a multiple of 256.
    ///
    /// Returns 0, which is no address, where the host lacks room.
    pub fn alloc(&mut self, bytes: u64) -> u64 {
        let mut room = Vec::new();
        if usize::try_from(bytes).map(|n| room.try_reserve_exact(n)).is_err() || bytes > 1 << 40 {
            return 0;
        }
        if room.capacity() < bytes as usize {
            return 0;
        }
        room.resize(bytes as usize, POISON);
        let base = self.next.max(GLOBAL_BASE);
        self.next = (base + bytes + GUARD).next_multiple_of(ALIGN);
        self.allocations.push(Allocation { base, len: bytes, bytes: Some(room) });
        base
    }

    /// Frees the allocation that starts at `address`.
    ///
    /// # Errors
    ///
    /// No live allocation starts there.
    pub fn free(&mut self, address: u64) -> Result<(), AccessError> {
        let at = self.allocations.binary_search_by_key(&address, |a| a.base);
        let found = at.ok().map(|i| &mut self.allocations[i]);
        match found {
            None => Err(AccessError::Unallocated { address, len: 0, near: "free takes the start of one".into() }),
            Some(a) if a.bytes.is_none() => Err(AccessError::Freed { address, len: 0 }),
            Some(a) => {
                a.bytes = None;
                Ok(())
            }
        }
    }

    /// Writes `data` at `address`.
    ///
    /// # Errors
    ///
    /// The bytes do not all lie in one live allocation.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<(), AccessError> {
        self.slice_mut(address, data.len()).map(|to| to.copy_from_slice(data))
    }

    /// Reads into `data` from `address`.
    ///
    /// # Errors
    ///
    /// The bytes do not all lie in one live allocation.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let at = self.find(address, data.len())?;
        let allocation = &self.allocations[at];
        let offset = (address - allocation.base) as usize;
        match &allocation.bytes {
            Some(bytes) => data.copy_from_slice(&bytes[offset..offset + data.len()]),
            None => return Err(AccessError::Freed { address, len: data.len() }),
        }
        Ok(())
    }

    /// Places the variables of a module, once, and returns their addresses.
    pub(crate) fn load(&mut self, module: &Module) -> Vec<u64> {
        if let Some(bases) = self.variables.get(&module.identity) {
            return bases.clone();
        }
        let bases: Vec<u64> = module.variables.iter().map(|v| self.alloc(v.bytes.into())).collect();
        for (variable, base) in module.variables.iter().zip(&bases) {
            let mut bytes = variable.init.clone();
            bytes.resize(variable.bytes as usize, 0);
            for (offset, name, addend) in &variable.pointers {
                let target = module.variables.iter().position(|v| v.name == *name);
                let value = target.map_or(0, |i| bases[i].wrapping_add(*addend as u64)).to_le_bytes();
                let at = *offset as usize;
                let n = value.len().min(bytes.len().saturating_sub(at));
                bytes[at..at + n].copy_from_slice(&value[..n]);
            }
            if *base != 0 {
                let _ = self.write(*base, &bytes);
            }
        }
        self.variables.insert(module.identity, bases.clone());
        bases
    }

    /// The bytes of an access.
    pub(crate) fn slice_mut(&mut self, address: u64, len: usize) -> Result<&mut [u8], AccessError> {
        let at = self.find(address, len)?;
        self.last = at;
        let allocation = &mut self.allocations[at];
        let offset = (address - allocation.base) as usize;
        match &mut allocation.bytes {
            Some(bytes) => Ok(&mut bytes[offset..offset + len]),
            None => Err(AccessError::Freed { address, len }),
        }
    }

    fn find(&self, address: u64, len: usize) -> Result<usize, AccessError> {
        let holds = |a: &Allocation| address >= a.base && address - a.base + len as u64 <= a.len;
        if self.allocations.get(self.last).is_some_and(|a| address <= a.base + a.len && holds(a)) {
            return Ok(self.last);
        }
        let after = self.allocations.partition_point(|a| a.base <= address);
        match after.checked_sub(1) {
            Some(i) if address <= self.allocations[i].base + self.allocations[i].len && holds(&self.allocations[i]) => {
                Ok(i)
            }
            before => {
                let near = match before.map(|i| &self.allocations[i]) {
                    None => "it is below all of them".to_owned(),
                    Some(a) => {
                        format!("{} bytes past the start of one of {} bytes at {:#x}", address - a.base, a.len, a.base)
                    }
                };
                Err(AccessError::Unallocated { address, len, near })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_memory_is_poison_and_keeps_what_is_written() {
        let mut memory = Memory::new();
        let (a, b) = (memory.alloc(10), memory.alloc(0));
        assert!(a % 256 == 0 && b % 256 == 0 && b > a + 10);
        memory.write(a + 2, &[1, 2]).unwrap();
        let mut out = [0; 4];
        memory.read(a + 1, &mut out).unwrap();
        assert_eq!(out, [0xff, 1, 2, 0xff]);
    }

    #[test]
    fn a_step_past_the_end_and_a_freed_address_are_errors() {
        let mut memory = Memory::new();
        let a = memory.alloc(10);
        assert!(matches!(memory.read(a + 7, &mut [0; 4]), Err(AccessError::Unallocated { .. })));
        assert!(matches!(memory.write(0, &[0]), Err(AccessError::Unallocated { .. })));
        assert!(memory.read(u64::MAX - 1, &mut [0; 4]).is_err());
        memory.free(a).unwrap();
        assert!(matches!(memory.read(a, &mut [0; 4]), Err(AccessError::Freed { .. })));
        assert!(memory.free(a).is_err());
    }

    #[test]
    fn an_allocation_beyond_the_host_returns_no_address() {
        assert_eq!(Memory::new().alloc(u64::MAX), 0);
    }
}
