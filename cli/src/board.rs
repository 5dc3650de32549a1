//! From the word behind `--board` to a board, and where its files lie.

use anyhow::Result;
use std::path::{Path, PathBuf};
use tandem_boards::Board;

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
