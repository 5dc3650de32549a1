//! The functional simulator as a board: behind a wire that loses, changes and doubles bytes, and that is unplugged.

use std::time::Duration;

use tandem_driver::serial::{Cable, FrameServer, Loopback, Noise, SerialBus};
use tandem_driver::{Bytes, Device, DmaAddr, DriverError, ErrorClass, Loaded};
use tandem_isa::{HwConfig, Program, parse};
use tandem_sim::FsimBus;

const LIMIT: Duration = Duration::from_secs(60);
const MEMORY: u64 = 128 << 10;

/// Adds one to sixteen bytes of the input section.
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

fn config() -> HwConfig {
    HwConfig::preset("tiny").unwrap()
}

fn wired() -> Loopback<FsimBus> {
    let mut bus = FsimBus::new(&config());
    let memory = bus.map(DmaAddr(0), Bytes(MEMORY)).unwrap();
    Loopback::new(FrameServer::new(bus, memory))
}

fn infer(device: &mut Device, loaded: &Loaded, input: &[u8]) -> Result<Vec<u8>, DriverError> {
    device.write(loaded, 1, 0, input)?;
    device.run(loaded, LIMIT)?;
    device.read(loaded, 2, 0, 16)
}

#[test]
fn runs_over_a_noisy_wire_are_exact_or_a_clear_fault_and_the_next_one_goes_on() {
    let port = wired();
    let wire = port.wire();
    let mut device = Device::open(Box::new(SerialBus::open(port).unwrap()), &config()).unwrap();
    let loaded = device.load(&adder()).unwrap();
    let mut faults = 0;
    for round in 0..100u32 {
        if round % 20 == 0 {
            let mut wire = wire.lock().unwrap();
            wire.set_noise(Noise::new(round.into(), if round == 80 { 60_000 } else { 10_000 }));
            wire.set_late(Some(300));
        }
        let input: Vec<u8> = (0..16).map(|at| (at * 7 + round) as u8).collect();
        match infer(&mut device, &loaded, &input) {
            Ok(output) => {
                let expected: Vec<u8> = input.iter().map(|value| value.wrapping_add(1)).collect();
                assert_eq!(output, expected, "round {round}");
            }
            Err(error) => {
                assert!(matches!(error.class(), ErrorClass::Fault | ErrorClass::Unavailable), "{error}");
                faults += 1;
            }
        }
    }
    assert!(faults < 20, "{faults} of 100 runs failed");
}

#[test]
fn a_run_whose_board_is_unplugged_fails_and_the_same_program_goes_on_after_replugging() {
    let port = wired();
    let wire = port.wire();
    let mut device = Device::open(Box::new(SerialBus::open(port).unwrap()), &config()).unwrap();
    let loaded = device.load(&adder()).unwrap();
    let mut cuts = 0;
    for after in (1..400).step_by(7) {
        let cable = if after % 2 == 0 { Cable::Cut } else { Cable::Unplugged };
        let begin = wire.lock().unwrap().now();
        wire.lock().unwrap().set_cable_after(after, cable);
        if let Err(error) = infer(&mut device, &loaded, &[after as u8; 16]) {
            assert_eq!(error.class(), ErrorClass::Fault, "{error}");
            assert!(wire.lock().unwrap().now() - begin <= Duration::from_millis(1100));
            cuts += 1;
        }
        wire.lock().unwrap().set_cable(Cable::Plugged);
        assert_eq!(infer(&mut device, &loaded, &[after as u8; 16]).unwrap(), [(after as u8).wrapping_add(1); 16]);
    }
    assert!(cuts > 20, "{cuts}");
}
