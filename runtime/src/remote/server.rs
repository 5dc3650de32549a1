//! The server: a backend as a service.

use super::message::{self, Facts, op};
use crate::{Backend, ErrorClass, Executable, RuntimeError};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tandem_driver::remote::{Cursor, Malformed, Served, Service};
use tandem_graph::Graph;
use tandem_tensor::TensorType;

/// What a client may ask for, and hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a request, and of the results of a run.
    pub request: usize,
    /// Bytes of the values and constants of all segments together; of a graph that is asked about, too.
    pub held: u64,
    /// Segments.
    pub handles: usize,
    /// Multiply-accumulates and other operations of all samples of a run, and of a graph that is measured.
    pub work: u64,
    /// Samples of a run.
    pub samples: u32,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { request: 1 << 30, held: 8 << 30, handles: 1024, work: 1 << 43, samples: 1 << 16 }
    }
}

/// A backend that is exported.
pub struct BackendService {
    backend: Box<dyn Backend>,
    facts: Facts,
    bounds: Bounds,
    segments: BTreeMap<u32, Held>,
    /// The handle of the next segment.
    next: u32,
}

/// A segment of a client.
struct Held {
    executable: Box<dyn Executable>,
    inputs: Vec<TensorType>,
    /// Bytes of the results of a sample.
    results: u64,
    /// Bytes of its values.
    bytes: u64,
    /// Operations of a sample.
    work: u64,
}

impl BackendService {
    /// A backend within bounds; the facts' most bytes of a request are those of the bounds.
    pub fn new(backend: Box<dyn Backend>, facts: Facts, bounds: Bounds) -> BackendService {
        let facts = Facts { most: bounds.request as u64, ..facts };
        BackendService { backend, facts, bounds, segments: BTreeMap::new(), next: 0 }
    }

    fn perform(&mut self, request: &[u8], reply: &mut Vec<u8>) -> Result<Result<(), RuntimeError>, Malformed> {
        let mut cursor = Cursor(request);
        let released = cursor.u32()?;
        if released as usize > self.bounds.handles {
            return Err(Malformed);
        }
        for _ in 0..released {
            // A handle that is unknown was given up here already.
            self.segments.remove(&cursor.u32()?);
        }
        Ok(match cursor.u8()? {
            op::INSPECT => self.graph(&mut cursor)?.map(|(graph, _)| self.inspect(&graph, reply)),
            op::COMPILE => self.graph(&mut cursor)?.and_then(|graph| self.compile(graph, reply)),
            op::RUN => self.run(&mut cursor, reply)?,
            op::MEASURE => self.graph(&mut cursor)?.and_then(|(graph, _)| self.measure(&graph, reply)),
            _ => return Err(Malformed),
        })
    }

    /// A graph that fits beside what the client holds.
    fn graph(&self, cursor: &mut Cursor) -> Result<Result<(Graph, u64), RuntimeError>, Malformed> {
        let held: u64 = self.segments.values().map(|segment| segment.bytes).sum();
        message::graph(cursor, self.bounds.held.saturating_sub(held))
    }

    fn inspect(&self, graph: &Graph, reply: &mut Vec<u8>) {
        let one = |node| self.backend.supports(graph, node).map(|()| self.backend.project(graph, node));
        let nodes: Vec<message::Inspected> = graph.nodes.iter().map(one).collect();
        message::put_inspected(reply, &nodes);
    }

    fn compile(&mut self, (graph, bytes): (Graph, u64), reply: &mut Vec<u8>) -> Result<(), RuntimeError> {
        let exhausted = |text: String| RuntimeError::Remote { class: ErrorClass::Exhausted, text };
        if self.segments.len() >= self.bounds.handles {
            return Err(exhausted(format!("the server holds {} segments for a client", self.bounds.handles)));
        }
        let next = self.next.checked_add(1).ok_or_else(|| exhausted("the server has no handles left".to_owned()))?;
        let work = self.work(&graph, 1)?;
        let executable = self.backend.compile(&graph)?;
        let types = |ids: &[tandem_graph::ValueId]| ids.iter().map(|&id| graph.ty(id).clone()).collect::<Vec<_>>();
        let results = types(&graph.outputs).iter().map(|ty| ty.bytes() as u64).sum();
        let samples = u32::try_from(executable.samples()).unwrap_or(u32::MAX);
        reply.extend([self.next, samples].into_iter().flat_map(u32::to_le_bytes));
        self.segments.insert(self.next, Held { executable, inputs: types(&graph.inputs), results, bytes, work });
        self.next = next;
        Ok(())
    }

    fn run(&mut self, cursor: &mut Cursor, reply: &mut Vec<u8>) -> Result<Result<(), RuntimeError>, Malformed> {
        let (handle, count) = (cursor.u32()?, cursor.u32()?);
        let bounds = self.bounds;
        let Some(segment) = self.segments.get_mut(&handle) else {
            // Where the device failed, everything was given up.
            return Ok(Err(RuntimeError::Invalid(format!("the server holds no segment {handle}"))));
        };
        if count > bounds.samples {
            return Err(Malformed);
        }
        let samples = message::samples(cursor, count, segment.inputs.len())?;
        let wrong = samples.iter().find_map(|sample| message::check(&segment.inputs, sample).err());
        if let Some(why) = wrong {
            return Ok(Err(RuntimeError::Invalid(format!("a sample does not fit: {why}"))));
        }
        let results = segment.results.saturating_mul(count.into());
        if results > bounds.request as u64 {
            let text = format!("the results have {results} bytes, the most are {}; run fewer samples", bounds.request);
            return Ok(Err(RuntimeError::Remote { class: ErrorClass::Exhausted, text }));
        }
        if segment.work.saturating_mul(count.into()) > bounds.work {
            return Ok(Err(too_much(segment.work, count, bounds.work)));
        }
        let before = segment.executable.copied();
        let outcome = segment.executable.run(&samples);
        Ok(outcome.map(|results| {
            message::put_copied(reply, &segment.executable.copied().since(&before, 1));
            results.iter().flatten().for_each(|tensor| message::put_tensor(reply, tensor));
        }))
    }

    fn measure(&mut self, graph: &Graph, reply: &mut Vec<u8>) -> Result<(), RuntimeError> {
        self.work(graph, 1)?;
        let nodes = self.backend.measure(graph, &mut || {})?;
        message::put_taken(reply, &nodes);
        Ok(())
    }

    /// Operations of a graph, which are not too many.
    fn work(&self, graph: &Graph, samples: u32) -> Result<u64, RuntimeError> {
        let of = |node: &tandem_graph::Node| {
            let operands: Vec<&TensorType> = node.inputs.iter().map(|&id| graph.ty(id)).collect();
            tandem_ops::cost(&node.op, &operands).map_or(0, |cost| cost.macs.saturating_add(cost.element_ops))
        };
        let work = graph.nodes.iter().fold(0u64, |sum, node| sum.saturating_add(of(node)));
        if work > self.bounds.work { Err(too_much(work, samples, self.bounds.work)) } else { Ok(work) }
    }
}

impl Service for BackendService {
    fn served(&self) -> Served {
        Served { service: Served::BACKEND, facts: self.facts.bytes() }
    }

    fn most(&self) -> usize {
        self.bounds.request
    }

    fn answer(&mut self, request: &[u8], reply: &mut Vec<u8>) -> Result<bool, Malformed> {
        let begin = reply.len();
        // A graph that makes a kernel panic is that client's trouble alone; the next one finds the server.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.perform(request, reply)));
        let outcome = outcome.unwrap_or_else(|_| {
            self.segments.clear();
            let text = "the server's device has broken down at this request; its log tells more".to_owned();
            Ok(Err(RuntimeError::Remote { class: ErrorClass::Fault, text }))
        })?;
        if let Err(error) = &outcome {
            reply.truncate(begin);
            message::put_error(reply, error);
        }
        Ok(outcome.is_ok())
    }

    fn leave(&mut self) {
        self.segments.clear();
    }
}

fn too_much(work: u64, samples: u32, limit: u64) -> RuntimeError {
    let text = format!("{samples} samples of {work} operations are more than the {limit} that the server does at once");
    RuntimeError::Remote { class: ErrorClass::Unsupported, text }
}
