//! ONNX files: any bytes give a graph that verifies, or one sentence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_import::{ImportOptions, import};

fuzz_target!(|data: &[u8]| {
    // A file with TFLite's identifier or of text goes to another importer.
    if data.get(4..8) == Some(b"TFL3") {
        return;
    }
    if let Ok(graph) = import(data, &ImportOptions::default()) {
        graph.verify().expect("an imported graph verifies");
    }
});
