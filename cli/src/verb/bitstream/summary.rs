//! The table of all boards, for the terminal and for `docs/boards.md`.

use crate::file;
use crate::table::{grouped, table};
use anyhow::{Result, anyhow, bail};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use tandem_boards::proof::describe;
use tandem_boards::report::Report;
use tandem_boards::{Bitstream, Board};

/// Between these lines stands what is written here.
const BEGIN: &str = "<!-- begin: written by `tandem bitstream --all --summary` -->";
const END: &str = "<!-- end -->";
/// Titles of the columns.
const HEADER: [&str; 11] =
    ["board", "MACs", "clock (MHz)", "fmax (MHz)", "LUT", "FF", "DSP", "BRAM", "GOPS", "tools (s)", "compared"];

type Made<'a> = (&'a Board, Bitstream);

/// The table for the terminal.
pub fn plain(made: &[Made]) -> String {
    table(&HEADER, &[1, 2, 3, 4, 5, 6, 7, 8, 9], made.iter().map(|(_, bitstream)| row(&bitstream.report)))
}

/// Whether a file is one to write into, before the long work begins.
pub fn check(place: &Path) -> Result<()> {
    if between(&file::read_text(place)?, "").is_none() {
        bail!("{}: it has no lines `{BEGIN}` and `{END}` to write between", place.display());
    }
    Ok(())
}

/// Writes the table between the marks of a file, and the pictures into the folder with the file's name.
pub fn write(place: &Path, boards: &[Board], made: &[Made]) -> Result<()> {
    let text = file::read_text(place)?;
    let pictures = place.with_extension("");
    fs::create_dir_all(&pictures).map_err(|e| anyhow!("{}: it cannot be made ({e})", pictures.display()))?;
    for (board, bitstream) in made {
        file::write(&pictures.join(format!("{}.svg", board.name)), bitstream.picture.as_bytes())?;
    }
    let folder = pictures.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(new) = between(&text, &markdown(&folder, boards, made)) else {
        bail!("{}: it has no lines `{BEGIN}` and `{END}` to write between", place.display());
    };
    file::write(place, new.as_bytes())
}

/// The text with something else between the marks.
fn between(text: &str, new: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{new}{END}{tail}"))
}

fn row(report: &Report) -> Vec<String> {
    let fmax = report.clocks.first().map_or_else(String::new, |clock| {
        let reported =
            if report.derate < 1.0 { format!(" ({:.1} reported)", clock.fmax_reported) } else { String::new() };
        let met = if report.timing_met { "" } else { ", NOT met" };
        format!("{:.1}{reported}{met}", clock.fmax_derated)
    });
    let share = |resource: &str| {
        report.usage(resource).map_or_else(|| "-".to_owned(), |u| format!("{} ({:.0} %)", grouped(u.used), u.percent))
    };
    vec![
        report.board.clone(),
        report.macs.to_string(),
        format!("{:.1}", report.clock_hz as f64 / 1e6),
        fmax,
        share("LUT"),
        share("FF"),
        share("DSP"),
        share("BRAM"),
        format!("{:.2}", report.peak_gops),
        format!("{:.0}", report.seconds()),
        describe(&report.proofs),
    ]
}

fn markdown(folder: &str, boards: &[Board], made: &[Made]) -> String {
    let mut text = format!("\n| {} |\n|{}\n", HEADER.join(" | "), "---|".repeat(HEADER.len()));
    for (_, bitstream) in made {
        let _ = writeln!(text, "| {} |", row(&bitstream.report).join(" | "));
    }
    let mut tools: Vec<String> = made
        .iter()
        .flat_map(|(_, bitstream)| bitstream.report.tools.iter().map(|(name, version)| format!("{name} {version}")))
        .collect();
    tools.sort();
    tools.dedup();
    let _ = writeln!(text, "\nMade with {}.\n", tools.join(", "));
    text.push_str("| board | part | memory | host link | configuration | seed | bytes | SHA-256 of the bitstream |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for (board, bitstream) in made {
        let report = &bitstream.report;
        let _ = writeln!(
            text,
            "| [{}](../boards/{}/README.md) | {} | {} | {} | {} | {} | {} | `{}` |",
            board.name,
            board.name,
            board.part,
            board.memory.describe(),
            board.host.describe(),
            report.config_digest,
            report.seed,
            grouped(report.bytes),
            report.sha256
        );
    }
    text.push_str("\nProjects for Vivado, with what the default configuration is meant for:\n\n");
    text.push_str("| board | part | memory | host link | MACs | clock (MHz) |\n|---|---|---|---|---|---|\n");
    for board in boards.iter().filter(|board| !board.flow.is_open()) {
        let _ = writeln!(
            text,
            "| [{}](../boards/{}/README.md) | {} | {} | {} | {} | {:.0} |",
            board.name,
            board.name,
            board.part,
            board.memory.describe(),
            board.host.describe(),
            Board::macs(&board.config),
            board.clock_hz as f64 / 1e6
        );
    }
    text.push('\n');
    for (board, _) in made {
        let _ = writeln!(text, "![{}: what lies where]({folder}/{}.svg)\n", board.title, board.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_is_replaced_and_the_rest_stays() {
        let page = format!("# Boards\n\n{BEGIN}\nold\n{END}\n\nrest\n");
        let once = between(&page, "\nnew\n").unwrap();
        assert_eq!(once, format!("# Boards\n\n{BEGIN}\n\nnew\n{END}\n\nrest\n"));
        assert_eq!(between(&once, "\nnew\n").unwrap(), once);
        assert_eq!(between("# Boards\n", "new"), None);
        let own = include_str!("../../../../docs/boards.md");
        assert!(between(own, "").is_some(), "docs/boards.md has lost its marks");
    }
}
