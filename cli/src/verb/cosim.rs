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
use std::time::Duration;
use tandem_isa::HwConfig;
use tandem_sim::Kernel;
use tandem_sim::cosim::{
    Catch, Checker, CosimReport, Coverage, Generator, MUTANTS, MUTANTS_HW, Mutant, MutantError, Party, applicable,
    hunt, mutate, parse_mutants,
};
use tandem_sim::tsim::{DramModel, TsimBus, TsimOptions, Variant};

/// Wall-clock time for one program.
const PATIENCE: Duration = Duration::from_secs(120);
/// The accelerator where the command line does not say.
const PRESET: &str = "vta";
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
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file. Where not given, it is vta, and with --mutants a
    /// small machine on which all of them can show.
    #[arg(long, value_name = "PRESET|FILE")]
    hw: Option<String>,
    /// Hold up every channel of the memory bus at random. With --mutants, for those too that show without it.
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

/// A mutant, and how it was found.
struct Row {
    mutant: Mutant,
    found: Option<Catch>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let config = match (&options.hw, options.mutants) {
        (None, true) => HwConfig::from_toml(MUTANTS_HW)?,
        (word, _) => hardware::resolve(word.as_deref().unwrap_or(PRESET))?,
    };
    if options.mutants { look_for_mutants(options, &config) } else { compare(options, &config) }
}

/// The device under test.
fn device(options: &Options, config: &HwConfig) -> Result<Party> {
    if options.device == SimulatorKind::Fsim {
        return Ok(Party::fsim(config, options.seed | 1, Kernel::Portable));
    }
    let model = verilated::model(config, None, Variant::default())?;
    // What registers and memories hold before the first reset must not show either.
    let bus = TsimBus::new(model, TsimOptions { trace: true, scramble: true, ..timing(options, options.stress) })?;
    let monitor = bus.monitor();
    Ok(Party::new("tsim", bus, move || monitor.trace()))
}

/// The memory bus of the device under test.
fn timing(options: &Options, stress: bool) -> TsimOptions {
    TsimOptions { dram: options.dram, stress: stress.then_some(options.seed), ..TsimOptions::default() }
}

fn checker(config: &HwConfig, device: Party) -> Result<Checker> {
    let reference = Party::fsim(config, 0, Kernel::best());
    Ok(Checker::new(config, reference, device)?.limit(PATIENCE))
}

fn compare(options: &Options, config: &HwConfig) -> Result<Outcome> {
    let generator = Generator::new(config, options.seed);
    let mut checker = checker(config, device(options, config)?)?.stop_after(ENOUGH);
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
            options.hw.as_deref().unwrap_or(PRESET),
            options.seed,
            mismatch.case
        ));
    }
    Ok(if report.mismatches.is_empty() { Outcome::Good } else { Outcome::Negative })
}

/// Looks for every mutant, and for none in the design as it should be.
fn look_for_mutants(options: &Options, config: &HwConfig) -> Result<Outcome> {
    if options.device == SimulatorKind::Fsim {
        bail!("--mutants changes the hardware, so that it needs --device tsim");
    }
    let (mutants, absent) = applicable(config, parse_mutants(MUTANTS)?);
    if mutants.is_empty() {
        bail!("the list of mutants is empty");
    }
    let programs = options.programs;
    let verilog = mutate(&tandem_hw::verilog(config), &mutants)?;
    let variant = Variant { mutants: true, ..Variant::default() };
    let model = verilated::model(config, Some(&verilog), variant)?;
    let bar = bar(mutants.len() as u64 + 2, "mutants");
    let look = |number: u32, stress: bool| -> Result<Option<Catch>> {
        let found = hunt(&model, number, &timing(options, stress || options.stress), options.seed, programs)?;
        bar.inc(1);
        Ok(found)
    };
    for stress in [false, true] {
        if let Some(Catch::Mismatch(mismatch)) = look(0, stress)? {
            bar.finish_and_clear();
            bail!("the design without a mutant fails already, so that mutants say nothing: {mismatch}");
        }
    }
    let mut rows = Vec::new();
    for (number, mutant) in (1..).zip(mutants) {
        let found = look(number, mutant.stress)?;
        rows.push(Row { mutant, found });
    }
    bar.finish_and_clear();
    let survive = rows.iter().filter(|row| row.found.is_none()).count();
    let text = match options.format {
        Format::Json => format!("{}\n", mutants_json(options, config, programs, &rows, &absent)),
        Format::Table => mutants_table(programs, &rows, absent.len()),
    };
    stdout::emit(&text)?;
    for (_, error) in &absent {
        stdout::complain(&format!("left out, because this design lacks what it changes: {error}"));
    }
    Ok(if survive == 0 { Outcome::Good } else { Outcome::Negative })
}

fn mutants_table(programs: u64, rows: &[Row], absent: usize) -> String {
    let caught = rows.iter().filter(|row| row.found.is_some()).count();
    let verdict = match rows.len() - caught {
        0 => format!("all {caught} mutants caught within {programs} programs"),
        left => format!("{left} of {} mutants survive {programs} programs", rows.len()),
    };
    let left_out = if absent > 0 { format!("; {absent} left out") } else { String::new() };
    let cells = rows.iter().map(|Row { mutant, found }| {
        let found_by = found.as_ref().map_or("survives", Catch::name);
        let after = found.as_ref().map_or_else(|| "-".to_owned(), |found| found.programs().to_string());
        let texts = [&mutant.name, &mutant.module, &mutant.class, found_by, &after, &mutant.doc];
        texts.map(str::to_owned).to_vec()
    });
    table(&["mutant", "module", "class", "caught by", "after", "what it breaks"], &[4], cells)
        + &verdict
        + &left_out
        + "\n"
}

fn mutants_json(
    options: &Options,
    config: &HwConfig,
    programs: u64,
    rows: &[Row],
    absent: &[(Mutant, MutantError)],
) -> Value {
    let caught = rows.iter().filter(|row| row.found.is_some()).count();
    let mutants = rows.iter().map(|Row { mutant, found }| {
        json!({
            "name": mutant.name,
            "module": mutant.module,
            "class": mutant.class,
            "stress": mutant.stress || options.stress,
            "doc": mutant.doc,
            "caught": found.is_some(),
            "caught_by": found.as_ref().map(Catch::name),
            "programs": found.as_ref().map(Catch::programs),
            "detail": found.as_ref().map(Catch::detail),
        })
    });
    json!({
        "hw": options.hw.as_deref().or(config.name()),
        "config_digest": format!("{:#010x}", config.digest()),
        "seed": options.seed,
        "programs": programs,
        "mutants": mutants.collect::<Vec<_>>(),
        "caught": caught,
        "survive": rows.len() - caught,
        "left_out": absent.iter().map(|(mutant, _)| &mutant.name).collect::<Vec<_>>(),
    })
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
        "hw": options.hw.as_deref().unwrap_or(PRESET),
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
        let mut checker = checker(&config, Party::fsim(&config, 1, Kernel::Portable)).unwrap();
        let report = checker.run(&Generator::new(&config, 3), 0..4, |_| true).unwrap();
        assert!(sentence(&report).starts_with("0 mismatches in 4 programs and "), "{}", sentence(&report));
        let text = coverage_table(&report.coverage);
        assert!(text.contains("arithmetic") && text.contains("gemm reset "), "{text}");
    }

    #[test]
    fn a_table_of_mutants_tells_which_survive() {
        let mut mutants = parse_mutants(MUTANTS).unwrap().into_iter();
        let mut row = |found| Row { mutant: mutants.next().unwrap(), found };
        let mut rows = vec![row(Some(Catch::Refused("no answer".to_owned())))];
        assert!(mutants_table(40, &rows, 0).ends_with("all 1 mutants caught within 40 programs\n"));
        rows.push(row(None));
        let text = mutants_table(40, &rows, 2);
        assert!(text.ends_with("1 of 2 mutants survive 40 programs; 2 left out\n"), "{text}");
    }
}
