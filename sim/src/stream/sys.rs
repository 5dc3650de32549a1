//! The border to the C++ of a block: its ports by number, and every unsafe call.

use std::ffi::c_void;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::StreamModel;
use crate::tsim::TsimError;

/// An opened library with its entry points.
pub(super) struct Library {
    open: unsafe extern "C" fn(u64) -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    set: unsafe extern "C" fn(*mut c_void, u32, *const u32),
    get: unsafe extern "C" fn(*mut c_void, u32, *mut u32),
    eval: unsafe extern "C" fn(*mut c_void),
    tick: unsafe extern "C" fn(*mut c_void) -> u32,
    // The entry points above are good as long as this lives.
    _library: libloading::Library,
}

/// One simulated block.
pub(super) struct Sim {
    handle: *mut c_void,
    model: Arc<StreamModel>,
}

// SAFETY: the C++ side keeps everything in the object behind the handle, which has one owner; its only thread-local is set and
// read within one call.
unsafe impl Send for Sim {}

impl Library {
    /// Loads a library that was built with `stream.cpp`.
    pub fn open(path: &Path) -> Result<Library, TsimError> {
        let wrong = |detail: String| TsimError::Load { path: path.to_path_buf(), detail };
        // SAFETY: the library's initialisers are Verilator's run-time and ours, which touch nothing outside it.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| wrong(e.to_string()))?;
        macro_rules! entry {
            ($name:literal) => {
                // SAFETY: stream.cpp defines the function with the type that the field of `Library` has.
                *unsafe { library.get($name) }.map_err(|e| wrong(e.to_string()))?
            };
        }
        Ok(Library {
            open: entry!(b"stream_open\0"),
            close: entry!(b"stream_close\0"),
            set: entry!(b"stream_set\0"),
            get: entry!(b"stream_get\0"),
            eval: entry!(b"stream_eval\0"),
            tick: entry!(b"stream_tick\0"),
            _library: library,
        })
    }
}

impl Sim {
    /// A block whose registers and memories hold what the seed says.
    pub fn new(model: Arc<StreamModel>, seed: u64) -> Sim {
        // SAFETY: the function takes a number and makes an object, which `drop` deletes.
        let handle = unsafe { (model.library.open)(seed) };
        Sim { handle, model }
    }

    /// Sets an input.
    ///
    /// # Panics
    /// Where the port has another number of words.
    pub fn set(&mut self, port: usize, words: &[u32]) {
        assert_eq!(words.len(), self.model.words(port), "words of port {port}");
        // SAFETY: the handle is valid until this is dropped, and the port has as many words as the slice.
        unsafe { (self.model.library.set)(self.handle, port as u32, words.as_ptr()) }
    }

    /// Reads a port of at most 64 bits.
    ///
    /// # Panics
    /// Where the port has more.
    pub fn get(&self, port: usize) -> u64 {
        let mut words = [0; 2];
        assert!(self.model.words(port) <= words.len(), "port {port} has more than 64 bits");
        // SAFETY: as for `set`.
        unsafe { (self.model.library.get)(self.handle, port as u32, words.as_mut_ptr()) };
        u64::from(words[1]) << 32 | u64::from(words[0])
    }

    /// Computes what follows from the inputs as they are.
    pub fn eval(&mut self) {
        // SAFETY: the handle is valid until this is dropped.
        unsafe { (self.model.library.eval)(self.handle) }
    }

    /// One edge of the clock; the line of the Verilog in which the block stopped itself, if it did.
    pub fn tick(&mut self) -> Option<u32> {
        // SAFETY: as for `eval`.
        let line = unsafe { (self.model.library.tick)(self.handle) };
        (line != 0).then_some(line)
    }

    /// The model.
    pub fn model(&self) -> &StreamModel {
        &self.model
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // SAFETY: the handle came from `open` and is not used again.
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
