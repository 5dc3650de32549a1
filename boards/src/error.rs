//! What can go wrong between a board's name and its bitstream.

use std::path::PathBuf;
use std::process::ExitStatus;

use thiserror::Error;

/// An error of this crate: one sentence with what, where and what to do.
#[derive(Debug, Error)]
pub enum BoardError {
    /// Invalid: there is no board of this name.
    #[error("there is no board '{name}'; the boards, nearest name first, are {}; or give the path of a board's folder", nearest.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Every board, the nearest name first.
        nearest: Vec<String>,
    },
    /// Invalid: a manifest, or a file that it names, is wrong.
    #[error("{place}: {what}")]
    Manifest {
        /// The file.
        place: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// Invalid: no setting of the PLL within its limits makes the clock.
    #[error(
        "{board}: no setting of the {pll} makes {wanted_hz} Hz from {input_hz} Hz; the nearest that it makes is {nearest_hz} Hz: \
         change clock_hz"
    )]
    Pll {
        /// The board.
        board: String,
        /// The primitive.
        pll: &'static str,
        /// The clock of the manifest.
        wanted_hz: u64,
        /// The oscillator.
        input_hz: u64,
        /// The nearest that there is.
        nearest_hz: u64,
    },
    /// Invalid: what was asked cannot be done for this board.
    #[error("{board}: {what}")]
    Refused {
        /// The board.
        board: String,
        /// What and what to do.
        what: String,
    },
    /// Invalid: the design needs more than the part has.
    #[error("{board}: {}", too_much(part, shortages))]
    DoesNotFit {
        /// The board.
        board: String,
        /// Its part.
        part: String,
        /// What is short, worst first.
        shortages: Vec<Shortage>,
    },
    /// Unavailable: a tool is not installed.
    #[error(
        "{tool} is missing: run `cargo x setup`, or set TANDEM_TOOLS to the folder that it made (looked in {place})"
    )]
    MissingTool {
        /// The program.
        tool: String,
        /// Where it was looked for.
        place: String,
    },
    /// Fault: a tool said no.
    #[error("{step} failed ({status}): {message}; the log is {}", log.display())]
    Failed {
        /// The step of the plan.
        step: String,
        /// How the program ended.
        status: ExitStatus,
        /// What it said.
        message: String,
        /// All that it said.
        log: PathBuf,
    },
    /// Exhausted: a tool was ended when its time was over.
    #[error("{step} was not done in {minutes} minutes and was ended; give it more time or a smaller design; the log is {}", log.display())]
    Overdue {
        /// The step of the plan.
        step: String,
        /// How long it ran.
        minutes: u64,
        /// What it said.
        log: PathBuf,
    },
    /// Fault: a file of the tools is not what it should be.
    #[error("{place}: {what}")]
    Output {
        /// The file.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// Fault: the file system said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A resource of which a design needs more than there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What it is called in tables: LUT, FF, DSP, BRAM.
    pub resource: String,
    /// How much the design needs, at least.
    pub needed: u64,
    /// How much there is.
    pub available: u64,
}

impl BoardError {
    pub(crate) fn manifest(place: impl Into<String>, what: impl Into<String>) -> BoardError {
        BoardError::Manifest { place: place.into(), what: what.into() }
    }

    pub(crate) fn output(place: impl Into<String>, what: impl Into<String>) -> BoardError {
        BoardError::Output { place: place.into(), what: what.into() }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> BoardError {
        let path = path.into();
        move |error| BoardError::Io { path, error }
    }
}

fn too_much(part: &str, shortages: &[Shortage]) -> String {
    let each = shortages.iter().map(|s| {
        format!("{} {} ({} needed, {} there)", s.needed.saturating_sub(s.available), s.resource, s.needed, s.available)
    });
    format!("the design does not fit {part}: too many by {}", each.collect::<Vec<_>>().join(", "))
}
