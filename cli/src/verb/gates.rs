//! `tandem gates`: what synthesis, and place and route, made of the hardware runs in the hardware's place, and does the same.

mod whole;

use crate::built::Built;
use crate::options::{DeviceKind, DeviceOptions, Format, InputOptions, ModelOptions};
use crate::request::PlaceOptions;
use crate::session::Session;
use crate::simulation::SimulationOptions;
use crate::table::{grouped, table};
use crate::{Outcome, board, expect, hardware, input, model, stdout, tools, verilated};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tandem_boards::proof::{self, Extent, Proof, record};
use tandem_boards::{Board, Flow};
use tandem_driver::Bus;
use tandem_graph::Graph;
use tandem_hw::TOP;
use tandem_isa::HwConfig;
use tandem_sim::Kernel;
use tandem_sim::cosim::{Checker, CosimReport, Generator, Party};
use tandem_sim::netlist::{
    CHIP, ECP5_LARGEST, Family, Netlist, chip_shim, chip_verilog, round_trip_ecp5, route_ecp5, routed_verilog,
    synthesise,
};
use tandem_sim::tsim::{TsimBus, TsimOptions, Variant};
use tandem_tensor::Tensor;
use whole::Whole;

/// The accelerator where the command line does not say.
const PRESET: &str = "tiny";
/// Wall-clock time for one program.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Mismatches after which there is nothing more to learn.
const ENOUGH: usize = 10;
/// A netlist does not tell what its units wait for, so that a long computation must not count as hanging.
const WATCHDOG: u64 = 50_000_000;

/// Options of `tandem gates`.
///
/// The netlist runs random programs against the functional simulator: events, counters and memory must be the same, bit for bit.
/// Exit code 1 when anything differs.
#[derive(Args)]
pub struct Options {
    /// The family of FPGAs: ecp5, ice40 or gowin.
    #[arg(long, required_unless_present = "board", conflicts_with = "board")]
    family: Option<Family>,
    /// A board: its family, its accelerator, and the hardware as the board has it.
    #[arg(long, value_name = "BOARD")]
    board: Option<String>,
    /// What is proven: synth, the core's netlist of yosys; route, the core's netlist after place and route on the largest chip of
    /// the family, and that its bitstream survives unpacking and packing (ecp5); board, the board's own bitstream with memory
    /// controller and bridge, over its serial line: from the bits (ice40), as routed (ecp5), as synthesised (gowin).
    #[arg(long, value_enum, default_value = "synth")]
    level: Level,
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file [default: the board's, else tiny].
    #[arg(long, value_name = "PRESET|FILE")]
    hw: Option<String>,
    /// How many programs; some come with sequels that read what they left behind.
    #[arg(long, default_value_t = 20)]
    programs: u64,
    /// Chooses the programs, and where place and route begins.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// With --level board: the seed of placement of the bitstream.
    #[arg(long, value_name = "N", default_value_t = 1)]
    placement_seed: u64,
    /// Hold up every channel of the memory bus at random.
    #[arg(long)]
    stress: bool,
    /// A .tflite, .onnx or .graph file to run on the netlist too, compared with the CPU; it needs --input.
    #[arg(long, value_name = "MODEL", requires = "input")]
    model: Option<PathBuf>,
    /// Input files of the model, as for `tandem run`.
    #[arg(long, value_name = "F[,F2]", requires = "model")]
    input: Option<String>,
    #[command(flatten)]
    inputs: InputOptions,
    /// Samples of the input that are run.
    #[arg(long, value_name = "N", default_value_t = 1)]
    limit: usize,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How far down a netlist is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// After synthesis.
    Synth,
    /// After place and route.
    Route,
    /// All of a board, as far down as the family's tools read back.
    Board,
}

/// What is proven.
struct Subject {
    family: Family,
    board: Option<Board>,
    config: HwConfig,
    /// The hardware.
    rtl: String,
    /// What the report calls it.
    name: String,
}

/// The netlist in the hardware's place.
struct Gates {
    cells: usize,
    /// Bytes of the bitstream that was packed, unpacked and packed again.
    bitstream: Option<usize>,
    /// Where it comes from.
    level: proof::Level,
    /// SHA-256 of the bitstream that it is of.
    of: Option<String>,
}

/// A network on the netlist.
struct Network {
    name: String,
    samples: usize,
    compared: expect::Comparison,
}

impl Level {
    /// The sentence of the report.
    fn proven(self) -> &'static str {
        match self {
            Level::Synth => "the netlist after synthesis is the RTL",
            Level::Route => "the netlist after place and route is the RTL",
            Level::Board => "the board's own bitstream does what the functional simulator does",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Synth => "synth",
            Level::Route => "route",
            Level::Board => "board",
        }
    }
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let subject = subject(options)?;
    let (gates, report, network) = match options.level {
        Level::Board => on_board(options, &subject)?,
        Level::Synth => on_core(options, &subject, false)?,
        Level::Route => on_core(options, &subject, true)?,
    };
    let differs = network.as_ref().is_some_and(|network| network.compared.mismatches > 0);
    let good = report.mismatches.is_empty() && !differs;
    let ran = options.programs > 0 || network.is_some();
    if let (true, Some(board)) = (good && ran, &subject.board) {
        let design = tandem_boards::design(board, &subject.config)?;
        record(&tools::flow_cache(), &design, proof(options, &gates, network.as_ref()))?;
    }
    let text = match options.format {
        Format::Json => format!("{}\n", as_json(options, &subject, &gates, &report, network.as_ref())),
        Format::Table => as_table(options, &subject, &gates, &report, network.as_ref()),
    };
    stdout::emit(&text)?;
    for mismatch in &report.mismatches {
        stdout::complain(&format!("mismatch: {mismatch}"));
    }
    Ok(if good { Outcome::Good } else { Outcome::Negative })
}

/// What is kept of a run without a difference.
fn proof(options: &Options, gates: &Gates, network: Option<&Network>) -> Proof {
    let extent = if options.level == Level::Board { Extent::Board } else { Extent::Core };
    let network = network.map(|network| network.name.clone());
    Proof {
        level: gates.level,
        extent,
        bitstream: gates.of.clone(),
        programs: options.programs,
        seed: options.seed,
        network,
    }
}

/// The core's netlist, routed or not, on the bench of the simulated hardware.
fn on_core(options: &Options, subject: &Subject, routed: bool) -> Result<(Gates, CosimReport, Option<Network>)> {
    let (verilog, gates) = gates(options, subject, routed)?;
    let variant = Variant { netlist: true, ..Variant::default() };
    let model = verilated::model(&subject.config, Some(&verilog), variant)?;
    let stress = options.stress.then_some(options.seed);
    let tsim = TsimOptions { trace: true, scramble: true, watchdog_cycles: WATCHDOG, stress, ..TsimOptions::default() };
    let bus = TsimBus::new(Arc::clone(&model), tsim)?;
    let monitor = bus.monitor();
    let report = programs(options, &subject.config, Party::new("the netlist", bus, move || monitor.trace()))?;
    let network = network(options, |graph, samples| {
        let device = |simulation| {
            // The model of the netlist knows its configuration; a name is all that is asked for.
            let hw = Some(PRESET.to_owned());
            DeviceOptions { device: DeviceKind::Tsim.into(), hw, simulation, ..DeviceOptions::default() }
        };
        // The functional simulator looks at each program first: what it refuses says nothing about the netlist.
        let simulation = SimulationOptions { watchdog: Some(WATCHDOG), ..SimulationOptions::default() };
        Session::with_model(graph, &device(simulation), &model)?.run(samples, None, 1)
    })?;
    Ok((gates, report, network))
}

/// All of a board, over its serial line.
fn on_board(options: &Options, subject: &Subject) -> Result<(Gates, CosimReport, Option<Network>)> {
    let board = subject.board.as_ref().context("--level board: give --board; a family has no bitstream of its own")?;
    if options.stress {
        bail!("--stress: the memory of a board is its own; leave it out at --level board");
    }
    let whole = Whole::new(board, &subject.config, options.placement_seed)?;
    let report = programs(options, &subject.config, Party::untraced("the board", whole.bus()?))?;
    let network = network(options, |graph, samples| {
        let open = || Ok(Box::new(whole.bus()?) as Box<dyn Bus + Send>);
        Session::on_bus(graph, &subject.config, &board.name, open)?.run(samples, None, 1)
    })?;
    let Built { level, count, bitstream, .. } = whole.built;
    Ok((Gates { cells: count, bitstream: None, level, of: Some(bitstream) }, report, network))
}

/// The hardware that the command line names.
fn subject(options: &Options) -> Result<Subject> {
    let given = options.hw.as_deref().map(hardware::resolve).transpose()?;
    if let Some(name) = &options.board {
        let board = board::resolve(name)?;
        let family = match board.flow {
            Flow::Ecp5 => Family::Ecp5,
            Flow::Ice40 => Family::Ice40,
            Flow::Gowin => Family::Gowin,
            Flow::Vivado => {
                bail!("{name}: its netlist is made by Vivado, which is not here; nothing can be proven of it")
            }
        };
        let config = given.unwrap_or_else(|| board.config.clone());
        let rtl = tandem_boards::core(&board, &config)?;
        return Ok(Subject { family, config, rtl, name: board.name.clone(), board: Some(board) });
    }
    let family = options.family.context("give --family or --board")?;
    let config = given.map_or_else(|| hardware::resolve(PRESET), Ok)?;
    Ok(Subject { family, board: None, rtl: tandem_hw::verilog(&config), config, name: family.to_string() })
}

/// Synthesises the hardware, and places and routes it where that is asked for.
fn gates(options: &Options, subject: &Subject, routed: bool) -> Result<(String, Gates)> {
    let (family, cache) = (subject.family, tools::model_cache());
    if routed && family != Family::Ecp5 {
        bail!(
            "--level route: no chip of {family} has the pins of the core alone; use --level synth, or --family ecp5, whose \
             largest package has them"
        );
    }
    let wheels = tools::wheels()?;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("synthesis");
    let (rtl, config) = (&subject.rtl, &subject.config);
    let cells = family.cells();
    let made = if routed {
        let json = synthesise(&wheels, family, &format!("{rtl}{}", chip_verilog(config)), CHIP, &cache)?;
        bar.set_message("place and route");
        let routed = route_ecp5(&wheels, &json, ECP5_LARGEST, options.seed, &cache)?;
        bar.set_message("bits, and back");
        let bits = round_trip_ecp5(&wheels, &routed.config, &cache)?;
        let netlist = routed_verilog(&routed.json, CHIP)?;
        let count = netlist.lines().filter(|line| line.contains(" c") && line.ends_with(");")).count();
        let verilog = format!("{cells}\n{netlist}\n{}", chip_shim(config));
        (verilog, Gates { cells: count, bitstream: Some(bits.len()), level: proof::Level::Routed, of: None })
    } else {
        let netlist = Netlist::parse(&synthesise(&wheels, family, rtl, TOP, &cache)?, TOP)?;
        let count = netlist.cells.len();
        let verilog = format!("{cells}\n{}", netlist.verilog());
        (verilog, Gates { cells: count, bitstream: None, level: proof::Level::Synthesised, of: None })
    };
    bar.finish_and_clear();
    Ok(made)
}

/// Random programs on the netlist and on the functional simulator.
fn programs(options: &Options, config: &HwConfig, device: Party) -> Result<CosimReport> {
    let reference = Party::fsim(config, 0, Kernel::best());
    let mut checker = Checker::new(config, reference, device)?.limit(PATIENCE).stop_after(ENOUGH);
    let bar = ProgressBar::new(options.programs);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} programs, {eta} left") {
        bar.set_style(style);
    }
    let ran = checker.run(&Generator::new(config, options.seed), 0..options.programs, |_| {
        bar.inc(1);
        true
    });
    bar.finish_and_clear();
    ran.map_err(|e| anyhow!("{e}"))
}

/// The network of the command line, if any: on the netlist, by `run`, and on the CPU.
fn network(
    options: &Options,
    run: impl FnOnce(Graph, &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>>,
) -> Result<Option<Network>> {
    let (Some(path), Some(files)) = (&options.model, &options.input) else { return Ok(None) };
    let load =
        || model::ready(&ModelOptions { model: path.clone(), arith: None, cut_at: None, dim: Vec::new(), pass: None });
    let graph = load()?;
    let samples = input::samples(&graph, files, &options.inputs, Some(options.limit))?;
    let on_cpu = Session::open(load()?, &DeviceOptions::default().on(DeviceKind::Cpu), &PlaceOptions::default())?
        .run(&samples, None, 1)?;
    let found = run(load()?, &samples)?;
    let compared = expect::compare_bytes(&expect::bytes(&on_cpu), &graph, &found, false)?;
    let name = path.file_stem().map_or_else(|| graph.name.clone(), |stem| stem.to_string_lossy().into_owned());
    Ok(Some(Network { name, samples: samples.len(), compared }))
}

fn as_table(
    options: &Options,
    subject: &Subject,
    gates: &Gates,
    report: &CosimReport,
    network: Option<&Network>,
) -> String {
    let header = ["what ran on the netlist", "runs", "cycles", "mismatches"];
    let mut rows = vec![vec![
        format!("{} random programs and their sequels", grouped(report.cases)),
        grouped(2 * report.programs),
        grouped(report.cycles),
        report.mismatches.len().to_string(),
    ]];
    if let Some(network) = network {
        rows.push(vec![
            format!("{}, {} elements compared with the CPU", network.name, grouped(network.compared.elements as u64)),
            network.samples.to_string(),
            "-".to_owned(),
            network.compared.mismatches.to_string(),
        ]);
    }
    let mut text = table(&header, &[1, 2, 3], rows);
    let (name, level) = (&subject.name, options.level.name());
    let differs = !report.mismatches.is_empty() || network.is_some_and(|network| network.compared.mismatches > 0);
    let verdict = if differs { "NOT proven" } else { "proven" };
    text.push_str(&format!(
        "{verdict} at level {level} of {name} with {} cells: {}\n",
        grouped(gates.cells as u64),
        options.level.proven()
    ));
    if let Some(digest) = &gates.of {
        text.push_str(&format!("read back {} of the bitstream with sha256 {digest}\n", gates.level.describe()));
    }
    if let Some(bytes) = gates.bitstream {
        text.push_str(&format!(
            "the bitstream of {} bytes, unpacked and packed again, is the same\n",
            grouped(bytes as u64)
        ));
    }
    text
}

fn as_json(
    options: &Options,
    subject: &Subject,
    gates: &Gates,
    report: &CosimReport,
    network: Option<&Network>,
) -> serde_json::Value {
    let network = network.map(|network| {
        json!({
            "model": network.name,
            "samples": network.samples,
            "elements": network.compared.elements,
            "mismatches": network.compared.mismatches,
        })
    });
    json!({
        "board": options.board,
        "family": subject.family.name(),
        "level": options.level.name(),
        "hw": options.hw.as_deref().or(subject.config.name()),
        "config_digest": format!("{:#010x}", subject.config.digest()),
        "seed": options.seed,
        "stress": options.stress,
        "cells": gates.cells,
        "bitstream_bytes": gates.bitstream,
        "from": gates.level,
        "bitstream_sha256": gates.of,
        "programs": report.cases,
        "sequels": report.programs - report.cases,
        "instructions": report.instructions,
        "cycles": report.cycles,
        "mismatches": report.mismatches.len(),
        "details": report.mismatches.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "network": network,
    })
}
