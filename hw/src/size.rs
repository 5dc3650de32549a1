//! Widths that follow from a configuration, shared by the blocks.

use tandem_isa::{HwConfig, MemoryType, forms};
use tandem_rtl::{MemoryStyle, Net};

use crate::target::Target;

/// Bits of an instruction.
pub(crate) const INSN_BITS: u32 = 128;
/// Bits of an instruction's index in its stream where addresses have 32 bits.
pub(crate) const INDEX_BITS: u32 = 32;
/// The deepest instruction queue that lies in look-up tables; a deeper one takes block RAM.
const SHALLOW_QUEUE: usize = 32;
/// Beats of the longest burst, as AXI3 ports also accept it.
pub(crate) const BURST_BEATS: u32 = 16;
/// Bursts that may be under way in each direction, as a power of two.
pub(crate) const LOG_OUTSTANDING: u32 = 3;
/// Bits of a number of beats in a burst: 1 to [`BURST_BEATS`].
pub(crate) const BURST_BITS: u32 = 5;
/// Bits of `x_size` and `x_stride`.
pub(crate) const EXTENT_BITS: u32 = 16;

/// The derived widths.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub config: HwConfig,
    /// What the design is built for.
    pub target: Target,
    /// Bits of the bus.
    pub bus: u32,
    /// Bits of a byte's place in a bus word.
    pub log_bus_bytes: u32,
    /// Bits of the address of a bus word.
    pub word_address: u32,
    /// Bits of an instruction's index in its stream.
    pub index: u32,
    /// Bits of a destination index with room to see that it is out of range.
    pub dst: u32,
    /// Bits of a source index with the same room.
    pub src: u32,
    /// Bits of a weight index with the same room.
    pub wgt: u32,
    /// Lanes of an accumulator.
    pub lanes: u32,
    /// Cycles that a vector takes in the tensor ALU, a power of two.
    pub turns: u32,
    /// INP elements that LANE reads at once, which is the number of INP banks; a power of two.
    pub inp_banks: u32,
    /// LANE's vectors in an INP element; a power of two.
    pub inp_parts: u32,
}

/// How an element of a memory type meets the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its bytes in DRAM, as a power of two.
    pub log_bytes: u32,
    /// Bus words that it takes, as a power of two; 0 also where it is smaller than one.
    pub log_chunks: u32,
    /// Elements in a bus word, as a power of two.
    pub log_subs: u32,
}

impl Sizes {
    pub fn new(config: &HwConfig, target: &Target) -> Sizes {
        let log_bus_bytes = config.bus_bytes().trailing_zeros();
        let (block_in, block_out) = (config.block_in() as u32, config.block_out() as u32);
        let inp_parts = (block_in / block_out).max(1);
        let src = config.log_src_depth().max(config.log_inp_depth() + inp_parts.trailing_zeros());
        Sizes {
            config: config.clone(),
            target: *target,
            bus: config.bus_bytes() as u32 * 8,
            log_bus_bytes,
            word_address: config.dram_bits() - log_bus_bytes,
            // A stream that fits in memory has 2^(dram_bits - 4) instructions at most.
            index: if config.dram_bits() == 32 { INDEX_BITS } else { config.dram_bits() - 3 },
            dst: config.log_acc_depth() + 2,
            src: src + 2,
            wgt: config.log_wgt_depth() + block_in.trailing_zeros() + 2,
            lanes: config.out_elem_bytes() as u32,
            turns: (config.out_elem_bytes() / config.alu_lanes()) as u32,
            inp_banks: (block_out / block_in).max(config.lane_taps() as u32),
            inp_parts,
        }
    }

    pub fn element(&self, memory_type: MemoryType) -> Element {
        let log_bytes = self.config.elem_bytes(memory_type).trailing_zeros();
        Element {
            log_bytes,
            log_chunks: log_bytes.saturating_sub(self.log_bus_bytes),
            log_subs: self.log_bus_bytes.saturating_sub(log_bytes),
        }
    }

    /// Bits of the length in bytes of a row of such elements.
    pub fn row_bytes(&self, element: Element) -> u32 {
        EXTENT_BITS + element.log_bytes
    }

    /// Bits of the address of a row of so long ones, with room to see that it is out of reach: it is at most one stride too far.
    pub fn reach(&self, row_bytes: u32) -> u32 {
        self.config.dram_bits().max(row_bytes) + 1
    }

    /// What a memory of a few words lies in.
    pub fn small(&self) -> MemoryStyle {
        if self.target.lut_ram { MemoryStyle::Distributed } else { MemoryStyle::Registers }
    }

    /// An instruction queue's depth as a power of two, and what it lies in.
    ///
    /// # Panics
    /// On a machine without queues.
    pub fn insn_queue(&self) -> (u32, MemoryStyle) {
        let depth = self.config.insn_queue_depth().unwrap_or_else(|| panic!("a machine without queues"));
        let style = if depth <= SHALLOW_QUEUE && self.target.lut_ram { self.small() } else { MemoryStyle::Block };
        (depth.trailing_zeros(), style)
    }

    /// A field of an instruction, by the names of the instruction table.
    ///
    /// # Panics
    /// Where the table has no such field.
    #[track_caller]
    pub fn field<'m>(&self, insn: Net<'m>, form: &str, field: &str) -> Net<'m> {
        let forms = forms(&self.config);
        let form = forms.iter().find(|candidate| candidate.name == form);
        let found = form.and_then(|form| form.field(field));
        let found = found.unwrap_or_else(|| panic!("the instruction table has no such field: {field}"));
        insn.bits(found.lo, found.width)
    }
}
