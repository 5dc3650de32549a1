//! Random programs on the functional simulator and on the Verilated hardware, event by event, on machines of unlike shapes.

use tandem_isa::{HwConfig, HwFacts};
use tandem_sim::Kernel;
use tandem_sim::cosim::{Checker, Generator, Party};
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_tests::tool;

/// Cases for each machine and memory; `tandem cosim` runs as many as one likes.
const CASES: u64 = 60;
/// The same for machines without queues, which take ten times as long.
const SEQUENTIAL_CASES: u64 = 15;

/// A small machine: batch, input and output lanes, bus width, and the four buffers in bytes.
fn machine(name: &str, [batch, block_in, block_out, bus_bits]: [u32; 4], buffers: [u32; 4]) -> HwConfig {
    let [uop_buffer_bytes, inp_buffer_bytes, wgt_buffer_bytes, acc_buffer_bytes] = buffers;
    let preset = HwConfig::preset("tiny").unwrap();
    let name = Some(name.to_owned());
    let facts = HwFacts {
        name,
        batch,
        block_in,
        block_out,
        bus_bits,
        uop_buffer_bytes,
        inp_buffer_bytes,
        wgt_buffer_bytes,
        acc_buffer_bytes,
        ..preset.facts().clone()
    };
    HwConfig::new(facts).unwrap()
}

fn check(config: &HwConfig, seed: u64) {
    let cases = if config.insn_queue_depth().is_some() { CASES } else { SEQUENTIAL_CASES };
    let Some(tools) = tool::verilator() else { return };
    let cache = tool::cache().join("models");
    let model = Model::build(config, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
    let memories = [
        ("ideal memory", DramModel::ideal(), None),
        ("zynq memory", DramModel::zynq(), None),
        ("a memory that stalls at random", DramModel::ideal(), Some(seed)),
    ];
    for (memory, dram, stress) in memories {
        let options = TsimOptions { dram, stress, scramble: true, trace: true, check: false, ..TsimOptions::default() };
        let bus = TsimBus::new(model.clone(), options).unwrap();
        let monitor = bus.monitor();
        let hardware = Party::new("tsim", bus, move || monitor.trace());
        let reference = Party::fsim(config, 0, Kernel::best());
        let mut checker = Checker::new(config, reference, hardware).unwrap();
        let report = checker.run(&Generator::new(config, seed), 0..cases, |_| true).unwrap();
        assert!(report.mismatches.is_empty(), "{:?} with {memory}: {:#?}", config.name(), report.mismatches);
        assert_eq!(report.cases, cases);
        assert!(report.programs > cases && report.cycles > 100_000, "the programs do something");
    }
}

#[test]
fn the_smallest_preset_equals_the_functional_simulator() {
    check(&HwConfig::preset("tiny").unwrap(), 11);
}

#[test]
fn more_input_than_output_lanes_and_two_batch_rows_equal_the_functional_simulator() {
    check(&machine("in8-out4-batch2", [2, 8, 4, 128], [1024, 4096, 4096, 4096]), 12);
}

#[test]
fn four_batch_rows_on_a_bus_wider_than_an_element_equal_the_functional_simulator() {
    check(&machine("in8-out4-batch4-bus512", [4, 8, 4, 512], [1024, 8192, 2048, 16384]), 13);
}

#[test]
fn more_output_than_input_lanes_equal_the_functional_simulator() {
    check(&machine("in4-out16", [1, 4, 16, 64], [4096, 1024, 8192, 16384]), 14);
}

/// A machine without queues.
fn sequential(name: &str, block: u32, buffers: [u32; 4]) -> HwConfig {
    let facts = machine(name, [1, block, block, 64], buffers).facts().clone();
    HwConfig::new(HwFacts { insn_queue_depth: 0, alu_lanes: Some(1), float_requant: false, dram_bits: 25, ..facts })
        .unwrap()
}

#[test]
fn machines_without_queues_equal_the_functional_simulator() {
    check(&sequential("sequential-4", 4, [1024, 2048, 4096, 8192]), 16);
    check(&sequential("sequential-8", 8, [2048, 4096, 16384, 16384]), 17);
}

#[test]
fn a_machine_of_the_upstream_profile_equals_the_functional_simulator() {
    let tiny = HwConfig::preset("tiny").unwrap();
    let facts = HwFacts {
        name: Some("upstream".to_owned()),
        profile: tandem_isa::Profile::Vta002,
        bus_bits: 256,
        ..tiny.facts().clone()
    };
    check(&HwConfig::new(facts).unwrap(), 15);
}
