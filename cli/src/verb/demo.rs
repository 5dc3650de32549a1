//! `tandem demo`: the built-in digit classifier, end to end.

use crate::machine::Accelerator;
use crate::options::{DeviceKind, DeviceOptions, Format};
use crate::request::PlaceOptions;
use crate::session::Session;
use crate::table::grouped;
use crate::{Outcome, expect, labels, report, stdout};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use tandem_import::ImportOptions;
use tandem_tensor::Tensor;

const MODEL: &[u8] = include_bytes!("../../../models/digits/digits_int8.tflite");
const INPUTS: &[u8] = include_bytes!("../../../models/digits/inputs_i8.bin");
const LABELS: &str = include_str!("../../../models/digits/labels.csv");
const EXPECTED: &[u8] = include_bytes!("../../../models/digits/expected_prob_i8_tflref.bin");

/// Pictures that are drawn.
const DRAWN: usize = 6;
/// From black to white.
const INK: [&str; 6] = ["  ", "··", "░░", "▒▒", "▓▓", "██"];

/// Options of `tandem demo`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    place: PlaceOptions,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = tandem_import::import(MODEL, &ImportOptions::default()).map_err(|e| anyhow!("built-in model: {e}"))?;
    let truth = labels::parse(LABELS).map_err(|e| anyhow!("built-in labels: {e}"))?;
    let ty = graph.inputs.first().map(|&id| graph.ty(id).clone());
    let ty = ty.ok_or_else(|| anyhow!("built-in model: it has no input"))?;
    let samples: Result<Vec<Vec<Tensor>>, _> = INPUTS
        .chunks_exact(ty.bytes().max(1))
        .map(|bytes| Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), bytes).map(|tensor| vec![tensor]))
        .collect();
    let samples = samples.map_err(|e| anyhow!("built-in inputs: {e}"))?;

    let mut session = Session::open(graph, &options.device, &options.place)?;
    let outputs = session.run(&samples, None, 1)?;
    let compared = expect::compare_bytes(EXPECTED, &session.graph, &outputs, false)
        .map_err(|e| anyhow!("built-in expected outputs: {e}"))?;
    let guesses: Vec<Option<usize>> = outputs.iter().map(|o| o.first().and_then(Tensor::argmax)).collect();
    let correct = guesses.iter().zip(&truth).filter(|(guess, label)| **guess == Some(label.class)).count();
    let counters = |accelerator: &Accelerator| session.executor.profile().counters(accelerator.device);
    let cycles = session.accelerator().map_or(0, |vta| counters(vta).cycles) / (samples.len().max(1) as u64);
    let counted = session.accelerator().map(|accelerator| accelerator.cycles.is_counted());

    let text = match options.format {
        Format::Json => {
            let predictions: Vec<_> = guesses
                .iter()
                .zip(&truth)
                .map(|(guess, label)| json!({"file": label.file, "label": label.class, "predicted": guess}))
                .collect();
            let mut map = report::session_json(&session);
            map.insert("predictions".to_owned(), json!(predictions));
            map.insert("accuracy".to_owned(), json!(correct as f64 / truth.len() as f64));
            map.insert("correct".to_owned(), json!(correct));
            map.insert("samples".to_owned(), json!(samples.len()));
            map.insert("mismatches".to_owned(), json!(compared.mismatches));
            if counted == Some(false) {
                map.insert("cycles_estimate_per_sample".to_owned(), json!(cycles));
            }
            format!("{}\n", Value::Object(map))
        }
        Format::Table => {
            let mut text = format!(
                "Tandem demo: a quantised network reads handwritten digits on {}.\n\n",
                place(&options.device, session.accelerator().map_or("", |accelerator| &accelerator.hw))
            );
            text.push_str(&draw(&samples, &outputs, &guesses));
            text.push_str(&report::partition(&session.plan));
            text.push_str(&report::counters(&session));
            text.push_str(&report::latency(&session));
            let _ = writeln!(
                text,
                "accuracy {:.2} % ({correct} of {} test images){}",
                100.0 * correct as f64 / truth.len() as f64,
                truth.len(),
                match counted {
                    None => String::new(),
                    Some(false) => format!(", about {} cycles an image", grouped(cycles)),
                    Some(true) => format!(", {} cycles an image", grouped(cycles)),
                }
            );
            let _ = writeln!(
                text,
                "{}",
                match compared.mismatches {
                    0 => format!(
                        "bit-exact: all {} output codes equal those of TFLite's reference kernels",
                        grouped(compared.elements as u64)
                    ),
                    _ => compared.sentence("TFLite's reference kernels"),
                }
            );
            text
        }
    };
    stdout::emit(&text)?;
    Ok(if compared.mismatches == 0 { Outcome::Good } else { Outcome::Negative })
}

/// Where the network runs, in words.
fn place(device: &DeviceOptions, hw: &str) -> String {
    if device.device.is_planned() {
        return format!("{}, split for the least latency", device.device.name());
    }
    match device.device.kind() {
        DeviceKind::Fsim => format!("a simulated VTA ({hw})"),
        DeviceKind::Tsim => format!("the hardware of a VTA, simulated cycle by cycle ({hw})"),
        DeviceKind::Link(link) => format!("the VTA ({hw}) of {}", link.name()),
        DeviceKind::Cuda(index) => format!("GPU {index}"),
        DeviceKind::Ptx => "a simulated GPU".to_owned(),
        DeviceKind::Cpu => "the CPU".to_owned(),
    }
}

/// The first pictures side by side, with what the network says.
fn draw(samples: &[Vec<Tensor>], outputs: &[Vec<Tensor>], guesses: &[Option<usize>]) -> String {
    let pixels: Vec<Vec<i64>> =
        samples.iter().take(DRAWN).filter_map(|s| s.first()?.to_i64()).filter(|p| p.len() == 64).collect();
    let mut text = String::new();
    for row in 0..8 {
        for picture in &pixels {
            for pixel in picture.iter().skip(row * 8).take(8) {
                let level = ((pixel + 128).clamp(0, 255) * 6 / 256) as usize;
                text.push_str(INK.get(level).copied().unwrap_or("  "));
            }
            text.push_str("   ");
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    for (guess, output) in guesses.iter().zip(outputs).take(pixels.len()) {
        let digit = guess.map_or_else(|| "?".to_owned(), |g| g.to_string());
        let codes = output.first().and_then(Tensor::to_i64).unwrap_or_default();
        // The output's scale is 1/256 with zero point -128.
        let chance = guess.and_then(|g| codes.get(g).copied()).map_or(0.0, |c| (c + 128) as f64 / 2.56);
        let _ = write!(text, "{:<19}", format!("digit {digit} ({chance:.0} %)"));
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push_str("\n\n");
    text
}
