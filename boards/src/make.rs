//! From a board and a configuration to a bitstream with everything that is known of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tandem_isa::HwConfig;

use crate::board::Board;
use crate::picture::floor_plan;
use crate::placement::{blocks, placement};
use crate::plan::{self, Plan, Trial};
use crate::proof::proofs;
use crate::report::{Attempt, Ran, Report};
use crate::resources::{Cells, Usage, log_cells, netlist_cells, of_netlist, of_report, shortages};
use crate::run::{Inputs, Made, Runner};
use crate::timing::Timing;
use crate::{BoardError, sha256};

/// A bitstream and what lies beside it.
#[derive(Clone, Debug)]
pub struct Bitstream {
    /// What is known of it.
    pub report: Report,
    /// The picture of the placed design.
    pub picture: String,
    texts: Vec<(String, Vec<u8>)>,
    files: Vec<(String, PathBuf)>,
}

/// A seed that was tried.
struct Tried<'a> {
    trial: &'a Trial,
    made: Made,
    timing: Timing,
}

impl Bitstream {
    /// Runs a plan; what was made before is taken from the runner's cache.
    ///
    /// # Errors
    /// [`BoardError::DoesNotFit`] with what is short, and what [`Runner::run`] says. A clock that is too slow is no error.
    pub fn make(
        board: &Board,
        config: &HwConfig,
        verilog: &str,
        plan: &Plan,
        runner: &mut Runner,
    ) -> Result<Bitstream, BoardError> {
        let mut inputs = Inputs::default();
        inputs.add(plan::DESIGN, verilog);
        inputs.add(board.constraints.0.as_str(), board.constraints.1.as_str());
        let netlist = runner.run(&plan.synthesis, &inputs)?;
        inputs.extend(&plan.synthesis, &netlist);
        let cells = netlist_cells(&netlist.text(plan::CELLS)?)?;
        check_fit(board, &cells)?;
        let names = blocks(&netlist.path(plan::NETLIST))?;
        let mut tried = Vec::new();
        for trial in &plan.trials {
            let made = runner.run(&trial.route, &inputs).map_err(|error| full(board, error))?;
            let timing = Timing::read(board, &names, &made.text(plan::TIMING)?)?;
            tried.push(Tried { trial, made, timing });
        }
        let best = tried.iter().max_by(|a, b| a.timing.spare().total_cmp(&b.timing.spare()));
        let best = best.ok_or_else(|| board.refused("no seed was given"))?;
        inputs.extend(&best.trial.route, &best.made);
        let packed = runner.run(&best.trial.pack, &inputs)?;
        let bits = packed.path(&plan.bitstream);
        let bits = fs::read(&bits).map_err(BoardError::io(bits))?;
        let mut steps = vec![ran(&plan.synthesis.name, &netlist)];
        steps.extend(tried.iter().map(|tried| ran(&tried.trial.route.name, &tried.made)));
        steps.push(ran(&best.trial.pack.name, &packed));
        let mut tools = BTreeMap::new();
        for step in [&plan.synthesis, &best.trial.route, &best.trial.pack] {
            tools.insert(step.tool.package().replace('_', "-"), runner.tools().version(step.tool)?);
        }
        let attempt = |tried: &Tried| Attempt {
            seed: tried.trial.seed,
            fmax_derated: tried.timing.fmax(),
            met: tried.timing.met(),
        };
        let digest = sha256(&bits);
        let mut proofs = proofs(runner.cache(), verilog)?;
        proofs.retain(|proof| proof.bitstream.as_ref().is_none_or(|bitstream| *bitstream == digest));
        let report = Report {
            board: board.name.clone(),
            part: board.part.clone(),
            flow: board.flow.name().to_owned(),
            file: plan.bitstream.clone(),
            bytes: bits.len() as u64,
            sha256: digest,
            config_digest: plan.config_digest.clone(),
            config: config.to_toml(),
            macs: Board::macs(config),
            clock_hz: board.clock_hz,
            peak_gops: board.peak_gops(config),
            timing_met: best.timing.met(),
            derate: board.derate,
            clocks: best.timing.clocks.clone(),
            critical_path: best.timing.path.clone(),
            utilisation: of_report(board.flow, &best.timing.utilization, &cells, &board.budget),
            seed: best.trial.seed,
            seeds: tried.iter().map(attempt).collect(),
            tools,
            steps,
            proofs,
        };
        let picture = floor_plan(board, &report, &placement(&best.made.path(plan::ROUTED), &names)?);
        let mut files = vec![(plan.bitstream.clone(), packed.path(&plan.bitstream))];
        let keep = |step: &plan::Step, made: &Made| -> Vec<(String, PathBuf)> {
            let outputs = step.outputs.iter().map(|name| (name.clone(), made.path(name)));
            outputs.chain([(step.log.clone(), made.path(&step.log))]).collect()
        };
        files.extend(keep(&plan.synthesis, &netlist));
        files.extend(keep(&best.trial.route, &best.made));
        files.push((best.trial.pack.log.clone(), packed.path(&best.trial.pack.log)));
        let others = tried.iter().filter(|tried| tried.trial.seed != best.trial.seed);
        files.extend(others.map(|tried| (tried.trial.route.log.clone(), tried.made.path(&tried.trial.route.log))));
        let texts = vec![
            (plan::DESIGN.to_owned(), verilog.as_bytes().to_vec()),
            (board.constraints.0.clone(), board.constraints.1.clone().into_bytes()),
            ("hw.toml".to_owned(), config.to_toml().into_bytes()),
            ("floorplan.svg".to_owned(), picture.clone().into_bytes()),
            ("bitstream.json".to_owned(), report.to_json().into_bytes()),
        ];
        Ok(Bitstream { report, picture, texts, files })
    }

    /// Where one of its files lies before it is written into a folder; not for those that are made of what is known.
    pub fn file(&self, name: &str) -> Option<&Path> {
        self.files.iter().find(|(other, _)| other == name).map(|(_, path)| path.as_path())
    }

    /// Writes everything into a folder: each file under a name of its own first, then all are renamed, the report last.
    ///
    /// # Errors
    /// [`BoardError::Io`]; then no file is half-written.
    pub fn write(&self, folder: &Path) -> Result<(), BoardError> {
        crate::folder::write(folder, &self.files, &self.texts)
    }
}

/// What a design takes of the part at least, by synthesis alone; `verilog` has the top module `top`.
///
/// # Errors
/// What [`Runner::run`] says.
pub fn estimate(board: &Board, verilog: &str, top: &str, runner: &mut Runner) -> Result<Vec<Usage>, BoardError> {
    let step = plan::synthesis(board, top)?;
    let mut inputs = Inputs::default();
    inputs.add(plan::DESIGN, verilog);
    let netlist = runner.run(&step, &inputs)?;
    Ok(of_netlist(board.flow, &netlist_cells(&netlist.text(plan::CELLS)?)?, &board.budget))
}

fn ran(step: &str, made: &Made) -> Ran {
    Ran { step: step.to_owned(), seconds: (made.seconds * 10.0).round() / 10.0, cached: made.cached }
}

/// Refuses a netlist that takes more than there is, before it is placed.
fn check_fit(board: &Board, cells: &Cells) -> Result<(), BoardError> {
    let short = shortages(&of_netlist(board.flow, cells, &board.budget));
    if short.is_empty() {
        return Ok(());
    }
    Err(BoardError::DoesNotFit { board: board.name.clone(), part: board.part.clone(), shortages: short })
}

/// A placement that failed because the part is full says what of it is.
fn full(board: &Board, error: BoardError) -> BoardError {
    let BoardError::Failed { log, .. } = &error else { return error };
    let said = fs::read_to_string(log).unwrap_or_default();
    let short = shortages(&of_report(board.flow, &log_cells(&said), &Cells::new(), &board.budget));
    if short.is_empty() {
        return error;
    }
    BoardError::DoesNotFit { board: board.name.clone(), part: board.part.clone(), shortages: short }
}
