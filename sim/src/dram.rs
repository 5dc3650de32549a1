//! The memory that a simulated device sees: pages that exist once they are allocated, and nothing in between.

use std::collections::BTreeMap;

/// Granularity of allocation and of range checks.
const PAGE: u64 = 4096;

/// Device memory of 32-bit byte addresses, growing as ranges are allocated.
///
/// The first page is never handed out, so that address 0 stays invalid unless it is asked for with [`Dram::map`]. Fresh memory
/// holds [`Dram::FILL`] in every byte: a program that relies on zeros in memory that nobody wrote shows.
#[derive(Clone, Debug)]
pub struct Dram {
    bytes: Vec<u8>,
    pages: Vec<bool>,
    regions: BTreeMap<u64, u64>,
    limit: u64,
}

impl Dram {
    /// The limit of [`Dram::default`].
    pub const DEFAULT_LIMIT: u64 = 64 << 20;
    /// The content of memory that was never written.
    pub const FILL: u8 = 0xa5;

    /// An empty memory that grows up to `limit` bytes, at most 4 GiB.
    pub fn new(limit: u64) -> Dram {
        Dram { bytes: Vec::new(), pages: Vec::new(), regions: BTreeMap::new(), limit: limit.min(1 << 32) }
    }

    /// The highest address that may exist.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Reserves a range, aligned to a page, at the lowest free place; `None` where there is none.
    pub fn alloc(&mut self, bytes: u64) -> Option<u32> {
        let size = bytes.max(1).checked_next_multiple_of(PAGE)?;
        let mut start = PAGE;
        for (&region, &len) in &self.regions {
            if start.checked_add(size)? <= region {
                break;
            }
            start = start.max(region + len.next_multiple_of(PAGE));
        }
        self.map(u32::try_from(start).ok()?, bytes).then_some(start as u32)
    }

    /// Reserves a range at a place of the caller's choice; `addr` is rounded down and the end up to whole pages. False where
    /// the range is taken or beyond the limit.
    pub fn map(&mut self, addr: u32, bytes: u64) -> bool {
        let start = u64::from(addr) / PAGE * PAGE;
        let end = u64::from(addr).checked_add(bytes.max(1)).and_then(|end| end.checked_next_multiple_of(PAGE));
        let Some(end) = end.filter(|&end| end <= self.limit) else { return false };
        let (first, last) = ((start / PAGE) as usize, (end / PAGE) as usize);
        if self.pages.get(first..last.min(self.pages.len())).is_some_and(|pages| pages.contains(&true)) {
            return false;
        }
        if last > self.pages.len() {
            self.pages.resize(last, false);
            self.bytes.resize(end as usize, Self::FILL);
        }
        self.pages[first..last].fill(true);
        self.bytes[start as usize..end as usize].fill(Self::FILL);
        self.regions.insert(start, end - start);
        true
    }

    /// Gives a range back that [`Dram::alloc`] or [`Dram::map`] reserved; false where none starts there.
    pub fn free(&mut self, addr: u32) -> bool {
        let start = u64::from(addr) / PAGE * PAGE;
        let Some(len) = self.regions.remove(&start) else { return false };
        self.pages[(start / PAGE) as usize..((start + len) / PAGE) as usize].fill(false);
        true
    }

    /// Bytes in use, in whole pages.
    pub fn used(&self) -> u64 {
        self.regions.values().sum()
    }

    /// Becomes a copy of another memory; bytes outside its ranges stay as they are.
    pub fn copy_from(&mut self, other: &Dram) {
        self.bytes.resize(other.bytes.len(), Self::FILL);
        self.pages.clone_from(&other.pages);
        self.regions.clone_from(&other.regions);
        self.limit = other.limit;
        for (&start, &len) in &other.regions {
            let range = start as usize..(start + len) as usize;
            self.bytes[range.clone()].copy_from_slice(&other.bytes[range]);
        }
    }

    /// All bytes up to the highest address that was ever in use, and which pages of them exist.
    pub(crate) fn parts_mut(&mut self) -> (&mut [u8], &[bool]) {
        (&mut self.bytes, &self.pages)
    }

    /// The bytes of a range; `None` where a part of it does not exist.
    #[inline]
    pub fn slice(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let end = self.check(addr, len)?;
        self.bytes.get(addr as usize..end)
    }

    /// The bytes of a range, to change them.
    #[inline]
    pub fn slice_mut(&mut self, addr: u64, len: usize) -> Option<&mut [u8]> {
        let end = self.check(addr, len)?;
        self.bytes.get_mut(addr as usize..end)
    }

    /// The end of a range that exists.
    #[inline]
    fn check(&self, addr: u64, len: usize) -> Option<usize> {
        let end = addr.checked_add(len as u64).filter(|&end| end <= self.bytes.len() as u64)?;
        let pages = self.pages.get((addr / PAGE) as usize..end.div_ceil(PAGE) as usize)?;
        pages.iter().all(|&present| present).then_some(end as usize)
    }
}

impl Default for Dram {
    fn default() -> Self {
        Dram::new(Self::DEFAULT_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_page_aligned_distinct_and_reused() {
        let mut dram = Dram::new(1 << 20);
        let a = dram.alloc(1).unwrap();
        let b = dram.alloc(5000).unwrap();
        let c = dram.alloc(4096).unwrap();
        assert_eq!((a, b, c), (0x1000, 0x2000, 0x4000));
        assert!(dram.free(b) && !dram.free(b));
        assert_eq!(dram.alloc(9000), Some(0x5000));
        assert_eq!(dram.alloc(8192), Some(0x2000));
        assert_eq!(dram.used(), 4096 * (1 + 2 + 1 + 3));
    }

    #[test]
    fn only_allocated_pages_exist() {
        let mut dram = Dram::new(1 << 20);
        let a = u64::from(dram.alloc(100).unwrap());
        assert_eq!(dram.slice(a, 4096).unwrap(), [Dram::FILL; 4096]);
        assert!(dram.slice(a, 4097).is_none());
        assert!(dram.slice(a - 1, 2).is_none());
        assert!(dram.slice(u64::MAX, 2).is_none());
        assert_eq!(dram.slice(a + 4096, 0), Some(&[][..]));
        dram.slice_mut(a, 1).unwrap()[0] = 7;
        dram.free(a as u32);
        assert!(dram.slice(a, 1).is_none());
        dram.alloc(1).unwrap();
        assert_eq!(dram.slice(a, 1).unwrap(), [Dram::FILL]);
    }

    #[test]
    fn the_limit_and_taken_ranges_are_refused() {
        let mut dram = Dram::new(64 << 10);
        assert!(dram.alloc(64 << 10).is_none());
        assert!(dram.alloc(u64::MAX).is_none());
        assert_eq!(dram.alloc(60 << 10), Some(0x1000));
        assert!(dram.alloc(1).is_none());
        assert!(dram.map(0, 4096) && !dram.map(0xfff, 1) && !dram.map(u32::MAX, 1));
    }
}
