//! Running the binary and looking at what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program that adds one to sixteen bytes.
#[allow(dead_code, reason = "not every test file needs it")]
pub const ADDER: &str = ".preset tiny\n\
    .section uops uop 0 4\n.hex 00000000\n\
    .section in input 64 16\n\
    .section out output 4096 16\n\
    load.uop sram=0 dram=0 size=1x1 stride=1\n\
    load.acc8 sram=0 dram=0x10 size=1x4 stride=4\n\
    alu.add uop=0..1 loop=1x4 dst=0,1 src=0,1 imm=1 push_next\n\
    store.out sram=0 dram=0x400 size=1x4 stride=4 pop_prev push_prev\n\
    nop.compute pop_next\n\
    finish\n";

/// The folder of the embedded model.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn digits(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits").join(name).display().to_string()
}

/// A folder of this test's own.
#[allow(dead_code, reason = "not every test file needs it")]
pub struct Folder(PathBuf);

#[allow(dead_code, reason = "not every test file needs it")]
impl Folder {
    /// An empty folder; `name` is unique among tests.
    pub fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A file in it with this content.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Runs the binary.
pub fn tandem(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tandem")).args(arguments).output().unwrap()
}

/// Runs the binary with variables of the environment.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn tandem_with(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// The variables with which the binary simulates hardware: the folder of tools, and a cache that all tests share.
///
/// `None` where Verilator is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names it.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn hardware() -> Option<[(&'static str, String); 2]> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("TANDEM_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
    if folder.join("verilator/bin/verilator_bin").exists() {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tandem-tests/models");
        return Some([("TANDEM_TOOLS", folder.display().to_string()), ("TANDEM_CACHE", cache.display().to_string())]);
    }
    let why = format!("verilator is not in {}; run `cargo x setup` or set TANDEM_TOOLS", folder.display());
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|tool| tool == "verilator"), "TANDEM_REQUIRE asks for verilator, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// The folder of the real models: `TANDEM_MODELS`, else `shared/models` beside the checkout.
///
/// `None` where it is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names `models`.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn models() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/models"));
    let folder = std::env::var_os("TANDEM_MODELS").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let why = format!("the real models are not in {}; set TANDEM_MODELS", folder.display());
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|r| r == "models"), "TANDEM_REQUIRE asks for models, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// stdout as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// stderr as text.
#[allow(dead_code, reason = "not every test file looks at it")]
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs the binary, which must succeed, and gives its stdout.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn good(arguments: &[&str]) -> String {
    let output = tandem(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// Runs the binary, which must fail with exit code 2, nothing on stdout, and one line on stderr with these words.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn refused(arguments: &[&str], words: &[&str]) {
    let output = tandem(arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{arguments:?}: {text}");
    assert!(!text.contains("internal fault"), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: '{word}' is not in: {text}");
    }
}

/// The folder of NVRTC's wheel; `None` where it is absent, unless `TANDEM_REQUIRE` names it.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn nvrtc() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("TANDEM_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
    if folder.join("nvidia/cu13/lib/libnvrtc.so.13").exists() {
        return Some(folder.display().to_string());
    }
    let why = format!("nvrtc is not in {}; run `cargo x setup` or set TANDEM_TOOLS", folder.display());
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|tool| tool == "nvrtc"), "TANDEM_REQUIRE asks for nvrtc, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// A folder in which the loader finds, as the driver, the library that stands in for it and runs kernels on the simulator.
#[cfg(unix)]
#[allow(dead_code, reason = "not every test file needs it")]
pub fn driver(folder: &Folder) -> String {
    let beside = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name = format!("{}tandem_standin{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    std::fs::create_dir(folder.path("driver")).unwrap();
    std::os::unix::fs::symlink(beside.join(name), folder.path("driver/libcuda.so")).unwrap();
    folder.path("driver")
}

/// Runs the binary, which must succeed and print JSON.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&good(arguments)).unwrap()
}
