//! `tandem board sim`: a board in simulation, behind a pseudo-terminal.

use super::terminal::{self, Ended, Terminal};
use crate::built::{Built, built};
use crate::options::Format;
use crate::table::{grouped, table};
use crate::{Outcome, board, file, hardware, stdout, tools, verilated};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tandem_hw::Target;
use tandem_hw::shell::{Memory, Shell, board_cells, board_verilog};
use tandem_sim::board::{BoardModel, BoardOptions, BoardSim, Cable, CableCounts, CableFaults, Chip, chip_of};
use tandem_sim::tsim::Variant;

/// Options of `tandem board sim`.
///
/// The first line of stdout is the path of the terminal, for `--device board:NAME --port PATH`. The board's time passes only
/// while it has something to do. Ctrl-C, SIGTERM or the end of stdin ends it. Exit code 1 when the board breaks a rule of its
/// memory chip or of the serial line.
#[derive(Args)]
pub struct Options {
    /// The board: its clock, memory, bit rate, and its accelerator where --hw does not say.
    #[arg(long, value_name = "NAME|FOLDER", required_unless_present_any = ["verilog", "memory"])]
    board: Option<String>,
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", conflicts_with = "verilog")]
    hw: Option<String>,
    /// Not the design, but what the tools made of it: the bits (iCE40), what was placed and routed (ECP5), what was synthesised
    /// (Gowin). The bitstream is made where it is not there yet.
    #[arg(long, requires = "board")]
    built: bool,
    /// The seed of placement of what --built runs.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "built")]
    placement_seed: u64,
    /// A board that is none of the known: an accelerator, the serial line, and this memory.
    #[arg(long, value_name = "blockram:BYTES|spram", value_parser = memory, conflicts_with = "board", requires = "hw")]
    memory: Option<Memory>,
    /// The Verilog of a board, a design or a netlist with the module `board`, in the place of the one that is made here.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["board", "memory"])]
    verilog: Option<PathBuf>,
    /// The Verilog of the cells that a netlist is made of.
    #[arg(long, value_name = "FILE", requires = "verilog")]
    cells: Option<PathBuf>,
    /// Clock of a board that is none of the known.
    #[arg(long, value_name = "HERTZ", default_value = "24000000", conflicts_with = "board")]
    clock_hz: u32,
    /// Bits a second on the serial line of a board that is none of the known.
    #[arg(long, value_name = "BITS", default_value = "1000000", conflicts_with = "board")]
    baud: u32,
    /// Make a symbolic link to the terminal here, for as long as it lives.
    #[arg(long, value_name = "PATH")]
    port_link: Option<PathBuf>,
    /// Lose, change, double and delay bytes in both directions at random.
    #[arg(long)]
    faults: bool,
    /// The part of the bytes that --faults loses, changes or doubles.
    #[arg(long, value_name = "PART", default_value = "0.01", value_parser = part)]
    fault_rate: f64,
    /// Chooses the faults.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Record every signal of the board in this file (FST). It grows fast.
    #[arg(long, value_name = "FILE")]
    waves: Option<PathBuf>,
    /// End when the first program that has opened the terminal closes it.
    #[arg(long)]
    once: bool,
    /// Form of the summary at the end.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What is simulated.
struct Text {
    verilog: String,
    cells: String,
    /// Whether the Verilog is a netlist.
    netlist: bool,
    chip: Option<Box<dyn Chip>>,
    clock_hz: u32,
    baud: u32,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let Text { verilog, cells, netlist, chip, clock_hz, baud } = board_text(options)?;
    let variant = Variant { waves: options.waves.is_some(), netlist, ..Variant::default() };
    let (tools, cache) = (tools::find()?, tools::model_cache());
    let model = verilated::with_bar(|progress| {
        BoardModel::build(&verilog, &cells, &tools, &cache, variant, progress).context("the model of the board")
    })?;
    let how = BoardOptions { waves: options.waves.clone(), ..BoardOptions::new(clock_hz.into(), baud.into()) };
    let per_million = if options.faults { (options.fault_rate * 1e6).round() as u32 } else { 0 };
    let board = BoardSim::new(model, how, chip)?;
    let mut cable = Cable::with_faults(board, CableFaults { per_million, seed: options.seed });
    let terminal = Terminal::open(options.port_link.as_deref(), options.once)?;
    stdout::emit(&format!("{}\n", terminal.path().display()))?;
    let begin = Instant::now();
    let served = terminal::serve(terminal, &mut cable)?;
    let summary = Summary::new(&cable, served, begin.elapsed());
    cable.board_mut().finish_waves()?;
    stdout::emit(&match options.format {
        Format::Json => format!("{}\n", summary.json()),
        Format::Table => summary.table(),
    })?;
    Ok(if summary.good() { Outcome::Good } else { Outcome::Negative })
}

/// The board that the options name.
fn board_text(options: &Options) -> Result<Text> {
    let Options { clock_hz, baud, .. } = *options;
    if let Some(path) = &options.verilog {
        let verilog = file::read_text(path)?;
        let cells = options.cells.as_deref().map(file::read_text).transpose()?;
        let netlist = cells.is_some();
        return Ok(Text { verilog, cells: cells.unwrap_or_default(), netlist, chip: None, clock_hz, baud });
    }
    let board = options.board.as_deref().map(board::resolve).transpose()?;
    let config = match (&options.hw, &board) {
        (Some(hw), _) => hardware::resolve(hw)?,
        (None, Some(board)) => board.config.clone(),
        (None, None) => bail!("give --board, or --hw and --memory"),
    };
    let shell = match (&board, &options.memory) {
        (Some(board), _) => tandem_boards::shell(board)?,
        (None, Some(memory)) => Shell { clock_hz, baud, leds: 4, memory: memory.clone() },
        (None, None) => bail!("give --board, or --hw and --memory"),
    };
    if let (true, Some(board)) = (options.built, &board) {
        let Built { verilog, cells, .. } = built(board, &config, options.placement_seed)?;
        let (clock_hz, baud) = (shell.clock_hz, shell.baud);
        return Ok(Text { verilog, cells: cells.to_owned(), netlist: true, chip: chip_of(&shell), clock_hz, baud });
    }
    let target = board.as_ref().map_or_else(Target::default, |board| tandem_boards::target(board, &config));
    Ok(Text {
        verilog: board_verilog(&config, &target, &shell)?,
        cells: board_cells(&target, &shell).to_owned(),
        netlist: false,
        chip: chip_of(&shell),
        clock_hz: shell.clock_hz,
        baud: shell.baud,
    })
}

/// What there is to tell at the end.
struct Summary {
    ended: Ended,
    cycles: u64,
    simulated: Duration,
    wall: Duration,
    /// Wall time in which the board ran.
    ran: Duration,
    to_board: CableCounts,
    to_host: CableCounts,
    unread: u64,
    framing_errors: u64,
}

impl Summary {
    fn new(cable: &Cable, served: terminal::Served, wall: Duration) -> Summary {
        let board = cable.board();
        Summary {
            ended: served.ended,
            cycles: board.cycles(),
            simulated: board.time(),
            wall,
            ran: served.ran,
            to_board: cable.to_board(),
            to_host: cable.to_host(),
            unread: served.unread,
            framing_errors: board.framing_errors(),
        }
    }

    fn good(&self) -> bool {
        self.violation().is_none() && self.framing_errors == 0
    }

    fn violation(&self) -> Option<&str> {
        match &self.ended {
            Ended::Violation(violation) => Some(violation),
            Ended::Asked | Ended::HostLeft => None,
        }
    }

    fn rate(&self) -> f64 {
        let seconds = self.ran.as_secs_f64();
        if seconds > 0.0 { self.cycles as f64 / seconds } else { 0.0 }
    }

    fn table(&self) -> String {
        let faults = |counts: &CableCounts| {
            let CableCounts { lost, changed, doubled, late, .. } = counts;
            format!("{lost} lost, {changed} changed, {doubled} doubled, {late} late")
        };
        let (to_board, to_host) = (&self.to_board, &self.to_host);
        let rows = [
            ("simulated cycles", grouped(self.cycles)),
            ("simulated seconds", format!("{:.6}", self.simulated.as_secs_f64())),
            ("bytes to the board", grouped(to_board.bytes)),
            ("bytes to the host", grouped(to_host.bytes)),
            ("bytes that nobody read", grouped(self.unread)),
            ("faults to the board", faults(to_board)),
            ("faults to the host", faults(to_host)),
            ("bytes without a stop bit", grouped(self.framing_errors)),
            ("wall seconds", format!("{:.3}", self.wall.as_secs_f64())),
            ("wall seconds in which the board ran", format!("{:.3}", self.ran.as_secs_f64())),
            ("cycles a second of these", grouped(self.rate() as u64)),
            ("broken rules", self.violation().unwrap_or("none").to_owned()),
        ];
        table(&["simulated board", ""], &[], rows.map(|(name, value)| vec![name.to_owned(), value]))
    }

    fn json(&self) -> Value {
        let faults = |counts: &CableCounts| {
            let CableCounts { bytes, lost, changed, doubled, late } = counts;
            json!({ "bytes": bytes, "lost": lost, "changed": changed, "doubled": doubled, "late": late })
        };
        json!({
            "cycles": self.cycles,
            "simulated_seconds": self.simulated.as_secs_f64(),
            "to_board": faults(&self.to_board),
            "to_host": faults(&self.to_host),
            "unread_bytes": self.unread,
            "framing_errors": self.framing_errors,
            "wall_seconds": self.wall.as_secs_f64(),
            "run_seconds": self.ran.as_secs_f64(),
            "cycles_per_second": self.rate(),
            "violation": self.violation(),
        })
    }
}

fn memory(text: &str) -> Result<Memory, String> {
    let bytes = text.strip_prefix("blockram:").map(str::parse);
    match (text, bytes) {
        ("spram", _) => Ok(Memory::Spram),
        (_, Some(Ok(bytes))) => Ok(Memory::BlockRam { bytes }),
        _ => Err("use blockram:BYTES or spram".to_owned()),
    }
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("use a number from 0 to 1".to_owned()),
    }
}
