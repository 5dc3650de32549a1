//! The register protocol against a bus that behaves, and against buses that fail in every way a device can.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tandem_driver::{
    Bus, BusError, Bytes, Counters, Device, DmaAddr, DmaBuf, DriverError, ErrorClass, Loaded, NullBus, Waited,
};
use tandem_isa::{
    ErrorCode, Finish, HwConfig, ISA_VERSION, Insn, Load, MemoryType, Program, Reg, Role, Section, control,
};

/// What `INSN_COUNT` holds between a reset and a launch.
const MARK: u32 = 0x7a6d_2aa5;
/// A reset.
const RESET: [Access; 2] = [Access::Write(Reg::Control, control::RESET), Access::Write(Reg::InsnCount, MARK)];

/// One access to the bus, as the log holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read(Reg),
    Write(Reg, u32),
    Alloc,
    Free,
    CopyIn(u32, usize),
    CopyOut(u32, usize),
    Wait,
}

/// What a scripted bus does wrong.
#[derive(Clone, Debug, Default)]
struct Script {
    /// The access, counted from 0, that fails, and all after it.
    fail_from: Option<usize>,
    /// The value that a register reads instead of its own.
    stuck: Vec<(Reg, u32)>,
    /// What `CONTROL` reads after a launch, then DONE.
    control: VecDeque<u32>,
    /// The address that the next allocation starts at.
    alloc_at: Option<u32>,
    log: Vec<Access>,
}

struct ScriptedBus {
    inner: NullBus,
    script: Arc<Mutex<Script>>,
}

impl ScriptedBus {
    fn access(&self, access: Access) -> Result<(), BusError> {
        let mut script = self.script.lock().unwrap();
        let index = script.log.len();
        script.log.push(access);
        if script.fail_from.is_some_and(|from| index >= from) {
            return Err(BusError::Transfer { action: format!("{access:?}"), detail: "the cable is out".to_owned() });
        }
        Ok(())
    }
}

impl Bus for ScriptedBus {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        self.access(Access::Read(reg))?;
        let mut script = self.script.lock().unwrap();
        if let Some((_, value)) = script.stuck.iter().find(|(at, _)| *at == reg) {
            return Ok(*value);
        }
        if reg == Reg::Control
            && let Some(value) = script.control.pop_front()
        {
            return Ok(value);
        }
        self.inner.read32(reg)
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        self.access(Access::Write(reg, value))?;
        self.inner.write32(reg, value)
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        self.access(Access::Alloc)?;
        let at = self.script.lock().unwrap().alloc_at;
        let buf = self.inner.alloc(bytes)?;
        Ok(at.map_or(buf, |at| DmaBuf { addr: DmaAddr(at), bytes }))
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        self.access(Access::Free)?;
        self.inner.free(buf)
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.access(Access::CopyIn(dst.0, src.len()))?;
        self.inner.copy_in(dst, src)
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.access(Access::CopyOut(src.0, dst.len()))?;
        self.inner.copy_out(src, dst)
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        self.access(Access::Wait)?;
        self.inner.wait(limit)
    }
}

fn config() -> HwConfig {
    HwConfig::preset("tiny").unwrap()
}

fn program() -> Program {
    let section = |name: &str, role, offset, data: Vec<u8>| {
        let size = if data.is_empty() { 100 } else { data.len() as u32 };
        Section { name: name.into(), role, offset, size, data }
    };
    let load =
        Load { memory_type: MemoryType::Uop, dram_base: 1, y_size: 1, x_size: 2, x_stride: 2, ..Load::default() };
    Program {
        config: config(),
        sections: vec![section("uops", Role::Uop, 0, vec![7; 16]), section("out", Role::Output, 32, vec![])],
        insns: vec![load.into(), Insn::Finish(Finish::default())],
    }
}

fn scripted(script: Script) -> (Box<ScriptedBus>, Arc<Mutex<Script>>) {
    let script = Arc::new(Mutex::new(script));
    (Box::new(ScriptedBus { inner: NullBus::new(&config()), script: script.clone() }), script)
}

fn open(script: Script) -> (Device, Arc<Mutex<Script>>) {
    let (bus, script) = scripted(script);
    (Device::open(bus, &config()).unwrap(), script)
}

fn session(device: &mut Device) -> Result<(Loaded, Counters), DriverError> {
    let loaded = device.load(&program())?;
    device.write(&loaded, 1, 4, &[1, 2, 3])?;
    let counters = device.run(&loaded, Duration::from_secs(5))?;
    assert_eq!(device.read(&loaded, 1, 0, 8)?.len(), 8);
    Ok((loaded, counters))
}

#[test]
fn the_protocol_is_one_region_sections_instructions_registers_launch_poll_counters() {
    let (mut device, script) = open(Script::default());
    let (loaded, counters) = session(&mut device).unwrap();
    assert_eq!(counters, Counters { instructions: 2, ..Counters::default() });
    let base = loaded.buf().addr.0;
    assert_eq!(base % 4096, 0);
    assert_eq!(loaded.buf().bytes, Bytes(192 + 32));
    let mut expected = vec![
        Access::Read(Reg::ConfigDigest),
        Access::Read(Reg::IsaVersion),
        Access::Write(Reg::Control, control::RESET),
        Access::Write(Reg::InsnCount, MARK),
        Access::Alloc,
        Access::CopyIn(base, 16),
        Access::CopyIn(base + 192, 32),
        Access::CopyIn(base + 36, 3),
        Access::Read(Reg::InsnCount),
        Access::Write(Reg::InsnCount, 2),
        Access::Write(Reg::InsnAddr, base + 192),
    ];
    expected.extend(
        [Reg::UopBase, Reg::InpBase, Reg::WgtBase, Reg::AccBase, Reg::OutBase].map(|reg| Access::Write(reg, 0)),
    );
    expected.extend([Access::Write(Reg::Control, control::LAUNCH), Access::Wait, Access::Read(Reg::Control)]);
    expected.extend(Reg::ALL[1..20].iter().map(|&reg| Access::Read(reg)));
    expected.extend([Access::CopyOut(base + 32, 8), Access::Read(Reg::InsnCount)]);
    assert_eq!(script.lock().unwrap().log, expected);
    device.unload(loaded).unwrap();
    assert_eq!(script.lock().unwrap().log.last(), Some(&Access::Free));
}

#[test]
fn programs_run_any_number_of_times_and_in_any_order() {
    let mut device = Device::open(Box::new(NullBus::new(&config())), &config()).unwrap();
    let first = device.load(&program()).unwrap();
    let second = device.load(&program()).unwrap();
    assert_ne!(first.buf().addr, second.buf().addr);
    for loaded in [&second, &first, &first, &second] {
        device.run(loaded, Duration::ZERO).unwrap();
    }
    device.unload(first).unwrap();
    device.run(&second, Duration::ZERO).unwrap();
    device.unload(second).unwrap();
}

#[test]
fn while_one_program_runs_the_data_of_another_one_move() {
    let (mut device, script) = open(Script::default());
    let (first, second) = (device.load(&program()).unwrap(), device.load(&program()).unwrap());
    assert_eq!(device.wait(&first, Duration::ZERO), Err(DriverError::Idle));
    device.start(&first).unwrap();
    let launched = script.lock().unwrap().log.len();
    device.write(&second, 1, 0, &[5; 4]).unwrap();
    assert_eq!(device.read(&second, 1, 0, 4).unwrap().len(), 4);
    assert_eq!(device.start(&second), Err(DriverError::Busy));
    assert_eq!(device.wait(&second, Duration::ZERO), Err(DriverError::Idle));
    let between: Vec<Access> = script.lock().unwrap().log[launched..].to_vec();
    let at = second.buf().addr.0 + 32;
    assert_eq!(between, [Access::CopyIn(at, 4), Access::CopyOut(at, 4), Access::Read(Reg::InsnCount)]);
    device.wait(&first, Duration::from_secs(5)).unwrap();
    assert_eq!(device.wait(&first, Duration::ZERO), Err(DriverError::Idle));
    // A program that runs is ended before its memory is given back.
    device.start(&second).unwrap();
    device.unload(second).unwrap();
    let log = script.lock().unwrap().log.clone();
    assert_eq!(log[log.len() - 3..], [RESET[0], RESET[1], Access::Free]);
    device.run(&first, Duration::from_secs(5)).unwrap();
}

#[test]
fn a_bus_that_fails_at_any_access_gives_one_clear_error_and_no_hang() {
    let mut reached = 0;
    for fail_from in 0..200 {
        let (bus, script) = scripted(Script { fail_from: Some(fail_from), ..Script::default() });
        let outcome = Device::open(bus, &config()).and_then(|mut device| {
            let (loaded, _) = session(&mut device)?;
            device.unload(loaded)
        });
        let log = script.lock().unwrap().log.len();
        let Err(error) = outcome else {
            assert!(log <= fail_from);
            reached = fail_from;
            break;
        };
        assert_eq!(error.class(), ErrorClass::Fault, "{error}");
        let text = error.to_string();
        assert!(text.contains("the cable is out") && !text.contains('\n'), "{text}");
        // The error and what cleans up after it: never an endless retry.
        assert!(log <= fail_from + 2, "{log} accesses after the failure at {fail_from}");
    }
    assert!(reached > 25, "the session makes {reached} accesses");
}

#[test]
fn a_dead_board_is_unavailable_whether_it_reads_zeros_or_ones() {
    for value in [0, u32::MAX] {
        let stuck = Reg::ALL.iter().map(|&reg| (reg, value)).collect();
        let (bus, _) = scripted(Script { stuck, ..Script::default() });
        let error = Device::open(bus, &config()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Unavailable);
        assert_eq!(
            error.to_string(),
            format!(
                "the device does not answer: CONFIG_DIGEST reads {value:#010x}; check power, bitstream and address"
            )
        );
    }
}

#[test]
fn a_device_of_another_configuration_or_version_is_unsupported() {
    let (bus, _) = scripted(Script { stuck: vec![(Reg::ConfigDigest, 5)], ..Script::default() });
    let error = Device::open(bus, &config()).unwrap_err();
    assert_eq!(error, DriverError::Config { found: 5, expected: config().digest() });
    assert_eq!(error.class(), ErrorClass::Unsupported);
    let (bus, _) = scripted(Script { stuck: vec![(Reg::IsaVersion, 5)], ..Script::default() });
    let error = Device::open(bus, &config()).unwrap_err();
    assert_eq!(error, DriverError::IsaVersion { found: 5, expected: ISA_VERSION });
    assert_eq!(error.class(), ErrorClass::Unsupported);
}

#[test]
fn a_device_that_is_never_done_times_out_with_its_registers_and_is_reset() {
    let (mut device, script) = open(Script { stuck: vec![(Reg::Control, control::LAUNCH)], ..Script::default() });
    let loaded = device.load(&program()).unwrap();
    let error = device.run(&loaded, Duration::from_millis(2)).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fault);
    let text = error.to_string();
    assert!(
        text.starts_with("the device was not done within 2ms; registers: CONTROL=0x1(launch) CYCLES=0x0"),
        "{text}"
    );
    assert_eq!(error.snapshot().unwrap().get(Reg::InsnCount), Some(2));
    assert!(script.lock().unwrap().log.ends_with(&RESET));
    // Once the device answers again, the same program runs.
    script.lock().unwrap().stuck.clear();
    device.run(&loaded, Duration::from_secs(5)).unwrap();
    device.unload(loaded).unwrap();
}

#[test]
fn a_device_that_forgets_the_launch_has_lost_its_memory() {
    let (mut device, script) = open(Script { stuck: vec![(Reg::Control, 0)], ..Script::default() });
    let loaded = device.load(&program()).unwrap();
    device.write(&loaded, 1, 0, &[1; 10]).unwrap();
    let error = device.run(&loaded, Duration::from_secs(600)).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fault);
    assert!(error.to_string().starts_with("the device has forgotten the launch"), "{error}");
    script.lock().unwrap().stuck.clear();
    let error = device.run(&loaded, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(&error, DriverError::Lost { section } if section == "out"), "{error}");
    device.write(&loaded, 1, 0, &[1; 10]).unwrap();
    device.run(&loaded, Duration::from_secs(5)).unwrap();
    device.unload(loaded).unwrap();
}

#[test]
fn a_stale_done_bit_is_not_taken_for_the_end() {
    let stale = control::LAUNCH | control::DONE;
    let (mut device, script) = open(Script { control: VecDeque::from([stale, stale, 0]), ..Script::default() });
    let loaded = device.load(&program()).unwrap();
    device.run(&loaded, Duration::from_secs(5)).unwrap();
    let polls = script.lock().unwrap().log.iter().filter(|access| **access == Access::Read(Reg::Control)).count();
    assert_eq!(polls, 4);
    device.unload(loaded).unwrap();
}

#[test]
fn an_error_bit_names_instruction_and_cause() {
    let stuck = |code, insn| {
        let stuck = vec![(Reg::Control, control::ERROR), (Reg::ErrorCode, code), (Reg::ErrorInsn, insn)];
        Script { stuck, ..Script::default() }
    };
    for (code, insn, class, start) in [
        (
            ErrorCode::DramRange.code(),
            0,
            ErrorClass::Invalid,
            "the device stopped at instruction 0 (`load.uop sram=0 dram=0x1 size=1x2 stride=2`): \
             a DRAM access is out of reach; registers: CONTROL=0x4(error)",
        ),
        (
            ErrorCode::BusFault.code(),
            9,
            ErrorClass::Fault,
            "the device stopped at instruction 9: the bus reported an error; ",
        ),
        (77, 1, ErrorClass::Fault, "the device stopped at instruction 1 (`finish`): unknown error code 77; "),
    ] {
        let (mut device, _) = open(stuck(code, insn));
        let loaded = device.load(&program()).unwrap();
        let error = device.run(&loaded, Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().starts_with(start), "{error}");
        assert_eq!(error.class(), class);
        device.unload(loaded).unwrap();
    }
}

#[test]
fn a_control_register_full_of_ones_is_a_fault() {
    let (mut device, script) = open(Script::default());
    let loaded = device.load(&program()).unwrap();
    script.lock().unwrap().stuck = vec![(Reg::Control, u32::MAX)];
    let error = device.run(&loaded, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, DriverError::Control { value: u32::MAX, .. }));
    assert_eq!(error.class(), ErrorClass::Fault);
    device.unload(loaded).unwrap();
}

#[test]
fn a_bus_that_breaks_its_own_contract_is_refused_without_a_panic() {
    // Memory that is not aligned, and memory whose end leaves the address space.
    for at in [0x1234, u32::MAX - 4095] {
        let (mut device, script) = open(Script { alloc_at: Some(at), ..Script::default() });
        device.load(&program()).unwrap_err();
        assert_eq!(script.lock().unwrap().log.last(), Some(&Access::Free));
    }
}

#[test]
fn programs_for_another_configuration_or_not_legal_are_refused_before_anything_is_reserved() {
    let (mut device, script) = open(Script::default());
    let other = Program { config: HwConfig::preset("vta").unwrap(), ..program() };
    assert!(matches!(device.load(&other).unwrap_err(), DriverError::ProgramConfig { .. }));
    let endless = Program { insns: vec![], ..program() };
    let error = device.load(&endless).unwrap_err();
    assert!(matches!(error, DriverError::Program(_)));
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(!script.lock().unwrap().log.contains(&Access::Alloc));
}

#[test]
fn memory_that_is_exhausted_says_so_and_is_given_back() {
    let mut device = Device::open(Box::new(NullBus::new(&config())), &config()).unwrap();
    let mut large = program();
    large.sections[1].size = u32::MAX - 63 - 32;
    let error = device.load(&large).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Exhausted, "{error}");
    large.sections[1].size = 0x9000_0000;
    let loaded = device.load(&large).unwrap();
    assert_eq!(device.load(&large).unwrap_err().class(), ErrorClass::Exhausted);
    device.unload(loaded).unwrap();
    let loaded = device.load(&large).unwrap();
    device.unload(loaded).unwrap();
}

#[test]
fn accesses_outside_a_section_or_with_another_devices_program_are_refused() {
    let (mut device, _) = open(Script::default());
    let (mut stranger, _) = open(Script::default());
    let loaded = device.load(&program()).unwrap();
    assert_eq!(loaded.section("out"), Some(1));
    assert_eq!(device.write(&loaded, 2, 0, &[]).unwrap_err(), DriverError::NoSection { section: 2, count: 2 });
    for (offset, len) in [(0, 101), (101, 0), (100, 1), (usize::MAX, 2), (1, usize::MAX)] {
        let error = device.read(&loaded, 1, offset, len).unwrap_err();
        assert!(matches!(error, DriverError::SectionRange { .. }), "{error}");
    }
    assert_eq!(
        device.read(&loaded, 1, 90, 20).unwrap_err().to_string(),
        "bytes 90..110 are outside section out of 100 bytes"
    );
    assert_eq!(device.read(&loaded, 1, 100, 0).unwrap(), []);
    assert_eq!(stranger.run(&loaded, Duration::ZERO).unwrap_err(), DriverError::Foreign);
    assert_eq!(stranger.write(&loaded, 0, 0, &[]).unwrap_err(), DriverError::Foreign);
    assert_eq!(stranger.unload(loaded).unwrap_err(), DriverError::Foreign);
}

#[test]
fn the_null_bus_checks_ranges_and_double_releases() {
    let mut bus = NullBus::new(&config());
    let buf = bus.alloc(Bytes(10)).unwrap();
    assert_eq!(buf.addr.0 % 4096, 0);
    bus.copy_in(buf.addr, &[0; 10]).unwrap();
    assert!(bus.copy_in(buf.addr, &[0; 11]).is_err());
    assert!(bus.copy_in(DmaAddr(0), &[0]).is_err());
    let mut bytes = [1; 4];
    bus.copy_out(DmaAddr(buf.addr.0 + 6), &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
    assert!(bus.free(DmaBuf { bytes: Bytes(9), ..buf }).is_err());
    bus.free(buf).unwrap();
    assert!(bus.free(buf).is_err());
    assert!(bus.alloc(Bytes(u64::MAX)).is_err());
    bus.write32(Reg::ConfigDigest, 1).unwrap();
    assert_eq!(bus.read32(Reg::ConfigDigest).unwrap(), config().digest());
}

#[test]
fn counters_add_up() {
    let one = Counters::from_regs(3, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let mut sum = one + one;
    sum += one;
    assert_eq!(sum.instructions, 9);
    assert_eq!(one.bytes_loaded(), 3 + 4 + 5 + 6);
    assert_eq!((sum.bytes_stored(), sum.uops(), sum.cycles), (21, 81, 3));
    let vta = HwConfig::preset("vta").unwrap();
    assert_eq!(one.macs(&vta), 8 * 256 + 10 * 16);
}
