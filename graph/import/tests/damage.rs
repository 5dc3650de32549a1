//! Damaged files: whatever the bytes, an import ends with a graph or one sentence.

mod data;

use data::models;
use proptest::prelude::*;
use std::path::Path;
use tandem_import::{ImportOptions, import};

/// The small model of the repository, which is always there.
fn digits() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits/digits_int8.tflite");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every message is one line.
fn survive(bytes: &[u8]) {
    match import(bytes, &ImportOptions::default()) {
        Ok(graph) => graph.verify().expect("an imported graph is verified"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.trim().contains('\n') && text.len() < 8192, "{text}");
        }
    }
}

/// Small changes at places chosen by `seed`: bytes, and 32-bit words, which hit offsets, lengths and extents.
fn mutate(bytes: &mut [u8], mut seed: u64, changes: usize) {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for _ in 0..changes {
        let at = next() % bytes.len();
        let words: [u32; 8] = [0, 1, u32::MAX, 1 << 31, i32::MAX as u32, 4, 0x7fc0_0000, 0x0001_0000];
        match next() % 3 {
            0 => bytes[at] = next() as u8,
            1 => bytes[at] ^= 1 << (next() % 8),
            _ => {
                let word = words[next() % words.len()].to_le_bytes();
                let at = at & !3;
                let n = bytes.len().min(at + 4) - at;
                bytes[at..at + n].copy_from_slice(&word[..n]);
            }
        }
    }
}

/// Where a TFLite file keeps its structure rather than its weights.
fn structure(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|i| i / 64 % 8 == 0).collect()
}

#[test]
fn every_truncation_of_the_small_model_is_refused() {
    let whole = digits();
    for n in (0..whole.len()).step_by(97).chain(0..64) {
        survive(&whole[..n]);
    }
    let text = import(&whole[..whole.len() / 2], &ImportOptions::default()).unwrap_err().to_string();
    assert!(text.contains("byte"), "{text}");
}

#[test]
fn one_wrong_word_anywhere_in_the_small_model_does_no_harm() {
    let whole = digits();
    for (k, at) in structure(&whole).into_iter().enumerate().step_by(4) {
        let mut bytes = whole.clone();
        let word = [u32::MAX, 0, 1 << 31, 0x7fff_ffff, 0x1_0000][k / 4 % 5].to_le_bytes();
        let n = bytes.len().min(at + 4) - at;
        bytes[at..at + n].copy_from_slice(&word[..n]);
        survive(&bytes);
    }
}

#[test]
fn damaged_real_models_are_survived() {
    let Some(models) = models() else { return };
    let mut files = models.files("tflite");
    files.extend(models.files("onnx"));
    for path in files {
        let whole = models.read(&path);
        if whole.len() > 700_000 {
            continue;
        }
        for round in 0..40u64 {
            let mut bytes = whole.clone();
            mutate(&mut bytes, round.wrapping_mul(0x9e37_79b9) ^ whole.len() as u64, 1 + round as usize * 4);
            survive(&bytes);
            bytes.truncate(whole.len() / 41 * round as usize);
            survive(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mutation_of_the_small_model_is_survived(seed in any::<u64>(), changes in 1usize..60, keep in 0.2f64..1.3) {
        let mut bytes = digits();
        mutate(&mut bytes, seed, changes);
        let n = (bytes.len() as f64 * keep) as usize;
        bytes.truncate(n);
        survive(&bytes);
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..400), magic in 0u8..4) {
        if bytes.len() >= 8 {
            match magic {
                0 => bytes[4..8].copy_from_slice(b"TFL3"),
                1 => bytes[..6].copy_from_slice(b"graph "),
                2 => bytes[0] = 0x08,
                _ => {}
            }
        }
        survive(&bytes);
    }
}
