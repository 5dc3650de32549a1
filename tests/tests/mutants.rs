//! Co-simulation must be able to fail: every mutant of the hardware is found, and the hardware itself is not.

use tandem_isa::HwConfig;
use tandem_sim::cosim::{MUTANTS, MUTANTS_HW, applicable, hunt, mutate, parse_mutants};
use tandem_sim::tsim::{Model, TsimOptions, Variant};
use tandem_tests::tool;

/// Programs within which a mutant must be found.
const PROGRAMS: u64 = 100;
const SEED: u64 = 0;

#[test]
fn every_mutant_has_its_place_in_the_design() {
    let mutants = parse_mutants(MUTANTS).unwrap();
    assert!(mutants.len() >= 25);
    let verilog = |config: &HwConfig| tandem_hw::verilog(config);
    let small = HwConfig::from_toml(MUTANTS_HW).unwrap();
    mutate(&verilog(&small), &mutants).unwrap();
    // On other machines some expressions read differently or do not exist; most mutants fit everywhere.
    for preset in HwConfig::presets() {
        let config = HwConfig::preset(preset).unwrap();
        let (fit, absent) = applicable(&config, mutants.clone());
        let absent: Vec<&str> = absent.iter().map(|(mutant, _)| mutant.name.as_str()).collect();
        assert!(absent.len() <= MOST_ABSENT, "{preset}: {absent:?}");
        mutate(&verilog(&config), &fit).unwrap();
    }
}

/// Mutants that a preset may lack, four of weights of four bits among them.
const MOST_ABSENT: usize = 9;

#[test]
fn co_simulation_finds_every_mutant() {
    let Some(tools) = tool::verilator() else { return };
    let config = HwConfig::from_toml(MUTANTS_HW).unwrap();
    let mutants = parse_mutants(MUTANTS).unwrap();
    let verilog = mutate(&tandem_hw::verilog(&config), &mutants).unwrap();
    let variant = Variant { mutants: true, ..Variant::default() };
    let cache = tool::cache().join("models");
    let model = Model::build_from(&verilog, &config, &tools, &cache, variant, &mut |_| {}).unwrap();
    let look = |number, stress: bool| {
        let options = TsimOptions { stress: stress.then_some(SEED), ..TsimOptions::default() };
        hunt(&model, number, &options, SEED, PROGRAMS).unwrap()
    };
    for stress in [false, true] {
        assert_eq!(look(0, stress), None, "the design without a mutant");
    }
    let survivors: Vec<&str> = (1..)
        .zip(&mutants)
        .filter(|(number, mutant)| look(*number, mutant.stress).is_none())
        .map(|(_, mutant)| mutant.name.as_str())
        .collect();
    assert!(survivors.is_empty(), "these mutants survive: {survivors:?}");
}
