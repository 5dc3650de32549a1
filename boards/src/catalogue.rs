//! The boards that are built in, and boards from a folder.

use std::fs;
use std::path::Path;

use crate::{Board, BoardError, manifest};

include!(concat!(env!("OUT_DIR"), "/folders.rs"));

/// The names of the boards that are built in, sorted.
pub fn names() -> Vec<&'static str> {
    FOLDERS.iter().map(|(name, _)| *name).collect()
}

/// A board that is built in.
///
/// # Errors
/// [`BoardError::Unknown`] with every name, the nearest first.
pub fn find(name: &str) -> Result<Board, BoardError> {
    let Some((folder, files)) = FOLDERS.iter().find(|(folder, _)| *folder == name) else {
        let mut nearest: Vec<String> = names().into_iter().map(str::to_owned).collect();
        nearest.sort_by_key(|other| distance(name, other));
        return Err(BoardError::Unknown { name: name.to_owned(), nearest });
    };
    let file = |wanted: &str| text(files, wanted);
    manifest::read(&format!("boards/{folder}"), &file, &base)
}

/// A board from a folder with a `board.toml` of its own; the bases are those that are built in.
///
/// # Errors
/// [`BoardError::Manifest`] naming the file and what is wrong with it.
pub fn load(folder: &Path) -> Result<Board, BoardError> {
    // A manifest names files of its folder and no others.
    let file = |wanted: &str| match Path::new(wanted).file_name() {
        Some(name) if name == wanted => fs::read_to_string(folder.join(name)).ok(),
        _ => None,
    };
    manifest::read(&folder.display().to_string(), &file, &base)
}

fn base(wanted: &str) -> Option<String> {
    BASES.first().and_then(|(_, files)| text(files, wanted))
}

fn text(files: &[(&str, &str)], wanted: &str) -> Option<String> {
    files.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned())
}

/// Letters to insert, delete or replace to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_board_is_answered_with_the_nearest_name_first() {
        let error = find("ulx3s").unwrap_err().to_string();
        assert!(
            error.starts_with("there is no board 'ulx3s'; the boards, nearest name first, are ulx3s-85f, "),
            "{error}"
        );
        assert_eq!(distance("icebraker", "icebreaker"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
