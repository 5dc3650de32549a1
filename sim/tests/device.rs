//! The simulator behind the bus, driven by the driver: the path that every program of the compiler takes.

use std::time::Duration;

use tandem_driver::{Bus, Bytes, Device, DmaAddr, DriverError, ErrorClass, Waited};
use tandem_isa::{ErrorCode, HwConfig, Program, Reg, control, parse};
use tandem_sim::{Checks, FsimBus, Options, SimError};

const LIMIT: Duration = Duration::from_secs(60);

/// Adds `by` to sixteen bytes of the input section.
fn adder(by: i32) -> Program {
    parse(&format!(
        ".preset tiny\n\
         .section uops uop 0 4\n.hex 00000000\n\
         .section in input 64 16\n\
         .section out output 4096 16\n\
         load.uop sram=0 dram=0 size=1x1 stride=1\n\
         load.acc8 sram=0 dram=0x10 size=1x4 stride=4\n\
         alu.add uop=0..1 loop=1x4 dst=0,1 src=0,1 imm={by} push_next\n\
         store.out sram=0 dram=0x400 size=1x4 stride=4 pop_prev push_prev\n\
         nop.compute pop_next\n\
         finish\n"
    ))
    .unwrap()
}

fn config() -> HwConfig {
    HwConfig::preset("tiny").unwrap()
}

#[test]
fn two_programs_run_any_number_of_times_in_any_order() {
    let mut device = Device::open(Box::new(FsimBus::new(&config())), &config()).unwrap();
    let programs = [device.load(&adder(1)).unwrap(), device.load(&adder(100)).unwrap()];
    let mut first = None;
    for (round, which) in [0, 1, 1, 0, 0, 1, 0].into_iter().enumerate() {
        let input: Vec<u8> = (0..16).map(|at| (at * 7 + round) as u8).collect();
        device.write(&programs[which], 1, 0, &input).unwrap();
        let counters = device.run(&programs[which], LIMIT).unwrap();
        let by = [1, 100][which];
        let expected: Vec<u8> = input.iter().map(|value| value.wrapping_add(by)).collect();
        assert_eq!(device.read(&programs[which], 2, 0, 16).unwrap(), expected);
        assert_eq!(counters, *first.get_or_insert(counters));
    }
    let counters = first.unwrap();
    assert_eq!((counters.instructions, counters.alu_uops, counters.acc_writes), (6, 4, 4));
    assert_eq!((counters.acc_bytes, counters.uop_bytes, counters.out_bytes), (16, 4, 16));
    assert!(counters.cycles > 0);
    for loaded in programs {
        device.unload(loaded).unwrap();
    }
}

#[test]
fn an_error_of_the_program_comes_through_the_device_and_the_next_program_runs() {
    let mut device = Device::open(Box::new(FsimBus::new(&config())), &config()).unwrap();
    let mut wrong = adder(1);
    wrong.insns[2].dep_mut().push_next = false;
    let wrong = device.load(&wrong).unwrap();
    let right = device.load(&adder(1)).unwrap();
    for _ in 0..2 {
        let error = device.run(&wrong, LIMIT).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("the device stopped: deadlock: store waits at instruction 3 (`store.out sram=0 dram="),
            "{text}"
        );
        assert_eq!(error.class(), ErrorClass::Invalid);
        let DriverError::Stopped { code, insn, .. } = error else { panic!("{text}") };
        assert_eq!((code, insn), (ErrorCode::Deadlock.code(), 3));
        device.run(&right, LIMIT).unwrap();
    }
    device.unload(wrong).unwrap();
    device.unload(right).unwrap();
}

#[test]
fn a_program_that_takes_too_long_times_out_and_the_next_program_runs() {
    let mut device = Device::open(Box::new(FsimBus::new(&config())), &config()).unwrap();
    let mut endless = adder(1);
    endless.insns[2] =
        parse(".preset tiny\nalu.add uop=0..1 loop=16383x16383 dst=0,0 src=0,0 imm=1 push_next\n").unwrap().insns[0];
    let endless = device.load(&endless).unwrap();
    let right = device.load(&adder(1)).unwrap();
    let error = device.run(&endless, Duration::ZERO).unwrap_err();
    assert!(matches!(error, DriverError::Timeout { .. }), "{error}");
    let snapshot = error.snapshot().unwrap();
    assert_eq!(snapshot.get(Reg::Control), Some(control::LAUNCH));
    assert_eq!(snapshot.get(Reg::ConfigDigest), Some(config().digest()));
    device.run(&right, LIMIT).unwrap();
    device.unload(endless).unwrap();
    device.unload(right).unwrap();
}

#[test]
fn a_host_that_only_polls_gets_there_too() {
    let mut bus = FsimBus::new(&config());
    let program = adder(5);
    let image = bus.map(DmaAddr(0), Bytes(8192)).unwrap();
    let code = bus.alloc(Bytes(4096)).unwrap();
    assert!(bus.map(DmaAddr(100), Bytes(1)).is_err());
    bus.copy_in(DmaAddr(0), &[0; 4]).unwrap();
    bus.copy_in(DmaAddr(64), &[10; 16]).unwrap();
    bus.copy_in(code.addr, &program.encode_insns().unwrap()).unwrap();
    // Nothing was launched, so nothing will happen.
    assert_eq!(bus.wait(Duration::MAX).unwrap(), Waited::Elapsed);
    bus.write32(Reg::InsnAddr, code.addr.0).unwrap();
    bus.write32(Reg::InsnCount, program.insns.len() as u32).unwrap();
    bus.write32(Reg::ConfigDigest, 0).unwrap();
    for _ in 0..2 {
        bus.write32(Reg::Control, control::LAUNCH).unwrap();
        let polls = (0..1000).position(|_| bus.read32(Reg::Control).unwrap() == control::DONE);
        assert!(polls.is_some());
        let mut out = [0; 16];
        bus.copy_out(DmaAddr(4096), &mut out).unwrap();
        assert_eq!(out, [15; 16]);
    }
    bus.free(image).unwrap();
    bus.write32(Reg::Control, control::LAUNCH).unwrap();
    assert_eq!(bus.wait(Duration::MAX).unwrap(), Waited::Signalled);
    assert_eq!(bus.read32(Reg::Control).unwrap(), control::ERROR);
    assert_eq!(bus.read32(Reg::ErrorCode).unwrap(), ErrorCode::DramRange.code());
    assert!(bus.diagnosis().unwrap().contains("not in device memory"));
    bus.write32(Reg::Control, control::RESET).unwrap();
    assert_eq!(bus.read32(Reg::Control).unwrap(), 0);
}

#[test]
fn a_monitor_sees_what_registers_do_not_tell() {
    let bus = FsimBus::with_options(&config(), Options::default(), 1 << 20);
    let monitor = bus.monitor();
    let mut device = Device::open(Box::new(bus), &config()).unwrap();
    let loaded = device.load(&adder(1)).unwrap();
    monitor.set_checks(Checks { races: true, uninitialised: true });
    monitor.set_trace(true);
    for seed in [0, 1, 2] {
        monitor.set_seed(seed);
        device.run(&loaded, LIMIT).unwrap();
        assert_eq!(monitor.counters().alu_ops, 16);
        assert_eq!(monitor.trace().events.len(), 6 * 2 + 4 + 1);
        assert_eq!(monitor.error(), None);
    }
    device.unload(loaded).unwrap();
    let mut racing = adder(1);
    racing.insns[3].dep_mut().push_prev = false;
    racing.insns[4].dep_mut().pop_next = false;
    let racing = device.load(&racing).unwrap();
    let error = device.run(&racing, LIMIT).unwrap_err();
    assert!(error.to_string().contains("(`finish`) does not wait for instruction 3"), "{error}");
    assert!(matches!(monitor.error(), Some(SimError::Unfinished { .. })));
    device.unload(racing).unwrap();
}

#[test]
fn memory_beyond_the_limit_is_exhausted_and_comes_back() {
    let bus = FsimBus::with_options(&config(), Options::default(), 32 << 10);
    let mut device = Device::open(Box::new(bus), &config()).unwrap();
    let mut loaded = Vec::new();
    let error = loop {
        match device.load(&adder(1)) {
            Ok(program) => loaded.push(program),
            Err(error) => break error,
        }
    };
    assert_eq!(error.class(), ErrorClass::Exhausted);
    assert_eq!(loaded.len(), 3);
    device.unload(loaded.pop().unwrap()).unwrap();
    loaded.push(device.load(&adder(1)).unwrap());
    for program in &loaded {
        device.run(program, LIMIT).unwrap();
    }
    loaded.into_iter().for_each(|program| device.unload(program).unwrap());
}

#[test]
fn another_configuration_is_refused_when_the_device_is_opened() {
    let other = HwConfig::preset("edge").unwrap();
    let error = Device::open(Box::new(FsimBus::new(&other)), &config()).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unsupported);
}
