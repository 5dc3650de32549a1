//! The sizes of one machine: independent facts in TOML, everything else derived.
//!
//! Every field position of the instruction set moves with these sizes, so a configuration is checked as a whole when it is
//! made: whatever does not fit in a 128-bit instruction or in a 32-bit micro-op is refused with the number of bits missing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{IsaError, MemoryType, Reg, RequantMode, TOKEN_QUEUE_DEPTH};

/// Smallest accepted number of micro-ops in the UOP scratchpad.
const MIN_UOP_DEPTH: usize = 64;
/// Smallest accepted number of elements in the INP and WGT scratchpads.
const MIN_INPUT_DEPTH: usize = 32;
/// Smallest accepted number of elements in the ACC scratchpad: two tiles with their requantisation parameters.
const MIN_ACC_DEPTH: usize = 64;
/// Instructions that a queue holds where nothing else is said.
const FULL_QUEUE: u32 = 512;
/// Tokens that a token queue holds where instructions run one after another.
const SEQUENTIAL_TOKENS: u32 = 255;
/// Width of `iter_out` and of `iter_in`.
pub(crate) const ITER_BITS: u32 = 14;
/// Width of `iter_out` of LANE, whose upper bits are `more_taps`.
pub(crate) const LANE_ITER_BITS: u32 = 12;
/// Width of `sram_base`.
pub(crate) const SRAM_BITS: u32 = 16;

/// Which instruction set a machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// VTA 0.0.2 and the Tandem extension.
    #[default]
    #[serde(rename = "tandem")]
    Tandem,
    /// VTA HW_VER 0.0.2 and nothing more.
    #[serde(rename = "vta-0.0.2")]
    Vta002,
}

impl Profile {
    /// The name used in TOML.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Tandem => "tandem",
            Profile::Vta002 => "vta-0.0.2",
        }
    }

    /// Whether the Tandem extension exists under this profile.
    pub fn has_extension(self) -> bool {
        self == Profile::Tandem
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The independent facts of a configuration, as written in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HwFacts {
    /// A label; it takes no part in the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The instruction set.
    #[serde(default)]
    pub profile: Profile,
    /// Rows of an INP, ACC or OUT element: 1, 2 or 4.
    pub batch: u32,
    /// Input lanes: 4, 8, 16 or 32.
    pub block_in: u32,
    /// Output lanes: 4, 8, 16 or 32.
    pub block_out: u32,
    /// Width of an input value; 8.
    #[serde(default = "eight")]
    pub inp_bits: u32,
    /// Width of a weight; 8.
    #[serde(default = "eight")]
    pub wgt_bits: u32,
    /// Width of an accumulator; 32.
    #[serde(default = "thirty_two")]
    pub acc_bits: u32,
    /// Width of an output value; 8.
    #[serde(default = "eight")]
    pub out_bits: u32,
    /// Width of a micro-op; 32.
    #[serde(default = "thirty_two")]
    pub uop_bits: u32,
    /// Size of the UOP scratchpad; a power of two.
    pub uop_buffer_bytes: u32,
    /// Size of the INP scratchpad; a power of two.
    pub inp_buffer_bytes: u32,
    /// Size of the WGT scratchpad; a power of two.
    pub wgt_buffer_bytes: u32,
    /// Size of the ACC scratchpad; a power of two.
    pub acc_buffer_bytes: u32,
    /// Width of the DRAM bus: 64, 128, 256 or 512.
    pub bus_bits: u32,
    /// Bits of a byte address in DRAM, 16 to 32: what lies beyond is out of reach.
    #[serde(default = "thirty_two", skip_serializing_if = "is_thirty_two")]
    pub dram_bits: u32,
    /// Instructions that each queue holds: 16, 32, 64, 128, 256 or 512. With 0 there are no queues: instructions run one after
    /// another in the order of the stream, on a machine with one lane of tensor ALU, `batch` 1, equal blocks, a bus of 64 bits and
    /// no REQUANT `float`.
    #[serde(default = "full_queue", skip_serializing_if = "is_full_queue")]
    pub insn_queue_depth: u32,
    /// Lanes of the tensor ALU, a power of two: a vector of `batch * block_out` lanes takes as many turns as it needs. Absent:
    /// as many lanes as a vector has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alu_lanes: Option<u32>,
    /// Taps that LANE multiplies at once: 1, or 4 on a machine with queues and equal blocks.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub lane_taps: u32,
    /// Whether LOAD unpacks weights of 4 bits, on a machine with queues.
    #[serde(default, skip_serializing_if = "is_no")]
    pub packed_weights: bool,
    /// Whether REQUANT has the mode `float`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub float_requant: bool,
    /// Whether the device counts bytes and micro-ops; without, those registers read 0.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub counters: bool,
}

/// A checked configuration: the facts and everything that follows from them.
///
/// # Shapes
/// INP elements are `[batch][block_in]` bytes, WGT elements `[block_out][block_in]` bytes, ACC elements
/// `[batch][block_out]` 32-bit words, OUT elements `[batch][block_out]` bytes. OUT has the depth of ACC.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "HwFacts", into = "HwFacts")]
pub struct HwConfig {
    facts: HwFacts,
    log_uop_depth: u32,
    log_inp_depth: u32,
    log_wgt_depth: u32,
    log_acc_depth: u32,
}

const PRESETS: [(&str, &str); 5] = [
    ("tiny", include_str!("../presets/tiny.toml")),
    ("edge", include_str!("../presets/edge.toml")),
    ("vta", include_str!("../presets/vta.toml")),
    ("wide", include_str!("../presets/wide.toml")),
    ("batch", include_str!("../presets/batch.toml")),
];

impl HwConfig {
    /// A machine whose sizes do not matter: for walks over the table that use names and not positions.
    pub(crate) const SMALLEST: HwConfig = HwConfig {
        facts: HwFacts {
            name: None,
            profile: Profile::Tandem,
            batch: 1,
            block_in: 4,
            block_out: 4,
            inp_bits: 8,
            wgt_bits: 8,
            acc_bits: 32,
            out_bits: 8,
            uop_bits: 32,
            uop_buffer_bytes: 256,
            inp_buffer_bytes: 128,
            wgt_buffer_bytes: 512,
            acc_buffer_bytes: 1024,
            bus_bits: 64,
            dram_bits: 32,
            insn_queue_depth: FULL_QUEUE,
            alu_lanes: None,
            lane_taps: 1,
            packed_weights: false,
            float_requant: true,
            counters: true,
        },
        log_uop_depth: 6,
        log_inp_depth: 5,
        log_wgt_depth: 5,
        log_acc_depth: 6,
    };

    /// Checks the facts and derives the rest.
    ///
    /// # Errors
    /// [`IsaError::ConfigValue`] for a value outside its list, [`IsaError::ConfigWidth`] for sizes that do not fit an encoding.
    pub fn new(mut facts: HwFacts) -> Result<Self, IsaError> {
        check_facts(&facts)?;
        // A fact that says what its absence says is left out, so that equal machines have equal digests.
        facts.alu_lanes = facts.alu_lanes.filter(|&lanes| lanes != facts.batch * facts.block_out);
        let row = facts.batch as usize;
        let (block_in, block_out) = (facts.block_in as usize, facts.block_out as usize);
        let config = HwConfig {
            log_uop_depth: log_depth("uop_buffer_bytes", facts.uop_buffer_bytes, 4, MIN_UOP_DEPTH)?,
            log_inp_depth: log_depth("inp_buffer_bytes", facts.inp_buffer_bytes, row * block_in, MIN_INPUT_DEPTH)?,
            log_wgt_depth: log_depth(
                "wgt_buffer_bytes",
                facts.wgt_buffer_bytes,
                block_out * block_in,
                MIN_INPUT_DEPTH,
            )?,
            log_acc_depth: log_depth("acc_buffer_bytes", facts.acc_buffer_bytes, row * block_out * 4, MIN_ACC_DEPTH)?,
            facts,
        };
        config.check_widths()?;
        Ok(config)
    }

    /// Reads a configuration from TOML; unknown keys are refused.
    ///
    /// # Errors
    /// [`IsaError::ConfigText`] where the text does not parse, otherwise as [`HwConfig::new`].
    pub fn from_toml(text: &str) -> Result<Self, IsaError> {
        let facts: HwFacts = toml::from_str(text).map_err(|e| IsaError::ConfigText(e.to_string().trim().to_owned()))?;
        Self::new(facts)
    }

    /// Writes the independent facts as TOML, one a line, that [`HwConfig::from_toml`] reads back.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.entries() {
            text.push_str(&format!("{key} = {value}\n"));
        }
        text
    }

    /// A configuration shipped with the crate, by name; see [`HwConfig::presets`].
    pub fn preset(name: &str) -> Option<Self> {
        let (_, text) = PRESETS.iter().find(|(preset, _)| *preset == name)?;
        Self::from_toml(text).ok()
    }

    /// The names of the shipped configurations, from small to large.
    pub fn presets() -> [&'static str; 5] {
        PRESETS.map(|(name, _)| name)
    }

    /// The independent facts.
    pub fn facts(&self) -> &HwFacts {
        &self.facts
    }

    /// The label, where there is one.
    pub fn name(&self) -> Option<&str> {
        self.facts.name.as_deref()
    }

    /// A hash of the independent facts, without the label. Driver, simulators and hardware compare it before a run.
    ///
    /// It is FNV-1a (32 bits) over `key=value` lines in the order of [`HwConfig::to_toml`], each ended by a line feed.
    pub fn digest(&self) -> u32 {
        let mut hash = 0x811c_9dc5u32;
        for (key, value) in self.entries().into_iter().filter(|(key, _)| *key != "name") {
            for byte in key.bytes().chain([b'=']).chain(value.bytes()).chain([b'\n']) {
                hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        }
        hash
    }

    /// The instruction set.
    pub fn profile(&self) -> Profile {
        self.facts.profile
    }

    /// Rows of an INP, ACC or OUT element.
    pub fn batch(&self) -> usize {
        self.facts.batch as usize
    }

    /// Input lanes.
    pub fn block_in(&self) -> usize {
        self.facts.block_in as usize
    }

    /// Output lanes.
    pub fn block_out(&self) -> usize {
        self.facts.block_out as usize
    }

    /// Bytes of an INP element.
    pub fn inp_elem_bytes(&self) -> usize {
        self.batch() * self.block_in()
    }

    /// Bytes of a WGT element.
    pub fn wgt_elem_bytes(&self) -> usize {
        self.block_out() * self.block_in()
    }

    /// Bytes of an ACC element.
    pub fn acc_elem_bytes(&self) -> usize {
        self.batch() * self.block_out() * 4
    }

    /// Bytes of an OUT element.
    pub fn out_elem_bytes(&self) -> usize {
        self.batch() * self.block_out()
    }

    /// Micro-ops in the UOP scratchpad.
    pub fn uop_depth(&self) -> usize {
        1 << self.log_uop_depth
    }

    /// Elements in the INP scratchpad.
    pub fn inp_depth(&self) -> usize {
        1 << self.log_inp_depth
    }

    /// Elements in the WGT scratchpad.
    pub fn wgt_depth(&self) -> usize {
        1 << self.log_wgt_depth
    }

    /// Elements in the ACC scratchpad, and in OUT.
    pub fn acc_depth(&self) -> usize {
        1 << self.log_acc_depth
    }

    /// Bits of a UOP index.
    pub fn log_uop_depth(&self) -> u32 {
        self.log_uop_depth
    }

    /// Bits of an INP index.
    pub fn log_inp_depth(&self) -> u32 {
        self.log_inp_depth
    }

    /// Bits of a WGT index.
    pub fn log_wgt_depth(&self) -> u32 {
        self.log_wgt_depth
    }

    /// Bits of an ACC index.
    pub fn log_acc_depth(&self) -> u32 {
        self.log_acc_depth
    }

    /// Bits of the `src` field of a micro-op, which indexes ACC or INP.
    pub fn log_src_depth(&self) -> u32 {
        self.log_acc_depth.max(self.log_inp_depth)
    }

    /// Bytes that the DRAM bus carries in a cycle.
    pub fn bus_bytes(&self) -> usize {
        self.facts.bus_bits as usize / 8
    }

    /// Bytes of one DRAM element of a memory type: the unit of `dram_base` and `x_stride`.
    pub fn elem_bytes(&self, memory_type: MemoryType) -> usize {
        match memory_type {
            MemoryType::Uop => 4,
            MemoryType::Wgt => self.wgt_elem_bytes(),
            MemoryType::Wgt4 => self.wgt_elem_bytes() / 2,
            MemoryType::Inp => self.inp_elem_bytes(),
            MemoryType::Acc => self.acc_elem_bytes(),
            MemoryType::Out | MemoryType::Acc8 | MemoryType::OutInp => self.out_elem_bytes(),
        }
    }

    /// Elements of the scratchpad that a memory type moves: the limit of `sram_base`.
    pub fn depth(&self, memory_type: MemoryType) -> usize {
        match memory_type {
            MemoryType::Uop => self.uop_depth(),
            MemoryType::Wgt | MemoryType::Wgt4 => self.wgt_depth(),
            MemoryType::Inp => self.inp_depth(),
            MemoryType::Acc | MemoryType::Acc8 | MemoryType::Out | MemoryType::OutInp => self.acc_depth(),
        }
    }

    /// Vectors of `block_out` lanes that LANE sees in the INP scratchpad.
    pub fn inp_vectors(&self) -> usize {
        self.inp_depth() * self.block_in() / self.block_out()
    }

    /// Vectors of `block_out` lanes that LANE sees in the WGT scratchpad.
    pub fn wgt_vectors(&self) -> usize {
        self.wgt_depth() * self.block_in()
    }

    /// Bits of a byte address in DRAM.
    pub fn dram_bits(&self) -> u32 {
        self.facts.dram_bits
    }

    /// The bits of a register that hold what the host writes, on this machine: see [`Reg::written_bits`]. An address has
    /// `dram_bits`, and INSN_COUNT as many as DRAM holds instructions.
    pub fn written_bits(&self, reg: Reg) -> u32 {
        let low = |bits: u32| u32::MAX >> (32 - bits.min(32));
        reg.written_bits()
            & match reg {
                Reg::InsnCount if self.dram_bits() < 32 => low(self.dram_bits() - 3),
                Reg::Control => u32::MAX,
                _ => low(self.dram_bits()),
            }
    }

    /// Instructions that each queue holds. `None`: there are no queues, and instructions run in the order of the stream.
    pub fn insn_queue_depth(&self) -> Option<usize> {
        (self.facts.insn_queue_depth > 0).then_some(self.facts.insn_queue_depth as usize)
    }

    /// Tokens that each token queue holds.
    pub fn token_queue_depth(&self) -> u32 {
        if self.facts.insn_queue_depth > 0 { TOKEN_QUEUE_DEPTH } else { SEQUENTIAL_TOKENS }
    }

    /// Lanes of the tensor ALU.
    pub fn alu_lanes(&self) -> usize {
        self.facts.alu_lanes.unwrap_or(self.facts.batch * self.facts.block_out) as usize
    }

    /// Taps that LANE multiplies at once at most.
    pub fn lane_taps(&self) -> usize {
        self.facts.lane_taps as usize
    }

    /// Whether LOAD has weights of 4 bits.
    pub fn has_packed_weights(&self) -> bool {
        self.facts.packed_weights
    }

    /// Whether instructions move this memory type.
    pub fn has_memory_type(&self, memory_type: MemoryType) -> bool {
        match memory_type {
            MemoryType::Wgt4 => self.has_packed_weights(),
            other => self.profile().has_extension() || !other.is_extension(),
        }
    }

    /// Whether REQUANT has this mode.
    pub fn has_requant(&self, mode: RequantMode) -> bool {
        self.profile().has_extension() && (mode != RequantMode::Float || self.facts.float_requant)
    }

    /// Whether REQUANT has the flags `clear` and `from_inp`.
    pub fn has_requant_flags(&self) -> bool {
        self.profile().has_extension() && self.insn_queue_depth().is_some()
    }

    /// Whether REQUANT has the flag `fuse`.
    pub fn has_fused_requant(&self) -> bool {
        self.has_requant_flags() && self.alu_lanes() == self.batch() * self.block_out()
    }

    /// Whether the device counts bytes and micro-ops.
    pub fn has_counters(&self) -> bool {
        self.facts.counters
    }

    /// The facts as `key`, TOML value, in file order; those of the last seven that are what they are by default are left out.
    pub(crate) fn entries(&self) -> Vec<(&'static str, String)> {
        let f = &self.facts;
        let mut entries = Vec::with_capacity(20);
        if let Some(name) = &f.name {
            entries.push(("name", format!("\"{name}\"")));
        }
        entries.push(("profile", format!("\"{}\"", f.profile)));
        for (key, value) in [
            ("batch", f.batch),
            ("block_in", f.block_in),
            ("block_out", f.block_out),
            ("inp_bits", f.inp_bits),
            ("wgt_bits", f.wgt_bits),
            ("acc_bits", f.acc_bits),
            ("out_bits", f.out_bits),
            ("uop_bits", f.uop_bits),
            ("uop_buffer_bytes", f.uop_buffer_bytes),
            ("inp_buffer_bytes", f.inp_buffer_bytes),
            ("wgt_buffer_bytes", f.wgt_buffer_bytes),
            ("acc_buffer_bytes", f.acc_buffer_bytes),
            ("bus_bits", f.bus_bits),
        ] {
            entries.push((key, value.to_string()));
        }
        for (key, value, default) in [
            ("dram_bits", f.dram_bits, thirty_two()),
            ("insn_queue_depth", f.insn_queue_depth, full_queue()),
            ("alu_lanes", f.alu_lanes.unwrap_or(0), 0),
            ("lane_taps", f.lane_taps, one()),
        ] {
            if value != default {
                entries.push((key, value.to_string()));
            }
        }
        for (key, value, default) in [
            ("packed_weights", f.packed_weights, false),
            ("float_requant", f.float_requant, yes()),
            ("counters", f.counters, yes()),
        ] {
            if value != default {
                entries.push((key, value.to_string()));
            }
        }
        entries
    }

    fn check_widths(&self) -> Result<(), IsaError> {
        let (uop, inp, wgt, acc) = (self.log_uop_depth, self.log_inp_depth, self.log_wgt_depth, self.log_acc_depth);
        let check = |what, needed, available, detail: String| {
            if needed <= available { Ok(()) } else { Err(IsaError::ConfigWidth { what, needed, available, detail }) }
        };
        check(
            "a micro-op",
            acc + acc.max(inp) + wgt,
            32,
            format!("dst {acc} + src {} + wgt {wgt}; make the ACC, INP or WGT buffer smaller", acc.max(inp)),
        )?;
        check(
            "word 1 of GEMM",
            2 * (acc + inp + wgt),
            64,
            format!("2 * (ACC {acc} + INP {inp} + WGT {wgt}); make one of these buffers smaller"),
        )?;
        // That of REQUANT asks for no more: 5 * ACC + 6.
        check("word 1 of ALU", 4 * acc + 20, 64, format!("4 * ACC {acc} + 20; make the ACC buffer smaller"))?;
        check(
            "word 0 of GEMM, ALU and LANE",
            8 + 2 * uop + 1 + 2 * ITER_BITS,
            63,
            format!("8 + UOP {uop} + {} + 2 * {ITER_BITS}, and bit 63 is taken; make the UOP buffer smaller", uop + 1),
        )?;
        for (what, log) in [("sram_base of an INP load", inp), ("sram_base of a WGT load", wgt)] {
            check(what, log, SRAM_BITS, "make this buffer smaller".to_owned())?;
        }
        Ok(())
    }
}

impl TryFrom<HwFacts> for HwConfig {
    type Error = IsaError;

    fn try_from(facts: HwFacts) -> Result<Self, IsaError> {
        HwConfig::new(facts)
    }
}

impl From<HwConfig> for HwFacts {
    fn from(config: HwConfig) -> Self {
        config.facts
    }
}

impl FromStr for HwConfig {
    type Err = IsaError;

    fn from_str(text: &str) -> Result<Self, IsaError> {
        Self::from_toml(text)
    }
}

fn eight() -> u32 {
    8
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == one()
}

fn thirty_two() -> u32 {
    32
}

fn is_thirty_two(value: &u32) -> bool {
    *value == thirty_two()
}

fn full_queue() -> u32 {
    FULL_QUEUE
}

fn is_full_queue(value: &u32) -> bool {
    *value == FULL_QUEUE
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_no(value: &bool) -> bool {
    !value
}

fn check_facts(facts: &HwFacts) -> Result<(), IsaError> {
    let bad = |field, value: String, remedy: String| Err(IsaError::ConfigValue { field, value, remedy });
    if let Some(name) = &facts.name {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return bad("name", format!("{name:?}"), "use 1 to 64 letters, digits, '-', '_' or '.'".to_owned());
        }
    }
    let lists: [(&'static str, u32, &[u32]); 5] = [
        ("batch", facts.batch, &[1, 2, 4]),
        ("block_in", facts.block_in, &[4, 8, 16, 32]),
        ("block_out", facts.block_out, &[4, 8, 16, 32]),
        ("bus_bits", facts.bus_bits, &[64, 128, 256, 512]),
        ("insn_queue_depth", facts.insn_queue_depth, &[0, 16, 32, 64, 128, 256, 512]),
    ];
    for (field, value, accepted) in lists {
        if !accepted.contains(&value) {
            let list: Vec<String> = accepted.iter().map(u32::to_string).collect();
            return bad(field, value.to_string(), format!("use one of {}", list.join(", ")));
        }
    }
    if !(16..=32).contains(&facts.dram_bits) {
        return bad("dram_bits", facts.dram_bits.to_string(), "use 16 to 32".to_owned());
    }
    let row = facts.insn_queue_depth > 0 && facts.block_in == facts.block_out && facts.profile.has_extension();
    if !(facts.lane_taps == 1 || (facts.lane_taps == 4 && row)) {
        let remedy = "use 1, or 4 with instruction queues, block_in equal to block_out and profile tandem";
        return bad("lane_taps", facts.lane_taps.to_string(), remedy.to_owned());
    }
    if facts.packed_weights && !(facts.insn_queue_depth > 0 && facts.profile.has_extension()) {
        let remedy = "only a machine with instruction queues and profile tandem unpacks weights".to_owned();
        return bad("packed_weights", true.to_string(), remedy);
    }
    let lanes = facts.batch * facts.block_out;
    if let Some(alu_lanes) = facts.alu_lanes
        && (!alu_lanes.is_power_of_two() || alu_lanes > lanes)
    {
        return bad(
            "alu_lanes",
            alu_lanes.to_string(),
            format!("use a power of two up to {lanes} (batch * block_out)"),
        );
    }
    if facts.insn_queue_depth == 0 {
        let sequential = [
            ("batch", facts.batch == 1, facts.batch.to_string(), "1"),
            ("block_in", facts.block_in == facts.block_out, facts.block_in.to_string(), "the value of block_out"),
            ("bus_bits", facts.bus_bits == 64, facts.bus_bits.to_string(), "64"),
            ("alu_lanes", facts.alu_lanes == Some(1), facts.alu_lanes.unwrap_or(lanes).to_string(), "1"),
            ("float_requant", !facts.float_requant, facts.float_requant.to_string(), "false"),
        ];
        for (field, fine, value, only) in sequential {
            if !fine {
                let remedy = format!("a machine without queues (insn_queue_depth = 0) has {only} here");
                return bad(field, value, remedy);
            }
        }
    }
    let fixed = [
        ("inp_bits", facts.inp_bits, 8),
        ("wgt_bits", facts.wgt_bits, 8),
        ("acc_bits", facts.acc_bits, 32),
        ("out_bits", facts.out_bits, 8),
        ("uop_bits", facts.uop_bits, 32),
    ];
    for (field, value, only) in fixed {
        if value != only {
            return bad(field, value.to_string(), format!("only {only} is implemented so far; leave the key out"));
        }
    }
    Ok(())
}

/// The base-two logarithm of a buffer's depth in elements.
fn log_depth(field: &'static str, bytes: u32, elem_bytes: usize, least: usize) -> Result<u32, IsaError> {
    if !bytes.is_power_of_two() {
        let remedy = "use a power of two".to_owned();
        return Err(IsaError::ConfigValue { field, value: bytes.to_string(), remedy });
    }
    // Element sizes are powers of two, so the quotient of a power of two is exact or zero.
    let depth = bytes as usize / elem_bytes;
    if depth < least {
        let remedy = format!("use at least {} ({least} elements of {elem_bytes} bytes)", least * elem_bytes);
        return Err(IsaError::ConfigValue { field, value: bytes.to_string(), remedy });
    }
    Ok(depth.ilog2())
}

#[cfg(test)]
mod tests;
