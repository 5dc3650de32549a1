//! A compiled block, and the cache it comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tandem_hw::Module;

use super::sys::Library;
use crate::tsim::compile::{LIBRARY, Recipe};
use crate::tsim::model::built;
use crate::tsim::{BuildStep, Tools, TsimError, Variant};

/// A block, ready to simulate. Any number of blocks can be made from it.
#[derive(Debug)]
pub struct StreamModel {
    /// Name and width of each port.
    ports: Vec<(String, u32)>,
    folder: PathBuf,
    pub(super) library: Library,
}

impl StreamModel {
    /// The model of a block with a clock, from the cache or built into it.
    ///
    /// # Errors
    /// [`TsimError::Missing`], [`TsimError::File`], [`TsimError::Build`], [`TsimError::Load`].
    pub fn build(
        block: &Module,
        tools: &Tools,
        cache: &Path,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<Arc<StreamModel>, TsimError> {
        StreamModel::build_from(block, &block.verilog(), tools, cache, progress)
    }

    /// The model of a Verilog text with the module and the ports of a block: for faults that are planted in it.
    ///
    /// # Errors
    /// As [`StreamModel::build`].
    pub fn build_from(
        block: &Module,
        verilog: &str,
        tools: &Tools,
        cache: &Path,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<Arc<StreamModel>, TsimError> {
        let mut ports = vec![("clock".to_owned(), 1), ("reset".to_owned(), 1)];
        ports.extend(block.ports().into_iter().map(|port| (port.name, port.width)));
        let name = block.name();
        let list: Vec<String> = ports.iter().enumerate().map(|(at, (port, _))| format!("PORT({at},{port})")).collect();
        let recipe = Recipe {
            tools,
            top: name,
            harness: include_str!("stream.cpp"),
            variant: Variant::default(),
            defines: vec![
                format!("TANDEM_HEADER=\"V{name}.h\""),
                format!("TANDEM_TOP=V{name}"),
                format!("TANDEM_PORTS(PORT)={}", list.join(" ")),
            ],
            flags: &[],
        };
        let folder = built(&recipe, name, verilog, cache, progress)?;
        progress(BuildStep::Ready);
        let library = Library::open(&folder.join(LIBRARY))?;
        Ok(Arc::new(StreamModel { ports, folder, library }))
    }

    /// Where the Verilog, the C++ and the library are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// 32-bit words of a port.
    pub(super) fn words(&self, port: usize) -> usize {
        self.ports.get(port).map_or(0, |(_, width)| width.div_ceil(32) as usize)
    }

    /// The numbers of the inputs that offer a word.
    pub(super) fn sources(&self) -> Vec<usize> {
        let valid = |(port, _): &(String, u32)| port.ends_with("_valid") && port != "out_valid";
        self.ports.iter().enumerate().filter(|(_, port)| valid(port)).map(|(at, _)| at).collect()
    }

    /// The number of a port.
    ///
    /// # Panics
    /// Where the block has no such port.
    pub(super) fn port(&self, name: &str) -> usize {
        let found = self.ports.iter().position(|(port, _)| port == name);
        found.unwrap_or_else(|| panic!("the block has no port {name}"))
    }
}
