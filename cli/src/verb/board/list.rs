//! `tandem board list`: the boards.

use crate::options::Format;
use crate::table::table;
use crate::{Outcome, stdout};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use tandem_boards::{Board, Memory};

/// Options of `tandem board list`.
#[derive(Args)]
pub struct Options {
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let boards = tandem_boards::names().into_iter().map(tandem_boards::find).collect::<Result<Vec<_>, _>>()?;
    let text = match options.format {
        Format::Json => format!("{}\n", json!({ "boards": boards.iter().map(facts).collect::<Vec<_>>() })),
        Format::Table => list(&boards),
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

fn list(boards: &[Board]) -> String {
    let rows = boards.iter().map(|board| {
        vec![
            board.name.clone(),
            board.part.clone(),
            board.memory.describe(),
            board.host.describe(),
            Board::macs(&board.config).to_string(),
            format!("{:.1}", board.clock_hz as f64 / 1e6),
            if board.flow.is_open() { "a bitstream".to_owned() } else { "a Vivado project".to_owned() },
        ]
    });
    let header = ["board", "part", "memory", "host link", "MACs", "clock (MHz)", "makes"];
    table(&header, &[4, 5], rows)
}

fn facts(board: &Board) -> serde_json::Value {
    let chip = match &board.memory {
        Memory::Sdram(sdram) => Some(&sdram.chip),
        _ => None,
    };
    json!({
        "name": board.name,
        "title": board.title,
        "flow": board.flow.name(),
        "part": board.part,
        "memory": board.memory.describe(),
        "memory_bytes": board.memory.bytes(),
        "memory_chip": chip,
        "host": board.host,
        "macs": Board::macs(&board.config),
        "clock_hz": board.clock_hz,
        "config_digest": format!("{:#010x}", board.config.digest()),
        "budget": board.budget,
    })
}
