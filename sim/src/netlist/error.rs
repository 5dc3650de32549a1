//! Why a netlist was not made or cannot be used.

use std::path::PathBuf;

use thiserror::Error;

use crate::tsim::TsimError;

/// What can go wrong between Verilog and a netlist that runs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetlistError {
    /// The text is no netlist (Invalid).
    #[error("the netlist is not what yosys or nextpnr writes: {0}")]
    Form(String),
    /// A cell, or a use of one, that there is no rule for (Unsupported).
    #[error("cell {cell} of type {kind}: {problem}")]
    Cell {
        /// Its name in the netlist.
        cell: String,
        /// Its type.
        kind: String,
        /// What is not known about it.
        problem: String,
    },
    /// A tool that is absent (Unavailable).
    #[error("{tool} is not in {}: run `cargo x setup`, or set TANDEM_TOOLS to the folder that it made", folder.display())]
    Missing {
        /// The tool.
        tool: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A tool failed (Fault).
    #[error("{tool}: {first}; the whole log is {}", log.display())]
    Tool {
        /// The tool.
        tool: String,
        /// The line of its output that tells most.
        first: String,
        /// Where the output is.
        log: PathBuf,
    },
    /// A file could not be written or read (Unavailable).
    #[error("cannot {action} {}: {detail}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The model could not be built or run.
    #[error(transparent)]
    Model(#[from] TsimError),
}
