//! Where the tools of tests are: `TANDEM_TOOLS`, else `.tools` at the root of the workspace.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tandem_gpu::{Cache, Compiler, Device};

/// The folder of NVRTC. `None` where it is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names `nvrtc`.
pub fn nvrtc() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of a member lies in the workspace");
    let tools = std::env::var_os("TANDEM_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
    let folder = tools.join("nvidia/cu13/lib");
    if folder.join("libnvrtc.so.13").exists() {
        return Some(folder);
    }
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    let why = format!("nvrtc is not in {}; run `cargo x setup` or set TANDEM_TOOLS", folder.display());
    assert!(!required.split(',').any(|tool| tool == "nvrtc"), "TANDEM_REQUIRE asks for nvrtc, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// The compiler, with a cache of compiled kernels that is kept between runs; `None` as of [`nvrtc`].
#[allow(dead_code, reason = "not every file of tests compiles kernels")]
pub fn compiler() -> Option<Arc<Compiler>> {
    let libraries = nvrtc()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of a member lies in the workspace");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cache = Cache::new(target.join("tandem-kernels"));
    Some(Arc::new(Compiler::open(&libraries, Some(cache)).expect("the folder of NVRTC has a compiler that works")))
}

/// The first GPU. `None` where there is none; then the test says so and is done, unless `TANDEM_REQUIRE` names `gpu`.
#[allow(dead_code, reason = "not every file of tests runs kernels")]
pub fn gpu(compiler: &Arc<Compiler>) -> Option<Device> {
    let why = match Device::cuda(0, Arc::clone(compiler)) {
        Ok(device) => return Some(device),
        Err(error) => error,
    };
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|tool| tool == "gpu"), "TANDEM_REQUIRE asks for gpu, but {why}");
    eprintln!("skipped: {why}");
    None
}
