//! The register map: one table of 32-bit registers, the first ten where upstream's Chisel shell (VCR) has them.

use std::fmt;

use crate::BASE_ALIGN;

/// Alignment of the address of an instruction stream.
pub const INSN_ADDR_ALIGN: u32 = 64;

/// Version of the instruction set and of the register map, as [`Reg::IsaVersion`] reads: major in the high half.
pub const ISA_VERSION: u32 = 0x0001_0000;

/// Bits of [`Reg::Control`].
pub mod control {
    /// Write 1: start fetching. Reads 1 until the program is done.
    pub const LAUNCH: u32 = 1 << 0;
    /// The program has finished.
    pub const DONE: u32 = 1 << 1;
    /// The program has stopped with an error; `ERROR_CODE` and `ERROR_INSN` say which.
    pub const ERROR: u32 = 1 << 2;
    /// Write 1: abandon the program, empty all queues, clear DONE and ERROR. Reads 0.
    pub const RESET: u32 = 1 << 3;
}

/// Who may write a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Host reads; writes are ignored.
    ReadOnly,
    /// Host reads and writes.
    ReadWrite,
}

macro_rules! registers {
    ($( $Reg:ident = $offset:literal, $name:literal, $access:ident, $doc:literal; )*) => {
        /// A device register.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reg { $( #[doc = $doc] $Reg = $offset, )* }

        impl Reg {
            /// Every register, by offset.
            pub const ALL: &'static [Reg] = &[$(Reg::$Reg),*];

            /// The name used in text and in hardware.
            pub fn name(self) -> &'static str {
                match self { $(Reg::$Reg => $name),* }
            }

            /// Whether the host may write it.
            pub fn access(self) -> Access {
                match self { $(Reg::$Reg => Access::$access),* }
            }

            /// What it holds, in one sentence.
            pub fn doc(self) -> &'static str {
                match self { $(Reg::$Reg => $doc),* }
            }

            /// The register at a byte offset.
            pub fn from_offset(offset: u32) -> Option<Reg> {
                match offset { $($offset => Some(Reg::$Reg),)* _ => None }
            }
        }
    };
}

registers! {
    Control = 0x00, "CONTROL", ReadWrite, "Bit 0 launch, bit 1 done, bit 2 error; writing 1 to bit 3 resets.";
    Cycles = 0x04, "CYCLES", ReadOnly, "Cycles from launch to done.";
    InsnCount = 0x08, "INSN_COUNT", ReadWrite, "Instructions to fetch.";
    InsnAddr = 0x0c, "INSN_ADDR", ReadWrite, "Byte address of the first instruction: a multiple of 64, the low 6 bits read 0.";
    UopBase = 0x10, "UOP_BASE", ReadWrite, "Byte address that UOP loads count from: a multiple of 4096, the low 12 bits read 0.";
    InpBase = 0x14, "INP_BASE", ReadWrite, "Byte address that INP loads count from: a multiple of 4096, the low 12 bits read 0.";
    WgtBase = 0x18, "WGT_BASE", ReadWrite, "Byte address that WGT loads count from: a multiple of 4096, the low 12 bits read 0.";
    AccBase = 0x1c, "ACC_BASE", ReadWrite, "Byte address that ACC and ACC8 loads count from: a multiple of 4096, the low 12 bits read 0.";
    OutBase = 0x20, "OUT_BASE", ReadWrite, "Byte address that stores count from: a multiple of 4096, the low 12 bits read 0.";
    AccWrites = 0x24, "ACC_WRITES", ReadOnly, "ACC elements written by arithmetic.";
    ConfigDigest = 0x28, "CONFIG_DIGEST", ReadOnly, "The digest of the configuration the device was built from.";
    IsaVersion = 0x2c, "ISA_VERSION", ReadOnly, "Version of the instruction set: major in the high half, minor in the low.";
    InpBytes = 0x30, "INP_BYTES", ReadOnly, "Bytes read from DRAM into INP.";
    WgtBytes = 0x34, "WGT_BYTES", ReadOnly, "Bytes read from DRAM into WGT.";
    AccBytes = 0x38, "ACC_BYTES", ReadOnly, "Bytes read from DRAM into ACC, ACC8 included.";
    UopBytes = 0x3c, "UOP_BYTES", ReadOnly, "Bytes read from DRAM into UOP.";
    OutBytes = 0x40, "OUT_BYTES", ReadOnly, "Bytes written to DRAM.";
    GemmUops = 0x44, "GEMM_UOPS", ReadOnly, "Micro-op executions of GEMM without `reset`.";
    AluUops = 0x48, "ALU_UOPS", ReadOnly, "Micro-op executions of ALU and REQUANT.";
    LaneUops = 0x4c, "LANE_UOPS", ReadOnly, "Micro-op executions of LANE.";
    ErrorCode = 0x50, "ERROR_CODE", ReadOnly, "Why the program stopped; 0 where it did not.";
    ErrorInsn = 0x54, "ERROR_INSN", ReadOnly, "Index of the instruction that stopped the program.";
}

/// The value of [`Reg::ErrorCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorCode {
    /// No error.
    None = 0,
    /// An instruction that does not decode.
    IllegalInsn = 1,
    /// A scratchpad index beyond its depth.
    SramRange = 2,
    /// A DRAM access outside the memory that the device can reach.
    DramRange = 3,
    /// Every queue waits for a token that nobody will push.
    Deadlock = 4,
    /// A token is left over when the program finishes, or a token queue is full.
    SurplusToken = 5,
    /// The instructions ended without FINISH, or went on after it.
    NoFinish = 6,
    /// The bus reported an error.
    BusFault = 7,
}

impl Reg {
    /// Byte offset in the device's register window.
    pub fn offset(self) -> u32 {
        self as u32
    }

    /// The bits that hold what the host writes; the others ignore it and read 0, or what the device puts there.
    pub fn written_bits(self) -> u32 {
        match self {
            Reg::Control => control::LAUNCH | control::RESET,
            Reg::InsnAddr => !(INSN_ADDR_ALIGN - 1),
            Reg::UopBase | Reg::InpBase | Reg::WgtBase | Reg::AccBase | Reg::OutBase => !(BASE_ALIGN - 1),
            _ if self.access() == Access::ReadWrite => u32::MAX,
            _ => 0,
        }
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ErrorCode {
    /// Every code, in order.
    pub const ALL: [ErrorCode; 8] = [
        ErrorCode::None,
        ErrorCode::IllegalInsn,
        ErrorCode::SramRange,
        ErrorCode::DramRange,
        ErrorCode::Deadlock,
        ErrorCode::SurplusToken,
        ErrorCode::NoFinish,
        ErrorCode::BusFault,
    ];

    /// The number in the register.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The code of a number read from the register.
    pub fn from_code(code: u32) -> Option<ErrorCode> {
        Self::ALL.into_iter().find(|error| error.code() == code)
    }

    /// What happened, in a few words.
    pub fn doc(self) -> &'static str {
        match self {
            ErrorCode::None => "no error",
            ErrorCode::IllegalInsn => "an instruction does not decode",
            ErrorCode::SramRange => "a scratchpad index is beyond its depth",
            ErrorCode::DramRange => "a DRAM access is out of reach",
            ErrorCode::Deadlock => "every queue waits for a token that nobody will push",
            ErrorCode::SurplusToken => "a token is left over, or a token queue is full",
            ErrorCode::NoFinish => "the program does not end with FINISH",
            ErrorCode::BusFault => "the bus reported an error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_consecutive_words_found_by_their_offset() {
        for (index, &reg) in Reg::ALL.iter().enumerate() {
            assert_eq!(reg.offset() as usize, 4 * index, "{reg}");
            assert_eq!(Reg::from_offset(reg.offset()), Some(reg));
        }
        assert_eq!(Reg::from_offset(2), None);
    }

    #[test]
    fn the_first_registers_stand_where_upstreams_chisel_shell_has_them() {
        let expected = [
            (Reg::Control, 0x00),
            (Reg::Cycles, 0x04),
            (Reg::InsnCount, 0x08),
            (Reg::InsnAddr, 0x0c),
            (Reg::UopBase, 0x10),
            (Reg::OutBase, 0x20),
            (Reg::AccWrites, 0x24),
        ];
        for (reg, offset) in expected {
            assert_eq!(reg.offset(), offset);
        }
    }

    #[test]
    fn addresses_keep_only_the_bits_above_their_alignment() {
        assert_eq!(Reg::InpBase.written_bits(), 0xffff_f000);
        assert_eq!(Reg::InsnAddr.written_bits(), 0xffff_ffc0);
        assert_eq!((Reg::InsnCount.written_bits(), Reg::Cycles.written_bits()), (u32::MAX, 0));
        assert_eq!(Reg::Control.written_bits(), 0b1001);
    }

    #[test]
    fn error_codes_round_trip() {
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::from_code(99), None);
    }
}
