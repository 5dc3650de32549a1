//! Designs as the tools of a board make them: synthesised, or placed and routed, several at a time.

use super::log::{Log, Stage};
use crate::tools;
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tandem_boards::area::{Placed, Taken, fingerprint, taken};
use tandem_boards::plan::Plan;
use tandem_boards::run::{Progress, Runner};
use tandem_boards::{Bitstream, Board, BoardError, TOP, design, estimate};
use tandem_isa::HwConfig;

/// What came of giving a design to the tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made<T> {
    /// What was made of it.
    Made(T),
    /// The part has no room for it, or the tools find no way through: the reason.
    Impossible(String),
}

/// How a design is placed and routed.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// The seed of placement.
    pub seed: u64,
    /// How long it may take.
    pub limit: Duration,
}

/// The tools of a board, and threads that work on a design each.
pub struct Chip<'a> {
    /// The board.
    pub board: &'a Board,
    /// What was found before.
    pub log: &'a Log,
    tools: tandem_boards::Tools,
    threads: ThreadPool,
}

impl<'a> Chip<'a> {
    /// The tools of a board, for so many designs at a time; for as many as there are cores where none is told.
    ///
    /// # Errors
    /// One sentence saying what to do where there are no tools.
    pub fn new(board: &'a Board, log: &'a Log, jobs: Option<usize>) -> Result<Chip<'a>> {
        let threads = ThreadPoolBuilder::new().num_threads(jobs.unwrap_or(0)).build().context("--jobs")?;
        Ok(Chip { board, log, tools: tools::flow()?, threads })
    }

    /// Does something with each item, as many at a time as there are threads.
    ///
    /// # Errors
    /// The first of them.
    pub fn each<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> Result<R> + Sync + Send) -> Result<Vec<R>> {
        self.threads.install(|| items.par_iter().with_max_len(1).map(work).collect())
    }

    /// What designs take of the part after synthesis. `keep` has each by its index as soon as it is there.
    ///
    /// # Errors
    /// A tool that is missing or fails for another reason than the design; those of `keep`.
    pub fn synthesise(
        &self,
        configs: &[HwConfig],
        bar: &ProgressBar,
        keep: impl FnMut(usize, Made<Taken>) -> Result<()> + Send,
    ) -> Result<()> {
        self.make(configs, bar, |config, progress| self.synthesised(config, progress), keep)
    }

    /// Designs placed and routed. `keep` has each by its index as soon as it is there.
    ///
    /// # Errors
    /// A tool that is missing, or a disk that is full; those of `keep`.
    pub fn place(
        &self,
        configs: &[HwConfig],
        trial: Trial,
        bar: &ProgressBar,
        keep: impl FnMut(usize, Made<Placed>) -> Result<()> + Send,
    ) -> Result<()> {
        self.make(configs, bar, |config, progress| self.placed(config, trial, progress), keep)
    }

    fn make<T: Send>(
        &self,
        configs: &[HwConfig],
        bar: &ProgressBar,
        work: impl Fn(&HwConfig, &mut dyn FnMut(Progress)) -> Result<Made<T>> + Sync + Send,
        keep: impl FnMut(usize, Made<T>) -> Result<()> + Send,
    ) -> Result<()> {
        let (all, keep): (Vec<usize>, _) = ((0..configs.len()).collect(), Mutex::new(keep));
        self.each(&all, |&at| {
            let name = named(&configs[at]);
            bar.set_message(name.clone());
            let made = work(&configs[at], &mut |progress| tell(bar, &name, &progress)).context(name.clone())?;
            let mut keep = keep.lock().unwrap_or_else(PoisonError::into_inner);
            keep(at, made)
        })?;
        Ok(())
    }

    /// The versions of the packages that a design goes through.
    ///
    /// # Errors
    /// A package that is missing.
    pub fn versions(&self) -> Result<std::collections::BTreeMap<String, String>> {
        let plan = Plan::new(self.board, &self.board.config, &[1])?;
        let version = |tool: tandem_boards::Tool| -> Result<(String, String)> {
            Ok((tool.package().replace('_', "-"), self.tools.version(tool)?))
        };
        plan.steps().map(|step| version(step.tool)).collect()
    }

    /// The beginning of the digest of a design's Verilog; `None` where there is no such design for the board.
    pub fn fingerprint(&self, config: &HwConfig) -> Option<String> {
        design(self.board, config).ok().map(|verilog| fingerprint(&verilog))
    }

    fn synthesised(&self, config: &HwConfig, progress: &mut dyn FnMut(Progress)) -> Result<Made<Taken>> {
        let verilog = match design(self.board, config) {
            Ok(verilog) => verilog,
            Err(error) => return Ok(Made::Impossible(error.to_string())),
        };
        let key = self.key(&verilog, None)?;
        if let Some(found) = self.log.get(Stage::Synthesised, &key) {
            return Ok(found);
        }
        let mut runner = Runner::new(&self.tools, tools::flow_cache(), progress);
        let made = Made::Made(taken(&estimate(self.board, &verilog, TOP, &mut runner)?));
        self.log.put(Stage::Synthesised, &key, &made)?;
        Ok(made)
    }

    fn placed(
        &self,
        config: &HwConfig,
        Trial { seed, limit }: Trial,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Made<Placed>> {
        let verilog = match design(self.board, config) {
            Ok(verilog) => verilog,
            Err(error) => return Ok(Made::Impossible(error.to_string())),
        };
        let key = self.key(&verilog, Some(seed))?;
        if let Some(found) = self.log.get(Stage::Placed, &key) {
            return Ok(found);
        }
        let plan = Plan::new(self.board, config, &[seed])?;
        let mut runner = Runner::new(&self.tools, tools::flow_cache(), progress).with_limit(limit);
        let made = match Bitstream::make(self.board, config, &verilog, &plan, &mut runner) {
            Ok(bitstream) => {
                let report = bitstream.report;
                // The first clock has the least to spare; others follow it.
                let Some(clock) = report.clocks.first() else {
                    bail!("{}: a routed design has no clock", self.board.name)
                };
                let fmax = clock.fmax_derated / clock.required_mhz * self.board.clock_hz as f64 / 1e6;
                let fmax_mhz = (fmax * 1000.0).round() / 1000.0;
                Made::Made(Placed { taken: taken(&report.utilisation), fmax_mhz, seed })
            }
            // Its time was over, somebody ended the tool, or there was no memory: another time it may find a way.
            Err(error @ BoardError::Overdue { .. }) => return Ok(Made::Impossible(error.to_string())),
            Err(error @ BoardError::Failed { status, .. }) if status.code().is_none() => {
                return Ok(Made::Impossible(error.to_string()));
            }
            Err(error @ (BoardError::DoesNotFit { .. } | BoardError::Failed { .. })) => {
                Made::Impossible(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        self.log.put(Stage::Placed, &key, &made)?;
        Ok(made)
    }

    /// The digest of everything that the tools' results depend on.
    fn key(&self, verilog: &str, seed: Option<u64>) -> Result<String> {
        let constraints = &self.board.constraints.1;
        let options = serde_json::to_string(&self.board.options)?;
        let text =
            format!("{verilog}\n{constraints}\n{options}\n{}\n{seed:?}\n{:?}", self.board.clock_hz, self.versions()?);
        Ok(tandem_boards::sha256(text.as_bytes()))
    }
}

/// The name of a design: its digest.
pub fn named(config: &HwConfig) -> String {
    format!("design {:08x}", config.digest())
}

/// What a tool is at.
fn tell(bar: &ProgressBar, name: &str, progress: &Progress) {
    match progress {
        Progress::Compiling(tool) => bar.set_message(format!("{name}: {tool} is made ready")),
        Progress::Begin(step) => bar.set_message(format!("{name}: {step}")),
        Progress::Done(..) => {}
    }
}
