//! Random programs on the Verilated hardware and on the functional simulator, and faults that this must find.

use std::sync::Arc;

use tandem_isa::HwConfig;
use tandem_sim::Kernel;
use tandem_sim::cosim::{Checker, Generator, MUTANTS, Party, mutate, parse_mutants};
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_tests::tool;

/// A checker of a model that is held up at random, or has a mutant.
fn checker(model: &Arc<Model>, options: TsimOptions) -> Checker {
    let bus = TsimBus::new(Arc::clone(model), TsimOptions { trace: true, scramble: true, ..options }).unwrap();
    let monitor = bus.monitor();
    let device = Party::new("tsim", bus, move || monitor.trace());
    Checker::new(model.config(), Party::fsim(model.config(), 0, Kernel::best()), device).unwrap()
}

#[test]
fn random_programs_run_alike_on_both_simulators_whatever_holds_the_memory_up() {
    let Some(tools) = tool::verilator() else { return };
    let config = HwConfig::preset("tiny").unwrap();
    let model = Model::build(&config, &tools, &tool::cache().join("models"), Variant::default(), &mut |_| {}).unwrap();
    for (seed, stress, dram) in [(1, None, DramModel::ideal()), (2, Some(7), DramModel::zynq())] {
        let mut checker = checker(&model, TsimOptions { stress, dram, ..TsimOptions::default() });
        let report = checker.run(&Generator::new(&config, seed), 0..40, |_| true).unwrap();
        assert_eq!(report.mismatches, []);
        assert!(report.cycles > 40_000, "{} cycles", report.cycles);
    }
}

#[test]
fn every_mutant_is_found() {
    let Some(tools) = tool::verilator() else { return };
    let config = HwConfig::preset("tiny").unwrap();
    let mutants = parse_mutants(MUTANTS).unwrap();
    let verilog = mutate(&tandem_hw::verilog(&config), &mutants).unwrap();
    let (cache, variant) = (tool::cache().join("models"), Variant { mutants: true, ..Variant::default() });
    let model = Model::build_from(&verilog, &config, &tools, &cache, variant, &mut |_| {}).unwrap();
    let mut survivors = Vec::new();
    for (mutant, number) in mutants.iter().zip(1..) {
        let mut checker = checker(&model, TsimOptions { mutant: number, ..TsimOptions::default() }).stop_after(1);
        let report = checker.run(&Generator::new(&config, 1), 0..300, |_| true).unwrap();
        if report.mismatches.is_empty() {
            survivors.push(&mutant.name);
        }
    }
    assert!(survivors.is_empty(), "{survivors:?} of {} mutants", mutants.len());
    // With no mutant alive, the patched design is the plain one.
    let mut checker = checker(&model, TsimOptions::default());
    assert_eq!(checker.run(&Generator::new(&config, 1), 0..20, |_| true).unwrap().mismatches, []);
}
