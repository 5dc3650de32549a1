//! Looking for mutants: one model with all of them, one device for each.

use std::sync::Arc;
use std::time::Duration;

use tandem_isa::HwConfig;
use thiserror::Error;

use super::{Checker, CosimError, Generator, Mismatch, Mutant, MutantError, Party, mutate};
use crate::Kernel;
use crate::tsim::{Model, TsimBus, TsimError, TsimOptions};

/// Wall-clock time for one run of hardware with a fault, which may never end.
const LIMIT: Duration = Duration::from_secs(10);
/// Cycles without progress after which hardware with a fault counts as hanging. No program here makes it wait that long.
const WATCHDOG_CYCLES: u64 = 3000;

/// How a mutant was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Catch {
    /// The device did not do what the functional simulator does.
    Mismatch(Mismatch),
    /// The device could not be opened or used.
    Refused(String),
}

/// Why mutants cannot be looked for.
#[derive(Debug, Error)]
pub enum HuntError {
    /// A device could not be made.
    #[error(transparent)]
    Tsim(#[from] TsimError),
    /// The functional simulator could not be used.
    #[error(transparent)]
    Cosim(#[from] CosimError),
}

/// Looks for one mutant of a model with mutants, by its number. `None` where it survives so many programs.
///
/// Number 0 is the design as it should be, which must survive.
///
/// # Errors
/// [`HuntError`].
pub fn hunt(
    model: &Arc<Model>,
    number: u32,
    options: &TsimOptions,
    seed: u64,
    programs: u64,
) -> Result<Option<Catch>, HuntError> {
    let config = model.config();
    let options = TsimOptions { mutant: number, trace: true, scramble: true, ..options.clone() };
    let options = match number {
        0 => options,
        _ => TsimOptions { watchdog_cycles: WATCHDOG_CYCLES, ..options },
    };
    let bus = TsimBus::new(Arc::clone(model), options)?;
    let monitor = bus.monitor();
    let device = Party::new("tsim", bus, move || monitor.trace());
    let found = Checker::new(config, Party::fsim(config, 0, Kernel::best()), device).and_then(|checker| {
        let checker = checker.stop_after(1);
        let mut checker = if number == 0 { checker } else { checker.limit(LIMIT) };
        checker.run(&Generator::new(config, seed), 0..programs, |_| true)
    });
    match found {
        Ok(report) => Ok(report.mismatches.into_iter().next().map(Catch::Mismatch)),
        // Hardware that cannot even be talked to has been found out.
        Err(error) if number != 0 => Ok(Some(Catch::Refused(error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

/// The mutants of a list that the design of a configuration can have, and those that it cannot, with the reason: what they
/// change may not exist there.
pub fn applicable(config: &HwConfig, mutants: Vec<Mutant>) -> (Vec<Mutant>, Vec<(Mutant, MutantError)>) {
    let verilog = tandem_hw::verilog(config);
    let (mut fit, mut rest) = (Vec::new(), Vec::new());
    for mutant in mutants {
        match mutate(&verilog, std::slice::from_ref(&mutant)) {
            Ok(_) => fit.push(mutant),
            Err(error) => rest.push((mutant, error)),
        }
    }
    (fit, rest)
}

impl Catch {
    /// The word in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Catch::Refused(_) => "identity",
            Catch::Mismatch(mismatch) => mismatch.what.name(),
        }
    }

    /// What was seen.
    pub fn detail(&self) -> &str {
        match self {
            Catch::Refused(error) => error,
            Catch::Mismatch(mismatch) => &mismatch.detail,
        }
    }

    /// Programs that it took.
    pub fn programs(&self) -> u64 {
        match self {
            Catch::Refused(_) => 0,
            Catch::Mismatch(mismatch) => mismatch.case + 1,
        }
    }
}
