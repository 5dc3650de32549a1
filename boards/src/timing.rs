//! What nextpnr reports of a routed design: clocks, and the slowest path in the names of our blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::board::Board;
use crate::resources::Cells;
use crate::{BoardError, plan};

/// A clock of a routed design.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// The net.
    pub name: String,
    /// Megahertz that it must reach.
    pub required_mhz: f64,
    /// Megahertz that nextpnr reports.
    pub fmax_reported: f64,
    /// Megahertz that are believed.
    pub fmax_derated: f64,
    /// Whether that is enough.
    pub met: bool,
}

/// A part of the slowest path: what is passed within one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// The block, by the names of its instances.
    pub block: String,
    /// Cells passed.
    pub cells: u64,
    /// Nanoseconds in cells and on the wires that lead to them.
    pub nanoseconds: f64,
}

/// What a report says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing {
    /// Clocks, the one with the least to spare first.
    pub clocks: Vec<Clock>,
    /// The slowest path between registers.
    pub path: Vec<Stretch>,
    /// Cells of the part that are taken, by type.
    pub utilization: Cells,
}

#[derive(Deserialize)]
struct Report {
    fmax: BTreeMap<String, Fmax>,
    #[serde(default)]
    critical_paths: Vec<Path>,
    utilization: BTreeMap<String, Used>,
}

#[derive(Deserialize)]
struct Fmax {
    achieved: f64,
    constraint: f64,
}

#[derive(Deserialize)]
struct Used {
    used: u64,
}

#[derive(Deserialize)]
struct Path {
    from: String,
    to: String,
    path: Vec<Hop>,
}

#[derive(Deserialize)]
struct Hop {
    delay: f64,
    to: End,
}

#[derive(Deserialize)]
struct End {
    cell: String,
}

impl Timing {
    /// Reads a report; `blocks` are the instances of the design, by their dotted names.
    ///
    /// # Errors
    /// [`BoardError::Output`] where it is none or has no clock.
    pub fn read(board: &Board, blocks: &[String], text: &str) -> Result<Timing, BoardError> {
        let wrong = |what: &str| BoardError::output(plan::TIMING, what);
        let report: Report = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
        let wanted = board.clock_hz as f64 / 1e6;
        let mut clocks: Vec<Clock> = report
            .fmax
            .into_iter()
            .map(|(name, fmax)| {
                // What nextpnr is told to reach is more than the clock where its figures are derated, unless it derives the
                // constraint from the PLL; and it rounds the period.
                let near = |mhz: f64| (fmax.constraint / mhz - 1.0).abs() < 1e-3;
                let own = near(wanted) || near(wanted / board.derate);
                let required_mhz = if own { wanted } else { fmax.constraint };
                let fmax_derated = fmax.achieved * board.derate;
                let met = fmax_derated >= required_mhz;
                // nextpnr marks nets that it routes as clocks.
                let name = name.trim_start_matches("$glbnet$").to_owned();
                Clock { name, required_mhz, fmax_reported: fmax.achieved, fmax_derated, met }
            })
            .collect();
        let spare = |clock: &Clock| clock.fmax_derated / clock.required_mhz;
        clocks.sort_by(|a, b| spare(a).total_cmp(&spare(b)));
        let worst = clocks.first().ok_or_else(|| wrong("it has no clock"))?;
        // Paths from and to pins are named `<async>`; the one between registers of the tightest clock is of interest.
        let edge = |end: &str| end.ends_with(&worst.name);
        let path = report.critical_paths.iter().find(|path| edge(&path.from) && edge(&path.to));
        let path = path.map(|path| stretches(blocks, &path.path)).unwrap_or_default();
        let utilization = report.utilization.into_iter().map(|(kind, used)| (kind, used.used)).collect();
        Ok(Timing { clocks, path, utilization })
    }

    /// Megahertz that are believed of the clock with the least to spare.
    pub fn fmax(&self) -> f64 {
        self.clocks.first().map_or(0.0, |clock| clock.fmax_derated)
    }

    /// How the tightest clock compares with what it must reach.
    pub fn spare(&self) -> f64 {
        self.clocks.first().map_or(0.0, |clock| clock.fmax_derated / clock.required_mhz)
    }

    /// Whether every clock is fast enough.
    pub fn met(&self) -> bool {
        self.clocks.iter().all(|clock| clock.met)
    }
}

/// The block that a cell lies in: the longest instance name that its name begins with.
pub fn block_of<'a>(blocks: &'a [String], cell: &str) -> &'a str {
    let within = |block: &&String| cell.strip_prefix(block.as_str()).is_some_and(|rest| rest.starts_with('.'));
    blocks.iter().filter(within).max_by_key(|block| block.len()).map_or(crate::TOP, String::as_str)
}

fn stretches(blocks: &[String], hops: &[Hop]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut last = "";
    for hop in hops {
        let block = block_of(blocks, &hop.to.cell);
        let new = u64::from(hop.to.cell != last);
        last = &hop.to.cell;
        match stretches.last_mut().filter(|stretch| stretch.block == block) {
            Some(stretch) => {
                stretch.cells += new;
                stretch.nanoseconds += hop.delay;
            }
            None => stretches.push(Stretch { block: block.to_owned(), cells: new, nanoseconds: hop.delay }),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{
        "fmax": {"$glbnet$board.clock": {"achieved": 50.0, "constraint": 60.0024}, "other": {"achieved": 400, "constraint": 300}},
        "critical_paths": [
            {"from": "<async>", "to": "posedge $glbnet$board.clock", "path": []},
            {"from": "posedge $glbnet$board.clock", "to": "posedge $glbnet$board.clock", "path": [
                {"delay": 5.5, "type": "clk-to-q", "to": {"cell": "board.core.gemm.memory.0.0", "port": "DO"}},
                {"delay": 1.0, "type": "routing", "to": {"cell": "board.core.gemm.x", "port": "A"}},
                {"delay": 0.5, "type": "logic", "to": {"cell": "board.core.gemm.x", "port": "F"}},
                {"delay": 2.0, "type": "routing", "to": {"cell": "led_LUT4", "port": "A"}},
                {"delay": 1.0, "type": "setup", "to": {"cell": "board.core.store.y", "port": "D"}}]}],
        "utilization": {"TRELLIS_COMB": {"available": 10, "used": 4}}
    }"#;

    fn blocks() -> Vec<String> {
        ["board", "board.core", "board.core.gemm", "board.core.store"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_report_gives_clocks_the_slowest_path_by_blocks_and_utilisation() {
        let board = crate::find("ulx3s-85f").unwrap();
        let timing = Timing::read(&board, &blocks(), REPORT).unwrap();
        assert!(!timing.met());
        assert_eq!((timing.clocks[0].name.as_str(), timing.clocks[0].required_mhz), ("board.clock", 60.0));
        assert!(timing.clocks[1].met);
        let path: Vec<_> = timing.path.iter().map(|s| (s.block.as_str(), s.cells, s.nanoseconds)).collect();
        assert_eq!(path, [("board.core.gemm", 2, 7.0), ("top", 1, 2.0), ("board.core.store", 1, 1.0)]);
        assert_eq!(timing.utilization["TRELLIS_COMB"], 4);
    }

    #[test]
    fn an_optimistic_model_is_derated_before_it_is_compared() {
        let board = crate::find("tang-nano-20k").unwrap();
        let text = |achieved: f64| {
            format!(r#"{{"fmax": {{"c": {{"achieved": {achieved}, "constraint": 167.143}}}}, "utilization": {{}}}}"#)
        };
        let slow = Timing::read(&board, &[], &text(160.0)).unwrap();
        assert!(!slow.met() && (slow.fmax() - 96.0).abs() < 1e-9);
        let fast = Timing::read(&board, &[], &text(168.0)).unwrap();
        assert!(fast.met() && (fast.clocks[0].fmax_derated - 100.8).abs() < 1e-9);
    }

    #[test]
    fn a_report_without_a_clock_or_that_is_none_is_an_error() {
        let board = crate::find("icebreaker").unwrap();
        assert!(Timing::read(&board, &[], r#"{"fmax": {}, "utilization": {}}"#).is_err());
        assert!(Timing::read(&board, &[], "x").is_err());
    }
}
