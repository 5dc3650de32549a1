//! The seam to a memory chip: its pins at each edge of its clock.

use tandem_hw::shell::{Memory, Shell};

use crate::sdram::Model;

/// What a memory chip sees at a rising edge of its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChipPins {
    /// Clock enable.
    pub cke: bool,
    /// Chip select, low when selected.
    pub cs_n: bool,
    /// Row address strobe, low when active.
    pub ras_n: bool,
    /// Column address strobe, low when active.
    pub cas_n: bool,
    /// Write enable, low when active.
    pub we_n: bool,
    /// Whether the board drives the data pins.
    pub dq_oe: bool,
    /// Bank.
    pub ba: u32,
    /// Row or column.
    pub a: u32,
    /// Mask of bytes.
    pub dqm: u32,
    /// What the board drives onto the data pins.
    pub dq: u32,
}

/// A memory chip that checks how it is used.
pub trait Chip: Send {
    /// One rising edge; gives what the chip drives onto the data pins until the next one, of which the board sees what it
    /// samples then.
    ///
    /// # Errors
    /// One sentence about the rule that is broken.
    fn edge(&mut self, pins: &ChipPins) -> Result<u32, String>;
}

/// The memory chip of a shell, where it has one.
pub fn chip_of(shell: &Shell) -> Option<Box<dyn Chip>> {
    match &shell.memory {
        Memory::Sdram(facts) => Some(Box::new(Model::new(facts, shell.clock_hz))),
        Memory::Spram | Memory::BlockRam { .. } => None,
    }
}

impl ChipPins {
    /// From the two words that `board.cpp` makes of them.
    pub(super) fn unpack(pins: u32, dq: u32) -> ChipPins {
        let bit = |at: u32| pins >> at & 1 != 0;
        ChipPins {
            cke: bit(0),
            cs_n: bit(1),
            ras_n: bit(2),
            cas_n: bit(3),
            we_n: bit(4),
            dq_oe: bit(5),
            ba: pins >> 6 & 3,
            dqm: pins >> 8 & 0xff,
            a: pins >> 16,
            dq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_where_the_harness_puts_them() {
        let pins = ChipPins::unpack(1 << 1 | 1 << 5 | 2 << 6 | 9 << 8 | 0x1fff << 16, 77);
        let expected = ChipPins { cs_n: true, dq_oe: true, ba: 2, dqm: 9, a: 0x1fff, dq: 77, ..ChipPins::default() };
        assert_eq!(pins, expected);
    }
}
