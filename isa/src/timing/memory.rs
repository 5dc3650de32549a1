//! How fast the memory behind the accelerator's AXI port is.

/// The timing of the memory behind the accelerator's AXI port.
///
/// A read burst that is accepted in cycle `c` has its first beat in cycle `c + latency` at the earliest, a write burst whose last
/// beat goes in cycle `c` its response in cycle `c + latency`. Bursts are answered in order. Beats of both directions share
/// `bits_per_cycle`; where both want more than there is, they take turns. The bus itself carries one beat a cycle each way.
///
/// # Units
/// Cycles of the accelerator; bits of data; bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DramModel {
    /// Cycles from a request to its first answer; at least 1.
    pub latency: u32,
    /// Data moved in a cycle, reads and writes together; [`DramModel::UNLIMITED`] leaves the bus as the only limit.
    pub bits_per_cycle: u32,
    /// Read bursts accepted and not yet answered, 1 to 256.
    pub outstanding_reads: u32,
    /// Write bursts accepted and not yet answered, 1 to 256.
    pub outstanding_writes: u32,
}

impl DramModel {
    /// No limit on bandwidth.
    pub const UNLIMITED: u32 = u32::MAX;

    /// A memory that answers in the next cycle and never keeps anyone waiting: what remains is the accelerator's own time.
    pub const fn ideal() -> DramModel {
        DramModel { latency: 1, bits_per_cycle: DramModel::UNLIMITED, outstanding_reads: 256, outstanding_writes: 256 }
    }

    /// One high-performance port of a Zynq-7000 at the accelerator's clock: 64 bits a cycle, 8 bursts in flight each way, which
    /// is what the port's interface accepts, and 40 cycles, which stands for a DDR3 page miss and the way there and back at
    /// around 100 MHz.
    pub const fn zynq() -> DramModel {
        DramModel { latency: 40, bits_per_cycle: 64, outstanding_reads: 8, outstanding_writes: 8 }
    }

    /// The preset of a name: `ideal` or `zynq`.
    pub fn preset(name: &str) -> Option<DramModel> {
        match name {
            "ideal" => Some(DramModel::ideal()),
            "zynq" => Some(DramModel::zynq()),
            _ => None,
        }
    }

    /// The names of the presets.
    pub const fn presets() -> [&'static str; 2] {
        ["ideal", "zynq"]
    }

    /// The same within the limits of a simulated memory.
    pub fn clamped(self) -> DramModel {
        DramModel {
            latency: self.latency.max(1),
            bits_per_cycle: self.bits_per_cycle.max(1),
            outstanding_reads: self.outstanding_reads.clamp(1, 256),
            outstanding_writes: self.outstanding_writes.clamp(1, 256),
        }
    }
}

impl Default for DramModel {
    fn default() -> DramModel {
        DramModel::zynq()
    }
}
