//! A graph of 8-bit kernels in one arena.

use crate::interpret::{Kernels, check_inputs};
use crate::pass::memory::{self, Options};
use crate::{Graph, GraphError, Node, NodeId, Value, ValueId};
use std::ops::Range;
use tandem_ops::{Prepared, code_bytes};
use tandem_tensor::{DType, Tensor, TensorError, TensorType};

/// Bytes of a cache line, at which every value begins.
const LINE: usize = 64;

/// A graph of which every node has a prepared kernel or only gives codes another shape.
///
/// The places of all values in one arena are planned once, so that a run neither allocates nor copies what lies between its inputs
/// and its outputs.
pub struct Compiled {
    inputs: Vec<Value>,
    steps: Vec<Step>,
    outputs: Vec<(Place, TensorType)>,
    arena: Vec<u8>,
    /// Where the arena's first cache line begins.
    first: usize,
}

/// A node.
struct Step {
    name: String,
    op: &'static str,
    /// None of a node that leaves codes where they are.
    kernel: Option<Prepared>,
    inputs: Vec<Place>,
    result: Range<usize>,
}

/// Where codes lie.
#[derive(Clone)]
enum Place {
    /// In an input of the graph.
    Input(usize),
    Arena(Range<usize>),
}

impl Compiled {
    /// The graph that the kernels were prepared for, which is verified.
    ///
    /// # Errors
    /// The kernels, where a node has none or an output is no result of a node.
    pub fn new(graph: &Graph, kernels: Kernels) -> Result<Compiled, Kernels> {
        let plan = memory::plan(graph, &Options { align: LINE, in_place: false, interface: true });
        let mut planned: Vec<Option<Range<usize>>> = vec![None; graph.values.len()];
        for buffer in &plan.buffers {
            for id in &buffer.values {
                planned[id.0] = buffer.offset.checked_add(graph.ty(*id).bytes()).map(|end| buffer.offset..end);
            }
        }
        let Some((places, outputs)) = places(graph, &kernels, &planned) else { return Err(kernels) };
        let place = |id: &ValueId| places[id.0].clone();
        let steps = graph.nodes.iter().zip(kernels.into_list()).map(|(node, kernel)| {
            let count = kernel.as_ref().map_or(0, Prepared::inputs);
            let result = node.outputs.first().and_then(place);
            Step {
                name: node.name.clone(),
                op: node.op.name(),
                inputs: node.inputs.iter().take(count).filter_map(place).collect(),
                result: if let Some(Place::Arena(range)) = result { range } else { 0..0 },
                kernel,
            }
        });
        let steps = steps.collect();
        let arena = vec![0; plan.peak + LINE];
        let first = arena.as_ptr().align_offset(LINE).min(LINE);
        let inputs = graph.inputs.iter().map(|&id| graph.value(id).clone()).collect();
        Ok(Compiled { inputs, steps, outputs, arena, first })
    }

    /// The graph's outputs for these inputs: those of [`Interpreter::run`](crate::Interpreter::run).
    ///
    /// # Errors
    /// When inputs do not fit.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, GraphError> {
        self.run_observed(inputs, |_| {})
    }

    /// As [`Compiled::run`]; `observe` is told of every node that has run.
    ///
    /// # Errors
    /// When inputs do not fit.
    pub fn run_observed(
        &mut self,
        inputs: &[Tensor],
        mut observe: impl FnMut(NodeId),
    ) -> Result<Vec<Tensor>, GraphError> {
        check_inputs(self.inputs.iter(), inputs)?;
        let arena = &mut self.arena[self.first..];
        for (at, step) in self.steps.iter().enumerate() {
            if let Some(kernel) = &step.kernel {
                let (before, rest) = arena.split_at_mut(step.result.start);
                let (result, behind) = rest.split_at_mut(step.result.len());
                let codes = |place: &Place| match place {
                    Place::Input(input) => code_bytes(&inputs[*input]),
                    Place::Arena(range) if range.end <= step.result.start => &before[range.clone()],
                    Place::Arena(range) => &behind[range.start - step.result.end..range.end - step.result.end],
                };
                let done = match step.inputs.as_slice() {
                    [x] => kernel.write(&[codes(x)], result),
                    [a, b] => kernel.write(&[codes(a), codes(b)], result),
                    more => kernel.write(&more.iter().map(codes).collect::<Vec<_>>(), result),
                };
                done.map_err(|source| GraphError::Op { node: step.name.clone(), op: step.op, source })?;
            }
            observe(NodeId(at));
        }
        let output = |(place, ty): &(Place, TensorType)| {
            let codes = match place {
                Place::Input(input) => code_bytes(&inputs[*input]),
                Place::Arena(range) => &arena[range.clone()],
            };
            let malformed =
                |e: TensorError| GraphError::Malformed { place: "an output".into(), problem: e.to_string() };
            Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), codes).map_err(malformed)
        };
        self.outputs.iter().map(output).collect()
    }
}

/// Where every value lies that is no constant, and the outputs; `None` where not all of the graph can run in an arena.
#[allow(clippy::type_complexity, reason = "the caller takes it apart")]
fn places(
    graph: &Graph,
    kernels: &Kernels,
    planned: &[Option<Range<usize>>],
) -> Option<(Vec<Option<Place>>, Vec<(Place, TensorType)>)> {
    let mut places: Vec<Option<Place>> = vec![None; graph.values.len()];
    for (at, id) in graph.inputs.iter().enumerate() {
        places[id.0] = Some(Place::Input(at));
    }
    for (node, kernel) in graph.nodes.iter().zip(kernels.list()) {
        let &[result] = node.outputs.as_slice() else { return None };
        let Some(kernel) = kernel else {
            if !keeps_codes(graph, node) {
                return None;
            }
            places[result.0] = places[node.inputs.first()?.0].clone();
            places[result.0].as_ref()?;
            continue;
        };
        let own = planned[result.0].clone()?;
        for id in node.inputs.iter().take(kernel.inputs()) {
            if let Place::Arena(range) = places[id.0].as_ref()?
                && range.start < own.end
                && own.start < range.end
            {
                return None;
            }
        }
        places[result.0] = Some(Place::Arena(own));
    }
    let output = |id: &ValueId| {
        let ty = graph.ty(*id);
        matches!(ty.dtype, DType::I8 | DType::U8).then_some((places[id.0].clone()?, ty.clone()))
    };
    let outputs = graph.outputs.iter().map(output).collect::<Option<Vec<_>>>()?;
    Some((places, outputs))
}

/// Whether a node's result has the codes of its operand in the same order.
fn keeps_codes(graph: &Graph, node: &Node) -> bool {
    let (Some(&x), Some(&y)) = (node.inputs.first(), node.outputs.first()) else { return false };
    let (x, y) = (graph.ty(x), graph.ty(y));
    node.op.is_alias() && (x.dtype, x.elements(), &x.quant) == (y.dtype, y.elements(), &y.quant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{chain, layered};
    use crate::{interpret, parse};
    use proptest::prelude::*;
    use tandem_ops::def::Random;

    fn inputs(graph: &Graph, random: &mut Random) -> Vec<Tensor> {
        let mut tensor = |ty: &TensorType| {
            let codes: Vec<u8> = (0..ty.elements()).map(|_| random.bits() as u8).collect();
            Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), &codes).unwrap()
        };
        graph.inputs.iter().map(|&id| tensor(graph.ty(id))).collect()
    }

    /// Whether the graph compiles; where it does, several runs give what the reference kernels give.
    fn agrees(graph: &Graph, seed: u64) -> bool {
        let Ok(mut compiled) = Compiled::new(graph, Kernels::new(graph)) else { return false };
        let mut random = Random::new(seed);
        for _ in 0..3 {
            let inputs = inputs(graph, &mut random);
            assert_eq!(compiled.run(&inputs).unwrap(), interpret(graph, &inputs).unwrap(), "{}", crate::print(graph));
        }
        true
    }

    #[test]
    fn codes_pass_through_shapes_and_sums_as_the_reference_kernels_have_them() {
        let text = r#"graph "g" tflref
input %0 "x" i8[2,6] quant 0.5:0
value %1 "flat" i8[12] quant 0.5:0
node "flat" %1 = {"Reshape":{"shape":[12]}} %0
value %2 "twice" i8[12] quant 0.7:3
node "twice" %2 = {"Binary":{"kind":"Add","act":"None"}} %1 %1
value %3 "line" i8[1,12] quant 0.7:3
node "line" %3 = {"Reshape":{"shape":[1,12]}} %2
value %4 "less" i8[1,12] quant 0.4:-9
node "less" %4 = {"Binary":{"kind":"Sub","act":"None"}} %3 %3
value %5 "all" i8[1,12] quant 0.00390625:-128
node "all" %5 = {"Softmax":{"axis":1,"beta":1.0,"log":false}} %4
output %5 %3 %1
"#;
        assert!(agrees(&parse(text).unwrap(), 5));
    }

    #[test]
    fn a_graph_with_another_operator_keeps_its_kernels_and_bad_inputs_are_refused() {
        let mut graph = chain();
        assert!(Compiled::new(&graph, Kernels::new(&graph)).is_err());
        graph.nodes.pop();
        assert!(agrees(&graph, 1));
        let mut compiled = Compiled::new(&graph, Kernels::new(&graph)).ok().unwrap();
        assert!(compiled.run(&[]).unwrap_err().to_string().contains("1 inputs but 0"));
        let other = Tensor::from_vec([1, 3], vec![1i8, 2, 3]).unwrap();
        assert!(compiled.run(&[other]).unwrap_err().to_string().contains("input 'x'"));
    }

    proptest! {
        #[test]
        fn what_compiles_gives_the_codes_of_the_reference_kernels(seed in any::<u64>(), nodes in 1usize..12) {
            agrees(&layered(seed, true, nodes), seed);
        }
    }
}
