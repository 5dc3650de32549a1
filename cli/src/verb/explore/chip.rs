//! Designs as the tools of a board make them: synthesised, or placed and routed.

use super::log::{Log, Stage};
use crate::tools;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
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

/// The tools of a board.
pub struct Chip<'a> {
    /// The board.
    pub board: &'a Board,
    tools: tandem_boards::Tools,
}

impl Chip<'_> {
    /// The tools of a board.
    ///
    /// # Errors
    /// One sentence saying what to do where there are none.
    pub fn new(board: &Board) -> Result<Chip<'_>> {
        Ok(Chip { board, tools: tools::flow()? })
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

    /// What a design takes of the part after synthesis.
    ///
    /// # Errors
    /// A tool that is missing or fails for another reason than the design.
    pub fn synthesise(&self, config: &HwConfig, log: &Log, progress: &mut dyn FnMut(Progress)) -> Result<Made<Taken>> {
        let verilog = match design(self.board, config) {
            Ok(verilog) => verilog,
            Err(error) => return Ok(Made::Impossible(error.to_string())),
        };
        let key = self.key(&verilog, None)?;
        if let Some(found) = log.get(Stage::Synthesised, &key) {
            return Ok(found);
        }
        let mut runner = Runner::new(&self.tools, tools::flow_cache(), progress);
        let made = Made::Made(taken(&estimate(self.board, &verilog, TOP, &mut runner)?));
        log.put(Stage::Synthesised, &key, &made)?;
        Ok(made)
    }

    /// A design placed and routed with one seed.
    ///
    /// # Errors
    /// A tool that is missing, or a disk that is full.
    pub fn place(
        &self,
        config: &HwConfig,
        seed: u64,
        log: &Log,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Made<Placed>> {
        let verilog = match design(self.board, config) {
            Ok(verilog) => verilog,
            Err(error) => return Ok(Made::Impossible(error.to_string())),
        };
        let key = self.key(&verilog, Some(seed))?;
        if let Some(found) = log.get(Stage::Placed, &key) {
            return Ok(found);
        }
        let plan = Plan::new(self.board, config, &[seed])?;
        let mut runner = Runner::new(&self.tools, tools::flow_cache(), progress);
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
            Err(error @ (BoardError::DoesNotFit { .. } | BoardError::Failed { .. })) => {
                Made::Impossible(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        log.put(Stage::Placed, &key, &made)?;
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
