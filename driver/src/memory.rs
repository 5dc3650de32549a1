//! Which ranges of a device's memory are in use: the host keeps the books for a device that has no allocator.

use std::collections::BTreeMap;

use tandem_isa::BASE_ALIGN;

use crate::{BusError, Bytes, DmaAddr, DmaBuf};

/// The memory of a device, in ranges aligned to 4096 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    begin: u64,
    end: u64,
    /// First byte and length of every range in use.
    held: BTreeMap<u32, u64>,
}

impl Memory {
    /// Memory of so many bytes from an address on, all of it free.
    pub(crate) fn new(base: DmaAddr, bytes: Bytes) -> Memory {
        let begin = u64::from(base.0);
        Memory { begin, end: begin.saturating_add(bytes.0).min(1 << 32), held: BTreeMap::new() }
    }

    /// Takes the lowest free place that is large enough.
    pub(crate) fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let align = u64::from(BASE_ALIGN);
        let mut place = self.begin.next_multiple_of(align);
        for (&start, &len) in &self.held {
            if place.saturating_add(bytes.0.max(1)) <= u64::from(start) {
                break;
            }
            place = (u64::from(start) + len.max(1)).next_multiple_of(align);
        }
        match u32::try_from(place) {
            Ok(start) if place.saturating_add(bytes.0) <= self.end && place < self.end => {
                self.held.insert(start, bytes.0);
                Ok(DmaBuf { addr: DmaAddr(start), bytes })
            }
            _ => Err(BusError::Exhausted { bytes: bytes.0, limit: self.end - self.begin }),
        }
    }

    /// Takes a place of the caller's choice, where it is free.
    pub(crate) fn take(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        let (start, len) = (u64::from(buf.addr.0), buf.bytes.0.max(1));
        let end = start.saturating_add(len);
        let before = self.held.range(..=buf.addr.0).next_back().map_or(0, |(&at, &len)| u64::from(at) + len.max(1));
        let behind = self.held.range(buf.addr.0..).next().map_or(u64::MAX, |(&at, _)| u64::from(at));
        if start < self.begin || end > self.end || before > start || behind < end {
            return Err(BusError::Exhausted { bytes: buf.bytes.0, limit: self.end - self.begin });
        }
        self.held.insert(buf.addr.0, buf.bytes.0);
        Ok(())
    }

    /// Gives a range back.
    pub(crate) fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        if self.held.get(&buf.addr.0) != Some(&buf.bytes.0) {
            return Err(BusError::Address { addr: buf.addr, bytes: buf.bytes.0 });
        }
        self.held.remove(&buf.addr.0);
        Ok(())
    }

    /// Checks that bytes lie in one range in use.
    pub(crate) fn check(&self, addr: DmaAddr, len: usize) -> Result<(), BusError> {
        let end = u64::from(addr.0) + len as u64;
        match self.held.range(..=addr.0).next_back() {
            Some((&start, &bytes)) if end <= u64::from(start) + bytes => Ok(()),
            _ if len == 0 => Ok(()),
            _ => Err(BusError::Address { addr, bytes: len as u64 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_aligned_distinct_and_reused() {
        let mut memory = Memory::new(DmaAddr(0), Bytes(0x8000));
        let take = |memory: &mut Memory, bytes| memory.alloc(Bytes(bytes)).unwrap();
        let (a, b, c) = (take(&mut memory, 1), take(&mut memory, 5000), take(&mut memory, 4096));
        assert_eq!((a.addr.0, b.addr.0, c.addr.0), (0, 0x1000, 0x3000));
        memory.free(b).unwrap();
        assert!(memory.free(b).is_err());
        assert_eq!(take(&mut memory, 9000).addr.0, 0x4000);
        assert_eq!(take(&mut memory, 8192).addr.0, 0x1000);
        assert!(memory.alloc(Bytes(0x1001)).is_err());
        assert_eq!(take(&mut memory, 0x1000).addr.0, 0x7000);
        assert!(memory.alloc(Bytes(0)).is_err());
    }

    #[test]
    fn memory_may_begin_anywhere_and_ends_where_32_bits_end() {
        let mut memory = Memory::new(DmaAddr(0xffff_0800), Bytes(u64::MAX));
        let buf = memory.alloc(Bytes(16)).unwrap();
        assert_eq!(buf.addr.0, 0xffff_1000);
        assert!(memory.alloc(Bytes(0xf000)).is_err());
        assert_eq!(memory.alloc(Bytes(0xe000)).unwrap().addr.0, 0xffff_2000);
        assert!(memory.alloc(Bytes(u64::MAX)).is_err());
    }

    #[test]
    fn places_of_ones_own_choice_must_be_free() {
        let mut memory = Memory::new(DmaAddr(0), Bytes(0x4000));
        let buf = |addr, bytes| DmaBuf { addr: DmaAddr(addr), bytes: Bytes(bytes) };
        memory.take(buf(0x1000, 0x800)).unwrap();
        assert!(memory.take(buf(0x1400, 1)).is_err() && memory.take(buf(0xf00, 0x200)).is_err());
        assert!(memory.take(buf(0x3fff, 2)).is_err() && memory.take(buf(u32::MAX, 2)).is_err());
        memory.take(buf(0, 0x1000)).unwrap();
        assert!(memory.check(DmaAddr(0x1000), 0x800).is_ok() && memory.check(DmaAddr(0x17ff), 2).is_err());
        assert!(memory.check(DmaAddr(u32::MAX), 1).is_err() && memory.check(DmaAddr(u32::MAX), 0).is_ok());
    }
}
