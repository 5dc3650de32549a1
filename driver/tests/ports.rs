//! Real ports: pseudo-terminals and network connections, with the device's end in a thread.

#![cfg(unix)]

mod board;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use board::{Adder, BYTES, config, random};
use tandem_driver::serial::{FrameServer, Port, Pty, SerialBus, Served, TcpPort, Tty, relay, serve};
use tandem_driver::{Bus, Bytes, Device, DmaAddr, DmaBuf, ErrorClass, run_at};
use tandem_isa::Reg;

const LIMIT: Duration = Duration::from_secs(60);

fn server() -> FrameServer<Adder> {
    FrameServer::new(Adder::new(), DmaBuf { addr: DmaAddr(0), bytes: Bytes(BYTES as u64) })
}

/// A board behind a pseudo-terminal; it is unplugged when this is dropped.
struct Plugged {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Plugged {
    fn new() -> Plugged {
        let mut pty = Pty::open().unwrap();
        let (path, stop) = (pty.path().to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut server, mut bytes, mut answer) = (server(), [0; 512], Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let count = pty.receive(&mut bytes, Duration::from_millis(1)).unwrap();
                server.receive(&bytes[..count], &mut answer);
                pty.send(&answer, LIMIT).unwrap();
                answer.clear();
                server.idle(Duration::ZERO).unwrap();
            }
        });
        Plugged { path, stop, thread: Some(thread) }
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn exercise(bus: &mut dyn Bus, seed: u64) {
    let buf = bus.alloc(Bytes(9000)).unwrap();
    let mut pick = random(seed);
    let mut data: Vec<u8> = (0..9000).map(|_| pick(256) as u8).collect();
    bus.copy_in(buf.addr, &data).unwrap();
    run_at(bus, buf.addr, 9000, LIMIT).unwrap();
    data.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
    let mut back = vec![0; 9000];
    bus.copy_out(buf.addr, &mut back).unwrap();
    assert_eq!(back, data);
    bus.free(buf).unwrap();
}

#[test]
fn a_board_behind_a_pseudo_terminal_is_used_unplugged_and_used_again() {
    let link = Path::new(env!("CARGO_TARGET_TMPDIR")).join("board-port");
    let plug = |board: &Plugged| {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&board.path, &link).unwrap();
    };
    let board = Plugged::new();
    plug(&board);
    let mut bus = SerialBus::open(Tty::open(&link, 1_000_000).unwrap()).unwrap();
    exercise(&mut bus, 1);
    drop(board);
    let error = bus.read32(Reg::Cycles).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fault);
    assert!(error.to_string().contains("board-port failed: the port is gone"), "{error}");
    std::fs::remove_file(&link).unwrap();
    let error = bus.reopen().unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert!(error.to_string().ends_with("board-port: there is no such port; check the path and the cable"), "{error}");
    let board = Plugged::new();
    plug(&board);
    bus.reopen().unwrap();
    exercise(&mut bus, 2);
}

#[test]
fn what_is_no_serial_port_says_so() {
    let open = |path: &Path| Tty::open(path, 115_200).map(drop).unwrap_err().to_string();
    assert!(open(Path::new("/nowhere/ttyUSB0")).contains("no such port"));
    assert!(open(Path::new(env!("CARGO_MANIFEST_DIR"))).contains("directory"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert!(open(&file).contains("no serial port"));
    assert!(open(Path::new("/dev/null")).contains("no serial port"));
}

#[test]
fn a_bus_is_exported_over_the_network_to_one_client_after_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut server, mut clients) = (server(), 0);
        serve(&listener, &mut server, |served| {
            clients += 1;
            assert!(matches!(served, Served::ClientLeft));
            clients < 3
        })
        .unwrap();
        server.bus().launches
    });
    let mut bus = SerialBus::open(TcpPort::connect(&address).unwrap()).unwrap();
    exercise(&mut bus, 3);
    drop(bus);
    let bus = SerialBus::open(TcpPort::connect(&address).unwrap()).unwrap();
    Device::open(Box::new(bus), &config()).unwrap();
    drop(TcpPort::connect(&address).unwrap());
    assert_eq!(thread.join().unwrap(), 1);
    let error = TcpPort::connect(&address).map(drop).unwrap_err().to_string();
    assert!(error.contains("tandem board serve"), "{error}");
    let error = TcpPort::connect("nonsense").map(drop).unwrap_err().to_string();
    assert!(error.contains("HOST:PORT"), "{error}");
}

#[test]
fn a_port_is_relayed_over_the_network() {
    let board = Plugged::new();
    let mut tty = Tty::open(&board.path, 115_200).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let mut ended = Vec::new();
        relay(&listener, &mut tty, |served| {
            ended.push(format!("{served:?}"));
            ended.len() < 2
        })
        .unwrap();
        ended
    });
    let mut bus = SerialBus::open(TcpPort::connect(&address).unwrap()).unwrap();
    exercise(&mut bus, 4);
    drop(bus);
    let mut bus = SerialBus::open(TcpPort::connect(&address).unwrap()).unwrap();
    drop(board);
    assert_eq!(bus.read32(Reg::Cycles).unwrap_err().class(), ErrorClass::Fault);
    let ended = thread.join().unwrap();
    assert!(ended[0].contains("ClientLeft") && ended[1].contains("DeviceFailed"), "{ended:?}");
}
