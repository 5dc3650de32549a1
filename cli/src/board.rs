//! From the word behind `--board` to a board, where its files lie, and the memory chip of a simulated one.

use anyhow::Result;
use std::path::{Path, PathBuf};
use tandem_boards::Board;
use tandem_hw::shell::{Memory, Shell};
use tandem_sim::board::Chip;
use tandem_sim::sdram::Model;

/// The board that a word names: one that is built in, or the path of a folder with a `board.toml`.
///
/// # Errors
/// One sentence: every board, the nearest name first, or what is wrong with the folder's manifest.
pub fn resolve(word: &str) -> Result<Board> {
    let path = Path::new(word);
    let is_path = word.contains(std::path::MAIN_SEPARATOR) || path.join("board.toml").is_file();
    Ok(if is_path { tandem_boards::load(path)? } else { tandem_boards::find(word)? })
}

/// The folder of a board's bitstream where the command line does not say.
pub fn folder(board: &Board) -> PathBuf {
    Path::new("bitstream").join(&board.name)
}

/// The memory chip of a shell, where it has one.
pub fn chip(shell: &Shell) -> Option<Box<dyn Chip>> {
    match &shell.memory {
        Memory::Sdram(facts) => Some(Box::new(Model::new(facts, shell.clock_hz))),
        Memory::Spram | Memory::BlockRam { .. } => None,
    }
}
