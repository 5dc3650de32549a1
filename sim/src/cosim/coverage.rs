//! What random programs have exercised: counts of instructions by kind, and of the situations that hardware gets wrong.

use std::collections::{BTreeMap, HashMap};

use tandem_isa::{AluOpcode, HwConfig, Insn, MemoryType, Program, Requant, RequantMode, Uop};

use super::{Case, Style};
use crate::loops::{Indices, Loops};
use crate::queue::{FIFOS, lane, pushes};
use crate::transfer::Rows;

/// Distances between two micro-ops that touch the same accumulator, counted one by one.
const DISTANCES: u64 = 14;
/// Bytes that no burst may cross.
const BOUNDARY: u64 = 4096;
/// Beats of the longest burst.
const BURST: u64 = 16;

/// Counts by group and name. What could have been exercised and was not is there with a count of zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<(&'static str, String), u64>,
}

/// The micro-ops in the scratchpad, as far as the programs of a case have loaded them.
struct Walk<'a> {
    config: &'a HwConfig,
    words: Vec<Option<u32>>,
}

impl Coverage {
    /// Zero of everything that programs of a configuration can exercise.
    pub fn new(config: &HwConfig) -> Coverage {
        let extension = config.profile().has_extension();
        let mut coverage = Coverage { counts: BTreeMap::new() };
        let mut expect = |group, name: String| coverage.add(group, name, 0);
        for memory_type in ["uop", "wgt", "inp", "acc", "acc8"] {
            expect("transfer", format!("load {memory_type}"));
        }
        if config.has_packed_weights() {
            expect("transfer", "load wgt4".to_owned());
        }
        expect("transfer", "store out".to_owned());
        for opcode in AluOpcode::ALL.iter().filter(|opcode| extension || !opcode.is_extension()) {
            expect("arithmetic", format!("alu {opcode} imm"));
            expect("arithmetic", format!("alu {opcode} acc"));
        }
        for name in ["gemm", "gemm reset"] {
            expect("arithmetic", name.to_owned());
        }
        if extension {
            for memory_type in ["wgt", "inp", "acc8"] {
                expect("transfer", format!("loadpad {memory_type}"));
            }
            expect("transfer", "store outinp".to_owned());
            for mode in RequantMode::ALL.iter().filter(|mode| config.has_requant(**mode)) {
                expect("arithmetic", format!("requant {mode}"));
                expect("arithmetic", format!("requant {mode} saturate"));
            }
            if config.has_requant_flags() {
                expect("arithmetic", "requant clear".to_owned());
                expect("arithmetic", "requant clear from_inp".to_owned());
                expect("arithmetic", "requant double saturate from_inp".to_owned());
            }
            if config.has_fused_requant() {
                expect("arithmetic", "gemm fused with requant".to_owned());
                expect("arithmetic", "lane fused with requant".to_owned());
            }
            if config.lane_taps() > 1 {
                expect("arithmetic", "lane of several taps".to_owned());
            }
            for name in ["lane", "lane overwrite", "lane max", "lane max overwrite"] {
                expect("arithmetic", name.to_owned());
            }
        }
        for name in
            ["padded", "padding only", "gap", "overlap", "same row", "crosses 4 KiB", "many bursts", "unaligned"]
        {
            expect("rows", name.to_owned());
        }
        for name in ["both loops", "no turn", "no micro-op", "micro-ops of an earlier instruction"] {
            expect("loops", name.to_owned());
        }
        for distance in 1..=DISTANCES {
            expect("accumulator again after", format!("{distance:>2} (dst)"));
            expect("accumulator again after", format!("{distance:>2} (src)"));
        }
        for (from, to) in FIFOS {
            expect("tokens", format!("{from} to {to}"));
        }
        for queue in ["load", "compute", "store"] {
            expect("nops", queue.to_owned());
        }
        for style in [Style::Serial, Style::Decoupled { contexts: 1 }, Style::Decoupled { contexts: 2 }] {
            expect("programs", style.to_string());
        }
        expect("programs", "on leftovers".to_owned());
        coverage
    }

    /// The counts, group by group.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        self.counts.iter().map(|((group, name), count)| (*group, name.as_str(), *count))
    }

    /// What has not been exercised.
    pub fn missing(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.counts().filter(|(_, _, count)| *count == 0).map(|(group, name, _)| (group, name))
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Coverage) {
        for ((group, name), count) in &other.counts {
            self.add(group, name.clone(), *count);
        }
    }

    /// Counts what the programs of a case exercise.
    pub fn count(&mut self, config: &HwConfig, case: &Case) {
        let mut walk = Walk { config, words: vec![None; config.uop_depth()] };
        for (number, program) in case.programs.iter().enumerate() {
            if let Some(style) = case.styles.get(number) {
                self.add("programs", style.to_string(), 1);
            }
            if number > 0 {
                self.add("programs", "on leftovers".to_owned(), 1);
            }
            for (at, insn) in program.insns.iter().enumerate() {
                walk.insn(self, program, insn, at.checked_sub(1).and_then(|at| program.insns.get(at)));
            }
        }
    }

    fn add(&mut self, group: &'static str, name: String, count: u64) {
        *self.counts.entry((group, name)).or_default() += count;
    }
}

impl Walk<'_> {
    fn insn(&mut self, coverage: &mut Coverage, program: &Program, insn: &Insn, before: Option<&Insn>) {
        for fifo in pushes(lane(insn.queue()), insn.dep()) {
            let (from, to) = FIFOS[fifo];
            coverage.add("tokens", format!("{from} to {to}"), 1);
        }
        if insn.is_nop() {
            coverage.add("nops", insn.queue().to_string(), 1);
            return;
        }
        let rows = match insn {
            Insn::Load(i) => Rows::from(i),
            Insn::LoadPad(i) => Rows::from(i),
            Insn::Store(i) => Rows::from(i),
            _ => {
                self.arithmetic(coverage, insn, before);
                return;
            }
        };
        coverage.add("transfer", format!("{} {}", insn.mnemonic(), rows.memory_type), 1);
        self.rows(coverage, &rows);
        if rows.memory_type == MemoryType::Uop {
            self.load_uops(program, &rows);
        }
    }

    fn rows(&self, coverage: &mut Coverage, rows: &Rows) {
        let elem = self.config.elem_bytes(rows.memory_type) as u64;
        let bus = self.config.bus_bytes() as u64;
        let row_bytes = u64::from(rows.x_size) * elem;
        let starts: Vec<u64> = (0..u64::from(rows.y_size))
            .map(|row| (u64::from(rows.dram_base) + row * u64::from(rows.x_stride)) * elem)
            .collect();
        let several = rows.y_size > 1;
        let facts = [
            ("padded", rows.y_size > 0 && (rows.x_pad != [0; 2] || rows.y_pad != [0; 2])),
            ("padding only", rows.y_size == 0 && rows.y_pad != [0; 2]),
            ("gap", several && rows.x_stride > rows.x_size),
            ("overlap", several && rows.x_stride < rows.x_size && rows.x_stride > 0),
            ("same row", several && rows.x_stride == 0),
            ("crosses 4 KiB", starts.iter().any(|start| start / BOUNDARY != (start + row_bytes - 1) / BOUNDARY)),
            ("many bursts", rows.y_size > 0 && row_bytes > BURST * bus),
            (
                "unaligned",
                starts.iter().any(|start| [*start, start + row_bytes].iter().any(|at| !at.is_multiple_of(bus))),
            ),
        ];
        for (name, _) in facts.iter().filter(|(_, is)| *is) {
            coverage.add("rows", (*name).to_owned(), 1);
        }
    }

    fn load_uops(&mut self, program: &Program, rows: &Rows) {
        let image = program.section("uops").map(|section| section.data.as_slice()).unwrap_or_default();
        let mut at = rows.sram_base as usize;
        let mut put = |word: Option<u32>| {
            if let Some(slot) = self.words.get_mut(at) {
                *slot = word;
            }
            at += 1;
        };
        let row = rows.x_pad[0] + rows.x_size + rows.x_pad[1];
        (0..rows.y_pad[0] * row).for_each(|_| put(Some(0)));
        for y in 0..rows.y_size {
            (0..rows.x_pad[0]).for_each(|_| put(Some(0)));
            for x in 0..rows.x_size {
                let from = (rows.dram_base + y * rows.x_stride + x) as usize * 4;
                put(image.get(from..from + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes));
            }
            (0..rows.x_pad[1]).for_each(|_| put(Some(0)));
        }
        (0..rows.y_pad[1] * row).for_each(|_| put(Some(0)));
    }

    fn arithmetic(&self, coverage: &mut Coverage, insn: &Insn, before: Option<&Insn>) {
        if let (Some(Insn::Requant(Requant { fuse: true, .. })), Insn::Gemm(_) | Insn::Lane(_)) = (before, insn) {
            coverage.add("arithmetic", format!("{} fused with requant", insn.mnemonic()), 1);
        }
        let name = match insn {
            Insn::Requant(i) if i.fuse => return,
            Insn::Gemm(i) if i.reset => "gemm reset".to_owned(),
            Insn::Gemm(_) => "gemm".to_owned(),
            Insn::Alu(i) => format!("alu {} {}", i.alu_opcode, if i.use_imm { "imm" } else { "acc" }),
            Insn::Requant(i) => {
                let from = if i.from_inp { " from_inp" } else { "" };
                if i.clear {
                    coverage.add("arithmetic", format!("requant clear{from}"), 1);
                }
                format!("requant {}{}{from}", i.mode, if i.saturate { " saturate" } else { "" })
            }
            Insn::Lane(i) => {
                let (max, overwrite) = (if i.max { " max" } else { "" }, if i.overwrite { " overwrite" } else { "" });
                if i.more_taps > 0 {
                    coverage.add("arithmetic", "lane of several taps".to_owned(), 1);
                }
                format!("lane{max}{overwrite}")
            }
            _ => return,
        };
        coverage.add("arithmetic", name, 1);
        let Some(loops) = Loops::of(insn) else { return };
        if loops.uop_begin >= loops.uop_end {
            coverage.add("loops", "no micro-op".to_owned(), 1);
        } else if loops.executions() == 0 {
            coverage.add("loops", "no turn".to_owned(), 1);
        } else if loops.outer.count > 1 && loops.inner.count > 1 {
            coverage.add("loops", "both loops".to_owned(), 1);
        }
        if loops.executions() == 0 {
            return;
        }
        if !matches!(before, Some(Insn::Load(load)) if load.memory_type == MemoryType::Uop) {
            coverage.add("loops", "micro-ops of an earlier instruction".to_owned(), 1);
        }
        self.hazards(coverage, insn, &loops);
    }

    /// The distances at which a micro-op meets an accumulator that an earlier one has written.
    fn hazards(&self, coverage: &mut Coverage, insn: &Insn, loops: &Loops) {
        let words = self.words.get(loops.uop_begin as usize..loops.uop_end as usize).unwrap_or_default();
        let uops: Option<Vec<Indices>> = words
            .iter()
            .map(|word| {
                let Uop { dst, src, wgt } = Uop::decode((*word)?, self.config).ok()?;
                Some(Indices { dst, src, wgt })
            })
            .collect();
        let Some(uops) = uops else { return };
        let sources = match insn {
            Insn::Alu(i) if !i.use_imm => 1,
            Insn::Requant(i) if !i.from_inp => 4,
            _ => 0,
        };
        let mut written: HashMap<usize, u64> = HashMap::new();
        let mut seen = [[false; DISTANCES as usize + 1]; 2];
        let mut now = 0;
        loops.each(0..loops.outer.count, &uops, |dst, src, _| {
            now += 1;
            let mut meet = |index: usize, kind: usize| {
                let distance = written.get(&index).map_or(0, |then| now - then);
                if let Some(slot) = seen[kind].get_mut(distance as usize) {
                    *slot = true;
                }
            };
            meet(dst, 0);
            (src..src + sources).for_each(|source| meet(source, 1));
            written.insert(dst, now);
        });
        for (kind, name) in [(0, "dst"), (1, "src")] {
            for distance in (1..=DISTANCES).filter(|&distance| seen[kind][distance as usize]) {
                coverage.add("accumulator again after", format!("{distance:>2} ({name})"), 1);
            }
        }
    }
}
