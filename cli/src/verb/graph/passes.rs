//! `tandem graph passes`: a graph after passes, and what each of them did.

use crate::options::{Format, ModelOptions, Passes};
use crate::table::table;
use crate::{Outcome, file, model, stdout};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use tandem_graph::pass::{self, Row};

/// Options of `tandem graph passes`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// Write the graph after the passes as text; - is standard output, and the table then goes to stderr.
    #[arg(long, short, value_name = "G.graph")]
    output: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let (graph, rows) = model::after_passes(&options.model, Passes::exact())?;
    if let Some(path) = &options.output {
        file::write(path, tandem_graph::print(&graph).as_bytes())?;
    }
    let text = match options.format {
        Format::Table => as_table(&rows),
        Format::Json => {
            let entry =
                |row: &Row| json!({"pass": row.pass, "before": row.before, "after": row.after, "changed": row.changed});
            let passes: Vec<_> = rows.iter().map(entry).collect();
            format!("{}\n", json!({"passes": passes, "nodes": graph.nodes.len()}))
        }
    };
    if options.output.as_deref() == Some(Path::new("-")) {
        stdout::complain(text.trim_end());
    } else {
        stdout::emit(&text)?;
    }
    Ok(Outcome::Good)
}

fn as_table(rows: &[Row]) -> String {
    let header = ["pass", "nodes before", "removed", "changed", "nodes after", "bits", "what it does"];
    let line = |row: &Row| {
        let (about, bits) = match pass::find(row.pass) {
            Ok(pass) => (pass.about, if pass.exact { "same" } else { "floats rounded anew" }),
            Err(_) => ("", ""),
        };
        // A pass may add nodes, such as a transpose on each of two small edges in place of a large one.
        let removed = row.before as i64 - row.after as i64;
        let numbers = [row.before.to_string(), removed.to_string(), row.changed.to_string(), row.after.to_string()];
        let mut cells = vec![row.pass.to_owned()];
        cells.extend(numbers);
        cells.extend([bits.to_owned(), about.to_owned()]);
        cells
    };
    table(&header, &[1, 2, 3, 4], rows.iter().map(line))
}
