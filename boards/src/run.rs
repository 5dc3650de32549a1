//! Runs the steps of a plan, or takes what an equal step made before.
//!
//! A step's key is the digest of its program, the program's version, its arguments and the contents of its inputs. What a step
//! writes lies in a folder of this name, which appears complete or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::BoardError;
use crate::plan::Step;
use crate::sha256::Sha256;
use crate::tools::Tools;

/// The file with what is known of a run.
const FACTS: &str = "facts.json";

/// What a run tells while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A program compiles itself, which happens once.
    Compiling(&'a str),
    /// A step begins.
    Begin(&'a str),
    /// A step is done; whether it was taken from the cache.
    Done(&'a str, bool),
}

/// What a step left behind.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its outputs and its log lie here.
    pub folder: PathBuf,
    /// Wall-clock time of the run that made it.
    pub seconds: f64,
    /// Whether it was taken from the cache.
    pub cached: bool,
}

impl Made {
    /// The path of an output.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// An output as text.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn text(&self, name: &str) -> Result<String, BoardError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(BoardError::io(path))
    }
}

/// Files by name, to read from: of the caller's making, or outputs of steps.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    texts: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, PathBuf>,
}

impl Inputs {
    /// Adds a file with this content.
    pub fn add(&mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.texts.insert(name.into(), content.into());
    }

    /// Adds the outputs of a step.
    pub fn extend(&mut self, step: &Step, made: &Made) {
        self.files.extend(step.outputs.iter().map(|name| (name.clone(), made.path(name))));
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BoardError> {
        match (self.texts.get(name), self.files.get(name)) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(path)) => fs::read(path).map_err(BoardError::io(path)),
            (None, None) => Err(BoardError::output(name, "no step before makes this file")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Facts {
    seconds: f64,
}

/// Runs steps.
pub struct Runner<'a> {
    tools: &'a Tools,
    cache: PathBuf,
    progress: &'a mut dyn FnMut(Progress),
    limit: Option<Duration>,
}

impl<'a> Runner<'a> {
    /// A runner that keeps what steps make in `cache`.
    pub fn new(tools: &'a Tools, cache: PathBuf, progress: &'a mut dyn FnMut(Progress)) -> Runner<'a> {
        Runner { tools, cache, progress, limit: None }
    }

    /// Ends a step that takes longer than this.
    pub fn with_limit(self, limit: Duration) -> Runner<'a> {
        Runner { limit: Some(limit), ..self }
    }

    /// Where what steps made is kept.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The programs.
    pub fn tools(&self) -> &'a Tools {
        self.tools
    }

    /// Runs a step, unless an equal one ran before.
    ///
    /// # Errors
    /// [`BoardError::MissingTool`], [`BoardError::Failed`] where the program says no or does not write what it should,
    /// [`BoardError::Overdue`] where it takes longer than it may, and [`BoardError::Io`].
    pub fn run(&mut self, step: &Step, inputs: &Inputs) -> Result<Made, BoardError> {
        let version = self.tools.version(step.tool)?;
        let mut hash = Sha256::new();
        for piece in [step.tool.program(), &version].into_iter().chain(step.arguments.iter().map(String::as_str)) {
            hash.piece(piece.as_bytes());
        }
        let mut contents = Vec::new();
        for name in &step.inputs {
            let content = inputs.read(name)?;
            hash.piece(name.as_bytes());
            hash.piece(&content);
            contents.push((name, content));
        }
        let folder = self.cache.join(&hash.finish()[..32]);
        if let Some(made) = kept(&folder, step) {
            (self.progress)(Progress::Done(&step.name, true));
            return Ok(made);
        }
        (self.progress)(Progress::Compiling(step.tool.program()));
        self.tools.warm_up(step.tool)?;
        (self.progress)(Progress::Begin(&step.name));
        let work = self.work_folder()?;
        for (name, content) in &contents {
            let path = work.join(name);
            fs::write(&path, content).map_err(BoardError::io(path))?;
        }
        let begin = Instant::now();
        let Some(status) = self.start(step, &work)? else {
            let log = keep_log(step, &folder, &work).0;
            let minutes = begin.elapsed().as_secs() / 60;
            return Err(BoardError::Overdue { step: step.name.clone(), minutes, log });
        };
        let seconds = begin.elapsed().as_secs_f64();
        let absent = step.outputs.iter().find(|name| !work.join(name).is_file());
        if !status.success() || absent.is_some() {
            return Err(failed(step, &folder, &work, status, absent));
        }
        for (name, _) in &contents {
            if !step.outputs.contains(name) {
                let path = work.join(name);
                fs::remove_file(&path).map_err(BoardError::io(path))?;
            }
        }
        let facts = serde_json::to_string(&Facts { seconds }).unwrap_or_default();
        fs::write(work.join(FACTS), facts).map_err(BoardError::io(work.join(FACTS)))?;
        // Where another process was faster, its result is as good.
        if fs::rename(&work, &folder).is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        (self.progress)(Progress::Done(&step.name, false));
        let made = kept(&folder, step).ok_or_else(|| {
            BoardError::output(folder.display().to_string(), "what the step made cannot be kept; is the disk full?")
        })?;
        Ok(Made { cached: false, ..made })
    }

    /// Runs a program to its end; none where it was ended at the limit. It sees only what lies below its current folder.
    fn start(&self, step: &Step, work: &Path) -> Result<Option<ExitStatus>, BoardError> {
        /// How often a program with a limit is looked at.
        const LOOK: Duration = Duration::from_millis(50);
        let log = work.join(&step.log);
        let out = File::create(&log).map_err(BoardError::io(&log))?;
        let err = out.try_clone().map_err(BoardError::io(&log))?;
        let mut command = self.tools.command(step.tool);
        command.args(&step.arguments).current_dir(work).stdout(Stdio::from(out)).stderr(Stdio::from(err));
        let failed = BoardError::io(step.tool.program());
        let Some(limit) = self.limit else { return command.status().map(Some).map_err(failed) };
        let begin = Instant::now();
        let mut wait = || {
            let mut child = command.spawn()?;
            loop {
                match child.try_wait()? {
                    Some(status) => return Ok(Some(status)),
                    None if begin.elapsed() < limit => thread::sleep(LOOK),
                    None => {
                        child.kill()?;
                        child.wait()?;
                        return Ok(None);
                    }
                }
            }
        };
        wait().map_err(failed)
    }

    /// A folder of this run's own.
    fn work_folder(&self) -> Result<PathBuf, BoardError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let work = self.cache.join(format!("work-{}-{number}", std::process::id()));
        // A process of the same number may have died here.
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).map_err(BoardError::io(&work))?;
        Ok(work)
    }
}

/// What a run that failed says of itself, with its log.
fn failed(step: &Step, folder: &Path, work: &Path, status: ExitStatus, absent: Option<&String>) -> BoardError {
    let (log, said) = keep_log(step, folder, work);
    let message = complaint(&said).unwrap_or_else(|| match absent {
        Some(name) => format!("it did not write {name}"),
        None => "it does not say why".to_owned(),
    });
    BoardError::Failed { step: step.name.clone(), status, message, log }
}

/// Keeps the log of a run that failed, removes its folder, and says where the log is and what it holds.
fn keep_log(step: &Step, folder: &Path, work: &Path) -> (PathBuf, String) {
    let log = folder.with_extension("log");
    let said = fs::read(work.join(&step.log)).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    // Where even this fails, the message still has the program's own words.
    let _ = fs::write(&log, &said);
    let _ = fs::remove_dir_all(work);
    (log, said)
}

/// What a step made before, if all of it is there.
fn kept(folder: &Path, step: &Step) -> Option<Made> {
    let facts: Facts = serde_json::from_str(&fs::read_to_string(folder.join(FACTS)).ok()?).ok()?;
    let complete = step.outputs.iter().chain([&step.log]).all(|name| folder.join(name).is_file());
    complete.then(|| Made { folder: folder.to_path_buf(), seconds: facts.seconds, cached: true })
}

/// The first error in a log, else its last line.
fn complaint(log: &str) -> Option<String> {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find(|line| line.starts_with("ERROR") || line.contains("Error:") || line.contains("error:"));
    error.or_else(|| lines().next_back()).map(|line| line.trim_start_matches("ERROR:").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_complaint_of_a_log_is_its_first_error_or_its_last_line() {
        assert_eq!(complaint("Info: a\nERROR: no room\nERROR: 2\n").as_deref(), Some("no room"));
        assert_eq!(complaint("Info: a\nkilled\n\n").as_deref(), Some("killed"));
        assert_eq!(complaint("\n"), None);
    }
}
