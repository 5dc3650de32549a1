//! The language model of the data folder: its tokenizer, and the text that the reference program makes of it.

mod data;

use data::{Models, models};
use tandem_graph::Interpreter;
use tandem_import::llama2c::{BEGIN, Checkpoint, State, Tokenizer};
use tandem_tensor::Tensor;

fn expected(models: &Models) -> String {
    String::from_utf8(models.read("llm/expected_greedy_256.txt")).unwrap()
}

fn tokenizer(models: &Models) -> Tokenizer {
    Tokenizer::read(&models.read("llm/tok512.bin")).unwrap()
}

#[test]
fn the_expected_text_comes_back_from_its_tokens() {
    let Some(models) = models() else { return };
    let (tokenizer, text) = (tokenizer(&models), expected(&models));
    for text in [text.as_str(), " two  spaces", "é€😀\u{1}", ""] {
        let tokens = tokenizer.encode(text);
        let bytes: Vec<u8> =
            tokens.windows(2).flat_map(|pair| tokenizer.decode(pair[0], pair[1]).into_owned()).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
    let tokens = tokenizer.encode(&text).len();
    assert!(tokens < 270, "{tokens} tokens: pieces do not join");
}

#[test]
fn the_interpreter_gives_the_text_of_the_reference_program() {
    let Some(models) = models() else { return };
    let (bytes, tokenizer) = (models.read("llm/stories260K.bin"), tokenizer(&models));
    let checkpoint = Checkpoint::read(&bytes).unwrap();
    let graph = checkpoint.step(256).unwrap();
    let interpreter = Interpreter::new(&graph);
    let mut state = State::new(checkpoint.config(), 256);
    let (mut token, mut text) = (BEGIN, Vec::new());
    while let Some(inputs) = state.inputs(token) {
        let logits = state.accept(interpreter.run(&inputs).unwrap()).unwrap();
        let next = Tensor::from_vec([logits.len()], logits).unwrap().argmax().unwrap();
        text.extend_from_slice(&tokenizer.decode(token, next));
        token = next;
    }
    assert_eq!(String::from_utf8(text).unwrap(), expected(&models).trim_end_matches('\n'));
}
