//! A compiled model of the hardware, and the cache it comes from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem_isa::HwConfig;

use super::compile::{LIBRARY, Recipe, file};
use super::sys::Library;
use super::{Tools, TsimError};

/// A file of the run-time folder that exists once all objects do.
const COMPLETE: &str = "complete";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What is compiled into a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Signals can be recorded. This costs time even where nothing is.
    pub waves: bool,
    /// The design has its mutants, of which the options of a bus choose one.
    pub mutants: bool,
    /// The design is a netlist: the compiler does less, because so much code has little to gain.
    pub netlist: bool,
}

/// What a build is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildStep {
    /// Verilator translates the design.
    Verilate,
    /// The compiler has done so many files.
    Compile {
        /// Files compiled.
        done: usize,
        /// Files in all.
        total: usize,
    },
    /// The linker makes the library.
    Link,
    /// The model is there: built before, or just now.
    Ready,
}

/// The hardware of one configuration, ready to simulate. Any number of devices can be made from it.
#[derive(Debug)]
pub struct Model {
    config: HwConfig,
    variant: Variant,
    folder: PathBuf,
    pub(super) library: Library,
}

impl Model {
    /// The model of a configuration, from the cache or built into it.
    ///
    /// The cache is a folder that may be deleted at any time; builders in several processes do not disturb each other.
    ///
    /// # Errors
    /// [`TsimError::Missing`], [`TsimError::File`], [`TsimError::Build`], [`TsimError::Load`].
    pub fn build(
        config: &HwConfig,
        tools: &Tools,
        cache: &Path,
        variant: Variant,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<Arc<Model>, TsimError> {
        Model::build_from(&tandem_hw::verilog(config), config, tools, cache, variant, progress)
    }

    /// The model of a Verilog text with the ports of the accelerator: for mutants, and for tests of the harness.
    ///
    /// # Errors
    /// As [`Model::build`].
    pub fn build_from(
        verilog: &str,
        config: &HwConfig,
        tools: &Tools,
        cache: &Path,
        variant: Variant,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<Arc<Model>, TsimError> {
        let recipe = Recipe {
            tools,
            top: "tandem",
            harness: include_str!("harness.cpp"),
            variant,
            defines: vec![format!("TANDEM_BUS_BITS={}", config.bus_bytes() * 8)],
            flags: &[],
        };
        let folder = built(&recipe, config.name().unwrap_or("model"), verilog, cache, progress)?;
        progress(BuildStep::Ready);
        let library = Library::open(&folder.join(LIBRARY))?;
        Ok(Arc::new(Model { config: config.clone(), variant, folder, library }))
    }

    /// The model of what synthesis, or place and route, made of a configuration's hardware. The netlist has the ports of the
    /// accelerator, and `cells` is what its cells do, as Verilog.
    ///
    /// # Errors
    /// As [`Model::build`]; a cell without a model is a [`TsimError::Build`] that names it.
    pub fn of_netlist(
        netlist: &str,
        cells: &str,
        config: &HwConfig,
        tools: &Tools,
        cache: &Path,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<Arc<Model>, TsimError> {
        let variant = Variant { netlist: true, ..Variant::default() };
        Model::build_from(&format!("{cells}\n{netlist}"), config, tools, cache, variant, progress)
    }

    /// The configuration.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }

    /// What is compiled in.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Where the Verilog, the C++ and the library are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The folder of a cache that holds the library of a Verilog text; it is built where it is not there.
pub(crate) fn built(
    recipe: &Recipe<'_>,
    name: &str,
    verilog: &str,
    cache: &Path,
    progress: &mut dyn FnMut(BuildStep),
) -> Result<PathBuf, TsimError> {
    // Verilator includes files relative to where it runs, and so does a log that names them.
    let cache = std::path::absolute(cache).map_err(file("find", cache))?;
    let key = recipe.key()?;
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = cache.join(format!("{name}-{}", digest(&[verilog, &key])));
    if !folder.join(LIBRARY).is_file() {
        let runtime = cache.join(format!("runtime-{}", digest(&[&recipe.runtime_key()?])));
        if !runtime.join(COMPLETE).is_file() {
            place(&runtime, COMPLETE, |at| {
                recipe.build_runtime(at, progress)?;
                super::compile::write(&at.join(COMPLETE), "")
            })?;
        }
        let objects = recipe.runtime_objects(&runtime);
        place(&folder, LIBRARY, |at| recipe.build(verilog, at, &objects, progress).map(drop))?;
    }
    Ok(folder)
}

/// Makes a folder under a name of its own and renames it when it is complete, which a file in it tells.
///
/// A second builder waits for the first, whose lock ends with its process. A failed build stays, under a name that ends in
/// `failed`, and the log's path in the error points there.
pub(crate) fn place(
    folder: &Path,
    complete: &str,
    make: impl FnOnce(&Path) -> Result<(), TsimError>,
) -> Result<(), TsimError> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(file("make", parent))?;
    let lock = folder.with_extension("lock");
    let held = File::create(&lock).map_err(file("write", &lock))?;
    // Where a file system has no locks, two builders do the same work, and the slower one's is thrown away.
    let _ = held.lock();
    if folder.join(complete).is_file() {
        return Ok(());
    }
    let own = format!("building-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let building = folder.with_extension(own);
    std::fs::create_dir_all(&building).map_err(file("make", &building))?;
    if let Err(error) = make(&building) {
        let failed = folder.with_extension("failed");
        let _ = std::fs::remove_dir_all(&failed);
        return Err(match (error, std::fs::rename(&building, &failed)) {
            (TsimError::Build { tool, first, log }, Ok(())) => {
                let log = log.strip_prefix(&building).map_or(log.clone(), |log| failed.join(log));
                TsimError::Build { tool, first, log }
            }
            (error, _) => error,
        });
    }
    match std::fs::rename(&building, folder) {
        Ok(()) => Ok(()),
        // Somebody else was faster, and the result is the same.
        Err(_) if folder.join(complete).is_file() => {
            let _ = std::fs::remove_dir_all(&building);
            Ok(())
        }
        Err(error) => Err(file("make", folder)(error)),
    }
}

/// A short name for texts: FNV-1a, 128 bits, of them and their borders. It tells apart what nobody forges.
pub fn digest(texts: &[impl AsRef<[u8]>]) -> String {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for text in texts.iter().map(AsRef::as_ref) {
        for byte in (text.len() as u64).to_le_bytes().iter().chain(text) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_fnv_1a_and_tell_borders_apart() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&[""; 0]), "6c62272e07bb014262b821756295c58d");
    }
}
