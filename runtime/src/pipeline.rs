//! Many requests under way at once, on all devices at once: one queue a device, fed as values are made.

use crate::backend::SLOTS;
use crate::executor::{Batch, Executor};
use crate::flow::Flow;
use crate::profile::Clock;
use crate::queue::{Job, Order, Queue, Report};
use crate::wiring::Values;
use crate::{Executable, RuntimeError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;
use tandem_plan::Device;
use tandem_tensor::Tensor;

type Executables = BTreeMap<usize, Box<dyn Executable>>;

/// A queue from outside.
struct Lane<'scope> {
    device: Device,
    orders: Sender<Order>,
    /// Jobs that were handed in and not answered.
    jobs: usize,
    thread: ScopedJoinHandle<'scope, Executables>,
}

/// The queues of a run.
struct Lanes<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    lanes: Vec<Lane<'scope>>,
    reports: Sender<Report>,
    clock: Clock,
}

/// A request under way.
struct Request {
    values: Values,
    begin: Duration,
    place: Batch,
}

impl Executor {
    /// The graph's outputs for every sample, in order. `batch` samples at a time go through the segments together, and up to `in_flight`
    /// such requests are under way at once, so that every device works on another one. `done` is told how many samples have their
    /// outputs whenever a request ends.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn stream(
        &mut self,
        samples: &[Vec<Tensor>],
        batch: usize,
        in_flight: usize,
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        self.wiring.check(samples)?;
        let in_flight = in_flight.max(1);
        self.profile.begin_round(in_flight);
        let result = std::thread::scope(|scope| {
            let (reports, inbox) = channel();
            let mut lanes = Lanes { scope, lanes: Vec::new(), reports, clock: self.clock };
            for segment in 0..self.segments.len() {
                let ready = &mut self.segments[segment];
                if let Some(executable) = ready.executable.take() {
                    lanes.adopt(ready.device, segment, executable);
                }
            }
            let result = self.feed(samples, batch.max(1), in_flight, &mut lanes, &inbox, done);
            // Without orders the queues end. What a device that failed gives back is of no use any more.
            for Lane { device, orders, thread, .. } in lanes.lanes {
                drop(orders);
                for (segment, executable) in thread.join().unwrap_or_default() {
                    let ready = &mut self.segments[segment];
                    if ready.device == device {
                        ready.executable = Some(executable);
                    }
                }
            }
            result
        });
        (0..self.segments.len()).for_each(|segment| self.sum_up(segment));
        result
    }

    /// Hands jobs to the queues until every request has ended.
    fn feed(
        &mut self,
        samples: &[Vec<Tensor>],
        batch: usize,
        in_flight: usize,
        lanes: &mut Lanes<'_, '_>,
        inbox: &Receiver<Report>,
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let mut flow = Flow::new(Arc::clone(&self.wiring.segments));
        let mut waiting = samples.chunks(batch);
        let mut requests: Vec<Request> = Vec::with_capacity(waiting.len());
        let mut results: Vec<Vec<Vec<Tensor>>> = Vec::new();
        results.resize_with(waiting.len(), Vec::new);
        let first = self.batch();
        // What queues gave back: it is to run elsewhere.
        let mut returned: BTreeMap<(usize, usize), Vec<Vec<Tensor>>> = BTreeMap::new();
        let mut under_way = 0;
        loop {
            while under_way < in_flight
                && let Some(chunk) = waiting.next()
            {
                let number = requests.len();
                let (request, sample) = (first.request + number as u64, first.sample + (number * batch) as u64);
                let place = Batch { request, sample, samples: chunk.len() as u64 };
                requests.push(Request { values: self.wiring.begin(chunk), begin: self.clock.now(), place });
                if flow.admit() {
                    under_way += 1;
                } else {
                    results[number] = self.end(&mut requests[number], done)?;
                }
            }
            if under_way == 0 {
                return Ok(results.into_iter().flatten().collect());
            }
            for lane in &mut lanes.lanes {
                while lane.jobs < SLOTS
                    && let Some((request, segment)) = flow.pick(|segment| self.segments[segment].device == lane.device)
                {
                    let inputs = match returned.remove(&(request, segment)) {
                        Some(inputs) => inputs,
                        None => self.wiring.take(segment, &mut requests[request].values)?,
                    };
                    lane.jobs += 1;
                    lane.tell(Order::Run(Job { request, segment, inputs }))?;
                }
            }
            // The queues have a sender each, and this side keeps one: there is always somebody to hear from.
            match inbox.recv().unwrap_or(Report::Ended(Device::Cpu)) {
                Report::Done { device, job, results: made, phases } => {
                    lanes.answered(device);
                    let Job { request, segment, .. } = job;
                    self.wiring.put(segment, made, &mut requests[request].values);
                    self.record(segment, requests[request].place, phases);
                    if flow.finish(request, segment) {
                        under_way -= 1;
                        results[request] = self.end(&mut requests[request], done)?;
                    }
                }
                Report::Failed { device, job, error } => {
                    lanes.answered(device);
                    let Job { request, segment, inputs } = job;
                    if let Some(error) = error {
                        for (segment, executable) in self.take_over(segment, error, requests[request].place.sample)? {
                            lanes.adopt(self.segments[segment].device, segment, executable);
                        }
                    }
                    returned.insert((request, segment), inputs);
                    flow.put_back(request, segment);
                }
                Report::Ended(device) => return Err(ended(device)),
            }
        }
    }

    fn end(&mut self, request: &mut Request, done: &mut dyn FnMut(usize)) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let samples = request.place.samples as usize;
        let results = self.wiring.end(std::mem::take(&mut request.values))?;
        self.account(request.begin, samples);
        done(samples);
        Ok(results)
    }
}

impl<'scope> Lanes<'scope, '_> {
    /// Has the queue of a device, which is made where there is none, run a segment.
    fn adopt(&mut self, device: Device, segment: usize, executable: Box<dyn Executable>) {
        if let Some(lane) = self.lanes.iter().find(|lane| lane.device == device) {
            // A queue that has ended tells so itself.
            let _ = lane.orders.send(Order::Adopt(segment, executable));
            return;
        }
        let (orders, inbox) = channel();
        let executables = BTreeMap::from([(segment, executable)]);
        let queue = Queue::new(device, executables, self.reports.clone(), self.clock);
        let thread = self.scope.spawn(move || queue.work(&inbox));
        self.lanes.push(Lane { device, orders, jobs: 0, thread });
    }

    fn answered(&mut self, device: Device) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.device == device) {
            lane.jobs = lane.jobs.saturating_sub(1);
        }
    }
}

impl Lane<'_> {
    fn tell(&self, order: Order) -> Result<(), RuntimeError> {
        self.orders.send(order).map_err(|_| ended(self.device))
    }
}

fn ended(device: Device) -> RuntimeError {
    RuntimeError::Invalid(format!("the queue of the {device} has ended before its work; this is a bug"))
}
