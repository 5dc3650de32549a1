//! The library of a verilated block, behind safe calls.
#![allow(unsafe_code)]

use std::ffi::{OsStr, c_void};

use libloading::Library;

type New = unsafe extern "C" fn() -> *mut c_void;
type Act = unsafe extern "C" fn(*mut c_void);
type Set = unsafe extern "C" fn(*mut c_void, u32, *const u32);
type Get = unsafe extern "C" fn(*mut c_void, u32, *mut u32);

/// An instance of the model.
pub struct Model {
    bench: *mut c_void,
    delete: Act,
    eval: Act,
    set: Set,
    get: Get,
    /// 32-bit words of each port.
    words: Vec<usize>,
    // Declared last, dropped last: the functions above live in it.
    _library: Library,
}

impl Model {
    /// Opens a library built from `bench.cpp`, whose ports have these numbers of words.
    pub fn open(path: &OsStr, words: Vec<usize>) -> Result<Model, libloading::Error> {
        // SAFETY: the library was compiled by `super` from `bench.cpp`; its initialisers are the C++ runtime's, and its
        // functions have the types named here. The function pointers are kept no longer than the library.
        unsafe {
            let library = Library::new(path)?;
            let new: New = *library.get(b"bench_new\0")?;
            let delete: Act = *library.get(b"bench_delete\0")?;
            let eval: Act = *library.get(b"bench_eval\0")?;
            let set: Set = *library.get(b"bench_set\0")?;
            let get: Get = *library.get(b"bench_get\0")?;
            Ok(Model { bench: new(), delete, eval, set, get, words, _library: library })
        }
    }

    /// Computes what follows from the inputs as they are.
    pub fn eval(&mut self) {
        // SAFETY: `bench` comes from `bench_new` and is deleted by `drop` alone.
        unsafe { (self.eval)(self.bench) }
    }

    /// Sets a port.
    pub fn set(&mut self, port: usize, words: &[u32]) {
        assert_eq!(words.len(), self.words[port], "words of port {port}");
        // SAFETY: as in `eval`; the port has as many words as the slice.
        unsafe { (self.set)(self.bench, port as u32, words.as_ptr()) }
    }

    /// Reads a port.
    pub fn get(&self, port: usize) -> Vec<u32> {
        let mut words = vec![0; self.words[port]];
        // SAFETY: as in `eval`; the port has as many words as the vector.
        unsafe { (self.get)(self.bench, port as u32, words.as_mut_ptr()) }
        words
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: `bench` comes from `bench_new` and is used no more.
        unsafe { (self.delete)(self.bench) }
    }
}
