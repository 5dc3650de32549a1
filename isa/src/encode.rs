//! Encoding and decoding: one walk over the fields of the table for all instructions.

use crate::{Dep, HwConfig, Insn, IsaError, Load, LoadPad, MemoryType, Queue, Store};

/// Where a field lies under one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// The field's name, as in the struct.
    pub name: &'static str,
    /// Its lowest bit, 0 to 127.
    pub lo: u32,
    /// Its width in bits; at least 1. It never crosses bit 64.
    pub width: u32,
    /// Whether it is two's complement.
    pub signed: bool,
    /// The words of a coded field, by code; empty for numbers and flags.
    pub names: &'static [&'static str],
    /// Whether it is a single-bit flag.
    pub flag: bool,
    /// What it means.
    pub doc: &'static str,
}

/// One instruction form under one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The name of the struct.
    pub name: &'static str,
    /// The first word in assembly text.
    pub mnemonic: &'static str,
    /// Bits 0 to 2.
    pub opcode: u32,
    /// Whether it belongs to the Tandem extension.
    pub extension: bool,
    /// What it does.
    pub doc: &'static str,
    /// The fields above the common head of seven bits, in the order of the table.
    pub fields: Vec<Field>,
}

impl Field {
    /// The highest bit.
    pub fn hi(&self) -> u32 {
        self.lo + self.width - 1
    }

    /// The field's bits within the instruction.
    pub fn mask(&self) -> u128 {
        ((1u128 << self.width) - 1) << self.lo
    }

    fn fits(&self, value: i64) -> bool {
        if self.signed {
            let half = 1i64 << (self.width - 1);
            (-half..half).contains(&value)
        } else {
            (0..1i64 << self.width).contains(&value)
        }
    }

    fn extract(&self, word: u128) -> i64 {
        let raw = ((word & self.mask()) >> self.lo) as i64;
        let sign = 1i64 << (self.width - 1);
        if self.signed && raw & sign != 0 { raw - (sign << 1) } else { raw }
    }
}

impl Form {
    /// A field by name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The memory types that the instruction moves; empty where it moves none.
    pub fn memory_types(&self) -> &'static [MemoryType] {
        memory_types(self.opcode)
    }

    /// The bits that must be zero.
    pub fn reserved(&self) -> u128 {
        reserved(&self.fields)
    }
}

impl Insn {
    /// Encodes under a configuration; bit 0 is the lowest bit of the first little-endian byte.
    ///
    /// # Errors
    /// A value that does not fit its field, a memory type or a dependence flag that the instruction cannot have, or a part of
    /// the Tandem extension under profile `vta-0.0.2`.
    pub fn encode(&self, config: &HwConfig) -> Result<u128, IsaError> {
        self.check(config)?;
        let head = u128::from(self.opcode()) | u128::from(self.dep().bits()) << 3;
        self.with_fields(config, |fields, raw| {
            let mut word = head;
            for (field, &value) in fields.iter().zip(raw) {
                if !field.fits(value) {
                    return Err(IsaError::FieldOverflow {
                        insn: self.name(),
                        field: field.name,
                        value,
                        bits: field.width,
                        signed: field.signed,
                    });
                }
                word |= (value as u128) << field.lo & field.mask();
            }
            Ok(word)
        })
    }

    /// Decodes under a configuration.
    ///
    /// # Errors
    /// Reserved bits that are set, codes without meaning, and everything that [`Insn::encode`] refuses.
    pub fn decode(word: u128, config: &HwConfig) -> Result<Insn, IsaError> {
        let opcode = (word & 7) as u32;
        let dep = Dep::from_bits((word >> 3 & 15) as u32);
        let decoded = Insn::with_opcode(opcode, config, |name, fields| {
            let stray = word & reserved(fields);
            if stray != 0 {
                return Err(IsaError::ReservedBits { insn: name, bits: bit_ranges(stray) });
            }
            let mut raw = [0i64; 16];
            for (slot, field) in raw.iter_mut().zip(fields) {
                *slot = field.extract(word);
            }
            let insn = Insn::from_raw(opcode, dep, &raw).unwrap_or(Err(0));
            insn.map_err(|at| match fields.get(at) {
                Some(field) => {
                    let value = raw.get(at).copied().unwrap_or_default();
                    IsaError::UnknownCode { insn: name, field: field.name, value, hi: field.hi(), lo: field.lo }
                }
                None => IsaError::UnknownCode { insn: name, field: "opcode", value: i64::from(opcode), hi: 2, lo: 0 },
            })
        });
        let insn = decoded.unwrap_or(Err(IsaError::UnknownCode {
            insn: "instruction",
            field: "opcode",
            value: i64::from(opcode),
            hi: 2,
            lo: 0,
        }))?;
        insn.check(config)?;
        Ok(insn)
    }

    /// Encodes to the sixteen bytes that stand in DRAM.
    ///
    /// # Errors
    /// As [`Insn::encode`].
    pub fn to_bytes(&self, config: &HwConfig) -> Result<[u8; 16], IsaError> {
        Ok(self.encode(config)?.to_le_bytes())
    }

    /// Decodes sixteen bytes of DRAM.
    ///
    /// # Errors
    /// As [`Insn::decode`].
    pub fn from_bytes(bytes: [u8; 16], config: &HwConfig) -> Result<Insn, IsaError> {
        Insn::decode(u128::from_le_bytes(bytes), config)
    }

    /// What the widths of the fields do not say: profile, memory types, dependence flags.
    pub(crate) fn check(&self, config: &HwConfig) -> Result<(), IsaError> {
        if self.is_extension() && !config.profile().has_extension() {
            let what = match self {
                Insn::Alu(insn) => format!("ALU opcode {} ({})", insn.alu_opcode.code(), insn.alu_opcode),
                Insn::Load(insn) => memory_type_code(insn.memory_type),
                Insn::Store(insn) => memory_type_code(insn.memory_type),
                _ => format!("opcode {} ({})", self.opcode(), self.name()),
            };
            return Err(IsaError::Extension { what });
        }
        if let Insn::Load(Load { memory_type, .. })
        | Insn::LoadPad(LoadPad { memory_type, .. })
        | Insn::Store(Store { memory_type, .. }) = self
            && *memory_type == MemoryType::Wgt4
            && !config.has_packed_weights()
        {
            return Err(IsaError::PackedWeights);
        }
        let memory_type = match self {
            Insn::Requant(insn) if !config.has_requant(insn.mode) => {
                return Err(IsaError::RequantMode { mode: insn.mode });
            }
            Insn::Requant(insn) if (insn.clear || insn.from_inp) && !config.has_requant_flags() => {
                let flag = if insn.clear { "clear" } else { "from_inp" };
                return Err(IsaError::RequantFlag { flag, reason: "without instruction queues" });
            }
            Insn::Requant(insn) if insn.fuse && !config.has_fused_requant() => {
                let queues = config.insn_queue_depth().is_some();
                let reason = if queues { "with fewer alu_lanes than lanes" } else { "without instruction queues" };
                return Err(IsaError::RequantFlag { flag: "fuse", reason });
            }
            Insn::Lane(insn) if insn.more_taps > 0 && (insn.max || config.lane_taps() == 1) => {
                return Err(IsaError::LaneTaps { more: insn.more_taps, taps: config.lane_taps() });
            }
            Insn::Load(insn) => insn.memory_type,
            Insn::LoadPad(insn) => insn.memory_type,
            Insn::Store(insn) if insn.x_size > 0 => insn.memory_type,
            _ => return self.check_dep(),
        };
        let accepted = memory_types(self.opcode());
        if !accepted.contains(&memory_type) {
            let accepted = accepted.iter().filter(|&&accepted| config.has_memory_type(accepted));
            let accepted: Vec<&str> = accepted.map(|accepted| accepted.name()).collect();
            return Err(IsaError::MemoryType { insn: self.name(), memory_type, accepted: accepted.join(", ") });
        }
        self.check_dep()
    }

    pub(crate) fn check_dep(&self) -> Result<(), IsaError> {
        let queue = self.queue();
        for (position, (flag, set)) in self.dep().flags().into_iter().enumerate() {
            let neighbour = if position % 2 == 0 { queue.prev() } else { queue.next() };
            if set && neighbour.is_none() {
                let accepted = match queue {
                    Queue::Load => "it accepts pop_next and push_next",
                    Queue::Compute => "it accepts all four flags",
                    Queue::Store => "it accepts pop_prev and push_prev",
                };
                return Err(IsaError::DepFlag { insn: self.name(), queue, flag, bit: 3 + position as u32, accepted });
            }
        }
        Ok(())
    }
}

/// A Rust type that can stand in a field of the table.
pub(crate) trait FieldType: Sized + Copy {
    /// Whether the field is two's complement.
    const SIGNED: bool;
    /// The words of a coded field.
    const NAMES: &'static [&'static str] = &[];
    /// Whether the field is a flag.
    const FLAG: bool = false;
    /// The value as a number.
    fn to_raw(self) -> i64;
    /// The value of a number, where it has one.
    fn from_raw(raw: i64) -> Option<Self>;
}

impl FieldType for u32 {
    const SIGNED: bool = false;
    fn to_raw(self) -> i64 {
        i64::from(self)
    }
    fn from_raw(raw: i64) -> Option<Self> {
        u32::try_from(raw).ok()
    }
}

impl FieldType for i32 {
    const SIGNED: bool = true;
    fn to_raw(self) -> i64 {
        i64::from(self)
    }
    fn from_raw(raw: i64) -> Option<Self> {
        i32::try_from(raw).ok()
    }
}

impl FieldType for bool {
    const SIGNED: bool = false;
    const FLAG: bool = true;
    fn to_raw(self) -> i64 {
        i64::from(self)
    }
    fn from_raw(raw: i64) -> Option<Self> {
        match raw {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// The field at the cursor, or at bit `at` where that lies further on; moves the cursor behind it.
pub(crate) fn place<T: FieldType>(
    name: &'static str,
    cursor: &mut u32,
    width: u32,
    at: u32,
    doc: &'static str,
) -> Field {
    let lo = (*cursor).max(at);
    *cursor = lo + width;
    Field { name, lo, width, signed: T::SIGNED, names: T::NAMES, flag: T::FLAG, doc }
}

/// The memory types that an instruction moves; a NOP store may have any.
fn memory_types(opcode: u32) -> &'static [MemoryType] {
    match opcode {
        0 => &[MemoryType::Uop, MemoryType::Wgt, MemoryType::Inp, MemoryType::Acc, MemoryType::Acc8, MemoryType::Wgt4],
        1 => &[MemoryType::Out, MemoryType::OutInp],
        7 => &[MemoryType::Wgt, MemoryType::Inp, MemoryType::Acc8],
        _ => &[],
    }
}

fn reserved(fields: &[Field]) -> u128 {
    fields.iter().fold(!0x7f, |mask, field| mask & !field.mask())
}

fn memory_type_code(memory_type: MemoryType) -> String {
    format!("memory type {} ({memory_type})", memory_type.code())
}

/// The set bits as ranges `hi:lo`, lowest first.
fn bit_ranges(mut bits: u128) -> String {
    let mut ranges = Vec::new();
    while bits != 0 {
        let lo = bits.trailing_zeros();
        let width = (!(bits >> lo)).trailing_zeros();
        ranges.push(if width == 1 { lo.to_string() } else { format!("{}:{lo}", lo + width - 1) });
        let hi = lo + width;
        bits = if hi >= 128 { 0 } else { bits >> hi << hi };
    }
    ranges.join(", ")
}
