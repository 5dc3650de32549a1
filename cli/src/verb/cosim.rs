//! `tandem cosim`: random programs on the functional simulator and on the hardware, compared event by event.

use crate::options::{Format, SimulatorKind};
use crate::simulation::dram;
use crate::table::{grouped, table};
use crate::{Outcome, hardware, stdout, verilated};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tandem_isa::HwConfig;
use tandem_sim::Kernel;
use tandem_sim::cosim::{
    Checker, CosimReport, Coverage, Generator, MUTANTS, Mismatch, Mutant, Party, mutate, parse_mutants,
};
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimOptions, Variant};

/// Wall-clock time for one program, of hardware that is expected to work and of hardware with a fault.
const PATIENCE: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(20)];
/// Mismatches after which there is nothing more to learn.
const ENOUGH: usize = 10;

/// Options of `tandem cosim`.
///
/// Every program runs twice without a reset in between. Exit code 1 when anything differs, or when a mutant survives.
#[derive(Args)]
pub struct Options {
    /// How many programs; some come with sequels that read what they left behind.
    #[arg(long, default_value_t = 100)]
    programs: u64,
    /// Chooses the programs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    hw: String,
    /// Hold up every channel of the memory bus at random.
    #[arg(long)]
    stress: bool,
    /// The timing of the memory: ideal, zynq, or numbers as for `tandem run`.
    #[arg(long, value_parser = dram, value_name = "ideal|zynq|LATENCY,BITS,OUTSTANDING", default_value = "ideal")]
    dram: DramModel,
    /// Run this program alone, to look at a mismatch.
    #[arg(long, value_name = "INDEX", conflicts_with = "mutants")]
    program: Option<u64>,
    /// Put known faults into the hardware, one after the other, and see whether each is found within --programs.
    #[arg(long)]
    mutants: bool,
    /// What is compared with the functional simulator: the hardware, or the functional simulator again with other kernels and
    /// another interleaving, a check of the programs themselves.
    #[arg(long, value_enum, default_value = "tsim")]
    device: SimulatorKind,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Makes devices under test.
trait Hardware {
    /// A device that shows the mutant of this number; 0 is none.
    fn party(&self, mutant: u32) -> Result<Party>;
}

/// The functional simulator as its own device under test.
struct Functional {
    config: HwConfig,
    seed: u64,
}

/// The hardware.
struct Verilated {
    model: Arc<Model>,
    options: TsimOptions,
}

impl Hardware for Verilated {
    fn party(&self, mutant: u32) -> Result<Party> {
        let bus = TsimBus::new(Arc::clone(&self.model), TsimOptions { mutant, ..self.options.clone() })?;
        let monitor = bus.monitor();
        Ok(Party::new("tsim", bus, move || monitor.trace()))
    }
}

impl Hardware for Functional {
    fn party(&self, mutant: u32) -> Result<Party> {
        if mutant != 0 {
            bail!("--mutants changes the hardware, so that it needs --device tsim");
        }
        Ok(Party::fsim(&self.config, self.seed | 1, Kernel::Portable))
    }
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let config = hardware::resolve(&options.hw)?;
    let mutants = if options.mutants { parse_mutants(MUTANTS)? } else { Vec::new() };
    if options.mutants && mutants.is_empty() {
        bail!("the list of mutants is empty");
    }
    let device = open(options, &config, &mutants)?;
    if options.mutants { hunt(options, &config, &*device, &mutants) } else { compare(options, &config, &*device) }
}

fn open(options: &Options, config: &HwConfig, mutants: &[Mutant]) -> Result<Box<dyn Hardware>> {
    let seed = options.seed;
    if options.device == SimulatorKind::Fsim {
        return Ok(Box::new(Functional { config: config.clone(), seed }));
    }
    let variant = Variant { mutants: !mutants.is_empty(), ..Variant::default() };
    let verilog = variant.mutants.then(|| mutate(&tandem_hw::verilog(config), mutants)).transpose()?;
    let model = verilated::model(config, verilog.as_deref(), variant)?;
    let dram = options.dram;
    let stress = options.stress.then_some(seed);
    // What registers and memories hold before the first reset must not show either.
    let options = TsimOptions { dram, stress, trace: true, scramble: true, ..TsimOptions::default() };
    Ok(Box::new(Verilated { model, options }))
}

fn checker(config: &HwConfig, party: Party, limit: Duration) -> Result<Checker> {
    let reference = Party::fsim(config, 0, Kernel::best());
    Ok(Checker::new(config, reference, party)?.limit(limit))
}

fn compare(options: &Options, config: &HwConfig, device: &dyn Hardware) -> Result<Outcome> {
    let generator = Generator::new(config, options.seed);
    let mut checker = checker(config, device.party(0)?, PATIENCE[0])?.stop_after(ENOUGH);
    let cases = match options.program {
        Some(index) => index..index.checked_add(1).ok_or_else(|| anyhow!("--program {index}: too large"))?,
        None => 0..options.programs,
    };
    let bar = bar(cases.end - cases.start, "programs");
    let ran = checker.run(&generator, cases, |_| {
        bar.inc(1);
        true
    });
    let report = ran.map_err(|e| anyhow!("{e}"))?;
    bar.finish_and_clear();
    let text = match options.format {
        Format::Json => format!("{}\n", report_json(options, config, &report)),
        Format::Table => coverage_table(&report.coverage) + &sentence(&report) + "\n",
    };
    stdout::emit(&text)?;
    for mismatch in &report.mismatches {
        stdout::complain(&format!(
            "mismatch: {mismatch}; again with: tandem cosim --hw {} --seed {} --program {}",
            options.hw, options.seed, mismatch.case
        ));
    }
    Ok(if report.mismatches.is_empty() { Outcome::Good } else { Outcome::Negative })
}

/// Looks for every mutant.
fn hunt(options: &Options, config: &HwConfig, device: &dyn Hardware, mutants: &[Mutant]) -> Result<Outcome> {
    let generator = Generator::new(config, options.seed);
    let bar = bar(mutants.len() as u64, "mutants");
    let mut found: Vec<Option<Mismatch>> = Vec::new();
    for number in (1..).take(mutants.len()) {
        let mut checker = checker(config, device.party(number)?, PATIENCE[1])?.stop_after(1);
        let report = checker.run(&generator, 0..options.programs, |_| true).map_err(|e| anyhow!("{e}"))?;
        found.push(report.mismatches.into_iter().next());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let caught = found.iter().flatten().count();
    let verdict = match mutants.len() - caught {
        0 => format!("all {caught} mutants caught"),
        left => format!("{left} of {} mutants survive {} programs", mutants.len(), options.programs),
    };
    let text = match options.format {
        Format::Json => {
            let rows = mutants.iter().zip(&found).map(|(mutant, found)| {
                json!({
                    "name": mutant.name,
                    "class": mutant.class,
                    "module": mutant.module,
                    "caught": found.is_some(),
                    "programs": found.as_ref().map(|mismatch| mismatch.case + 1),
                    "what": found.as_ref().map(|mismatch| mismatch.what.name()),
                })
            });
            format!(
                "{}\n",
                json!({ "mutants": rows.collect::<Vec<_>>(), "caught": caught, "survive": mutants.len() - caught })
            )
        }
        Format::Table => {
            let rows = mutants.iter().zip(&found).map(|(mutant, found)| {
                let (programs, what) = match found {
                    Some(mismatch) => ((mismatch.case + 1).to_string(), mismatch.what.name().to_owned()),
                    None => ("-".to_owned(), "survives".to_owned()),
                };
                vec![mutant.name.clone(), mutant.class.clone(), mutant.module.clone(), programs, what]
            });
            table(&["mutant", "class", "module", "programs", "found by"], &[3], rows) + &verdict + "\n"
        }
    };
    stdout::emit(&text)?;
    Ok(if caught == mutants.len() { Outcome::Good } else { Outcome::Negative })
}

fn sentence(report: &CosimReport) -> String {
    let (mismatches, plural) = (report.mismatches.len(), if report.mismatches.len() == 1 { "" } else { "es" });
    format!(
        "{mismatches} mismatch{plural} in {} programs and {} sequels, each run twice: {} instructions, {} cycles",
        grouped(report.cases),
        grouped(report.programs - report.cases),
        grouped(report.instructions),
        grouped(report.cycles)
    )
}

fn report_json(options: &Options, config: &HwConfig, report: &CosimReport) -> Value {
    let mut coverage: Map<String, Value> = Map::new();
    for (group, name, count) in report.coverage.counts() {
        let group = coverage.entry(group).or_insert_with(|| json!({}));
        if let Some(group) = group.as_object_mut() {
            group.insert(name.trim().to_owned(), json!(count));
        }
    }
    let mismatches: Vec<Value> = report
        .mismatches
        .iter()
        .map(|m| {
            json!({
                "program": m.case,
                "seed": m.seed,
                "launch": m.program,
                "run": m.run,
                "what": m.what.name(),
                "detail": m.detail,
            })
        })
        .collect();
    json!({
        "hw": options.hw,
        "config_digest": format!("{:#010x}", config.digest()),
        "seed": report.seed,
        "stress": options.stress,
        "programs": report.cases,
        "sequels": report.programs - report.cases,
        "instructions": report.instructions,
        "cycles": report.cycles,
        "mismatches": mismatches.len(),
        "details": mismatches,
        "coverage": coverage,
    })
}

/// A row for each group of what was exercised.
fn coverage_table(coverage: &Coverage) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (group, name, count) in coverage.counts() {
        match rows.last_mut().filter(|row| row.first().is_some_and(|first| first == group)) {
            Some(row) => {
                if let Some(cell) = row.get_mut(1) {
                    let _ = write!(cell, ", {} {count}", name.trim());
                }
            }
            None => rows.push(vec![group.to_owned(), format!("{} {count}", name.trim())]),
        }
    }
    table(&["exercised", "instructions"], &[], rows)
}

/// A progress bar; it stays hidden where stderr is no terminal.
fn bar(count: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(count);
    if let Ok(style) = ProgressStyle::with_template(&format!("{{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left")) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_was_run_and_what_differed() {
        let config = HwConfig::preset("tiny").unwrap();
        let device = Functional { config: config.clone(), seed: 0 };
        let mut checker = checker(&config, device.party(0).unwrap(), PATIENCE[0]).unwrap();
        let report = checker.run(&Generator::new(&config, 3), 0..4, |_| true).unwrap();
        assert!(sentence(&report).starts_with("0 mismatches in 4 programs and "), "{}", sentence(&report));
        let text = coverage_table(&report.coverage);
        assert!(text.contains("arithmetic") && text.contains("gemm reset "), "{text}");
        assert!(device.party(1).is_err());
    }
}
