//! A reset at any moment of a program leaves a device that works: transactions under way end, nothing of the program is left.

use std::time::Duration;

use tandem_driver::{Bus, BusError, Bytes, Device, DmaAddr, DmaBuf, DriverError, Waited};
use tandem_isa::{HwConfig, Program, Reg, control};
use tandem_sim::FsimBus;
use tandem_sim::cosim::{Generator, Random};
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_tests::tool;

const LIMIT: Duration = Duration::from_secs(60);

/// A bus whose host loses patience after some register reads, each of which takes a few cycles.
struct Impatient {
    bus: TsimBus,
    reads: std::sync::Arc<std::sync::Mutex<Option<u32>>>,
}

impl Impatient {
    fn reads(&self) -> Option<u32> {
        *self.reads.lock().unwrap()
    }
}

impl Bus for Impatient {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        match self.reads() {
            // Polling runs a thousand cycles, which would leave few moments to choose from.
            Some(_) if reg == Reg::Control => Ok(control::LAUNCH),
            _ => self.bus.read32(reg),
        }
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
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
        self.bus.copy_out(src, dst)
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        let Some(reads) = self.reads() else { return self.bus.wait(limit) };
        for _ in 0..reads {
            self.bus.read32(Reg::Cycles)?;
        }
        Ok(Waited::Elapsed)
    }
}

/// Runs a program that was just loaded and reads its whole image.
fn image(device: &mut Device, program: &Program) -> Vec<Vec<u8>> {
    let loaded = device.load(program).unwrap();
    device.run(&loaded, LIMIT).unwrap_or_else(|error| panic!("{error}"));
    let sizes: Vec<usize> = loaded.sections().iter().map(|section| section.size as usize).collect();
    let bytes = sizes.iter().enumerate().map(|(at, &size)| device.read(&loaded, at, 0, size).unwrap()).collect();
    device.unload(loaded).unwrap();
    bytes
}

#[test]
fn a_program_cut_off_at_any_moment_does_not_disturb_the_next() {
    let Some(tools) = tool::verilator() else { return };
    let config = HwConfig::preset("tiny").unwrap();
    let cache = tool::cache().join("models");
    let model = Model::build(&config, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
    let generator = Generator::new(&config, 77);
    let mut random = Random(1);
    let mut cut = 0;
    for (dram, stress) in [(DramModel::zynq(), None), (DramModel::ideal(), Some(5))] {
        let bus = TsimBus::new(model.clone(), TsimOptions { dram, stress, ..TsimOptions::default() }).unwrap();
        let reads = std::sync::Arc::new(std::sync::Mutex::new(None));
        let bus = Impatient { bus, reads: std::sync::Arc::clone(&reads) };
        let mut hardware = Device::open(Box::new(bus), &config).unwrap();
        for index in 0..40 {
            let program = &generator.case(index).programs[0];
            let loaded = hardware.load(program).unwrap();
            for _ in 0..4 {
                *reads.lock().unwrap() = Some(random.below(800));
                match hardware.run(&loaded, Duration::ZERO) {
                    Err(DriverError::Timeout { .. }) => cut += 1,
                    other => panic!("case {index}: {other:?}"),
                }
            }
            *reads.lock().unwrap() = None;
            hardware.unload(loaded).unwrap();
            let mut reference = Device::open(Box::new(FsimBus::new(&config)), &config).unwrap();
            let expected = image(&mut reference, program);
            assert!(image(&mut hardware, program) == expected, "case {index}: memory differs after a reset");
        }
    }
    assert_eq!(cut, 320);
}
