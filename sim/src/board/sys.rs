//! The border to the C++ of a board: the structs that both sides share, and every unsafe call.
//!
//! The structs repeat those of `board.cpp` field by field; their sizes are compared when a library is opened.

use std::ffi::c_void;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::{BoardModel, Chip, ChipPins};
use crate::tsim::TsimError;
use crate::tsim::sys::{RawWaves, WaveSink, wave_callback};

/// Why `run` came back before its cycles were used up.
pub(super) mod stop {
    /// A byte has come from the board.
    pub const RECEIVED: u32 = 2;
    /// Everything that waited for the line to the board has crossed it.
    pub const SENT: u32 = 4;
    /// A light has changed.
    pub const LEDS: u32 = 8;
}

/// How a board is simulated.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RawBoardOptions {
    pub seed: u64,
    pub clock_hz: u64,
    pub baud: u64,
    pub scramble: u8,
}

/// What is to be seen of the board.
#[repr(C)]
pub(super) struct RawBoardView {
    pub now: u64,
    pub leds: u64,
    pub received: u64,
    pub misframed: u64,
    pub sent: u64,
    bytes: *const u8,
    byte_count: u64,
    pub sending: u64,
    pub receiving: u8,
    violation: [u8; 256],
}

type RawChip = Option<unsafe extern "C" fn(user: *mut c_void, pins: u32, data: u32) -> u64>;

/// An opened library with its entry points.
pub(super) struct Library {
    open: unsafe extern "C" fn(*const RawBoardOptions, RawChip, *mut c_void, RawWaves, *mut c_void) -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    view: unsafe extern "C" fn(*mut c_void) -> *const RawBoardView,
    reset: unsafe extern "C" fn(*mut c_void),
    flush: unsafe extern "C" fn(*mut c_void),
    send: unsafe extern "C" fn(*mut c_void, *const u8, u64, u32),
    run: unsafe extern "C" fn(*mut c_void, u64, u32) -> u32,
    has_chip: bool,
    // The entry points above are good as long as this lives.
    _library: libloading::Library,
}

/// A memory chip and the first broken rule that it has found.
struct Socket {
    chip: Box<dyn Chip>,
    violation: Option<String>,
}

/// One simulated board.
pub(super) struct Sim {
    handle: *mut c_void,
    // The C++ side holds pointers to these two. The socket is only touched through the pointer while a board runs.
    socket: Option<*mut Socket>,
    _waves: Option<Box<Box<WaveSink>>>,
    model: Arc<BoardModel>,
}

// SAFETY: the C++ side keeps everything in the object behind the handle, which has one owner; its only thread-local is set and
// read within one call. The chip and the sink are `Send`.
unsafe impl Send for Sim {}

impl Library {
    /// Loads a library that was built with `board.cpp`.
    pub fn open(path: &Path) -> Result<Library, TsimError> {
        let wrong = |detail: String| TsimError::Load { path: path.to_path_buf(), detail };
        // SAFETY: the library's initialisers are Verilator's run-time and ours, which touch nothing outside it.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| wrong(e.to_string()))?;
        macro_rules! entry {
            ($name:literal) => {
                // SAFETY: board.cpp defines the function with the type that the binding or the field of `Library` has.
                *unsafe { library.get($name) }.map_err(|e| wrong(e.to_string()))?
            };
        }
        let abi: unsafe extern "C" fn() -> u64 = entry!(b"board_abi\0");
        let expected = (size_of::<RawBoardView>() as u64) << 32 | size_of::<RawBoardOptions>() as u64;
        // SAFETY: the function takes nothing and returns a number.
        let found = unsafe { abi() };
        if found != expected {
            return Err(wrong(format!("its interface is {found:#x}, expected {expected:#x}")));
        }
        let has_chip: unsafe extern "C" fn() -> u8 = entry!(b"board_has_chip\0");
        Ok(Library {
            open: entry!(b"board_open\0"),
            close: entry!(b"board_close\0"),
            view: entry!(b"board_view\0"),
            reset: entry!(b"board_reset\0"),
            flush: entry!(b"board_flush\0"),
            send: entry!(b"board_send\0"),
            run: entry!(b"board_run\0"),
            // SAFETY: the function takes nothing and returns a number.
            has_chip: unsafe { has_chip() } != 0,
            _library: library,
        })
    }

    /// Whether the board has pins for a memory chip.
    pub fn has_chip(&self) -> bool {
        self.has_chip
    }
}

impl Sim {
    /// A board that has just been reset.
    pub fn new(
        model: Arc<BoardModel>,
        options: &RawBoardOptions,
        chip: Option<Box<dyn Chip>>,
        waves: Option<Box<WaveSink>>,
    ) -> Sim {
        let mut waves = waves.map(Box::new);
        let (wave, wave_user) = wave_callback(&mut waves);
        let socket = chip.map(|chip| Box::into_raw(Box::new(Socket { chip, violation: None })));
        let (callback, user): (RawChip, *mut c_void) = match socket {
            Some(socket) => (Some(edge), socket.cast()),
            None => (None, std::ptr::null_mut()),
        };
        // SAFETY: the options are copied; this `Sim` keeps what the two pointers point to until the handle is closed.
        let handle = unsafe { (model.library.open)(options, callback, user, wave, wave_user) };
        Sim { handle, socket, _waves: waves, model }
    }

    /// Simulates up to so many cycles; the bits of [`stop`] tell what ended it early.
    pub fn run(&mut self, cycles: u64, stops: u32) -> u32 {
        // SAFETY: the handle is valid until this is dropped; nothing else touches the socket meanwhile.
        unsafe { (self.model.library.run)(self.handle, cycles, stops) }
    }

    /// Puts bytes on the line to the board, so many bit times after those that wait already.
    pub fn send(&mut self, bytes: &[u8], idle_bits: u32) {
        // SAFETY: the bytes are copied.
        unsafe { (self.model.library.send)(self.handle, bytes.as_ptr(), bytes.len() as u64, idle_bits) }
    }

    /// Resets the board, not its memory.
    pub fn reset(&mut self) {
        // SAFETY: as for `run`.
        unsafe { (self.model.library.reset)(self.handle) }
    }

    /// Hands out what the waveform dump has gathered.
    pub fn flush(&mut self) {
        // SAFETY: the handle is valid until this is dropped.
        unsafe { (self.model.library.flush)(self.handle) }
    }

    /// What the C++ side shows.
    pub fn view(&self) -> &RawBoardView {
        // SAFETY: the view lives as long as the handle, and only calls that borrow `self` mutably change it.
        unsafe { &*(self.model.library.view)(self.handle) }
    }

    /// The bytes that came in the last `run`.
    pub fn bytes(&self) -> &[u8] {
        let view = self.view();
        if view.byte_count == 0 {
            return &[];
        }
        // SAFETY: the pointer and the count are those of a buffer that lives as long as the handle and changes in `run` only.
        unsafe { std::slice::from_raw_parts(view.bytes, view.byte_count as usize) }
    }

    /// The sentence about the first broken rule.
    pub fn violation(&self) -> Option<String> {
        let text = self.view().violation.split(|&byte| byte == 0).next().unwrap_or_default();
        if !text.is_empty() {
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        // SAFETY: the socket lives until this is dropped, and no board runs while this is borrowed.
        self.socket.and_then(|socket| unsafe { &*socket }.violation.clone())
    }

    /// The model.
    pub fn model(&self) -> &Arc<BoardModel> {
        &self.model
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // SAFETY: the handle came from `open` and is not used again. What it points to still lives.
        unsafe { (self.model.library.close)(self.handle) }
        if let Some(socket) = self.socket {
            // SAFETY: the pointer came from a box, and nobody uses it any more.
            drop(unsafe { Box::from_raw(socket) });
        }
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

/// One edge of the chip's clock.
///
/// # Safety
/// `user` is the socket that [`Sim::new`] gave.
unsafe extern "C" fn edge(user: *mut c_void, pins: u32, data: u32) -> u64 {
    // SAFETY: see above; the board that runs is the only one that uses it.
    let socket = unsafe { &mut *user.cast::<Socket>() };
    match socket.chip.edge(&ChipPins::unpack(pins, data)) {
        Ok(driven) => u64::from(driven),
        Err(violation) => {
            socket.violation.get_or_insert(violation);
            1 << 32
        }
    }
}
