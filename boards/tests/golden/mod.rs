//! Texts that tests compare with; `cargo x bless` rewrites them.

use std::fs;
use std::path::Path;

/// Compares a text with the golden file of this name, or writes it with `TANDEM_BLESS=1`.
pub fn check(name: &str, text: &str) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("TANDEM_BLESS").is_ok_and(|bless| bless == "1") {
        fs::write(&place, text).unwrap();
        return;
    }
    let golden = fs::read_to_string(&place).unwrap_or_default();
    for (number, (found, wanted)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, wanted, "{name}, line {}; `cargo x bless` rewrites it", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{name} has another length; `cargo x bless` rewrites it");
}
