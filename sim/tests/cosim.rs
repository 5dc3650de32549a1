//! The programs of co-simulation: legal on every configuration under every interleaving.

use tandem_isa::{HwConfig, HwFacts, Insn, Profile, Program};
use tandem_sim::cosim::{Case, Generator, Style};
use tandem_sim::{Checks, Dram, Machine, Options, SimCounters, SimError};

/// Runs a program on a machine; gives the counters and the image afterwards.
fn run(machine: &mut Machine, program: &Program) -> Result<(SimCounters, Vec<u8>), SimError> {
    let image = program.dram_image(0xee);
    let mut dram = Dram::default();
    assert!(dram.map(0, image.len() as u64));
    dram.slice_mut(0, image.len()).unwrap().copy_from_slice(&image);
    let counters = machine.run_insns(&mut dram, &program.insns)?;
    Ok((counters, dram.slice(0, image.len()).unwrap().to_vec()))
}

fn configs() -> Vec<HwConfig> {
    let presets = HwConfig::presets().into_iter().map(|name| HwConfig::preset(name).unwrap());
    let upstream = |seed| HwFacts {
        profile: Profile::Vta002,
        lane_taps: 1,
        packed_weights: false,
        ..HwConfig::sample(seed).facts().clone()
    };
    presets
        .chain((0..60).map(HwConfig::sample))
        .chain((100..110).map(|seed| HwConfig::new(upstream(seed)).unwrap()))
        .collect()
}

#[test]
fn random_programs_are_legal_whatever_the_interleaving() {
    for (number, config) in configs().iter().enumerate() {
        let generator = Generator::new(config, number as u64);
        for index in 0..30 {
            let case = generator.case(index);
            let runs: Vec<Vec<_>> = [0, 1, 2, 3]
                .map(|seed| {
                    let checks = Checks { races: true, uninitialised: false };
                    let mut machine = Machine::new(config, Options { seed, checks, ..Options::default() });
                    let programs = case.programs.iter().chain(&case.programs);
                    programs
                        .map(|program| {
                            program.validate().unwrap_or_else(|error| panic!("{number}/{index}: {error}"));
                            run(&mut machine, program).unwrap_or_else(|error| {
                                panic!("config {number}, case {index}, {:?}, seed {seed}: {error}", case.styles)
                            })
                        })
                        .collect()
                })
                .into();
            let first = &runs[0];
            assert!(runs.iter().all(|run| run == first), "{number}/{index}: the interleaving shows in the result");
            assert!(
                first[..case.programs.len()] == first[case.programs.len()..],
                "{number}/{index}: the second run differs"
            );
        }
    }
}

#[test]
fn the_first_program_of_a_case_writes_whatever_it_reads() {
    for (number, config) in configs().iter().enumerate() {
        let generator = Generator::new(config, 77 + number as u64);
        for index in 0..20 {
            let checks = Checks { races: false, uninitialised: true };
            let mut machine = Machine::new(config, Options { checks, ..Options::default() });
            run(&mut machine, &generator.case(index).programs[0])
                .unwrap_or_else(|error| panic!("config {number}, case {index}: {error}"));
        }
    }
}

#[test]
fn a_case_depends_on_configuration_seed_and_index_alone() {
    let config = HwConfig::preset("edge").unwrap();
    let case = |seed, index| -> Case { Generator::new(&config, seed).case(index) };
    assert_eq!(case(1, 5), case(1, 5));
    assert_ne!(case(1, 5).programs, case(2, 5).programs);
    assert_ne!(case(1, 5).programs, case(1, 6).programs);
}

#[test]
fn programs_are_short_and_of_all_styles() {
    let config = HwConfig::preset("vta").unwrap();
    let generator = Generator::new(&config, 3);
    let cases: Vec<Case> = (0..200).map(|index| generator.case(index)).collect();
    let styles: std::collections::BTreeSet<Style> = cases.iter().flat_map(|case| case.styles.clone()).collect();
    assert_eq!(styles.len(), 5, "{styles:?}");
    let lengths: Vec<usize> = cases.iter().flat_map(|case| &case.programs).map(|program| program.insns.len()).collect();
    let mean = lengths.iter().sum::<usize>() / lengths.len();
    assert!((25..160).contains(&mean), "{mean} instructions a program");
    let mut cycles = 0;
    for case in &cases {
        let mut machine = Machine::new(&config, Options::default());
        for program in &case.programs {
            cycles += run(&mut machine, program).unwrap().0.cycles_estimate;
        }
    }
    let mean = cycles / lengths.len() as u64;
    assert!((1000..15_000).contains(&mean), "{mean} cycles a program");
    assert!(cases.iter().flat_map(|case| &case.programs).any(|p| p.insns.iter().filter(|i| i.is_nop()).count() > 500));
    assert!(cases.iter().flat_map(|case| &case.programs).any(|p| p.insns.iter().any(|i| matches!(i, Insn::Lane(_)))));
}
