//! The tools that build hardware models, for tests: found, or a reason to skip.

use std::path::{Path, PathBuf};
use tandem_sim::tsim::Tools;

/// Verilator and a C++ compiler: from `TANDEM_TOOLS` and `CXX`, else from `.tools` of the checkout and from `PATH`.
///
/// `None` when one is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names `verilator`.
pub fn verilator() -> Option<Tools> {
    let (folder, cxx) = (std::env::var_os("TANDEM_TOOLS"), std::env::var_os("CXX"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match Tools::find(folder.as_deref(), cxx.as_deref(), &path, [here]) {
        Ok(tools) => Some(tools),
        Err(error) => {
            let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|r| r == "verilator"), "TANDEM_REQUIRE asks for verilator, but {error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Where tests keep the models they build: `TANDEM_CACHE`, else `models` in the target folder.
pub fn model_cache() -> PathBuf {
    if let Some(folder) = std::env::var_os("TANDEM_CACHE") {
        return folder.into();
    }
    // A test lies in `target/PROFILE/deps`.
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors().nth(3).unwrap_or(Path::new(".")).join("models")
}
