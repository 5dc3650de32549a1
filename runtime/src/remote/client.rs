//! The client: a backend whose segments are at a server.

use super::message::{self, Facts, Inspected, Kind, op};
use crate::{Backend, Copied, ErrorClass, Executable, RuntimeError, Taken};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tandem_driver::BusError;
use tandem_driver::remote::{Answer, Connection, Cursor, Link, Malformed, Served, TrafficMonitor};
use tandem_driver::serial::Port;
use tandem_graph::{Graph, Node, NodeId, Value, ValueId};
use tandem_plan::{Device, alone};
use tandem_tensor::{Tensor, TensorType};

/// Most bytes of what answers a node: its texts are the longest.
const NODE: usize = 1 << 15;
/// Bytes of an answer beside its tensors, and of an error.
const HEAD: usize = 1 << 15;
/// Bytes of a tensor beside its elements, at most.
const TENSOR: usize = 64;
/// Samples of a run that a server may ask for.
const MAX_SAMPLES: u32 = 1 << 16;

/// A backend of another machine, exported by [`BackendService`](super::BackendService).
///
/// What a graph's nodes are there, supported or not and projected to what, is asked for once, all nodes together, with zeros in
/// the place of constants: it may depend on their types alone. Where the server is gone no node is supported;
/// [`TrafficMonitor::lost`] tells the two apart.
pub struct RemoteBackend<P> {
    shared: Arc<Mutex<Shared<P>>>,
    device: Device,
    facts: Facts,
    link: Link,
    monitor: TrafficMonitor,
}

/// What the segments share.
struct Shared<P> {
    connection: Connection<P>,
    /// Most bytes of a request.
    most: u64,
    /// Handles of segments that are gone; they travel with the next request.
    released: Vec<u32>,
    /// The last graph that was asked about, and what its nodes are.
    inspected: Option<(Graph, Vec<Inspected>)>,
}

impl<P: Port + Send + 'static> RemoteBackend<P> {
    /// The backend that a server exports; the first one of its kind in a plan.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] where it exports something else.
    pub fn on(mut connection: Connection<P>) -> Result<RemoteBackend<P>, BusError> {
        let name = connection.name();
        let unavailable = |what: &str| BusError::Unavailable { detail: format!("{name}: {what}") };
        if connection.served().service != Served::BACKEND {
            return Err(unavailable("it serves no GPU and no CPU"));
        }
        let facts = Facts::parse(&connection.served().facts);
        let facts = facts.map_err(|Malformed| {
            unavailable("it serves what this version does not know; use the same version of tandem on both sides")
        })?;
        let (link, monitor) = (connection.link(), connection.monitor());
        let shared = Shared { connection, most: facts.most, released: Vec::new(), inspected: None };
        let device = if facts.kind == Kind::Cpu { Device::FarCpu(0) } else { Device::Gpu(0) };
        Ok(RemoteBackend { shared: Arc::new(Mutex::new(shared)), device, facts, link, monitor })
    }

    /// The same as this device of a plan.
    pub fn with_device(self, device: Device) -> RemoteBackend<P> {
        RemoteBackend { device, ..self }
    }

    /// What the server says about its backend.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the way bears, as it was measured when the connection was opened.
    pub fn link(&self) -> Link {
        self.link
    }

    /// A look at the connection from elsewhere.
    pub fn monitor(&self) -> TrafficMonitor {
        self.monitor.clone()
    }

    /// What the server says of a node.
    fn inspect(&self, graph: &Graph, node: &Node) -> Inspected {
        let index = graph.nodes.iter().position(|other| std::ptr::eq(other, node) || other == node);
        let index = index.ok_or("it is no node of the graph")?;
        let mut shared = lock(&self.shared);
        if !shared.inspected.as_ref().is_some_and(|(known, _)| same(known, graph)) {
            let nodes = shared.inspect(graph).map_err(|error| error.to_string())?;
            shared.inspected = Some((graph.clone(), nodes));
        }
        let known = shared.inspected.as_ref().and_then(|(_, nodes)| nodes.get(index).cloned());
        known.unwrap_or_else(|| Err("the server says nothing of it".to_owned()))
    }
}

impl<P: Port + Send + 'static> Backend for RemoteBackend<P> {
    fn device(&self) -> Device {
        self.device
    }

    fn supports(&self, graph: &Graph, node: &Node) -> Result<(), String> {
        self.inspect(graph, node).map(drop)
    }

    /// As the server projects it, without the link.
    fn project(&self, graph: &Graph, node: &Node) -> Option<Duration> {
        self.inspect(graph, node).ok().flatten()
    }

    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        const ACTION: &str = "compiling a segment";
        let mut shared = lock(&self.shared);
        let answer = shared.ask(op::COMPILE, |out| message::put_graph(out, segment, true), HEAD, ACTION)?;
        let mut cursor = Cursor(&answer.body);
        let parts = || -> Result<(u32, u32), Malformed> {
            let parts = (cursor.u32()?, cursor.u32()?);
            if cursor.is_empty() && (1..=MAX_SAMPLES).contains(&parts.1) { Ok(parts) } else { Err(Malformed) }
        }();
        let (handle, samples) = parts.map_err(|Malformed| shared.connection.lose(ACTION))?;
        drop(shared);
        let types = |ids: &[ValueId]| ids.iter().map(|&id| segment.ty(id).clone()).collect();
        Ok(Box::new(RemoteSegment {
            shared: Arc::clone(&self.shared),
            handle,
            samples: samples as usize,
            inputs: types(&segment.inputs),
            outputs: types(&segment.outputs),
            copied: Copied::default(),
        }))
    }

    /// What the server measures. To the copies there the link is added, as it was measured when the connection began: half a round
    /// trip for every tensor, since what goes there and what comes back share one, and its bytes.
    fn measure(&mut self, graph: &Graph, done: &mut dyn FnMut()) -> Result<Vec<Result<Taken, String>>, RuntimeError> {
        const ACTION: &str = "measuring a graph";
        let mut shared = lock(&self.shared);
        let (nodes, most) = (graph.nodes.len(), graph.nodes.len().saturating_mul(NODE).saturating_add(HEAD));
        let answer = shared.ask(op::MEASURE, |out| message::put_graph(out, graph, true), most, ACTION)?;
        let taken = message::taken(&mut Cursor(&answer.body), nodes);
        let mut taken = taken.map_err(|Malformed| shared.connection.lose(ACTION))?;
        for (n, taken) in taken.iter_mut().enumerate() {
            if let Ok(taken) = taken {
                let ends = alone(graph, NodeId(n));
                let types = ends.inputs.iter().chain(&ends.outputs).map(|&id| graph.ty(id));
                taken.copies =
                    types.enumerate().map(|(at, ty)| far_copy(self.link, ty, taken.copies.get(at))).collect();
            }
            done();
        }
        Ok(taken)
    }
}

/// A copy of a tensor to a device elsewhere or back, with the copy there.
fn far_copy(link: Link, ty: &TensorType, there: Option<&Copied>) -> Copied {
    let bytes = ty.bytes() as u64;
    let there = there.copied().unwrap_or(Copied { bytes, count: 1, wall: Duration::ZERO });
    let way = link.latency_s / 2.0 + bytes as f64 / link.bytes_per_s;
    Copied { wall: there.wall + Duration::try_from_secs_f64(way).unwrap_or_default(), ..there }
}

impl<P: Port> Shared<P> {
    fn inspect(&mut self, graph: &Graph) -> Result<Vec<Inspected>, RuntimeError> {
        const ACTION: &str = "asking about a graph";
        let (nodes, most) = (graph.nodes.len(), graph.nodes.len().saturating_mul(NODE).saturating_add(HEAD));
        let answer = self.ask(op::INSPECT, |out| message::put_graph(out, graph, false), most, ACTION)?;
        let nodes = message::inspected(&mut Cursor(&answer.body), nodes);
        Ok(nodes.map_err(|Malformed| self.connection.lose(ACTION))?)
    }

    /// Asks for an operation, and gives what was asked for.
    fn ask(
        &mut self,
        op: u8,
        put: impl FnOnce(&mut Vec<u8>),
        most: usize,
        action: &str,
    ) -> Result<Answer, RuntimeError> {
        let mut request = (self.released.len() as u32).to_le_bytes().to_vec();
        request.extend(self.released.iter().flat_map(|handle| handle.to_le_bytes()));
        request.push(op);
        put(&mut request);
        if request.len() as u64 > self.most {
            let text = format!(
                "{action} takes a message of {} bytes to {}, which takes {} at most",
                request.len(),
                self.connection.name(),
                self.most
            );
            return Err(RuntimeError::Remote { class: ErrorClass::Exhausted, text });
        }
        let answer = self.connection.ask(&request, most, action)?;
        self.released.clear();
        if answer.done {
            return Ok(answer);
        }
        Err(match message::error(Cursor(&answer.body)) {
            Ok(error) => error,
            Err(Malformed) => self.connection.lose(action).into(),
        })
    }
}

/// A segment at a server.
struct RemoteSegment<P> {
    shared: Arc<Mutex<Shared<P>>>,
    handle: u32,
    samples: usize,
    inputs: Vec<TensorType>,
    outputs: Vec<TensorType>,
    copied: Copied,
}

impl<P: Port + Send> Executable for RemoteSegment<P> {
    fn samples(&self) -> usize {
        self.samples
    }

    /// One round trip.
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        const ACTION: &str = "running a segment";
        let wrong = samples.iter().enumerate().find_map(|(s, x)| Some((s, message::check(&self.inputs, x).err()?)));
        if let Some((s, why)) = wrong {
            return Err(RuntimeError::Invalid(format!("sample {s} does not fit the segment: {why}")));
        }
        let Ok(count) = u32::try_from(samples.len()) else {
            return Err(RuntimeError::Invalid(format!("{} samples are too many for a run", samples.len())));
        };
        let each = self.outputs.iter().map(|ty| ty.bytes().saturating_add(TENSOR)).fold(HEAD, usize::saturating_add);
        let mut shared = lock(&self.shared);
        let put = |out: &mut Vec<u8>| {
            out.extend([self.handle, count].into_iter().flat_map(u32::to_le_bytes));
            samples.iter().flatten().for_each(|tensor| message::put_tensor(out, tensor));
        };
        let answer = shared.ask(op::RUN, put, each.saturating_mul(samples.len().max(1)), ACTION)?;
        let mut cursor = Cursor(&answer.body);
        let parts = message::copied(&mut cursor)
            .and_then(|copied| Ok((copied, message::samples(&mut cursor, count, self.outputs.len())?)));
        let parts = parts.ok().filter(|(_, results)| results.iter().all(|x| message::check(&self.outputs, x).is_ok()));
        let (mut copied, results) = parts.ok_or_else(|| shared.connection.lose(ACTION))?;
        copied.wall = copied.wall.saturating_add(answer.waited.saturating_sub(answer.device));
        self.copied.add(copied);
        Ok(results)
    }

    /// Copies at the server, and the link.
    fn copied(&self) -> Copied {
        self.copied
    }
}

impl<P> Drop for RemoteSegment<P> {
    fn drop(&mut self) {
        lock(&self.shared).released.push(self.handle);
    }
}

/// Whether two graphs are the same but for the elements of constants, about which nobody asks.
fn same(a: &Graph, b: &Graph) -> bool {
    let alike = |(a, b): (&Value, &Value)| (&a.name, &a.ty) == (&b.name, &b.ty);
    (&a.name, a.arith, &a.inputs, &a.outputs, &a.nodes) == (&b.name, b.arith, &b.inputs, &b.outputs, &b.nodes)
        && a.values.len() == b.values.len()
        && a.values.iter().zip(&b.values).all(alike)
}

/// A panic of another thread that holds the lock leaves a connection that is in order or lost.
fn lock<P>(shared: &Mutex<Shared<P>>) -> MutexGuard<'_, Shared<P>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
