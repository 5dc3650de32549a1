//! The checker of co-simulation: silent about two devices that behave alike, and loud about every kind of difference.

use std::time::Duration;

use tandem_driver::{Bus, BusError, Bytes, Device, DmaAddr, DmaBuf, Waited};
use tandem_isa::{Event, HwConfig, Reg, Trace, control};
use tandem_sim::cosim::{Checker, CosimError, CosimReport, Generator, Party, What};
use tandem_sim::{FsimBus, Kernel, Options};

/// What is wrong with a device.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    /// The lowest bit of one byte that the host reads back.
    Byte,
    /// The same, from the second launch of each program on.
    SecondRun,
    /// One event less.
    Event,
    /// Two events of one unit in the other order.
    Order,
    /// A counter.
    Counter,
    /// A base register that keeps its low bits.
    Register,
    /// An error that the program does not deserve.
    Error,
    /// It is never done.
    Hang,
    /// The bus breaks down.
    Broken,
}

/// A functional simulator with something wrong.
struct Suspect {
    bus: FsimBus,
    wrong: Wrong,
    launches: u32,
    base: u32,
}

impl Bus for Suspect {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        let value = self.bus.read32(reg)?;
        Ok(match (self.wrong, reg) {
            (Wrong::Counter, Reg::AccWrites) => value + 1,
            (Wrong::Register, Reg::InpBase) => self.base,
            (Wrong::Error, Reg::Control) => control::ERROR,
            (Wrong::Hang, Reg::Control) => control::LAUNCH,
            (Wrong::Broken, Reg::Control) => {
                return Err(BusError::Unavailable { detail: "the cable is out".to_owned() });
            }
            _ => value,
        })
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        self.launches += u32::from(reg == Reg::Control && value == control::LAUNCH);
        if reg == Reg::InpBase {
            self.base = value;
        }
        self.bus.write32(reg, value)
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        self.bus.alloc(bytes)
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        self.bus.free(buf)
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.bus.copy_in(dst, src)
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.bus.copy_out(src, dst)?;
        if self.wrong == Wrong::Byte || (self.wrong == Wrong::SecondRun && self.launches.is_multiple_of(2)) {
            dst[100_000] ^= 1;
        }
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        self.bus.wait(limit)
    }
}

fn suspect(config: &HwConfig, wrong: Wrong) -> Party {
    let bus = FsimBus::with_options(config, Options { seed: 9, trace: true, ..Options::default() }, 64 << 20);
    let monitor = bus.monitor();
    Party::new("suspect", Suspect { bus, wrong, launches: 0, base: 0 }, move || {
        let mut trace: Trace = monitor.trace();
        let events = &mut trace.events;
        match wrong {
            Wrong::Event => drop(events.pop()),
            Wrong::Order => {
                let begin = events.iter().position(|e| matches!(e, Event::Begin { .. })).unwrap();
                let finish = events.iter().position(|e| matches!(e, Event::Finish { .. })).unwrap();
                events.swap(begin, finish);
            }
            _ => {}
        }
        trace
    })
}

fn check(wrong: Wrong, cases: u64) -> Result<CosimReport, CosimError> {
    let config = HwConfig::preset("edge").unwrap();
    let reference = Party::fsim(&config, 0, Kernel::best());
    let mut checker = Checker::new(&config, reference, suspect(&config, wrong))?.limit(Duration::from_millis(300));
    checker.run(&Generator::new(&config, 4), 0..cases, |_| true)
}

#[test]
fn two_simulators_with_other_kernels_and_interleavings_behave_alike() {
    for name in HwConfig::presets() {
        let config = HwConfig::preset(name).unwrap();
        let reference = Party::fsim(&config, 0, Kernel::best());
        let mut checker = Checker::new(&config, reference, Party::fsim(&config, 5, Kernel::Portable)).unwrap();
        let mut told = 0;
        let report = checker
            .run(&Generator::new(&config, 1), 0..40, |report| {
                told += 1;
                report.cases == told
            })
            .unwrap();
        assert_eq!(report.mismatches, [], "{name}");
        assert!(report.cases == 40 && report.programs > 44 && report.instructions > 2000 && told == 40);
    }
}

#[test]
fn a_few_hundred_programs_exercise_everything_there_is() {
    for name in ["vta", "tiny", "batch"] {
        let config = HwConfig::preset(name).unwrap();
        let mut report = CosimReport::new(&config, 0);
        let generator = Generator::new(&config, 6);
        (0..300).for_each(|index| report.coverage.count(&config, &generator.case(index)));
        let missing: Vec<_> = report.coverage.missing().collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

#[test]
fn every_kind_of_difference_is_found_and_named() {
    assert_eq!(check(Wrong::Nothing, 10).unwrap().mismatches, []);
    let cases = [
        (Wrong::Byte, What::Memory, "byte 0x6a0 of section out should be 0x"),
        (Wrong::Event, What::Trace, "the compute unit's event "),
        (Wrong::Order, What::Trace, "event 0 is `"),
        (Wrong::Counter, What::Counters, "ACC_WRITES is "),
        (Wrong::Register, What::Register, "INP_BASE reads 0x"),
        (Wrong::Error, What::End, "fsim finishes, suspect stops at instruction 0 with error 0 (no error)"),
        (Wrong::Hang, What::End, "fsim finishes, suspect does not finish"),
    ];
    for (wrong, what, text) in cases {
        let report = check(wrong, 2).unwrap();
        assert_eq!(report.mismatches.len(), 2, "{wrong:?}");
        for mismatch in &report.mismatches {
            assert_eq!((mismatch.what, mismatch.run, mismatch.seed), (what, 1, 4), "{wrong:?}");
            assert!(mismatch.detail.contains(text), "{wrong:?}: {mismatch}");
        }
    }
    // A case of one program is launched twice.
    let report = check(Wrong::SecondRun, 12).unwrap();
    let second = report.mismatches.iter().filter(|mismatch| mismatch.run == 2).count();
    assert!(second > 3, "{:?}", report.mismatches);
}

#[test]
fn a_bus_that_breaks_down_and_another_configuration_are_errors() {
    let report = check(Wrong::Broken, 1);
    assert!(matches!(&report, Ok(r) if r.mismatches[0].detail.contains("the cable is out")), "{report:?}");
    let (edge, tiny) = (HwConfig::preset("edge").unwrap(), HwConfig::preset("tiny").unwrap());
    let reference = Party::fsim(&edge, 0, Kernel::best());
    let error = Checker::new(&edge, reference, suspect(&tiny, Wrong::Nothing)).unwrap_err();
    assert!(error.to_string().starts_with("suspect: CONFIG_DIGEST reads 0x"), "{error}");
}

#[test]
fn the_checker_stops_after_as_many_mismatches_as_it_is_told() {
    let config = HwConfig::preset("edge").unwrap();
    let reference = Party::fsim(&config, 0, Kernel::best());
    let checker = Checker::new(&config, reference, suspect(&config, Wrong::Event)).unwrap();
    let report = checker.stop_after(3).run(&Generator::new(&config, 4), 0..50, |_| true).unwrap();
    assert_eq!((report.cases, report.mismatches.len()), (3, 3));
}

#[test]
fn programs_run_through_the_driver_as_well() {
    let config = HwConfig::preset("wide").unwrap();
    let generator = Generator::new(&config, 8);
    let mut device = Device::open(Box::new(FsimBus::new(&config)), &config).unwrap();
    for index in 0..20 {
        let programs = generator.case(index).programs;
        let loaded: Vec<_> = programs.iter().map(|program| device.load(program).unwrap()).collect();
        let mut before = Vec::new();
        for run in 0..2 {
            for (number, program) in loaded.iter().enumerate() {
                let counters = device.run(program, Duration::from_secs(60)).unwrap();
                let size = program.sections()[2].size as usize;
                let seen = (counters, device.read(program, 2, 0, size).unwrap());
                if run == 0 {
                    before.push(seen);
                } else {
                    assert!(before[number] == seen, "case {index}, program {number}");
                }
            }
        }
        loaded.into_iter().for_each(|program| device.unload(program).unwrap());
    }
}
