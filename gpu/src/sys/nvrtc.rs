//! NVRTC, the compiler of CUDA C++ as a library.

use crate::error::{GpuError, Result};
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};

/// The library, open and of a version that is known.
pub(crate) struct Nvrtc {
    version: (i32, i32),
}

/// What a compilation gives.
pub(crate) struct Output {
    pub(crate) ptx: String,
    pub(crate) cubin: Vec<u8>,
    pub(crate) log: String,
}

impl Nvrtc {
    /// Opens the library of a folder, which also holds the library of its builtins.
    ///
    /// A process has one NVRTC: the first that was opened.
    pub(crate) fn open(folder: &Path) -> Result<Nvrtc> {
        let absent = |why: &str| {
            GpuError::Unavailable(format!(
                "NVRTC is not usable from {}: {why}; install the wheel nvidia-cuda-nvrtc of CUDA 13.0",
                folder.display()
            ))
        };
        let folder = folder.canonicalize().map_err(|error| absent(&error.to_string()))?;
        // NVRTC looks for its builtins by search path alone, so both are opened by their absolute paths, builtins first.
        for (prefix, missing) in
            [("libnvrtc-builtins.so.", "it has no libnvrtc-builtins"), ("libnvrtc.so.", "it has no libnvrtc")]
        {
            let file = newest(&folder, prefix).ok_or_else(|| absent(missing))?;
            super::open_for_all(&file).map_err(|error| absent(&error.to_string()))?;
        }
        // SAFETY: it opens the library, whose initialisers have no conditions.
        if !unsafe { sys::is_culib_present() } {
            return Err(absent("another name of libnvrtc is looked for"));
        }
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to integers that live through the call. Every NVRTC has this function.
        let status = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
        if status != sys::nvrtcResult::NVRTC_SUCCESS || major < 12 {
            return Err(absent(&format!("its version is {major}.{minor}, and 12.0 is the oldest known")));
        }
        Ok(Nvrtc { version: (major, minor) })
    }

    /// Major and minor version.
    pub(crate) fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Compiles a source of that name, which may include the headers, given as names and texts.
    pub(crate) fn compile(
        &self,
        name: &str,
        text: &str,
        headers: &[(&str, &str)],
        options: &[String],
    ) -> Result<Output> {
        let c = |text: &str| {
            CString::new(text).map_err(|_| GpuError::Invalid(format!("{name}: a source or an option has a zero byte")))
        };
        let (source, title) = (c(text)?, c(name)?);
        let names = headers.iter().map(|(name, _)| c(name)).collect::<Result<Vec<_>>>()?;
        let texts = headers.iter().map(|(_, text)| c(text)).collect::<Result<Vec<_>>>()?;
        options.iter().try_for_each(|option| c(option).map(drop))?;
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
        let (names, texts) = (pointers(&names), pointers(&texts));
        let mut program = Program(std::ptr::null_mut());
        // SAFETY: all strings end in zero and live to the end of this function, longer than the program; the two arrays of
        // headers have the length that is given. `cudarc` creates programs without headers only.
        let status = unsafe {
            sys::nvrtcCreateProgram(
                &mut program.0,
                source.as_ptr(),
                title.as_ptr(),
                names.len() as c_int,
                texts.as_ptr(),
                names.as_ptr(),
            )
        };
        if status != sys::nvrtcResult::NVRTC_SUCCESS {
            return Err(GpuError::Fault(format!("NVRTC made no program of {name} ({status:?})")));
        }
        // SAFETY: the program is live, and NVRTC tells how long its log is.
        let (done, log) = unsafe { (result::compile_program(program.0, options), result::get_program_log(program.0)) };
        let log = text_of(&log.unwrap_or_default());
        if let Err(error) = done {
            let what = match error.0 {
                sys::nvrtcResult::NVRTC_ERROR_COMPILATION => "does not compile".to_owned(),
                status => format!("is not compiled ({status:?})"),
            };
            return Err(GpuError::Invalid(format!("{name} {what}:\n{}", log.trim_end())));
        }
        // SAFETY: the program is live and compiled.
        let ptx = unsafe { result::get_ptx(program.0) }.map(|ptx| text_of(&ptx)).unwrap_or_default();
        let cubin = program.cubin().unwrap_or_default();
        if ptx.is_empty() || cubin.is_empty() {
            return Err(GpuError::Fault(format!("NVRTC compiled {name} but gave no PTX or no cubin")));
        }
        Ok(Output { ptx, cubin, log })
    }
}

/// A program of NVRTC, destroyed at the end.
struct Program(sys::nvrtcProgram);

impl Program {
    fn cubin(&self) -> Option<Vec<u8>> {
        let mut length = 0;
        // SAFETY: the program is live, and the pointer is to an integer that lives through the call.
        unsafe { sys::nvrtcGetCUBINSize(self.0, &mut length) }.result().ok()?;
        let mut bytes = vec![0u8; length];
        // SAFETY: the program is live, and the buffer has the size that NVRTC asked for.
        unsafe { sys::nvrtcGetCUBIN(self.0, bytes.as_mut_ptr().cast()) }.result().ok()?;
        Some(bytes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the program is live and not used again. A failure leaves nothing to do.
            let _ = unsafe { result::destroy_program(self.0) };
        }
    }
}

/// The text up to its closing zero.
fn text_of(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&c| c as u8).collect();
    match CStr::from_bytes_until_nul(&bytes) {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// The file of the folder whose name is the prefix and a version number, the highest one.
fn newest(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version: Option<Vec<u32>> = name.strip_prefix(prefix)?.split('.').map(|part| part.parse().ok()).collect();
        Some((version?, entry.path()))
    });
    versions.max().map(|(_, path)| path)
}
