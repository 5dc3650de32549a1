//! The checked-in manual is the one that the table gives.

use tandem_isa::{HwConfig, manual};

#[test]
fn the_manual_in_docs_is_current() {
    let config = HwConfig::preset("vta").unwrap();
    let current = manual(&config) == include_str!("../../docs/isa.md");
    assert!(current, "docs/isa.md differs from the instruction table: run `cargo x gen`");
}
