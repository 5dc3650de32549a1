//! Where every intermediate result lies in one arena, and for how long.
//!
//! A value lives from the node that makes it to the last that reads it; two that never live at the same time may have the same place.
//! A reshape has the bytes of its operand and shares its buffer; an element-wise node may write over an operand that nobody reads any
//! more. Buffers are placed one by one, in several orders and each in the smallest gap that fits, and the lowest arena is kept. What is
//! alive at the same time at the worst moment is a bound below which no placement gets.
//!
//! ```text
//! // before
//! graph "memory" tflref
//! input %0 "x" i8[64] quant 0.5:0
//! value %1 "big" i8[256] quant 0.5:0
//! node "big" %1 = {"Concat":{"axis":0,"act":"None"}} %0 %0 %0 %0
//! value %2 "half" i8[128] quant 0.5:0
//! node "half" %2 = {"Slice":{"begin":[0],"size":[128],"step":[1]}} %1
//! value %3 "rectified" i8[128] quant 0.5:0
//! node "rectified" %3 = {"Unary":"Relu"} %2
//! value %4 "square" i8[8,16] quant 0.5:0
//! node "square" %4 = {"Reshape":{"shape":[8,16]}} %3
//! value %5 "y" i8[16] quant 0.5:0
//! node "y" %5 = {"Reduce":{"kind":"Max","axes":[0],"keep_dims":false}} %4
//! output %5
//! // after
//! 256..320, steps 0..1: x
//! 0..256, steps 0..2: big
//! 256..384, steps 1..5: half, rectified, square
//! 0..16, steps 4..5: y
//! peak 384, bound 384, sum 720, largest first
//! ```

use super::groups::Groups;
use crate::{Graph, NodeId, ValueId};
use std::fmt::Write;
use std::ops::Range;
use tandem_ops::Op;

/// How to plan.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Offsets are multiples of this many bytes; at least 1.
    pub align: usize,
    /// Element-wise nodes may write over an operand that dies there.
    pub in_place: bool,
    /// Inputs and outputs lie in the arena too, and not with the caller.
    pub interface: bool,
}

/// A piece of the arena for one value, or for several that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What lies here, in the order in which it is made.
    pub values: Vec<ValueId>,
    /// Its size, a multiple of the alignment.
    pub bytes: usize,
    /// Steps at which it is in use.
    pub live: Range<usize>,
    /// Its place.
    pub offset: usize,
}

/// All buffers of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The buffers, in the order of their first step.
    pub buffers: Vec<Buffer>,
    /// Steps: nodes, or groups of nodes.
    pub steps: usize,
    /// Size of the arena.
    pub peak: usize,
    /// Bytes alive at the worst step: no placement of these buffers needs fewer.
    pub bound: usize,
    /// Bytes of all values, each in a place of its own.
    pub sum: usize,
    /// The order of placement that gave the lowest arena.
    pub strategy: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Options { align: 16, in_place: true, interface: true }
    }
}

/// What one step reads and makes.
struct Step {
    reads: Vec<ValueId>,
    makes: Vec<ValueId>,
    /// The node, where the step is a single one.
    node: Option<NodeId>,
}

/// Plans a verified graph, node by node.
pub fn plan(graph: &Graph, options: &Options) -> MemoryPlan {
    let step = |(at, node): (usize, &crate::Node)| Step {
        reads: node.inputs.clone(),
        makes: node.outputs.clone(),
        node: Some(NodeId(at)),
    };
    place(graph, graph.nodes.iter().enumerate().map(step).collect(), options)
}

/// Plans a verified graph whose groups each run in one loop, so that what stays inside them needs no memory.
pub fn plan_groups(graph: &Graph, groups: &Groups, options: &Options) -> MemoryPlan {
    let steps = groups.groups.iter().filter_map(|group| {
        let last = graph.nodes.get(group.nodes.last()?.0)?;
        let nodes = || group.nodes.iter().filter_map(|n| graph.nodes.get(n.0));
        let inside: Vec<ValueId> = nodes().flat_map(|n| &n.outputs).copied().collect();
        let reads = nodes().flat_map(|n| &n.inputs).copied().filter(|id| !inside.contains(id)).collect();
        let node = group.nodes.first().copied().filter(|_| group.nodes.len() == 1);
        Some(Step { reads, makes: last.outputs.clone(), node })
    });
    place(graph, steps.collect(), options)
}

fn place(graph: &Graph, steps: Vec<Step>, options: &Options) -> MemoryPlan {
    let align = options.align.max(1);
    let size = |id: ValueId| graph.ty(id).bytes().checked_next_multiple_of(align).unwrap_or(usize::MAX);
    let (mut buffers, sum) = lifetimes(graph, &steps, options, size);
    let (peak, strategy, offsets) = ORDERS
        .iter()
        .map(|(name, key)| {
            let (peak, offsets) = fit(&buffers, key);
            (peak, *name, offsets)
        })
        .min_by_key(|(peak, ..)| *peak)
        .unwrap_or((0, "", Vec::new()));
    for (buffer, offset) in buffers.iter_mut().zip(offsets) {
        buffer.offset = offset;
    }
    let bound = (0..steps.len().max(1)).map(|step| alive(&buffers, step)).max().unwrap_or(0);
    MemoryPlan { buffers, steps: steps.len(), peak, bound, sum, strategy }
}

/// Bytes alive at a step.
fn alive(buffers: &[Buffer], step: usize) -> usize {
    buffers.iter().filter(|b| b.live.contains(&step)).fold(0, |sum, b| sum.saturating_add(b.bytes))
}

/// The buffers without places, and the bytes of all their values.
fn lifetimes(
    graph: &Graph,
    steps: &[Step],
    options: &Options,
    size: impl Fn(ValueId) -> usize,
) -> (Vec<Buffer>, usize) {
    let count = graph.values.len();
    let mut last = vec![0; count];
    for (at, step) in steps.iter().enumerate() {
        step.reads.iter().for_each(|id| last[id.0] = at);
    }
    let theirs = |id: ValueId| graph.inputs.contains(&id) || graph.outputs.contains(&id);
    for id in &graph.outputs {
        last[id.0] = steps.len().saturating_sub(1);
    }
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut home: Vec<Option<usize>> = vec![None; count];
    let mut sum = 0usize;
    let open = |id: ValueId, at: usize, buffers: &mut Vec<Buffer>, home: &mut Vec<Option<usize>>| {
        home[id.0] = Some(buffers.len());
        buffers.push(Buffer { values: vec![id], bytes: size(id), live: at..last[id.0].max(at) + 1, offset: 0 });
    };
    for &id in graph.inputs.iter().filter(|_| options.interface) {
        sum = size(id).saturating_add(sum);
        open(id, 0, &mut buffers, &mut home);
    }
    for (at, step) in steps.iter().enumerate() {
        for &id in &step.makes {
            if !options.interface && theirs(id) {
                continue;
            }
            sum = size(id).saturating_add(sum);
            let shared = step.node.and_then(|n| {
                shared(graph, n, id, options, |x| {
                    let slot = home[x.0]?;
                    // The caller's inputs stay what they are, and outputs are read after the last step.
                    let free = buffers[slot].live.end == at + 1 && !buffers[slot].values.iter().any(|&v| theirs(v));
                    Some((slot, free))
                })
            });
            match shared {
                Some(slot) => {
                    let buffer = &mut buffers[slot];
                    buffer.values.push(id);
                    buffer.live.end = buffer.live.end.max(last[id.0].max(at) + 1);
                    home[id.0] = Some(slot);
                }
                None => open(id, at, &mut buffers, &mut home),
            }
        }
    }
    (buffers, sum)
}

/// The buffer of an operand in which the result of a node may lie. `home` gives the buffer of a value, and whether nothing of it is
/// read after this node.
fn shared(
    graph: &Graph,
    node: NodeId,
    result: ValueId,
    options: &Options,
    home: impl Fn(ValueId) -> Option<(usize, bool)>,
) -> Option<usize> {
    let node = &graph.nodes[node.0];
    let &first = node.inputs.first()?;
    let own = graph.ty(result);
    if node.op.is_alias() {
        return home(first).map(|(slot, _)| slot);
    }
    let element_wise = matches!(node.op, Op::Unary(_) | Op::Requantize | Op::Binary { .. });
    if !options.in_place || !element_wise {
        return None;
    }
    node.inputs.iter().find_map(|&x| {
        let ty = graph.ty(x);
        let (slot, free) = home(x)?;
        // An operand that is read again and again must not be written over before the last time.
        let others =
            node.inputs.iter().all(|&o| graph.ty(o).shape == own.shape || home(o).is_none_or(|(s, _)| s != slot));
        (free && others && ty.shape == own.shape && ty.dtype.bytes() == own.dtype.bytes()).then_some(slot)
    })
}

type Key = fn(&Buffer) -> (usize, usize);

/// Orders of placement: the smallest key first.
const ORDERS: [(&str, Key); 4] = [
    ("largest first", |b| (usize::MAX - b.bytes, b.live.start)),
    ("longest first", |b| (usize::MAX - b.live.len(), usize::MAX - b.bytes)),
    ("largest area first", |b| (usize::MAX - b.bytes.saturating_mul(b.live.len()), b.live.start)),
    ("in order of time", |b| (b.live.start, usize::MAX - b.bytes)),
];

/// The size of the arena and the offset of every buffer when they are placed in this order, each in the smallest gap between those
/// placed before it that live at the same time.
fn fit(buffers: &[Buffer], key: &Key) -> (usize, Vec<usize>) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| key(&buffers[i]));
    let mut offsets = vec![0usize; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut peak = 0;
    for &i in &order {
        let own = &buffers[i];
        let meets = |k: &&usize| buffers[**k].live.start < own.live.end && own.live.start < buffers[**k].live.end;
        let mut taken: Vec<Range<usize>> =
            placed.iter().filter(meets).map(|&k| offsets[k]..offsets[k].saturating_add(buffers[k].bytes)).collect();
        taken.sort_unstable_by_key(|range| (range.start, range.end));
        let mut best: Option<(usize, usize)> = None;
        let mut end = 0usize;
        for range in taken {
            let gap = range.start.saturating_sub(end);
            if gap >= own.bytes && best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, end));
            }
            end = end.max(range.end);
        }
        offsets[i] = best.map_or(end, |(_, offset)| offset);
        peak = peak.max(offsets[i].saturating_add(own.bytes));
        placed.push(i);
    }
    (peak, offsets)
}

/// A plan as text, one buffer a line.
pub fn print(graph: &Graph, plan: &MemoryPlan) -> String {
    let mut text = String::new();
    for buffer in &plan.buffers {
        let names: Vec<&str> = buffer.values.iter().map(|&id| graph.value(id).name.as_str()).collect();
        let (live, offset) = (&buffer.live, buffer.offset);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{offset}..{}, steps {}..{}: {}",
            offset.saturating_add(buffer.bytes),
            live.start,
            live.end,
            names.join(", ")
        );
    }
    let _ = writeln!(text, "peak {}, bound {}, sum {}, {}", plan.peak, plan.bound, plan.sum, plan.strategy);
    text
}
