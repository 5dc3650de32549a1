//! A core beside the processor, played by a thread: registers and memory are files, the interrupt is a pair of sockets.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tandem_driver::{
    Bus, BusError, Bytes, Caching, Device, DmaAddr, DmaBuf, DriverError, ErrorClass, UioBus, UioParts, UioPaths, Waited,
};
use tandem_isa::{Finish, HwConfig, ISA_VERSION, Insn, Program, Reg, Role, Section, control};

const BASE: u32 = 0x1f00_0000;
const BYTES: u64 = 1 << 16;
const LIMIT: Duration = Duration::from_secs(60);

fn config() -> HwConfig {
    HwConfig::preset("tiny").unwrap()
}

/// A folder with the files of a device.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uio").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let files = Files(folder);
        files.write("registers", &[0; 4096]);
        files.write("memory", &vec![0xa5; BYTES as usize]);
        files.write("phys_addr", format!("{BASE:#010x}\n").as_bytes());
        files.write("size", format!("{BYTES}\n").as_bytes());
        files.set(Reg::ConfigDigest, config().digest());
        files.set(Reg::IsaVersion, ISA_VERSION);
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    fn file(&self, name: &str) -> File {
        File::options().read(true).write(true).open(self.0.join(name)).unwrap()
    }

    fn set(&self, reg: Reg, value: u32) {
        self.file("registers").write_all_at(&value.to_le_bytes(), reg.offset().into()).unwrap();
    }

    fn paths(&self) -> UioPaths {
        UioPaths {
            registers: self.0.join("registers"),
            offset: 0,
            interrupt: false,
            memory: self.0.join("memory"),
            attributes: self.0.clone(),
            caching: Caching::Uncached,
        }
    }
}

/// A thread that plays the core: a launch adds one to the first bytes of its memory and interrupts.
struct Core {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    registers: File,
}

impl Core {
    fn new(files: &Files, mut irq: Option<UnixStream>) -> Core {
        let (registers, memory) = (files.file("registers"), files.file("memory"));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let at = u64::from(Reg::Control.offset());
            while !stopped.load(Ordering::Relaxed) {
                let mut word = [0; 4];
                registers.read_exact_at(&mut word, at).unwrap();
                let value = u32::from_le_bytes(word);
                if value & control::LAUNCH != 0 {
                    let mut bytes = [0; 64];
                    memory.read_exact_at(&mut bytes, 0).unwrap();
                    memory.write_all_at(&bytes.map(|byte| byte.wrapping_add(1)), 0).unwrap();
                    registers.write_all_at(&7u32.to_le_bytes(), Reg::Cycles.offset().into()).unwrap();
                    registers.write_all_at(&control::DONE.to_le_bytes(), at).unwrap();
                    if let Some(irq) = &mut irq {
                        irq.write_all(&1u32.to_ne_bytes()).unwrap();
                    }
                } else if value & control::RESET != 0 {
                    registers.write_all_at(&[0; 4], at).unwrap();
                }
                std::thread::yield_now();
            }
        });
        Core { stop, thread: Some(thread), registers: files.file("registers") }
    }

    /// Waits until a reset is done. In a real core, a launch that is written next cannot be overwritten by the end of the reset.
    fn settle(&self) {
        let mut word = [0; 4];
        while {
            self.registers.read_exact_at(&mut word, Reg::Control.offset().into()).unwrap();
            u32::from_le_bytes(word) & control::RESET != 0
        } {
            std::thread::yield_now();
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn program() -> Program {
    let section = Section { name: "data".into(), role: Role::Input, offset: 0, size: 64, data: vec![] };
    Program { config: config(), sections: vec![section], insns: vec![Insn::Finish(Finish::default())] }
}

#[test]
fn programs_run_where_interrupts_come_and_where_none_do() {
    for with_interrupt in [true, false] {
        let files = Files::new(if with_interrupt { "interrupt" } else { "poll" });
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut kept = ours.try_clone().unwrap();
        let core = Core::new(&files, with_interrupt.then(|| theirs.try_clone().unwrap()));
        let parts = UioParts {
            registers: files.file("registers"),
            offset: 0,
            interrupt: with_interrupt.then(|| ours.into()),
            memory: files.file("memory"),
            range: DmaBuf { addr: DmaAddr(BASE), bytes: Bytes(BYTES) },
            sync: None,
        };
        let mut device = Device::open(Box::new(UioBus::new(parts).unwrap()), &config()).unwrap();
        let loaded = device.load(&program()).unwrap();
        assert_eq!(loaded.buf().addr, DmaAddr(BASE));
        for round in 0..20 {
            device.write(&loaded, 0, 0, &[round; 64]).unwrap();
            assert_eq!(device.run(&loaded, LIMIT).unwrap().cycles, 7);
            core.settle();
            assert_eq!(device.read(&loaded, 0, 0, 64).unwrap(), [round + 1; 64]);
        }
        device.unload(loaded).unwrap();
        drop(device);
        drop(core);
        if with_interrupt {
            // A socket that is closed with an interrupt unread resets the other end: the last one may have come too late to be waited for.
            kept.set_nonblocking(true).unwrap();
            while kept.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
            drop(kept);
            // Every wait has allowed interrupts again.
            let (mut allowed, mut theirs) = (Vec::new(), theirs);
            theirs.read_to_end(&mut allowed).unwrap();
            assert!(allowed.len() >= 80 && allowed.chunks(4).all(|word| word == 1u32.to_ne_bytes()));
        }
    }
}

#[test]
fn a_core_that_is_never_done_times_out() {
    let files = Files::new("never");
    let mut device = Device::open(Box::new(UioBus::open(&files.paths()).unwrap()), &config()).unwrap();
    let loaded = device.load(&program()).unwrap();
    let error = device.run(&loaded, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, DriverError::Timeout { .. }), "{error}");
    assert_eq!(error.snapshot().unwrap().get(Reg::InsnAddr), Some(BASE + 64));
    device.unload(loaded).unwrap();
}

#[test]
fn copies_change_their_bytes_and_no_others() {
    let files = Files::new("copies");
    let mut bus = UioBus::open(&files.paths()).unwrap();
    let buf = bus.alloc(Bytes(256)).unwrap();
    let mut model = [0xa5u8; 256];
    for begin in 0..9u32 {
        for len in 0..14usize {
            let data: Vec<u8> = (0..len).map(|at| (at as u8) ^ (16 * begin as u8) ^ (len as u8)).collect();
            bus.copy_in(DmaAddr(buf.addr.0 + begin), &data).unwrap();
            model[begin as usize..begin as usize + len].copy_from_slice(&data);
            let mut back = vec![0; len + 3];
            bus.copy_out(DmaAddr(buf.addr.0 + begin), &mut back).unwrap();
            assert_eq!(back, model[begin as usize..begin as usize + len + 3]);
            assert_eq!(std::fs::read(files.0.join("memory")).unwrap()[..256], model);
        }
    }
    for (addr, len) in [(BASE - 1, 1), (BASE + 255, 2), (0, 1), (u32::MAX, 1)] {
        assert!(matches!(bus.copy_in(DmaAddr(addr), &vec![0; len]), Err(BusError::Address { .. })));
    }
    bus.map(DmaAddr(BASE + 0x8000), Bytes(16)).unwrap();
    assert_eq!(bus.alloc(Bytes(BYTES)).unwrap_err().class(), ErrorClass::Exhausted);
}

#[test]
fn caches_are_kept_in_step_through_the_files_of_the_buffer() {
    let files = Files::new("caches");
    for name in ["sync_offset", "sync_size", "sync_direction", "sync_for_device", "sync_for_cpu"] {
        files.write(name, b"");
    }
    let mut bus = UioBus::open(&UioPaths { caching: Caching::Synced, ..files.paths() }).unwrap();
    let text = |name: &str| std::fs::read_to_string(files.0.join(name)).unwrap();
    let buf = bus.alloc(Bytes(100)).unwrap();
    bus.copy_in(DmaAddr(buf.addr.0 + 8), &[1; 12]).unwrap();
    let told = ["sync_offset", "sync_size", "sync_direction", "sync_for_device", "sync_for_cpu"].map(text);
    assert_eq!(told, ["8", "12", "1", "1", ""]);
    bus.copy_out(buf.addr, &mut [0; 5]).unwrap();
    let told = ["sync_offset", "sync_size", "sync_direction", "sync_for_cpu"].map(text);
    assert_eq!(told, ["0", "5", "2", "1"]);
    std::fs::remove_dir_all(&files.0).unwrap();
    let error = bus.copy_in(buf.addr, &[1]).unwrap_err();
    assert!(error.to_string().contains("sync_offset"), "{error}");
}

#[test]
fn a_wait_without_an_end_ends_at_its_limit_and_a_closed_interrupt_is_a_fault() {
    let files = Files::new("waits");
    files.set(Reg::Control, control::LAUNCH);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let parts = UioParts {
        registers: files.file("registers"),
        offset: 0,
        interrupt: Some(ours.into()),
        memory: files.file("memory"),
        range: DmaBuf { addr: DmaAddr(BASE), bytes: Bytes(BYTES) },
        sync: None,
    };
    let mut bus = UioBus::new(parts).unwrap();
    assert_eq!(bus.wait(Duration::from_millis(1)).unwrap(), Waited::Elapsed);
    drop(theirs);
    assert_eq!(bus.wait(LIMIT).unwrap_err().class(), ErrorClass::Fault);
}

#[test]
fn parts_that_are_missing_or_make_no_sense_say_which() {
    let files = Files::new("missing");
    let refused = |paths: UioPaths, words: &str| {
        let error = UioBus::open(&paths).map(drop).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Unavailable);
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(UioPaths { registers: files.0.join("uio9"), ..files.paths() }, "uio9: No such file");
    refused(UioPaths { memory: files.0.join("udmabuf9"), ..files.paths() }, "udmabuf9: No such file");
    refused(UioPaths { attributes: files.0.join("class"), ..files.paths() }, "phys_addr: No such file");
    files.write("size", b"65540");
    refused(files.paths(), "the file has 65536 bytes and 65540 are needed");
    files.write("size", b"many");
    refused(files.paths(), "'many' is no number");
    files.write("size", b"65536");
    files.write("phys_addr", b"0xffff8000");
    refused(files.paths(), "out of the core's reach");
    refused(UioPaths::new(Path::new("/dev/uio9"), "udmabuf9"), "/sys/class/u-dma-buf/udmabuf9/phys_addr");
}
