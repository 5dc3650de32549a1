//! Where the tools are that `cargo x setup` installs: `TANDEM_TOOLS`, else `.tools` at the root of the workspace.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tandem_gpu::{Cache, Compiler};
use tandem_sim::tsim::Tools;

/// The folder of the tools, if it holds `marker`, a path of the tool within it.
///
/// `None` when the tool is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names `tool`.
pub fn folder(tool: &str, marker: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TANDEM_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from);
    if folder.join(marker).exists() {
        return Some(folder);
    }
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    let why = format!("{tool} is not in {}; run `cargo x setup` or set TANDEM_TOOLS", folder.display());
    assert!(!required.split(',').any(|r| r == tool), "TANDEM_REQUIRE asks for {tool}, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// What builds hardware models: Verilator from [`folder`], the C++ compiler from `CXX`, else from `PATH`.
///
/// `None` as for [`folder`].
pub fn verilator() -> Option<Tools> {
    let folder = folder("verilator", "verilator/bin/verilator_bin")?;
    let (cxx, path) = (std::env::var_os("CXX"), std::env::var_os("PATH").unwrap_or_default());
    match Tools::find(Some(folder.as_os_str()), cxx.as_deref(), &path, []) {
        Ok(tools) => Some(tools),
        // The workspace itself does not build without a compiler, so this is no reason to skip.
        Err(error) => panic!("{error}"),
    }
}

/// The compiler of CUDA kernels, with a cache of what it has compiled that is kept between runs.
///
/// `None` as for [`folder`].
pub fn nvrtc() -> Option<Arc<Compiler>> {
    let libraries = folder("nvrtc", "nvidia/cu13/lib/libnvrtc.so.13")?.join("nvidia/cu13/lib");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let cache = Cache::new(target.join("tandem-kernels"));
    Some(Arc::new(Compiler::open(&libraries, Some(cache)).expect("the folder of NVRTC has a compiler that works")))
}

/// A folder for what tests build, kept between runs.
pub fn cache() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("tandem-tests")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of a member lies in the workspace")
}
