use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tandem_graph::Interpreter;

/// Numbers without a pattern, in -1..1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    fn list(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// The weights of a model as lists, in the order of the file.
struct Model {
    config: Config,
    embedding: Vec<f32>,
    /// By kind, and then by layer: norm, query, key, value, output, norm, gate, down, up.
    layers: [Vec<Vec<f32>>; 9],
    norm: Vec<f32>,
    classifier: Option<Vec<f32>>,
}

impl Model {
    fn new(heads: usize, kv_heads: usize, layers: usize, shared_classifier: bool) -> Model {
        let (head, hidden, vocabulary, context) = (4, 10, 13, 6);
        let dim = heads * head;
        let config = Config { dim, hidden, layers, heads, kv_heads, vocabulary, context, shared_classifier };
        let mut noise = Noise(7 + heads as u32);
        let kv = config.kv_dim();
        let sizes = [dim, dim * dim, kv * dim, kv * dim, dim * dim, dim, hidden * dim, dim * hidden, hidden * dim];
        let embedding = noise.list(vocabulary * dim);
        let weights = sizes.map(|size| (0..layers).map(|_| noise.list(size)).collect());
        let norm = noise.list(dim);
        let classifier = (!shared_classifier).then(|| noise.list(vocabulary * dim));
        Model { config, embedding, layers: weights, norm, classifier }
    }

    fn bytes(&self) -> Vec<u8> {
        let c = &self.config;
        let sign = if c.shared_classifier { 1 } else { -1 };
        let numbers = [c.dim, c.hidden, c.layers, c.heads, c.kv_heads, c.vocabulary, c.context].map(|n| n as i32);
        let mut bytes: Vec<u8> =
            numbers.iter().enumerate().flat_map(|(i, &n)| (if i == 5 { sign * n } else { n }).to_le_bytes()).collect();
        // The tables of rotations are not read: numbers that would be noticed.
        let rotations = vec![1e9; c.context * c.head()];
        let lists =
            std::iter::once(&self.embedding).chain(self.layers.iter().flatten()).chain([&self.norm, &rotations]);
        bytes.extend(lists.chain(&self.classifier).flatten().flat_map(|w| w.to_le_bytes()));
        bytes
    }

    /// The logits behind every token, by the formulas of a transformer.
    fn logits(&self, tokens: &[usize]) -> Vec<Vec<f64>> {
        let c = &self.config;
        let (dim, head, group) = (c.dim, c.head(), c.heads / c.kv_heads);
        let row = |list: &[f32], i: usize, n: usize| {
            list[i * n..(i + 1) * n].iter().map(|&w| f64::from(w)).collect::<Vec<_>>()
        };
        let product = |w: &[f32], x: &[f64]| -> Vec<f64> {
            (0..w.len() / x.len()).map(|i| row(w, i, x.len()).iter().zip(x).map(|(w, x)| w * x).sum()).collect()
        };
        let norm = |w: &[f32], x: &[f64]| -> Vec<f64> {
            let square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
            x.iter().zip(w).map(|(x, &w)| x / (square + 1e-5).sqrt() * f64::from(w)).collect()
        };
        let rotate = |x: &mut [f64], position: usize| {
            for (i, pair) in x.chunks_exact_mut(2).enumerate() {
                let angle = position as f64 / 10_000f64.powf(((2 * i) % head) as f64 / head as f64);
                let (a, b) = (pair[0], pair[1]);
                pair[0] = a * angle.cos() - b * angle.sin();
                pair[1] = a * angle.sin() + b * angle.cos();
            }
        };
        let mut past: Vec<Vec<[Vec<f64>; 2]>> = vec![Vec::new(); c.layers];
        let mut all = Vec::new();
        for (position, &token) in tokens.iter().enumerate() {
            let mut x = row(&self.embedding, token, dim);
            for (layer, past) in past.iter_mut().enumerate() {
                let w = |kind: usize| &self.layers[kind][layer][..];
                let normal = norm(w(0), &x);
                let (mut query, mut key) = (product(w(1), &normal), product(w(2), &normal));
                rotate(&mut query, position);
                rotate(&mut key, position);
                past.push([key, product(w(3), &normal)]);
                let mut sums = vec![0.0; dim];
                for h in 0..c.heads {
                    let at = h / group * head;
                    let score = |[key, _]: &[Vec<f64>; 2]| {
                        let dot: f64 = (0..head).map(|i| query[h * head + i] * key[at + i]).sum();
                        (dot / (head as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = past.iter().map(score).collect();
                    let total: f64 = scores.iter().sum();
                    for (score, [_, value]) in scores.iter().zip(past.iter()) {
                        (0..head).for_each(|i| sums[h * head + i] += score / total * value[at + i]);
                    }
                }
                let output = product(w(4), &sums);
                x.iter_mut().zip(output).for_each(|(x, y)| *x += y);
                let normal = norm(w(5), &x);
                let gate = product(w(6), &normal).into_iter().map(|g| g / (1.0 + (-g).exp()));
                let gated: Vec<f64> = gate.zip(product(w(8), &normal)).map(|(g, u)| g * u).collect();
                let down = product(w(7), &gated);
                x.iter_mut().zip(down).for_each(|(x, y)| *x += y);
            }
            let x = norm(&self.norm, &x);
            all.push(product(self.classifier.as_ref().unwrap_or(&self.embedding), &x));
        }
        all
    }
}

/// The logits of a graph, which begins with a past of this number.
fn run(bytes: &[u8], context: usize, tokens: &[usize], past: f32) -> Vec<Vec<f32>> {
    let checkpoint = Checkpoint::read(bytes).unwrap();
    let graph = checkpoint.step(context).unwrap();
    let interpreter = Interpreter::new(&graph);
    let mut state = State::new(checkpoint.config(), context);
    let step = |&token: &usize| {
        let mut inputs = state.inputs(token).unwrap();
        for input in &mut inputs[2..] {
            let width = input.shape()[1];
            input.as_slice_mut::<f32>().unwrap()[state.position() * width..].fill(past);
        }
        state.accept(interpreter.run(&inputs).unwrap()).unwrap()
    };
    tokens.iter().map(step).collect()
}

#[test]
fn every_step_gives_the_logits_of_a_direct_evaluation() {
    for (heads, kv_heads, layers, shared) in [(1, 1, 1, true), (4, 2, 2, true), (4, 1, 1, false), (3, 3, 2, false)] {
        let model = Model::new(heads, kv_heads, layers, shared);
        let tokens = [3, 12, 0, 3, 5, 9];
        let expected = model.logits(&tokens);
        for context in [6, 4, 2] {
            let found = run(&model.bytes(), context, &tokens[..context], 0.0);
            for (position, (found, expected)) in found.iter().zip(&expected).enumerate() {
                for (&a, &b) in found.iter().zip(expected) {
                    let close = (f64::from(a) - b).abs() <= 1e-4 * (1.0 + b.abs());
                    assert!(close, "{heads}/{kv_heads} heads, position {position} of {context}: {a} for {b}");
                }
            }
        }
    }
}

#[test]
fn what_lies_behind_the_position_changes_no_bit() {
    let bytes = Model::new(4, 2, 2, false).bytes();
    let tokens = [1, 2, 3, 4, 5, 6];
    assert_eq!(run(&bytes, 6, &tokens, 0.0), run(&bytes, 6, &tokens, -1e6));
}

#[test]
fn a_full_context_takes_no_further_token() {
    let bytes = Model::new(1, 1, 1, true).bytes();
    let checkpoint = Checkpoint::read(&bytes).unwrap();
    let graph = checkpoint.step(2).unwrap();
    let mut state = State::new(checkpoint.config(), 2);
    for _ in 0..2 {
        let outputs = Interpreter::new(&graph).run(&state.inputs(1).unwrap()).unwrap();
        assert!(state.accept(outputs[1..].to_vec()).is_err());
        state.accept(outputs).unwrap();
    }
    assert!(state.inputs(1).is_none());
}

#[test]
fn a_checkpoint_is_recognised_among_models_and_the_context_is_a_dimension() {
    let bytes = Model::new(4, 2, 1, true).bytes();
    let dims = BTreeMap::from([(CONTEXT.to_owned(), 3)]);
    let graph = crate::import(&bytes, &ImportOptions { dims, ..ImportOptions::default() }).unwrap();
    let keys = graph.find("layer0.keys").unwrap();
    assert_eq!(graph.ty(keys).to_string(), "f32[2,8]");
    let whole = crate::import(&bytes, &ImportOptions::default()).unwrap();
    assert_eq!(whole.ty(whole.find("layer0.keys").unwrap()).to_string(), "f32[5,8]");
    assert_eq!(tandem_graph::parse(&tandem_graph::print(&whole)).unwrap(), whole);
}

#[test]
fn a_file_of_another_length_is_refused_with_what_is_missing() {
    let bytes = Model::new(4, 2, 1, false).bytes();
    let refusal = |bytes: &[u8]| Checkpoint::read(bytes).unwrap_err().to_string();
    let text = refusal(&bytes[..bytes.len() - 1]);
    assert!(text.contains("but the classifier needs more") && text.contains("truncated"), "{text}");
    assert!(refusal(&bytes[..27]).contains("the header of a llama2.c checkpoint needs more"));
    assert!(refusal(&[&bytes[..], &[0]].concat()).contains("version 0"));
}

#[test]
fn a_header_that_no_model_has_is_refused_before_anything_is_allocated() {
    let with = |place: usize, number: i32| {
        let mut bytes = Model::new(4, 2, 1, false).bytes();
        bytes[4 * place..][..4].copy_from_slice(&number.to_le_bytes());
        Checkpoint::read(&bytes).unwrap_err().to_string()
    };
    assert!(with(0, 0x616b_3432).contains("later version"));
    assert!(with(0, 18).contains("even number of elements"));
    assert!(with(2, 0).contains("n_layers is 0"));
    assert!(with(4, 3).contains("share 3 heads"));
    assert!(with(1, i32::MIN).contains("hidden_dim is -2147483648"));
    assert!(with(2, i32::MAX).contains("more than the 16384"));
    for place in [0, 1, 5, 6] {
        assert!(with(place, i32::MAX - 7).contains("needs more"), "{place}");
    }
}

#[test]
fn a_weight_that_is_no_number_is_refused_with_its_place() {
    let mut bytes = Model::new(4, 2, 1, false).bytes();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let text = import(&bytes, &ImportOptions::default()).unwrap_err().to_string();
    assert!(text.contains(&format!("byte {}", end - 4)) && text.contains("the classifier is NaN"), "{text}");
    let checkpoint = Checkpoint::read(&bytes).unwrap();
    assert!(checkpoint.step(1).is_err() && checkpoint.step(7).is_err());
}

/// Every byte, and then these tokens with scores that prefer the later ones.
fn vocabulary(more: &[(&str, f32)]) -> Vec<u8> {
    let control = ["<unk>", "\n<s>\n", "\n</s>\n"].map(str::to_owned);
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let own = more.iter().map(|&(text, score)| (text.to_owned(), score));
    let all = control.into_iter().chain(bytes).map(|text| (text, 0.0)).chain(own);
    let mut file = 16i32.to_le_bytes().to_vec();
    for (text, score) in all {
        file.extend(score.to_le_bytes());
        file.extend((text.len() as i32).to_le_bytes());
        file.extend(text.into_bytes());
    }
    file
}

fn text(tokenizer: &Tokenizer, tokens: &[usize]) -> String {
    let bytes: Vec<u8> = tokens.windows(2).flat_map(|pair| tokenizer.decode(pair[0], pair[1]).into_owned()).collect();
    String::from_utf8(bytes).unwrap()
}

const WORDS: &[(&str, f32)] = &[
    (" ", -9.0),
    ("a", -9.0),
    ("b", -9.0),
    ("c", -9.0),
    ("ab", -2.0),
    ("bc", -1.0),
    ("abc", -3.0),
    (" a", -4.0),
    ("aa", -0.5),
];

#[test]
fn the_best_score_joins_first_and_of_equals_the_leftmost() {
    let tokenizer = Tokenizer::read(&vocabulary(WORDS)).unwrap();
    let id = |text: &str| LEAST_TOKEN + WORDS.iter().position(|(t, _)| *t == text).unwrap();
    // "bc" is better than "ab" and joins first; then "abc", of "a" and "bc", is better than " a".
    assert_eq!(tokenizer.encode("abc"), [BEGIN, id(" "), id("abc")]);
    assert_eq!(tokenizer.encode("ab"), [BEGIN, id(" "), id("ab")]);
    assert_eq!(tokenizer.encode("aaa"), [BEGIN, id(" "), id("aa"), id("a")]);
    assert_eq!(tokenizer.encode("aé"), [BEGIN, id(" a"), 3 + 0xc3, 3 + 0xa9]);
    assert_eq!(tokenizer.encode(""), [BEGIN]);
    assert_eq!(tokenizer.decode(5, id(" a")).as_ref(), b" a");
    assert_eq!(tokenizer.decode(BEGIN, id(" a")).as_ref(), b"a");
    assert_eq!(tokenizer.vocabulary(), LEAST_TOKEN + WORDS.len());
}

/// The first token that is neither a control token nor a byte.
const LEAST_TOKEN: usize = 259;

/// What [`Tokenizer::encode`] says, done the slow way: every join looks at all neighbours.
fn joined_slowly(words: &[(&str, f32)], text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = std::iter::once(' ').chain(text.chars()).map(String::from).collect();
    loop {
        let score = |i: usize| {
            let joined = format!("{}{}", pieces[i], pieces[i + 1]);
            words.iter().find(|(word, _)| *word == joined).map(|&(_, score)| score)
        };
        let mut best: Option<(usize, f32)> = None;
        for i in 0..pieces.len() - 1 {
            if let Some(score) = score(i)
                && best.is_none_or(|(_, top)| score > top)
            {
                best = Some((i, score));
            }
        }
        let Some((i, _)) = best else { break };
        let right = pieces.remove(i + 1);
        pieces[i].push_str(&right);
    }
    pieces
}

#[test]
fn damaged_tokenizers_are_refused_with_the_byte() {
    let file = vocabulary(&[]);
    let refusal = |bytes: &[u8]| Tokenizer::read(bytes).unwrap_err().to_string();
    assert!(refusal(&[]).contains("the length of the longest token needs more"));
    assert!(refusal(&file[..file.len() - 1]).contains("truncated"));
    assert!(refusal(&file[..200]).contains("truncated"));
    let with = |at: usize, bytes: [u8; 4]| {
        let mut file = file.clone();
        file[at..at + 4].copy_from_slice(&bytes);
        refusal(&file)
    };
    assert!(with(8, (-1i32).to_le_bytes()).contains("byte 8: token 0 has -1 bytes"));
    assert!(with(8, i32::MAX.to_le_bytes()).contains("where the longest has 16"));
    assert!(with(4, f32::NAN.to_le_bytes()).contains("the score NaN"));
    let few = [&16i32.to_le_bytes()[..], &[0; 8]].concat();
    assert!(refusal(&few).contains("it has 1 tokens"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_damage_to_a_checkpoint_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4),
        in_header in any::<bool>(),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = Model::new(2, 1, 1, false).bytes();
        let reach = if in_header { 28 } else { bytes.len() };
        for (at, bit) in flips {
            bytes[at.index(reach)] ^= 1 << bit;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        let _ = crate::import(&bytes, &ImportOptions::default());
        if let Ok(checkpoint) = Checkpoint::read(&bytes) {
            // What is read whole is of the size that its header says.
            prop_assert!(bytes.len() > 28);
            if let Ok(graph) = checkpoint.step(2) {
                prop_assert!(graph.verify().is_ok());
            }
        }
    }

    #[test]
    fn no_damage_to_a_tokenizer_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4),
        keep in prop::option::of(any::<prop::sample::Index>()),
        words in "[ab é]{0,12}",
    ) {
        let mut bytes = vocabulary(WORDS);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        if let Ok(tokenizer) = Tokenizer::read(&bytes) {
            let tokens = tokenizer.encode(&words);
            prop_assert!(tokens.iter().all(|&token| token < tokenizer.vocabulary()));
        }
    }

    #[test]
    fn a_text_comes_back_and_is_joined_as_the_definition_says(words in "[abc ]{1,40}", more in ".{0,6}") {
        let tokenizer = Tokenizer::read(&vocabulary(WORDS)).unwrap();
        let tokens = tokenizer.encode(&words);
        prop_assert_eq!(&text(&tokenizer, &tokens), &words);
        let pieces: Vec<String> = tokens[1..].iter().map(|&t| WORDS[t - LEAST_TOKEN].0.to_owned()).collect();
        prop_assert_eq!(pieces, joined_slowly(WORDS, &words));
        prop_assert_eq!(text(&tokenizer, &tokenizer.encode(&more)), more);
    }
}
