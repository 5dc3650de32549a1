//! A board behind a wire: transfers over a quiet line and over one that loses, changes, doubles and delays bytes; a cable that is
//! cut or unplugged; devices that are no boards. Time is that of the wire.

mod board;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use board::{Adder, BYTES, config, random, wired};
use tandem_driver::serial::frame::{self, Deframer, Reply, Request, shell, window};
use tandem_driver::serial::{Cable, FrameServer, Loopback, Noise, Port, SerialBus, Wire};
use tandem_driver::{
    Bus, BusError, Bytes, Device, DmaAddr, DmaBuf, DriverError, ErrorClass, Loaded, NullBus, Waited, run_at,
};
use tandem_isa::{Finish, Insn, Program, Reg, Role, Section, control};

type Board = SerialBus<Loopback<Adder>>;
type Access<'a> = &'a mut dyn FnMut(&mut Board) -> Result<(), BusError>;
type Handle = Arc<Mutex<Wire<Adder>>>;

fn open() -> (Board, Handle) {
    let port = wired();
    let wire = port.wire();
    (SerialBus::open(port).unwrap(), wire)
}

fn program() -> Program {
    let section =
        |name: &str, role, offset, data: Vec<u8>| Section { name: name.into(), role, offset, size: 4096, data };
    Program {
        config: config(),
        sections: vec![
            section("constants", Role::Uop, 0, (0..4096).map(|i| i as u8).collect()),
            section("input", Role::Input, 4096, vec![]),
        ],
        insns: vec![Insn::Finish(Finish::default())],
    }
}

fn write_input(device: &mut Device, loaded: &Loaded, fill: u8) -> Result<(), DriverError> {
    device.write(loaded, 1, 0, &[fill; 4096])
}

#[test]
fn a_board_says_what_it_is() {
    let (mut bus, _) = open();
    let facts = bus.facts();
    assert_eq!(facts.memory, DmaBuf { addr: DmaAddr(0), bytes: Bytes(BYTES as u64) });
    assert_eq!((facts.clock_hz, facts.baud, facts.version), (50_000_000, 1_000_000, shell::VERSION_1_0));
    assert_eq!(bus.read32(Reg::ConfigDigest).unwrap(), config().digest());
    assert_eq!(bus.refused().unwrap(), 0);
}

#[test]
fn copies_change_their_bytes_and_no_others_wherever_they_begin_and_end() {
    let (mut bus, wire) = open();
    let buf = bus.alloc(Bytes(4096)).unwrap();
    let mut model = vec![0xa5; 4096];
    let mut pick = random(1);
    for round in 0..200u32 {
        let begin = pick(4096 - 600) as usize;
        let len = pick(if round % 4 == 0 { 600 } else { 9 }) as usize;
        let data: Vec<u8> = (0..len).map(|_| pick(256) as u8).collect();
        bus.copy_in(buf.addr.offset(begin as u32).unwrap(), &data).unwrap();
        model[begin..begin + len].copy_from_slice(&data);
        assert_eq!(wire.lock().unwrap().server().bus().memory[..4096], model, "round {round}");
        let mut back = vec![0; len + 5];
        bus.copy_out(buf.addr.offset(begin as u32).unwrap(), &mut back).unwrap();
        assert_eq!(back, model[begin..begin + len + 5]);
    }
    assert_eq!(bus.counts().resent, 0);
}

#[test]
fn memory_is_reserved_by_the_host_and_copies_outside_are_refused() {
    let (mut bus, _) = open();
    let first = bus.alloc(Bytes(5)).unwrap();
    let second = bus.alloc(Bytes(5)).unwrap();
    assert_eq!((first.addr, second.addr), (DmaAddr(0), DmaAddr(4096)));
    assert_eq!(bus.copy_in(DmaAddr(3), &[0; 3]).unwrap_err().class(), ErrorClass::Invalid);
    assert_eq!(bus.alloc(Bytes(BYTES as u64)).unwrap_err().class(), ErrorClass::Exhausted);
    bus.free(first).unwrap();
    assert_eq!(bus.free(first).unwrap_err().class(), ErrorClass::Invalid);
    assert!(bus.map(DmaAddr(4096), Bytes(1)).is_err());
    bus.map(DmaAddr(0x8000), Bytes(0x100)).unwrap();
}

#[test]
fn under_noise_every_transfer_is_exact_or_a_clear_fault() {
    let mut faults = 0;
    for seed in 0..6 {
        let (mut bus, wire) = open();
        let buf = bus.alloc(Bytes(8192)).unwrap();
        {
            let mut wire = wire.lock().unwrap();
            wire.set_noise(Noise::new(seed, 10_000));
            wire.set_late(Some(500));
        }
        let mut model = vec![0xa5; 8192];
        let mut pick = random(seed + 100);
        for _ in 0..60 {
            let begin = pick(8192 - 1200) as usize;
            let len = 1 + pick(1200) as usize;
            let data: Vec<u8> = (0..len).map(|_| pick(256) as u8).collect();
            match bus.copy_in(DmaAddr(buf.addr.0 + begin as u32), &data) {
                Ok(()) => model[begin..begin + len].copy_from_slice(&data),
                Err(error) => {
                    assert_eq!(error.class(), ErrorClass::Fault, "{error}");
                    faults += 1;
                    // What a failed copy has written is unknown: make it known again.
                    wire.lock().unwrap().server().bus().memory[begin..begin + len].copy_from_slice(&data);
                    model[begin..begin + len].copy_from_slice(&data);
                }
            }
            let mut back = vec![0; 64 + pick(512) as usize];
            let at = pick(8192 - back.len() as u32) as usize;
            match bus.copy_out(DmaAddr(buf.addr.0 + at as u32), &mut back) {
                Ok(()) => assert_eq!(back, model[at..at + back.len()]),
                Err(error) => assert_eq!(error.class(), ErrorClass::Fault, "{error}"),
            }
        }
        assert_eq!(wire.lock().unwrap().server().bus().memory[..8192], model);
        assert!(bus.counts().resent > 20, "{:?}", bus.counts());
    }
    assert!(faults < 10, "{faults} of 360 copies failed");
}

#[test]
fn a_lost_reply_launches_nothing_twice() {
    for seed in 0..10 {
        let (mut bus, wire) = open();
        let buf = bus.alloc(Bytes(256)).unwrap();
        bus.copy_in(buf.addr, &[7; 256]).unwrap();
        wire.lock().unwrap().set_noise(Noise::new(seed, 30_000));
        for _ in 0..20 {
            run_at(&mut bus, buf.addr, 256, Duration::from_secs(60)).unwrap();
        }
        let mut bytes = [0; 256];
        bus.copy_out(buf.addr, &mut bytes).unwrap();
        assert_eq!((bytes, wire.lock().unwrap().server().bus().launches), ([27; 256], 20));
    }
}

#[test]
fn equal_writes_are_all_executed_whatever_stands_between_them() {
    let (mut bus, wire) = open();
    wire.lock().unwrap().server().bus().work = 0;
    // Sequence numbers have eight bits: with 255 reads in between, the next number is the same.
    for reads in [0, 1, 254, 255, 256, 511] {
        bus.write32(Reg::Control, control::LAUNCH).unwrap();
        for _ in 0..reads {
            bus.read32(Reg::Control).unwrap();
        }
    }
    assert_eq!(wire.lock().unwrap().server().bus().launches, 6);
    // Nor is the first write of a session taken for the last one of the session before.
    for _ in 0..3 {
        bus.reopen().unwrap();
        bus.write32(Reg::Control, control::LAUNCH).unwrap();
    }
    assert_eq!(wire.lock().unwrap().server().bus().launches, 9);
}

#[test]
fn a_slow_device_gets_shorter_frames_instead_of_a_fault() {
    let (mut bus, wire) = open();
    // A simulated board at a low bit rate: a frame of 64 words would take more than two seconds.
    wire.lock().unwrap().set_speed(Duration::from_millis(8), Duration::from_millis(20));
    bus.reopen().unwrap();
    let buf = bus.alloc(Bytes(2000)).unwrap();
    let data: Vec<u8> = (0..2000).map(|i| i as u8).collect();
    bus.copy_in(buf.addr, &data).unwrap();
    let mut back = vec![0; 2000];
    bus.copy_out(buf.addr, &mut back).unwrap();
    assert_eq!(back, data);
}

#[test]
fn a_device_that_is_slower_than_a_second_needs_patience() {
    let port = wired();
    port.wire().lock().unwrap().set_speed(Duration::from_millis(30), Duration::from_millis(20));
    let mut bus = SerialBus::open_patient(port, Duration::from_secs(5)).unwrap();
    let buf = bus.alloc(Bytes(400)).unwrap();
    bus.copy_in(buf.addr, &[9; 400]).unwrap();
    let mut back = [0; 400];
    bus.copy_out(buf.addr, &mut back).unwrap();
    assert_eq!((back, bus.counts().garbled), ([9; 400], 0));
    let port = wired();
    port.wire().lock().unwrap().set_speed(Duration::from_millis(30), Duration::from_millis(20));
    assert_eq!(SerialBus::open(port).map(drop).unwrap_err().class(), ErrorClass::Unavailable);
}

#[test]
fn a_cable_that_is_cut_is_a_fault_within_a_second_that_says_what_was_done() {
    let (mut bus, wire) = open();
    let buf = bus.alloc(Bytes(4096)).unwrap();
    for (cable, words) in [(Cable::Cut, "nothing came for a second"), (Cable::Unplugged, "the port is gone")] {
        wire.lock().unwrap().set_cable(cable);
        let mut bytes = [0; 4096];
        let copies: [(&str, Access<'_>); 4] = [
            ("reading CYCLES on the wire failed", &mut |bus| bus.read32(Reg::Cycles).map(drop)),
            ("writing CONTROL on the wire failed", &mut |bus| bus.write32(Reg::Control, 1)),
            ("writing 4096 bytes at 0x0 on the wire failed", &mut |bus| bus.copy_in(buf.addr, &[1; 4096])),
            ("reading 4096 bytes at 0x0 on the wire failed", &mut |bus| bus.copy_out(buf.addr, &mut bytes)),
        ];
        for (action, copy) in copies {
            let begin = wire.lock().unwrap().now();
            let error = copy(&mut bus).unwrap_err();
            let taken = wire.lock().unwrap().now() - begin;
            assert!(taken <= Duration::from_secs(1), "{action}: {taken:?}");
            assert_eq!(error.class(), ErrorClass::Fault);
            let text = error.to_string();
            assert!(text.starts_with(action) && text.contains(words), "{text}");
        }
        assert_eq!(bus.wait(Duration::from_secs(9)).unwrap_err().class(), ErrorClass::Fault);
        let error = bus.reopen().unwrap_err();
        assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
        wire.lock().unwrap().set_cable(Cable::Plugged);
        bus.reopen().unwrap();
        bus.copy_in(buf.addr, &[1; 4096]).unwrap();
    }
}

#[test]
fn a_wait_ends_when_its_limit_ends() {
    let (mut bus, wire) = open();
    wire.lock().unwrap().server().bus().work = u32::MAX;
    bus.write32(Reg::Control, control::LAUNCH).unwrap();
    for limit in [Duration::ZERO, Duration::from_millis(7), Duration::from_secs(3)] {
        let begin = wire.lock().unwrap().now();
        assert_eq!(bus.wait(limit).unwrap(), Waited::Elapsed);
        let taken = wire.lock().unwrap().now() - begin;
        assert!(taken >= limit && taken < limit + Duration::from_millis(60), "{limit:?} {taken:?}");
    }
}

#[test]
fn a_program_goes_on_after_its_board_was_unplugged_at_any_byte() {
    let port = wired();
    let wire = port.wire();
    wire.lock().unwrap().server().bus().work = 8;
    let mut device = Device::open(Box::new(SerialBus::open(port).unwrap()), &config()).unwrap();
    let loaded = device.load(&program()).unwrap();
    let limit = Duration::from_secs(60);
    let mut outcomes = [0, 0];
    let mut with_registers = 0;
    for (round, after) in (1..9000u64).step_by(211).enumerate() {
        let cable = if round % 2 == 0 { Cable::Cut } else { Cable::Unplugged };
        let (fill, begin) = (round as u8, wire.lock().unwrap().now());
        wire.lock().unwrap().set_cable_after(after, cable);
        let ran = write_input(&mut device, &loaded, fill).and_then(|()| device.run(&loaded, limit));
        let cut = wire.lock().unwrap().cable() != Cable::Plugged;
        match ran {
            Ok(_) => assert!(!cut),
            Err(error) => {
                assert_eq!(error.class(), ErrorClass::Fault, "{error}");
                assert!(cut, "{error}");
                with_registers += usize::from(error.snapshot().is_some());
                let taken = wire.lock().unwrap().now() - begin;
                assert!(taken < Duration::from_millis(1400), "{after}: {taken:?}");
                // While the board is away, everything says so.
                assert_eq!(device.run(&loaded, limit).unwrap_err().class(), ErrorClass::Unavailable);
            }
        }
        outcomes[usize::from(cut)] += 1;
        if cut && round % 3 == 0 {
            wire.lock().unwrap().server().bus().power_cycle();
        }
        wire.lock().unwrap().set_cable(Cable::Plugged);
        if cut {
            // What the host wrote may be lost, so a run without it is refused.
            let error = device.run(&loaded, limit).unwrap_err();
            assert_eq!(error, DriverError::Lost { section: "input".to_owned() });
        }
        write_input(&mut device, &loaded, fill).unwrap();
        let launches = wire.lock().unwrap().server().bus().launches;
        device.run(&loaded, limit).unwrap();
        assert_eq!(device.read(&loaded, 1, 0, 4096).unwrap(), [fill; 4096]);
        assert_eq!(device.read(&loaded, 0, 5, 3).unwrap(), [5, 6, 7]);
        assert_eq!(wire.lock().unwrap().server().bus().launches, launches + 1);
    }
    assert!(outcomes[0] > 3 && outcomes[1] > 20 && with_registers > 0, "{outcomes:?} {with_registers}");
    device.unload(loaded).unwrap();
}

#[test]
fn a_failed_run_tells_what_was_known_of_the_registers() {
    let port = wired();
    let wire = port.wire();
    wire.lock().unwrap().server().bus().work = u32::MAX;
    let mut device = Device::open(Box::new(SerialBus::open(port).unwrap()), &config()).unwrap();
    let loaded = device.load(&program()).unwrap();
    wire.lock().unwrap().set_cable_after(2000, Cable::Cut);
    let error = device.run(&loaded, Duration::from_secs(600)).unwrap_err();
    let snapshot = error.snapshot().unwrap();
    assert_eq!((snapshot.get(Reg::Control), snapshot.get(Reg::InsnCount)), (Some(control::LAUNCH), Some(1)));
    let text = error.to_string();
    assert!(text.contains("polling CONTROL on the wire failed: nothing came for a second"), "{text}");
    assert!(text.ends_with("OUT_BASE=0x0 CONTROL=0x1(launch)"), "{text}");
}

#[test]
fn a_device_that_lost_its_power_behind_the_hosts_back_is_noticed() {
    let port = wired();
    let wire = port.wire();
    let mut device = Device::open(Box::new(SerialBus::open(port).unwrap()), &config()).unwrap();
    let loaded = device.load(&program()).unwrap();
    let (limit, input_lost) = (Duration::from_secs(60), DriverError::Lost { section: "input".to_owned() });
    // Before a run, before outputs are read, and during a run.
    write_input(&mut device, &loaded, 1).unwrap();
    wire.lock().unwrap().server().bus().power_cycle();
    assert_eq!(device.run(&loaded, limit).unwrap_err(), input_lost);
    device.write(&loaded, 1, 0, &[2; 1000]).unwrap();
    assert_eq!(device.run(&loaded, limit).unwrap_err(), input_lost);
    device.write(&loaded, 1, 1000, &[2; 3096]).unwrap();
    device.run(&loaded, limit).unwrap();
    wire.lock().unwrap().server().bus().power_cycle();
    assert_eq!(device.read(&loaded, 1, 0, 4).unwrap_err(), input_lost);
    write_input(&mut device, &loaded, 3).unwrap();
    device.run(&loaded, limit).unwrap();
    assert_eq!(device.read(&loaded, 1, 4092, 4).unwrap(), [3; 4]);
}

#[test]
fn what_answers_but_is_no_board_is_told_apart() {
    let refused = |port: Scripted| {
        let error = SerialBus::open(port).map(drop).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
        error.to_string()
    };
    assert!(refused(Scripted::new(|_| vec![])).contains("nothing answers on a script"));
    let chatter = refused(Scripted::new(|_| b"$GPGGA,123519,4807.038,N\r\n".to_vec()));
    assert!(chatter.contains("no valid frame"), "{chatter}");
    let words = |words: [u32; 5]| {
        refused(Scripted::new(move |bytes| {
            let mut deframer = Deframer::default();
            let contents = bytes.iter().filter_map(|&byte| deframer.push(byte)?.ok());
            let answer = |content: Vec<u8>| {
                let (seq, request) = Request::parse(&content)?;
                let reply = Reply { kind: request.kind() | 0x80, seq, status: 0, words: words.to_vec() };
                let mut line = vec![];
                frame::put(&mut line, &reply.bytes(), 1);
                Some(line)
            };
            contents.filter_map(answer).flatten().collect()
        }))
    };
    assert!(words([0xdead_beef, 0, 0, 0, 0]).contains("no Tandem board: its first word is 0xdeadbeef"));
    assert!(words([shell::MAGIC_VALUE, 0x0002_0000, 0, 0, 0]).contains("version 0x00020000"));
}

#[test]
fn a_board_of_another_configuration_is_refused_with_both_digests() {
    let port = wired();
    let other = tandem_isa::HwConfig::preset("vta").unwrap();
    let error = Device::open(Box::new(SerialBus::open(port).unwrap()), &other).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unsupported);
    let text = error.to_string();
    for digest in [config().digest(), other.digest()] {
        assert!(text.contains(&format!("{digest:#010x}")), "{text}");
    }
}

#[test]
fn a_board_in_the_place_of_another_is_not_taken_for_it() {
    let port = Swapped { boards: vec![small(), wired_null(1 << 16)], at: 0 };
    let mut bus = SerialBus::open(port).unwrap();
    bus.port().at = 1;
    let error = bus.reopen().unwrap_err();
    assert!(error.to_string().contains("another board answers"), "{error}");
    bus.port().at = 0;
    bus.reopen().unwrap();
}

#[test]
fn plain_commands_peek_and_write_only_until_the_first_checked_frame() {
    let memory = DmaBuf { addr: DmaAddr(0), bytes: Bytes(4096) };
    let mut server = FrameServer::new(Adder::new(), memory);
    let mut out = Vec::new();
    let [a, b, c, d] = (window::SHELL / 4).to_be_bytes();
    let peek = [2, 1, a, b, c, d];
    server.receive(&peek, &mut out);
    assert_eq!(out, 0x5444_4d31u32.to_be_bytes());
    let poke = |word: u32| [vec![1, 1, 0, 0, 0, 2], word.to_be_bytes().to_vec()].concat();
    server.receive(&poke(0x0102_0304), &mut out);
    assert_eq!(server.bus().memory[8..12], [4, 3, 2, 1]);
    let ask = |server: &mut FrameServer<Adder>, request: Request| {
        let (mut line, mut out) = (Vec::new(), Vec::new());
        frame::put(&mut line, &request.bytes(3), 1);
        server.receive(&line, &mut out);
        out
    };
    ask(&mut server, Request::Read { word_addr: 0, count: 1 });
    server.receive(&poke(0x0a0b_0c0d), &mut out);
    assert_eq!(server.bus().memory[8..12], [4, 3, 2, 1]);
    let plain = window::SHELL / 4 + shell::PLAIN;
    ask(&mut server, Request::Write { word_addr: plain, words: vec![1] });
    server.receive(&poke(0x0a0b_0c0d), &mut out);
    assert_eq!(server.bus().memory[8..12], [13, 12, 11, 10]);
    // An incomplete command is forgotten, or ended by a border.
    out.clear();
    server.receive(&peek[..4], &mut out);
    server.forget_plain();
    server.receive(&peek, &mut out);
    assert_eq!(out.len(), 4);
    server.receive(&peek[..4], &mut out);
    assert!(!ask(&mut server, Request::Read { word_addr: 0, count: 1 }).is_empty());
}

#[test]
fn addresses_of_nothing_are_refused_by_their_status() {
    let (mut bus, wire) = open();
    wire.lock().unwrap().server().bus().memory.truncate(100);
    bus.map(DmaAddr(0), Bytes(4096)).unwrap();
    let error = bus.copy_in(DmaAddr(200), &[1]).unwrap_err();
    assert!(error.to_string().ends_with("the board has nothing at this address"), "{error}");
    let mut server = FrameServer::new(Adder::new(), DmaBuf { addr: DmaAddr(4096), bytes: Bytes(4096) });
    for (addr, count, status) in [
        (4096, 64, 0),
        (4092, 2, 2),
        (8188, 2, 2),
        (0, 1, 2),
        (window::REGISTERS - 4, 2, 2),
        (window::REGISTERS, 64, 0),
        (window::SHELL, 8, 0),
        (window::SHELL + window::BYTES - 4, 2, 2),
        (u32::MAX - 3, 2, 2),
    ] {
        let (mut line, mut out) = (Vec::new(), Vec::new());
        frame::put(&mut line, &Request::Read { word_addr: addr / 4, count }.bytes(1), 1);
        server.receive(&line, &mut out);
        let mut deframer = Deframer::default();
        let contents: Vec<_> = out.iter().filter_map(|&byte| deframer.push(byte)).collect();
        let reply = Reply::parse(contents[0].as_ref().unwrap()).unwrap();
        assert_eq!((reply.status, reply.words.len()), (status, if status == 0 { count } else { 0 }), "{addr:#x}");
    }
    // Memory that does not begin at 0 is found where it is.
    let bus = SerialBus::open(Loopback::new(server)).unwrap();
    assert_eq!(bus.facts().memory, DmaBuf { addr: DmaAddr(4096), bytes: Bytes(4096) });
}

type Answer = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// A port whose other side is a function of what is sent.
struct Scripted {
    answer: Answer,
    arrived: Vec<u8>,
    now: Duration,
}

impl Scripted {
    fn new(answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Scripted {
        Scripted { answer: Box::new(answer), arrived: Vec::new(), now: Duration::ZERO }
    }
}

impl Port for Scripted {
    fn name(&self) -> String {
        "a script".to_owned()
    }

    fn now(&mut self) -> Duration {
        self.now
    }

    fn send(&mut self, bytes: &[u8], _limit: Duration) -> io::Result<()> {
        self.arrived.extend((self.answer)(bytes));
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        if self.arrived.is_empty() {
            self.now += limit;
            return Ok(0);
        }
        self.now += Duration::from_micros(100);
        let count = bytes.len().min(self.arrived.len());
        bytes[..count].copy_from_slice(&self.arrived[..count]);
        self.arrived.drain(..count);
        Ok(count)
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wired_null(bytes: u64) -> Loopback<NullBus> {
    Loopback::new(FrameServer::new(NullBus::new(&config()), DmaBuf { addr: DmaAddr(0), bytes: Bytes(bytes) }))
}

fn small() -> Loopback<NullBus> {
    wired_null(1 << 12)
}

/// A port at which one board or another is.
struct Swapped {
    boards: Vec<Loopback<NullBus>>,
    at: usize,
}

impl Port for Swapped {
    fn name(&self) -> String {
        "a port".to_owned()
    }

    fn now(&mut self) -> Duration {
        self.boards[self.at].now()
    }

    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        self.boards[self.at].send(bytes, limit)
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.boards[self.at].receive(bytes, limit)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.boards[self.at].reopen()
    }
}
