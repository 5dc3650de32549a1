//! Tests of the whole quantiser on small graphs.

use super::sample::Sketch;
use super::*;
use proptest::prelude::*;
use tandem_graph::interpret;
use tandem_ops::{
    Act, BinaryKind, CoordinateMode, NearestMode, Op, PadMode, ReduceKind, Resize, ResizeMode, UnaryKind,
};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

const METHODS: [Method; 3] = [Method::MinMax, Method::Percentile(99.9), Method::Kl];

/// The quantised form of a sketch, calibrated on made-up inputs, with those.
fn quantised(sketch: &mut Sketch, method: Method, ends: Ends) -> (Graph, Quantised, Vec<Vec<Tensor>>) {
    let folded = fold(&sketch.finish());
    let samples: Vec<Vec<Tensor>> = (0..6).map(|_| vec![sketch.input()]).collect();
    let mut calibration = Calibration::new(&folded);
    samples.iter().for_each(|s| calibration.observe(&folded, s).unwrap());
    let quantised = quantise(&folded, &calibration, method, ends).unwrap();
    (folded, quantised, samples)
}

fn network() -> Sketch {
    let mut s = Sketch::image(6, 3);
    s.conv(8, 3, true);
    s.unary(UnaryKind::Relu);
    s.max_pool(2);
    s.conv(4, 3, false);
    s.flatten();
    s.dense(5);
    s
}

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|n| n.op.name()).collect()
}

#[test]
fn a_network_has_the_types_of_an_imported_int8_model() {
    let mut s = network();
    s.softmax(false);
    let (_, q, _) = quantised(&mut s, Method::MinMax, Ends::Int8);
    assert_eq!(names(&q.graph), ["conv", "max_pool", "conv", "reshape", "dense", "softmax"]);
    assert!(q.float_nodes.is_empty());
    for node in &q.graph.nodes {
        let ty = |id: &ValueId| q.graph.ty(*id).clone();
        let (x, y) = (ty(&node.inputs[0]), ty(&node.outputs[0]));
        assert!(x.dtype == DType::I8 && y.dtype == DType::I8 && y.quant.as_ref().unwrap().is_per_tensor());
        if node.inputs.len() == 3 {
            let (w, b) = (ty(&node.inputs[1]), ty(&node.inputs[2]));
            let (wq, bq) = (w.quant.unwrap(), b.quant.unwrap());
            assert_eq!((w.dtype, b.dtype, wq.axis), (DType::I8, DType::I32, Some(0)));
            assert!(wq.zero_point.iter().all(|&z| z == 0) && wq.scale.len() == y.shape[y.shape.rank() - 1]);
            for (s, b) in wq.scale.iter().zip(&bq.scale) {
                assert!((s * x.quant.as_ref().unwrap().scale() / b - 1.0).abs() < 1e-6);
            }
        } else if node.op.name() != "softmax" {
            assert_eq!(x.quant, y.quant, "{}", node.op.name());
        }
    }
    assert_eq!(q.graph.ty(q.graph.outputs[0]).quant, Some(QuantParams::per_tensor(1.0 / 256.0, -128)));
}

#[test]
fn float_ends_keep_names_and_types_of_inputs_and_outputs() {
    for (ends, dtype) in [(Ends::Float, DType::F32), (Ends::Int8, DType::I8)] {
        let mut s = network();
        let before = s.finish();
        let (_, q, _) = quantised(&mut s, Method::MinMax, ends);
        for (old, new) in [(&before.inputs, &q.graph.inputs), (&before.outputs, &q.graph.outputs)] {
            let (old, new) = (before.value(old[0]), q.graph.value(new[0]));
            assert_eq!((&old.name, &old.ty.shape, dtype), (&new.name, &new.ty.shape, new.ty.dtype));
        }
        let whole = names(&q.graph);
        assert_eq!(whole[0] == "quantize" && whole[whole.len() - 1] == "dequantize", ends == Ends::Float);
    }
}

#[test]
fn what_has_no_integer_form_stays_float_and_says_why() {
    for ends in [Ends::Float, Ends::Int8] {
        let mut s = network();
        s.softmax(true);
        let (_, q, samples) = quantised(&mut s, Method::Kl, ends);
        let list: Vec<_> = q.float_nodes.iter().map(|n| (n.op.as_str(), n.reason.as_str())).collect();
        assert_eq!(list, [("log_softmax", "log_softmax has no 8-bit integer form")]);
        assert_eq!(q.graph.ty(q.graph.outputs[0]).dtype, DType::F32);
        if ends == Ends::Float {
            assert!(interpret(&q.graph, &samples[0]).is_ok());
        }
    }
}

#[test]
fn what_moves_the_values_of_operators_in_floats_stays_with_them() {
    let mut s = network();
    s.unary(UnaryKind::Reciprocal);
    s.node(Op::Reshape { shape: vec![5, 1] }, &[]);
    s.unary(UnaryKind::Reciprocal);
    let (_, q, _) = quantised(&mut s, Method::MinMax, Ends::Float);
    let float: Vec<&str> = q.float_nodes.iter().map(|n| n.op.as_str()).collect();
    assert_eq!(float, ["reciprocal", "reshape", "reciprocal"]);
    assert_eq!(names(&q.graph).iter().filter(|n| n.ends_with("quantize")).count(), 2);
}

#[test]
fn operands_of_a_concatenation_share_a_scale_and_fixed_ones_are_converted() {
    let mut s = Sketch::image(4, 3);
    s.conv(3, 1, false);
    let a = s.at;
    s.unary(UnaryKind::Sigmoid);
    let b = s.at;
    s.unary(UnaryKind::Tanh);
    s.node(Op::Concat { axis: 3, act: Act::None }, &[a, b]);
    let (folded, q, samples) = quantised(&mut s, Method::MinMax, Ends::Float);
    assert_eq!(names(&q.graph).iter().filter(|&&n| n == "requantize").count(), 2);
    let mut comparison = Comparison::new(&folded, &q);
    samples.iter().for_each(|s| drop(comparison.add(s).unwrap()));
    let report = Report::new(&comparison, None, samples.len(), Method::MinMax, Ends::Float);
    assert!(report.output_sqnr_db.unwrap() > 26.0, "{report:?}");
}

/// Every operator that has an integer form, alone behind a convolution that makes its operand.
fn operators() -> Vec<(Op, Vec<Tensor>)> {
    let constant = |shape: &[usize], step: f32| {
        let n: usize = shape.iter().product();
        Tensor::from_vec(shape, (0..n).map(|i| (i % 7) as f32 * step - step).collect::<Vec<f32>>()).unwrap()
    };
    let full = constant(&[1, 4, 4, 3], 0.3);
    let binary = |kind| (Op::Binary { kind, act: Act::None }, vec![full.clone()]);
    let unary = |kind| (Op::Unary(kind), vec![]);
    let reduce = |kind| (Op::Reduce { kind, axes: vec![1, 2], keep_dims: false }, vec![]);
    let alone = |op| (op, vec![]);
    let resize = |mode| Resize {
        shape: vec![1, 8, 8, 3],
        scale: vec![1.0, 2.0, 2.0, 1.0],
        mode,
        coordinate: CoordinateMode::HalfPixel,
        antialias: false,
        roi: None,
        extrapolation: 0.0,
    };
    vec![
        binary(BinaryKind::Add),
        binary(BinaryKind::Sub),
        binary(BinaryKind::Mul),
        binary(BinaryKind::Min),
        binary(BinaryKind::Max),
        (Op::Binary { kind: BinaryKind::PRelu, act: Act::None }, vec![constant(&[3], 0.1)]),
        unary(UnaryKind::Relu),
        unary(UnaryKind::Relu6),
        unary(UnaryKind::LeakyRelu { alpha: 0.1 }),
        unary(UnaryKind::HardSwish),
        unary(UnaryKind::HardSigmoid { alpha: 0.2, beta: 0.5 }),
        unary(UnaryKind::Sigmoid),
        unary(UnaryKind::Tanh),
        unary(UnaryKind::Exp),
        unary(UnaryKind::Abs),
        unary(UnaryKind::Elu { alpha: 1.0 }),
        unary(UnaryKind::Gelu { tanh: false }),
        unary(UnaryKind::Clip { min: Some(-0.4), max: Some(0.7) }),
        unary(UnaryKind::Identity),
        reduce(ReduceKind::Mean),
        reduce(ReduceKind::Sum),
        reduce(ReduceKind::Max),
        reduce(ReduceKind::Min),
        alone(Op::Softmax { axis: 3, beta: 1.0, log: false }),
        (
            Op::Pad { amount: vec![(0, 0), (1, 0), (0, 2), (0, 0)], mode: PadMode::Constant },
            vec![Tensor::from_vec(Vec::<usize>::new(), vec![0.25f32]).unwrap()],
        ),
        alone(Op::Pad { amount: vec![(0, 0), (1, 1), (1, 1), (0, 0)], mode: PadMode::Reflect }),
        alone(Op::Slice { begin: vec![0, 1, 0, 0], size: vec![1, 2, 2, 3], step: vec![1, 1, 2, 1] }),
        alone(Op::Transpose { perm: vec![0, 3, 1, 2] }),
        alone(Op::Expand { shape: vec![2, 4, 4, 3] }),
        (Op::Gather { axis: 3 }, vec![Tensor::from_vec([2], vec![2i64, 0]).unwrap()]),
        alone(Op::Resize(resize(ResizeMode::Nearest(NearestMode::Floor)))),
        alone(Op::Resize(resize(ResizeMode::Linear))),
        (Op::MatMul { transpose_a: false, transpose_b: false }, vec![constant(&[3, 5], 0.2)]),
        (Op::Concat { axis: 3, act: Act::None }, vec![constant(&[1, 4, 4, 1], 0.2)]),
    ]
}

#[test]
fn every_operator_with_an_integer_form_has_a_kernel_and_loses_little() {
    for arith in [tandem_ops::Arith::TfliteRef, tandem_ops::Arith::Xnnpack] {
        for (op, constants) in operators() {
            let name = format!("{op:?} {arith:?}");
            let mut s = Sketch::image(4, 3);
            s.graph.arith = arith;
            s.conv(3, 1, false);
            // A second reader keeps the convolution from taking the operator in.
            s.mark_output();
            let more: Vec<ValueId> = constants
                .into_iter()
                .enumerate()
                .map(|(i, t)| {
                    let ty = TensorType::new(t.dtype(), t.shape().clone());
                    s.graph.add_constant(format!("operand {i}"), ty, t)
                })
                .collect();
            s.node(op, &more);
            let (folded, q, samples) = quantised(&mut s, Method::MinMax, Ends::Float);
            assert!(q.float_nodes.is_empty(), "{name}: {:?}", q.float_nodes);
            let mut comparison = Comparison::new(&folded, &q);
            samples.iter().for_each(|s| drop(comparison.add(s).unwrap_or_else(|e| panic!("{name}: {e}"))));
            for layer in Report::new(&comparison, None, 6, Method::MinMax, Ends::Float).layers {
                assert!(layer.own_sqnr_db.is_none_or(|db| db > 26.0), "{name}: {layer:?}");
            }
        }
    }
}

#[test]
fn an_input_that_is_an_output_and_values_that_are_zero_are_no_special_case() {
    for ends in [Ends::Float, Ends::Int8] {
        let mut s = network();
        s.graph.outputs.push(s.graph.inputs[0]);
        let folded = fold(&s.finish());
        let zero = [Tensor::zeros(DType::F32, [1, 6, 6, 3])];
        let mut calibration = Calibration::new(&folded);
        calibration.observe(&folded, &zero).unwrap();
        let q = quantise(&folded, &calibration, Method::Kl, ends).unwrap();
        let mut comparison = Comparison::new(&folded, &q);
        let outputs = comparison.add(&zero).unwrap();
        assert_eq!(outputs.int8[0], outputs.float[0]);
        for (a, b) in outputs.float[1].to_f64().iter().zip(outputs.int8[1].to_f64()) {
            assert!((a - b).abs() < 0.05, "{a} {b}");
        }
    }
}

#[test]
fn an_index_of_the_largest_reads_codes() {
    let mut s = network();
    let (axis, dtype) = (1, DType::I64);
    s.node(Op::ArgMax { axis, keep_dims: false, select_last: false, min: false, dtype }, &[]);
    s.graph.values[s.at.0].ty.dtype = dtype;
    let (_, q, samples) = quantised(&mut s, Method::MinMax, Ends::Float);
    assert!(q.float_nodes.is_empty());
    assert_eq!(interpret(&q.graph, &samples[0]).unwrap()[0].dtype(), DType::I64);
}

#[test]
fn what_cannot_be_quantised_is_refused_in_one_sentence() {
    let mut s = network();
    let folded = fold(&s.finish());
    let mut calibration = Calibration::new(&folded);
    let text = quantise(&folded, &calibration, Method::MinMax, Ends::Float).unwrap_err().to_string();
    assert!(text.contains("no samples"), "{text}");
    let mut bad = s.input();
    bad.as_slice_mut::<f32>().unwrap()[7] = f32::NAN;
    let text = calibration.observe(&folded, &[bad]).unwrap_err().to_string();
    assert!(text.contains("'x' holds NaN"), "{text}");
    assert!(calibration.observe(&folded, &[]).is_err());

    let (_, q, _) = quantised(&mut s, Method::MinMax, Ends::Int8);
    let again = fold(&q.graph);
    let mut calibration = Calibration::new(&again);
    calibration.observe(&again, &[Tensor::zeros(DType::I8, [1, 6, 6, 3])]).unwrap();
    let text = quantise(&again, &calibration, Method::MinMax, Ends::Int8).unwrap_err().to_string();
    assert!(text.contains("it reads i8[1,6,6,3]") && text.contains("float model"), "{text}");
}

#[test]
fn calibrations_and_comparisons_of_parts_add_up() {
    let mut s = network();
    let (folded, q, samples) = quantised(&mut s, Method::Kl, Ends::Float);
    let (mut whole, mut parts) = (Calibration::new(&folded), Calibration::new(&folded));
    samples.iter().for_each(|s| whole.observe(&folded, s).unwrap());
    for part in samples.chunks(2).rev() {
        let mut own = Calibration::new(&folded);
        part.iter().for_each(|s| own.observe(&folded, s).unwrap());
        parts.merge(&own);
    }
    assert_eq!(whole, parts);
    let run = |samples: &[Vec<Tensor>]| {
        let mut c = Comparison::new(&folded, &q);
        samples.iter().for_each(|s| drop(c.add(s).unwrap()));
        c
    };
    let (whole, mut first) = (run(&samples), run(&samples[..2]));
    first.merge(&run(&samples[2..]));
    assert_eq!(whole.answers, first.answers);
    let labels: Vec<usize> = whole.answers.iter().map(|a| a[0].unwrap()).collect();
    let report = Report::new(&whole, Some(&labels), 4, Method::Kl, Ends::Float);
    let accuracy = report.accuracy.unwrap();
    assert_eq!((accuracy.samples, accuracy.float_correct, report.held_out.unwrap().samples), (6, 6, 2));
    assert!((accuracy.loss() - (1.0 - report.agreement.unwrap()) * 100.0).abs() < 1e-9);
    let sorted = report.layers.iter().map(|l| l.own_sqnr_db.unwrap_or(f64::INFINITY)).is_sorted();
    assert!(sorted && report.int8_bytes < report.float_bytes, "{report:?}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chain_of_layers_becomes_a_graph_of_integers_that_is_near_to_it(
        layers in prop::collection::vec(0u8..9, 1..7),
        method in 0usize..3,
    ) {
        let mut s = Sketch::image(8, 3);
        s.conv(4, 3, true);
        for layer in layers {
            match layer {
                0 => s.conv(5, 3, true),
                1 => s.conv(3, 1, false),
                2 => s.unary(UnaryKind::Relu),
                3 => s.unary(UnaryKind::HardSwish),
                4 => s.channels(BinaryKind::Mul),
                5 => s.channels(BinaryKind::Add),
                6 => s.unary(UnaryKind::LeakyRelu { alpha: 0.25 }),
                7 => s.node(Op::Binary { kind: BinaryKind::Add, act: Act::Relu }, &[s.at]),
                _ => s.unary(UnaryKind::Tanh),
            }
        }
        let (folded, q, samples) = quantised(&mut s, METHODS[method], Ends::Float);
        prop_assert!(q.float_nodes.is_empty());
        let mut comparison = Comparison::new(&folded, &q);
        samples.iter().for_each(|s| drop(comparison.add(s).unwrap()));
        let report = Report::new(&comparison, None, samples.len(), METHODS[method], Ends::Float);
        let decibels = report.output_sqnr_db.unwrap_or(f64::INFINITY);
        prop_assert!(decibels > 15.0, "{decibels} {:?}", names(&q.graph));
    }
}
