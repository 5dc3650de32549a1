//! Micro-op kernels: one copy of each in DRAM, the recently used ones in the scratchpad.

use std::collections::HashMap;
use std::collections::VecDeque;
use tandem_isa::Uop;

/// Where a kernel is, and whether it must be loaded first.
pub(crate) struct Placed {
    /// First entry in the scratchpad.
    pub sram: u32,
    /// First micro-op in the DRAM section, when the kernel is not resident.
    pub load_from: Option<u32>,
}

/// The kernels of a program and the state of the micro-op scratchpad as the compute queue will see it.
pub(crate) struct UopCache {
    depth: usize,
    dram: Vec<Uop>,
    known: HashMap<Vec<Uop>, u32>,
    /// (first entry, length, DRAM position) of the resident kernels, oldest first.
    resident: VecDeque<(usize, usize, u32)>,
    head: usize,
}

impl UopCache {
    pub fn new(depth: usize) -> Self {
        Self { depth, dram: Vec::new(), known: HashMap::new(), resident: VecDeque::new(), head: 0 }
    }

    /// Makes a kernel of 1 to `depth` micro-ops resident. New kernels go behind the last one, wrapping to the start of the
    /// scratchpad, and push out what they overlap.
    pub fn place(&mut self, kernel: &[Uop]) -> Placed {
        debug_assert!(!kernel.is_empty() && kernel.len() <= self.depth);
        let position = match self.known.get(kernel) {
            Some(&p) => p,
            None => {
                let p = self.dram.len() as u32;
                self.dram.extend_from_slice(kernel);
                self.known.insert(kernel.to_vec(), p);
                p
            }
        };
        if let Some(&(sram, ..)) = self.resident.iter().find(|r| r.2 == position && r.1 == kernel.len()) {
            return Placed { sram: sram as u32, load_from: None };
        }
        if self.head + kernel.len() > self.depth {
            self.head = 0;
        }
        let (begin, end) = (self.head, self.head + kernel.len());
        self.resident.retain(|&(at, len, _)| at + len <= begin || end <= at);
        self.resident.push_back((begin, kernel.len(), position));
        self.head = end;
        Placed { sram: begin as u32, load_from: Some(position) }
    }

    /// Every kernel, in the order of the DRAM section.
    pub fn into_dram(self) -> Vec<Uop> {
        self.dram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(n: u32, len: usize) -> Vec<Uop> {
        (0..len as u32).map(|i| Uop { dst: n, src: i, wgt: 0 }).collect()
    }

    #[test]
    fn a_resident_kernel_is_not_loaded_again() {
        let mut cache = UopCache::new(8);
        assert_eq!(cache.place(&kernel(1, 3)).load_from, Some(0));
        assert_eq!(cache.place(&kernel(2, 3)).load_from, Some(3));
        assert!(cache.place(&kernel(1, 3)).load_from.is_none());
    }

    #[test]
    fn a_wrapping_kernel_pushes_out_what_it_overlaps() {
        let mut cache = UopCache::new(8);
        cache.place(&kernel(1, 3));
        cache.place(&kernel(2, 3));
        let third = cache.place(&kernel(3, 4));
        assert_eq!((third.sram, third.load_from), (0, Some(6)));
        // Both older kernels overlapped entries 0..4; each comes back from its one copy in DRAM.
        assert_eq!(cache.place(&kernel(2, 3)).load_from, Some(3));
        assert_eq!(cache.place(&kernel(1, 3)).load_from, Some(0));
        assert_eq!(cache.into_dram().len(), 10);
    }
}
