//! Forms of ONNX files that the real models lack, written in code.

use super::import;
use super::proto::*;
use crate::ImportOptions;
use prost::Message;
use tandem_graph::{Graph, interpret};
use tandem_ops::{Act, Op, UnaryKind};
use tandem_tensor::{DType, Tensor};

/// A model that grows line by line.
#[derive(Clone, Default)]
struct Model {
    graph: GraphProto,
    opset: i64,
}

fn attribute(name: &str, value: impl Into<Value>) -> AttributeProto {
    let mut a = AttributeProto { name: name.into(), ..AttributeProto::default() };
    match value.into() {
        Value::Int(i) => a.i = Some(i),
        Value::Ints(v) => a.ints = v,
        Value::Float(f) => a.f = Some(f),
    }
    a
}

enum Value {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
}

impl From<i64> for Value {
    fn from(v: i64) -> Value {
        Value::Int(v)
    }
}

impl From<f32> for Value {
    fn from(v: f32) -> Value {
        Value::Float(v)
    }
}

impl<const N: usize> From<[i64; N]> for Value {
    fn from(v: [i64; N]) -> Value {
        Value::Ints(v.to_vec())
    }
}

fn info(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&d| DimensionProto { dim_value: Some(d), dim_param: None }).collect();
    let tensor_type = TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        ..Default::default()
    }
}

impl Model {
    fn new() -> Self {
        Self { opset: 21, ..Self::default() }
    }

    fn input(mut self, name: &str, elem_type: i32, dims: &[i64]) -> Self {
        self.graph.input.push(info(name, elem_type, dims));
        self
    }

    fn output(mut self, name: &str) -> Self {
        self.graph.output.push(info(name, 1, &[]));
        self
    }

    fn tensor(mut self, name: &str, data_type: i32, dims: &[i64], raw: Vec<u8>) -> Self {
        let raw_data = Some(raw);
        let tensor = TensorProto { name: name.into(), data_type, dims: dims.to_vec(), raw_data, ..Default::default() };
        self.graph.initializer.push(tensor);
        self
    }

    fn floats(self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.tensor(name, 1, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn ints(self, name: &str, values: &[i64]) -> Self {
        self.tensor(name, 7, &[values.len() as i64], values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn node(mut self, op: &str, inputs: &str, outputs: &str, attributes: Vec<AttributeProto>) -> Self {
        let names = |list: &str| list.split(',').map(str::to_owned).collect();
        let node = NodeProto {
            op_type: op.into(),
            input: if inputs.is_empty() { Vec::new() } else { names(inputs) },
            output: names(outputs),
            attribute: attributes,
            ..NodeProto::default()
        };
        self.graph.node.push(node);
        self
    }

    /// A value of signed codes in steps of `scale`, made real: `name` from `codes`.
    fn real(self, codes: &str, name: &str, scale: f32, zero: i8) -> Self {
        let (s, z) = (format!("{name}_s"), format!("{name}_z"));
        self.floats(&s, &[], &[scale]).tensor(&z, 3, &[], vec![zero as u8]).node(
            "DequantizeLinear",
            &format!("{codes},{s},{z}"),
            name,
            vec![],
        )
    }

    fn codes(self, real: &str, name: &str, scale: f32, zero: i8) -> Self {
        let (s, z) = (format!("{name}_s"), format!("{name}_z"));
        self.floats(&s, &[], &[scale]).tensor(&z, 3, &[], vec![zero as u8]).node(
            "QuantizeLinear",
            &format!("{real},{s},{z}"),
            name,
            vec![],
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let opset = OperatorSetIdProto { domain: String::new(), version: self.opset };
        ModelProto {
            ir_version: Some(9),
            graph: Some(self.graph.clone()),
            opset_import: vec![opset],
            ..Default::default()
        }
        .encode_to_vec()
    }

    fn import(&self) -> Graph {
        import(&self.bytes(), &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"))
    }

    fn refusal(&self) -> String {
        import(&self.bytes(), &ImportOptions::default()).expect_err("the model is wrong").to_string()
    }
}

fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|n| n.op.name()).collect()
}

fn ramp(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7 + 3) % 11) as f32 * 0.25 - 1.0).collect()
}

fn image(channels: i64) -> Model {
    Model::new().input("x", 1, &[1, channels, 4, 4])
}

#[test]
fn a_truncated_file_is_refused_with_its_offset() {
    let model = image(2).floats("w", &[2, 2, 1, 1], &ramp(4)).node("Conv", "x,w", "y", vec![]).output("y");
    let bytes = model.bytes();
    let text = import(&bytes[..bytes.len() - 9], &ImportOptions::default()).unwrap_err().to_string();
    assert!(text.contains("byte 4") && text.contains("truncated"), "{text}");
}

#[test]
fn a_cycle_is_refused_with_its_node() {
    let model = image(1).node("Add", "x,b", "a", vec![]).node("Relu", "a", "b", vec![]).output("b");
    let text = model.refusal();
    assert!(text.contains("acyclic") && text.contains("'b'"), "{text}");
}

#[test]
fn a_missing_initialiser_is_refused_by_name() {
    let text = image(1).node("Conv", "x,lost", "y", vec![]).output("y").refusal();
    assert!(text.contains("'lost'") && text.contains("incomplete"), "{text}");
}

#[test]
fn an_unknown_operator_matters_only_where_the_result_needs_it() {
    let model = image(1).node("Relu", "x", "y", vec![]).node("Whatever", "x", "z", vec![]);
    assert_eq!(ops(&model.clone().output("y").import()), ["relu"]);
    let text = model.output("z").refusal();
    assert!(text.contains("operator Whatever of node 'z'") && !text.contains('\n'), "{text}");
}

#[test]
fn scales_that_are_no_positive_numbers_are_refused() {
    for scale in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        let text = Model::new().input("q", 3, &[4]).real("q", "y", scale, 0).output("y").refusal();
        assert!(text.contains("finite and positive"), "{text}");
    }
}

#[test]
fn absurd_extents_are_refused() {
    let huge = Model::new().input("x", 1, &[1 << 31, 1 << 31]).node("Relu", "x", "y", vec![]).output("y");
    assert!(huge.refusal().contains("larger than Tandem takes"));
    let negative = Model::new().input("x", 1, &[-7]).node("Relu", "x", "y", vec![]).output("y");
    assert!(negative.refusal().contains("negative"));
    let grown =
        Model::new().input("x", 1, &[1]).ints("s", &[1 << 31, 1 << 31]).node("Expand", "x,s", "y", vec![]).output("y");
    assert!(grown.refusal().contains("absurd"));
    let wide = image(1).node("MaxPool", "x", "y", vec![attribute("kernel_shape", [i64::MAX, i64::MAX])]).output("y");
    assert!(!wide.refusal().contains('\n'));
}

#[test]
fn an_old_opset_is_refused_with_a_remedy() {
    let mut model = image(1).node("Relu", "x", "y", vec![]).output("y");
    model.opset = 6;
    assert!(model.refusal().contains("version_converter"));
}

#[test]
fn two_makers_of_a_name_are_refused() {
    let text = image(1).node("Relu", "x", "y", vec![]).node("Abs", "x", "y", vec![]).output("y").refusal();
    assert!(text.contains("one maker"), "{text}");
}

#[test]
fn data_in_another_file_is_refused() {
    let mut model = image(1).floats("w", &[1], &[1.0]).node("Mul", "x,w", "y", vec![]).output("y");
    model.graph.initializer[0].data_location = Some(1);
    assert!(model.refusal().contains("inside the .onnx file"));
}

#[test]
fn constants_out_of_proportion_to_the_file_are_refused() {
    let mut model = Model::new().input("x", 7, &[1]);
    let mut sum = "x".to_owned();
    let limits = [0i64, 900_000, 1].map(|v| v.to_le_bytes().to_vec());
    for (name, raw) in ["start", "limit", "delta"].into_iter().zip(limits) {
        model = model.tensor(name, 7, &[], raw);
    }
    for i in 0..8 {
        let (range, next) = (format!("r{i}"), format!("y{i}"));
        model = model.node("Range", "start,limit,delta", &range, vec![]);
        model = model.node("Add", &format!("{sum},{range}"), &next, vec![]);
        sum = next;
    }
    assert!(model.output(&sum).refusal().contains("out of proportion"));
}

#[test]
fn a_shape_that_a_subgraph_computes_is_folded() {
    let graph = image(3)
        .ints("zero", &[0])
        .ints("rest", &[-1])
        .node("Shape", "x", "s", vec![])
        .node("Gather", "s,zero", "n", vec![])
        .node("Concat", "n,rest", "t", vec![attribute("axis", 0i64)])
        .node("Reshape", "x,t", "y", vec![])
        .output("y")
        .import();
    assert_eq!(ops(&graph), ["reshape"]);
    assert_eq!(graph.ty(graph.outputs[0]).shape.0, [1, 48]);
}

#[test]
fn an_operand_that_decides_shapes_is_asked_for_by_name() {
    let model = image(1).input("target", 7, &[2]).node("Reshape", "x,target", "y", vec![]).output("y");
    assert!(model.refusal().contains("give 'target' as a constant"));
    let mut options = ImportOptions::default();
    options.constants.insert("target".into(), Tensor::from_vec([2], vec![4i64, 4]).unwrap());
    let graph = import(&model.bytes(), &options).unwrap();
    assert_eq!(graph.inputs.len(), 1);
}

#[test]
fn symbols_take_their_extents_from_the_options() {
    let mut model = image(1).node("Relu", "x", "y", vec![]).output("y");
    let ty = model.graph.input[0].r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).unwrap();
    ty.shape.as_mut().unwrap().dim[0] = DimensionProto { dim_value: None, dim_param: Some("batch".into()) };
    ty.shape.as_mut().unwrap().dim[3] = DimensionProto::default();
    assert_eq!(model.import().ty(model.import().inputs[0]).shape.0, [1, 1, 4, 1]);
    let dims = [("batch".to_owned(), 5), ("x[3]".to_owned(), 6)].into();
    let graph = import(&model.bytes(), &ImportOptions { dims, ..ImportOptions::default() }).unwrap();
    assert_eq!(graph.ty(graph.inputs[0]).shape.0, [5, 1, 4, 6]);
}

#[test]
fn outputs_that_are_one_value_get_one_each_under_their_own_names() {
    let graph = image(1)
        .node("Relu", "x", "a", vec![])
        .node("Identity", "a", "b", vec![])
        .node("Identity", "x", "c", vec![])
        .output("a")
        .output("b")
        .output("c")
        .import();
    let names: Vec<&str> = graph.outputs.iter().map(|&id| graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_cut_makes_an_inner_tensor_the_output() {
    let model = image(1).node("Relu", "x", "a", vec![]).node("Nonsense", "a", "y", vec![]).output("y");
    let options = ImportOptions { cut_at: Some("a".into()), ..ImportOptions::default() };
    assert_eq!(ops(&import(&model.bytes(), &options).unwrap()), ["relu"]);
    let options = ImportOptions { cut_at: Some("b".into()), ..ImportOptions::default() };
    assert!(import(&model.bytes(), &options).unwrap_err().to_string().contains("'b'"));
}

/// A residual block with a squeeze-and-excitation branch, a concatenation, a padding and a mean.
fn block() -> Model {
    let same = || vec![attribute("pads", [1, 1, 1, 1])];
    image(2)
        .floats("w1", &[4, 2, 3, 3], &ramp(72))
        .floats("w2", &[4, 4, 3, 3], &ramp(144))
        .floats("w3", &[4, 4, 1, 1], &ramp(16))
        .floats("slope", &[4, 1, 1], &ramp(4))
        .ints("pads", &[0, 0, 1, 0, 0, 0, 0, 1])
        .ints("axes", &[2, 3])
        .node("Conv", "x,w1", "a", same())
        .node("PRelu", "a,slope", "b", vec![])
        .node("Conv", "b,w2", "c", same())
        .node("GlobalAveragePool", "c", "d", vec![])
        .node("Conv", "d,w3", "e", vec![])
        .node("HardSigmoid", "e", "f", vec![])
        .node("Mul", "c,f", "g", vec![])
        .node("Add", "g,b", "h", vec![])
        .node("Concat", "h,a", "i", vec![attribute("axis", 1i64)])
        .node("Pad", "i,pads", "j", vec![])
        .node("Softmax", "j", "k", vec![attribute("axis", 1i64)])
        .node("ReduceMean", "k,axes", "y", vec![attribute("keepdims", 0i64)])
        .output("y")
}

#[test]
fn a_block_of_convolutions_needs_one_transposition_at_its_input() {
    let graph = block().import();
    assert_eq!(ops(&graph).iter().filter(|o| **o == "transpose").count(), 1);
    assert_eq!(graph.nodes[0].op, Op::Transpose { perm: vec![0, 2, 3, 1] });
}

#[test]
fn moving_transpositions_does_not_change_the_result() {
    let x = Tensor::from_vec([1, 2, 4, 4], ramp(32)).unwrap();
    let model = block();
    let moved = model.import();
    let arith = tandem_ops::Arith::Xnnpack;
    let decoded = super::decode(&model.bytes()).unwrap();
    let plain = super::model::lower(&decoded, &ImportOptions::default(), arith, 1 << 20).unwrap();
    assert!(ops(&plain).iter().filter(|o| **o == "transpose").count() > 4);
    let run = |g: &Graph| interpret(g, std::slice::from_ref(&x)).unwrap()[0].to_f64();
    for (a, b) in run(&moved).into_iter().zip(run(&plain)) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn a_flattened_transposition_moves_into_the_dense_layer() {
    let model = image(2)
        .floats("w", &[3, 2, 1, 1], &ramp(6))
        .floats("m", &[48, 2], &ramp(96))
        .node("Conv", "x,w", "a", vec![])
        .node("Flatten", "a", "b", vec![])
        .node("MatMul", "b,m", "y", vec![])
        .output("y");
    assert_eq!(ops(&model.import()), ["transpose", "conv", "reshape", "dense"]);
    let ones = Tensor::from_vec([1, 2, 4, 4], ramp(32)).unwrap();
    let found = interpret(&model.import(), std::slice::from_ref(&ones)).unwrap()[0].to_f64();
    let (x, w, m) = (ramp(32), ramp(6), ramp(96));
    for (o, value) in found.into_iter().enumerate() {
        let at = |c: usize, p: usize| x[p] * w[c * 2] + x[16 + p] * w[c * 2 + 1];
        let wanted: f32 = (0..48).map(|k| at(k / 16, k % 16) * m[k * 2 + o]).sum();
        assert!((value - f64::from(wanted)).abs() < 1e-4, "{value} {wanted}");
    }
}

#[test]
fn normalisation_and_activation_join_their_convolution() {
    let graph = image(2)
        .floats("w", &[3, 2, 1, 1], &ramp(6))
        .floats("scale", &[3], &[1.0, 2.0, 3.0])
        .floats("shift", &[3], &[0.5, 0.0, -0.5])
        .floats("mean", &[3], &[0.1, 0.2, 0.3])
        .floats("variance", &[3], &[1.0, 4.0, 9.0])
        .node("Conv", "x,w", "a", vec![])
        .node("BatchNormalization", "a,scale,shift,mean,variance", "b", vec![])
        .node("Relu", "b", "y", vec![])
        .output("y")
        .import();
    assert_eq!(ops(&graph), ["transpose", "conv", "transpose"]);
    let Op::Conv(conv) = &graph.nodes[1].op else { panic!("a convolution") };
    assert_eq!((conv.act, graph.nodes[1].inputs.len()), (Act::Relu, 3));
}

#[test]
fn softmax_before_opset_13_joins_the_axes_behind_its_own() {
    let mut model = Model::new().input("x", 1, &[2, 2, 2]).node("Softmax", "x", "y", vec![]).output("y");
    model.opset = 11;
    let x = Tensor::from_vec([2, 2, 2], vec![0f32; 8]).unwrap();
    assert_eq!(interpret(&model.import(), std::slice::from_ref(&x)).unwrap()[0].to_f64(), [0.25; 8]);
    model.opset = 13;
    assert_eq!(interpret(&model.import(), &[x]).unwrap()[0].to_f64(), [0.5; 8]);
}

/// A quantised convolution of one channel by `weight`, whose operands and result are given by the caller.
fn quantised(act: Option<(&str, &[(&str, f32)])>) -> Model {
    let mut model = Model::new()
        .input("q", 3, &[1, 1, 2, 2])
        .real("q", "x", 0.5, 0)
        .tensor("wq", 3, &[1, 1, 1, 1], vec![3])
        .real("wq", "w", 0.25, 0)
        .floats("bias", &[1], &[1.0])
        .node("Conv", "x,w,bias", "a", vec![]);
    let mut last = "a";
    if let Some((op, bounds)) = act {
        let mut inputs = vec!["a".to_owned()];
        for (name, value) in bounds {
            model = model.floats(name, &[], &[*value]);
            inputs.push((*name).to_owned());
        }
        model = model.node(op, &inputs.join(","), "b", vec![]);
        last = "b";
    }
    model.codes(last, "y", 0.125, -128).output("y")
}

#[test]
fn a_real_bias_counts_in_steps_of_both_scales() {
    let graph = quantised(None).import();
    assert_eq!(ops(&graph), ["reshape", "conv", "reshape"]);
    let bias = graph.constant(graph.nodes[1].inputs[2]).unwrap();
    assert_eq!(bias.as_slice::<i32>().unwrap(), [8]);
    let q = Tensor::from_vec([1, 1, 2, 2], vec![0i8, 1, 2, -128]).unwrap();
    // (0.5 q * 0.75 + 1) / 0.125 - 128
    assert_eq!(interpret(&graph, &[q]).unwrap()[0].as_slice::<i8>().unwrap(), [-120, -117, -114, -128]);
}

#[test]
fn a_clip_that_the_codes_make_anyway_is_none_and_another_one_stays() {
    let loose = quantised(Some(("Clip", &[("low", 0.0), ("high", 100.0)]))).import();
    assert_eq!(ops(&loose), ["reshape", "conv", "reshape"]);
    let tight = quantised(Some(("Clip", &[("low", 0.0), ("high", 6.0)]))).import();
    let Op::Conv(conv) = &tight.nodes[1].op else { panic!("a convolution") };
    assert_eq!(conv.act, Act::Relu6);
    let odd = quantised(Some(("Clip", &[("low", 0.0), ("high", 7.0)]))).import();
    assert!(ops(&odd).contains(&"quantize"), "{:?}", ops(&odd));
    let clips = |n: &tandem_graph::Node| matches!(n.op, Op::Unary(UnaryKind::Clip { .. }));
    assert!(odd.nodes.iter().any(clips));
}

#[test]
fn unsigned_weights_become_signed_with_their_zero_point() {
    let mut model = quantised(None);
    for tensor in &mut model.graph.initializer {
        match tensor.name.as_str() {
            "wq" => (tensor.data_type, tensor.raw_data) = (2, Some(vec![131])),
            "w_z" => (tensor.data_type, tensor.raw_data) = (2, Some(vec![128])),
            _ => {}
        }
    }
    let (graph, signed) = (model.import(), quantised(None).import());
    let weights = graph.value(graph.nodes[1].inputs[1]);
    assert_eq!((weights.ty.dtype, weights.ty.quant.as_ref().unwrap().zero_point()), (DType::I8, 0));
    let q = Tensor::from_vec([1, 1, 2, 2], vec![5i8, -6, 70, 8]).unwrap();
    let run = |g: &Graph| interpret(g, std::slice::from_ref(&q)).unwrap();
    assert_eq!(run(&graph), run(&signed));
}

#[test]
fn parts_of_a_concatenation_come_to_its_scale() {
    let graph = Model::new()
        .input("p", 3, &[1, 2])
        .input("q", 3, &[1, 2])
        .real("p", "a", 0.5, 0)
        .real("q", "b", 0.25, 4)
        .node("Concat", "a,b", "c", vec![attribute("axis", 1i64)])
        .codes("c", "y", 0.5, 0)
        .output("y")
        .import();
    assert_eq!(ops(&graph), ["requantize", "concat"]);
    let part = |v: Vec<i8>| Tensor::from_vec([1, 2], v).unwrap();
    let found = interpret(&graph, &[part(vec![1, 2]), part(vec![8, 104])]).unwrap();
    assert_eq!(found[0].as_slice::<i8>().unwrap(), [1, 2, 2, 50]);
}

#[test]
fn a_padding_of_reals_is_one_of_codes() {
    let graph = Model::new()
        .input("q", 3, &[2])
        .real("q", "x", 0.5, 3)
        .ints("pads", &[1, 1])
        .floats("value", &[], &[2.0])
        .node("Pad", "x,pads,value", "a", vec![])
        .codes("a", "y", 0.5, 3)
        .output("y")
        .import();
    assert_eq!(ops(&graph), ["pad"]);
    let q = Tensor::from_vec([2], vec![1i8, 2]).unwrap();
    assert_eq!(interpret(&graph, &[q]).unwrap()[0].as_slice::<i8>().unwrap(), [7, 1, 2, 7]);
}

#[test]
fn codes_that_are_only_moved_keep_their_meaning() {
    let graph = Model::new()
        .input("q", 3, &[1, 2, 2, 3])
        .node("Transpose", "q", "t", vec![attribute("perm", [0, 3, 1, 2])])
        .real("t", "x", 0.5, 3)
        .tensor("wq", 3, &[3, 1, 1, 1], vec![1, 2, 3])
        .real("wq", "w", 0.25, 0)
        .node("Conv", "x,w", "a", vec![attribute("group", 3i64)])
        .codes("a", "y", 0.5, 0)
        .output("y")
        .import();
    assert_eq!(ops(&graph), ["conv", "transpose"]);
    assert!(graph.ty(graph.inputs[0]).quant.is_some());
}

#[test]
fn one_constant_read_with_two_scales_becomes_two() {
    let graph = Model::new()
        .input("x", 1, &[2])
        .tensor("c", 3, &[2], vec![2, 4])
        .real("c", "a", 0.5, 0)
        .real("c", "b", 2.0, 0)
        .node("Add", "x,a", "s", vec![])
        .node("Mul", "s,b", "y", vec![attribute("unused", 1.0f32)])
        .output("y")
        .import();
    let x = Tensor::from_vec([2], vec![0f32, 0.0]).unwrap();
    assert_eq!(interpret(&graph, &[x]).unwrap()[0].to_f64(), [4.0, 16.0]);
}

#[test]
fn activations_that_are_spelled_out_become_one_operator() {
    let base = || image(1).floats("three", &[], &[3.0]).floats("six", &[], &[6.0]).floats("zero", &[], &[0.0]);
    let clipped = || base().node("Add", "x,three", "a", vec![]).node("Clip", "a,zero,six", "b", vec![]);
    let forms = [
        clipped().node("Mul", "x,b", "c", vec![]).node("Div", "c,six", "y", vec![]),
        clipped().node("Div", "b,six", "c", vec![]).node("Mul", "c,x", "y", vec![]),
        base().node("HardSigmoid", "x", "a", vec![attribute("alpha", 1.0f32 / 6.0)]).node("Mul", "x,a", "y", vec![]),
    ];
    for form in forms {
        assert_eq!(ops(&form.output("y").import()), ["hard_swish"]);
    }
    let swish = base().node("Sigmoid", "x", "a", vec![]).node("Mul", "a,x", "y", vec![]).output("y");
    assert_eq!(ops(&swish.import()), ["swish"]);
    // A gate of another value, another slope, or one that somebody else reads stays.
    let other = clipped().node("Mul", "x,b", "c", vec![]).node("Div", "c,three", "y", vec![]).output("y");
    assert!(!ops(&other.import()).contains(&"hard_swish"));
    let shared = base().node("Sigmoid", "x", "a", vec![]).node("Mul", "a,x", "y", vec![]).output("y").output("a");
    assert_eq!(ops(&shared.import()), ["sigmoid", "mul"]);
}

#[test]
fn integers_without_a_zero_point_stay_bytes() {
    let weights: Vec<u8> = [3i8, -1, 2, -128, 7, 0].map(|w| w as u8).to_vec();
    let product = |inputs: &str| {
        Model::new()
            .input("x", 3, &[1, 2, 3])
            .tensor("w", 3, &[3, 2], weights.clone())
            .tensor("none", 3, &[], vec![0])
            .tensor("some", 3, &[], vec![2])
            .node("MatMulInteger", inputs, "y", vec![])
            .output("y")
            .import()
    };
    let x = Tensor::from_vec([1, 2, 3], vec![1i8, -128, 127, 5, 6, -7]).unwrap();
    let run = |graph: &Graph| interpret(graph, std::slice::from_ref(&x)).unwrap().remove(0);
    for inputs in ["x,w", "x,w,none", "x,w,none,none"] {
        let graph = product(inputs);
        assert_eq!(ops(&graph), ["dense"], "{inputs}");
        assert_eq!(run(&graph).as_slice::<i32>().unwrap(), [636, 16383, -22, -773], "{inputs}");
    }
    // Less 2 there are more than bytes.
    let graph = product("x,w,some");
    assert!(ops(&graph).contains(&"sub"), "{:?}", ops(&graph));
    assert_eq!(run(&graph).as_slice::<i32>().unwrap(), [636 - 24, 16383 + 258, -22 - 24, -773 + 258]);

    let conv = Model::new()
        .input("x", 3, &[1, 1, 2, 2])
        .tensor("w", 3, &[1, 1, 2, 2], vec![1, 2, 3, 4])
        .node("ConvInteger", "x,w", "y", vec![attribute("pads", [1, 1, 0, 0])])
        .output("y")
        .import();
    assert_eq!(ops(&conv).iter().filter(|op| **op == "conv").count(), 1);
    let x = Tensor::from_vec([1, 1, 2, 2], vec![-128i8, 1, 2, 3]).unwrap();
    let found = interpret(&conv, &[x]).unwrap().remove(0);
    assert_eq!(found.as_slice::<i32>().unwrap(), [-512, -380, -248, -108]);
}
