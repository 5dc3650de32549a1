//! What client and server of a backend say to each other, inside the requests and replies of the transport.
//!
//! ```text
//! facts     kind (1)  most bytes of a request (8)  name, model: text
//! request   handles to release: count (4), handle (4) each;  operation (1), fields
//!           1 inspect  graph               each node: 0 and why not, a text; 1 it runs; 2 it runs, projected nanoseconds (8)
//!           2 compile  graph               handle (4)  samples (4)
//!           3 run      handle (4)  samples (4)  their tensors
//!                                          copied there  tensors
//!           4 measure  graph               each node: 0 and why not; 1, nanoseconds (8), 0 or 1 and cycles (8), copies: count (4), each
//! error     class (1)  text
//!
//! graph     text form: length (4), text;  constants: count (4), each: value (4)  0 for zeros, or 1 and its bytes
//! tensor    dtype (1)  rank (1)  extents (4 each)  bytes
//! copied    bytes (8)  count (8)  nanoseconds (8)
//! ```
//!
//! Numbers are little-endian; what answers each node begins with how many there are (4).

use crate::{Copied, ErrorClass, RuntimeError, Taken};
use std::sync::Arc;
use std::time::Duration;
use tandem_driver::remote::{Cursor, Malformed, put_bytes, put_text};
use tandem_graph::{Graph, ValueId};
use tandem_tensor::{DType, Shape, Tensor, TensorType};

/// Most axes of a tensor.
const MAX_RANK: usize = 12;
/// Most copies of a node.
const MAX_COPIES: u32 = 1 << 16;

/// The operations.
pub(super) mod op {
    pub const INSPECT: u8 = 1;
    pub const COMPILE: u8 = 2;
    pub const RUN: u8 = 3;
    pub const MEASURE: u8 = 4;
}

/// What kind of backend is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A CPU.
    Cpu,
    /// A GPU.
    Gpu,
    /// What simulates a GPU; its times say nothing of one.
    SimulatedGpu,
}

/// What a server says about its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What kind it is.
    pub kind: Kind,
    /// Its name on the server's command line.
    pub name: String,
    /// What it is: the name of the GPU or of the processor.
    pub model: String,
    /// Most bytes of a request.
    pub most: u64,
}

/// What is known of a node: whether it runs, with its projection, or why not.
pub(super) type Inspected = Result<Option<Duration>, String>;

impl Facts {
    /// As bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![match self.kind {
            Kind::Cpu => 0,
            Kind::Gpu => 1,
            Kind::SimulatedGpu => 2,
        }];
        out.extend(self.most.to_le_bytes());
        put_text(&mut out, &self.name);
        put_text(&mut out, &self.model);
        out
    }

    /// The facts of bytes.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Facts, Malformed> {
        let mut cursor = Cursor(bytes);
        let kind = match cursor.u8()? {
            0 => Kind::Cpu,
            1 => Kind::Gpu,
            2 => Kind::SimulatedGpu,
            _ => return Err(Malformed),
        };
        let (most, name, model) = (cursor.u64()?, cursor.text()?, cursor.text()?);
        if cursor.is_empty() { Ok(Facts { kind, name, model, most }) } else { Err(Malformed) }
    }
}

/// Appends a graph; with its constants, or with zeros in their place.
pub(super) fn put_graph(out: &mut Vec<u8>, graph: &Graph, constants: bool) {
    let mut bare = graph.clone();
    let taken: Vec<_> = bare.values.iter_mut().map(|value| value.constant.take()).collect();
    put_bytes(out, tandem_graph::print(&bare).as_bytes());
    out.extend((taken.iter().flatten().count() as u32).to_le_bytes());
    for (id, tensor) in taken.iter().enumerate() {
        let Some(tensor) = tensor else { continue };
        out.extend((id as u32).to_le_bytes());
        out.push(u8::from(constants));
        if constants {
            out.extend(tensor.to_le_bytes());
        }
    }
}

/// A graph and what it takes: bytes of all its values. It is whole and legal, and has at most so many bytes.
///
/// # Errors
/// [`Malformed`] for bytes that are no graph; inside, what is wrong with the graph. Of one that is too large nothing more is read.
pub(super) fn graph(cursor: &mut Cursor, limit: u64) -> Result<Result<(Graph, u64), RuntimeError>, Malformed> {
    let text = std::str::from_utf8(cursor.bytes()?).map_err(|_| Malformed)?;
    let mut graph = tandem_graph::parse(text).map_err(|_| Malformed)?;
    let size = |sum: u64, value: &tandem_graph::Value| sum.saturating_add(value.ty.bytes() as u64);
    let bytes = graph.values.iter().fold(0, size);
    if bytes > limit {
        let text = format!("the values of the graph have {bytes} bytes, and the server has {limit} for this client");
        return Ok(Err(RuntimeError::Remote { class: ErrorClass::Exhausted, text }));
    }
    let count = cursor.u32()?;
    for _ in 0..count {
        let (id, whole) = (ValueId(cursor.u32()? as usize), cursor.u8()?);
        let value = graph.values.get_mut(id.0).filter(|value| value.constant.is_none()).ok_or(Malformed)?;
        let (dtype, shape) = (value.ty.dtype, value.ty.shape.clone());
        let tensor = match whole {
            0 => Tensor::zeros(dtype, shape),
            1 => Tensor::from_le_bytes(dtype, shape, cursor.take(value.ty.bytes())?).map_err(|_| Malformed)?,
            _ => return Err(Malformed),
        };
        value.constant = Some(Arc::new(tensor));
    }
    if !cursor.is_empty() {
        return Err(Malformed);
    }
    Ok(graph.verify().map(|()| (graph, bytes)).map_err(RuntimeError::from))
}

/// Appends a tensor.
pub(super) fn put_tensor(out: &mut Vec<u8>, tensor: &Tensor) {
    let dtype = DType::ALL.iter().position(|dtype| *dtype == tensor.dtype()).unwrap_or_default();
    out.extend([dtype as u8, tensor.shape().rank() as u8]);
    out.extend(tensor.shape().iter().flat_map(|&extent| (extent as u32).to_le_bytes()));
    out.extend(tensor.to_le_bytes());
}

/// A tensor.
pub(super) fn tensor(cursor: &mut Cursor) -> Result<Tensor, Malformed> {
    let dtype = *DType::ALL.get(usize::from(cursor.u8()?)).ok_or(Malformed)?;
    let rank = usize::from(cursor.u8()?);
    if rank > MAX_RANK {
        return Err(Malformed);
    }
    let extents = (0..rank).map(|_| Ok(cursor.u32()? as usize)).collect::<Result<Vec<usize>, Malformed>>()?;
    let shape = Shape::from(extents);
    let bytes = cursor.take(shape.elements().saturating_mul(dtype.bytes()))?;
    Tensor::from_le_bytes(dtype, shape, bytes).map_err(|_| Malformed)
}

/// Samples of so many tensors each.
pub(super) fn samples(cursor: &mut Cursor, count: u32, tensors: usize) -> Result<Vec<Vec<Tensor>>, Malformed> {
    let mut samples = Vec::new();
    for _ in 0..count {
        samples.push((0..tensors).map(|_| tensor(cursor)).collect::<Result<_, _>>()?);
    }
    if cursor.is_empty() { Ok(samples) } else { Err(Malformed) }
}

/// Whether a sample has these types; else what is wrong.
pub(super) fn check(types: &[TensorType], sample: &[Tensor]) -> Result<(), String> {
    if sample.len() != types.len() {
        return Err(format!("it has {} tensors and not {}", sample.len(), types.len()));
    }
    let wrong = types.iter().zip(sample).find(|(ty, x)| x.dtype() != ty.dtype || x.shape() != &ty.shape);
    wrong.map_or(Ok(()), |(ty, x)| Err(format!("it has a {}{} where {ty} is to be", x.dtype(), x.shape())))
}

/// Appends what is known of nodes.
pub(super) fn put_inspected(out: &mut Vec<u8>, nodes: &[Inspected]) {
    out.extend((nodes.len() as u32).to_le_bytes());
    for node in nodes {
        match node {
            Err(why) => {
                out.push(0);
                put_text(out, why);
            }
            Ok(None) => out.push(1),
            Ok(Some(projected)) => {
                out.push(2);
                out.extend(nanos(*projected).to_le_bytes());
            }
        }
    }
}

/// What is known of so many nodes.
pub(super) fn inspected(cursor: &mut Cursor, nodes: usize) -> Result<Vec<Inspected>, Malformed> {
    each(cursor, nodes, |cursor| {
        Ok(match cursor.u8()? {
            0 => Err(cursor.text()?),
            1 => Ok(None),
            2 => Ok(Some(Duration::from_nanos(cursor.u64()?))),
            _ => return Err(Malformed),
        })
    })
}

/// Appends what nodes took.
pub(super) fn put_taken(out: &mut Vec<u8>, nodes: &[Result<Taken, String>]) {
    out.extend((nodes.len() as u32).to_le_bytes());
    for node in nodes {
        match node {
            Err(why) => {
                out.push(0);
                put_text(out, why);
            }
            Ok(Taken { wall, cycles, copies }) => {
                out.push(1);
                out.extend(nanos(*wall).to_le_bytes());
                out.push(u8::from(cycles.is_some()));
                out.extend(cycles.iter().flat_map(|cycles| cycles.to_le_bytes()));
                out.extend((copies.len() as u32).to_le_bytes());
                copies.iter().for_each(|copied| put_copied(out, copied));
            }
        }
    }
}

/// What so many nodes took.
pub(super) fn taken(cursor: &mut Cursor, nodes: usize) -> Result<Vec<Result<Taken, String>>, Malformed> {
    each(cursor, nodes, |cursor| {
        Ok(match cursor.u8()? {
            0 => Err(cursor.text()?),
            1 => {
                let wall = Duration::from_nanos(cursor.u64()?);
                let cycles = match cursor.u8()? {
                    0 => None,
                    1 => Some(cursor.u64()?),
                    _ => return Err(Malformed),
                };
                let count = cursor.u32()?;
                if count > MAX_COPIES {
                    return Err(Malformed);
                }
                let copies = (0..count).map(|_| copied(cursor)).collect::<Result<_, _>>()?;
                Ok(Taken { wall, cycles, copies })
            }
            _ => return Err(Malformed),
        })
    })
}

/// One entry for each of so many nodes, and nothing behind.
fn each<T>(
    cursor: &mut Cursor,
    nodes: usize,
    one: impl Fn(&mut Cursor) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    if cursor.u32()? as usize != nodes {
        return Err(Malformed);
    }
    let all = (0..nodes).map(|_| one(cursor)).collect::<Result<_, _>>()?;
    if cursor.is_empty() { Ok(all) } else { Err(Malformed) }
}

/// Appends what was copied.
pub(super) fn put_copied(out: &mut Vec<u8>, copied: &Copied) {
    out.extend([copied.bytes, copied.count, nanos(copied.wall)].into_iter().flat_map(u64::to_le_bytes));
}

/// What was copied.
pub(super) fn copied(cursor: &mut Cursor) -> Result<Copied, Malformed> {
    let (bytes, count) = (cursor.u64()?, cursor.u64()?);
    Ok(Copied { bytes, count, wall: Duration::from_nanos(cursor.u64()?) })
}

/// Appends an error.
pub(super) fn put_error(out: &mut Vec<u8>, error: &RuntimeError) {
    out.push(match error.class() {
        ErrorClass::Unsupported => 0,
        ErrorClass::Invalid => 1,
        ErrorClass::Exhausted => 2,
        ErrorClass::Fault => 3,
        ErrorClass::Unavailable => 4,
    });
    put_text(out, &error.to_string());
}

/// An error.
pub(super) fn error(mut cursor: Cursor) -> Result<RuntimeError, Malformed> {
    let class = match cursor.u8()? {
        0 => ErrorClass::Unsupported,
        1 => ErrorClass::Invalid,
        2 => ErrorClass::Exhausted,
        3 => ErrorClass::Fault,
        4 => ErrorClass::Unavailable,
        _ => return Err(Malformed),
    };
    let text = cursor.text()?;
    if cursor.is_empty() { Ok(RuntimeError::Remote { class, text }) } else { Err(Malformed) }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
