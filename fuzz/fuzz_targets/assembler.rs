//! Assembly text: what parses, prints to what parses to the same program.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(program) = tandem_isa::parse(text) {
        let again = tandem_isa::parse(&tandem_isa::to_text(&program)).expect("a printed program parses");
        assert_eq!(again, program);
    }
});
