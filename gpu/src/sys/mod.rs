//! The foreign interfaces, through `cudarc`: NVRTC and the CUDA driver, opened at run time. All unsafe code of the crate is here.
//!
//! A call into a library that is absent panics in `cudarc`, so that its presence and version are asked for before anything else.

pub(crate) mod driver;
pub(crate) mod nvrtc;

use std::path::Path;

/// Opens a library for all that look for its name or its functions from now on, until the process ends.
fn open_for_all(file: &Path) -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the initialisers of NVIDIA's libraries have no conditions.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}
