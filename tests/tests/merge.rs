//! Merged and unmerged programs leave the same memory, whatever the interleaving and on machines with and without queues.

use std::time::Duration;

use tandem_driver::Device;
use tandem_isa::{Dep, HwConfig, Insn, MemoryType, Program, Requant};
use tandem_jit::merge;
use tandem_sim::cosim::Generator;
use tandem_sim::{Checks, FsimBus, Options};
use tandem_tests::random::Random;

const DRAM_BYTES: u64 = 64 << 20;

/// Cases for each machine.
const CASES: u64 = 25;

#[test]
fn merged_programs_leave_the_same_memory() {
    let (mut cut_count, mut merged_count) = (0, 0);
    for (number, config) in machines().iter().enumerate() {
        let generator = Generator::new(config, 40 + number as u64);
        for index in 0..CASES {
            let mut random = Random::new(index);
            let case = generator.case(index);
            let change = |change: &mut dyn FnMut(&[Insn]) -> Vec<Insn>| -> Vec<Program> {
                case.programs.iter().map(|p| Program { insns: change(&p.insns), ..p.clone() }).collect()
            };
            let cut = change(&mut |insns| {
                // What REQUANT is fused with is one sum.
                let mut fuses = false;
                let mut cut = Vec::new();
                for insn in insns {
                    let sums = matches!(insn, Insn::Gemm(_) | Insn::Lane(_));
                    cut.extend(if fuses && sums { vec![*insn] } else { pieces(insn, &mut random) });
                    fuses = matches!(insn, Insn::Requant(Requant { fuse: true, .. })) || (fuses && !sums);
                }
                cut
            });
            let merged: Vec<Program> = cut.iter().map(|p| Program { insns: merge(&p.insns), ..p.clone() }).collect();
            let whole = change(&mut merge);
            let what = format!("machine {number}, case {index}");
            let expected = memory(&case.programs, config, 0, &what);
            for seed in [0, 1 + index, 1000 + index] {
                assert!(memory(&cut, config, seed, &what) == expected, "{what}, seed {seed}: in pieces");
                assert!(memory(&merged, config, seed, &what) == expected, "{what}, seed {seed}: merged again");
                assert!(memory(&whole, config, seed, &what) == expected, "{what}, seed {seed}: merged");
            }
            let count = |programs: &[Program]| programs.iter().map(|p| p.insns.len()).sum::<usize>();
            assert!(count(&whole) <= count(&case.programs) && count(&merged) <= count(&cut), "{what}");
            cut_count += count(&cut) - count(&case.programs);
            merged_count += count(&cut) - count(&merged);
        }
    }
    assert!(cut_count > 1000 && merged_count * 10 > cut_count * 9, "{merged_count} of {cut_count} cuts closed");
}

#[test]
fn merging_twice_changes_nothing_more() {
    let config = HwConfig::preset("tiny").expect("a preset");
    let generator = Generator::new(&config, 9);
    for index in 0..CASES {
        for program in generator.case(index).programs {
            let once = merge(&program.insns);
            assert_eq!(merge(&once), once, "case {index}");
        }
    }
}

/// Machines of several shapes, each with queues and without.
fn machines() -> Vec<HwConfig> {
    let shapes = ["tiny", "edge"].map(|name| HwConfig::preset(name).expect("a preset"));
    let shapes = shapes.into_iter().chain((3..9).map(HwConfig::sample));
    shapes.flat_map(|config| [config.without_queues(), config]).collect()
}

/// Every section after the programs have run one after the other.
fn memory(programs: &[Program], config: &HwConfig, seed: u64, what: &str) -> Vec<Vec<u8>> {
    let checks = Checks { races: true, uninitialised: false };
    let bus = FsimBus::with_options(config, Options { seed, checks, ..Options::default() }, DRAM_BYTES);
    let mut device = Device::open(Box::new(bus), config).unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut found = Vec::new();
    for program in programs {
        let loaded = device.load(program).unwrap_or_else(|e| panic!("{what}: {e}"));
        device.run(&loaded, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{what}, seed {seed}: {e}"));
        for (index, section) in program.sections.iter().enumerate() {
            found.push(device.read(&loaded, index, 0, section.size as usize).expect("the section is there"));
        }
    }
    found
}

/// An instruction, or two that do the same one after the other, cut at random.
fn pieces(insn: &Insn, random: &mut Random) -> Vec<Insn> {
    let (mut first, mut second) = (*insn, *insn);
    let mut cut = |count: u32| if count > 1 { 1 + random.bits() % (count - 1) } else { 0 };
    let done = match (&mut first, &mut second) {
        (Insn::Load(a), Insn::Load(b)) if a.x_size > 0 => {
            let rows = cut(a.y_size);
            (a.y_size, a.y_pad_1) = (rows, 0);
            b.sram_base += (a.y_pad_0 + rows) * (a.x_pad_0 + a.x_size + a.x_pad_1);
            b.dram_base += rows * a.x_stride;
            (b.y_size, b.y_pad_0) = (b.y_size - rows, 0);
            rows
        }
        (Insn::LoadPad(a), Insn::LoadPad(b)) if a.x_size > 0 => {
            let rows = cut(a.y_size);
            (a.y_size, a.y_pad_1) = (rows, 0);
            b.sram_base += (a.y_pad_0 + rows) * (a.x_pad_0 + a.x_size + a.x_pad_1);
            b.dram_base += rows * a.x_stride;
            (b.y_size, b.y_pad_0) = (b.y_size - rows, 0);
            rows
        }
        (Insn::Store(a), Insn::Store(b)) if a.memory_type == MemoryType::Out && a.y_size == 1 => {
            let size = cut(a.x_size);
            a.x_size = size;
            (b.sram_base, b.dram_base, b.x_size) = (b.sram_base + size, b.dram_base + size, b.x_size - size);
            size
        }
        (Insn::Store(a), Insn::Store(b)) if a.x_size > 0 => {
            let rows = cut(a.y_size);
            a.y_size = rows;
            b.sram_base += rows * a.x_size;
            b.dram_base += rows * a.x_stride;
            b.y_size -= rows;
            rows
        }
        (Insn::Gemm(a), Insn::Gemm(b)) => {
            let uops = cut(a.uop_end.saturating_sub(a.uop_begin));
            a.uop_end = a.uop_begin + uops;
            b.uop_begin = a.uop_end;
            uops
        }
        (Insn::Lane(a), Insn::Lane(b)) if !a.overwrite => {
            let uops = cut(a.uop_end.saturating_sub(a.uop_begin));
            a.uop_end = a.uop_begin + uops;
            b.uop_begin = a.uop_end;
            uops
        }
        _ => 0,
    };
    if done == 0 {
        return vec![*insn];
    }
    let dep = insn.dep();
    *first.dep_mut() = Dep { push_prev: false, push_next: false, ..dep };
    *second.dep_mut() = Dep { pop_prev: false, pop_next: false, ..dep };
    vec![first, second]
}
