//! The arrows of ARCHITECTURE.md: who may import whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate may import of the workspace; `*` is anything.
const ARROWS: &[(&str, &[&str])] = &[
    ("isa", &[]),
    ("tensor", &[]),
    ("ops", &["tensor"]),
    ("driver", &["isa"]),
    ("graph", &["ops", "tensor"]),
    ("import", &["graph", "ops", "tensor"]),
    ("plan", &["graph", "ops", "tensor"]),
    ("jit", &["isa", "graph", "ops", "tensor"]),
    ("rtl", &[]),
    ("hw", &["isa", "rtl"]),
    ("boards", &["isa", "hw"]),
    ("sim", &["isa", "driver", "hw"]),
    ("ptx", &[]),
    ("gpu", &["ops", "tensor", "ptx"]),
    ("standin", &["ptx"]),
    ("runtime", &["tensor", "ops", "graph", "plan", "isa", "jit", "driver", "gpu"]),
    ("cli", &["*"]),
    ("tests", &["*"]),
    ("xtask", &["isa", "hw"]),
];

#[test]
fn no_crate_imports_what_the_architecture_forbids() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs, since it runs this test");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(name, imports)| (*name, imports.iter().copied().collect())).collect();
    let mut seen = 0;
    for package in metadata["packages"].as_array().expect("a list of packages") {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(name) = name.strip_prefix("tandem-") else { continue };
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("crate {name} has no row in ARROWS"));
        seen += 1;
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let Some(import) = dependency["name"].as_str().and_then(|n| n.strip_prefix("tandem-")) else { continue };
            let built_in = dependency["kind"].is_null();
            assert!(
                !built_in || allowed.contains("*") || allowed.contains(import),
                "{name} imports {import}, which ARCHITECTURE.md forbids"
            );
            assert!(!["cli", "tests", "xtask"].contains(&import), "{name} imports {import}, which nobody may");
        }
    }
    assert_eq!(seen, ARROWS.len(), "a row of ARROWS has no crate");
}
