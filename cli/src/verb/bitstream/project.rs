//! Boards whose bitstream Vivado makes: the project, and an estimate of what the design takes.

use super::{Options, usages, with_bar};
use crate::options::Format;
use crate::table::{grouped, table};
use crate::{Outcome, board, stdout, tools};
use anyhow::Result;
use serde_json::json;
use tandem_boards::vivado::{Project, SCRIPT};
use tandem_boards::{Board, Host, TOP, core, design, estimate};
use tandem_isa::HwConfig;

/// Writes the project.
pub fn run(options: &Options, board: &Board, config: &HwConfig) -> Result<Outcome> {
    let project = Project::new(board, config)?;
    if options.dry_run {
        stdout::emit(project.file(SCRIPT).unwrap_or_default())?;
        return Ok(Outcome::Good);
    }
    let taken = match options.estimate {
        false => None,
        true => {
            let tools = tools::flow()?;
            // Beside a processor the design is the core alone.
            let (verilog, top) = match board.host {
                Host::Axi { .. } => (core(board, config)?, tandem_hw::TOP),
                Host::Uart { .. } => (design(board, config)?, TOP),
            };
            Some(with_bar(&tools, &board.name, 1, |runner| estimate(board, &verilog, top, runner))?)
        }
    };
    let folder = options.output.clone().unwrap_or_else(|| board::folder(board));
    project.write(&folder)?;
    let digest = format!("{:#010x}", config.digest());
    let text = match options.format {
        Format::Json => {
            let files: Vec<&String> = project.files.iter().map(|(name, _)| name).collect();
            let facts = json!({
                "board": board.name,
                "part": board.part,
                "config_digest": digest,
                "macs": Board::macs(config),
                "clock_hz": board.clock_hz,
                "folder": folder.display().to_string(),
                "files": files,
                "estimate": taken,
            });
            serde_json::to_string_pretty(&facts)? + "\n"
        }
        Format::Table => {
            let rows =
                project.files.iter().map(|(name, text)| vec![name.clone(), grouped(text.lines().count() as u64)]);
            let mut text = table(&["file", "lines"], &[1], rows);
            if let Some(taken) = &taken {
                text.push_str(&usages(taken));
                text.push_str("estimated by synthesis with yosys, not placed\n");
            }
            text.push_str(&format!(
                "{} MACs at {:.1} MHz if the clock is met; configuration {digest}; run `vivado -mode batch -source {}`\n",
                Board::macs(config),
                board.clock_hz as f64 / 1e6,
                folder.join(SCRIPT).display()
            ));
            text
        }
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}
