//! What the accelerator takes of an FPGA: a multiplier block for each MAC, block RAM for each scratchpad.

use tandem_hw::{Multipliers, TOP, Target, verilog, verilog_for};
use tandem_isa::{HwConfig, HwFacts};
use tandem_tests::proof::Sby;
use tandem_tests::synthesis::{Cells, cells, count};

/// A machine that synthesises in a minute: every memory is as shallow as it may be, but not too shallow for block RAM.
const SMALL: &str = "\
batch = 1
block_in = 4
block_out = 4
uop_buffer_bytes = 2048
inp_buffer_bytes = 2048
wgt_buffer_bytes = 8192
acc_buffer_bytes = 8192
bus_bits = 64
";

/// The 32-bit product of a lane of the tensor ALU takes this many 18-bit multipliers.
const PER_LANE: u64 = 4;
/// Registers that a scratchpad may have beside its memory: which bank or part was read.
const FEW: u64 = 8;
/// What ACC is written with waits a cycle: an element, its index and the enables of its lanes.
const ACC_WRITE: u64 = 4 * 32 + 9 + 2;

struct Family {
    command: &'static str,
    multipliers: &'static [&'static str],
    block_ram: &'static [&'static str],
    registers: &'static [&'static str],
    lut_ram: &'static [&'static str],
}

const ECP5: Family = Family {
    command: "synth_ecp5 -noflatten",
    multipliers: &["MULT18X18D"],
    block_ram: &["DP16KD"],
    registers: &["TRELLIS_FF"],
    lut_ram: &["TRELLIS_DPR16X4"],
};
const XILINX: Family = Family {
    command: "synth_xilinx -noiopad",
    multipliers: &["DSP48E1"],
    block_ram: &["RAMB18E1", "RAMB36E1"],
    registers: &["FDRE", "FDSE", "FDCE", "FDPE"],
    lut_ram: &["RAM32", "RAM64", "RAM128"],
};

fn check(name: &str, family: &Family) {
    let Some(tools) = Sby::find() else { return };
    let config = HwConfig::from_toml(SMALL).unwrap();
    let cells = cells(&tools, name, &verilog(&config), TOP, family.command).unwrap();
    let macs = (config.batch() * config.block_in() * config.block_out()) as u64;
    let lanes = config.out_elem_bytes() as u64;
    let within = |module: &str, kinds: &[&str]| count(&cells, module, kinds);
    assert_eq!(within("tandem_gemm", family.multipliers), macs, "a multiplier a MAC");
    assert_eq!(
        within(TOP, family.multipliers),
        macs + PER_LANE * lanes,
        "and {PER_LANE} for each lane of the tensor ALU"
    );
    for scratchpad in ["tandem_uop", "tandem_inp", "tandem_wgt", "tandem_acc", "tandem_out"] {
        assert!(within(scratchpad, family.block_ram) > 0, "{scratchpad} has no block RAM");
        assert_eq!(within(scratchpad, family.lut_ram), 0, "{scratchpad} is in look-up tables");
        let registers = within(scratchpad, family.registers);
        let most = if scratchpad == "tandem_acc" { ACC_WRITE + FEW } else { FEW };
        assert!(registers <= most, "{scratchpad} has {registers} registers");
    }
    for queue in ["tandem_queue_load", "tandem_queue_compute", "tandem_queue_store"] {
        assert!(within(queue, family.block_ram) > 0, "{queue} has no block RAM");
    }
    report(name, &cells, family);
}

fn report(name: &str, cells: &Cells, family: &Family) {
    let total = |kinds: &[&str]| count(cells, TOP, kinds);
    println!(
        "{name}: {} multipliers, {} block RAMs, {} registers, {} RAMs in look-up tables",
        total(family.multipliers),
        total(family.block_ram),
        total(family.registers),
        total(family.lut_ram)
    );
}

#[test]
fn ecp5_takes_a_multiplier_for_each_mac_and_block_ram_for_each_scratchpad() {
    check("ecp5", &ECP5);
}

/// The facts that make a machine small do so: a lane of tensor ALU for a vector of four, queues in look-up tables, and for two
/// products of the array a multiplier, as far as the budget goes.
#[test]
fn ecp5_takes_a_multiplier_for_two_macs_and_no_block_ram_for_short_queues() {
    let Some(tools) = Sby::find() else { return };
    let config = HwConfig::from_toml(SMALL).unwrap();
    let facts = HwFacts {
        insn_queue_depth: 16,
        alu_lanes: Some(1),
        float_requant: false,
        dram_bits: 23,
        counters: false,
        ..config.facts().clone()
    };
    let config = HwConfig::new(facts).unwrap();
    let target = Target { multipliers: Multipliers::DspPair { dsps: 7 }, ripple_sums: true, ..Target::default() };
    let cells = cells(&tools, "ecp5_pairs", &verilog_for(&config, &target), TOP, ECP5.command).unwrap();
    let within = |module: &str, kinds: &[&str]| count(&cells, module, kinds);
    // Three of the four columns in pairs, and the one multiplier that is left for a product of its own.
    assert_eq!(within("tandem_gemm", ECP5.multipliers), 7);
    assert_eq!(within(TOP, ECP5.multipliers), 7 + PER_LANE);
    for queue in ["tandem_queue_load", "tandem_queue_compute", "tandem_queue_store"] {
        assert_eq!(within(queue, ECP5.block_ram), 0, "{queue} has block RAM");
        assert!(within(queue, ECP5.lut_ram) > 0, "{queue} is not in look-up tables");
    }
    let (lane, all) = (within("tandem_tensor_alu", &["LUT4"]), within(TOP, &["LUT4"]));
    assert!(lane < 1300, "a lane of the tensor ALU without float takes {lane} LUT4");
    assert!(all < 9500, "the machine takes {all} LUT4");
    report("ecp5_pairs", &cells, &ECP5);
}

#[test]
fn series_7_takes_a_multiplier_for_each_mac_and_block_ram_for_each_scratchpad() {
    check("xilinx", &XILINX);
}

/// On a board two MACs share a multiplier where those of the tensor ALU would make it more than one a MAC.
#[test]
fn series_7_takes_a_multiplier_for_each_mac_with_the_tensor_alu_on_a_board() {
    let Some(tools) = Sby::find() else { return };
    let board = tandem_boards::find("pynq-z1").unwrap();
    let small = HwConfig::from_toml(SMALL).unwrap();
    let config = HwConfig::new(HwFacts { alu_lanes: Some(1), ..small.facts().clone() }).unwrap();
    let verilog = tandem_boards::core(&board, &config).unwrap();
    let cells = cells(&tools, "xilinx_pairs", &verilog, TOP, XILINX.command).unwrap();
    assert_eq!(count(&cells, "tandem_gemm", XILINX.multipliers), 16 - PER_LANE);
    assert_eq!(count(&cells, TOP, XILINX.multipliers), 16);
    report("xilinx_pairs", &cells, &XILINX);
}
