//! `tandem explore`: which accelerators for given models and a board no other one beats, and what the best of them become.

mod calibrate;
mod chip;
mod evaluate;
mod exploration;
mod goal;
mod log;
mod memory;
mod outcome;
mod plot;
mod schedule;
mod subject;

use self::chip::{Chip, Trial};
use self::evaluate::Trials;
use self::exploration::Exploration;
use self::goal::Goals;
use self::log::Log;
use crate::options::Format;
use crate::simulation::dram;
use crate::{Outcome, board, file, stdout};
use anyhow::{Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tandem_boards::Board;
use tandem_boards::area::{Predictor, Table};
use tandem_boards::explore::Settings;
use tandem_sim::tsim::DramModel;

/// Designs that are screened for each one that is measured.
const SCREENED: usize = 10;

/// Options of `tandem explore`.
///
/// Many designs are screened: cycles by prediction, area and clock by what earlier designs of the board took. The promising ones get
/// schedules of their own and run every model on the simulated hardware, cycle by cycle, and every result is compared with the reference. The front of those is
/// synthesised, and the best of it placed and routed. Exit code 1 where a design computes something else than the reference.
#[derive(Args)]
pub struct Options {
    /// The models: resnet8, kws, vww, ad (of the folder that TANDEM_MODELS names), or paths, with commas between them.
    #[arg(
        long,
        value_name = "NAME|FILE,..",
        value_delimiter = ',',
        required_unless_present = "calibrate",
        conflicts_with = "calibrate"
    )]
    models: Vec<String>,
    /// The board: a name of `tandem board list`, or the path of a board's folder.
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// Designs that run the models on simulated hardware.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = count)]
    budget: usize,
    /// Designs that are screened [default: ten for each of the budget].
    #[arg(long, value_name = "N", value_parser = count)]
    screen: Option<usize>,
    /// Determines every choice of the search and the inputs of the models.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Inferences that are handed to the accelerator at a time; with more than one, designs with several rows are looked at.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    batch_inputs: usize,
    /// Timing of the memory: ideal, zynq, or numbers: cycles, bits a cycle, bursts in flight [default: the board's].
    #[arg(long, value_parser = dram, value_name = "ideal|zynq|LATENCY,BITS,OUTSTANDING")]
    dram: Option<DramModel>,
    /// Tiles of each geometry of layers that are tried alone, by predicted cycles, before layers are tried between their neighbours;
    /// with 1 the compiler chooses alone.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = count)]
    schedules: usize,
    /// Write the schedules of the measured designs, for --tuned of other verbs.
    #[arg(long, value_name = "OUT.jsonl")]
    save_schedules: Option<PathBuf>,
    /// What counts, and how much: times of models by their names, lut, ff, dsp, bram [default: each model 1, lut 1, bram 0.5]. What
    /// is not named does not count. The front is over all that counts; the best of it have the least product of powers.
    #[arg(long, value_name = "NAME=WEIGHT,..", value_delimiter = ',')]
    objective: Vec<String>,
    /// Designs of the front that are synthesised at most, the best first.
    #[arg(long, value_name = "N", default_value_t = 12)]
    synthesise: usize,
    /// Designs of the front that are placed and routed, the best first; with --calibrate, designs of the table.
    #[arg(long, value_name = "N", default_value_t = 3)]
    place: usize,
    /// The seed of placement.
    #[arg(long, value_name = "N", default_value_t = 1)]
    placement_seed: u64,
    /// Part of the look-up tables that a design of the front may take to be placed: with more, an open router takes hours or finds no
    /// way. Where it is more, that is said.
    #[arg(long, value_name = "0..1", default_value_t = 0.3, value_parser = part)]
    place_part: f64,
    /// Minutes that placing and routing a design takes at most; one that takes longer leaves its place to the next one.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = count)]
    place_minutes: usize,
    /// Designs that are simulated, synthesised or placed at the same time [default: as many as there are cores].
    #[arg(long, value_name = "N", value_parser = count)]
    jobs: Option<usize>,
    /// Keep results in this file and take those that it has; an exploration that was ended goes on where it was.
    #[arg(long, value_name = "LOG.jsonl")]
    log: Option<PathBuf>,
    /// The table of designs that area and clock are foretold from [default: designs.json of the board's folder].
    #[arg(long, value_name = "FILE")]
    designs: Option<PathBuf>,
    /// Make the table of designs: synthesise --budget designs that differ as much as they can, place --place of them, and write
    /// the file. It takes minutes a design, and as many again to place one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["designs", "plot", "objective", "dram", "save_schedules"])]
    calibrate: Option<PathBuf>,
    /// Draw times over look-up tables.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let board = board::resolve(&options.board)?;
    if !board.flow.is_open() {
        bail!("{}: its designs are placed by Vivado, which is not here; choose another board", board.name);
    }
    for path in options.plot.iter().chain(&options.calibrate).chain(&options.save_schedules) {
        file::probe(path)?;
    }
    let log = Log::open(options.log.as_deref())?;
    if log.mended {
        stdout::complain("note: the last line of the log was cut short and is taken off");
    }
    let chip = Chip::new(&board, &log, options.jobs)?;
    if let Some(path) = &options.calibrate {
        return calibrate::run(options, &chip, path);
    }
    let table = table(&board, options.designs.as_deref())?;
    let predictor = Predictor::fit(&board, &table)?;
    note_age(&chip, &table);
    let subjects = subject::load(&options.models, &board.config, options.batch_inputs, options.seed)?;
    let goals = Goals::new(&options.objective, &subjects)?;
    let dram = options.dram.unwrap_or_else(|| memory::memory(&board));
    let settings = Settings {
        budget: options.budget,
        screened: options.screen.unwrap_or(SCREENED * options.budget).max(options.budget),
        seed: options.seed,
    };
    let trials = Trials { board: &board, subjects: &subjects, dram, schedules: options.schedules };
    let mut exploration = Exploration::new(&trials, &chip, &predictor, &goals);
    if let Some(difference) = exploration.search(settings, options.batch_inputs)? {
        stdout::complain(&format!("mismatch: {difference}"));
        return Ok(Outcome::Negative);
    }
    exploration.synthesise(options.synthesise)?;
    exploration.place(options.place, options.place_part, options.trial())?;
    if let Some(path) = &options.save_schedules {
        file::replace(path, exploration.schedules().as_bytes())?;
    }
    let outcome = exploration.outcome(settings, options.batch_inputs)?;
    if let Some(path) = &options.plot {
        file::replace(path, plot::svg(&outcome).as_bytes())?;
    }
    stdout::emit(&match options.format {
        Format::Table => outcome.text(),
        Format::Json => serde_json::to_string_pretty(&outcome)? + "\n",
    })?;
    Ok(Outcome::Good)
}

impl Options {
    /// How a design is placed and routed.
    fn trial(&self) -> Trial {
        Trial { seed: self.placement_seed, limit: Duration::from_secs(60 * self.place_minutes as u64) }
    }
}

/// The table of designs of a board.
fn table(board: &Board, path: Option<&Path>) -> Result<Table> {
    Ok(match path {
        Some(path) => Table::read(board, &path.display().to_string(), &file::read_text(path)?)?,
        None => Table::of(board)?,
    })
}

/// Says where a table is of other hardware than there is now.
fn note_age(chip: &Chip<'_>, table: &Table) {
    let (current, all) = (table.current(|config| chip.fingerprint(config)), table.designs.len());
    if current < all {
        stdout::complain(&format!(
            "note: {} of the {all} designs that area and clock are foretold from are of another revision of the hardware; make \
             them again with `{}`",
            all - current,
            table.command
        ));
    }
}

/// A part, for clap.
fn part(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|part| *part > 0.0 && *part <= 1.0);
    parsed.ok_or_else(|| "give a number above 0 and up to 1, such as 0.3".to_owned())
}

/// A count of at least one, for clap.
fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=100_000).contains(n))
        .ok_or_else(|| "give a whole number from 1 to 100000".to_owned())
}
