//! What predictions of cycles may look at: the constants of a program as they lie in device memory.

use tandem_isa::MemoryType;
use tandem_isa::timing::Constants;

use crate::{Bases, Dram};

/// A memory and the addresses from which instructions count.
pub(crate) struct Held<'a> {
    pub dram: &'a Dram,
    pub bases: Bases,
}

impl Constants for Held<'_> {
    fn constants(&self, memory_type: MemoryType, address: u64, len: usize) -> Option<&[u8]> {
        let base = match memory_type {
            MemoryType::Uop => self.bases.uop,
            MemoryType::Inp => self.bases.inp,
            MemoryType::Wgt | MemoryType::Wgt4 => self.bases.wgt,
            MemoryType::Acc | MemoryType::Acc8 => self.bases.acc,
            MemoryType::Out | MemoryType::OutInp => self.bases.out,
        };
        self.dram.slice(u64::from(base) + address, len)
    }
}
