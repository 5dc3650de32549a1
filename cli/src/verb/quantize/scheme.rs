//! `tandem quantize --scheme`: a language model with weights of four bits, and the perplexity that it costs.

use super::Options;
use crate::language::Language;
use crate::options::Format;
use crate::session::bar;
use crate::table::{grouped, table};
use crate::{Outcome, file, stdout};
use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;
use tandem_graph::{Graph, Interpreter, Kernels};
use tandem_import::llama2c::BEGIN;
use tandem_ops::lowbit::Asymmetric;
use tandem_plan::lowbit::{Form, LowBit, Scheme};
use tandem_tensor::{Tensor, write_npz};

/// Tokens of a sequence that the model is calibrated on.
const SEQUENCE: usize = 128;
/// Tokens that the model writes where no text is given to measure on.
const WRITTEN: usize = 1024;

/// Options of the schemes of four bits.
#[derive(Args)]
pub struct SchemeOptions {
    /// Weights of four bits, for a language model: one or more schemes, separated by commas. Perplexities on a text are measured before
    /// and after, with outlier channels and without.
    #[arg(long, value_enum, value_name = "SCHEMES", value_delimiter = ',')]
    scheme: Vec<SchemeKind>,
    /// The text that perplexities are measured on [default: text that the model itself writes].
    #[arg(long, value_name = "FILE", requires = "scheme")]
    text: Option<PathBuf>,
    /// The model's tokenizer [default: the only tok*.bin beside it].
    #[arg(long, value_name = "TOK.bin", requires = "scheme")]
    tokenizer: Option<PathBuf>,
    /// The text that layers are calibrated on [default: text that the model itself writes, another one].
    #[arg(long, value_name = "FILE", requires = "scheme")]
    calibration_text: Option<PathBuf>,
    /// Tokens of it that are read.
    #[arg(long, value_name = "N", requires = "scheme", default_value_t = 4096, value_parser = super::at_least_one)]
    calibration_tokens: usize,
    /// Input channels with a scale of their own, an even number [default: an eighth of the model's channels, 8 to 128].
    #[arg(long, value_name = "N", requires = "scheme", value_parser = even)]
    group: Option<usize>,
    /// Input channels of every layer that keep 8 bits [default: a quarter of the model's channels, 128 at most].
    #[arg(long, value_name = "N", requires = "scheme")]
    outliers: Option<usize>,
    /// Part of the largest activation of a group that its codes of four bits reach.
    #[arg(long, value_name = "0..1", requires = "scheme", default_value_t = 1.0, value_parser = part)]
    clip: f32,
    /// Round every weight by itself: errors are not made good by the weights behind them.
    #[arg(long, requires = "scheme")]
    round: bool,
    /// Measure once more with keys and values of four bits, which have a scale and a zero for each position and head.
    #[arg(long, requires = "scheme")]
    kv4: bool,
    /// Where the texts that the model writes begin.
    #[arg(long, value_name = "S", requires = "scheme", default_value_t = 0)]
    seed: u64,
}

/// What is in four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SchemeKind {
    /// Weights and activations.
    W4a4,
    /// Weights; activations have eight.
    W4a8,
    /// Weights; activations are bfloat16.
    W4a16,
}

impl SchemeOptions {
    /// Whether there is a scheme at all.
    pub fn asked(&self) -> bool {
        !self.scheme.is_empty()
    }
}

/// A row of the report.
struct Row {
    scheme: &'static str,
    kv4: bool,
    outliers: usize,
    bits: f64,
    perplexity: f64,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let own = &options.low_bit;
    if options.samples.is_some() || options.labels.is_some() {
        bail!("--samples and --labels are for int8; with --scheme give --text and --calibration-text, or neither");
    }
    if options.output.is_some() && own.scheme.len() > 1 {
        bail!("--output takes the weights of one scheme; give one");
    }
    if let Some(path) = &options.output {
        if path.as_os_str() == "-" {
            bail!("--output: the layers are no text; give a file");
        }
        file::probe(path)?;
    }
    let language = Language::open(&options.model.model, own.tokenizer.as_deref())?;
    let (dim, context) = (language.config().dim, language.config().context);
    let group = own.group.unwrap_or((dim / 8).next_power_of_two().clamp(8, 128));
    let outliers = own.outliers.unwrap_or((dim / 4).min(128));
    let graph = language.step(context.max(2))?;
    let kernels = Kernels::new(&graph);
    let model = Model { language: &language, graph: &graph, kernels: &kernels };
    let text = model.text(own)?;
    let float = model.perplexity(&text, |interpreter, inputs| Ok(interpreter.run(inputs)?))?;
    let samples = samples(&language, own)?;
    let (small, samples) = &samples;
    let mut rows = Vec::new();
    if own.kv4 {
        let perplexity =
            model.perplexity(&text, |interpreter, inputs| with_codes(&language, interpreter.run(inputs)?))?;
        rows.push(Row { scheme: "float", kv4: true, outliers: 0, bits: 32.0, perplexity });
    }
    let mut output = options.output.as_ref();
    for scheme in own.scheme.iter().map(|kind| kind.scheme()) {
        for outliers in if outliers == 0 { vec![0] } else { vec![outliers, 0] } {
            let form = Form { scheme, group, outliers, clip: own.clip, compensate: !own.round };
            let bar = bar(small.nodes.len());
            let low = LowBit::new(small, samples, form, |done, _| bar.set_position(done as u64));
            bar.finish_and_clear();
            let low = low.map_err(|e| anyhow!("{}: {e}", options.model.model.display()))?;
            let (bits, count) =
                low.layers().values().fold((0, 0), |(bits, count), layer| (bits + layer.bits(), count + layer.count()));
            let bits = bits as f64 / count.max(1) as f64;
            for kv4 in if own.kv4 { vec![false, true] } else { vec![false] } {
                let perplexity = model.perplexity(&text, |interpreter, inputs| {
                    let outputs = low.run(&graph, interpreter, inputs)?;
                    if kv4 { with_codes(&language, outputs) } else { Ok(outputs) }
                })?;
                rows.push(Row { scheme: scheme.name(), kv4, outliers, bits, perplexity });
            }
            if let Some(path) = output.take() {
                let named = low.layers().iter().flat_map(|(layer, of)| {
                    of.tensors().map(move |(tensor, values)| (format!("{layer}.{tensor}"), values))
                });
                let named: Vec<(String, &Tensor)> = named.collect();
                let bytes = write_npz(named.iter().map(|(name, tensor)| (name.as_str(), *tensor)))?;
                file::replace(path, &bytes)?;
            }
        }
    }
    let report = Report { options, group, text: &text, calibrated: samples.len(), float, rows: &rows };
    stdout::emit(&match options.format {
        Format::Json => format!("{}\n", report.json()),
        Format::Table => report.text(),
    })?;
    Ok(Outcome::Good)
}

/// A model that reads.
struct Model<'a> {
    language: &'a Language,
    graph: &'a Graph,
    kernels: &'a Kernels,
}

/// What perplexities are measured on: sequences that begin anew.
struct Text {
    source: String,
    sequences: Vec<Vec<usize>>,
}

impl Text {
    /// Tokens that are foretold.
    fn tokens(&self) -> usize {
        self.sequences.iter().map(|tokens| tokens.len() - 1).sum()
    }
}

impl Model<'_> {
    fn text(&self, options: &SchemeOptions) -> Result<Text> {
        let context = self.language.config().context;
        let (source, sequences) = match &options.text {
            Some(path) => {
                let tokens = self.language.tokenizer.encode(&file::read_text(path)?);
                (path.display().to_string(), sequences(&tokens, context))
            }
            None => {
                let length = context.clamp(2, WRITTEN / 4);
                let interpreter = Interpreter::with_kernels(self.graph, self.kernels);
                // Seeds of the calibration's texts are other ones.
                let write = |part: u64| {
                    let seed = options.seed.wrapping_add(1 << 32).wrapping_add(part);
                    self.language.write(length, context, seed, |inputs| Ok(interpreter.run(inputs)?))
                };
                let texts = (0..4).into_par_iter().map(write).collect::<Result<Vec<_>>>()?;
                (format!("text that the model wrote, seed {}", options.seed), texts)
            }
        };
        let text = Text { source, sequences };
        if text.tokens() == 0 {
            bail!("{}: there is nothing to foretell in it; give a text", text.source);
        }
        Ok(text)
    }

    /// e to the mean of what the tokens' likelihoods lack.
    fn perplexity(
        &self,
        text: &Text,
        run: impl Fn(&Interpreter<'_>, &[Tensor]) -> Result<Vec<Tensor>> + Sync,
    ) -> Result<f64> {
        let bar = bar(text.tokens());
        let interpreter = Interpreter::with_kernels(self.graph, self.kernels);
        let losses = text.sequences.par_iter().map(|tokens| {
            let mut next = tokens.iter().skip(1);
            let mut loss = 0.0;
            let read = &tokens[..tokens.len() - 1];
            let context = self.language.config().context.max(2);
            self.language.read(
                read,
                context,
                |inputs| run(&interpreter, inputs),
                |_, logits| {
                    loss += next.next().map_or(0.0, |&token| surprise(&logits, token));
                    bar.inc(1);
                    Ok(())
                },
            )?;
            Ok(loss)
        });
        let losses = losses.collect::<Result<Vec<f64>>>()?;
        bar.finish_and_clear();
        Ok((losses.iter().sum::<f64>() / text.tokens() as f64).exp())
    }
}

/// The outputs of a step whose new keys and values, behind the logits, are what codes of four bits stand for. The step itself has read them
/// as they were; later ones read the codes.
fn with_codes(language: &Language, mut outputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
    for row in outputs.iter_mut().skip(1) {
        row.as_slice_mut::<f32>()?.chunks_mut(language.config().head()).for_each(Asymmetric::replace);
    }
    Ok(outputs)
}

/// The negative logarithm of a token's likelihood.
fn surprise(logits: &[f32], token: usize) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
    sum.ln() - logits.get(token).map_or(f64::NEG_INFINITY, |&logit| f64::from(logit - top))
}

/// Parts of a text of at most `context` tokens that are read, each behind a beginning.
fn sequences(tokens: &[usize], context: usize) -> Vec<Vec<usize>> {
    let body = tokens.strip_prefix(&[BEGIN]).unwrap_or(tokens);
    body.chunks(context).map(|part| [&[BEGIN], part].concat()).collect()
}

/// The graph of steps for short sequences, and its inputs on the calibration's tokens.
fn samples(language: &Language, options: &SchemeOptions) -> Result<(Graph, Vec<Vec<Tensor>>)> {
    let length = SEQUENCE.min(language.config().context).max(2);
    let graph = language.step(length)?;
    let kernels = Kernels::new(&graph);
    let interpreter = Interpreter::with_kernels(&graph, &kernels);
    let run = |inputs: &[Tensor]| Ok(interpreter.run(inputs)?);
    let count = options.calibration_tokens.div_ceil(length);
    let texts = match &options.calibration_text {
        Some(path) => sequences(&language.tokenizer.encode(&file::read_text(path)?), length - 1),
        None => {
            let write = |part: usize| language.write(length, length, options.seed.wrapping_add(part as u64), run);
            (0..count).into_par_iter().map(write).collect::<Result<Vec<_>>>()?
        }
    };
    let read = |tokens: &Vec<usize>| {
        let mut seen = Vec::with_capacity(tokens.len());
        language.read(tokens, length, run, |inputs, _| {
            seen.push(inputs.to_vec());
            Ok(())
        })?;
        Ok(seen)
    };
    let seen = texts[..texts.len().min(count)].par_iter().map(read).collect::<Result<Vec<_>>>()?;
    let mut samples = seen.concat();
    samples.truncate(options.calibration_tokens);
    Ok((graph, samples))
}

impl SchemeKind {
    fn scheme(self) -> Scheme {
        match self {
            SchemeKind::W4a4 => Scheme::W4A4,
            SchemeKind::W4a8 => Scheme::W4A8,
            SchemeKind::W4a16 => Scheme::W4A16,
        }
    }
}

/// What was measured.
struct Report<'a> {
    options: &'a Options,
    group: usize,
    text: &'a Text,
    calibrated: usize,
    float: f64,
    rows: &'a [Row],
}

impl Report<'_> {
    fn json(&self) -> Value {
        let own = &self.options.low_bit;
        let rows = self.rows.iter().map(|row| {
            json!({
                "scheme": row.scheme,
                "kv4": row.kv4,
                "outliers": row.outliers,
                "bits_per_weight": row.bits,
                "perplexity": row.perplexity,
                "perplexity_over_float": row.perplexity / self.float,
            })
        });
        json!({
            "model": self.options.model.model.display().to_string(),
            "text": self.text.source,
            "tokens": self.text.tokens(),
            "calibration_tokens": self.calibrated,
            "group": self.group,
            "clip": own.clip,
            "compensated": !own.round,
            "seed": own.seed,
            "float": { "bits_per_weight": 32.0, "perplexity": self.float },
            "schemes": rows.collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let float =
            vec!["float".to_owned(), String::new(), "32.00".into(), format!("{:.4}", self.float), String::new()];
        let rows = self.rows.iter().map(|row| {
            let change = (row.perplexity / self.float - 1.0) * 100.0;
            vec![
                if row.kv4 { format!("{}, kv4", row.scheme) } else { row.scheme.to_owned() },
                if row.scheme == "float" { String::new() } else { row.outliers.to_string() },
                format!("{:.2}", row.bits),
                format!("{:.4}", row.perplexity),
                format!("{change:+.2} %"),
            ]
        });
        let header = ["scheme", "outliers", "bits a weight", "perplexity", "over float"];
        let mut text = table(&header, &[1, 2, 3, 4], std::iter::once(float).chain(rows));
        let tokens = grouped(self.text.tokens() as u64);
        text.push_str(&format!(
            "{tokens} tokens of {}; groups of {} channels, calibrated on {} tokens{}\n",
            self.text.source,
            self.group,
            grouped(self.calibrated as u64),
            if self.options.low_bit.round { ", rounded" } else { "" }
        ));
        text
    }
}

/// An even number above 0, for clap.
fn even(text: &str) -> Result<usize, String> {
    let parsed = text.parse::<usize>().ok().filter(|n| *n > 0 && n.is_multiple_of(2));
    parsed.ok_or_else(|| "give an even number of at least 2, such as 32".to_owned())
}

/// A part, for clap.
fn part(text: &str) -> Result<f32, String> {
    let parsed = text.parse::<f32>().ok().filter(|x| *x > 0.0 && *x <= 1.0);
    parsed.ok_or_else(|| "give a number above 0 and up to 1, such as 0.9".to_owned())
}
