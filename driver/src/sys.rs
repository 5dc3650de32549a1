//! Memory that is shared with a device: maps of files, read and written through volatile accesses.

#![allow(unsafe_code, reason = "maps of device memory have no safe form")]

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared map of a file, at word addresses.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u32>,
    bytes: usize,
}

// SAFETY: the map belongs to this value alone, is not tied to a thread, and all accesses go through `&mut self`.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps so many bytes of a file, from an offset that is a multiple of the page size. The file must have them: a page that
    /// does not exist ends the process when it is touched.
    pub(crate) fn new(file: &File, offset: u64, bytes: usize) -> io::Result<Mapping> {
        if bytes == 0 || isize::try_from(bytes).is_err() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{bytes} bytes cannot be mapped")));
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so that nothing that exists is replaced; the result is checked below.
        let base = unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, file, offset) }?;
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("the map is at address 0"))?;
        Ok(Mapping { base, bytes })
    }

    /// The bytes that are mapped.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the word at a byte offset; 0 outside of the map or off a word's place.
    pub(crate) fn read(&mut self, offset: usize) -> u32 {
        match self.word(offset) {
            // SAFETY: `word` gives places inside the map that are aligned. A volatile read of memory that a device changes is
            // what it is for.
            Some(place) => unsafe { place.read_volatile() },
            None => 0,
        }
    }

    /// Writes the word at a byte offset; nothing outside of the map or off a word's place.
    pub(crate) fn write(&mut self, offset: usize, value: u32) {
        if let Some(place) = self.word(offset) {
            // SAFETY: as for `read`.
            unsafe { place.write_volatile(value) }
        }
    }

    fn word(&self, offset: usize) -> Option<NonNull<u32>> {
        let inside = offset.is_multiple_of(4) && offset.checked_add(4)? <= self.bytes;
        // SAFETY: the offset lies inside the one object that the map is, and `isize` holds it.
        inside.then(|| unsafe { self.base.byte_add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value mapped the range, and nothing that borrows from it is left. A map that cannot be undone stays.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
