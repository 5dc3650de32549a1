//! Random programs on the functional simulator and on the Verilated hardware, event by event, on machines of unlike shapes.

use tandem_hw::{Multipliers, Target};
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
    check_for(config, &Target::default(), seed);
}

/// The same of a design for a target.
fn check_for(config: &HwConfig, target: &Target, seed: u64) {
    let cases = if config.insn_queue_depth().is_some() { CASES } else { SEQUENTIAL_CASES };
    let Some(tools) = tool::verilator() else { return };
    let cache = tool::cache().join("models");
    let verilog = tandem_hw::verilog_for(config, target);
    let model = Model::build_from(&verilog, config, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
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

/// The facts that make a machine small, one by one and together.
#[test]
fn machines_that_leave_something_out_equal_the_functional_simulator() {
    let small = |name: &str, block: u32, facts: &dyn Fn(HwFacts) -> HwFacts| {
        let base = machine(name, [1, block, block, 64], [1024, 2048, 16384, 8192]);
        HwConfig::new(facts(base.facts().clone())).unwrap()
    };
    check(&small("one-lane", 8, &|f| HwFacts { alu_lanes: Some(1), ..f }), 21);
    check(&small("two-lanes-of-four", 4, &|f| HwFacts { alu_lanes: Some(2), float_requant: false, ..f }), 22);
    check(&small("short-queues", 4, &|f| HwFacts { insn_queue_depth: 16, counters: false, dram_bits: 23, ..f }), 23);
    let all = HwFacts {
        insn_queue_depth: 32,
        alu_lanes: Some(2),
        float_requant: false,
        dram_bits: 22,
        counters: false,
        ..machine("batch-and-all", [2, 4, 8, 128], [1024, 2048, 8192, 16384]).facts().clone()
    };
    check(&HwConfig::new(all).unwrap(), 24);
}

#[test]
fn machines_that_multiply_a_row_of_taps_at_once_equal_the_functional_simulator() {
    let taps = |name: &str, shape: [u32; 4], buffers: [u32; 4]| {
        HwConfig::new(HwFacts { lane_taps: 4, ..machine(name, shape, buffers).facts().clone() }).unwrap()
    };
    check(&taps("taps-8", [1, 8, 8, 128], [1024, 2048, 16384, 8192]), 41);
    let pairs = Target { multipliers: Multipliers::DspPair { dsps: 20 }, operand_registers: true, ..Target::default() };
    check_for(&taps("taps-pairs-batch", [2, 8, 8, 64], [1024, 4096, 8192, 16384]), &pairs, 42);
}

/// Weights of 4 bits of which an element takes many bus words, one, and a part of one.
#[test]
fn machines_that_unpack_weights_equal_the_functional_simulator() {
    let packed = |name: &str, shape: [u32; 4], buffers: [u32; 4]| {
        HwConfig::new(HwFacts { packed_weights: true, ..machine(name, shape, buffers).facts().clone() }).unwrap()
    };
    check(&packed("packed-8", [1, 8, 8, 64], [1024, 2048, 16384, 8192]), 51);
    check(&packed("packed-4", [1, 4, 4, 64], [1024, 2048, 4096, 8192]), 52);
    check(&packed("packed-bus512", [2, 4, 8, 512], [1024, 2048, 8192, 16384]), 53);
}

#[test]
fn designs_for_other_targets_equal_the_functional_simulator() {
    let pairs = Target { multipliers: Multipliers::DspPair { dsps: 25 }, ripple_sums: true, ..Target::default() };
    check_for(&machine("pairs-8", [1, 8, 8, 64], [1024, 2048, 16384, 8192]), &pairs, 31);
    let late = Target { operand_registers: true, ..pairs };
    check_for(&machine("pairs-batch", [2, 8, 4, 128], [1024, 4096, 4096, 4096]), &late, 32);
    let rows = Target { multipliers: Multipliers::Rows, lut_ram: false, ..late };
    check_for(&machine("rows", [1, 4, 8, 64], [1024, 2048, 4096, 8192]), &rows, 33);
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
    let deep = Target { operand_registers: true, ..Target::default() };
    check_for(&sequential("sequential-8", 8, [2048, 4096, 16384, 16384]), &deep, 17);
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
