//! Where tools, libraries and caches are: the hardware tools, NVRTC, test models, and the folders of what is built from them. The one
//! place that reads these variables.

use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};
use tandem_boards::BoardError;
use tandem_sim::netlist::Wheels;
use tandem_sim::tsim::{Tools, TsimError};

/// Verilator and a C++ compiler: from `TANDEM_TOOLS` and `CXX`, else from a folder `.tools` above the program or above the
/// current folder, and from `PATH`.
///
/// # Errors
/// One sentence naming what is missing and what to do.
pub fn find() -> Result<Tools, TsimError> {
    let (folder, cxx) = (env::var_os("TANDEM_TOOLS"), env::var_os("CXX"));
    let path = env::var_os("PATH").unwrap_or_default();
    let starts = starts();
    Tools::find(folder.as_deref(), cxx.as_deref(), &path, starts.iter().map(PathBuf::as_path))
}

/// The folder that `cargo x setup` made, whatever it holds.
pub fn folder() -> Option<PathBuf> {
    let named = env::var_os("TANDEM_TOOLS").map(PathBuf::from);
    named.or_else(|| Tools::folder_above(starts().iter().map(PathBuf::as_path)))
}

/// The C++ compiler.
///
/// # Errors
/// One sentence saying what to do where there is none.
pub fn compiler() -> Result<PathBuf, TsimError> {
    match env::var_os("CXX").filter(|cxx| !cxx.is_empty()) {
        Some(cxx) => Ok(PathBuf::from(cxx)),
        None => Tools::compiler_in(&env::var_os("PATH").unwrap_or_default()),
    }
}

/// Verilator's executable in a folder of tools.
///
/// # Errors
/// One sentence saying what to do where there is none.
pub fn verilator(folder: &Path) -> Result<PathBuf, TsimError> {
    Tools::in_folder(folder, PathBuf::new()).map(|tools| tools.verilator())
}

/// The programs that make bitstreams: from `TANDEM_TOOLS`, else from a folder `.tools` as for [`find`].
///
/// # Errors
/// One sentence saying what to do where there is no such folder.
pub fn flow() -> Result<tandem_boards::Tools, BoardError> {
    let missing = || BoardError::MissingTool {
        tool: "the folder of the hardware tools".to_owned(),
        place: "the folders above the program and above the current one".to_owned(),
    };
    Ok(tandem_boards::Tools::new(folder().ok_or_else(missing)?, model_cache().join("yowasp")))
}

/// The programs that make netlists and read them back.
///
/// # Errors
/// One sentence saying what to do where there are none.
pub fn wheels() -> Result<Wheels> {
    let folder = folder().context("the tools are missing: run `cargo x setup`, or set TANDEM_TOOLS")?;
    Ok(Wheels::in_folder(&folder, &model_cache().join("yowasp"))?)
}

/// The folder of NVRTC's libraries: the wheel's in the folder of tools, else the first of the loader's folders that has them. Where
/// `TANDEM_TOOLS` names no other place, a CUDA installation too: that of `CUDA_HOME` or `CUDA_PATH`, else of `/usr/local/cuda`.
pub fn nvrtc() -> Option<PathBuf> {
    let wheel = folder().map(|folder| folder.join("nvidia").join("cu13").join("lib"));
    let loader = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let loader = env::split_paths(&loader).filter(|folder| !folder.as_os_str().is_empty());
    let installed = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let installed = installed.chain([PathBuf::from("/usr/local/cuda")]).map(|cuda| cuda.join("lib64"));
    let installed = installed.filter(|_| env::var_os("TANDEM_TOOLS").is_none());
    let has = |folder: &Path| ["libnvrtc.so.13", "libnvrtc.so.12"].iter().any(|name| folder.join(name).is_file());
    wheel.into_iter().chain(loader).chain(installed).find(|folder| has(folder))
}

/// The folder of the real models that tests and benchmarks use: what `TANDEM_MODELS` names, else `shared/models` beside the
/// checkout, which is the folder above the current one that has a `Cargo.lock`.
pub fn models() -> Option<PathBuf> {
    let named = env::var_os("TANDEM_MODELS").map(PathBuf::from);
    let beside = || {
        let current = env::current_dir().ok()?;
        let checkout = current.ancestors().find(|folder| folder.join("Cargo.lock").is_file())?;
        Some(checkout.parent()?.join("shared").join("models"))
    };
    named.or_else(beside).filter(|folder| folder.is_dir())
}

/// The folder of what the steps to a bitstream made.
pub fn flow_cache() -> PathBuf {
    model_cache().join("flow")
}

/// A program on `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where the search for the folder of tools begins.
fn starts() -> Vec<PathBuf> {
    env::current_exe().into_iter().chain(env::current_dir()).collect()
}

/// The folder of what is built and kept: simulators of the hardware, bitstreams, compiled kernels. `TANDEM_CACHE`, else `tandem` in
/// the user's cache folder, else in the system's folder for temporary files.
pub fn model_cache() -> PathBuf {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("TANDEM_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").map(|folder| folder.join("tandem")))
        .or_else(|| of("HOME").map(|home| home.join(".cache").join("tandem")))
        .unwrap_or_else(|| env::temp_dir().join("tandem"))
}
