//! Where the cells of a routed design lie, and in which block of ours each is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use crate::timing::block_of;
use crate::{BoardError, TOP};

/// A cell at its place on the die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Column.
    pub x: u32,
    /// Row.
    pub y: u32,
    /// The type of the cell.
    pub kind: String,
    /// The index of its block in [`Placement::blocks`].
    pub block: usize,
}

/// The cells of a design.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Instances, by their dotted names; the last is the top for what is in none of them.
    pub blocks: Vec<String>,
    /// Cells.
    pub cells: Vec<Placed>,
}

#[derive(Deserialize)]
struct Design {
    modules: BTreeMap<String, Module>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    cells: BTreeMap<String, Cell>,
}

#[derive(Deserialize)]
struct Cell {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(rename = "NEXTPNR_BEL")]
    bel: Option<String>,
}

/// The instances of a netlist of yosys, by their dotted names, sorted.
///
/// # Errors
/// [`BoardError::Output`] where the file is no netlist.
pub fn blocks(netlist: &Path) -> Result<Vec<String>, BoardError> {
    let cells = cells(netlist)?;
    // Flattening leaves a mark for every instance that it dissolves.
    let marks = cells.into_iter().filter(|(_, cell)| cell.kind == "$scopeinfo");
    Ok(marks.map(|(name, _)| name).collect())
}

/// The places of the cells of a design that nextpnr wrote; `blocks` are the instances of its netlist.
///
/// # Errors
/// [`BoardError::Output`] where the file is no design.
pub fn placement(routed: &Path, blocks: &[String]) -> Result<Placement, BoardError> {
    let mut placement = Placement { blocks: blocks.to_vec(), cells: Vec::new() };
    placement.blocks.push(TOP.to_owned());
    let index: BTreeMap<&str, usize> = placement.blocks.iter().enumerate().map(|(i, b)| (b.as_str(), i)).collect();
    for (name, cell) in cells(routed)? {
        let Some((x, y)) = cell.attributes.bel.as_deref().and_then(place) else { continue };
        let block = index[block_of(blocks, &name)];
        placement.cells.push(Placed { x, y, kind: cell.kind, block });
    }
    if placement.cells.is_empty() {
        return Err(BoardError::output(routed.display().to_string(), "no cell has a place"));
    }
    Ok(placement)
}

fn cells(path: &Path) -> Result<BTreeMap<String, Cell>, BoardError> {
    let file = File::open(path).map_err(BoardError::io(path))?;
    let design: Design = serde_json::from_reader(BufReader::new(file))
        .map_err(|e| BoardError::output(path.display().to_string(), e.to_string()))?;
    let top = design.modules.into_iter().find(|(name, _)| name == TOP);
    let (_, module) = top.ok_or_else(|| BoardError::output(path.display().to_string(), "it has no module top"))?;
    Ok(module.cells)
}

/// Column and row of a place: `X12/Y34/...` or `X12Y34/...`.
fn place(bel: &str) -> Option<(u32, u32)> {
    let (x, rest) = bel.strip_prefix('X')?.split_once('Y')?;
    let y = rest.split('/').next()?;
    Some((x.trim_end_matches('/').parse().ok()?, y.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_all_three_families_are_read() {
        assert_eq!(place("X122/Y38/SLICED.K1"), Some((122, 38)));
        assert_eq!(place("X45Y11/LUT4"), Some((45, 11)));
        assert_eq!(place("X1/Y29/lc0"), Some((1, 29)));
        assert_eq!(place("IOB"), None);
    }
}
