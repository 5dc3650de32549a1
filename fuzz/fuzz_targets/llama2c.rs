//! Checkpoints and tokenizers of llama2.c: any bytes give a graph that verifies and tokens of the vocabulary, or one sentence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_import::llama2c::{Checkpoint, Tokenizer};

fuzz_target!(|data: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::read(data)
        && let Ok(graph) = checkpoint.step(2)
    {
        graph.verify().expect("an imported graph verifies");
    }
    if let Ok(tokenizer) = Tokenizer::read(data) {
        let tokens = tokenizer.encode("a text \u{e9}");
        assert!(tokens.iter().all(|&token| token < tokenizer.vocabulary()));
    }
});
