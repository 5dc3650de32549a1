//! Running cases on two devices and comparing what they did.

use std::fmt;
use std::time::Duration;

use tandem_isa::{HwConfig, Program};

use super::coverage::Coverage;
use super::image::is_small;
use super::party::{CosimError, End, Outcome, Party, Placed};
use super::{Case, Generator, Random};

/// Wall-clock time allowed for one run.
const LIMIT: Duration = Duration::from_secs(120);
/// Programs that stay in memory while later ones run, so that addresses vary.
const KEPT: usize = 3;

/// Two devices that must behave alike: the reference, and the device under test.
pub struct Checker {
    config: HwConfig,
    reference: Party,
    device: Party,
    limit: Duration,
    most: usize,
    /// Memory of earlier programs.
    kept: Vec<[Placed; 2]>,
}

/// The result of a co-simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosimReport {
    /// The seed of the generator.
    pub seed: u64,
    /// Cases checked.
    pub cases: u64,
    /// Programs in them; each is run twice.
    pub programs: u64,
    /// Instructions run by the device under test.
    pub instructions: u64,
    /// Cycles that the device under test reports, of all runs.
    pub cycles: u64,
    /// What differed.
    pub mismatches: Vec<Mismatch>,
    /// What was exercised.
    pub coverage: Coverage,
}

/// A difference between the two devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Number of the case.
    pub case: u64,
    /// The seed of the generator.
    pub seed: u64,
    /// Which program of the case, from 0.
    pub program: usize,
    /// Which run of it, from 1; 0 is one that a reset ended.
    pub run: u32,
    /// What was compared.
    pub what: What,
    /// The first difference in words.
    pub detail: String,
}

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// The reference refuses the program: the generator is wrong.
    Illegal,
    /// Whether and how the program ends.
    End,
    /// The device misbehaves: it hangs, or breaks a protocol.
    Fault,
    /// What a unit does, in order, with its tokens and the bytes it writes.
    Trace,
    /// Memory after the run.
    Memory,
    /// Counter registers.
    Counters,
    /// What the host wrote to a register.
    Register,
    /// The second run against the first.
    Repeat,
}

impl Checker {
    /// Opens two devices of a configuration.
    ///
    /// # Errors
    /// [`CosimError::Identity`] for a device of another configuration, [`CosimError::Bus`].
    pub fn new(config: &HwConfig, mut reference: Party, mut device: Party) -> Result<Checker, CosimError> {
        reference.open(config)?;
        device.open(config)?;
        let (limit, most) = (LIMIT, usize::MAX);
        Ok(Checker { config: config.clone(), reference, device, limit, most, kept: Vec::new() })
    }

    /// Changes the wall-clock time allowed for one run; 120 s to begin with.
    pub fn limit(self, limit: Duration) -> Checker {
        Checker { limit, ..self }
    }

    /// Stops after so many mismatches.
    pub fn stop_after(self, mismatches: usize) -> Checker {
        Checker { most: mismatches, ..self }
    }

    /// Runs cases one after the other, without a reset between them. `progress` is told after each and says whether to go on.
    ///
    /// # Errors
    /// [`CosimError::Bus`] where a device cannot be reached any more.
    pub fn run(
        &mut self,
        generator: &Generator,
        cases: impl IntoIterator<Item = u64>,
        mut progress: impl FnMut(&CosimReport) -> bool,
    ) -> Result<CosimReport, CosimError> {
        let mut report = CosimReport::new(&self.config, generator.seed());
        for index in cases {
            let case = generator.case(index);
            let reachable = self.check(&case, &mut report)?;
            if !progress(&report) || !reachable || report.mismatches.len() >= self.most {
                break;
            }
        }
        Ok(report)
    }

    /// Runs the programs of a case, all of them twice in a row, and adds what was found to a report. Now and then the device
    /// under test is reset in the middle of a launch before. False where the device cannot be reached any more.
    ///
    /// # Errors
    /// As [`Checker::run`].
    pub fn check(&mut self, case: &Case, report: &mut CosimReport) -> Result<bool, CosimError> {
        report.cases += 1;
        report.coverage.count(&self.config, case);
        let first = self.kept.len();
        for (number, program) in case.programs.iter().enumerate() {
            report.programs += 1;
            let seed = case.index.wrapping_mul(16).wrapping_add(number as u64) ^ report.seed.rotate_left(32);
            self.kept.push([self.reference.place(program, seed)?, self.device.place(program, seed)?]);
        }
        // What a reset leaves behind must not show: the first program of a case writes whatever it reads.
        let mut random = Random::stream(report.seed, !case.index);
        if random.once_in(3)
            && let Some([_, placed]) = self.kept.get(first)
            && let Some(end) = self.device.abandon(placed, random.below(300))?
        {
            let detail = format!("a launch that a reset should end {end}");
            let (case, seed) = (case.index, report.seed);
            report.mismatches.push(Mismatch { case, seed, program: 0, run: 0, what: What::Fault, detail });
            return Ok(false);
        }
        let mut before: Vec<Outcome> = Vec::new();
        'runs: for run in 1..=2 {
            for (number, program) in case.programs.iter().enumerate() {
                let Some([left, right]) = self.kept.get(first + number) else { continue };
                let expected = self.reference.launch(left, self.limit)?;
                let found = self.device.launch(right, self.limit)?;
                report.instructions += program.insns.len() as u64;
                report.cycles += u64::from(found.cycles);
                let names = [self.reference.name.as_str(), self.device.name.as_str()];
                let repeated = before.get(number).and_then(|before| repeats(before, &found, program));
                let difference = differs(&expected, &found, program, names).or(repeated);
                if let Some((what, detail)) = difference {
                    let (case, seed) = (case.index, report.seed);
                    report.mismatches.push(Mismatch { case, seed, program: number, run, what, detail });
                    if matches!(found.end, End::Failed(_)) {
                        return Ok(false);
                    }
                    // What comes after works on scratchpads that differ.
                    break 'runs;
                }
                if run == 1 {
                    before.push(found);
                }
            }
        }
        let keep = if is_small(&self.config) { 0 } else { KEPT };
        while self.kept.len() > keep {
            let [left, right] = self.kept.remove(0);
            self.reference.remove(left)?;
            self.device.remove(right)?;
        }
        Ok(true)
    }
}

impl CosimReport {
    /// A report of nothing yet.
    pub fn new(config: &HwConfig, seed: u64) -> CosimReport {
        let coverage = Coverage::new(config);
        CosimReport { seed, cases: 0, programs: 0, instructions: 0, cycles: 0, mismatches: Vec::new(), coverage }
    }
}

/// The first difference between what the reference and the device under test did.
fn differs(expected: &Outcome, found: &Outcome, program: &Program, names: [&str; 2]) -> Option<(What, String)> {
    let [left, right] = names;
    if expected.end != End::Done {
        return Some((What::Illegal, format!("{left} itself {}", expected.end)));
    }
    if let End::Failed(_) = &found.end {
        return Some((What::Fault, format!("{left} finishes, {right} {}", found.end)));
    }
    if let Some((reg, written, read)) = found.readback {
        return Some((What::Register, format!("{reg} reads {read:#x} after {written:#x} was written")));
    }
    let ended = (found.end != End::Done).then(|| format!("{left} finishes, {right} {}", found.end));
    let traces = expected.trace.as_ref().zip(found.trace.as_ref());
    if let Some(divergence) = traces.and_then(|(expected, found)| expected.compare(found)) {
        let event = divergence.left.or(divergence.right);
        let insn = event.and_then(|event| Some((event.insn(), program.insns.get(event.insn() as usize)?)));
        let insn = insn.map_or_else(String::new, |(at, insn)| format!("; instruction {at} is `{insn}`"));
        return Some(match ended {
            Some(ended) => (What::End, format!("{ended}; {divergence}{insn}")),
            None => (What::Trace, format!("{divergence} ({left}, {right}){insn}")),
        });
    }
    if let Some(ended) = ended {
        return Some((What::End, ended));
    }
    if let Some(detail) = memory(&expected.memory, &found.memory, program) {
        return Some((What::Memory, detail));
    }
    let mut pairs = expected.counters.iter().zip(&found.counters);
    let (reg, expected, found) = pairs.find(|(l, r)| l != r).map(|(l, r)| (l.0, l.1, r.1))?;
    Some((What::Counters, format!("{reg} is {expected} on {left} and {found} on {right}")))
}

/// The first difference between two runs of a program on one device.
fn repeats(first: &Outcome, second: &Outcome, program: &Program) -> Option<(What, String)> {
    let detail = memory(&first.memory, &second.memory, program).or_else(|| {
        let mut pairs = first.counters.iter().zip(&second.counters);
        let (reg, first, second) = pairs.find(|(l, r)| l != r).map(|(l, r)| (l.0, l.1, r.1))?;
        Some(format!("{reg} is {first} and then {second}"))
    })?;
    Some((What::Repeat, format!("the second run differs from the first: {detail}")))
}

/// The first byte that differs, by section.
fn memory(expected: &[u8], found: &[u8], program: &Program) -> Option<String> {
    let differ = || expected.iter().zip(found).enumerate().filter(|(_, (l, r))| l != r);
    let (at, (l, r)) = differ().next()?;
    let section = program.sections.iter().find(|s| (u64::from(s.offset)..s.end()).contains(&(at as u64)));
    let place = match section {
        Some(section) => format!("byte {:#x} of section {}", at - section.offset as usize, section.name),
        None => format!("byte {at:#x}, outside all sections,"),
    };
    Some(format!("{place} should be {l:#04x} and is {r:#04x}; {} bytes differ", differ().count()))
}

impl What {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            What::Illegal => "illegal",
            What::End => "end",
            What::Fault => "fault",
            What::Trace => "trace",
            What::Memory => "memory",
            What::Counters => "counters",
            What::Register => "register",
            What::Repeat => "repeat",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { case, seed, program, run, what, detail } = self;
        write!(f, "case {case} of seed {seed}, program {program}, run {run}: {}: {detail}", what.name())
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("reference", &self.reference)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
