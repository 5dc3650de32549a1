//! Instruction words: what decodes, encodes to the same word, under any configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_isa::{HwConfig, Insn};

fuzz_target!(|data: (u64, u128)| {
    let config = HwConfig::sample(data.0);
    if let Ok(insn) = Insn::decode(data.1, &config) {
        assert_eq!(insn.encode(&config).expect("a decoded instruction encodes"), data.1);
    }
});
