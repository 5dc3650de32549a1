//! The Verilated hardware behind the driver, beside the functional simulator: the same memory, the same events.

use std::time::Duration;

use tandem_driver::Device;
use tandem_isa::{HwConfig, Program, Queue, parse};
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_sim::{Dram, FsimBus, Options};
use tandem_tests::tool;

const LIMIT: Duration = Duration::from_secs(60);

/// Adds one to sixteen bytes, four lanes at a time.
fn adder() -> Program {
    parse(
        ".preset tiny\n\
         .section uops uop 0 4\n.hex 00000000\n\
         .section in input 64 16\n\
         .section out output 4096 16\n\
         load.uop sram=0 dram=0 size=1x1 stride=1\n\
         load.acc8 sram=0 dram=0x10 size=1x4 stride=4\n\
         alu.add uop=0..1 loop=1x4 dst=0,1 src=0,1 imm=1 push_next\n\
         store.out sram=0 dram=0x400 size=1x4 stride=4 pop_prev push_prev\n\
         nop.compute pop_next\n\
         finish\n",
    )
    .unwrap()
}

#[test]
fn a_program_writes_the_same_and_tells_the_same_events_on_both_simulators() {
    let Some(tools) = tool::verilator() else { return };
    let config = HwConfig::preset("tiny").unwrap();
    let cache = tool::cache().join("models");
    let model = Model::build(&config, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
    let options = Options { trace: true, ..Options::default() };
    let fsim = FsimBus::with_options(&config, options, Dram::DEFAULT_LIMIT);
    let fsim_monitor = fsim.monitor();
    let options =
        TsimOptions { trace: true, timeline: true, check: true, dram: DramModel::zynq(), ..TsimOptions::default() };
    let tsim = TsimBus::new(model, options).unwrap();
    let monitor = tsim.monitor();
    let mut devices = [Device::open(Box::new(fsim), &config).unwrap(), Device::open(Box::new(tsim), &config).unwrap()];
    for round in 0..3 {
        let input: Vec<u8> = (0..16).map(|at| (at * 9 + round) as u8).collect();
        let expected: Vec<u8> = input.iter().map(|value| value.wrapping_add(1)).collect();
        let counters = devices.each_mut().map(|device| {
            let loaded = device.load(&adder()).unwrap();
            device.write(&loaded, 1, 0, &input).unwrap();
            let counters = device.run(&loaded, LIMIT).unwrap();
            assert_eq!(device.read(&loaded, 2, 0, 16).unwrap(), expected);
            device.unload(loaded).unwrap();
            counters
        });
        let [mut fast, exact] = counters;
        fast.cycles = exact.cycles;
        assert_eq!(fast, exact);
        assert_eq!(fsim_monitor.trace().compare(&monitor.trace()), None);
        assert_eq!(monitor.activity().cycles, exact.cycles);
    }
    let (timeline, activity) = (monitor.timeline(), monitor.total_activity());
    for unit in Queue::ALL {
        assert_eq!(timeline.cycles(Some(unit)), *activity.unit(unit), "{unit}");
    }
}
