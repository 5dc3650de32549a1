//! A compiled board, and the cache it comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sys::Library;
use crate::tsim::compile::{LIBRARY, Recipe};
use crate::tsim::model::built;
use crate::tsim::{BuildStep, Tools, TsimError, Variant};

/// The module that is a board.
const TOP: &str = "board";
/// Parts of vendors' cells that a simulation does not need and that Verilator does not know are left out.
const FLAGS: &[&str] = &["--bbox-unsup"];

/// A board, ready to simulate. Any number of boards can be made from it.
#[derive(Debug)]
pub struct BoardModel {
    variant: Variant,
    folder: PathBuf,
    pub(super) library: Library,
}

impl BoardModel {
    /// The model of a Verilog text, from the cache or built into it.
    ///
    /// `verilog` has the module `board`, as design or as netlist; `cells` has the modules that it takes from its vendor, and is
    /// empty where there are none. The variant says which of the two it is.
    ///
    /// # Errors
    /// [`TsimError::Missing`], [`TsimError::File`], [`TsimError::Build`], [`TsimError::Load`].
    pub fn build(
        verilog: &str,
        cells: &str,
        tools: &Tools,
        cache: &Path,
        variant: Variant,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<Arc<BoardModel>, TsimError> {
        let recipe =
            Recipe { tools, top: TOP, harness: include_str!("board.cpp"), variant, defines: Vec::new(), flags: FLAGS };
        let folder = built(&recipe, TOP, &format!("{verilog}\n{cells}"), cache, progress)?;
        progress(BuildStep::Ready);
        let library = Library::open(&folder.join(LIBRARY))?;
        Ok(Arc::new(BoardModel { variant, folder, library }))
    }

    /// What is compiled in.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Where the Verilog, the C++ and the library are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the board has pins for a memory chip.
    pub fn has_chip(&self) -> bool {
        self.library.has_chip()
    }
}
