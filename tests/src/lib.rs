//! Conformance, file, property, end-to-end and command-line tests over all crates.
