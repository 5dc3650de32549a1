//! What was found out of designs, on disk: a line each, so that nothing is found out twice.
//!
//! The first line says what the file is. Every other line has what was done, the digest of everything that the result depends on
//! (hardware, programs, inputs, memory, tools), and the result. A result is used again only where all of that is the same, so a log
//! may serve several explorations. A last line that was cut short, by a full disk or a kill, is taken off.

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the first line says.
const FORMAT: &str = "tandem explore";
/// The version of the form of lines and of digests.
const VERSION: u32 = 1;

/// What was done with a design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// All models ran on simulated hardware.
    Measured,
    /// It was synthesised.
    Synthesised,
    /// It was placed and routed.
    Placed,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    stage: Stage,
    key: String,
    result: Value,
}

/// Results by stage and digest, in memory and maybe in a file, for several threads.
pub struct Log {
    results: Mutex<Results>,
    /// Whether the last line was cut short.
    pub mended: bool,
}

struct Results {
    file: Option<(PathBuf, File)>,
    known: HashMap<(Stage, String), Value>,
}

impl Log {
    /// A log in a file, which is made where there is none; without a path it lasts as long as the process.
    ///
    /// # Errors
    /// One sentence naming the file: it cannot be opened, another process has it, or it is no log.
    pub fn open(path: Option<&Path>) -> Result<Log> {
        let Some(path) = path else { return Ok(Log::new(Results { file: None, known: HashMap::new() }, false)) };
        let name = path.display();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| anyhow!("{name}: it cannot be opened ({e})"))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{name}: another exploration is writing it; wait for its end, or give another file");
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|e| anyhow!("{name}: it cannot be read ({e})"))?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut lines = text[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mut known = HashMap::new();
        match lines.next() {
            None if whole < text.len() && !is_beginning(&text) => bail!("{name}: it is no log of `tandem explore`"),
            None => {}
            Some(first) => check(first).map_err(|what| anyhow!("{name}: {what}"))?,
        }
        let begun = whole > 0;
        for (number, line) in lines.enumerate() {
            let line: Line = serde_json::from_slice(line)
                .map_err(|e| anyhow!("{name}, line {}: it is no result ({e}); take the line out", number + 2))?;
            known.insert((line.stage, line.key), line.result);
        }
        let cut = |e: std::io::Error| anyhow!("{name}: it cannot be written ({e})");
        file.set_len(whole as u64).map_err(cut)?;
        file.seek(SeekFrom::End(0)).map_err(cut)?;
        let mut results = Results { file: Some((path.to_path_buf(), file)), known };
        if !begun {
            results.write(&json!({"format": FORMAT, "version": VERSION}))?;
        }
        Ok(Log::new(results, whole < text.len()))
    }

    fn new(results: Results, mended: bool) -> Log {
        Log { results: Mutex::new(results), mended }
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found before.
    pub fn get<T: DeserializeOwned>(&self, stage: Stage, key: &str) -> Option<T> {
        let value = self.results().known.get(&(stage, key.to_owned()))?.clone();
        serde_json::from_value(value).ok()
    }

    /// Keeps a result.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, stage: Stage, key: &str, result: &impl Serialize) -> Result<()> {
        let result = serde_json::to_value(result).context("a result of the exploration")?;
        let line = Line { stage, key: key.to_owned(), result };
        let mut results = self.results();
        results.write(&line)?;
        results.known.insert((stage, line.key), line.result);
        Ok(())
    }
}

impl Results {
    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let text = serde_json::to_string(line)? + "\n";
        file.write_all(text.as_bytes())
            .and_then(|()| file.flush())
            .map_err(|e| anyhow!("{}: it cannot be written ({e})", path.display()))
    }
}

/// Whether a text is the beginning of a first line that was cut short.
fn is_beginning(text: &[u8]) -> bool {
    json!({"format": FORMAT, "version": VERSION}).to_string().as_bytes().starts_with(text)
}

/// What is wrong with a first line.
fn check(line: &[u8]) -> Result<(), String> {
    let head: Value = serde_json::from_slice(line).unwrap_or_default();
    if head["format"] != FORMAT {
        return Err("it is no log of `tandem explore`; give another file".to_owned());
    }
    if head["version"] != VERSION {
        return Err(format!(
            "it is a log of version {}, and version {VERSION} is written; give another file",
            head["version"]
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tandem-explore-{}-{name}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn error(path: &Path) -> String {
        Log::open(Some(path)).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn results_are_found_again_by_stage_and_digest() {
        let path = path("again");
        let log = Log::open(Some(&path)).unwrap();
        log.put(Stage::Measured, "a", &vec![1, 2]).unwrap();
        log.put(Stage::Placed, "a", &3).unwrap();
        assert!(error(&path).contains("another exploration"));
        drop(log);
        let log = Log::open(Some(&path)).unwrap();
        assert_eq!(log.get::<Vec<i32>>(Stage::Measured, "a"), Some(vec![1, 2]));
        assert_eq!((log.get::<i32>(Stage::Placed, "a"), log.get::<i32>(Stage::Placed, "b")), (Some(3), None));
        assert_eq!((log.get::<i32>(Stage::Synthesised, "a"), log.results().known.len(), log.mended), (None, 2, false));
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn a_last_line_that_was_cut_short_is_taken_off_at_any_place() {
        let path = path("cut");
        let log = Log::open(Some(&path)).unwrap();
        log.put(Stage::Measured, "a", &1).unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let log = Log::open(Some(&path)).unwrap();
            assert_eq!((log.results().known.len(), log.mended), (0, cut != 0 && cut != first), "cut at {cut}");
            log.put(Stage::Measured, "b", &2).unwrap();
            drop(log);
            let log = Log::open(Some(&path)).unwrap();
            assert_eq!((log.get::<i32>(Stage::Measured, "b"), log.results().known.len()), (Some(2), 1));
        }
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn what_is_no_log_is_refused_and_left_as_it_is() {
        let path = path("other");
        for (text, words) in [
            ("hello\n", "no log"),
            ("hello", "no log"),
            ("{\"format\":\"tandem explore\",\"version\":2}\n", "version 2"),
            ("{\"format\":\"tandem explore\",\"version\":1}\n{}\n", "line 2"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(error(&path).contains(words), "{text}: {}", error(&path));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let _ = std::fs::remove_file(&path);
    }
}
