//! `tandem bitstream`: from a board and a configuration to a bitstream, with a report and a picture.

mod project;
mod summary;

use crate::options::Format;
use crate::table::{grouped, table};
use crate::{Outcome, board, hardware, stdout, tools};
use anyhow::{Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;
use tandem_boards::proof::describe as describe_proofs;
use tandem_boards::report::Report;
use tandem_boards::resources::Usage;
use tandem_boards::run::{Progress, Runner};
use tandem_boards::{Bitstream, Board, BoardError, Plan, TOP, Tools, design, estimate};
use tandem_isa::HwConfig;

/// Options of `tandem bitstream`.
///
/// For a board whose tools `cargo x setup` installs: writes the bitstream, bitstream.json (digests, clocks, utilisation, versions), floorplan.svg, the design, the netlist, the routed
/// design and all logs. Steps that ran before with the same inputs are not run again. Exit code 1 where a clock is too slow.
/// For a board that needs Vivado: writes a project, which `vivado -mode batch -source build.tcl` turns into a bitstream.
#[derive(Args)]
pub struct Options {
    /// The board: a name of `tandem board list`, or the path of a board's folder.
    #[arg(long, value_name = "BOARD", required_unless_present = "all", conflicts_with = "all")]
    board: Option<String>,
    /// Every board whose bitstream is made here.
    #[arg(long)]
    all: bool,
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file [default: the board's].
    #[arg(long, value_name = "PRESET|FILE", conflicts_with = "all")]
    hw: Option<String>,
    /// The seed of placement.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "seeds")]
    seed: u64,
    /// Try seeds 1 to K and take the fastest design.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=64))]
    seeds: Option<u64>,
    /// The folder to write to; it is made where there is none [default: bitstream/BOARD].
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print what would be run, and run nothing.
    #[arg(long)]
    dry_run: bool,
    /// With a board for Vivado: also say what the design takes of the part, by synthesis with yosys.
    #[arg(long)]
    estimate: bool,
    /// With --all: write the table of the boards between the marks of this file, and the pictures into a folder beside it.
    #[arg(long, value_name = "FILE", requires = "all", num_args = 0..=1, default_missing_value = "docs/boards.md")]
    summary: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let Some(word) = &options.board else { return all(options) };
    let board = board::resolve(word)?;
    let config = match &options.hw {
        Some(word) => hardware::resolve(word)?,
        None => board.config.clone(),
    };
    if !board.flow.is_open() {
        return project::run(options, &board, &config);
    }
    let plan = Plan::new(&board, &config, &seeds(options))?;
    if options.dry_run {
        let text = match options.format {
            Format::Table => plan.to_text(),
            Format::Json => serde_json::to_string_pretty(&plan)? + "\n",
        };
        stdout::emit(&text)?;
        return Ok(Outcome::Good);
    }
    let bitstream = make(&board, &config, &plan)?;
    let folder = options.output.clone().unwrap_or_else(|| board::folder(&board));
    bitstream.write(&folder)?;
    let report = &bitstream.report;
    let text = match options.format {
        Format::Json => report.to_json(),
        Format::Table => describe(report) + &format!("{}\n", folder.join(&report.file).display()),
    };
    stdout::emit(&text)?;
    Ok(verdict(report))
}

fn seeds(options: &Options) -> Vec<u64> {
    options.seeds.map_or_else(|| vec![options.seed], |count| (1..=count).collect())
}

/// Makes a bitstream, with a bar.
pub fn make(board: &Board, config: &HwConfig, plan: &Plan) -> Result<Bitstream> {
    let tools = tools::flow()?;
    let verilog = design(board, config)?;
    let made = with_bar(&tools, &board.name, plan.trials.len() as u64 + 2, |runner| {
        Bitstream::make(board, config, &verilog, plan, runner)
    });
    match made {
        Err(error @ BoardError::DoesNotFit { .. }) => bail!("{error}; {}", remedy(&tools, board, config)),
        made => Ok(made?),
    }
}

/// Runs something that has steps, with a bar that names the current one.
fn with_bar<T>(tools: &Tools, board: &str, steps: u64, work: impl FnOnce(&mut Runner) -> T) -> T {
    let bar = ProgressBar::new(steps);
    match ProgressStyle::with_template("{prefix}: {msg} {wide_bar} {pos}/{len} {elapsed}") {
        Ok(style) => bar.set_style(style),
        Err(e) => stdout::complain(&format!("note: no progress bar ({e})")),
    }
    bar.set_prefix(board.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut progress = |progress: Progress| match progress {
        Progress::Compiling(tool) => bar.set_message(format!("{tool} is made ready")),
        Progress::Begin(step) => bar.set_message(step.to_owned()),
        Progress::Done(..) => bar.inc(1),
    };
    let mut runner = Runner::new(tools, tools::flow_cache(), &mut progress);
    let result = work(&mut runner);
    bar.finish_and_clear();
    result
}

/// What to do about a configuration that does not fit: the largest one that does, found by synthesis.
fn remedy(tools: &Tools, board: &Board, config: &HwConfig) -> String {
    let presets = HwConfig::presets().into_iter().filter_map(HwConfig::preset);
    let mut smaller: Vec<HwConfig> = presets.chain([board.config.clone()]).filter(|other| other != config).collect();
    smaller.sort_by_key(|other| std::cmp::Reverse(Board::macs(other)));
    smaller.retain(|other| Board::macs(other) <= Board::macs(config));
    let found = with_bar(tools, &board.name, smaller.len() as u64, |runner| {
        smaller.into_iter().find(|other| {
            let taken = design(board, other).and_then(|verilog| estimate(board, &verilog, TOP, runner));
            taken.is_ok_and(|taken| taken.iter().all(|usage| usage.used <= usage.budget))
        })
    });
    match found {
        None => "no preset fits either".to_owned(),
        Some(other) if other == board.config => {
            format!("the largest that fits is the board's own ({} MACs): leave --hw out", Board::macs(&other))
        }
        Some(other) => {
            format!("the largest preset that fits is {} ({} MACs)", other.name().unwrap_or("-"), Board::macs(&other))
        }
    }
}

/// Says of a clock that is too slow where its slowest path lies.
fn verdict(report: &Report) -> Outcome {
    if report.timing_met {
        return Outcome::Good;
    }
    if let Some(clock) = report.clocks.first() {
        let path = report.critical_path.iter();
        let path = path.map(|s| format!("{} ({} cells, {:.1} ns)", s.block, s.cells, s.nanoseconds));
        stdout::complain(&format!(
            "timing not met: {:.1} MHz of {:.1} MHz; the slowest path goes through {}; try --seeds 8, a lower clock_hz or a \
             smaller configuration",
            clock.fmax_derated,
            clock.required_mhz,
            path.collect::<Vec<_>>().join(", ")
        ));
    }
    Outcome::Negative
}

/// A report for people.
fn describe(report: &Report) -> String {
    let mut text = usages(&report.utilisation);
    for clock in &report.clocks {
        let believed = match report.derate {
            derate if derate < 1.0 => format!(
                ", {:.1} MHz believed ({derate} of what is reported, because the tools' timing model is optimistic)",
                clock.fmax_derated
            ),
            _ => String::new(),
        };
        let met = if clock.met { "met" } else { "NOT met" };
        text.push_str(&format!(
            "clock {}: {:.1} MHz reported{believed}, {:.1} MHz needed: {met}\n",
            clock.name, clock.fmax_reported, clock.required_mhz
        ));
    }
    if report.seeds.len() > 1 {
        let seeds = report.seeds.iter().map(|a| format!("{}: {:.1} MHz", a.seed, a.fmax_derated));
        text.push_str(&format!("seeds {}; seed {} it is\n", seeds.collect::<Vec<_>>().join(", "), report.seed));
    }
    let cached = report.steps.iter().filter(|ran| ran.cached).count();
    text.push_str(&format!(
        "{} MACs at {:.1} MHz: {:.2} GOPS at most; configuration {}; {:.0} s of tools, {cached} of {} steps from the cache\n",
        report.macs,
        report.clock_hz as f64 / 1e6,
        report.peak_gops,
        report.config_digest,
        report.seconds(),
        report.steps.len()
    ));
    text.push_str(&format!(
        "sha256 {}, {} bytes; compared with the design: {}\n",
        report.sha256,
        grouped(report.bytes),
        describe_proofs(&report.proofs)
    ));
    text
}

/// What is taken of a part.
fn usages(usages: &[Usage]) -> String {
    let rows = usages.iter().map(|usage| {
        vec![usage.resource.clone(), grouped(usage.used), grouped(usage.budget), format!("{:.1} %", usage.percent)]
    });
    table(&["resource", "used", "of", "share"], &[1, 2, 3], rows)
}

/// Makes the bitstreams of all boards that have one here. A board that fails does not keep the others from being made.
fn all(options: &Options) -> Result<Outcome> {
    let boards = tandem_boards::names().into_iter().map(tandem_boards::find).collect::<Result<Vec<_>, _>>()?;
    if let Some(file) = &options.summary {
        summary::check(file)?;
    }
    let (mut reports, mut failed, mut outcome) = (Vec::new(), Vec::new(), Outcome::Good);
    for board in boards.iter().filter(|board| board.flow.is_open()) {
        let plan = Plan::new(board, &board.config, &seeds(options))?;
        if options.dry_run {
            stdout::emit(&plan.to_text())?;
            continue;
        }
        let folder = match &options.output {
            Some(folder) => folder.join(&board.name),
            None => board::folder(board),
        };
        let made = make(board, &board.config, &plan).and_then(|bitstream| {
            bitstream.write(&folder)?;
            Ok(bitstream)
        });
        match made {
            Ok(bitstream) => {
                if verdict(&bitstream.report) == Outcome::Negative {
                    outcome = Outcome::Negative;
                }
                reports.push((board, bitstream));
            }
            Err(error) => {
                stdout::complain(&format!("{}: {error:#}", board.name));
                failed.push(board.name.as_str());
            }
        }
    }
    if options.dry_run {
        return Ok(outcome);
    }
    let text = match options.format {
        Format::Json => {
            serde_json::to_string_pretty(&reports.iter().map(|(_, b)| &b.report).collect::<Vec<_>>())? + "\n"
        }
        Format::Table => summary::plain(&reports),
    };
    stdout::emit(&text)?;
    if !failed.is_empty() {
        bail!("no bitstream for {}; what went wrong stands above", failed.join(", "));
    }
    if let Some(file) = &options.summary {
        summary::write(file, &boards, &reports)?;
    }
    Ok(outcome)
}
