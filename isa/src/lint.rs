//! Where a program leaves the behaviour on which all of upstream's implementations agree.
//!
//! Upstream's functional simulator, its Chisel hardware and its HLS hardware disagree on some legal programs. A program without
//! a departure runs alike on all three; Tandem follows the functional simulator.

use std::fmt;

use crate::{Alu, AluOpcode, Gemm, HwConfig, Insn, Load, MemoryType, Program, Store, Uop};

/// Micro-ops in the UOP scratchpad of upstream's Chisel hardware.
const CHISEL_UOP_DEPTH: u32 = 2048;
/// Micro-ops with the same destination must be this far apart.
const DST_DISTANCE: usize = 3;
/// How many accumulator indices are followed before the check of stores gives up.
const BUDGET: u64 = 1 << 24;

/// What upstream's implementations disagree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A store of an accumulator last written by a load or by GEMM with `reset`: the hardware stores its OUT buffer instead.
    StoreSource,
    /// An ALU immediate with a source other than the destination: Chisel's left operand is the source.
    ImmediateSource,
    /// A shift by less than -15 or more than 15, or to the left by an accumulator.
    ShiftAmount,
    /// Padding of WGT, which HLS ignores, or rows or padding of UOP.
    Padding,
    /// A micro-op at 2048 or above: Chisel has no more.
    UopDepth,
    /// ALU MUL, which the hardware does not decode or does not do.
    Mul,
    /// A load of ACC8, which the hardware does not do.
    Acc8,
    /// A configuration other than upstream's default: Chisel's field widths are fixed.
    Config,
    /// The same destination within three micro-ops: pipelines without a bypass.
    DstDistance,
    /// FINISH is missing or not last: upstream hangs.
    FinishLast,
    /// Part of the Tandem extension.
    Extension,
}

/// One departure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The rule left.
    pub rule: Rule,
    /// The instruction, where it is one.
    pub insn: Option<usize>,
    /// What was found, in one sentence.
    pub detail: String,
}

/// Lists the departures of an instruction stream, in its order.
///
/// `uops` is DRAM as UOP loads see it: element i is what `dram_base` i names. Micro-ops outside it are unknown and not checked.
pub fn lint(config: &HwConfig, insns: &[Insn], uops: &[Uop]) -> Vec<Departure> {
    lint_with(config, insns, |index| uops.get(index as usize).copied())
}

impl Program {
    /// Lists the departures of this program; see [`lint`].
    pub fn lint(&self) -> Vec<Departure> {
        lint_with(&self.config, &self.insns, |index| self.dram_uop(index))
    }
}

impl Rule {
    /// The item of the list of upstream's disagreements, or `-` for what upstream does not have at all.
    pub fn item(self) -> &'static str {
        match self {
            Rule::StoreSource => "a",
            Rule::ImmediateSource => "b",
            Rule::ShiftAmount => "c",
            Rule::Padding => "d",
            Rule::UopDepth => "e",
            Rule::Mul => "f",
            Rule::Acc8 => "g",
            Rule::Config => "h",
            Rule::DstDistance => "i",
            Rule::FinishLast => "j",
            Rule::Extension => "-",
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.insn {
            Some(insn) => write!(f, "instruction {insn}: {} [{}]", self.detail, self.rule.item()),
            None => write!(f, "{} [{}]", self.detail, self.rule.item()),
        }
    }
}

fn lint_with(config: &HwConfig, insns: &[Insn], dram_uop: impl Fn(u32) -> Option<Uop>) -> Vec<Departure> {
    let mut linter = Linter {
        found: Vec::new(),
        at: 0,
        uops: vec![None; config.uop_depth()],
        computed: vec![false; config.acc_depth()],
        budget: BUDGET,
    };
    linter.check_config(config);
    for (at, insn) in insns.iter().enumerate() {
        linter.at = at;
        if insn.is_extension() {
            linter.report(Rule::Extension, format!("{} is not in VTA 0.0.2", insn.mnemonic()));
        }
        match insn {
            _ if insn.is_nop() => {}
            Insn::Load(load) => linter.load(load, &dram_uop),
            Insn::LoadPad(load) => {
                let elems = (u64::from(load.x_pad_0) + u64::from(load.x_size) + u64::from(load.x_pad_1))
                    * (u64::from(load.y_pad_0) + u64::from(load.y_size) + u64::from(load.y_pad_1));
                linter.loaded(load.memory_type, load.sram_base, elems);
            }
            Insn::Store(store) => linter.store(store),
            Insn::Gemm(gemm) => linter.gemm(gemm),
            Insn::Alu(alu) => linter.alu(alu),
            // What these write was never stored by upstream's hardware; the extension has been reported.
            Insn::Requant(_) | Insn::Lane(_) => linter.computed.fill(true),
            Insn::Finish(_) => {
                if at + 1 != insns.len() {
                    linter.report(Rule::FinishLast, "FINISH is not the last instruction".to_owned());
                }
            }
        }
    }
    if !insns.iter().any(|insn| matches!(insn, Insn::Finish(_))) {
        linter.found.push(Departure { rule: Rule::FinishLast, insn: None, detail: "there is no FINISH".to_owned() });
    }
    linter.found
}

struct Linter {
    found: Vec<Departure>,
    /// The instruction at hand.
    at: usize,
    /// The UOP scratchpad, as far as known.
    uops: Vec<Option<Uop>>,
    /// Which accumulators were last written by ALU or by GEMM without `reset`.
    computed: Vec<bool>,
    /// Accumulator indices that may still be followed.
    budget: u64,
}

/// Loop bounds and destination steps of an instruction that runs micro-ops.
struct Loops {
    uop_begin: u32,
    uop_end: u32,
    iter_out: u32,
    iter_in: u32,
    dst_factor_out: u32,
    dst_factor_in: u32,
}

impl Linter {
    fn report(&mut self, rule: Rule, detail: String) {
        self.found.push(Departure { rule, insn: Some(self.at), detail });
    }

    fn check_config(&mut self, config: &HwConfig) {
        let default = HwConfig::preset("vta").map(|default| default.facts().clone());
        let facts = config.facts();
        let same = default.is_some_and(|d| {
            let sizes = |f: &crate::HwFacts| {
                let blocks = [f.batch, f.block_in, f.block_out];
                let buffers = [f.uop_buffer_bytes, f.inp_buffer_bytes, f.wgt_buffer_bytes, f.acc_buffer_bytes];
                (blocks, buffers)
            };
            sizes(&d) == sizes(facts)
        });
        if !same {
            let detail =
                "the configuration is not upstream's default, the only one its Chisel hardware decodes".to_owned();
            self.found.push(Departure { rule: Rule::Config, insn: None, detail });
        }
    }

    fn load(&mut self, load: &Load, dram_uop: &impl Fn(u32) -> Option<Uop>) {
        let padded = load.y_pad_0 + load.y_pad_1 + load.x_pad_0 + load.x_pad_1 > 0;
        match load.memory_type {
            MemoryType::Wgt | MemoryType::Wgt4 if padded => {
                self.report(Rule::Padding, "a WGT load with padding".to_owned())
            }
            MemoryType::Uop if padded => self.report(Rule::Padding, "a UOP load with padding".to_owned()),
            MemoryType::Uop if load.y_size != 1 => {
                self.report(Rule::Padding, format!("a UOP load of {} rows", load.y_size));
            }
            MemoryType::Acc8 => self.report(Rule::Acc8, "a load of ACC8".to_owned()),
            _ => {}
        }
        let row = u64::from(load.x_pad_0) + u64::from(load.x_size) + u64::from(load.x_pad_1);
        let rows = u64::from(load.y_pad_0) + u64::from(load.y_size) + u64::from(load.y_pad_1);
        self.loaded(load.memory_type, load.sram_base, row * rows);
        if load.memory_type == MemoryType::Uop {
            let end = u64::from(load.sram_base) + row * rows;
            if end > u64::from(CHISEL_UOP_DEPTH) {
                self.report(Rule::UopDepth, format!("micro-ops up to {end} of {CHISEL_UOP_DEPTH}"));
            }
            let slots = self.uops.iter_mut().skip(load.sram_base as usize);
            for (offset, slot) in slots.take(usize::try_from(row * rows).unwrap_or(usize::MAX)).enumerate() {
                // Rows and padding have been reported; what they leave is not followed.
                let known = load.y_size == 1 && !padded;
                let index = u32::try_from(offset).ok().and_then(|offset| load.dram_base.checked_add(offset));
                *slot = index.filter(|_| known).and_then(dram_uop);
            }
        }
    }

    fn loaded(&mut self, memory_type: MemoryType, sram_base: u32, elems: u64) {
        if matches!(memory_type, MemoryType::Acc | MemoryType::Acc8) {
            let elems = usize::try_from(elems).unwrap_or(usize::MAX);
            self.computed.iter_mut().skip(sram_base as usize).take(elems).for_each(|slot| *slot = false);
        }
    }

    fn store(&mut self, store: &Store) {
        let elems = store.y_size as usize * store.x_size as usize;
        let stored = self.computed.iter().enumerate().skip(store.sram_base as usize).take(elems);
        let stale = stored.filter(|(_, computed)| !**computed).map(|(index, _)| index).next();
        if let Some(index) = stale {
            let detail = format!("accumulator {index} is stored, but last written by a load or a reset");
            self.report(Rule::StoreSource, detail);
        }
    }

    fn gemm(&mut self, gemm: &Gemm) {
        let loops = Loops {
            uop_begin: gemm.uop_begin,
            uop_end: gemm.uop_end,
            iter_out: gemm.iter_out,
            iter_in: gemm.iter_in,
            dst_factor_out: gemm.dst_factor_out,
            dst_factor_in: gemm.dst_factor_in,
        };
        self.check_uops(&loops);
        self.written(&loops, !gemm.reset);
    }

    fn alu(&mut self, alu: &Alu) {
        let loops = Loops {
            uop_begin: alu.uop_begin,
            uop_end: alu.uop_end,
            iter_out: alu.iter_out,
            iter_in: alu.iter_in,
            dst_factor_out: alu.dst_factor_out,
            dst_factor_in: alu.dst_factor_in,
        };
        self.check_uops(&loops);
        match alu.alu_opcode {
            AluOpcode::Mul => self.report(Rule::Mul, "ALU MUL".to_owned()),
            AluOpcode::Shr if alu.use_imm && !(-15..=15).contains(&alu.imm) => {
                self.report(Rule::ShiftAmount, format!("a shift by {}", alu.imm));
            }
            AluOpcode::Shr if !alu.use_imm => {
                let detail = "a shift by accumulators, alike everywhere only for amounts of 0 to 15".to_owned();
                self.report(Rule::ShiftAmount, detail);
            }
            _ => {}
        }
        if alu.use_imm {
            let steps = (alu.iter_out > 1 && alu.dst_factor_out != alu.src_factor_out)
                || (alu.iter_in > 1 && alu.dst_factor_in != alu.src_factor_in);
            let uops = self.known_uops(&loops).any(|uop| uop.dst != uop.src);
            if steps || uops {
                self.report(Rule::ImmediateSource, "an ALU immediate whose source is not its destination".to_owned());
            }
        }
        self.written(&loops, true);
    }

    fn known_uops(&self, loops: &Loops) -> impl Iterator<Item = Uop> + use<'_> {
        let (begin, end) = (loops.uop_begin as usize, loops.uop_end as usize);
        self.uops.iter().take(end).skip(begin).filter_map(|uop| *uop)
    }

    fn check_uops(&mut self, loops: &Loops) {
        if loops.uop_end > CHISEL_UOP_DEPTH {
            self.report(Rule::UopDepth, format!("micro-ops up to {} of {CHISEL_UOP_DEPTH}", loops.uop_end));
        }
        let dsts: Vec<u32> = self.known_uops(loops).map(|uop| uop.dst).collect();
        let clash = dsts
            .iter()
            .enumerate()
            .find(|(position, dst)| dsts.iter().skip(position + 1).take(DST_DISTANCE - 1).any(|other| other == *dst));
        if let Some((position, dst)) = clash {
            let at = loops.uop_begin as usize + position;
            self.report(
                Rule::DstDistance,
                format!("micro-op {at} writes accumulator {dst} again within {DST_DISTANCE}"),
            );
        }
    }

    /// Marks what an instruction writes; beyond the budget everything counts as computed, so that nothing is reported wrongly.
    fn written(&mut self, loops: &Loops, computed: bool) {
        let uops = u64::from(loops.uop_end.saturating_sub(loops.uop_begin));
        let count = uops * u64::from(loops.iter_out) * u64::from(loops.iter_in);
        if count > self.budget
            || self.uops.get(loops.uop_begin as usize..loops.uop_end as usize).is_none_or(|uops| uops.contains(&None))
        {
            self.computed.fill(true);
            return;
        }
        self.budget -= count;
        for y in 0..loops.iter_out {
            for x in 0..loops.iter_in {
                // 14-bit counters and steps of at most 11 bits stay far below 32 bits.
                let offset = y as usize * loops.dst_factor_out as usize + x as usize * loops.dst_factor_in as usize;
                for uop in self.uops.iter().take(loops.uop_end as usize).skip(loops.uop_begin as usize).flatten() {
                    if let Some(slot) = self.computed.get_mut(uop.dst as usize + offset) {
                        *slot = computed;
                    }
                }
            }
        }
    }
}
