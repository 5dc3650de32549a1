//! `tandem flash`: a bitstream onto a board, with openFPGALoader.

use crate::{Outcome, board, file, stdout, tools};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;
use tandem_boards::{Board, Report, sha256};

/// The program that talks to the boards.
const LOADER: &str = "openFPGALoader";

/// Options of `tandem flash`.
///
/// Checks that the bitstream is the one that bitstream.json describes, and loads it. Exit code 1 where openFPGALoader is not
/// installed: then the command is printed and not run.
#[derive(Args)]
pub struct Options {
    /// The board: a name of `tandem board list`, or the path of a board's folder.
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// The folder that `tandem bitstream` wrote [default: bitstream/BOARD].
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Write the flash of the board, so that the bitstream is there after power-up.
    #[arg(long)]
    permanent: bool,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let board = board::resolve(&options.board)?;
    let folder = options.folder.clone().unwrap_or_else(|| board::folder(&board));
    let bits = checked(&board, &folder)?;
    let Some(loader) = &board.loader else {
        bail!("{}: {LOADER} does not know this board; its README says how it is programmed", board.name);
    };
    let mut arguments = vec!["-b".to_owned(), loader.clone()];
    arguments.extend(options.permanent.then(|| "-f".to_owned()));
    arguments.push(bits.display().to_string());
    let Some(program) = tools::on_path(LOADER) else {
        stdout::emit(&format!("{LOADER} {}\n", arguments.join(" ")))?;
        stdout::complain(&format!(
            "{LOADER} is not on the path, so that nothing was loaded; install it and run this command"
        ));
        return Ok(Outcome::Negative);
    };
    let status = Command::new(&program).args(&arguments).status();
    let status = status.map_err(|e| anyhow!("{}: it cannot be started ({e})", program.display()))?;
    if !status.success() {
        bail!("{LOADER} {} failed ({status}); is the board connected, and may you use its port?", arguments.join(" "));
    }
    Ok(Outcome::Good)
}

/// The bitstream of a folder, if it is the board's and the one that its report describes.
fn checked(board: &Board, folder: &Path) -> Result<PathBuf> {
    let place = folder.join("bitstream.json");
    if !place.is_file() {
        bail!(
            "{}: there is no bitstream; run `tandem bitstream --board {} -o {}`",
            folder.display(),
            board.name,
            folder.display()
        );
    }
    let report = Report::from_json(&file::read_text(&place)?)
        .map_err(|e| anyhow!("{}: it is no report of a bitstream ({e})", place.display()))?;
    if report.board != board.name {
        bail!("{}: this bitstream is for {} and not for {}", folder.display(), report.board, board.name);
    }
    let bits = folder.join(&report.file);
    let found = sha256(&file::read(&bits)?);
    if found != report.sha256 {
        bail!(
            "{}: its SHA-256 is {found}, but {} says {}; make it again",
            bits.display(),
            place.display(),
            report.sha256
        );
    }
    Ok(bits)
}
