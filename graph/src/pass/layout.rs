//! Transposes stand only where producer and consumer disagree.
//!
//! Operators of windows want channels last; a model may have been written channels first, with a transpose on either side of each. Most
//! operators between them do not care. Nodes that do not care and touch each other form a region; the whole of a region may work in
//! another order of axes, with transposes at its border, where they meet others and vanish. For every region each order that a
//! transpose at its border suggests is tried, and the graph that moves fewer bytes through transposes is kept, until none does. So a
//! transpose that moves past a branch and would come back twice stays where it was. Where as many bytes move either way, transposes
//! stand behind the nodes that do not care, so that these may join the operator before them.
//!
//! ```text
//! // before
//! graph "layout" tflref
//! input %0 "x" f32[1,2,2,3]
//! value %1 "pooled" f32[1,2,1,3]
//! node "pooled" %1 = {"Pool":{"kind":"Max","kernel":[1,2],"stride":[1,2],"dilation":[1,1],"pad":[[0,0],[0,0]],"ceil":false,"count_include_pad":false,"act":"None"}} %0
//! value %2 "first" f32[1,3,2,1]
//! node "first" %2 = {"Transpose":{"perm":[0,3,1,2]}} %1
//! constant %3 "offset" f32[3,1,1] =
//!   | AACAPwAAAEAAAEBA
//! value %4 "shifted" f32[1,3,2,1]
//! node "shifted" %4 = {"Binary":{"kind":"Add","act":"None"}} %2 %3
//! value %5 "rectified" f32[1,3,2,1]
//! node "rectified" %5 = {"Unary":"Relu"} %4
//! value %6 "last" f32[1,2,1,3]
//! node "last" %6 = {"Transpose":{"perm":[0,2,3,1]}} %5
//! value %7 "y" f32[1,1,1,3]
//! node "y" %7 = {"Pool":{"kind":"Max","kernel":[2,1],"stride":[1,1],"dilation":[1,1],"pad":[[0,0],[0,0]],"ceil":false,"count_include_pad":false,"act":"None"}} %6
//! output %7
//! // after
//! graph "layout" tflref
//! input %0 "x" f32[1,2,2,3]
//! value %1 "pooled" f32[1,2,1,3]
//! node "pooled" %1 = {"Pool":{"kind":"Max","kernel":[1,2],"stride":[1,2],"dilation":[1,1],"pad":[[0,0],[0,0]],"ceil":false,"count_include_pad":false,"act":"None"}} %0
//! constant %3 "offset/turned" f32[1,1,1,3] =
//!   | AACAPwAAAEAAAEBA
//! value %4 "shifted/turned" f32[1,2,1,3]
//! node "shifted" %4 = {"Binary":{"kind":"Add","act":"None"}} %1 %3
//! value %5 "rectified/turned" f32[1,2,1,3]
//! node "rectified" %5 = {"Unary":"Relu"} %4
//! value %2 "y" f32[1,1,1,3]
//! node "y" %2 = {"Pool":{"kind":"Max","kernel":[2,1],"stride":[1,1],"dilation":[1,1],"pad":[[0,0],[0,0]],"ceil":false,"count_include_pad":false,"act":"None"}} %5
//! output %2
//! ```

use super::Pass;
use super::rewrite::Rewrite;
use super::simplify::{is_whole, simplify};
use crate::permute::{inverse, is_identity, reordered};
use crate::{Graph, GraphError, Node, ValueId};
use std::collections::{HashMap, HashSet};
use tandem_ops::{Op, Operand, reference};
use tandem_tensor::{Tensor, TensorType};

/// Graphs that are tried; each costs the time of a few passes.
const MAX_TRIES: usize = 400;
/// Nodes of all graphs that are tried, so that a file of very many nodes does not keep the pass busy.
const MAX_NODES: usize = 1 << 21;

/// The pass.
pub(super) const PASS: Pass = Pass {
    name: "layout",
    about: "transposes stand only where producer and consumer disagree",
    exact: true,
    apply: lay_out,
};

/// Nodes that touch each other and do not care about the order of axes.
struct Region {
    nodes: HashSet<usize>,
    /// Orders to try: axis i of a value is axis `perm[i]` of what stands for it.
    orders: Vec<Vec<usize>>,
}

fn lay_out(graph: &Graph) -> Result<Graph, GraphError> {
    let mut best = graph.clone();
    let mut cost = Cost::of(&best);
    let mut tries = MAX_TRIES.min(MAX_NODES / graph.nodes.len().max(1));
    'again: while cost.bytes > 0 {
        for region in regions(&best) {
            for order in &region.orders {
                if tries == 0 {
                    break 'again;
                }
                tries -= 1;
                let Some(turned) = turn(&best, &region.nodes, order) else { continue };
                let turned = simplify(&turned)?;
                let own = Cost::of(&turned);
                if own < cost {
                    (best, cost) = (turned, own);
                    continue 'again;
                }
            }
        }
        break;
    }
    Ok(best)
}

/// What a graph is judged by: first the bytes, then the nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Bytes that go through transposes.
    bytes: usize,
    /// Nodes behind a transpose that would as well stand before it, where they may join the operator that makes its operand.
    behind: usize,
}

impl Cost {
    fn of(graph: &Graph) -> Cost {
        let mut transposed = vec![false; graph.values.len()];
        let mut cost = Cost { bytes: 0, behind: 0 };
        for node in &graph.nodes {
            if matches!(node.op, Op::Transpose { .. }) {
                node.outputs.iter().for_each(|id| transposed[id.0] = true);
                cost.bytes = node.outputs.iter().fold(cost.bytes, |sum, &id| sum.saturating_add(graph.ty(id).bytes()));
            } else if node.inputs.iter().any(|id| transposed[id.0]) && indifferent(graph, node).is_some() {
                cost.behind += 1;
            }
        }
        cost
    }
}

fn regions(graph: &Graph) -> Vec<Region> {
    let free: Vec<Option<usize>> = graph.nodes.iter().map(|node| indifferent(graph, node)).collect();
    let producers = graph.producers();
    let consumers = graph.consumers();
    let mut seen = vec![false; graph.nodes.len()];
    let mut regions = Vec::new();
    for start in 0..graph.nodes.len() {
        let Some(rank) = free[start] else { continue };
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut region = Region { nodes: HashSet::from([start]), orders: Vec::new() };
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            let node = &graph.nodes[at];
            for &id in node.inputs.iter().chain(&node.outputs).filter(|&&id| follows(graph, id, rank)) {
                let touching = producers[id.0].iter().chain(&consumers[id.0]);
                for &neighbour in touching {
                    match &graph.nodes[neighbour.0].op {
                        Op::Transpose { perm } if perm.len() == rank => {
                            let made = producers[id.0] == Some(neighbour);
                            region.suggest(if made { perm.clone() } else { inverse(perm) });
                        }
                        _ if free[neighbour.0] == Some(rank) && !std::mem::replace(&mut seen[neighbour.0], true) => {
                            region.nodes.insert(neighbour.0);
                            open.push(neighbour.0);
                        }
                        _ => {}
                    }
                }
            }
        }
        if !region.orders.is_empty() {
            regions.push(region);
        }
    }
    regions
}

impl Region {
    fn suggest(&mut self, order: Vec<usize>) {
        if !is_identity(&order) && !self.orders.contains(&order) {
            self.orders.push(order);
        }
    }
}

/// True for a value whose axes a region of this rank orders.
fn follows(graph: &Graph, id: ValueId, rank: usize) -> bool {
    let ty = graph.ty(id);
    graph.constant(id).is_none() && ty.shape.rank() == rank && ty.elements() > 1
}

/// The rank of the operands of a node that works in any order of axes; `None` for one that does not.
fn indifferent(graph: &Graph, node: &Node) -> Option<usize> {
    let (&x, &[y]) = (node.inputs.first()?, node.outputs.as_slice()) else { return None };
    let rank = match node.op {
        Op::Reduce { .. } | Op::ArgMax { .. } => graph.ty(x).shape.rank(),
        _ => graph.ty(y).shape.rank(),
    };
    let order: Vec<usize> = (0..rank).collect();
    reordered(&node.op, &order, rank)?;
    let broadcasts = matches!(node.op, Op::Binary { .. } | Op::Where);
    let fits = |slot: usize, id: ValueId| {
        let ty = graph.ty(id);
        let constant = graph.constant(id).is_some();
        let own = ty.shape.rank() == rank || (broadcasts && (ty.elements() == 1 || constant));
        // What padding is made of is a scalar.
        is_whole(ty) && (own || (slot > 0 && matches!(node.op, Op::Pad { .. })))
    };
    let all = node.inputs.iter().enumerate().all(|(slot, &id)| fits(slot, id));
    (all && is_whole(graph.ty(y)) && node.inputs.iter().any(|&id| follows(graph, id, rank))).then_some(rank)
}

/// The graph in which the nodes of a region work on values in another order of axes.
fn turn(graph: &Graph, region: &HashSet<usize>, order: &[usize]) -> Option<Graph> {
    let (mut rewrite, nodes) = Rewrite::new(graph);
    let mut bases: HashMap<ValueId, ValueId> = HashMap::new();
    for (at, mut node) in nodes.into_iter().enumerate() {
        if !region.contains(&at) {
            rewrite.push(node);
            continue;
        }
        let (op, left) = reordered(&node.op, order, order.len())?;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (slot, &id) in node.inputs.iter().enumerate() {
            let scalar = slot > 0 && matches!(op, Op::Pad { .. });
            let kept = scalar || (matches!(op, Op::Binary { .. } | Op::Where) && rewrite.ty(id).elements() == 1);
            inputs.push(if kept { id } else { base(&mut rewrite, &mut bases, id, order)? });
        }
        rewrite.rewire(&mut node, inputs);
        node.op = op;
        let &[y] = node.outputs.as_slice() else { return None };
        if is_identity(&left) {
            rewrite.push(node);
            continue;
        }
        let name = rewrite.graph().value(y).name.clone();
        let Node { name: own, op, inputs, .. } = node;
        let ty = turned_type(rewrite.ty(y), &inverse(&left))?;
        let stands_for = rewrite.insert(&own, op, inputs, &format!("{name}/turned"), ty);
        if left == order {
            bases.insert(y, stands_for);
        }
        let back = Node { name, op: Op::Transpose { perm: left }, inputs: vec![stands_for], outputs: vec![y] };
        rewrite.push(back);
    }
    Some(rewrite.finish())
}

/// What stands for a value in the other order.
fn base(rewrite: &mut Rewrite, bases: &mut HashMap<ValueId, ValueId>, id: ValueId, order: &[usize]) -> Option<ValueId> {
    if let Some(&base) = bases.get(&id) {
        return Some(base);
    }
    let name = format!("{}/turned", rewrite.graph().value(id).name);
    let op = Op::Transpose { perm: inverse(order) };
    let base = match rewrite.constant(id).cloned() {
        Some(constant) => {
            let mut ty = rewrite.ty(id).clone();
            let mut wide = vec![1; order.len().checked_sub(ty.shape.rank())?];
            wide.extend_from_slice(&ty.shape);
            ty.shape = wide.into();
            let constant = Tensor::new(ty.shape.clone(), constant.data().clone()).ok()?;
            let turned = turned_type(&ty, &inverse(order))?;
            let operand = Operand { tensor: &constant, ty: &ty };
            let made = reference(&op, rewrite.graph().arith, &[operand], &[&turned]).ok()?.pop()?;
            rewrite.add_constant(&name, turned, made)
        }
        None => {
            let ty = turned_type(rewrite.ty(id), &inverse(order))?;
            rewrite.insert(&name, op, vec![id], &name, ty)
        }
    };
    bases.insert(id, base);
    Some(base)
}

/// The type of a transposed value without parameters along an axis.
fn turned_type(ty: &TensorType, perm: &[usize]) -> Option<TensorType> {
    let shape: Option<Vec<usize>> = perm.iter().map(|&axis| ty.shape.get(axis).copied()).collect();
    Some(TensorType { dtype: ty.dtype, shape: shape?.into(), quant: ty.quant.clone() })
}
