//! What the design is built for: facts of an FPGA family and a board that change how a machine is made and not what it is.
//!
//! Every target of a configuration computes the same; cycles may differ by the depth of a pipeline. A target is no part of the
//! configuration and of its digest.

use serde::{Deserialize, Serialize};
use tandem_isa::HwConfig;

/// How a design is built.
///
/// [`Target::default`] leaves everything to synthesis: a `*` for each product, memories by what they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// What the products of the GEMM array are made of.
    pub multipliers: Multipliers,
    /// Whether look-up tables can be memory. Where they cannot, small memories are registers.
    pub lut_ram: bool,
    /// Whether sums of several values are chains of plain adders, which take a look-up table a bit where carries are free, and
    /// not trees that save carries.
    pub ripple_sums: bool,
    /// Whether registers stand between block RAM and the GEMM array's multipliers: a higher clock for a cycle more.
    pub operand_registers: bool,
}

/// What 8-bit products are made of. A number of blocks is a budget: what it does not cover becomes look-up tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Multipliers {
    /// As synthesis sees fit: a `*` each.
    #[default]
    Infer,
    /// Two exact products in a multiplier of 18 bits, as ECP5's MULT18X18D: two weights side by side, times one input.
    DspPair {
        /// Multipliers for the array; those of the tensor ALU come on top, four a lane.
        dsps: u32,
    },
    /// Two products in an SB_MAC16 of iCE40, instantiated in its 8 x 8 mode.
    Mac16 {
        /// Blocks for the array.
        dsps: u32,
    },
    /// Rows of adders in look-up tables.
    Rows,
}

/// What a product of its own is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    Infer,
    Mac16,
    Rows,
}

/// What the products of one input lane are made of: all accumulators of a micro-op have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// The products of two neighbouring output lanes in one multiplier.
    Pairs,
    /// One each, lane by lane.
    Single(Vec<Recipe>),
}

impl Default for Target {
    fn default() -> Target {
        Target { multipliers: Multipliers::Infer, lut_ram: true, ripple_sums: false, operand_registers: false }
    }
}

/// How many products of a machine's GEMM array are made of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// Products with a multiplier, or half of an SB_MAC16, of their own.
    pub single: usize,
    /// Products that share a multiplier with another one.
    pub shared: usize,
    /// Products of look-up tables.
    pub rows: usize,
}

impl Target {
    /// What the products of a machine are made of.
    pub fn products(&self, config: &HwConfig) -> Products {
        let (block_in, lanes) = (config.block_in() as u32, (config.batch() * config.block_out()) as u32);
        let mut products = Products::default();
        for column in self.columns(block_in, lanes, config.lane_taps()) {
            match column {
                Column::Pairs => products.shared += lanes as usize,
                Column::Single(recipes) => {
                    let rows = recipes.iter().filter(|&&recipe| recipe == Recipe::Rows).count();
                    products.rows += rows;
                    products.single += recipes.len() - rows;
                }
            }
        }
        products
    }

    /// What each column of the GEMM array is made of. LANE multiplies unlike inputs on the first columns, one for each of its
    /// taps, so that no two of its products share one.
    pub(crate) fn columns(&self, block_in: u32, lanes: u32, taps: usize) -> Vec<Column> {
        let (columns, lanes) = (block_in as usize, lanes as usize);
        let paired = match self.multipliers {
            // No more than are needed: a pair takes some look-up tables beside its multiplier.
            Multipliers::DspPair { dsps } => {
                let (dsps, half) = (dsps as usize, lanes / 2);
                let needed = (columns * lanes).saturating_sub(dsps).div_ceil(half);
                needed.min(columns - taps).min(dsps / half)
            }
            _ => 0,
        };
        // Products of their own that still get a block, and which.
        let (mut blocks, block) = match self.multipliers {
            Multipliers::Infer => (usize::MAX, Recipe::Infer),
            Multipliers::DspPair { dsps } => (dsps as usize - paired * (lanes / 2), Recipe::Infer),
            Multipliers::Mac16 { dsps } => (2 * dsps as usize, Recipe::Mac16),
            Multipliers::Rows => (0, Recipe::Rows),
        };
        (0..columns)
            .map(|column| {
                if (taps..taps + paired).contains(&column) {
                    return Column::Pairs;
                }
                let recipes = (0..lanes).map(|_| {
                    let next = if blocks > 0 { block } else { Recipe::Rows };
                    blocks = blocks.saturating_sub(1);
                    next
                });
                Column::Single(recipes.collect())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(multipliers: Multipliers) -> Target {
        Target { multipliers, ..Target::default() }
    }

    fn count(columns: &[Column], recipe: Recipe) -> usize {
        let of = |column: &Column| match column {
            Column::Pairs => 0,
            Column::Single(recipes) => recipes.iter().filter(|&&found| found == recipe).count(),
        };
        columns.iter().map(of).sum()
    }

    #[test]
    fn a_budget_is_spent_on_pairs_first_and_never_exceeded() {
        for (dsps, pairs, singles) in
            [(0, 0, 0), (3, 0, 3), (24, 6, 0), (27, 6, 3), (28, 7, 0), (33, 7, 5), (40, 6, 16), (64, 0, 64)]
        {
            let columns = target(Multipliers::DspPair { dsps }).columns(8, 8, 1);
            let paired = columns.iter().filter(|&column| *column == Column::Pairs).count();
            assert_eq!((paired, count(&columns, Recipe::Infer)), (pairs, singles), "{dsps}");
            assert_ne!(columns[0], Column::Pairs, "LANE has unlike inputs there");
            assert_eq!(2 * 4 * paired + count(&columns, Recipe::Infer) + count(&columns, Recipe::Rows), 64);
        }
    }

    #[test]
    fn products_beyond_the_multipliers_share_them_and_then_do_without() {
        let of = |dsps, preset| target(Multipliers::DspPair { dsps }).products(&HwConfig::preset(preset).unwrap());
        assert_eq!(of(64, "edge"), Products { single: 64, shared: 0, rows: 0 });
        assert_eq!(of(40, "edge"), Products { single: 16, shared: 48, rows: 0 });
        assert_eq!(of(24, "edge"), Products { single: 0, shared: 48, rows: 16 });
    }

    #[test]
    fn other_recipes_take_what_there_is_in_order() {
        let mac16 = target(Multipliers::Mac16 { dsps: 6 }).columns(4, 4, 1);
        assert_eq!((count(&mac16, Recipe::Mac16), count(&mac16, Recipe::Rows)), (12, 4));
        assert_eq!(count(&Target::default().columns(8, 16, 1), Recipe::Infer), 128);
        assert_eq!(count(&target(Multipliers::Rows).columns(4, 4, 1), Recipe::Rows), 16);
    }
}
