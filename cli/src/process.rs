//! Other programs, which may fail, hang or say too much.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a program that runs is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// Time for a program to end once it is told to.
const FAREWELL: Duration = Duration::from_secs(5);
/// The most that is read of what a program writes.
const MOST: u64 = 64 << 20;

/// What became of a program.
pub struct Ended {
    /// Its exit code; none where a signal ended it, or it was ended for saying nothing for too long.
    pub code: Option<i32>,
    /// What it wrote to stdout, as far as it came.
    pub stdout: String,
    /// What it wrote to stderr, as far as it came.
    pub stderr: String,
    /// Whether it was ended for saying nothing for too long.
    pub hung: bool,
}

impl Ended {
    /// Why it did not succeed, in one line: its last words, or how it ended.
    pub fn reason(&self) -> String {
        let last = self.stderr.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let last = last.strip_prefix("error: ").unwrap_or(last);
        match (self.hung, self.code) {
            (true, _) => "it did not end in time and was stopped".to_owned(),
            (false, None) => format!("a signal ended it; its last words: {last:?}"),
            (false, Some(_)) if !last.is_empty() => last.to_owned(),
            (false, Some(code)) => format!("it ended with exit code {code} and said nothing"),
        }
    }
}

/// A folder of this process's own, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder among the system's temporary files.
    ///
    /// # Errors
    /// One sentence naming the folder.
    pub fn new() -> Result<Scratch> {
        Scratch::in_folder(std::env::temp_dir().join(format!("tandem-{}", std::process::id())))
    }

    /// The folder of that path, empty.
    ///
    /// # Errors
    /// One sentence naming the folder.
    pub fn in_folder(path: PathBuf) -> Result<Scratch> {
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("{}: the folder cannot be made", path.display()))?;
        Ok(Scratch(path))
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left among temporary files is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a program to its end, or until it has written nothing to stdout for `patience`. It writes to files, so that neither a full
/// pipe nor a grandchild that keeps one open can block anybody.
///
/// # Errors
/// One sentence, where it cannot be started or what it wrote cannot be read.
pub fn run(command: &mut Command, scratch: &Scratch, patience: Duration) -> Result<Ended> {
    let (out, err) = (scratch.path("stdout"), scratch.path("stderr"));
    let create = |path: &Path| File::create(path).with_context(|| format!("{}: it cannot be written", path.display()));
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&err)?);
    let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
    let (mut since, mut length) = (Instant::now(), 0);
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {program}"))? {
            break Some(status);
        }
        let now = fs::metadata(&out).map_or(0, |file| file.len());
        if now != length {
            (since, length) = (Instant::now(), now);
        }
        if since.elapsed() > patience {
            end(&mut child);
            break None;
        }
        std::thread::sleep(GLANCE);
    };
    let text = |path: &Path| -> Result<String> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let code = status.as_ref().and_then(ExitStatus::code);
    Ok(Ended { code, stdout: text(&out)?, stderr: text(&err)?, hung: status.is_none() })
}

/// Ends a program. One that waits for a driver may not end at all; it is then left to itself.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let begin = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && begin.elapsed() < FAREWELL {
        std::thread::sleep(GLANCE);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Ended {
        let path = std::env::temp_dir().join(format!("tandem-process-{}-{}", std::process::id(), script.len()));
        fs::create_dir_all(&path).unwrap();
        run(Command::new("sh").args(["-c", script]), &Scratch(path), patience).unwrap()
    }

    #[test]
    fn a_program_is_told_by_its_code_and_its_last_words() {
        let ended = shell("echo result; echo first >&2; echo 'error: the reason' >&2; exit 2", Duration::from_secs(60));
        assert_eq!((ended.code, ended.stdout.as_str(), ended.hung), (Some(2), "result\n", false));
        assert_eq!(ended.reason(), "the reason");
        assert!(shell("exit 3", Duration::from_secs(60)).reason().contains("exit code 3"));
        assert!(shell("kill -9 $$", Duration::from_secs(60)).reason().contains("a signal"));
    }

    #[test]
    fn a_program_that_hangs_is_stopped_and_what_it_said_before_is_kept() {
        // It cannot end by itself: nothing is ever written to the pipe that it reads from its own child.
        let ended = shell("echo before; while :; do :; done", Duration::from_millis(300));
        assert_eq!((ended.code, ended.stdout.as_str(), ended.hung), (None, "before\n", true));
        assert!(ended.reason().contains("stopped"));
    }
}
