//! What a design takes of a part and how fast it is, before anything is synthesised: fitted to designs of the board that were.
//!
//! Look-up tables, flip-flops and multiplier blocks are sums of what the machine's parts take (`features.rs`), block RAMs those of
//! its memories (`block_ram.rs`) and a constant; no part takes less than nothing. The period of the clock is a product of powers
//! of the machine's sizes. Both are fitted by least squares of relative errors to the table of a board ([`Table`]), and
//! [`Predictor::errors`] says how far they are off for designs that they have not seen.

mod block_ram;
mod features;
mod regression;
mod table;

pub use block_ram::block_rams;
pub use regression::{Error, relative};
pub use table::{Design, FILE, Placed, Table, Taken, fingerprint, taken};

use std::collections::BTreeMap;

use serde::Serialize;
use tandem_isa::HwConfig;

use self::features::Features;
use self::regression::{Sign, fit, foretell, leave_one_out};
use crate::{Board, BoardError};

/// The resources that are foretold.
pub const RESOURCES: [&str; 4] = ["LUT", "FF", "DSP", "BRAM"];
/// The penalty on coefficients of areas and of the clock.
const RIDGE: f64 = 1e-4;
const CLOCK_RIDGE: f64 = 1e-3;
/// Fewer placed designs than this tell a mean clock and not what it depends on.
const CLOCK_SAMPLES: usize = 6;

/// What is foretold of a design.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// How much it takes of each resource when it is placed.
    pub taken: Taken,
    /// Megahertz that place and route would report and that would be believed.
    pub fmax_mhz: f64,
}

/// Foretells what designs of a board take.
#[derive(Clone, Debug)]
pub struct Predictor {
    /// Coefficients by resource.
    areas: BTreeMap<String, Vec<f64>>,
    /// Coefficients of the logarithm of the period.
    clock: Vec<f64>,
    /// Placed over synthesised.
    packing: BTreeMap<String, f64>,
    errors: BTreeMap<String, Error>,
}

impl Predictor {
    /// Fits a table.
    ///
    /// # Errors
    /// [`BoardError::Refused`] for a table without placed designs.
    pub fn fit(board: &Board, table: &Table) -> Result<Predictor, BoardError> {
        let placed: Vec<(&Design, &Placed)> =
            table.designs.iter().filter_map(|design| Some((design, design.placed.as_ref()?))).collect();
        if placed.is_empty() {
            return Err(board.refused("its table of designs has none that was placed; make it again with --place 3"));
        }
        let (mut areas, mut packing, mut errors) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for resource in RESOURCES {
            let of = |taken: &Taken| taken.get(resource).copied().unwrap_or(0) as f64;
            let logs = placed.iter().map(|(design, placed)| ratio(of(&placed.taken), of(&design.synthesised)).ln());
            let more = (logs.sum::<f64>() / placed.len() as f64).exp();
            let value = |design: &Design| match &design.placed {
                Some(placed) => of(&placed.taken),
                None => of(&design.synthesised) * more,
            };
            let rows: Vec<Vec<f64>> = table.designs.iter().map(|design| row(board, resource, &design.config)).collect();
            let values: Vec<f64> = table.designs.iter().map(value).collect();
            areas.insert(resource.to_owned(), fit(&rows, &values, Sign::NotNegative, RIDGE));
            packing.insert(resource.to_owned(), more);
            errors.insert(resource.to_owned(), leave_one_out(&rows, &values, Sign::NotNegative, RIDGE, |x| x));
        }
        let full = placed.len() >= CLOCK_SAMPLES;
        let rows: Vec<Vec<f64>> = placed.iter().map(|(design, _)| clock_row(board, &design.config, full)).collect();
        let values: Vec<f64> = placed.iter().map(|(_, placed)| (1e3 / placed.fmax_mhz.max(1e-3)).ln()).collect();
        let clock = fit(&rows, &values, Sign::Any, CLOCK_RIDGE);
        // Nothing is left to foretell the only one from.
        if placed.len() > 1 {
            let error = leave_one_out(&rows, &values, Sign::Any, CLOCK_RIDGE, |log| 1e3 / log.exp());
            errors.insert("fmax".to_owned(), error);
        }
        Ok(Predictor { areas, clock, packing, errors })
    }

    /// What is foretold of a machine.
    pub fn predict(&self, board: &Board, config: &HwConfig) -> Prediction {
        let taken = self.areas.iter().map(|(resource, coefficients)| {
            let found = foretell(coefficients, &row(board, resource, config)).round();
            (resource.clone(), found.max(0.0) as u64)
        });
        let row = clock_row(board, config, self.clock.len() > 1);
        Prediction { taken: taken.collect(), fmax_mhz: 1e3 / foretell(&self.clock, &row).exp() }
    }

    /// What a synthesised design is to take when it is placed.
    pub fn packed(&self, synthesised: &Taken) -> Taken {
        let more = |resource: &str| self.packing.get(resource).copied().unwrap_or(1.0);
        synthesised.iter().map(|(name, &used)| (name.clone(), (used as f64 * more(name)).round() as u64)).collect()
    }

    /// How far predictions are off for designs that were left out of the fit: by resource, and `fmax` where several were placed.
    pub fn errors(&self) -> &BTreeMap<String, Error> {
        &self.errors
    }
}

/// Whether a part has as much of everything.
pub fn fits(board: &Board, taken: &Taken) -> bool {
    taken.iter().all(|(resource, &used)| used <= budget(board, resource))
}

/// How much a part has of a resource.
pub fn budget(board: &Board, resource: &str) -> u64 {
    match resource {
        "LUT" => board.budget.lut,
        "FF" => board.budget.ff,
        "DSP" => board.budget.dsp,
        "BRAM" => board.budget.bram,
        _ => board.budget.spram,
    }
}

fn row(board: &Board, resource: &str, config: &HwConfig) -> Vec<f64> {
    let features = Features::new(board, config);
    match resource {
        "DSP" => features.dsp,
        "BRAM" => features.bram,
        _ => features.logic,
    }
}

/// What the period grows with: the array, the lanes of the tensor ALU, and what has to be wired to block RAMs.
fn clock_row(board: &Board, config: &HwConfig, full: bool) -> Vec<f64> {
    if !full {
        return vec![1.0];
    }
    let sizes = [Board::macs(config) as f64, config.alu_lanes() as f64, block_rams(board, config) as f64];
    std::iter::once(1.0).chain(sizes.map(f64::ln)).collect()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if part > 0.0 && whole > 0.0 { part / whole } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::{Random, Space};

    /// A table of a board whose designs take what a formula says.
    fn table(board: &Board, designs: usize) -> Table {
        let (space, mut random) = (Space::new(board, 1), Random::new(5));
        let mut table = Table::new(board, "a test");
        for at in 0..designs {
            let config = space.draw(&mut random, &|config| config.insn_queue_depth().is_some()).unwrap();
            let macs = Board::macs(&config);
            let synthesised = Taken::from([
                ("LUT".to_owned(), 5000 + 80 * macs + 300 * config.alu_lanes() as u64),
                ("FF".to_owned(), 3000 + 40 * macs),
                ("DSP".to_owned(), 2 * config.alu_lanes() as u64),
                ("BRAM".to_owned(), 10 + block_rams(board, &config) as u64),
            ]);
            let placed = (at % 2 == 0).then(|| Placed {
                taken: synthesised.iter().map(|(name, used)| (name.clone(), used * 11 / 10)).collect(),
                fmax_mhz: 100.0 / (macs as f64).powf(0.1),
                seed: 1,
            });
            table.designs.push(Design { config, verilog: "0".repeat(16), synthesised, placed });
        }
        table
    }

    #[test]
    fn what_follows_a_formula_is_foretold() {
        let board = crate::find("ulx3s-85f").unwrap();
        let predictor = Predictor::fit(&board, &table(&board, 40)).unwrap();
        for error in predictor.errors().values() {
            assert!(error.mean < 0.08, "{:?}", predictor.errors());
        }
        let found = predictor.predict(&board, &board.config);
        let expected = 1.1 * (5000.0 + 80.0 * 64.0 + 300.0 * 8.0);
        assert!(relative(found.taken["LUT"] as f64, expected) < 0.08, "{found:?}");
        assert!(relative(found.fmax_mhz, 100.0 / 64f64.powf(0.1)) < 0.05, "{found:?}");
        assert_eq!(predictor.packed(&Taken::from([("LUT".to_owned(), 1000)]))["LUT"], 1100);
    }

    #[test]
    fn a_table_survives_its_text_and_tells_which_of_its_designs_are_current() {
        let board = crate::find("ulx3s-85f").unwrap();
        let table = table(&board, 3);
        let text = table.to_json();
        assert_eq!(Table::read(&board, "x", &text).unwrap(), table);
        assert_eq!(text.lines().filter(|line| line.contains("block_in")).count(), 3);
        assert_eq!((table.current(|_| Some("0".repeat(16))), table.current(|_| None)), (3, 0));
    }

    #[test]
    fn a_table_that_cannot_be_used_says_why() {
        let board = crate::find("ulx3s-85f").unwrap();
        let text = table(&board, 2).to_json();
        let error = |text: &str| Table::read(&board, "t.json", text).unwrap_err().to_string();
        assert!(error("{").starts_with("t.json: it is no table of designs"));
        assert!(error(&text.replace("\"version\": 1", "\"version\": 9")).contains("it has version 9"));
        assert!(error(&text.replace("\"ulx3s-85f\"", "\"other\"")).contains("of the board other"));
        let mut unplaced = table(&board, 2);
        unplaced.designs.iter_mut().for_each(|design| design.placed = None);
        assert!(Predictor::fit(&board, &unplaced).unwrap_err().to_string().contains("none that was placed"));
        let bare = Board { designs: None, ..board };
        assert!(Table::of(&bare).unwrap_err().to_string().contains("--calibrate"));
    }

    #[test]
    fn what_is_too_much_for_a_part_does_not_fit() {
        let board = crate::find("ulx3s-85f").unwrap();
        let taken = |lut, bram| Taken::from([("LUT".to_owned(), lut), ("BRAM".to_owned(), bram)]);
        assert!(fits(&board, &taken(83_640, 208)) && !fits(&board, &taken(83_641, 0)) && !fits(&board, &taken(0, 209)));
    }
}
