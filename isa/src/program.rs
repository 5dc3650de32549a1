//! A program: an instruction stream and the DRAM image it works on, both relative to one base address.

use crate::{HwConfig, Insn, IsaError, MemoryType, Uop};

/// Alignment of the address a program is placed at.
pub const BASE_ALIGN: u32 = 4096;

/// Instructions and the DRAM sections they read and write.
///
/// Every `dram_base` counts from the program's base (byte 0 of its DRAM image), in elements of its memory type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The machine that the program is encoded for.
    pub config: HwConfig,
    /// The DRAM image, in any order, without overlap.
    pub sections: Vec<Section>,
    /// The instruction stream; the last one is FINISH.
    pub insns: Vec<Insn>,
}

/// A range of a program's DRAM image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// A name, unique in the program.
    pub name: String,
    /// What the range is for.
    pub role: Role,
    /// First byte, relative to the program's base.
    pub offset: u32,
    /// Length in bytes.
    pub size: u32,
    /// Initial content: empty for an uninitialised section, else `size` bytes.
    pub data: Vec<u8>,
}

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Micro-ops.
    Uop,
    /// Weights.
    Wgt,
    /// Accumulator values: biases, requantisation parameters.
    Acc,
    /// Written by the host before a run.
    Input,
    /// Read by the host after a run.
    Output,
    /// Written and read by the device only.
    Scratch,
    /// Any other constant.
    Const,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 7] = [Role::Uop, Role::Wgt, Role::Acc, Role::Input, Role::Output, Role::Scratch, Role::Const];

    /// The word used in assembly text.
    pub fn name(self) -> &'static str {
        match self {
            Role::Uop => "uop",
            Role::Wgt => "wgt",
            Role::Acc => "acc",
            Role::Input => "input",
            Role::Output => "output",
            Role::Scratch => "scratch",
            Role::Const => "const",
        }
    }

    /// The role of a word.
    pub fn from_name(name: &str) -> Option<Role> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl Section {
    /// One past the last byte.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.size)
    }
}

impl Program {
    /// Length of the DRAM image: the end of the last section.
    pub fn dram_bytes(&self) -> u64 {
        self.sections.iter().map(Section::end).max().unwrap_or(0)
    }

    /// The DRAM image before the first run; bytes that no section initialises hold `fill`.
    pub fn dram_image(&self, fill: u8) -> Vec<u8> {
        let mut image = vec![fill; usize::try_from(self.dram_bytes()).unwrap_or(usize::MAX)];
        for section in &self.sections {
            let rest = image.get_mut(section.offset as usize..).unwrap_or_default();
            rest.iter_mut().zip(&section.data).for_each(|(to, from)| *to = *from);
        }
        image
    }

    /// A section by name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The sections with a role, in the order of the program.
    pub fn sections_of(&self, role: Role) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.role == role)
    }

    /// The initialised micro-op at a DRAM index (the unit of `dram_base` of a UOP load), where the image holds one.
    pub fn dram_uop(&self, index: u32) -> Option<Uop> {
        let at = u64::from(index) * 4;
        let section = self.sections.iter().find(|s| u64::from(s.offset) <= at && at + 4 <= s.end())?;
        let start = usize::try_from(at - u64::from(section.offset)).ok()?;
        let bytes = section.data.get(start..start + 4)?;
        Uop::decode(u32::from_le_bytes(bytes.try_into().ok()?), &self.config).ok()
    }

    /// The instruction stream as it stands in DRAM.
    ///
    /// # Errors
    /// As [`Insn::encode`], with the index of the instruction.
    pub fn encode_insns(&self) -> Result<Vec<u8>, IsaError> {
        encode_all(&self.insns, &self.config)
    }

    /// The instructions with every `dram_base` moved so that the image starts at byte `base`. NOPs stay as they are.
    ///
    /// # Errors
    /// [`IsaError::Base`] where `base` is not a multiple of 4096, [`IsaError::Insn`] where an address leaves its field.
    pub fn relocated(&self, base: u32) -> Result<Vec<Insn>, IsaError> {
        if !base.is_multiple_of(BASE_ALIGN) {
            return Err(IsaError::Base { base, problem: format!("use a multiple of {BASE_ALIGN}") });
        }
        let mut moved = self.insns.clone();
        for (index, insn) in moved.iter_mut().enumerate() {
            if insn.is_nop() {
                continue;
            }
            let name = insn.name();
            let (memory_type, dram_base, limit) = match insn {
                Insn::Load(i) => (i.memory_type, &mut i.dram_base, u32::MAX),
                Insn::Store(i) => (i.memory_type, &mut i.dram_base, u32::MAX),
                Insn::LoadPad(i) => (i.memory_type, &mut i.dram_base, (1 << 30) - 1),
                _ => continue,
            };
            // Element sizes divide 4096, so the quotient is exact.
            let step = base / self.config.elem_bytes(memory_type) as u32;
            *dram_base = dram_base.checked_add(step).filter(|&sum| sum <= limit).ok_or_else(|| IsaError::Insn {
                index,
                insn: name,
                problem: format!("dram_base {dram_base} + {step} does not fit its field; use a lower base"),
            })?;
        }
        Ok(moved)
    }

    /// Checks everything about a program that can be checked without running it.
    ///
    /// Sections: names, ends, data lengths, no overlap. Instructions: they encode, their scratchpad rows and micro-op ranges lie
    /// inside the machine, their DRAM rows inside the image, and FINISH is the last one and only there.
    ///
    /// # Errors
    /// The first problem found.
    pub fn validate(&self) -> Result<(), IsaError> {
        self.check_sections()?;
        let dram_bytes = self.dram_bytes();
        for (index, insn) in self.insns.iter().enumerate() {
            let wrong = |problem: String| IsaError::Insn { index, insn: insn.name(), problem };
            insn.encode(&self.config).map_err(|e| wrong(e.to_string()))?;
            check_ranges(insn, &self.config, dram_bytes).map_err(wrong)?;
            if matches!(insn, Insn::Finish(_)) && index + 1 != self.insns.len() {
                return Err(wrong(format!("FINISH must be last, and {} follow", self.insns.len() - index - 1)));
            }
        }
        match self.insns.last() {
            Some(Insn::Finish(_)) => Ok(()),
            Some(last) => Err(IsaError::Insn {
                index: self.insns.len() - 1,
                insn: last.name(),
                problem: "the last instruction must be FINISH".to_owned(),
            }),
            None => Err(IsaError::Insn { index: 0, insn: "Finish", problem: "the program is empty".to_owned() }),
        }
    }

    fn check_sections(&self) -> Result<(), IsaError> {
        let mut order: Vec<&Section> = self.sections.iter().collect();
        for section in &order {
            let wrong = |problem: String| Err(IsaError::Section { name: section.name.clone(), problem });
            if section.name.is_empty() {
                return wrong("give it a name".to_owned());
            }
            if section.end() > 1 << 32 {
                return wrong(format!("it ends at {:#x}, beyond the 32-bit address space", section.end()));
            }
            if !section.data.is_empty() && section.data.len() as u64 != u64::from(section.size) {
                return wrong(format!("it has {} bytes of data for a size of {}", section.data.len(), section.size));
            }
        }
        order.sort_by_key(|section| (section.offset, section.size));
        for pair in order.windows(2) {
            if let [first, second] = pair
                && first.end() > u64::from(second.offset)
                && second.size > 0
            {
                let problem = format!("it overlaps section {} at {:#x}", first.name, second.offset);
                return Err(IsaError::Section { name: second.name.clone(), problem });
            }
        }
        order.sort_by(|a, b| a.name.cmp(&b.name));
        for pair in order.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                let problem = "two sections have this name".to_owned();
                return Err(IsaError::Section { name: first.name.clone(), problem });
            }
        }
        Ok(())
    }
}

/// Encodes a stream of instructions to the bytes that stand in DRAM.
///
/// # Errors
/// As [`Insn::encode`], with the index of the instruction.
pub fn encode_all(insns: &[Insn], config: &HwConfig) -> Result<Vec<u8>, IsaError> {
    let mut bytes = Vec::with_capacity(insns.len() * 16);
    for (index, insn) in insns.iter().enumerate() {
        let word =
            insn.encode(config).map_err(|e| IsaError::Insn { index, insn: insn.name(), problem: e.to_string() })?;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    Ok(bytes)
}

/// Decodes a stream of instructions from the bytes that stand in DRAM.
///
/// # Errors
/// As [`Insn::decode`], with the index of the instruction; a length that is not a multiple of 16.
pub fn decode_all(bytes: &[u8], config: &HwConfig) -> Result<Vec<Insn>, IsaError> {
    let (words, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        let problem = format!("the stream ends after {} of 16 bytes", rest.len());
        return Err(IsaError::Insn { index: words.len(), insn: "instruction", problem });
    }
    let decode = |(index, bytes): (usize, &[u8; 16])| {
        Insn::from_bytes(*bytes, config).map_err(|e| IsaError::Insn {
            index,
            insn: "instruction",
            problem: e.to_string(),
        })
    };
    words.iter().enumerate().map(decode).collect()
}

/// Scratchpad, micro-op and DRAM ranges of one instruction.
fn check_ranges(insn: &Insn, config: &HwConfig, dram_bytes: u64) -> Result<(), String> {
    if insn.is_nop() {
        return Ok(());
    }
    match insn {
        Insn::Load(i) => {
            let row = u64::from(i.x_pad_0) + u64::from(i.x_size) + u64::from(i.x_pad_1);
            let rows = u64::from(i.y_pad_0) + u64::from(i.y_size) + u64::from(i.y_pad_1);
            check_sram(config, i.memory_type, i.sram_base, row * rows)?;
            check_dram(config, i.memory_type, i.dram_base, [i.y_size, i.x_size, i.x_stride], dram_bytes)
        }
        Insn::LoadPad(i) => {
            let row = u64::from(i.x_pad_0) + u64::from(i.x_size) + u64::from(i.x_pad_1);
            let rows = u64::from(i.y_pad_0) + u64::from(i.y_size) + u64::from(i.y_pad_1);
            check_sram(config, i.memory_type, i.sram_base, row * rows)?;
            check_dram(config, i.memory_type, i.dram_base, [i.y_size, i.x_size, i.x_stride], dram_bytes)
        }
        Insn::Store(i) => {
            let group = crate::semantics::out_inp_group(config) as u32;
            if i.memory_type == MemoryType::OutInp && !i.x_size.is_multiple_of(group) {
                return Err(format!("x_size {} must be a multiple of {group} for outinp", i.x_size));
            }
            check_sram(config, i.memory_type, i.sram_base, u64::from(i.y_size) * u64::from(i.x_size))?;
            check_dram(config, i.memory_type, i.dram_base, [i.y_size, i.x_size, i.x_stride], dram_bytes)
        }
        Insn::Gemm(i) => check_uops(config, i.uop_begin, i.uop_end),
        Insn::Alu(i) => check_uops(config, i.uop_begin, i.uop_end),
        Insn::Requant(i) if i.fuse => Ok(()),
        Insn::Requant(i) => check_uops(config, i.uop_begin, i.uop_end),
        Insn::Lane(i) => check_uops(config, i.uop_begin, i.uop_end),
        Insn::Finish(_) => Ok(()),
    }
}

fn check_uops(config: &HwConfig, begin: u32, end: u32) -> Result<(), String> {
    if end as usize > config.uop_depth() {
        return Err(format!("uop_end {end} is beyond the {} micro-ops of the scratchpad", config.uop_depth()));
    }
    if begin > end { Err(format!("uop_begin {begin} is after uop_end {end}")) } else { Ok(()) }
}

fn check_sram(config: &HwConfig, memory_type: MemoryType, base: u32, elems: u64) -> Result<(), String> {
    let (end, depth) = (u64::from(base) + elems, config.depth(memory_type) as u64);
    if end > depth {
        return Err(format!("it reaches scratchpad element {end} of {depth} ({memory_type})"));
    }
    Ok(())
}

fn check_dram(
    config: &HwConfig,
    memory_type: MemoryType,
    base: u32,
    shape: [u32; 3],
    dram_bytes: u64,
) -> Result<(), String> {
    let [y_size, x_size, x_stride] = shape.map(u64::from);
    if y_size == 0 {
        return Ok(());
    }
    let end = (u64::from(base) + (y_size - 1) * x_stride + x_size) * config.elem_bytes(memory_type) as u64;
    if end > dram_bytes {
        return Err(format!("it reaches byte {end:#x} of a DRAM image of {dram_bytes:#x} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dep, Finish, Gemm, Load, LoadPad, Queue, Store};

    fn program(insns: Vec<Insn>) -> Program {
        let section = |name: &str, role, offset, size| Section { name: name.into(), role, offset, size, data: vec![] };
        Program {
            config: HwConfig::preset("vta").unwrap(),
            sections: vec![section("in", Role::Input, 0, 4096), section("out", Role::Output, 4096, 4096)],
            insns,
        }
    }

    fn finish() -> Insn {
        Insn::Finish(Finish::default())
    }

    fn store(dram_base: u32, x_size: u32) -> Insn {
        Insn::Store(Store {
            memory_type: MemoryType::Out,
            dram_base,
            y_size: 1,
            x_size,
            x_stride: x_size,
            ..Store::default()
        })
    }

    #[test]
    fn a_program_inside_its_image_is_valid() {
        let load = Load { memory_type: MemoryType::Inp, y_size: 16, x_size: 16, x_stride: 16, ..Load::default() };
        let p = program(vec![load.into(), Insn::nop(Queue::Load, Dep::default()), store(256, 256), finish()]);
        p.validate().unwrap();
        assert_eq!(p.dram_bytes(), 8192);
    }

    #[test]
    fn the_image_holds_what_sections_initialise() {
        let mut p = program(vec![finish()]);
        p.sections[1].data = vec![7; 4096];
        let image = p.dram_image(9);
        assert_eq!((image.len(), image[4095], image[4096], image[8191]), (8192, 9, 7, 7));
    }

    #[test]
    fn ranges_outside_the_machine_or_the_image_are_refused_with_the_instruction() {
        let wide =
            Load { memory_type: MemoryType::Wgt, sram_base: 1020, y_size: 1, x_size: 4, y_pad_1: 1, ..Load::default() };
        let gemm = Gemm { uop_begin: 3, uop_end: 2, ..Gemm::default() };
        let deep = Gemm { uop_begin: 0, uop_end: 8193, ..Gemm::default() };
        let cases: [(Insn, &str); 4] = [
            (wide.into(), "it reaches scratchpad element 1028 of 1024 (wgt)"),
            (store(257, 256), "it reaches byte 0x2010 of a DRAM image of 0x2000 bytes"),
            (gemm.into(), "uop_begin 3 is after uop_end 2"),
            (deep.into(), "uop_end 8193 is beyond the 8192 micro-ops of the scratchpad"),
        ];
        for (insn, expected) in cases {
            let error = program(vec![insn, finish()]).validate().unwrap_err();
            assert!(matches!(&error, IsaError::Insn { index: 0, problem, .. } if problem == expected), "{error}");
        }
    }

    #[test]
    fn an_image_one_byte_short_is_too_short() {
        let mut p = program(vec![store(256, 256), finish()]);
        p.sections[1].size -= 1;
        assert!(p.validate().unwrap_err().to_string().contains("a DRAM image of 0x1fff bytes"));
    }

    #[test]
    fn finish_must_be_the_last_instruction_and_only_there() {
        assert!(program(vec![]).validate().is_err());
        assert!(program(vec![store(256, 1)]).validate().is_err());
        assert!(program(vec![finish(), finish()]).validate().is_err());
        program(vec![finish()]).validate().unwrap();
    }

    #[test]
    fn overlapping_duplicate_and_oversized_sections_are_refused() {
        let mut p = program(vec![finish()]);
        p.sections[1].offset = 4095;
        assert!(p.validate().unwrap_err().to_string().contains("overlaps section in"));
        p.sections[1].offset = 4096;
        p.sections[1].name = "in".into();
        assert!(p.validate().unwrap_err().to_string().contains("two sections"));
        p.sections[1].name = "out".into();
        p.sections[1].data = vec![0; 3];
        assert!(p.validate().unwrap_err().to_string().contains("3 bytes of data for a size of 4096"));
        p.sections[1] = Section { offset: u32::MAX, size: 2, data: vec![], ..p.sections[1].clone() };
        assert!(p.validate().unwrap_err().to_string().contains("32-bit"));
    }

    #[test]
    fn relocation_moves_every_dram_base_by_its_own_unit_and_leaves_nops() {
        let load =
            |memory_type| Insn::from(Load { memory_type, dram_base: 1, x_size: 1, y_size: 1, ..Load::default() });
        let pad = LoadPad { memory_type: MemoryType::Acc8, dram_base: 1, x_size: 1, y_size: 1, ..LoadPad::default() };
        let nop = Insn::nop(Queue::Compute, Dep { push_next: true, ..Dep::default() });
        let types = [MemoryType::Uop, MemoryType::Wgt, MemoryType::Inp, MemoryType::Acc];
        let mut insns: Vec<Insn> = types.map(load).to_vec();
        insns.extend([pad.into(), nop, finish()]);
        let moved = program(insns).relocated(0x2000).unwrap();
        let bases: Vec<u32> = moved
            .iter()
            .map(|insn| match insn {
                Insn::Load(i) => i.dram_base,
                Insn::LoadPad(i) => i.dram_base,
                _ => 0,
            })
            .collect();
        assert_eq!(bases, [0x801, 0x21, 0x201, 0x81, 0x201, 0, 0]);
        assert_eq!(moved[5], nop);
    }

    #[test]
    fn relocation_refuses_a_base_off_the_page_or_an_address_beyond_its_field() {
        assert!(matches!(program(vec![finish()]).relocated(64), Err(IsaError::Base { base: 64, .. })));
        let high = program(vec![store(u32::MAX - 10, 1), finish()]);
        assert!(matches!(high.relocated(4096), Err(IsaError::Insn { index: 0, .. })));
        let pad = LoadPad { memory_type: MemoryType::Inp, dram_base: (1 << 30) - 1, x_size: 1, ..LoadPad::default() };
        assert!(program(vec![pad.into(), finish()]).relocated(4096).is_err());
        high.relocated(0).unwrap();
    }

    #[test]
    fn a_micro_op_is_found_in_the_section_that_holds_it() {
        let mut p = program(vec![finish()]);
        p.sections[0].data = vec![0; 4096];
        p.sections[0].data[8..12].copy_from_slice(&(7u32 | 9 << 11).to_le_bytes());
        assert_eq!(p.dram_uop(2), Some(Uop { dst: 7, src: 9, wgt: 0 }));
        assert_eq!(p.dram_uop(1024), None);
        assert_eq!(p.dram_uop(u32::MAX), None);
    }

    #[test]
    fn a_stream_of_bytes_decodes_to_the_instructions_that_made_it() {
        let p = program(vec![store(256, 4), finish()]);
        let bytes = p.encode_insns().unwrap();
        assert_eq!(decode_all(&bytes, &p.config).unwrap(), p.insns);
        assert!(decode_all(&bytes[..31], &p.config).unwrap_err().to_string().contains("15 of 16 bytes"));
    }
}
