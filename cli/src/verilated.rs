//! Models of the hardware for the verbs that simulate it: where the tools and the cache are, and a bar while a model is built.

use crate::stdout;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tandem_isa::HwConfig;
use tandem_sim::tsim::{BuildStep, Model, Tools, Variant};

/// The model of a configuration, built where it is not in the cache. `verilog` is the design where it is not the plain one.
///
/// # Errors
/// One sentence: the tool that is missing and how to get it, or where the log of a failed build is.
pub fn model(config: &HwConfig, verilog: Option<&str>, variant: Variant) -> Result<Arc<Model>> {
    let tools = tools()?;
    let cache = cache();
    let bar = ProgressBar::new(1);
    match ProgressStyle::with_template("building the model: {msg} {wide_bar} {elapsed}") {
        Ok(style) => bar.set_style(style),
        Err(e) => stdout::complain(&format!("note: no progress bar ({e})")),
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut progress = |step| match step {
        BuildStep::Verilate => bar.set_message("translating"),
        BuildStep::Compile { done, total } => {
            bar.set_message("compiling");
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
        BuildStep::Link => bar.set_message("linking"),
        BuildStep::Ready => {}
    };
    let built = match verilog {
        Some(verilog) => Model::build_from(verilog, config, &tools, &cache, variant, &mut progress),
        None => Model::build(config, &tools, &cache, variant, &mut progress),
    };
    bar.finish_and_clear();
    built.context("the model of the hardware")
}

/// Verilator and a C++ compiler: what the environment names, else what `cargo x setup` has installed for the checkout around the
/// current folder or around this binary.
fn tools() -> Result<Tools> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let starts: Vec<PathBuf> = [std::env::current_dir(), std::env::current_exe()].into_iter().flatten().collect();
    let (folder, cxx, path) = (variable("TANDEM_TOOLS"), variable("CXX"), variable("PATH").unwrap_or_default());
    Ok(Tools::find(folder.as_deref(), cxx.as_deref(), &path, starts.iter().map(PathBuf::as_path))?)
}

/// Where built models are kept: `TANDEM_CACHE`, else `tandem/models` in the user's folder for caches.
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let folder = || user().unwrap_or_else(std::env::temp_dir).join("tandem");
    variable("TANDEM_CACHE").unwrap_or_else(folder).join(Path::new("models"))
}
