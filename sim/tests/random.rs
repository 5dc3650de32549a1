//! Random legal programs on random configurations: the fast executor against the plain one, bit for bit.

mod plain;

use plain::Plain;
use tandem_isa::{Compat, HwConfig, HwFacts, Insn, Profile, Program, Upstream};
use tandem_sim::cosim::Generator;
use tandem_sim::{Checks, Dram, Kernel, Machine, Options, SimCounters};

/// Runs a program whose DRAM image starts at address 0.
fn simulate(machine: &mut Machine, program: &Program) -> (Vec<u8>, SimCounters) {
    let image = program.dram_image(0);
    let mut dram = Dram::default();
    assert!(dram.map(0, image.len() as u64));
    dram.slice_mut(0, image.len()).unwrap().copy_from_slice(&image);
    let counters = machine.run_insns(&mut dram, &program.insns).unwrap_or_else(|error| panic!("{error}"));
    (dram.slice(0, image.len()).unwrap().to_vec(), counters)
}

/// Runs the programs of a case on the plain executor and on machines, scratchpads kept from one program to the next, and
/// compares everything after each. The counters are those of each machine's programs.
fn compare(generator: &Generator, index: u64, options: &[Options]) -> Vec<Vec<SimCounters>> {
    let config = generator.config();
    let compat = options[0].compat;
    let mut plain = Plain::new(config, compat, Vec::new());
    let mut machines: Vec<_> = options.iter().map(|options| (Machine::new(config, *options), Vec::new())).collect();
    for (number, program) in generator.case(index).programs.iter().enumerate() {
        plain.dram = program.dram_image(0);
        plain.run(&program.insns);
        for (machine, counters) in &mut machines {
            let (image, counted) = simulate(machine, program);
            let size = (config.batch(), config.block_in(), config.block_out());
            let context = format!("{:?}, {:?}, {size:?}", (generator.seed(), index, number), machine.options());
            assert_same(&context, &plain, machine, &image);
            counters.push(counted);
        }
    }
    machines.into_iter().map(|(_, counters)| counters).collect()
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
        let generator = Generator::new(&HwConfig::sample(seed), seed);
        let config = generator.config();
        shapes.insert((config.block_in(), config.block_out()));
        let insns = generator.case(0).programs.into_iter().flat_map(|program| program.insns);
        insns.for_each(|insn| opcodes[insn.opcode() as usize] += 1);
        let kernels = Kernel::available().into_iter().map(|kernel| Options { kernel, ..Options::default() });
        compare(&generator, 0, &kernels.collect::<Vec<_>>());
    }
    assert_eq!(shapes.len(), 16, "every pair of blocks");
    assert!(opcodes.iter().all(|&count| count > 100), "{opcodes:?}");
}

#[test]
fn the_presets_agree_with_the_plain_executor() {
    for name in HwConfig::presets() {
        let generator = Generator::new(&HwConfig::preset(name).unwrap(), 1000);
        for index in 0..20 {
            compare(&generator, index, &[Options::default()]);
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
        let config =
            HwConfig::new(HwFacts { profile: Profile::Vta002, lane_taps: 1, packed_weights: false, ..facts }).unwrap();
        let generator = Generator::new(&config, seed).unread_operands_anywhere(false);
        for index in 0..3 {
            let programs = generator.case(index).programs;
            assert!(programs.iter().flat_map(|program| &program.insns).all(|insn: &Insn| !insn.is_extension()));
            compare(&generator, index, &[Options { compat, ..Options::default() }]);
        }
    }
}

#[test]
fn a_program_gives_the_same_bits_and_counters_under_twenty_seeds_and_has_no_race() {
    for program in 0..12 {
        let generator = Generator::new(&HwConfig::sample(program), program);
        for index in 0..2 {
            let checks = Checks { races: true, uninitialised: false };
            let options = (0..20).map(|seed| Options { seed, checks, ..Options::default() });
            let counters = compare(&generator, index, &options.collect::<Vec<_>>());
            assert!(counters.iter().all(|each| *each == counters[0]));
        }
    }
}
