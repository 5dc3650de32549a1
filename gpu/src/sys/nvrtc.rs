//! NVRTC: the compiler of CUDA C++ as a library.

use super::table;
use crate::error::{GpuError, Result};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

const SUCCESS: i32 = 0;
const COMPILATION: i32 = 6;

table! {
    /// The functions of NVRTC that are used. A program is an opaque pointer.
    Functions {
        nvrtcVersion(*mut c_int, *mut c_int);
        nvrtcCreateProgram(
            *mut *mut c_void,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        );
        nvrtcCompileProgram(*mut c_void, c_int, *const *const c_char);
        nvrtcDestroyProgram(*mut *mut c_void);
        nvrtcGetPTXSize(*mut c_void, *mut usize);
        nvrtcGetPTX(*mut c_void, *mut c_char);
        nvrtcGetCUBINSize(*mut c_void, *mut usize);
        nvrtcGetCUBIN(*mut c_void, *mut c_char);
        nvrtcGetProgramLogSize(*mut c_void, *mut usize);
        nvrtcGetProgramLog(*mut c_void, *mut c_char);
    }
}

/// The library.
pub(crate) struct Nvrtc {
    functions: Functions,
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
    pub(crate) fn open(folder: &Path) -> Result<Nvrtc> {
        let absent = |why: &str| {
            GpuError::Unavailable(format!(
                "NVRTC is not usable from {}: {why}; install the wheel nvidia-cuda-nvrtc 13.0.88",
                folder.display()
            ))
        };
        let folder = folder.canonicalize().map_err(|error| absent(&error.to_string()))?;
        // NVRTC looks for its builtins by search path alone, so both are opened by their absolute paths, builtins first.
        let builtins = newest(&folder, "libnvrtc-builtins.so.").ok_or_else(|| absent("it has no libnvrtc-builtins"))?;
        let compiler = newest(&folder, "libnvrtc.so.").ok_or_else(|| absent("it has no libnvrtc"))?;
        // SAFETY: the initialisers of NVIDIA's libraries have no conditions. Neither library is closed again.
        let libraries = unsafe {
            Library::open(Some(&builtins), RTLD_NOW | RTLD_GLOBAL).and_then(|builtins| {
                Library::open(Some(&compiler), RTLD_NOW | RTLD_GLOBAL).map(|compiler| (builtins, compiler))
            })
        };
        let (builtins, compiler) = libraries.map_err(|error| absent(&error.to_string()))?;
        std::mem::forget(builtins);
        let compiler: &'static libloading::Library = Box::leak(Box::new(compiler.into()));
        // SAFETY: the functions are declared as documented, and the library is leaked.
        let functions = unsafe { Functions::look_up(compiler) }.map_err(|why| absent(&why))?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to integers that live through the call.
        let status = unsafe { (functions.nvrtcVersion)(&mut major, &mut minor) };
        if status != SUCCESS || major < 12 {
            return Err(absent(&format!(
                "its version is {major}.{minor} (status {status}), and 12.0 is the oldest known"
            )));
        }
        Ok(Nvrtc { functions, version: (major, minor) })
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
        let header_names = headers.iter().map(|(name, _)| c(name)).collect::<Result<Vec<_>>>()?;
        let header_texts = headers.iter().map(|(_, text)| c(text)).collect::<Result<Vec<_>>>()?;
        let options = options.iter().map(|option| c(option)).collect::<Result<Vec<_>>>()?;
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
        let (header_names, header_texts, options) =
            (pointers(&header_names), pointers(&header_texts), pointers(&options));
        let mut program = Program { functions: &self.functions, handle: std::ptr::null_mut() };
        // SAFETY: all strings end in zero and live to the end of this function, longer than the program; the two arrays of
        // headers have the length that is given.
        let status = unsafe {
            (self.functions.nvrtcCreateProgram)(
                &mut program.handle,
                source.as_ptr(),
                title.as_ptr(),
                header_names.len() as c_int,
                header_texts.as_ptr(),
                header_names.as_ptr(),
            )
        };
        if status != SUCCESS {
            return Err(GpuError::Fault(format!("NVRTC made no program of {name} (status {status})")));
        }
        // SAFETY: the program is live, and the array has the length that is given.
        let status =
            unsafe { (self.functions.nvrtcCompileProgram)(program.handle, options.len() as c_int, options.as_ptr()) };
        let log = text_of(program.bytes(self.functions.nvrtcGetProgramLogSize, self.functions.nvrtcGetProgramLog));
        match status {
            SUCCESS => {}
            COMPILATION => return Err(GpuError::Invalid(format!("{name} does not compile:\n{}", log.trim_end()))),
            _ => {
                let text = format!("NVRTC failed on {name} (status {status}):\n{}", log.trim_end());
                return Err(GpuError::Invalid(text));
            }
        }
        let ptx = text_of(program.bytes(self.functions.nvrtcGetPTXSize, self.functions.nvrtcGetPTX));
        let cubin = program.bytes(self.functions.nvrtcGetCUBINSize, self.functions.nvrtcGetCUBIN).unwrap_or_default();
        if ptx.is_empty() || cubin.is_empty() {
            return Err(GpuError::Fault(format!("NVRTC compiled {name} but gave no PTX or no cubin")));
        }
        Ok(Output { ptx, cubin, log })
    }
}

/// A program of NVRTC, destroyed at the end.
struct Program<'a> {
    functions: &'a Functions,
    handle: *mut c_void,
}

impl Program<'_> {
    fn bytes(
        &self,
        size: unsafe extern "C" fn(*mut c_void, *mut usize) -> i32,
        get: unsafe extern "C" fn(*mut c_void, *mut c_char) -> i32,
    ) -> Option<Vec<u8>> {
        let mut length = 0;
        // SAFETY: the program is live, and the pointer is to an integer that lives through the call.
        if unsafe { size(self.handle, &mut length) } != SUCCESS {
            return None;
        }
        let mut bytes = vec![0u8; length];
        // SAFETY: the program is live, and the buffer has the size that NVRTC asked for.
        (unsafe { get(self.handle, bytes.as_mut_ptr().cast()) } == SUCCESS).then_some(bytes)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the program is live and not used again. A failure leaves nothing to do.
            let _ = unsafe { (self.functions.nvrtcDestroyProgram)(&mut self.handle) };
        }
    }
}

fn text_of(bytes: Option<Vec<u8>>) -> String {
    let bytes = bytes.unwrap_or_default();
    match CStr::from_bytes_until_nul(&bytes) {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// The file of the folder whose name is the prefix and a version number, the highest one.
fn newest(folder: &Path, prefix: &str) -> Option<std::path::PathBuf> {
    let versions = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version: Option<Vec<u32>> = name.strip_prefix(prefix)?.split('.').map(|part| part.parse().ok()).collect();
        Some((version?, entry.path()))
    });
    versions.max().map(|(_, path)| path)
}
