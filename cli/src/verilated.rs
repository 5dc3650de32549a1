//! Models of the hardware for the verbs that simulate it, with a bar while one is built.

use crate::{stdout, tools};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::time::Duration;
use tandem_hw::Module;
use tandem_isa::HwConfig;
use tandem_sim::stream::StreamModel;
use tandem_sim::tsim::{BuildStep, Model, Variant};

/// The model of a configuration, built where it is not in the cache. `verilog` is the design where it is not the plain one.
///
/// # Errors
/// One sentence: the tool that is missing and how to get it, or where the log of a failed build is.
pub fn model(config: &HwConfig, verilog: Option<&str>, variant: Variant) -> Result<Arc<Model>> {
    let (tools, cache) = (tools::find()?, tools::model_cache());
    with_bar(|progress| {
        let built = match verilog {
            Some(verilog) => Model::build_from(verilog, config, &tools, &cache, variant, progress),
            None => Model::build(config, &tools, &cache, variant, progress),
        };
        built.context("the model of the hardware")
    })
}

/// The model of a block between streams, built where it is not in the cache.
///
/// # Errors
/// As [`model`].
pub fn stream(block: &Module) -> Result<Arc<StreamModel>> {
    let (tools, cache) = (tools::find()?, tools::model_cache());
    with_bar(|progress| StreamModel::build(block, &tools, &cache, progress).context("the model of the block"))
}

/// Builds a model with a bar that tells how far it is.
///
/// # Errors
/// Those of `build`.
pub fn with_bar<T>(build: impl FnOnce(&mut dyn FnMut(BuildStep)) -> Result<T>) -> Result<T> {
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
    let built = build(&mut progress);
    bar.finish_and_clear();
    built
}
