//! `tandem run-block`: a block between streams, Verilated, on random words with random back-pressure.

use crate::options::Format;
use crate::table::{grouped, table};
use crate::{Outcome, file, hardware, stdout, verilated};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use tandem_hw::stream::{IbpUnpack, PirXor};
use tandem_hw::{Module, Target};
use tandem_isa::HwConfig;
use tandem_sim::stream::{Drive, IbpSample, Mismatch, Pattern, PirScan, StreamReport, run_ibp, run_pir};

/// Bits of the widest word that a block has.
const WIDEST: u32 = 64;

/// A block.
#[derive(Subcommand)]
pub enum Verb {
    /// Rows of invariant bit packing to words.
    IbpUnpack {
        /// Words of a row.
        #[arg(long, default_value_t = 64)]
        columns: u32,
        #[command(flatten)]
        run: RunOptions,
    },
    /// XOR of the buckets that each of many queries asks for.
    PirXor {
        /// Queries at once.
        #[arg(long, default_value_t = 16)]
        queries: u32,
        /// Words of a bucket.
        #[arg(long, default_value_t = 16)]
        bucket_words: u32,
        #[command(flatten)]
        run: RunOptions,
    },
}

/// Options that all blocks have.
///
/// Every word that leaves is compared with a reference. Exit code 1 where one differs.
#[derive(Args)]
pub struct RunOptions {
    /// The accelerator beside which the block stands: a preset (tiny, edge, vta, wide, batch) or a TOML file. The words of a stream
    /// are as wide as its bus, 64 bits at most.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    hw: String,
    /// Bits of a word: 32 or 64 [default: by --hw].
    #[arg(long, value_name = "32|64")]
    width: Option<u32>,
    /// Words of the rows or of the database, made up to whole rows or buckets.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    words: u64,
    /// Chooses the words and the cycles in which streams are held up.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// In each cycle, how likely the sink takes nothing, and how likely a source has nothing to give.
    #[arg(long, value_name = "P", default_value_t = 0.25, value_parser = probability)]
    back_pressure: f64,
    /// Write the Verilog of the block too.
    #[arg(long, value_name = "OUT.v")]
    verilog: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::IbpUnpack { columns, run } => ibp_unpack(*columns, run),
        Verb::PirXor { queries, bucket_words, run } => pir_xor(*queries, *bucket_words, run),
    }
}

fn ibp_unpack(columns: u32, run: &RunOptions) -> Result<Outcome> {
    let config = hardware::resolve(&run.hw)?;
    let block = IbpUnpack::new(run.width(&config), columns)?;
    let module = run.module(block.module(&Target::default()))?;
    let sample = IbpSample::random(&block, columns, run.words, run.seed);
    let rows = sample.packed(block.word_bits());
    let raw = rows.iter().filter(|row| row.raw).count();
    let model = verilated::stream(&module)?;
    let report = run_ibp(&model, &block, &sample.columns, &rows, &sample.rows, &run.drive()).context("ibp-unpack")?;
    let sizes = [("columns", json!(columns)), ("rows", json!(rows.len())), ("raw_rows", json!(raw))];
    run.tell(&Ran { block: "ibp-unpack", config, word_bits: block.word_bits(), sizes: &sizes, report })
}

fn pir_xor(queries: u32, bucket_words: u32, run: &RunOptions) -> Result<Outcome> {
    let config = hardware::resolve(&run.hw)?;
    let block = PirXor::new(queries, run.width(&config), bucket_words)?;
    let module = run.module(block.module(&Target::default()))?;
    let scan = PirScan::random(&block, run.words, run.seed);
    let model = verilated::stream(&module)?;
    let buckets = scan.requests.len();
    let report = run_pir(&model, &block, &[scan], &run.drive()).context("pir-xor")?;
    let sizes = [("queries", json!(queries)), ("bucket_words", json!(bucket_words)), ("buckets", json!(buckets))];
    run.tell(&Ran { block: "pir-xor", config, word_bits: block.word_bits(), sizes: &sizes, report })
}

/// A block as it ran.
struct Ran<'a> {
    block: &'a str,
    config: HwConfig,
    word_bits: u32,
    sizes: &'a [(&'a str, Value)],
    report: StreamReport,
}

impl RunOptions {
    /// Bits of a word.
    fn width(&self, config: &HwConfig) -> u32 {
        self.width.unwrap_or((config.bus_bytes() as u32 * 8).min(WIDEST))
    }

    /// The module, whose Verilog is written where that was asked for.
    fn module(&self, module: Module) -> Result<Module> {
        if let Some(path) = &self.verilog {
            file::write(path, module.verilog().as_bytes())?;
        }
        Ok(module)
    }

    fn drive(&self) -> Drive {
        let pattern = if self.back_pressure > 0.0 { Pattern::Random(self.back_pressure) } else { Pattern::Free };
        Drive { source: pattern, sink: pattern, seed: self.seed, ..Drive::default() }
    }

    /// Prints what a run gave.
    fn tell(&self, ran: &Ran<'_>) -> Result<Outcome> {
        let text = match self.format {
            Format::Json => format!("{}\n", self.json(ran)),
            Format::Table => ran.table(),
        };
        stdout::emit(&text)?;
        if let Some(first) = &ran.report.first {
            stdout::complain(&format!("mismatch: {}", sentence(first)));
        }
        Ok(if ran.report.mismatches == 0 { Outcome::Good } else { Outcome::Negative })
    }

    fn json(&self, Ran { block, config, word_bits, sizes, report }: &Ran<'_>) -> Value {
        let mut object: Map<String, Value> = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("block", json!(block));
        put("hw", json!(self.hw));
        put("config_digest", json!(format!("{:#010x}", config.digest())));
        put("word_bits", json!(word_bits));
        put("seed", json!(self.seed));
        put("back_pressure", json!(self.back_pressure));
        sizes.iter().for_each(|(name, value)| _ = put(name, value.clone()));
        put("words", json!(report.words));
        put("words_in", json!(report.entered));
        put("words_out", json!(report.left));
        put("cycles", json!(report.cycles));
        put("cycles_held", json!(report.held));
        put("words_per_cycle", json!(report.raw()));
        put("words_per_cycle_net", json!(report.net()));
        put("mismatches", json!(report.mismatches));
        put("first_mismatch", report.first.as_ref().map_or(Value::Null, |first| json!(sentence(first))));
        object.into()
    }
}

impl Ran<'_> {
    fn table(&self) -> String {
        let Ran { block, word_bits, sizes, report, .. } = self;
        let sizes: Vec<String> =
            sizes.iter().map(|(name, value)| format!("{} {value}", name.replace('_', " "))).collect();
        let row = |what: &str, value: String| vec![what.to_owned(), value];
        let rows = [
            row("words in", grouped(report.entered)),
            row("words out, all compared", grouped(report.left)),
            row("cycles", grouped(report.cycles)),
            row("  held by source or sink", grouped(report.held)),
            row("words a cycle", format!("{:.4}", report.raw())),
            row("  of cycles that were not held", format!("{:.4}", report.net())),
            row("mismatches", grouped(report.mismatches)),
        ];
        let head = format!("{block}, {word_bits} bits, {}", sizes.join(", "));
        let state = if report.mismatches == 0 { "equal to the reference" } else { "not equal to the reference" };
        table(&[&head, ""], &[1], rows) + &format!("{} words: {state}\n", grouped(report.words))
    }
}

fn sentence(mismatch: &Mismatch) -> String {
    let word = |(word, last): (u64, bool)| format!("{word:#x}{}", if last { " as the last one" } else { "" });
    format!("word {} is {}, expected {}", mismatch.index, word(mismatch.found), word(mismatch.expected))
}

/// A probability below one, for clap.
fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..1.0).contains(&p) => Ok(p),
        _ => Err("use a probability from 0 up to, but not including, 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_lie_below_one() {
        assert_eq!(probability("0.25"), Ok(0.25));
        assert_eq!(probability("0"), Ok(0.0));
        assert!(["1", "-0.1", "NaN", "often", ""].iter().all(|text| probability(text).is_err()));
    }

    #[test]
    fn a_mismatch_is_told_in_a_sentence() {
        let mismatch = Mismatch { index: 7, expected: (0x1f, true), found: (0x1e, false) };
        assert_eq!(sentence(&mismatch), "word 7 is 0x1e, expected 0x1f as the last one");
    }
}
