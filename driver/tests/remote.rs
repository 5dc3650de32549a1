//! Devices of another machine, with both ends in this process and a real connection between them.

mod board;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use board::{Adder, BYTES, config, random};
use tandem_driver::remote::{
    BusService, Clock, Connection, Event, Facts, Limits, Malformed, RemoteBus, Served, Service, Token, serve,
};
use tandem_driver::serial::{Port, TcpPort};
use tandem_driver::{Bus, BusError, Bytes, Counters, DmaAddr, DmaBuf, ErrorClass, NullBus, Waited, identify, run_at};
use tandem_isa::Reg;

const LIMIT: Duration = Duration::from_secs(60);

fn token() -> Token {
    Token::new(b"the token of these tests").unwrap()
}

/// A server in a thread that ends with the tests, and what it has told.
struct Server {
    address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(bus: impl Bus + Send + 'static, limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&told);
        std::thread::spawn(move || {
            let memory = DmaBuf { addr: DmaAddr(0), bytes: Bytes(BYTES as u64) };
            let facts = Facts { name: "adder".to_owned(), config: config(), memory, clock: Clock::Real };
            let service = BusService::new(Box::new(bus), facts);
            serve(&listener, Box::new(service), &token(), &limits, &|event| {
                heard.lock().unwrap().push(match event {
                    Event::Refused { why, .. } | Event::Left { why, .. } => (*why).to_owned(),
                    Event::Joined { .. } => "joined".to_owned(),
                });
            })
        });
        Server { address, told }
    }

    fn patient(bus: impl Bus + Send + 'static) -> Server {
        Server::new(bus, Limits { turn: LIMIT, penalty: Duration::ZERO, ..Limits::default() })
    }

    fn port(&self) -> TcpPort {
        TcpPort::connect(&self.address.to_string()).unwrap()
    }

    fn bus(&self) -> RemoteBus<TcpPort> {
        RemoteBus::open(self.port(), &token(), LIMIT).unwrap()
    }
}

/// A device that is done at the first wait.
fn prompt() -> Adder {
    let mut adder = Adder::new();
    adder.work = 0;
    adder
}

fn transfer_fails(error: &BusError, words: &[&str]) {
    assert_eq!(error.class(), ErrorClass::Fault, "{error}");
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
}

#[test]
fn a_run_takes_three_round_trips_and_computes_what_it_computes_here() {
    let server = Server::patient(prompt());
    let mut bus = server.bus();
    assert_eq!((bus.facts().name.as_str(), bus.facts().clock), ("adder", Clock::Real));
    assert!(bus.link().latency_s > 0.0 && bus.link().bytes_per_s > 0.0, "{:?}", bus.link());
    identify(&mut bus, &config()).unwrap();
    let (monitor, mut pick) = (bus.monitor(), random(5));
    let buf = bus.alloc(Bytes(9000)).unwrap();
    for _ in 0..3 {
        let mut data: Vec<u8> = (0..9000).map(|_| pick(256) as u8).collect();
        let before = monitor.traffic();
        bus.copy_in(buf.addr, &data).unwrap();
        // As a driver does: the mark of the last launch before a run, and after a read.
        bus.read32(Reg::InsnCount).unwrap();
        let counters = run_at(&mut bus, buf.addr, 9000, LIMIT).unwrap();
        let mut back = vec![0; 9000];
        bus.copy_out(buf.addr, &mut back).unwrap();
        assert_eq!(bus.read32(Reg::InsnCount), Ok(9000));
        data.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        assert_eq!(back, data);
        assert_eq!(counters, Counters { instructions: 9000, ..Counters::default() });
        let spent = monitor.traffic().since(&before);
        assert_eq!(spent.round_trips, 3, "{spent:?}");
        assert!(spent.bytes_sent < 9300 && spent.bytes_received < 9400, "{spent:?}");
        assert!(spent.device <= spent.waited, "{spent:?}");
    }
}

#[test]
fn registers_that_came_along_are_used_once_and_never_after_another_operation() {
    let server = Server::patient(Adder::new());
    let mut bus = server.bus();
    bus.write_regs(Reg::InsnCount, &[4, 0]).unwrap();
    bus.wait(Duration::ZERO).unwrap();
    let monitor = bus.monitor();
    let trips = || monitor.traffic().round_trips;
    let before = trips();
    assert_eq!(bus.read32(Reg::InsnCount), Ok(4));
    assert_eq!(trips(), before);
    assert_eq!(bus.read32(Reg::InsnCount), Ok(4));
    assert_eq!(trips(), before + 1);
    bus.wait(Duration::ZERO).unwrap();
    bus.write32(Reg::InsnCount, 9).unwrap();
    assert_eq!(bus.read32(Reg::InsnCount), Ok(9));
    // More registers than there are read as zero beyond the last, and nothing is written there.
    let mut values = vec![7; Reg::ALL.len() + 3];
    bus.read_regs(Reg::Control, &mut values).unwrap();
    assert_eq!(values[Reg::ALL.len()..], [0, 0, 0]);
}

#[test]
fn copies_of_any_size_and_errors_of_the_bus_come_over_whole() {
    let server = Server::patient(NullBus::new(&config()));
    let mut bus = server.bus();
    let buf = bus.alloc(Bytes(100)).unwrap();
    // The server's device has not reserved this range, which this side cannot know.
    bus.copy_in(buf.addr, &[1; 100]).unwrap();
    assert_eq!(bus.read32(Reg::Control), Err(BusError::Address { addr: buf.addr, bytes: 100 }));
    // What lies outside is refused here, and the connection goes on.
    assert!(matches!(bus.copy_in(DmaAddr(4096), &[0; 8]), Err(BusError::Address { .. })));
    assert_eq!(bus.read32(Reg::Control), Ok(0));
    assert!(matches!(bus.alloc(Bytes(BYTES as u64)), Err(BusError::Exhausted { .. })));
    assert!(bus.diagnosis().is_none());

    let mut large = NullBus::new(&config());
    let memory = large.alloc(Bytes(5 << 20)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let facts = Facts { name: "null".to_owned(), config: config(), memory, clock: Clock::Estimated };
        serve(&listener, Box::new(BusService::new(Box::new(large), facts)), &token(), &Limits::default(), &|_| ())
    });
    let mut bus = RemoteBus::open(TcpPort::connect(&address.to_string()).unwrap(), &token(), LIMIT).unwrap();
    let buf = bus.map(memory.addr, memory.bytes).unwrap();
    let (monitor, data) = (bus.monitor(), vec![3; 5 << 20]);
    let before = monitor.traffic().round_trips;
    bus.copy_in(buf.addr, &data).unwrap();
    assert_eq!(bus.read32(Reg::Control), Ok(0));
    let mut back = data;
    bus.copy_out(buf.addr, &mut back).unwrap();
    assert!(back.iter().all(|&byte| byte == 0));
    // A megabyte each.
    let trips = monitor.traffic().round_trips - before;
    assert!((10..=13).contains(&trips), "{trips} round trips");
}

#[test]
fn any_number_of_small_writes_without_a_read_between_them_arrives() {
    let server = Server::patient(Adder::new());
    let mut bus = server.bus();
    let (buf, mut pick) = (bus.alloc(Bytes(5000)).unwrap(), random(7));
    let data: Vec<u8> = (0..5000).map(|_| pick(256) as u8).collect();
    let monitor = bus.monitor();
    let before = monitor.traffic().round_trips;
    for (byte, addr) in data.iter().zip(buf.addr.0..) {
        bus.copy_in(DmaAddr(addr), std::slice::from_ref(byte)).unwrap();
    }
    let mut back = vec![0; 5000];
    bus.copy_out(buf.addr, &mut back).unwrap();
    assert_eq!(back, data);
    // A batch holds 4096 operations; one that reads takes two, and follows on as many writes as there may be.
    assert_eq!(monitor.traffic().round_trips - before, 2);
    (0..4093).for_each(|_| bus.write32(Reg::InsnAddr, 64).unwrap());
    bus.copy_out(buf.addr, &mut back).unwrap();
    assert_eq!(bus.read32(Reg::InsnAddr), Ok(64));
    assert_eq!(monitor.traffic().round_trips - before, 4);
}

#[test]
fn a_wrong_token_is_refused_and_nobody_else_waits_for_that() {
    let server = Server::new(Adder::new(), Limits { penalty: Duration::from_millis(20), ..Limits::default() });
    // Somebody who connects and says nothing.
    let silent = TcpStream::connect(server.address).unwrap();
    let wrong = Token::new(b"the token of other tests").unwrap();
    for _ in 0..2 {
        let refused = RemoteBus::open(server.port(), &wrong, LIMIT).unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Unavailable);
        assert!(refused.to_string().contains("the token is refused"), "{refused}");
    }
    assert_eq!(server.bus().read32(Reg::IsaVersion), Ok(tandem_isa::ISA_VERSION));
    let told = server.told.lock().unwrap().clone();
    assert_eq!(told[..3], ["its token is wrong", "its token is wrong", "joined"]);
    drop(silent);
}

/// A port that keeps what was sent, and may change a byte of it.
struct Wiretap {
    inner: TcpPort,
    sent: Arc<Mutex<Vec<u8>>>,
    /// A byte of the message after this one is changed.
    honest: usize,
}

impl Port for Wiretap {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn now(&mut self) -> Duration {
        self.inner.now()
    }
    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        self.sent.lock().unwrap().extend(bytes);
        let mut bytes = bytes.to_vec();
        match self.honest.checked_sub(1) {
            Some(left) => self.honest = left,
            None => bytes[20] ^= 1,
        }
        self.inner.send(&bytes, limit)
    }
    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.inner.receive(bytes, limit)
    }
    fn reopen(&mut self) -> io::Result<()> {
        self.inner.reopen()
    }
}

#[test]
fn the_token_never_crosses_the_line_and_changed_frames_are_not_executed() {
    let server = Server::patient(Adder::new());
    let sent = Arc::new(Mutex::new(Vec::new()));
    // The proof, the pings and blocks of the measurement, and one batch.
    let honest = RemoteBus::open(server.port(), &token(), LIMIT).unwrap().monitor().traffic().round_trips as usize + 2;
    let port = Wiretap { inner: server.port(), sent: Arc::clone(&sent), honest };
    let mut bus = RemoteBus::open(port, &token(), LIMIT).unwrap();
    let buf = bus.alloc(Bytes(64)).unwrap();
    bus.copy_in(buf.addr, &[1; 64]).unwrap();
    bus.read32(Reg::Control).unwrap();
    bus.copy_in(buf.addr, &[2; 64]).unwrap();
    let error = bus.read32(Reg::Control).unwrap_err();
    transfer_fails(&error, &["reading CONTROL", "could not read the last message"]);
    transfer_fails(&bus.read32(Reg::Control).unwrap_err(), &["the connection is gone"]);
    drop(bus);
    let mut bus = server.bus();
    let mut memory = [0; 64];
    bus.map(DmaAddr(0), Bytes(64)).unwrap();
    bus.copy_out(DmaAddr(0), &mut memory).unwrap();
    assert_eq!(memory, [1; 64]);
    let sent = sent.lock().unwrap();
    assert!(!sent.windows(5).any(|bytes| bytes == b"token"));
    assert!(server.told.lock().unwrap().contains(&"a frame came that it has not sealed".to_owned()));
}

#[test]
fn clients_take_turns_and_an_idle_one_loses_its_own() {
    let short = Duration::from_secs(1);
    let server = Server::new(Adder::new(), Limits { idle: short, turn: LIMIT, ..Limits::default() });
    let mut idle = server.bus();
    // It waits for its turn, which comes when the first has said nothing for long enough.
    let mut next = server.bus();
    next.write32(Reg::InsnAddr, 64).unwrap();
    assert_eq!(next.read32(Reg::InsnAddr), Ok(64));
    let error = idle.read32(Reg::Control).unwrap_err();
    transfer_fails(&error, &[""]);
    drop(next);
    // It is the same device, and goes on once it is asked for again.
    idle.reopen().unwrap();
    assert_eq!(idle.read32(Reg::ConfigDigest), Ok(config().digest()));
    assert!(server.told.lock().unwrap().contains(&"it said nothing for too long".to_owned()));

    let busy = Server::new(Adder::new(), Limits { turn: Duration::ZERO, ..Limits::default() });
    let first = busy.bus();
    let refused = RemoteBus::open(busy.port(), &token(), LIMIT).unwrap_err();
    assert!(refused.to_string().contains("another client has the device"), "{refused}");
    drop(first);
}

/// How long a client lets the server of a slow device be silent.
const SILENCE: Duration = Duration::from_millis(1500);

/// A device that is at work for longer than its client lets a server be silent.
struct Slow(Adder);

impl Bus for Slow {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        self.0.read32(reg)
    }
    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        self.0.write32(reg, value)
    }
    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        self.0.alloc(bytes)
    }
    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        self.0.free(buf)
    }
    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.0.copy_in(dst, src)
    }
    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.0.copy_out(src, dst)
    }
    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        let begin = std::time::Instant::now();
        while begin.elapsed() < 2 * SILENCE {
            std::thread::park_timeout(SILENCE);
        }
        self.0.wait(limit)
    }
    fn diagnosis(&mut self) -> Option<String> {
        Some("it was slow".to_owned())
    }
}

#[test]
fn a_server_whose_device_is_at_work_says_so_and_its_diagnosis_comes_over() {
    let server = Server::patient(Slow(prompt()));
    let mut bus = RemoteBus::open(server.port(), &token(), SILENCE).unwrap();
    run_at(&mut bus, DmaAddr(0), 10, LIMIT).unwrap();
    assert!(bus.monitor().traffic().device >= 2 * SILENCE);
    assert_eq!(bus.diagnosis().as_deref(), Some("it was slow"));
}

#[test]
fn a_server_that_is_none_or_falls_silent_is_told_in_one_sentence() {
    let open = |address: SocketAddr, silence| {
        RemoteBus::open(TcpPort::connect(&address.to_string()).unwrap(), &token(), silence).map(drop)
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        let mut keep = Vec::new();
        for answer in
            [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x2a\0\0\0\x01TANDEMRD\x09\0........................"]
        {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            stream.write_all(&[0; 16]).unwrap();
            keep.push(stream);
        }
    });
    for words in ["serves no Tandem device", "version 9"] {
        let error = open(address, LIMIT).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_listener_that_fails_ends_the_server_with_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Nobody comes, which a listener that does not wait reports as an error each time.
    listener.set_nonblocking(true).unwrap();
    let memory = DmaBuf { addr: DmaAddr(0), bytes: Bytes(BYTES as u64) };
    let facts = Facts { name: "adder".to_owned(), config: config(), memory, clock: Clock::Real };
    let served = serve(
        &listener,
        Box::new(BusService::new(Box::new(Adder::new()), facts)),
        &token(),
        &Limits::default(),
        &|_| (),
    );
    assert_eq!(served.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Answers with what it is asked, backwards; an error where that begins with a zero.
struct Mirror;

impl Service for Mirror {
    fn served(&self) -> Served {
        Served { service: 77, facts: b"a mirror".to_vec() }
    }
    fn most(&self) -> usize {
        3 << 20
    }
    fn answer(&mut self, request: &[u8], reply: &mut Vec<u8>) -> Result<bool, Malformed> {
        reply.extend(request.iter().rev());
        request.last().map(|last| *last != 0).ok_or(Malformed)
    }
    fn leave(&mut self) {}
}

#[test]
fn messages_longer_than_a_frame_travel_in_parts_up_to_what_the_receiver_takes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || serve(&listener, Box::new(Mirror), &token(), &Limits::default(), &|_| ()));
    let open = || Connection::open(TcpPort::connect(&address).unwrap(), &token(), LIMIT).unwrap();
    let mut connection = open();
    assert_eq!(connection.served(), &Served { service: 77, facts: b"a mirror".to_vec() });
    let mut pick = random(8);
    for len in [1, 5, 1 << 20, (1 << 20) + (1 << 16), (1 << 20) + (1 << 16) + 1, 3 << 20] {
        let data: Vec<u8> = (0..len).map(|_| pick(256) as u8).collect();
        let answer = connection.ask(&data, 4 << 20, "asking").unwrap();
        assert_eq!(answer.done, data.last() != Some(&0));
        assert!(answer.body.iter().eq(data.iter().rev()), "{len}");
    }
    let traffic = connection.monitor().traffic();
    assert!(traffic.bytes_sent > 6 << 20 && traffic.bytes_received > 6 << 20, "{traffic:?}");
    let error = connection.ask(&vec![1; (3 << 20) + 1], 4 << 20, "asking").unwrap_err();
    transfer_fails(&error, &["longer than the server takes"]);
    assert!(connection.is_lost() && connection.monitor().lost().unwrap().contains("longer"));
    transfer_fails(&connection.ask(b"x", 100, "asking").unwrap_err(), &["the connection is gone"]);
    connection.reopen().unwrap();
    assert!(connection.ask(b"x", 100, "asking").unwrap().done);
    // An answer that is longer than the client takes ends the connection too.
    transfer_fails(&connection.ask(&[1; 200], 100, "asking").unwrap_err(), &["does not belong to the question"]);
    // A bus is something else.
    let error = RemoteBus::on(open()).unwrap_err();
    assert!(error.to_string().contains("serves no accelerator"), "{error}");
}
