//! From Verilog to a shared library: Verilator, the C++ compiler on every file, the linker.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{BuildStep, Tools, TsimError, Variant};

/// Version of this build recipe beyond its flags: a change rebuilds every model.
const RECIPE: &str = "1";
/// What every harness includes.
const DESIGN: (&str, &str) = ("design.h", include_str!("design.h"));
/// Of the model and of the harness. At 256 multipliers with g++ 12, in millions of cycles per CPU second: `-O1` 0.58, `-O2` 0.62,
/// `-O3` 0.63 for 1.4 times the compile time, `-Os` 0.46, `-march=native` no different.
const FAST: &[&str] = &["-O2"];
/// Of a netlist: of 24,000 cells `-O2` took three times as long to compile as this, for a model that was no faster.
const FAST_NETLIST: &[&str] = &["-O1"];
/// Of what runs once: constructors, symbol tables, reset values.
const SLOW: &[&str] = &["-O0"];
/// Models of several configurations live in one process, so none may see another's symbols.
const ALWAYS: &[&str] =
    &["-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-fno-strict-aliasing", "-w"];
const DEFINES: &[&str] = &[
    "-DVL_TIME_CONTEXT",
    "-DVL_IGNORE_UNKNOWN_ARCH",
    "-DVL_USER_FATAL",
    "-DVL_USER_STOP",
    "-DVL_USER_FINISH",
    "-DVM_COVERAGE=0",
    "-DVM_SC=0",
    "-DVM_TIMING=0",
];
const VERILATOR: &[&str] = &[
    "--cc",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "unique",
    "--no-timing",
    "--no-assert",
    "--output-split",
    "40000",
    // Style is the business of the lint gate; here only what cannot be translated stops.
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
];
/// The library in a finished folder.
pub(crate) const LIBRARY: &str = "libtandem.so";
/// Verilator's own sources that every model links.
const RUNTIME: [&str; 2] = ["verilated.cpp", "verilated_threads.cpp"];

/// A library, its sources and its logs in one folder.
pub(crate) struct Recipe<'a> {
    pub tools: &'a Tools,
    /// The top module; the class of the design is called after it, with a `V` before it.
    pub top: &'a str,
    /// The C++ around the design.
    pub harness: &'static str,
    pub variant: Variant,
    /// What the harness is told about the design, in the form `NAME=VALUE`.
    pub defines: Vec<String>,
    /// Flags of Verilator beside those of every model.
    pub flags: &'static [&'static str],
}

/// One file to compile.
struct Unit {
    source: PathBuf,
    object: PathBuf,
    flags: Vec<String>,
}

impl Recipe<'_> {
    /// Everything that the library depends on besides the Verilog.
    ///
    /// # Errors
    /// [`TsimError::Missing`] where a tool cannot be started.
    pub fn key(&self) -> Result<String, TsimError> {
        Ok(format!(
            "{RECIPE}\n{}\n{}\n{VERILATOR:?}{:?}{:?}\n{}",
            self.version(&self.tools.verilator(), "Verilator", "run `cargo x setup`")?,
            self.version(&self.tools.cxx, "the C++ compiler", "install one, or set CXX to its path")?,
            self.verilator_flags(),
            self.flags(self.fast()),
            [DESIGN.1, self.harness].concat(),
        ))
    }

    /// Everything that the run-time objects depend on.
    pub fn runtime_key(&self) -> Result<String, TsimError> {
        let variant = Variant { waves: self.variant.waves, ..Variant::default() };
        let plain = Recipe { top: "", harness: "", variant, defines: Vec::new(), flags: &[], ..*self };
        Ok(format!("runtime\n{}", plain.key()?.replace(DESIGN.1, "")))
    }

    /// Translates and compiles the Verilog in `folder`; gives the library's path.
    ///
    /// # Errors
    /// [`TsimError::Build`] with the log's path in `folder`.
    pub fn build(
        &self,
        verilog: &str,
        folder: &Path,
        runtime: &[PathBuf],
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<PathBuf, TsimError> {
        let (source, objects) = (folder.join(format!("{}.v", self.top)), folder.join("obj"));
        write(&source, verilog)?;
        std::fs::create_dir_all(&objects).map_err(file("make", &objects))?;
        progress(BuildStep::Verilate);
        let mut verilator = self.tools.verilate();
        verilator.args(VERILATOR).args(self.verilator_flags());
        verilator.arg("--Mdir").arg(&objects).arg(&source);
        run(verilator, "Verilator", &folder.join("verilator.log"))?;
        let harness = objects.join("harness.cpp");
        write(&harness, self.harness)?;
        write(&objects.join(DESIGN.0), DESIGN.1)?;
        let mut units = vec![self.unit(&harness, FAST)];
        let fast = self.fast();
        let mut sources: Vec<PathBuf> = list(&objects)?.into_iter().filter(|f| *f != harness && is(f, "cpp")).collect();
        // The longest file first, so that the last one is not compiled alone.
        sources.sort_by_key(|f| std::cmp::Reverse(std::fs::metadata(f).map_or(0, |data| data.len())));
        units.extend(sources.iter().map(|source| {
            let name = source.file_name().unwrap_or_default().to_string_lossy();
            let once = ["__Slow", "__Syms", "__ConstPool"].iter().any(|part| name.contains(part));
            self.unit(source, if once { SLOW } else { fast })
        }));
        self.compile(&units, &folder.join("compile.log"), progress)?;
        progress(BuildStep::Link);
        let library = folder.join(LIBRARY);
        let mut linker = Command::new(&self.tools.cxx);
        linker.args(["-shared", "-fPIC", "-Wl,-Bsymbolic", "-o"]).arg(&library);
        linker.args(units.iter().map(|unit| &unit.object)).args(runtime).arg("-pthread");
        run(linker, "the linker", &folder.join("link.log"))?;
        // Objects are large and of no use any more; the C++ stays for those who want to read it.
        for unit in &units {
            let _ = std::fs::remove_file(&unit.object);
        }
        Ok(library)
    }

    /// Compiles Verilator's own sources in `folder`.
    ///
    /// # Errors
    /// [`TsimError::Build`].
    pub fn build_runtime(&self, folder: &Path, progress: &mut dyn FnMut(BuildStep)) -> Result<(), TsimError> {
        let units: Vec<Unit> = self
            .runtime_sources()
            .iter()
            .map(|name| Unit {
                source: self.tools.include().join(name),
                object: folder.join(name).with_extension("o"),
                flags: self.flags(FAST),
            })
            .collect();
        self.compile(&units, &folder.join("compile.log"), progress)
    }

    /// The run-time objects in a folder that [`Recipe::build_runtime`] filled.
    pub fn runtime_objects(&self, folder: &Path) -> Vec<PathBuf> {
        self.runtime_sources().iter().map(|name| folder.join(name).with_extension("o")).collect()
    }

    fn runtime_sources(&self) -> Vec<&'static str> {
        let waves = self.variant.waves.then_some("verilated_vcd_c.cpp");
        RUNTIME.into_iter().chain(waves).collect()
    }

    fn verilator_flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = self.flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.extend(["--top-module", self.top, "--prefix"].map(str::to_owned));
        flags.push(format!("V{}", self.top));
        flags.extend(self.variant.waves.then(|| "--trace-vcd".to_owned()));
        flags
    }

    fn fast(&self) -> &'static [&'static str] {
        if self.variant.netlist { FAST_NETLIST } else { FAST }
    }

    fn unit(&self, source: &Path, optimise: &[&str]) -> Unit {
        Unit { source: source.to_path_buf(), object: source.with_extension("o"), flags: self.flags(optimise) }
    }

    fn flags(&self, optimise: &[&str]) -> Vec<String> {
        let waves = u32::from(self.variant.waves);
        let include = self.tools.include();
        let mut flags: Vec<String> = [ALWAYS, DEFINES, optimise].concat().into_iter().map(str::to_owned).collect();
        flags.extend([
            format!("-DVM_TRACE={waves}"),
            format!("-DVM_TRACE_VCD={waves}"),
            "-DVM_TRACE_FST=0".to_owned(),
            "-DVM_TRACE_SAIF=0".to_owned(),
            format!("-I{}", include.display()),
            format!("-I{}", include.join("vltstd").display()),
        ]);
        flags.extend(self.defines.iter().map(|define| format!("-D{define}")));
        flags
    }

    /// Compiles files, as many at a time as there are processors.
    fn compile(&self, units: &[Unit], log: &Path, progress: &mut dyn FnMut(BuildStep)) -> Result<(), TsimError> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(units.len()).max(1);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let (sender, receiver) = std::sync::mpsc::channel();
        progress(BuildStep::Compile { done: 0, total: units.len() });
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (sender, next, failed) = (sender.clone(), &next, &failed);
                scope.spawn(move || {
                    while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let mut command = Command::new(&self.tools.cxx);
                        command.args(&unit.flags).arg("-c").arg(&unit.source).arg("-o").arg(&unit.object);
                        let name = unit.source.file_name().unwrap_or_default().to_string_lossy();
                        let log = log.with_file_name(format!("{name}.log"));
                        if let Err(error) = run(command, "the C++ compiler", &log) {
                            // The others need not go on.
                            next.store(units.len(), Ordering::Relaxed);
                            failed.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
                            return;
                        }
                        let _ = sender.send(());
                    }
                });
            }
            drop(sender);
            for (done, ()) in receiver.iter().enumerate() {
                progress(BuildStep::Compile { done: done + 1, total: units.len() });
            }
        });
        failed.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), Err)
    }

    fn version(&self, tool: &Path, what: &str, remedy: &str) -> Result<String, TsimError> {
        let output = Command::new(tool).arg("--version").stdin(Stdio::null()).output();
        match output {
            Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Err(_) => {
                Err(TsimError::Missing { what: format!("{what} ({})", tool.display()), remedy: remedy.to_owned() })
            }
        }
    }
}

/// Runs a tool; what it says goes to `log`, which stays where it fails.
pub(crate) fn run(mut command: Command, tool: &str, log: &Path) -> Result<(), TsimError> {
    let shown = format!("{command:?}\n");
    let output = command.stdin(Stdio::null()).output().map_err(|error| TsimError::Missing {
        what: format!("{tool} ({})", command.get_program().to_string_lossy()),
        remedy: format!("it cannot be started: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    write(log, &format!("{shown}{said}"))?;
    let line = said.lines().find(|line| line.to_lowercase().contains("error")).or_else(|| said.lines().next());
    let first = line.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned());
    Err(TsimError::Build { tool: tool.to_owned(), first, log: log.to_path_buf() })
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), TsimError> {
    std::fs::write(path, text).map_err(file("write", path))
}

pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TsimError {
    let path = path.to_path_buf();
    move |error| TsimError::File { action, path, detail: error.to_string() }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, TsimError> {
    let entries = std::fs::read_dir(folder).map_err(file("read", folder))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}
