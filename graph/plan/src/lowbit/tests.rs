//! Tests of whole layers on small graphs.

use super::*;
use crate::quantise::sample::Sketch;
use tandem_ops::UnaryKind;
use tandem_ops::def::{Dims, Random, accept};
use tandem_tensor::DType;

const SCHEMES: [Scheme; 3] = [Scheme::W4A4, Scheme::W4A8, Scheme::W4A16];

fn form(scheme: Scheme, group: usize, outliers: usize) -> Form {
    Form { scheme, group, outliers, clip: 1.0, compensate: true }
}

/// Two dense layers, of which the second gives the output, behind a row of so many channels.
fn network(channels: usize, middle: usize) -> Sketch {
    let mut sketch = Sketch::image(1, channels);
    sketch.flatten();
    sketch.dense(middle);
    sketch.unary(UnaryKind::Tanh);
    sketch.dense(7);
    sketch.unary(UnaryKind::Tanh);
    sketch
}

/// Rows of channels that depend on each other, every ninth of which is large.
fn samples(channels: usize, count: usize, seed: u64) -> Vec<Vec<Tensor>> {
    let mut random = Random::new(99);
    let shared: Vec<f64> = (0..channels).map(|_| random.normal()).collect();
    let mut random = Random::new(seed);
    let mut row = || {
        let common = random.normal();
        let element = |(at, shared): (usize, &f64)| {
            let size = if at % 9 == 4 { 12.0 } else { 1.0 };
            (size * (0.7 * shared * common + 0.7 * random.normal())) as f32
        };
        let values = shared.iter().enumerate().map(element).collect();
        vec![Tensor::from_vec([1, 1, 1, channels], values).unwrap()]
    };
    (0..count).map(|_| row()).collect()
}

/// The mean square of what the first layer's results lack, over that of the results.
fn error(graph: &Graph, low: &LowBit, samples: &[Vec<Tensor>]) -> f64 {
    let (mut noise, mut signal) = (0.0, 0.0);
    let interpreter = Interpreter::new(graph);
    for inputs in samples {
        let (exact, found) = (interpreter.run(inputs).unwrap(), low.run(graph, &interpreter, inputs).unwrap());
        for (x, y) in exact[0].to_f64().into_iter().zip(found[0].to_f64()) {
            noise += (x - y).powi(2);
            signal += x * x;
        }
    }
    noise / signal
}

#[test]
fn errors_that_are_made_good_and_outliers_with_eight_bits_leave_less_error() {
    let mut sketch = Sketch::image(1, 72);
    sketch.flatten();
    sketch.dense(24);
    sketch.flatten();
    let graph = sketch.finish();
    let (seen, unseen) = (samples(72, 200, 1), samples(72, 50, 2));
    let measure = |form: Form| {
        let low = LowBit::new(&graph, &seen, form, |_, _| {}).unwrap();
        assert_eq!((low.layers().len(), low.float_nodes().len()), (1, 0));
        error(&graph, &low, &unseen)
    };
    for scheme in SCHEMES {
        let [plain, outliers] = [0, 8].map(|outliers| measure(form(scheme, 32, outliers)));
        let rounded = measure(Form { compensate: false, ..form(scheme, 32, 8) });
        assert!(outliers < plain && outliers < rounded, "{scheme:?}: {outliers} {plain} {rounded}");
        assert!(outliers < if scheme == Scheme::W4A4 { 0.02 } else { 0.005 }, "{scheme:?}: {outliers}");
    }
    let fewer = SCHEMES.map(|scheme| measure(form(scheme, 32, 8)));
    assert!(fewer[2] <= fewer[1] && fewer[1] < fewer[0], "{fewer:?}");
}

#[test]
fn operands_of_layers_of_any_extents_are_what_the_products_accept() {
    let mut random = Random::new(3);
    for round in 0..30 {
        let (channels, middle) = (random.within(1, 40), random.within(1, 30));
        let (group, outliers) = (2 * random.within(1, 20), random.within(0, 12));
        let graph = network(channels, middle).finish();
        for scheme in SCHEMES {
            let low = LowBit::new(&graph, &samples(channels, 9, round), form(scheme, group, outliers), |_, _| {});
            let low = low.unwrap();
            assert_eq!(low.layers().len(), 2);
            for layer in low.layers().values() {
                let operation = tandem_ops::operation(&format!("gemm.{}", scheme.name())).unwrap();
                let k = layer.tensors().find(|(name, _)| *name == "order").unwrap().1.len();
                let outliers = outliers.min(k) + (k - outliers.min(k)) % 2;
                let dims = operation.samples()[0].dims.clone();
                let extents = [("m", 2), ("n", layer.count() / k), ("k", k), ("group", group), ("outliers", outliers)];
                let dims: Dims = extents.into_iter().fold(dims, |dims, (axis, extent)| dims.with(axis, extent));
                let drawn = operation.sample("", &dims, 1).unwrap();
                let operands = layer.tensors().filter(|(name, _)| *name != "order");
                let operands = operands.fold(drawn, |all, (name, tensor)| all.with(name, tensor.clone()));
                accept(operation, &dims, &operands).unwrap_or_else(|e| panic!("{scheme:?} {k} {group}: {e}"));
                assert!(layer.bits() >= 4 * layer.count());
            }
        }
    }
}

#[test]
fn weights_that_are_codes_already_come_back_exactly() {
    let mut random = Random::new(8);
    let mut sketch = Sketch::image(1, 32);
    sketch.flatten();
    let codes: Vec<f32> =
        (0..32 * 6).map(|at| if at % 16 == 3 { 7.0 } else { random.within(0, 15) as f32 - 7.0 }).collect();
    let weights = Tensor::from_vec([6, 32], codes.iter().map(|code| code * 0.25).collect()).unwrap();
    let id = sketch.graph.add_constant("w", tandem_tensor::TensorType::new(DType::F32, [6, 32]), weights);
    sketch.node(Op::Dense { act: Act::None }, &[id]);
    sketch.flatten();
    let graph = sketch.finish();
    // Activations that bfloat16 holds, and sums that it holds.
    let x: Vec<f32> = (0..32).map(|at| f32::from(u8::from(at % 5 == 0))).collect();
    let samples = vec![vec![Tensor::from_vec([1, 1, 1, 32], x).unwrap()]];
    let low = LowBit::new(&graph, &samples, form(Scheme::W4A4, 32, 0), |_, _| {}).unwrap();
    assert!(error(&graph, &low, &samples) < 1e-12);
}

#[test]
fn a_layer_that_gives_an_output_or_shares_its_weights_or_has_an_activation_stays_float() {
    let mut sketch = network(12, 9);
    let shared = *sketch.graph.nodes[1].inputs.get(1).unwrap();
    sketch.flatten();
    sketch.dense(12);
    sketch.node(Op::Dense { act: Act::None }, &[shared]);
    sketch.dense(5);
    let graph = sketch.finish();
    let low = LowBit::new(&graph, &samples(12, 3, 1), form(Scheme::W4A16, 4, 0), |_, _| {}).unwrap();
    assert_eq!(low.layers().len(), 2);
    let reasons: Vec<&str> = low.float_nodes().iter().map(|node| node.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "has weights that are read elsewhere too",
            "has weights that are read elsewhere too",
            "gives nothing but an output of the graph"
        ]
    );
}

#[test]
fn what_cannot_be_quantised_is_refused_with_a_reason() {
    let graph = network(12, 9).finish();
    let refused = |graph: &Graph, samples: &[Vec<Tensor>]| {
        LowBit::new(graph, samples, form(Scheme::W4A4, 4, 0), |_, _| {}).err().unwrap().to_string()
    };
    assert!(refused(&graph, &[]).contains("no samples"));
    let bad = vec![vec![Tensor::from_vec([1, 1, 1, 12], vec![f32::NAN; 12]).unwrap()]];
    assert!(refused(&graph, &bad).contains("NaN"), "{}", refused(&graph, &bad));
    assert!(refused(&graph, &samples(11, 1, 1)).contains("needs"));
    let mut plain = Sketch::image(2, 3);
    plain.unary(UnaryKind::Relu);
    assert!(refused(&plain.finish(), &[vec![plain.input()]]).contains("no dense layer"));
}
