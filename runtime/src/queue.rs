//! The queue of a device: a thread that runs what it is handed, one run after another.
//!
//! Where runs have phases, the inputs of the next run go to the device while the one before computes, and results come back while
//! the next one computes. A device that has failed runs nothing more; it hands back what it is given.

use crate::profile::{Clock, Phases};
use crate::{Executable, RuntimeError};
use std::collections::BTreeMap;
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
    let fits = samples.len() <= executable.samples();
    let results = match executable.phased(1).filter(|_| fits) {
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
    under_way: Option<UnderWay>,
    failed: bool,
}

/// A run that the device computes.
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
        Queue { device, executables, reports, clock, under_way: None, failed: false }
    }

    /// Follows orders until there are no more, and gives the executables back.
    pub(crate) fn work(mut self, orders: &Receiver<Order>) -> BTreeMap<usize, Box<dyn Executable>> {
        loop {
            let order = if self.under_way.is_some() {
                orders.try_recv().ok()
            } else {
                match orders.recv() {
                    Ok(order) => Some(order),
                    Err(_) => break,
                }
            };
            match order {
                Some(Order::Adopt(segment, executable)) => {
                    self.executables.insert(segment, executable);
                }
                Some(Order::Run(job)) if self.failed => self.fail(job, None),
                Some(Order::Run(job)) => self.run(job),
                None => {
                    if let Some(running) = self.under_way.take() {
                        self.end(running, None);
                    }
                }
            }
        }
        std::mem::take(&mut self.executables)
    }

    /// Stages a job beside the one that runs, or runs it at once where there are no phases.
    fn run(&mut self, job: Job) {
        let slot = self.under_way.as_ref().map_or(0, |running| 1 - running.slot);
        let Some(executable) = self.executables.get_mut(&job.segment) else {
            return self.fail(job, Some(RuntimeError::NoBackend(self.device)));
        };
        let fits = job.inputs.len() <= executable.samples();
        let Some(phased) = executable.phased(2).filter(|_| fits) else {
            if let Some(running) = self.under_way.take() {
                self.end(running, None);
            }
            return self.run_whole(job);
        };
        let mut phases = Phases::default();
        let staged = phases.stage.measure(self.clock, || phased.stage(slot, &job.inputs));
        let running = self.under_way.take();
        match (staged, running) {
            (Ok(()), None) => self.start(UnderWay { job, slot, phases }),
            (Ok(()), Some(running)) => self.end(running, Some(UnderWay { job, slot, phases })),
            (Err(error), running) => {
                if let Some(running) = running {
                    self.end(running, None);
                }
                self.fail(job, Some(error));
            }
        }
    }

    fn run_whole(&mut self, job: Job) {
        let Some(executable) = self.executables.get_mut(&job.segment) else { return };
        match run_once(&mut **executable, &job.inputs, self.clock) {
            Ok((results, phases)) => self.tell(Report::Done { device: self.device, job, results, phases }),
            Err(error) => self.fail(job, Some(error)),
        }
    }

    /// Has the device compute what is staged.
    fn start(&mut self, mut next: UnderWay) {
        next.phases.compute.begin = self.clock.now();
        match self.phased(&next.job).map_or(Ok(()), |phased| phased.start(next.slot)) {
            Ok(()) => self.under_way = Some(next),
            Err(error) => self.fail(next.job, Some(error)),
        }
    }

    /// Waits for the run under way, starts the next one, and brings the results of the first back.
    fn end(&mut self, running: UnderWay, next: Option<UnderWay>) {
        let UnderWay { job, slot, mut phases } = running;
        let waited = self.phased(&job).map_or(Ok(None), |phased| phased.wait(slot));
        phases.compute.end = self.clock.now();
        match waited {
            Ok(cycles) => phases.cycles = cycles,
            Err(error) => {
                self.fail(job, Some(error));
                if let Some(next) = next {
                    self.fail(next.job, None);
                }
                return;
            }
        }
        if let Some(next) = next {
            self.start(next);
        }
        let clock = self.clock;
        let collected = phases.collect.measure(clock, || match self.phased(&job) {
            Some(phased) => phased.collect(slot),
            None => Ok(Vec::new()),
        });
        match collected {
            Ok(results) => self.tell(Report::Done { device: self.device, job, results, phases }),
            Err(error) => self.fail(job, Some(error)),
        }
    }

    fn phased(&mut self, job: &Job) -> Option<&mut dyn crate::Phased> {
        self.executables.get_mut(&job.segment)?.phased(2)
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
