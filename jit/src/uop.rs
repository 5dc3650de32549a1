//! Micro-op kernels: one copy of each in DRAM, the recently used ones in the scratchpad.

use std::collections::HashMap;
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
    dram: Vec<Uop>,
    /// Where each micro-op stands in `dram`.
    places: HashMap<Uop, Vec<u32>>,
    /// What the scratchpad holds.
    resident: Vec<Option<Uop>>,
    /// Where it holds each micro-op.
    held: HashMap<Uop, Vec<u32>>,
    head: usize,
    /// Whether a kernel has taken the place of another one.
    wrapped: bool,
}

impl UopCache {
    pub fn new(depth: usize) -> Self {
        let (places, held) = (HashMap::new(), HashMap::new());
        Self { dram: Vec::new(), places, resident: vec![None; depth], held, head: 0, wrapped: false }
    }

    /// Makes a kernel of 1 to `depth` micro-ops resident. A part of what is there already serves as well; a new kernel goes
    /// behind the last one, wrapping to the start of the scratchpad, over whatever is there.
    pub fn place(&mut self, kernel: &[Uop]) -> Placed {
        debug_assert!(!kernel.is_empty() && kernel.len() <= self.resident.len());
        if let Some(sram) = self.find(kernel) {
            return Placed { sram, load_from: None };
        }
        let position = self.position(kernel);
        if self.head + kernel.len() > self.resident.len() {
            self.head = 0;
            self.wrapped = true;
        }
        let begin = self.head;
        self.head += kernel.len();
        for (at, uop) in (begin..self.head).zip(kernel) {
            if let Some(old) = self.resident[at].replace(*uop)
                && let Some(held) = self.held.get_mut(&old)
            {
                held.retain(|&other| other != at as u32);
            }
            self.held.entry(*uop).or_default().push(at as u32);
        }
        Placed { sram: begin as u32, load_from: Some(position) }
    }

    /// The first place in the scratchpad that holds a kernel.
    fn find(&self, kernel: &[Uop]) -> Option<u32> {
        let begins_at = |&at: &u32| {
            let held = self.resident.get(at as usize..at as usize + kernel.len());
            held.is_some_and(|held| held.iter().zip(kernel).all(|(held, uop)| *held == Some(*uop)))
        };
        self.held.get(&kernel[0])?.iter().copied().filter(begins_at).min()
    }

    /// Where a kernel stands in DRAM: within what is there, or behind it.
    fn position(&mut self, kernel: &[Uop]) -> u32 {
        let begins_at = |&at: &u32| self.dram[at as usize..].starts_with(kernel);
        if let Some(at) = self.places.get(&kernel[0]).and_then(|places| places.iter().copied().find(begins_at)) {
            return at;
        }
        let position = self.dram.len() as u32;
        for (uop, at) in kernel.iter().zip(position..) {
            self.places.entry(*uop).or_default().push(at);
        }
        self.dram.extend_from_slice(kernel);
        position
    }

    /// Whether the scratchpad has room for every kernel. Then each lies there where it stands in the DRAM section.
    pub fn holds_all(&self) -> bool {
        !self.wrapped
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
    fn a_part_of_what_is_there_serves_as_well() {
        let mut cache = UopCache::new(8);
        cache.place(&kernel(1, 6));
        let part = cache.place(&kernel(1, 6)[2..5]);
        assert_eq!((part.sram, part.load_from), (2, None));
        cache.place(&kernel(2, 8));
        assert_eq!(cache.place(&kernel(1, 6)[2..5]).load_from, Some(2));
        assert_eq!(cache.into_dram().len(), 14);
    }

    #[test]
    fn a_wrapping_kernel_pushes_out_what_it_overlaps() {
        let mut cache = UopCache::new(8);
        cache.place(&kernel(1, 3));
        cache.place(&kernel(2, 3));
        let third = cache.place(&kernel(3, 4));
        assert_eq!((third.sram, third.load_from), (0, Some(6)));
        // Both older kernels lost entries; each comes back from its one copy in DRAM.
        assert_eq!(cache.place(&kernel(2, 3)).load_from, Some(3));
        assert_eq!(cache.place(&kernel(1, 3)).load_from, Some(0));
        assert_eq!(cache.into_dram().len(), 10);
    }
}
