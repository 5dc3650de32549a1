//! Netlists of the whole core, after synthesis, do what the functional simulator does; faults in them are found.
//!
//! `tandem gates` does the same for any machine, and after place and route.

use std::sync::Arc;
use std::time::Duration;

use tandem_hw::{TOP, verilog};
use tandem_isa::HwConfig;
use tandem_sim::Kernel;
use tandem_sim::cosim::{Checker, Generator, Party};
use tandem_sim::netlist::{Bit, Cell, Family, Netlist, Plant};
use tandem_sim::tsim::{Model, TsimBus, TsimOptions};
use tandem_tests::gates::Bench;
use tandem_tests::tool;

/// The smallest machine: it runs one instruction after another, and has one lane in its tensor ALU.
const SMALLEST: &str = "\
name = \"smallest\"
batch = 1
block_in = 4
block_out = 4
uop_buffer_bytes = 256
inp_buffer_bytes = 128
wgt_buffer_bytes = 512
acc_buffer_bytes = 1024
bus_bits = 64
dram_bits = 24
insn_queue_depth = 0
alu_lanes = 1
counters = false
float_requant = false
";
/// Programs for each netlist; `tandem gates` runs as many as one likes.
const PROGRAMS: u64 = 2;
/// Programs of the generator that exercise much, the first one the most; faults are found within them.
const TELLING: [u64; 4] = [4, 3, 1, 0];
/// Wall-clock time for one run of a netlist with a fault, which may never end.
const LIMIT: Duration = Duration::from_secs(60);
/// A long computation is no hang.
const WATCHDOG: u64 = 20_000_000;

fn netlist(bench: &Bench, family: Family, config: &HwConfig) -> Netlist {
    let source = family.source(&verilog(config));
    bench.synthesise(&source, TOP, family.command()).unwrap().1
}

fn model(netlist: &Netlist, faults: &[Plant], family: Family, config: &HwConfig) -> Arc<Model> {
    let tools = tool::verilator().expect("it was there when the netlist was made");
    let cache = tool::cache().join("models");
    Model::of_netlist(&netlist.verilog_with(faults), family.cells(), config, &tools, &cache, &mut |_| {}).unwrap()
}

fn check(family: Family, seed: u64) {
    let Some(bench) = Bench::find() else { return };
    let config = HwConfig::from_toml(SMALLEST).unwrap();
    let model = model(&netlist(&bench, family, &config), &[], family, &config);
    let options = TsimOptions { trace: true, scramble: true, watchdog_cycles: WATCHDOG, ..TsimOptions::default() };
    let bus = TsimBus::new(model, options).unwrap();
    let monitor = bus.monitor();
    let gates = Party::new("the netlist", bus, move || monitor.trace());
    let reference = Party::fsim(&config, 0, Kernel::best());
    let report = Checker::new(&config, reference, gates)
        .unwrap()
        .run(&Generator::new(&config, seed), 0..PROGRAMS, |_| true)
        .unwrap();
    assert!(report.mismatches.is_empty(), "{family}: {:#?}", report.mismatches);
    assert!(report.cases == PROGRAMS && report.cycles > 10_000, "the programs do something");
}

#[test]
fn the_netlist_for_ice40_equals_the_functional_simulator() {
    check(Family::Ice40, 31);
}

#[test]
fn the_netlist_for_gowin_equals_the_functional_simulator() {
    check(Family::Gowin, 32);
}

/// Every so many cells of a kind.
fn some(netlist: &Netlist, kind: &str, count: usize) -> Vec<usize> {
    some_where(netlist, kind, count, |_| true)
}

/// Every so many cells of a kind that are as asked.
fn some_where(netlist: &Netlist, kind: &str, count: usize, fits: impl Fn(&Cell) -> bool) -> Vec<usize> {
    let suits = |cell: &Cell| cell.kind == kind && fits(cell);
    let all: Vec<usize> = (0..netlist.cells.len()).filter(|&at| suits(&netlist.cells[at])).collect();
    all.iter().copied().step_by((all.len() / count).max(1)).take(count).collect()
}

#[test]
fn the_netlist_for_ecp5_equals_the_functional_simulator_and_faults_in_it_are_found() {
    let Some(bench) = Bench::find() else { return };
    let (family, config) = (Family::Ecp5, HwConfig::from_toml(SMALLEST).unwrap());
    let netlist = netlist(&bench, family, &config);
    // A stuck operand of a multiplier, and a write enable the wrong way round, are faults of many words.
    let multipliers = some(&netlist, "MULT18X18D", 2).into_iter().map(|cell| Plant::tied(cell, "A0", 0, false));
    let enables = some(&netlist, "DP16KD", 2).into_iter().map(|cell| Plant::inverted(cell, "CEA", 0));
    let coarse: Vec<Plant> = multipliers.chain(enables).collect();
    // An input of a look-up table the wrong way round is half of its bits; a single bit may be for inputs that never come.
    let tables = some_where(&netlist, "LUT4", 16, |cell| {
        ["A", "B", "C", "D"].iter().all(|&pin| cell.pin(pin).is_some_and(|pin| matches!(pin.bits[..], [Bit::Net(_)])))
    });
    let (inputs, bits): (Vec<usize>, Vec<usize>) = (0..tables.len()).partition(|at| at % 2 == 0);
    let inputs: Vec<Plant> = inputs.into_iter().map(|at| Plant::inverted(tables[at], "A", 0)).collect();
    let bits: Vec<Plant> = bits.into_iter().filter_map(|at| Plant::entry(&netlist, tables[at], 0)).collect();
    let faults = [coarse.clone(), inputs.clone(), bits.clone()].concat();
    let model = model(&netlist, &faults, family, &config);
    let find = |number: usize| -> bool {
        // Hardware without a fault waits long while it computes.
        let watchdog_cycles = if number == 0 { WATCHDOG } else { 3000 };
        let options = TsimOptions { trace: true, mutant: number as u32, watchdog_cycles, ..TsimOptions::default() };
        let bus = TsimBus::new(Arc::clone(&model), options).unwrap();
        let monitor = bus.monitor();
        let gates = Party::new("the netlist", bus, move || monitor.trace());
        let checker = Checker::new(&config, Party::fsim(&config, 0, Kernel::best()), gates);
        // A netlist that cannot even be talked to has been found out.
        let Ok(checker) = checker else { return true };
        let report = checker.limit(LIMIT).stop_after(1).run(&Generator::new(&config, 33), TELLING, |_| true);
        report.map_or(true, |report| !report.mismatches.is_empty())
    };
    assert!(!find(0), "the netlist without a fault differs");
    for (at, fault) in coarse.iter().enumerate() {
        assert!(find(at + 1), "{fault:?} in {} is not found", netlist.cells[fault.cell].name);
    }
    let found = |first: usize, count: usize| (first..first + count).filter(|&number| find(number)).count();
    let first = coarse.len() + 1;
    let wrong_ways = found(first, inputs.len());
    assert!(2 * wrong_ways > inputs.len(), "{wrong_ways} of {} inverted inputs are found", inputs.len());
    let flipped = found(first + inputs.len(), bits.len());
    assert!(4 * flipped >= bits.len(), "{flipped} of {} flipped bits are found", bits.len());
}
