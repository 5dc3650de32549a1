//! `tandem quantize`: a float model to int8, with what it costs.

mod scheme;

use super::run::at_least_one;
use crate::options::{Format, InputOptions, ModelOptions};
use crate::session::bar;
use crate::table::{grouped, percent, table};
use crate::{Outcome, file, input, labels, model, stdout};
use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use rayon::prelude::*;
use std::fmt::Write;
use std::path::PathBuf;
use tandem_graph::Graph;
use tandem_plan::quantise::{
    Accuracy, Calibration, Comparison, Ends, Method, QuantiseError, Quantised, Report, fold, quantise,
};
use tandem_tensor::Tensor;

/// Layers in the table.
const SHOWN: usize = 10;
/// The percentile that is taken where none is given.
const PERCENTILE: f64 = 99.99;

/// Options of `tandem quantize`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// Samples to choose ranges from and to measure on: as `--input` of `run`, or a directory with the files that the labels name.
    #[arg(long, value_name = "F[,F2]|DIR", required_unless_present = "scheme")]
    samples: Option<String>,
    /// One line a sample: file,classes,label, without a header; then accuracies are measured.
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    input: InputOptions,
    /// Only the first samples.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Choose ranges from the first samples alone, and measure on all [default: all samples].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    calibrate: Option<usize>,
    /// How the range of an activation is chosen: all of it, without the rarest values, or by the least relative entropy.
    #[arg(long, value_enum, default_value = "minmax")]
    method: MethodKind,
    /// The percentile of values that --method percentile keeps on each side [default: 99.99].
    #[arg(long, value_name = "50..100", value_parser = percentile)]
    percentile: Option<f64>,
    /// What inputs and outputs are: floats as before, quantised and dequantised within the graph, or int8 codes.
    #[arg(long, value_enum, default_value = "float")]
    ends: EndsKind,
    #[command(flatten)]
    low_bit: scheme::SchemeOptions,
    /// Write the quantised graph as text, to standard output if -; with --scheme the layers' codes and scales, an .npz file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the report.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// List every layer.
    #[arg(long, short)]
    verbose: bool,
}

/// Ways to choose a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodKind {
    /// The smallest and the largest value.
    Minmax,
    /// Without the rarest values on each side.
    Percentile,
    /// Where the distribution of the codes has the least relative entropy to that of the reals.
    Kl,
}

/// Ends of a quantised graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EndsKind {
    /// As in the float model.
    Float,
    /// Codes.
    Int8,
}

/// What is calibrated and measured on.
struct Samples {
    /// A list of input tensors for each sample.
    inputs: Vec<Vec<Tensor>>,
    /// The class of each, where there are labels.
    classes: Option<Vec<usize>>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    if options.low_bit.asked() {
        return scheme::run(options);
    }
    let method = options.method()?;
    let ends = match options.ends {
        EndsKind::Float => Ends::Float,
        EndsKind::Int8 => Ends::Int8,
    };
    let graph = model::load(&options.model)?;
    let Samples { inputs: samples, classes } = options.load(&graph)?;
    let named = |e: QuantiseError| anyhow!("{}: {e}", options.model.model.display());
    let folded = fold(&graph);
    let calibrated = options.calibrate.unwrap_or(samples.len()).min(samples.len());
    let calibration = calibrate(&folded, &samples[..calibrated]).map_err(named)?;
    let quantised = quantise(&folded, &calibration, method, ends).map_err(named)?;
    let comparison = compare(&folded, &quantised, &samples).map_err(named)?;
    let report = Report::new(&comparison, classes.as_deref(), calibrated, method, ends);
    let text = match options.format {
        Format::Json => format!("{}\n", serde_json::to_string(&report)?),
        Format::Table => text(&report, options.verbose),
    };
    if let Some(path) = &options.output {
        let graph = tandem_graph::print(&quantised.graph);
        if path.as_os_str() == "-" {
            // One result has standard output to itself.
            stdout::complain(text.trim_end());
            file::write(path, graph.as_bytes())?;
            return Ok(Outcome::Good);
        }
        file::replace(path, graph.as_bytes())?;
    }
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

impl Options {
    fn method(&self) -> Result<Method> {
        if self.percentile.is_some() && self.method != MethodKind::Percentile {
            bail!("--percentile is for --method percentile; add that or leave it out");
        }
        Ok(match self.method {
            MethodKind::Minmax => Method::MinMax,
            MethodKind::Percentile => Method::Percentile(self.percentile.unwrap_or(PERCENTILE)),
            MethodKind::Kl => Method::Kl,
        })
    }

    fn load(&self, graph: &Graph) -> Result<Samples> {
        let truth = match &self.labels {
            None => None,
            Some(path) => {
                let csv = path.display();
                let mut truth = labels::parse(&file::read_text(path)?).map_err(|e| anyhow!("{csv}: {e}"))?;
                truth.truncate(self.limit.unwrap_or(usize::MAX));
                Some(truth)
            }
        };
        let named = self.samples.as_deref().unwrap_or_default();
        let directory = PathBuf::from(named);
        let samples = match (&truth, directory.is_dir()) {
            (Some(truth), true) => {
                let names: Vec<String> = truth.iter().map(|l| l.file.clone()).collect();
                input::from_directory(graph, &directory, &names, &self.input)?
            }
            (None, true) => bail!("{named}: a directory of samples needs --labels with their names"),
            (_, false) => input::samples(graph, named, &self.input, self.limit)?,
        };
        let (Some(truth), Some(path)) = (truth, &self.labels) else {
            return Ok(Samples { inputs: samples, classes: None });
        };
        let csv = path.display();
        if samples.len() != truth.len() {
            bail!("{csv}: it labels {} samples but {named} holds {}", truth.len(), samples.len());
        }
        let classes = graph.outputs.first().map_or(0, |&id| graph.ty(id).elements());
        if classes < 2 {
            bail!("the first output has {classes} elements, and labels are for a classifier; leave --labels out");
        }
        if let Some((i, label)) = truth.iter().enumerate().find(|(_, l)| l.class >= classes) {
            bail!("{csv}: line {}: class {} is not below the model's {classes} classes", i + 1, label.class);
        }
        Ok(Samples { inputs: samples, classes: Some(truth.iter().map(|l| l.class).collect()) })
    }
}

/// What the values of a graph are on samples.
fn calibrate(graph: &Graph, samples: &[Vec<Tensor>]) -> Result<Calibration, QuantiseError> {
    let parts = in_parts(samples, |part, bar| {
        let mut calibration = Calibration::new(graph);
        for sample in part {
            calibration.observe(graph, sample)?;
            bar.inc(1);
        }
        Ok(calibration)
    })?;
    let mut whole = Calibration::new(graph);
    parts.iter().for_each(|part| whole.merge(part));
    Ok(whole)
}

/// Both graphs on samples.
fn compare<'g>(
    folded: &'g Graph,
    quantised: &'g Quantised,
    samples: &[Vec<Tensor>],
) -> Result<Comparison<'g>, QuantiseError> {
    let parts = in_parts(samples, |part, bar| {
        let mut comparison = Comparison::new(folded, quantised);
        for sample in part {
            comparison.add(sample)?;
            bar.inc(1);
        }
        Ok(comparison)
    })?;
    let mut whole = Comparison::new(folded, quantised);
    parts.iter().for_each(|part| whole.merge(part));
    Ok(whole)
}

/// Work on parts of the samples at a time, one for each processor; the results are in the order of the samples.
fn in_parts<T: Send>(
    samples: &[Vec<Tensor>],
    work: impl Fn(&[Vec<Tensor>], &ProgressBar) -> Result<T, QuantiseError> + Sync,
) -> Result<Vec<T>, QuantiseError> {
    let bar = bar(samples.len());
    let size = samples.len().div_ceil(rayon::current_num_threads().max(1)).max(1);
    let parts = samples.par_chunks(size).map(|part| work(part, &bar)).collect();
    bar.finish_and_clear();
    parts
}

fn text(report: &Report, verbose: bool) -> String {
    let mut text = String::new();
    let decibels = |db: Option<f64>| db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.1}"));
    let shown = if verbose { usize::MAX } else { SHOWN };
    let rows = report.layers.iter().take(shown).map(|l| {
        let quant = format!("{:.6} : {}", l.scale, l.zero_point);
        vec![l.node.clone(), l.op.clone(), quant, decibels(l.own_sqnr_db), decibels(l.sqnr_db)]
    });
    let header = ["layers that lose most", "operator", "scale : zero point", "dB by itself", "dB in the graph"];
    text.push_str(&table(&header, &[3, 4], rows));
    if report.layers.len() > shown {
        let _ = writeln!(text, "and {} more layers; --verbose lists all", report.layers.len() - shown);
    }
    if !report.float_nodes.is_empty() {
        let rows = report.float_nodes.iter().map(|n| vec![n.node.clone(), n.op.clone(), n.reason.clone()]);
        text.push_str(&table(&["stays float", "operator", "because"], &[], rows));
    }
    let _ = writeln!(
        text,
        "constants {} bytes, {} as floats; ranges by {} from {} samples, measured on {}",
        grouped(report.int8_bytes as u64),
        grouped(report.float_bytes as u64),
        method(report.method),
        report.calibration_samples,
        report.samples
    );
    let agreement = match report.agreement {
        Some(share) => format!("; the largest element agrees on {}", percent(Some(share))),
        None => String::new(),
    };
    let _ = writeln!(text, "signal to noise of the output {} dB{agreement}", decibels(report.output_sqnr_db));
    let mut accuracy = |what: &str, a: &Accuracy| {
        let _ = writeln!(
            text,
            "accuracy{what}: float {:.2} % ({} of {}), int8 {:.2} % ({} of {}), loss {:.2} points",
            a.float() * 100.0,
            a.float_correct,
            a.samples,
            a.int8() * 100.0,
            a.int8_correct,
            a.samples,
            a.loss()
        );
    };
    if let Some(a) = &report.accuracy {
        accuracy("", a);
    }
    if let Some(a) = &report.held_out {
        accuracy(" on samples that ranges were not chosen from", a);
    }
    text
}

fn method(method: Method) -> String {
    match method {
        Method::Percentile(p) => format!("{} {p}", method.name()),
        Method::MinMax | Method::Kl => method.name().to_owned(),
    }
}

/// A percentile, for clap.
fn percentile(text: &str) -> Result<f64, String> {
    let inside = |p: &f64| *p > 50.0 && *p <= 100.0;
    text.parse().ok().filter(inside).ok_or_else(|| "give a number above 50 and up to 100, such as 99.99".to_owned())
}
