//! Small quantised layers at random: graphs of a few nodes with weights, for comparing implementations.

use tandem_graph::{Graph, ValueId};
use tandem_ops::{Act, Arith, BinaryKind, Conv, Op, Pool, PoolKind};
use tandem_tensor::{DType, Data, QuantParams, Shape, Tensor, TensorType};

use crate::random::Random;

/// A tensor of random codes.
pub fn codes(random: &mut Random, ty: &TensorType) -> Tensor {
    let n = ty.elements();
    let data = match ty.dtype {
        DType::U8 => Data::U8((0..n).map(|_| random.bits() as u8).collect()),
        DType::I32 => Data::I32((0..n).map(|_| random.bits() as i32 % 3000).collect()),
        _ => Data::I8((0..n).map(|_| random.bits() as i8).collect()),
    };
    Tensor::new(ty.shape.clone(), data).expect("as many codes as the shape asks for")
}

/// The kinds of layer that [`layer`] makes.
pub const KINDS: [&str; 9] = ["conv", "depthwise", "grouped", "dense", "add", "sub", "mul", "max_pool", "average_pool"];

/// A graph of one int8 convolution of family A with random weights: `image` is (h, w, c), padding is the same before and
/// behind.
pub fn convolution(
    image: [usize; 3],
    kernel: [usize; 2],
    pad: [usize; 2],
    outputs: usize,
    random: &mut Random,
) -> Graph {
    let mut graph = Graph::new("conv", Arith::TfliteRef);
    let [h, w, c] = image;
    let ty = |shape: [usize; 4], scale, zero| {
        TensorType::new(DType::I8, shape).with_quant(QuantParams::per_tensor(scale, zero))
    };
    let x = graph.add_value("x", ty([1, h, w, c], 0.05, -7));
    let (weights, bias) = weights(&mut graph, random, DType::I8, Shape(vec![outputs, kernel[0], kernel[1], c]));
    let extent = |a: usize| [h, w][a] + 2 * pad[a] - kernel[a] + 1;
    let y = graph.add_value("y", ty([1, extent(0), extent(1), outputs], 0.1, 3));
    let pad = pad.map(|p| (p, p)).to_vec();
    let conv = Conv { stride: vec![1, 1], dilation: vec![1, 1], pad, groups: 1, act: Act::None };
    graph.add_node("conv", Op::Conv(conv), [x, weights, bias], [y]);
    ends(&mut graph, &[x], y)
}

/// A graph of one quantised layer of a kind, with random geometry, quantisation and weights.
pub fn layer(kind: &str, arith: Arith, random: &mut Random) -> Graph {
    let mut graph = Graph::new(kind, arith);
    let dtype = random.of(&[DType::I8, DType::I8, DType::U8]);
    let quant = |random: &mut Random, scale: f32| {
        let zero = random.within(0, 256) as i32 - if dtype == DType::U8 { 0 } else { 128 };
        QuantParams::per_tensor(scale * (0.5 + random.unit()), zero)
    };
    let act = random.of(&[Act::None, Act::None, Act::Relu, Act::Relu6]);
    let n = random.of(&[1, 1, 1, 2, 3]);
    let channels = random.of(&[1, 3, 5, 8, 16, 17, 24, 33, 40]);
    let (h, w) = (random.within(1, 12), random.within(1, 12));
    let x_quant = quant(random, 0.05);
    let window = |random: &mut Random| {
        let kernel = [random.within(1, 5).min(h), random.within(1, 5).min(w)];
        let stride = [random.within(1, 4), random.within(1, 4)];
        let dilation = [1, 2].map(|d: usize| if random.within(0, 4) == 0 { d } else { 1 });
        let dilation = [0, 1].map(|a| if (kernel[a] - 1) * dilation[a] < [h, w][a] { dilation[a] } else { 1 });
        let pad = [0, 1].map(|a| {
            // Now and then a window lies in the padding altogether.
            let reach = (kernel[a] - 1) * dilation[a] + usize::from(random.within(0, 6) == 0);
            (random.within(0, reach + 1), random.within(0, reach + 1))
        });
        (kernel, stride, dilation, pad)
    };
    let extent = |x: usize, k: usize, s: usize, d: usize, p: (usize, usize)| (x + p.0 + p.1 - (k - 1) * d - 1) / s + 1;
    match kind {
        "conv" | "depthwise" | "grouped" => {
            let (kernel, stride, dilation, pad) = window(random);
            let (channels, groups, outputs) = match kind {
                "depthwise" => (channels, channels, channels),
                "grouped" => {
                    let groups = random.within(2, 5);
                    (groups * random.within(1, 7), groups, groups * random.within(1, 7))
                }
                _ => (channels, 1, random.of(&[1, 4, 10, 16, 31, 48])),
            };
            let x = graph.add_value("x", TensorType::new(dtype, [n, h, w, channels]).with_quant(x_quant));
            let oh = extent(h, kernel[0], stride[0], dilation[0], pad[0]);
            let ow = extent(w, kernel[1], stride[1], dilation[1], pad[1]);
            let shape = Shape(vec![outputs, kernel[0], kernel[1], channels / groups]);
            let (weights, bias) = weights(&mut graph, random, dtype, shape);
            let y = graph.add_value("y", TensorType::new(dtype, [n, oh, ow, outputs]).with_quant(quant(random, 0.1)));
            let conv = Conv { stride: stride.to_vec(), dilation: dilation.to_vec(), pad: pad.to_vec(), groups, act };
            graph.add_node(kind, Op::Conv(conv), [x, weights, bias], [y]);
            ends(&mut graph, &[x], y)
        }
        "dense" => {
            let inputs = random.of(&[1, 7, 16, 64, 100, 300]);
            let outputs = random.of(&[1, 2, 10, 33, 64]);
            let x = graph.add_value("x", TensorType::new(dtype, [n, inputs]).with_quant(x_quant));
            let (weights, bias) = weights(&mut graph, random, dtype, Shape(vec![outputs, inputs]));
            let y = graph.add_value("y", TensorType::new(dtype, [n, outputs]).with_quant(quant(random, 0.2)));
            graph.add_node(kind, Op::Dense { act }, [x, weights, bias], [y]);
            ends(&mut graph, &[x], y)
        }
        "max_pool" | "average_pool" => {
            let (kernel, stride, _, pad) = window(random);
            let average = kind == "average_pool";
            // A pool sees at least one element of the image.
            let inside = |a: usize| (pad[a].0.min(kernel[a] - 1), pad[a].1.min(kernel[a] - 1));
            let pad = if average { [(0, 0); 2] } else { [inside(0), inside(1)] };
            let ty = |h, w| TensorType::new(dtype, [n, h, w, channels]).with_quant(x_quant.clone());
            let x = graph.add_value("x", ty(h, w));
            let oh = extent(h, kernel[0], stride[0], 1, pad[0]);
            let ow = extent(w, kernel[1], stride[1], 1, pad[1]);
            let y = graph.add_value("y", ty(oh, ow));
            let pool = Pool {
                kind: if average { PoolKind::Average } else { PoolKind::Max },
                kernel: kernel.to_vec(),
                stride: stride.to_vec(),
                dilation: vec![1, 1],
                pad: pad.to_vec(),
                ceil: false,
                count_include_pad: false,
                act,
            };
            graph.add_node(kind, Op::Pool(pool), [x], [y]);
            ends(&mut graph, &[x], y)
        }
        _ => {
            let operator = match kind {
                "sub" => BinaryKind::Sub,
                "mul" => BinaryKind::Mul,
                _ => BinaryKind::Add,
            };
            let shape = [n, h, w, channels];
            let a = graph.add_value("a", TensorType::new(dtype, shape).with_quant(x_quant));
            let b = graph.add_value("b", TensorType::new(dtype, shape).with_quant(quant(random, 0.05)));
            let y = graph.add_value("y", TensorType::new(dtype, shape).with_quant(quant(random, 0.08)));
            graph.add_node(kind, Op::Binary { kind: operator, act }, [a, b], [y]);
            ends(&mut graph, &[a, b], y)
        }
    }
}

/// A product as [`layer`] makes it, of plain bytes and with its sums as results.
pub fn sums(kind: &str, random: &mut Random) -> Graph {
    let mut graph = layer(kind, Arith::TfliteRef, random);
    graph.nodes[0].inputs.truncate(2);
    if let Op::Conv(Conv { act, .. }) | Op::Dense { act } = &mut graph.nodes[0].op {
        *act = Act::None;
    }
    let (x, w, y) = (graph.nodes[0].inputs[0], graph.nodes[0].inputs[1], graph.nodes[0].outputs[0]);
    for (id, dtype) in [(x, DType::I8), (w, DType::I8), (y, DType::I32)] {
        let shape = graph.ty(id).shape.clone();
        graph.values[id.0].ty = TensorType::new(dtype, shape);
    }
    // Now and then four bits hold all of them.
    let most = random.of(&[127i8, 7]);
    let weights = codes(random, graph.ty(w)).as_slice::<i8>().expect("weights are int8").to_vec();
    let weights = weights.into_iter().map(|weight| weight.clamp(-1 - most, most)).collect::<Vec<i8>>();
    let weights = Tensor::from_vec(graph.ty(w).shape.clone(), weights).expect("as many as before");
    graph.values[w.0].constant = Some(weights.into());
    graph
}

fn ends(graph: &mut Graph, inputs: &[ValueId], output: ValueId) -> Graph {
    graph.inputs = inputs.to_vec();
    graph.outputs = vec![output];
    std::mem::take(graph)
}

/// Random weights (per channel for int8, asymmetric per tensor for uint8) and a bias.
fn weights(graph: &mut Graph, random: &mut Random, dtype: DType, shape: Shape) -> (ValueId, ValueId) {
    let outputs = shape[0];
    let taps = (shape.elements() / outputs) as f32;
    let mut scale = || 0.02 * (0.2 + random.unit()) / taps.sqrt();
    let quant = if dtype == DType::U8 {
        let scale = scale();
        QuantParams::per_tensor(scale, random.within(60, 200) as i32)
    } else {
        let scale = (0..outputs).map(|_| scale()).collect();
        QuantParams { scale, zero_point: vec![0; outputs], axis: Some(0) }
    };
    let ty = TensorType::new(dtype, shape).with_quant(quant);
    let tensor = codes(random, &ty);
    let weights = graph.add_constant("weights", ty, tensor);
    let ty = TensorType::new(DType::I32, [outputs]);
    let tensor = codes(random, &ty);
    (weights, graph.add_constant("bias", ty, tensor))
}
