//! Conformance, file, property, end-to-end and command-line tests over all crates.
//!
//! This library holds what the tests share: where the real models and the tools are, small layers at random, and a bench for
//! hardware blocks.
#![deny(unsafe_code)]

pub mod block;
pub mod expression;
pub mod gates;
pub mod layer;
pub mod prediction;
pub mod proof;
pub mod random;
pub mod sdram;
pub mod synthesis;
pub mod tool;

use std::path::PathBuf;

/// The folder of the real models: `TANDEM_MODELS`, else `shared/models` beside the checkout.
///
/// `None` when it is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names `models`.
pub fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("TANDEM_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/models")), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|r| r == "models"),
        "TANDEM_REQUIRE asks for models, but there is no folder {}; set TANDEM_MODELS",
        folder.display()
    );
    eprintln!("skipped: the real models are not in {}; set TANDEM_MODELS", folder.display());
    None
}
