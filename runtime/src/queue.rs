//! The queue of a device: a thread that runs what it is handed, one run after another.
//!
//! Where runs have phases, the inputs of the next runs go to the device while one computes, and results come back while the next
//! one computes. A device that has failed runs nothing more; it hands back what it is given.

use crate::backend::SLOTS;
use crate::profile::{Clock, Phases};
use crate::{Executable, RuntimeError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender};
use tandem_plan::Device;
use tandem_tensor::Tensor;

/// A segment of a request, with what it reads.
pub(crate) struct Job {
    pub(crate) request: usize,
    pub(crate) segment: usize,
    pub(crate) inputs: Vec<Vec<Tensor>>,
}

/// What a queue is told.
pub(crate) enum Order {
    Run(Job),
    /// Runs this segment from now on.
    Adopt(usize, Box<dyn Executable>),
}

/// What a queue tells.
pub(crate) enum Report {
    Done {
        device: Device,
        job: Job,
        results: Vec<Vec<Tensor>>,
        phases: Phases,
    },
    /// It has not run, and why, where it is the first of the device that has not.
    Failed {
        device: Device,
        job: Job,
        error: Option<RuntimeError>,
    },
    /// The queue has ended.
    Ended(Device),
}

/// Runs a segment once, phase by phase where it has phases and takes all samples at once.
///
/// # Errors
/// Those of the executable.
pub(crate) fn run_once(
    executable: &mut dyn Executable,
    samples: &[Vec<Tensor>],
    clock: Clock,
) -> Result<(Vec<Vec<Tensor>>, Phases), RuntimeError> {
    let mut phases = Phases::default();
    let fits = samples.len() <= executable.samples() && executable.slots(1) == 1;
    let results = match executable.phased().filter(|_| fits) {
        None => phases.compute.measure(clock, || executable.run(samples))?,
        Some(phased) => {
            phases.stage.measure(clock, || phased.stage(0, samples))?;
            phases.cycles = phases.compute.measure(clock, || phased.start(0).and_then(|()| phased.wait(0)))?;
            phases.collect.measure(clock, || phased.collect(0))?
        }
    };
    Ok((results, phases))
}

/// A queue at work.
pub(crate) struct Queue {
    device: Device,
    executables: BTreeMap<usize, Box<dyn Executable>>,
    reports: Sender<Report>,
    clock: Clock,
    /// The first one computes, the others are staged.
    under_way: VecDeque<UnderWay>,
    failed: bool,
}

/// A run whose inputs are with the device.
struct UnderWay {
    job: Job,
    slot: usize,
    phases: Phases,
}

impl Queue {
    pub(crate) fn new(
        device: Device,
        executables: BTreeMap<usize, Box<dyn Executable>>,
        reports: Sender<Report>,
        clock: Clock,
    ) -> Queue {
        Queue { device, executables, reports, clock, under_way: VecDeque::new(), failed: false }
    }

    /// Follows orders until there are no more, and gives the executables back.
    pub(crate) fn work(mut self, orders: &Receiver<Order>) -> BTreeMap<usize, Box<dyn Executable>> {
        // A job that the device has no room for yet.
        let mut held: Option<Job> = None;
        loop {
            let order = match held.take() {
                Some(job) => Some(Order::Run(job)),
                None if self.under_way.is_empty() => match orders.recv() {
                    Ok(order) => Some(order),
                    Err(_) => break,
                },
                None => orders.try_recv().ok(),
            };
            match order {
                Some(Order::Adopt(segment, executable)) => {
                    self.executables.insert(segment, executable);
                }
                Some(Order::Run(job)) if self.failed => self.fail(job, None),
                Some(Order::Run(job)) => {
                    held = self.take_on(job);
                    if held.is_some() {
                        self.finish();
                    }
                }
                None => self.finish(),
            }
        }
        std::mem::take(&mut self.executables)
    }

    /// Stages a job, or runs it at once where there are no phases; gives it back where the device has no room for it.
    fn take_on(&mut self, job: Job) -> Option<Job> {
        let Some(executable) = self.executables.get_mut(&job.segment) else {
            self.fail(job, Some(RuntimeError::NoBackend(self.device)));
            return None;
        };
        let fits = job.inputs.len() <= executable.samples();
        let slots = if fits { executable.slots(SLOTS) } else { 0 };
        let used = |slot: usize| self.under_way.iter().any(|run| (run.job.segment, run.slot) == (job.segment, slot));
        let free = (0..slots).find(|&slot| !used(slot));
        let (slot, phased) = match (free, executable.phased()) {
            (Some(slot), Some(phased)) if self.under_way.len() < SLOTS => (slot, phased),
            (_, Some(_)) if slots > 0 => return Some(job),
            _ => {
                while !self.under_way.is_empty() {
                    self.finish();
                }
                self.run_whole(job);
                return None;
            }
        };
        let mut phases = Phases::default();
        match phases.stage.measure(self.clock, || phased.stage(slot, &job.inputs)) {
            Ok(()) => {
                self.under_way.push_back(UnderWay { job, slot, phases });
                if self.under_way.len() == 1 {
                    self.start();
                }
            }
            Err(error) => self.fail(job, Some(error)),
        }
        None
    }

    fn run_whole(&mut self, job: Job) {
        let Some(executable) = self.executables.get_mut(&job.segment) else { return };
        match run_once(&mut **executable, &job.inputs, self.clock) {
            Ok((results, phases)) => self.tell(Report::Done { device: self.device, job, results, phases }),
            Err(error) => self.fail(job, Some(error)),
        }
    }

    /// Has the device compute what was staged first.
    fn start(&mut self) {
        let Some(next) = self.under_way.front_mut() else { return };
        next.phases.compute.begin = self.clock.now();
        let (segment, slot) = (next.job.segment, next.slot);
        if let Err(error) = self.phased(segment).map_or(Ok(()), |phased| phased.start(slot)) {
            self.fail_all(error);
        }
    }

    /// Waits for the run that computes, starts the next one, and brings the results of the first back.
    fn finish(&mut self) {
        let Some(front) = self.under_way.front() else { return };
        let (segment, slot) = (front.job.segment, front.slot);
        let waited = self.phased(segment).map_or(Ok(None), |phased| phased.wait(slot));
        let end = self.clock.now();
        let cycles = match waited {
            Ok(cycles) => cycles,
            Err(error) => return self.fail_all(error),
        };
        let Some(UnderWay { job, mut phases, .. }) = self.under_way.pop_front() else { return };
        (phases.compute.end, phases.cycles) = (end, cycles);
        self.start();
        let clock = self.clock;
        let collected = phases.collect.measure(clock, || match self.phased(segment) {
            Some(phased) => phased.collect(slot),
            None => Ok(Vec::new()),
        });
        match collected {
            Ok(results) => self.tell(Report::Done { device: self.device, job, results, phases }),
            Err(error) => self.fail(job, Some(error)),
        }
    }

    fn phased(&mut self, segment: usize) -> Option<&mut dyn crate::Phased> {
        self.executables.get_mut(&segment)?.phased()
    }

    /// What is under way will not end.
    fn fail_all(&mut self, error: RuntimeError) {
        let mut error = Some(error);
        while let Some(UnderWay { job, .. }) = self.under_way.pop_front() {
            self.fail(job, error.take());
        }
    }

    fn fail(&mut self, job: Job, error: Option<RuntimeError>) {
        let error = error.filter(|_| !std::mem::replace(&mut self.failed, true));
        self.tell(Report::Failed { device: self.device, job, error });
    }

    /// Whoever does not listen any more has given up on the run.
    fn tell(&self, report: Report) {
        let _ = self.reports.send(report);
    }
}

/// Whatever ends a queue is told, so that nobody waits for it.
impl Drop for Queue {
    fn drop(&mut self) {
        self.tell(Report::Ended(self.device));
    }
}
