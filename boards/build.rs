//! Lists the board folders and the bases, so that a new folder is a new board without a line of code.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    // A folder that appears or a file that changes must be seen; cargo walks what it is told.
    println!("cargo::rerun-if-changed={}", root.display());
    let mut text = String::from("/// Folders of files that are built in: name, then files with their texts.\n");
    text.push_str("pub(crate) static FOLDERS: &[(&str, &[(&str, &str)])] = &[\n");
    let folders = entries(&root)?.into_iter().filter(|path| path.join("board.toml").is_file());
    for folder in folders {
        files(&mut text, &folder)?;
    }
    text.push_str("];\n/// Manifests that boards inherit.\n");
    text.push_str("pub(crate) static BASES: &[(&str, &[(&str, &str)])] = &[\n");
    files(&mut text, &root.join("base"))?;
    text.push_str("];\n");
    fs::write(out.join("folders.rs"), text)
}

/// One folder with its text files.
fn files(text: &mut String, folder: &Path) -> io::Result<()> {
    let _ = writeln!(text, "    ({:?}, &[", name(folder));
    for file in entries(folder)?.into_iter().filter(|path| path.is_file()) {
        let _ = writeln!(text, "        ({:?}, include_str!({:?})),", name(&file), file.display().to_string());
    }
    text.push_str("    ]),\n");
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
