//! Random legal programs on random configurations: the fast executor against the plain one, bit for bit.

mod draw;
mod plain;
mod random_program;

use plain::Plain;
use random_program::{RandomProgram, generate, serialise};
use tandem_isa::{Compat, HwConfig, HwFacts, Insn, Profile, Upstream};
use tandem_sim::{Checks, Dram, Kernel, Machine, Options, SimCounters};

/// Runs a program whose DRAM image starts at address 0.
fn simulate(config: &HwConfig, options: Options, insns: &[Insn], image: &[u8]) -> (Machine, Vec<u8>, SimCounters) {
    let mut dram = Dram::default();
    assert!(dram.map(0, image.len() as u64));
    dram.slice_mut(0, image.len()).unwrap().copy_from_slice(image);
    let mut machine = Machine::new(config, options);
    let counters = machine.run_insns(&mut dram, insns).unwrap_or_else(|error| panic!("{error}"));
    let image = dram.slice(0, image.len()).unwrap().to_vec();
    (machine, image, counters)
}

fn assert_same(context: &str, plain: &Plain, machine: &Machine, image: &[u8]) {
    let pads = machine.scratchpads();
    assert!(pads.uop() == plain.uop, "{context}: UOP");
    let bytes = |nested: &[Vec<Vec<i8>>]| -> Vec<u8> { nested.as_flattened_bytes() };
    assert!(pads.inp() == bytes(&plain.inp), "{context}: INP");
    assert!(pads.wgt() == bytes(&plain.wgt), "{context}: WGT");
    let acc: Vec<i32> = plain.acc.iter().flatten().flatten().copied().collect();
    if let Some(at) = pads.acc().iter().zip(&acc).position(|(a, b)| a != b) {
        panic!("{context}: ACC lane {at} is {} and should be {}", pads.acc()[at], acc[at]);
    }
    assert!(image == plain.dram, "{context}: DRAM");
}

trait Flatten {
    fn as_flattened_bytes(&self) -> Vec<u8>;
}

impl Flatten for [Vec<Vec<i8>>] {
    fn as_flattened_bytes(&self) -> Vec<u8> {
        self.iter().flatten().flatten().map(|&value| value as u8).collect()
    }
}

#[test]
fn the_fast_executor_is_the_plain_one_bit_for_bit_on_every_kernel() {
    let mut shapes = std::collections::BTreeSet::new();
    let mut opcodes = [0; 8];
    for seed in 0..160 {
        let RandomProgram { config, insns, dram } = generate(HwConfig::sample(seed), seed, 80);
        shapes.insert((config.block_in(), config.block_out()));
        insns.iter().for_each(|insn| opcodes[insn.opcode() as usize] += 1);
        let mut plain = Plain::new(&config, Compat::default(), dram.clone());
        plain.run(&insns);
        for kernel in Kernel::available() {
            let options = Options { kernel, ..Options::default() };
            let (machine, image, _) = simulate(&config, options, &insns, &dram);
            let size = (config.batch(), config.block_in(), config.block_out());
            assert_same(&format!("seed {seed}, {kernel:?}, {size:?}"), &plain, &machine, &image);
        }
    }
    assert_eq!(shapes.len(), 16, "every pair of blocks");
    assert!(opcodes.iter().all(|&count| count > 100), "{opcodes:?}");
}

#[test]
fn the_presets_agree_with_the_plain_executor() {
    for name in HwConfig::presets() {
        for seed in 1000..1010 {
            let RandomProgram { config, insns, dram } = generate(HwConfig::preset(name).unwrap(), seed, 80);
            let mut plain = Plain::new(&config, Compat::default(), dram.clone());
            plain.run(&insns);
            let (machine, image, _) = simulate(&config, Options::default(), &insns, &dram);
            assert_same(&format!("{name}, seed {seed}"), &plain, &machine, &image);
        }
    }
}

#[test]
fn the_upstream_profile_agrees_with_the_plain_executor_under_every_compat_switch() {
    let all = [Upstream::Fsim, Upstream::Chisel, Upstream::Hls];
    for seed in 2000..2027 {
        let switch = |place: u32| all[(seed as usize / 3usize.pow(place)) % 3];
        let compat = Compat { store_source: switch(0), alu_imm_operand: switch(1), shift_amount: switch(2) };
        let facts = HwConfig::sample(seed).facts().clone();
        let config = HwConfig::new(HwFacts { profile: Profile::Vta002, ..facts }).unwrap();
        let RandomProgram { config, insns, dram } = generate(config, seed, 80);
        assert!(insns.iter().all(|insn| !insn.is_extension()));
        let mut plain = Plain::new(&config, compat, dram.clone());
        plain.run(&insns);
        let (machine, image, _) = simulate(&config, Options { compat, ..Options::default() }, &insns, &dram);
        assert_same(&format!("seed {seed}, {compat:?}"), &plain, &machine, &image);
    }
}

#[test]
fn a_serialised_program_gives_the_same_bits_and_counters_under_twenty_seeds_and_has_no_race() {
    for program in 0..12 {
        let RandomProgram { config, insns, dram } = generate(HwConfig::sample(program), program, 60);
        let insns = serialise(&insns);
        let mut plain = Plain::new(&config, Compat::default(), dram.clone());
        plain.run(&insns);
        let mut first: Option<SimCounters> = None;
        for seed in 0..20 {
            let checks = Checks { races: true, uninitialised: false };
            let options = Options { seed, checks, ..Options::default() };
            let (machine, image, counters) = simulate(&config, options, &insns, &dram);
            assert_same(&format!("program {program}, seed {seed}"), &plain, &machine, &image);
            assert_eq!(counters, *first.get_or_insert(counters));
        }
    }
}
