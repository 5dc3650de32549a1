//! The table of a board's designs, from which area and clock are foretold: made by one command, and again when the hardware changes.

use super::Options;
use super::chip::{Chip, Made, named};
use super::exploration::bar;
use crate::options::Format;
use crate::table::table;
use crate::{Outcome, file, stdout};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
use tandem_boards::Board;
use tandem_boards::area::{Design, Predictor, Table, block_rams, budget};
use tandem_boards::explore::{Random, Space};
use tandem_isa::HwConfig;

/// Draws of which each further design is the one that is farthest from those before.
const DRAWS: usize = 24;
/// Products that a design may have: more would not fit beside everything else, where a machine of 512 takes 340 look-up tables each.
const MACS_PER_LUT: f64 = 1.0 / 300.0;

/// How much of the look-up tables designs take that are placed, where there are enough of them: with more the router takes hours
/// or finds no way.
const ROUTABLE: f64 = 0.5;

/// Makes the table.
///
/// # Errors
/// A tool that is missing or fails, a file that cannot be written.
pub fn run(options: &Options, chip: &Chip<'_>, path: &Path) -> Result<Outcome> {
    let board = chip.board;
    let command = format!(
        "tandem explore --board {} --calibrate {} --budget {} --place {} --seed {}",
        options.board,
        path.display(),
        options.budget,
        options.place,
        options.seed
    );
    let configs = spread(board, options.budget, options.seed);
    let mut made = Table { tools: chip.versions()?, ..Table::new(board, command) };
    synthesise(chip, path, &configs, &mut made)?;
    place(options, chip, path, &mut made)?;
    let predictor = Predictor::fit(board, &made)?;
    stdout::emit(&match options.format {
        Format::Json => serde_json::to_string_pretty(predictor.errors())? + "\n",
        Format::Table => text(path, &made, &predictor),
    })?;
    Ok(Outcome::Good)
}

/// Makes a table of these machines; those that cannot be are left out.
fn synthesise(chip: &Chip<'_>, path: &Path, configs: &[HwConfig], made: &mut Table) -> Result<()> {
    let bar = bar(configs.len(), "synthesising");
    let mut found: BTreeMap<usize, Design> = BTreeMap::new();
    chip.synthesise(configs, &bar, |at, result| {
        let config = &configs[at];
        match result {
            Made::Made(synthesised) => {
                let verilog = chip.fingerprint(config).unwrap_or_default();
                found.insert(at, Design { config: config.clone(), verilog, synthesised, placed: None });
                // What is there is worth keeping, whatever comes.
                made.designs = found.values().cloned().collect();
                file::replace(path, made.to_json().as_bytes())?;
            }
            Made::Impossible(reason) => {
                bar.suspend(|| stdout::complain(&format!("note: {} is left out: {reason}", named(config))));
            }
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Places designs of a table, from the smallest to the largest at equal steps.
fn place(options: &Options, chip: &Chip<'_>, path: &Path, made: &mut Table) -> Result<()> {
    let lut = |design: &Design| design.synthesised.get("LUT").copied().unwrap_or(0);
    let mut order: Vec<usize> = (0..made.designs.len()).collect();
    order.retain(|&at| tandem_boards::area::fits(chip.board, &made.designs[at].synthesised));
    order.sort_by_key(|&at| lut(&made.designs[at]));
    if order.is_empty() {
        bail!("{}: none of the designs fits the part; try another --seed", chip.board.name);
    }
    let room = (budget(chip.board, "LUT") as f64 * ROUTABLE) as u64;
    let routable = order.partition_point(|&at| lut(&made.designs[at]) <= room);
    order.truncate(routable.max(options.place));
    let count = options.place.clamp(1, order.len());
    // The largest is left out where there is a choice.
    let chosen: Vec<usize> = (0..count).map(|step| order[step * order.len() / count]).collect();
    let configs: Vec<HwConfig> = chosen.iter().map(|&at| made.designs[at].config.clone()).collect();
    let bar = bar(count, "placing");
    chip.place(&configs, options.trial(), &bar, |number, result| {
        match result {
            Made::Made(placed) => {
                made.designs[chosen[number]].placed = Some(placed);
                file::replace(path, made.to_json().as_bytes())?;
            }
            Made::Impossible(reason) => {
                let name = named(&configs[number]);
                bar.suspend(|| stdout::complain(&format!("note: {name} is not placed: {reason}")));
            }
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// The board's own machine and others that differ from it and from each other as much as draws allow.
fn spread(board: &Board, count: usize, seed: u64) -> Vec<HwConfig> {
    let (space, mut random) = (Space::new(board, 2), Random::new(seed));
    let room = |config: &HwConfig| {
        let macs = board.budget.lut as f64 * MACS_PER_LUT;
        block_rams(board, config) as u64 <= budget(board, "BRAM") && Board::macs(config) as f64 <= macs
    };
    let mut chosen = vec![board.config.clone()];
    while chosen.len() < count {
        let drawn: Vec<HwConfig> = (0..DRAWS).filter_map(|_| space.draw(&mut random, &room)).collect();
        let apart =
            |config: &HwConfig| chosen.iter().map(|other| space.distance(config, other)).fold(f64::INFINITY, f64::min);
        let Some(farthest) = drawn.into_iter().max_by(|a, b| apart(a).total_cmp(&apart(b))) else { break };
        if apart(&farthest) == 0.0 {
            break;
        }
        chosen.push(farthest);
    }
    chosen
}

fn text(path: &Path, made: &Table, predictor: &Predictor) -> String {
    let rows = predictor.errors().iter().map(|(name, error)| {
        let percent = |part: f64| format!("{:.1} %", 100.0 * part);
        vec![name.clone(), percent(error.mean), percent(error.worst), error.samples.to_string()]
    });
    let mut text = table(&["foretold", "mean error", "worst", "designs"], &[1, 2, 3], rows);
    text.push_str(&format!(
        "{}: {} designs, {} of them placed; errors are those of designs left out of the fit\n",
        path.display(),
        made.designs.len(),
        made.designs.iter().filter(|design| design.placed.is_some()).count()
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn designs_of_a_table_are_different_and_repeatable_and_begin_with_the_boards_own() {
        let board = tandem_boards::find("ulx3s-85f").unwrap();
        let configs = spread(&board, 12, 1);
        let different: std::collections::HashSet<&HwConfig> = configs.iter().collect();
        assert_eq!((different.len(), &configs[0]), (12, &board.config));
        assert_eq!(spread(&board, 12, 1), configs);
        assert!(configs.iter().any(|config| config.insn_queue_depth().is_none()) || configs.len() == 12);
        let lanes: std::collections::BTreeSet<usize> = configs.iter().map(HwConfig::block_in).collect();
        assert!(lanes.len() >= 3, "{lanes:?}");
    }
}
