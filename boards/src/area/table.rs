//! Designs of a board that were synthesised, and some of them placed: what predictions are fitted to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tandem_isa::HwConfig;

use crate::resources::Usage;
use crate::{Board, BoardError};

/// The version of the form.
const VERSION: u32 = 1;
/// The file in a board's folder.
pub const FILE: &str = "designs.json";

/// How much is taken of each resource, by its name.
pub type Taken = BTreeMap<String, u64>;

/// All designs of a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The version of the form.
    pub version: u32,
    /// The board.
    pub board: String,
    /// What made the table.
    pub command: String,
    /// Versions of the tools' packages.
    pub tools: BTreeMap<String, String>,
    /// The designs.
    pub designs: Vec<Design>,
}

/// What became of a design.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// The machine.
    pub config: HwConfig,
    /// The beginning of the SHA-256 of the board's Verilog: whether it is still the same hardware.
    pub verilog: String,
    /// After synthesis, as `tandem bitstream --estimate` counts.
    pub synthesised: Taken,
    /// After place and route, where that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<Placed>,
}

/// What place and route made of a design.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// How much is taken.
    pub taken: Taken,
    /// Megahertz that are believed of the accelerator's clock.
    pub fmax_mhz: f64,
    /// The seed of placement.
    pub seed: u64,
}

impl Table {
    /// A table without designs.
    pub fn new(board: &Board, command: impl Into<String>) -> Table {
        Table {
            version: VERSION,
            board: board.name.clone(),
            command: command.into(),
            tools: BTreeMap::new(),
            designs: Vec::new(),
        }
    }

    /// The table of a board.
    ///
    /// # Errors
    /// [`BoardError::Refused`] where its folder has none, and as [`Table::read`].
    pub fn of(board: &Board) -> Result<Table, BoardError> {
        let Some(text) = &board.designs else {
            return Err(board.refused(format!(
                "its folder has no {FILE}, so nothing is known of what designs take of it; make one with `tandem explore \
                 --board {} --calibrate {FILE}` and give it with --designs",
                board.name
            )));
        };
        Table::read(board, &format!("boards/{}/{FILE}", board.name), text)
    }

    /// Reads a table; `place` is what it is called in errors.
    ///
    /// # Errors
    /// [`BoardError::Manifest`] where the text is none, is of another version or of another board.
    pub fn read(board: &Board, place: &str, text: &str) -> Result<Table, BoardError> {
        let wrong = |what: String| BoardError::manifest(place, what);
        let table: Table = serde_json::from_str(text).map_err(|e| wrong(format!("it is no table of designs: {e}")))?;
        if table.version != VERSION {
            return Err(wrong(format!(
                "it has version {}, and version {VERSION} is read; make it again",
                table.version
            )));
        }
        if table.board != board.name {
            return Err(wrong(format!("it is of the board {} and not of {}", table.board, board.name)));
        }
        Ok(table)
    }

    /// The table as JSON, a design a line, that [`Table::read`] reads back.
    pub fn to_json(&self) -> String {
        let designs: Vec<String> = self.designs.iter().map(|design| format!("    {}", json(design))).collect();
        format!(
            "{{\n  \"version\": {},\n  \"board\": {},\n  \"command\": {},\n  \"tools\": {},\n  \"designs\": [\n{}\n  ]\n}}\n",
            self.version,
            json(&self.board),
            json(&self.command),
            json(&self.tools),
            designs.join(",\n")
        )
    }

    /// How many designs are of the hardware as it is now: others may have taken something else.
    pub fn current(&self, verilog: impl Fn(&HwConfig) -> Option<String>) -> usize {
        self.designs.iter().filter(|design| verilog(&design.config).as_ref() == Some(&design.verilog)).count()
    }
}

/// How much is taken, by the names of resources.
pub fn taken(usages: &[Usage]) -> Taken {
    usages.iter().map(|usage| (usage.resource.clone(), usage.used)).collect()
}

/// The beginning of the digest of a board's Verilog.
pub fn fingerprint(verilog: &str) -> String {
    crate::sha256(verilog.as_bytes())[..16].to_owned()
}

fn json(value: &impl Serialize) -> String {
    // Values of plain fields always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}
