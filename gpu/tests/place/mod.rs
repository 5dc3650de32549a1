//! Where the tools of tests are: `TANDEM_TOOLS`, else `.tools` at the root of the workspace.

use std::path::{Path, PathBuf};

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

/// A cache of compiled kernels that is kept between runs.
#[allow(dead_code, reason = "not every file of tests compiles kernels")]
pub fn cache() -> tandem_gpu::Cache {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of a member lies in the workspace");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    tandem_gpu::Cache::new(target.join("tandem-kernels"))
}

/// The first GPU. `None` where there is none; then the test says so and is done, unless `TANDEM_REQUIRE` names `gpu`.
#[allow(dead_code, reason = "not every file of tests runs kernels")]
pub fn gpu(compiler: &std::sync::Arc<tandem_gpu::Compiler>) -> Option<tandem_gpu::Device> {
    let why = match tandem_gpu::Device::cuda(0, std::sync::Arc::clone(compiler)) {
        Ok(device) => return Some(device),
        Err(error) => error,
    };
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|tool| tool == "gpu"), "TANDEM_REQUIRE asks for gpu, but {why}");
    eprintln!("skipped: {why}");
    None
}
