//! TFLite files: any bytes behind the file identifier give a graph that verifies, or one sentence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_import::{ImportOptions, import};

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    if file.len() >= 8 {
        file[4..8].copy_from_slice(b"TFL3");
    }
    if let Ok(graph) = import(&file, &ImportOptions::default()) {
        graph.verify().expect("an imported graph verifies");
    }
});
