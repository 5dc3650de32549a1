//! Forms of TFLite files: old and new, hybrid, incomplete, and wrong in ways that must be named.

#[path = "data/writer.rs"]
mod writer;

use tandem_graph::Graph;
use tandem_import::{ImportOptions, import};
use tandem_ops::Op;
use tandem_tensor::{DType, Tensor};
use writer::{F32, Field, I8, ModelSpec};

const ADD: i32 = 0;
const CONV_2D: i32 = 3;
const DEPTHWISE_CONV_2D: i32 = 4;
const DEQUANTIZE: i32 = 6;
const FULLY_CONNECTED: i32 = 9;
const RELU: i32 = 19;
const RESHAPE: i32 = 22;
const CUSTOM: i32 = 32;
const STRIDED_SLICE: i32 = 45;
const TOPK_V2: i32 = 48;
const SHAPE: i32 = 77;
const GELU: i32 = 150;

fn options() -> ImportOptions {
    ImportOptions::default()
}

fn graph(model: &ModelSpec) -> Graph {
    import(&model.bytes(), &options()).unwrap_or_else(|e| panic!("{e}"))
}

fn refusal(model: &ModelSpec) -> String {
    import(&model.bytes(), &options()).expect_err("the model is wrong").to_string()
}

/// x -> RELU -> y, floats.
fn relu() -> ModelSpec {
    let mut m = ModelSpec::default();
    let (x, y) = (m.tensor("x", F32, &[1, 4]), m.tensor("y", F32, &[1, 4]));
    m.op(RELU, &[x], &[y], &[]);
    (m.inputs, m.outputs) = (vec![x], vec![y]);
    m
}

/// A float convolution of 3x3 with SAME padding, stride 2 and one channel; `kernel` names its operator.
fn conv(size: [i32; 2], quant: Option<writer::Quant>) -> ModelSpec {
    let mut m = ModelSpec::default();
    let x = m.tensor("x", F32, &[1, size[0], size[1], 1]);
    let w = match quant {
        Some(q) => {
            let w = m.quantized("w", &[2, 3, 3, 1], q);
            m.at(w).data = Some((0..18).collect());
            w
        }
        None => m.floats("w", &[2, 3, 3, 1], &[0.5; 18]),
    };
    let y = m.tensor("y", F32, &[1, (size[0] + 1) / 2, (size[1] + 1) / 2, 2]);
    let stride = [(0, Field::I8(0)), (1, Field::I32(2)), (2, Field::I32(2))];
    m.op(CONV_2D, &[x, w, -1], &[y], &stride);
    (m.inputs, m.outputs) = (vec![x], vec![y]);
    m
}

#[test]
fn an_unknown_operator_only_matters_where_the_result_needs_it() {
    let mut m = relu();
    let (v, i) = (m.tensor("values", F32, &[1, 1]), m.tensor("indices", writer::I32, &[1, 1]));
    let k = m.ints("k", &[1]);
    m.op(TOPK_V2, &[0, k], &[v, i], &[]);
    assert_eq!(graph(&m).nodes.len(), 1);
    m.outputs.push(v);
    let text = refusal(&m);
    assert!(text.contains("TOPK_V2") && text.contains("'values'") && text.contains("CONV_2D"), "{text}");
}

#[test]
fn a_custom_operator_is_refused_by_its_own_name() {
    let mut m = relu();
    m.ops[0].code = (CUSTOM as i8, CUSTOM);
    m.ops[0].custom = Some("TFLite_Detection_PostProcess".into());
    let text = refusal(&m);
    assert!(text.contains("CUSTOM TFLite_Detection_PostProcess") && text.contains("'y'"), "{text}");
}

#[test]
fn old_and_new_operator_codes_are_read() {
    let mut m = relu();
    m.ops[0].code = (RELU as i8, 0);
    assert_eq!(graph(&m).nodes[0].op.name(), "relu");
    m.ops[0].code = (127, GELU);
    assert_eq!(graph(&m).nodes[0].op.name(), "gelu");
    m.ops[0].code = (0, 4000);
    assert!(refusal(&m).contains("number 4000"));
}

#[test]
fn same_padding_puts_the_odd_pixel_behind() {
    let pad = |size| match &graph(&conv(size, None)).nodes[0].op {
        Op::Conv(c) => c.pad.clone(),
        other => panic!("{}", other.name()),
    };
    assert_eq!(pad([8, 7]), [(0, 1), (1, 1)]);
    assert_eq!(pad([1, 2]), [(1, 1), (0, 1)]);
}

#[test]
fn quantised_weights_of_a_float_convolution_become_reals() {
    let g = graph(&conv([5, 5], Some((vec![0.5, 0.25], vec![0, 1], 0))));
    assert_eq!(g.nodes.len(), 1);
    let w = g.constant(g.nodes[0].inputs[1]).expect("folded");
    let w = w.as_slice::<f32>().unwrap();
    assert_eq!((w[3], w[17]), (1.5, 4.0));
}

#[test]
fn constants_behind_dequantize_are_folded() {
    let mut m = ModelSpec::default();
    let (x, y) = (m.tensor("x", F32, &[1, 2]), m.tensor("y", F32, &[1, 2]));
    let q = m.quantized("q", &[2], (vec![0.5], vec![1], 0));
    m.at(q).data = Some(vec![3, 255]);
    let r = m.tensor("r", F32, &[2]);
    m.op(DEQUANTIZE, &[q], &[r], &[]);
    m.op(ADD, &[x, r], &[y], &[]);
    (m.inputs, m.outputs) = (vec![x], vec![y]);
    let g = graph(&m);
    assert_eq!(g.nodes.len(), 1);
    let r = g.find("r").and_then(|id| g.constant(id)).expect("folded");
    assert_eq!(r.as_slice::<f32>().unwrap(), [1.0, -1.0]);
}

#[test]
fn depthwise_weights_are_transposed_and_their_quantised_axis_moves() {
    let mut m = ModelSpec::default();
    let x = m.quantized("x", &[1, 4, 4, 2], (vec![0.1], vec![0], 0));
    let w = m.quantized("w", &[1, 1, 2, 4], (vec![0.1, 0.2, 0.3, 0.4], vec![0; 4], 3));
    m.at(w).data = Some((0..8).collect());
    let y = m.quantized("y", &[1, 4, 3, 4], (vec![0.1], vec![0], 0));
    let stride = [(0, Field::I8(1)), (1, Field::I32(1)), (2, Field::I32(1)), (3, Field::I32(2))];
    m.op(DEPTHWISE_CONV_2D, &[x, w], &[y], &stride);
    (m.inputs, m.outputs) = (vec![x], vec![y]);
    let g = graph(&m);
    let id = g.nodes[0].inputs[1];
    assert_eq!(g.ty(id).shape.0, [4, 1, 2, 1]);
    assert_eq!(g.ty(id).quant.as_ref().unwrap().axis, Some(0));
    assert_eq!(g.constant(id).expect("folded").as_slice::<i8>().unwrap(), [0, 4, 1, 5, 2, 6, 3, 7]);
    assert!(matches!(&g.nodes[0].op, Op::Conv(c) if c.groups == 2));
}

#[test]
fn a_quantised_axis_behind_the_last_is_taken_only_where_it_is_clear() {
    // One scale: for the whole tensor, whatever the axis says.
    let one = graph(&conv([5, 5], Some((vec![0.5], vec![0], 7))));
    assert_eq!(one.nodes.len(), 1);
    let text = refusal(&conv([5, 5], Some((vec![0.5, 0.25], vec![0, 0], 4))));
    assert!(text.contains("tensor 'w'") && text.contains("axis 4"), "{text}");
    let text = refusal(&conv([5, 5], Some((vec![0.5, 0.25], vec![0, 0], 1))));
    assert!(text.contains("axis 1"), "{text}");
}

#[test]
fn unusable_scales_are_refused_with_the_tensor() {
    for scale in [f32::NAN, 0.0, -0.5, f32::INFINITY] {
        let mut m = relu();
        m.at(0).ty = I8;
        m.at(0).quant = Some((vec![scale], vec![0], 0));
        let text = refusal(&m);
        assert!(text.contains("'x'") && text.contains("finite and positive"), "{text}");
    }
}

#[test]
fn shapes_must_be_known_and_sane() {
    let mut m = relu();
    m.at(0).signature = vec![-1, 4];
    m.at(1).signature = vec![-1, 4];
    assert_eq!(graph(&m).ty(graph(&m).outputs[0]).shape.0, [1, 4]);
    m.at(0).shape = vec![-1, 4];
    assert!(refusal(&m).contains("fixed extents"));
    m.at(0).shape = vec![i32::MAX, i32::MAX];
    assert!(refusal(&m).contains("absurd"));
    m.at(0).shape = vec![0, 4];
    assert!(refusal(&m).contains("no element"));
    m.at(0).shape = vec![2, 4];
    m.at(1).signature.clear();
    let text = refusal(&m);
    assert!(text.contains("[1,4]") && text.contains("[2,4]"), "{text}");
}

#[test]
fn missing_data_cycles_and_state_are_refused() {
    let mut m = relu();
    m.ops[0].inputs[0] = 1;
    assert!(refusal(&m).contains("cyclic"));
    let mut m = conv([5, 5], None);
    m.at(1).data = None;
    assert!(refusal(&m).contains("tensor 'w'"));
    m.at(1).data = Some(vec![0; 8]);
    assert!(refusal(&m).contains("8 bytes"));
    m.at(1).variable = true;
    assert!(refusal(&m).contains("variable"));
    let mut m = relu();
    m.ops[0].inputs[0] = 77;
    assert!(refusal(&m).contains("tensor 77"));
}

#[test]
fn data_behind_the_flatbuffer_is_read_and_bounded() {
    let mut m = conv([5, 5], None);
    let data = m.at(1).data.take().unwrap();
    m.at(1).outside = Some((2, 72));
    let len = m.bytes().len();
    m.at(1).outside = Some((len as u64, 72));
    let mut bytes = m.bytes();
    assert_eq!(bytes.len(), len);
    let text = import(&bytes, &options()).unwrap_err().to_string();
    assert!(text.contains("data of tensor 'w'"), "{text}");
    bytes.extend(data);
    let g = import(&bytes, &options()).unwrap();
    assert_eq!(g.constant(g.nodes[0].inputs[1]).unwrap().as_slice::<f32>().unwrap(), [0.5; 18]);
}

#[test]
fn an_activation_that_is_not_a_clamp_is_refused() {
    let mut m = conv([5, 5], None);
    m.ops[0].options.push((3, Field::I8(4)));
    let text = refusal(&m);
    assert!(text.contains("TANH") && text.contains("'y'"), "{text}");
}

#[test]
fn a_model_can_be_cut_at_an_inner_tensor_and_given_constants() {
    let mut m = relu();
    let (k, z) = (m.tensor("k", F32, &[4]), m.tensor("z", F32, &[1, 4]));
    m.op(ADD, &[1, k], &[z], &[]);
    m.inputs.push(k);
    m.outputs = vec![z];
    let g = graph(&m);
    assert_eq!((g.nodes.len(), g.inputs.len()), (2, 2));
    let cut = import(&m.bytes(), &ImportOptions { cut_at: Some("y".into()), ..options() }).unwrap();
    assert_eq!(cut.nodes.len(), 1);
    let nowhere = ImportOptions { cut_at: Some("nowhere".into()), ..options() };
    assert!(import(&m.bytes(), &nowhere).unwrap_err().to_string().contains("nowhere"));
    let mut given = options();
    given.constants.insert("k".into(), Tensor::from_vec([4], vec![1.0f32; 4]).unwrap());
    let g = import(&m.bytes(), &given).unwrap();
    assert_eq!(g.inputs.len(), 1);
    let text = tandem_graph::print(&graph(&m)).into_bytes();
    assert_eq!(import(&text, &given).unwrap(), g);
    let cut_text = import(&text, &ImportOptions { cut_at: Some("y".into()), ..options() }).unwrap();
    assert_eq!(cut_text, cut);
    given.constants.insert("k".into(), Tensor::scalar(1i8));
    assert!(import(&m.bytes(), &given).unwrap_err().to_string().contains("'k'"));
    assert!(import(&text, &given).unwrap_err().to_string().contains("'k'"));
}

#[test]
fn shapes_computed_from_known_shapes_are_known() {
    let mut m = ModelSpec::default();
    let (x, s) = (m.tensor("x", F32, &[2, 3, 4]), m.tensor("s", writer::I32, &[3]));
    m.op(SHAPE, &[x], &[s], &[]);
    let (b, e, st) = (m.ints("b", &[0]), m.ints("e", &[1]), m.ints("st", &[1]));
    let first = m.tensor("first", writer::I32, &[1]);
    m.op(STRIDED_SLICE, &[s, b, e, st], &[first], &[]);
    let rest = m.ints("rest", &[-1]);
    let (both, y) = (m.tensor("both", writer::I32, &[2]), m.tensor("y", F32, &[1, 1]));
    m.at(y).signature = vec![-1, -1];
    m.op(2, &[first, rest], &[both], &[]);
    m.op(RESHAPE, &[x, both], &[y], &[]);
    (m.inputs, m.outputs) = (vec![x], vec![y]);
    let g = graph(&m);
    assert_eq!(g.nodes.len(), 1);
    assert_eq!(g.ty(g.outputs[0]).shape.0, [2, 12]);
}

#[test]
fn rows_of_a_dense_layer_are_flattened_unless_kept() {
    let mut m = ModelSpec::default();
    let (x, w) = (m.tensor("x", F32, &[2, 3, 4]), m.floats("w", &[5, 4], &[1.0; 20]));
    let y = m.tensor("y", F32, &[6, 5]);
    m.op(FULLY_CONNECTED, &[x, w, -1], &[y], &[]);
    (m.inputs, m.outputs) = (vec![x], vec![y]);
    assert_eq!(graph(&m).nodes.iter().map(|n| n.op.name()).collect::<Vec<_>>(), ["reshape", "dense"]);
    m.at(2).shape = vec![2, 3, 5];
    m.ops[0].options = vec![(2, Field::I8(1))];
    assert_eq!(graph(&m).nodes.len(), 1);
    m.at(1).shape = vec![4, 5];
    assert!(refusal(&m).contains("weights of 5 inputs"));
}

#[test]
fn squeezing_an_axis_that_is_not_one_is_refused() {
    let mut m = relu();
    m.ops[0].code = (43, 43);
    m.ops[0].options = vec![(0, Field::Ints(vec![0]))];
    m.at(1).shape = vec![4];
    assert_eq!(graph(&m).nodes[0].op.name(), "reshape");
    m.ops[0].options = vec![(0, Field::Ints(vec![-1]))];
    assert!(refusal(&m).contains("axis 1 of shape [1,4] is not 1"));
}

#[test]
fn names_are_unique_even_when_the_file_repeats_them() {
    let mut m = relu();
    m.at(1).name = "x".into();
    let g = graph(&m);
    assert_ne!(g.values[0].name, g.values[1].name);
    assert_eq!(g.ty(g.inputs[0]).dtype, DType::F32);
}
