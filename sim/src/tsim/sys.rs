//! The border to the C++ of a model: the structs that both sides share, and every unsafe call.
//!
//! The structs repeat those of `harness.cpp` field by field; their sizes are compared when a library is opened.

use std::ffi::c_void;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::{Model, TsimError};
use crate::Dram;

/// Why `run` came back before its cycles were used up.
pub(super) mod stop {
    /// The register access at hand is done.
    pub const ACCESS: u32 = 2;
    /// A rule of the bus is broken.
    pub const VIOLATION: u32 = 4;
    /// Nothing has moved for a while.
    pub const WATCHDOG: u32 = 8;
}

/// How a simulation runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RawOptions {
    pub stress_seed: u64,
    pub watchdog_cycles: u64,
    pub latency: u32,
    pub bits_per_cycle: u32,
    pub outstanding_reads: u32,
    pub outstanding_writes: u32,
    pub mutant: u32,
    pub stress: u8,
    pub trace: u8,
    pub timeline: u8,
    pub scramble: u8,
}

/// What the units did in one cycle; arrays are by unit: load, compute, store, and fetch for `state`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct RawEvent {
    pub cycle: u64,
    pub begin: u8,
    pub finish: u8,
    pub push: u8,
    pub pop: u8,
    pub state: [u8; 4],
    pub insn: [u32; 3],
    pub running: u32,
}

/// What the C++ side has counted, and what is to be seen of the design.
#[repr(C)]
pub(super) struct RawView {
    pub cycles: u64,
    pub state_cycles: [[u64; 8]; 4],
    pub queued_sum: [u64; 3],
    pub token_sum: [u64; 4],
    pub queued_max: [u32; 3],
    pub token_max: [u32; 4],
    padding: u32,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub read_bursts: u64,
    pub write_bursts: u64,
    pub now: u64,
    pub begun_at: [u64; 3],
    pub progress_at: u64,
    pub insn: [u32; 3],
    pub tokens: [u32; 4],
    pub queued: [u32; 3],
    pub state: [u8; 4],
    pub running: u8,
    pub signalled: u8,
    pub access_resp: u8,
    pub reads_open: u8,
    pub writes_open: u8,
    spare: [u8; 3],
    pub access_value: u32,
    event_count: u32,
    events: *const RawEvent,
    violation: [u8; 256],
}

/// Receives the text of a waveform dump.
pub(crate) type RawWaves = Option<unsafe extern "C" fn(user: *mut c_void, text: *const u8, bytes: u64) -> i64>;
/// What receives it.
pub(crate) type WaveSink = dyn FnMut(&[u8]) + Send;

/// An opened library with its entry points.
pub(super) struct Library {
    open: unsafe extern "C" fn(*const RawOptions, RawWaves, *mut c_void) -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    view: unsafe extern "C" fn(*mut c_void) -> *const RawView,
    memory: unsafe extern "C" fn(*mut c_void, *mut u8, u64, *const u8, u64),
    reset: unsafe extern "C" fn(*mut c_void),
    clear: unsafe extern "C" fn(*mut c_void),
    flush: unsafe extern "C" fn(*mut c_void),
    touch: unsafe extern "C" fn(*mut c_void),
    collect: unsafe extern "C" fn(*mut c_void, u8, u8),
    access: unsafe extern "C" fn(*mut c_void, u8, u32, u32),
    run: unsafe extern "C" fn(*mut c_void, u64) -> u32,
    // The entry points above are good as long as this lives.
    _library: libloading::Library,
}

/// One simulated device.
pub(super) struct Sim {
    handle: *mut c_void,
    // The C++ side holds a pointer to it.
    _waves: Option<Box<Box<WaveSink>>>,
    model: Arc<Model>,
}

// SAFETY: the C++ side keeps everything in the object behind the handle, which has one owner; its only thread-local is set and
// read within one call.
unsafe impl Send for Sim {}

impl Library {
    /// Loads a library that [`super::compile`] made.
    pub fn open(path: &Path) -> Result<Library, TsimError> {
        let wrong = |detail: String| TsimError::Load { path: path.to_path_buf(), detail };
        // SAFETY: the library's initialisers are Verilator's run-time and ours, which touch nothing outside it.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| wrong(e.to_string()))?;
        macro_rules! entry {
            ($name:literal) => {
                // SAFETY: harness.cpp defines the function with the type that the field of `Library` has.
                *unsafe { library.get($name) }.map_err(|e| wrong(e.to_string()))?
            };
        }
        let abi: unsafe extern "C" fn() -> u64 = entry!(b"tsim_abi\0");
        let size = |bytes: usize, shift: u32| (bytes as u64) << shift;
        let expected =
            size(size_of::<RawView>(), 32) | size(size_of::<RawEvent>(), 16) | size(size_of::<RawOptions>(), 0);
        // SAFETY: the function takes nothing and returns a number.
        let found = unsafe { abi() };
        if found != expected {
            return Err(wrong(format!("its interface is {found:#x}, expected {expected:#x}")));
        }
        Ok(Library {
            open: entry!(b"tsim_open\0"),
            close: entry!(b"tsim_close\0"),
            view: entry!(b"tsim_view\0"),
            memory: entry!(b"tsim_memory\0"),
            reset: entry!(b"tsim_reset\0"),
            clear: entry!(b"tsim_clear\0"),
            flush: entry!(b"tsim_flush\0"),
            touch: entry!(b"tsim_touch\0"),
            collect: entry!(b"tsim_collect\0"),
            access: entry!(b"tsim_access\0"),
            run: entry!(b"tsim_run\0"),
            _library: library,
        })
    }
}

impl Sim {
    /// A device that has just been reset. With `waves` the model must be one that records them.
    pub fn new(model: Arc<Model>, options: &RawOptions, waves: Option<Box<WaveSink>>) -> Sim {
        let mut waves = waves.map(Box::new);
        let (callback, user) = wave_callback(&mut waves);
        // SAFETY: the options are copied; the sink lives in a box that this `Sim` owns, so it outlives the handle.
        let handle = unsafe { (model.library.open)(options, callback, user) };
        Sim { handle, _waves: waves, model }
    }

    /// Simulates up to so many cycles; the bits of [`stop`] tell what ended it early. Clears the events.
    pub fn run(&mut self, dram: &mut Dram, cycles: u64) -> u32 {
        let (bytes, pages) = dram.parts_mut();
        let library = &self.model.library;
        // SAFETY: the memory is borrowed for the whole call and the C++ side uses it during `run` only. A `bool` is a byte.
        unsafe {
            let (len, count) = (bytes.len() as u64, pages.len() as u64);
            (library.memory)(self.handle, bytes.as_mut_ptr(), len, pages.as_ptr().cast(), count);
            (library.run)(self.handle, cycles)
        }
    }

    /// Resets the hardware, not its memory.
    pub fn reset(&mut self) {
        // SAFETY: the handle is valid until this is dropped.
        unsafe { (self.model.library.reset)(self.handle) }
    }

    /// Forgets what was counted.
    pub fn clear(&mut self) {
        // SAFETY: as for `reset`.
        unsafe { (self.model.library.clear)(self.handle) }
    }

    /// Hands out what the waveform dump has gathered.
    pub fn flush(&mut self) {
        // SAFETY: as for `reset`.
        unsafe { (self.model.library.flush)(self.handle) }
    }

    /// Restarts the watchdog.
    pub fn touch(&mut self) {
        // SAFETY: as for `reset`.
        unsafe { (self.model.library.touch)(self.handle) }
    }

    /// Chooses what is recorded.
    pub fn collect(&mut self, trace: bool, timeline: bool) {
        // SAFETY: as for `reset`.
        unsafe { (self.model.library.collect)(self.handle, trace.into(), timeline.into()) }
    }

    /// Begins a register access, which `run` carries out.
    pub fn access(&mut self, write: bool, addr: u32, value: u32) {
        // SAFETY: as for `reset`.
        unsafe { (self.model.library.access)(self.handle, write.into(), addr, value) }
    }

    /// What the C++ side shows.
    pub fn view(&self) -> &RawView {
        // SAFETY: the view lives as long as the handle, and only calls that borrow `self` mutably change it.
        unsafe { &*(self.model.library.view)(self.handle) }
    }

    /// The events since `run` was called.
    pub fn events(&self) -> &[RawEvent] {
        let view = self.view();
        // SAFETY: the pointer and the count are those of a buffer that lives as long as the handle.
        unsafe { std::slice::from_raw_parts(view.events, view.event_count as usize) }
    }
}

impl RawView {
    /// The sentence about the first broken rule.
    pub fn violation(&self) -> String {
        let text = self.violation.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // SAFETY: the handle came from `open` and is not used again. The sink still lives.
        unsafe { (self.model.library.close)(self.handle) }
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("model", &self.model.folder()).finish_non_exhaustive()
    }
}

/// The two arguments that make a harness hand its dump to a sink, which must outlive the harness.
pub(crate) fn wave_callback(sink: &mut Option<Box<Box<WaveSink>>>) -> (RawWaves, *mut c_void) {
    match sink {
        Some(sink) => (Some(receive), std::ptr::from_mut::<Box<WaveSink>>(sink.as_mut()).cast()),
        None => (None, std::ptr::null_mut()),
    }
}

/// Hands the text of a dump on.
///
/// # Safety
/// `user` is a sink that [`wave_callback`] was given, and `text` has `bytes` bytes.
unsafe extern "C" fn receive(user: *mut c_void, text: *const u8, bytes: u64) -> i64 {
    // SAFETY: see above.
    let (sink, text) =
        unsafe { (&mut *user.cast::<Box<WaveSink>>(), std::slice::from_raw_parts(text, bytes as usize)) };
    sink(text);
    bytes as i64
}
