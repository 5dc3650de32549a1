//! Synchronisation bugs, planted in the sources of kernels, to see whether the simulator finds them.
//!
//! A bug is a change of the CUDA source that a person could make and that compiles. A right kernel has to be clean under every
//! seed, and each bug has to show as a fault or as a wrong result; the table that [`run`] makes says how often it did.

mod attention;
mod gemm;
mod ibp;
mod ivf;
mod lowbit;
mod pir;
mod rows;
mod sampling;
mod sgmv;
mod tactic;
mod window;

use crate::device::{Device, Facts, Simulation};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Compiler, Source};
use std::fmt;
use std::sync::Arc;
use tandem_ops::OpError;
use tandem_ops::def::{Kernel, Sample, conform};

/// A kernel that bugs are planted in, with work that shows them.
pub struct Subject {
    /// Name.
    pub name: &'static str,
    /// The file that is changed.
    pub source: &'static Source,
    /// Runs the kernel on operands of that seed, and says where the results are wrong.
    pub exercise: fn(&Device, u64) -> std::result::Result<Option<String>, OpError>,
    /// The bugs.
    pub bugs: &'static [Bug],
}

/// A change of a source.
#[derive(Debug)]
pub struct Bug {
    /// Name.
    pub name: &'static str,
    /// Why it is wrong.
    pub wrong: &'static str,
    /// Texts, each of which occurs once in the source, and what stands in their places.
    pub edits: &'static [(&'static str, &'static str)],
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The simulator refused what the kernel did.
    Fault(String),
    /// The results are wrong.
    WrongResult(String),
    /// Nothing.
    Clean,
}

/// A line of the table: a kernel as it is, or with a bug.
#[derive(Clone, Debug)]
pub struct Row {
    /// The kernel.
    pub subject: &'static str,
    /// The bug, if there is one.
    pub bug: Option<&'static Bug>,
    /// An outcome for every seed.
    pub outcomes: Vec<Outcome>,
}

impl Row {
    /// In how many runs the simulator refused what the kernel did.
    pub fn faults(&self) -> usize {
        self.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Fault(_))).count()
    }

    /// In how many runs the results were wrong.
    pub fn wrong_results(&self) -> usize {
        self.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::WrongResult(_))).count()
    }

    /// Whether a kernel as it is was clean in all runs, or a bug found in all.
    pub fn is_right(&self) -> bool {
        let caught = self.faults() + self.wrong_results();
        caught == if self.bug.is_some() { self.outcomes.len() } else { 0 }
    }

    /// What showed first.
    pub fn first(&self) -> &str {
        let text = self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Fault(text) | Outcome::WrongResult(text) => Some(text.as_str()),
            Outcome::Clean => None,
        });
        text.unwrap_or("clean")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (faults, wrong, all) = (self.faults(), self.wrong_results(), self.outcomes.len());
        let bug = self.bug.map_or("none", |bug| bug.name);
        write!(f, "{}: {bug}: {faults} faults, {wrong} wrong results of {all}: {}", self.subject, self.first())
    }
}

impl Bug {
    /// The source with the bug.
    ///
    /// # Errors
    /// Invalid, where a text to be changed does not occur exactly once.
    pub fn plant(&self, source: &Source) -> Result<String> {
        let mut text = source.text.to_owned();
        for (find, replacement) in self.edits {
            let count = text.matches(find).count();
            if count != 1 {
                let message = format!("{}: '{find}' occurs {count} times in {}, not once", self.name, source.name);
                return Err(GpuError::Invalid(message));
            }
            text = text.replacen(find, replacement, 1);
        }
        Ok(text)
    }
}

/// The simulator as bugs are looked for: two multiprocessors, so that persistent blocks take more than one tile, and few
/// instructions, so that a hang ends soon.
pub fn simulation() -> Simulation {
    let mut simulation = Simulation { facts: Facts { multiprocessors: 2, ..Facts::h200() }, ..Simulation::default() };
    simulation.options.max_instructions = 5_000_000;
    simulation
}

/// Every kernel with planted bugs.
pub fn subjects() -> Vec<Subject> {
    let families = [
        gemm::subjects(),
        window::subjects(),
        rows::subjects(),
        attention::subjects(),
        ibp::subjects(),
        sgmv::subjects(),
        pir::subjects(),
        ivf::subjects(),
        lowbit::subjects(),
        sampling::subjects(),
        tactic::subjects(),
    ];
    families.into_iter().flatten().collect()
}

/// The kernel of a definition.
fn kernel(device: &Device, name: &str) -> std::result::Result<Box<dyn Kernel>, OpError> {
    let kernel = crate::kernels(device).into_iter().find(|kernel| kernel.operation().def().name == name);
    kernel.ok_or_else(|| OpError::Invalid(format!("there is no kernel of {name}")))
}

/// Where a kernel's results are wrong on the operands of a sample of that name with these extents.
fn differs(
    kernel: &dyn Kernel,
    sample: &'static str,
    extents: &[(&'static str, usize)],
    seed: u64,
) -> std::result::Result<Option<String>, OpError> {
    let sample = Sample::new(kernel.operation().def(), sample, extents);
    let verdict = conform(kernel, &sample, seed)?;
    let wrong = verdict.results.iter().map(|(port, agreement)| format!("{port} is wrong: {agreement:?}"));
    Ok((!verdict.agrees).then(|| wrong.collect::<Vec<_>>().join("; ")))
}

/// Runs a subject as it is or with a bug, once for every seed.
///
/// # Errors
/// Those of compiling, and any other than a fault of the kernel: they are of the test, not of the bug.
pub fn outcomes(
    compiler: &Arc<Compiler>,
    subject: &Subject,
    bug: Option<&'static Bug>,
    simulation: &Simulation,
    seeds: impl IntoIterator<Item = u64>,
) -> Result<Row> {
    let text = bug.map(|bug| bug.plant(subject.source)).transpose()?;
    let run = |seed| {
        let mut simulation = simulation.clone();
        simulation.options.seed = seed;
        let device = Device::sim(Arc::clone(compiler), simulation);
        if let Some(text) = &text {
            device.replace_source(subject.source.name, text);
        }
        match (subject.exercise)(&device, seed) {
            Ok(None) => Ok(Outcome::Clean),
            Ok(Some(text)) => Ok(Outcome::WrongResult(text)),
            Err(OpError::Fault(text)) => Ok(Outcome::Fault(text)),
            Err(error) => Err(GpuError::Invalid(format!("{}: {error}", subject.name))),
        }
    };
    let outcomes = seeds.into_iter().map(run).collect::<Result<Vec<_>>>()?;
    Ok(Row { subject: subject.name, bug, outcomes })
}

/// The table: every kernel as it is with `clean` seeds, and with every bug with `seeds` seeds.
///
/// # Errors
/// Those of [`outcomes`].
pub fn run(compiler: &Arc<Compiler>, simulation: &Simulation, clean: u64, seeds: u64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for subject in subjects() {
        rows.push(outcomes(compiler, &subject, None, simulation, 1..=clean)?);
        for bug in subject.bugs {
            rows.push(outcomes(compiler, &subject, Some(bug), simulation, 1..=seeds)?);
        }
    }
    Ok(rows)
}
