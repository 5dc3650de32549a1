//! A bench for one hardware block: its Verilog, verilated and compiled, with its ports by name.
//!
//! Builds are kept under `target`, by a digest of everything that goes into them.

mod sys;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tandem_rtl::Module;
use tandem_sim::tsim::{Tools, digest};

use crate::tool;

const BENCH: &str = include_str!("bench.cpp");

/// What a linter may say about a block: that bits of a value are not needed, and that the file has another name.
const WAIVED: [&str; 2] = ["-Wno-UNUSEDSIGNAL", "-Wno-DECLFILENAME"];

const COMPILE: [&str; 7] = ["-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-w", "-pthread"];
const DEFINE: [&str; 6] =
    ["-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0", "-DVL_TIME_CONTEXT", "-DVL_IGNORE_UNKNOWN_ARCH"];

/// Verilator and the C++ compiler.
#[derive(Clone, Debug)]
pub struct Verilator {
    tools: Tools,
}

/// A verilated block.
pub struct Block {
    model: sys::Model,
    /// Number and width of each port.
    ports: BTreeMap<String, (usize, u32)>,
    clocked: bool,
}

impl Verilator {
    /// The tools, unless they are absent: see [`tool::verilator`].
    pub fn find() -> Option<Verilator> {
        Some(Verilator { tools: tool::verilator()? })
    }

    /// What the linter says about a text beyond what [`WAIVED`] lists and these options; nothing if it is clean.
    pub fn lint(&self, top: &str, verilog: &str, options: &[&str]) -> Result<String> {
        let folder = scratch("lint")?;
        fs::write(folder.join("lint.v"), verilog)?;
        let mut command = self.tools.verilate();
        command.args(["--lint-only", "-Wall", "-Werror-WIDTHEXPAND", "--quiet", "--top-module", top, "lint.v"]);
        let output = command.args(WAIVED).args(options).current_dir(&folder).output()?;
        fs::remove_dir_all(&folder)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() || !said.is_empty(), "verilator failed without a word: {}", output.status);
        Ok(said)
    }

    /// The runtime that every model needs, compiled once.
    fn runtime(&self) -> Result<PathBuf> {
        let sources = ["verilated.cpp", "verilated_threads.cpp"].map(|name| self.tools.include().join(name));
        let texts = sources.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
        let flags = [COMPILE.join(" "), DEFINE.join(" ")].join(" ");
        let digest = digest(&[flags.as_bytes(), &texts[0], &texts[1]]);
        let name = format!("runtime-{digest}.o");
        kept(&name, |folder| {
            let mut objects = Vec::new();
            for source in &sources {
                let object = folder.join(source.with_extension("o").file_name().context("a file")?);
                run(self.compiler().arg("-c").arg(source).arg("-o").arg(&object))?;
                objects.push(object);
            }
            let whole = folder.join(&name);
            run(Command::new(&self.tools.cxx).args(["-r", "-nostdlib", "-o"]).arg(&whole).args(objects))?;
            Ok(whole)
        })
    }

    fn compiler(&self) -> Command {
        let mut command = Command::new(&self.tools.cxx);
        let include = self.tools.include();
        command.args(COMPILE).args(DEFINE).arg("-I").arg(&include).arg("-I").arg(include.join("vltstd"));
        command
    }
}

impl Block {
    /// Builds a bench for a module.
    pub fn build(verilator: &Verilator, module: &Module) -> Result<Block> {
        let mut ports: Vec<(String, u32)> = Vec::new();
        if module.is_clocked() {
            ports.extend([("clock".to_owned(), 1), ("reset".to_owned(), 1)]);
        }
        ports.extend(module.ports().into_iter().map(|port| (port.name, port.width)));
        let mut block = Block::of_text(verilator, module.name(), &module.verilog(), ports)?;
        block.clocked = module.is_clocked();
        block.reset();
        Ok(block)
    }

    /// Builds a bench for a Verilog text with these ports, the names and the widths. Nothing is reset.
    pub fn of_text(verilator: &Verilator, top: &str, verilog: &str, ports: Vec<(String, u32)>) -> Result<Block> {
        let list: String =
            ports.iter().enumerate().map(|(number, (name, _))| format!("PORT({number}, {name})\n")).collect();
        let runtime = verilator.runtime()?;
        let made_by = runtime.display().to_string();
        let parts = [made_by.as_str(), BENCH, list.as_str(), top, verilog].map(str::as_bytes);
        let name = format!("{top}-{}.so", digest(&parts));
        let library = kept(&name, |folder| {
            fs::write(folder.join("block.v"), verilog)?;
            fs::write(folder.join("bench.cpp"), BENCH)?;
            fs::write(folder.join("ports.inc"), &list)?;
            let mut verilate = verilator.tools.verilate();
            verilate.args(["--cc", "-O3", "--x-assign", "unique", "--x-initial", "unique", "--assert", "-Wno-fatal"]);
            verilate.args(["--quiet", "--prefix", "Vblock", "--Mdir", "model", "--top-module", top, "block.v"]);
            run(verilate.current_dir(folder))?;
            let mut sources = vec![folder.join("bench.cpp")];
            for entry in fs::read_dir(folder.join("model"))? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "cpp") {
                    sources.push(path);
                }
            }
            sources.sort();
            let all: String = sources.iter().map(|source| format!("#include \"{}\"\n", source.display())).collect();
            fs::write(folder.join("all.cpp"), all)?;
            let mut compile = verilator.compiler();
            compile.args(["-shared", "-Wl,-Bsymbolic", "-I", "model", "-I", ".", "all.cpp"]);
            run(compile.arg(&runtime).arg("-o").arg(&name).current_dir(folder))?;
            Ok(folder.join(&name))
        })?;
        let words = ports.iter().map(|(_, width)| width.div_ceil(32) as usize).collect();
        let model = sys::Model::open(library.as_os_str(), words).context(name)?;
        let ports = ports.into_iter().enumerate().map(|(at, (name, width))| (name, (at, width))).collect();
        Ok(Block { model, ports, clocked: false })
    }

    /// Sets an input to a number.
    pub fn set(&mut self, port: &str, value: u128) {
        let words = self.width(port).div_ceil(32) as usize;
        self.set_words(
            port,
            &(0..words).map(|at| value.checked_shr(32 * at as u32).unwrap_or(0) as u32).collect::<Vec<_>>(),
        );
    }

    /// Sets an input to 32-bit words, least significant first; bits beyond its width are ignored.
    pub fn set_words(&mut self, port: &str, words: &[u32]) {
        let (number, width) = self.port(port);
        let mut words = words.to_vec();
        if let (Some(last), false) = (words.last_mut(), width.is_multiple_of(32)) {
            *last &= (1 << (width % 32)) - 1;
        }
        self.model.set(number, &words);
    }

    /// An output of at most 128 bits.
    pub fn get(&self, port: &str) -> u128 {
        let words = self.get_words(port);
        assert!(words.len() <= 4, "{port} has more than 128 bits");
        words.iter().rev().fold(0, |value, word| value << 32 | u128::from(*word))
    }

    /// An output as 32-bit words, least significant first.
    pub fn get_words(&self, port: &str) -> Vec<u32> {
        self.model.get(self.port(port).0)
    }

    /// Bits of a port.
    pub fn width(&self, port: &str) -> u32 {
        self.port(port).1
    }

    /// Computes the outputs from the inputs as they are.
    pub fn eval(&mut self) {
        self.model.eval();
    }

    /// One cycle of the clock with the inputs as they are, up to where the outputs show the new state.
    pub fn clock(&mut self) {
        self.set("clock", 0);
        self.model.eval();
        self.set("clock", 1);
        self.model.eval();
    }

    /// Two cycles in reset.
    pub fn reset(&mut self) {
        if self.clocked {
            self.set("reset", 1);
            self.clock();
            self.clock();
            self.set("reset", 0);
        }
        self.eval();
    }

    fn port(&self, name: &str) -> (usize, u32) {
        *self.ports.get(name).unwrap_or_else(|| panic!("there is no port {name}"))
    }
}

/// The kept file of this name, or what `build` makes in a folder of its own.
fn kept(name: &str, build: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let kept = tool::cache().join("block").join(name);
    if !kept.exists() {
        let folder = scratch(name)?;
        let built = build(&folder).with_context(|| format!("in {}", folder.display()))?;
        fs::rename(built, &kept)?;
        fs::remove_dir_all(folder)?;
    }
    Ok(kept)
}

/// A new folder that no other test uses.
fn scratch(name: &str) -> Result<PathBuf> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = tool::cache().join("block").join(format!("{name}.{}.{number}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", command.get_program().display());
    Ok(())
}
