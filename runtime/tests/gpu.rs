//! Graphs of codes on the simulator of CUDA kernels against the interpreter, to the last bit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tandem_gpu::{Cache, Compiler, Device as Gpu, Limits, Simulation};
use tandem_graph::{Graph, ValueId, interpret};
use tandem_ops::def::Random;
use tandem_ops::{Act, Arith, BinaryKind, Conv, Op, Pool, PoolKind, UnaryKind, infer};
use tandem_plan::Device;
use tandem_runtime::{Backend, ErrorClass, GpuBackend};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

const FAMILIES: [Arith; 2] = [Arith::TfliteRef, Arith::Xnnpack];

/// The compiler. `None` where NVRTC is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names `nvrtc`.
fn compiler() -> Option<Arc<Compiler>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of a member lies in the workspace");
    let tools = std::env::var_os("TANDEM_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
    let folder = tools.join("nvidia/cu13/lib");
    if folder.join("libnvrtc.so.13").exists() {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let cache = Cache::new(target.join("tandem-kernels"));
        return Some(Arc::new(
            Compiler::open(&folder, Some(cache)).expect("the folder of NVRTC has a compiler that works"),
        ));
    }
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    let why = format!("nvrtc is not in {}; run `cargo x setup` or set TANDEM_TOOLS", folder.display());
    assert!(!required.split(',').any(|tool| tool == "nvrtc"), "TANDEM_REQUIRE asks for nvrtc, but {why}");
    eprintln!("skipped: {why}");
    None
}

fn backend(seed: u64) -> Option<GpuBackend> {
    Some(GpuBackend::new(Gpu::sim(compiler()?, Simulation::seeded(seed))))
}

/// A graph at random, of codes of one kind.
struct Maker {
    graph: Graph,
    random: Random,
    dtype: DType,
}

impl Maker {
    fn new(arith: Arith, dtype: DType, seed: u64) -> Maker {
        Maker { graph: Graph::new("random", arith), random: Random::new(seed), dtype }
    }

    fn quant(&mut self, scale: f64) -> QuantParams {
        let zero = self.random.within(0, 61) as i32 - 30 + if self.dtype == DType::U8 { 128 } else { 0 };
        QuantParams::per_tensor((scale * (0.5 + self.random.unit())) as f32, zero)
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        let ty = TensorType::new(self.dtype, shape).with_quant(self.quant(0.05));
        let id = self.graph.add_value(format!("v{}", self.graph.values.len()), ty);
        self.graph.inputs.push(id);
        id
    }

    fn codes(&mut self, shape: &[usize]) -> Tensor {
        let bytes = self.random.codes(shape.to_vec()).to_le_bytes();
        Tensor::from_le_bytes(self.dtype, shape.to_vec(), &bytes).unwrap()
    }

    /// A node whose result has this quantisation.
    fn node(&mut self, op: Op, operands: &[ValueId], quant: QuantParams) -> ValueId {
        let types: Vec<&TensorType> = operands.iter().map(|&id| self.graph.ty(id)).collect();
        let shape = infer(&op, &types).unwrap().remove(0);
        let at = self.graph.values.len();
        let id = self.graph.add_value(format!("v{at}"), TensorType::new(self.dtype, shape).with_quant(quant));
        self.graph.add_node(format!("n{at}"), op, operands.to_vec(), [id]);
        id
    }

    /// Weights and a bias behind x.
    fn weighted(&mut self, op: Op, x: ValueId, shape: &[usize]) -> ValueId {
        let (outputs, taps) = (shape[0], shape[1..].iter().product::<usize>());
        let weights = self.codes(shape);
        let per_tensor = self.dtype == DType::U8;
        let scales: Vec<f32> =
            (0..if per_tensor { 1 } else { outputs }).map(|_| (0.006 * (0.5 + self.random.unit())) as f32).collect();
        let zero = if per_tensor { self.random.within(100, 160) as i32 } else { 0 };
        let axis = (!per_tensor).then_some(0);
        let quant = QuantParams { zero_point: vec![zero; scales.len()], scale: scales, axis };
        let at = self.graph.values.len();
        let w = self.graph.add_constant(
            format!("w{at}"),
            TensorType::new(self.dtype, shape.to_vec()).with_quant(quant),
            weights,
        );
        let bias: Vec<i32> = (0..outputs).map(|_| self.random.within(0, 4001) as i32 - 2000).collect();
        let bias = Tensor::from_vec([outputs], bias).unwrap();
        let b = self.graph.add_constant(format!("b{at}"), TensorType::new(DType::I32, [outputs]), bias);
        let scale = f64::from(self.graph.ty(x).quant.as_ref().unwrap().scale()) * 0.5 * (taps as f64).sqrt();
        let quant = self.quant(scale);
        self.node(op, &[x, w, b], quant)
    }

    fn conv(&mut self, x: ValueId, act: Act, outputs: usize, kernel: [usize; 2], stride: usize) -> ValueId {
        let channels = self.graph.ty(x).shape[3];
        let pad = vec![(kernel[0] / 2, kernel[0] / 2), (0, kernel[1] / 2)];
        let op = Op::Conv(Conv { stride: vec![stride, 1], dilation: vec![1, 1], pad, groups: 1, act });
        self.weighted(op, x, &[outputs, kernel[0], kernel[1], channels])
    }

    fn depthwise(&mut self, x: ValueId, act: Act, multiplier: usize, stride: usize) -> ValueId {
        let groups = self.graph.ty(x).shape[3];
        let pad = vec![(1, 1), (0, 1)];
        let op = Op::Conv(Conv { stride: vec![stride; 2], dilation: vec![1, 1], pad, groups, act });
        self.weighted(op, x, &[groups * multiplier, 3, 3, 1])
    }

    fn add(&mut self, a: ValueId, b: ValueId, act: Act) -> ValueId {
        let quant = self.quant(0.3);
        self.node(Op::Binary { kind: BinaryKind::Add, act }, &[a, b], quant)
    }

    fn pool(&mut self, x: ValueId, kind: PoolKind, kernel: [usize; 2], act: Act) -> ValueId {
        let quant = self.graph.ty(x).quant.clone().unwrap();
        let (stride, dilation, pad) = (vec![2, 1], vec![1, 1], vec![(0, 1), (0, 0)]);
        let count_include_pad = kind == PoolKind::Average;
        let kernel = kernel.to_vec();
        self.node(
            Op::Pool(Pool { kind, kernel, stride, dilation, pad, ceil: false, count_include_pad, act }),
            &[x],
            quant,
        )
    }

    fn flat(&mut self, x: ValueId) -> ValueId {
        let (ty, quant) = (self.graph.ty(x).clone(), self.graph.ty(x).quant.clone().unwrap());
        let shape = vec![ty.shape[0], ty.elements() / ty.shape[0]];
        self.node(Op::Reshape { shape }, &[x], quant)
    }

    fn samples(&mut self, count: usize) -> Vec<Vec<Tensor>> {
        let shapes: Vec<Vec<usize>> = self.graph.inputs.iter().map(|&id| self.graph.ty(id).shape.to_vec()).collect();
        (0..count).map(|_| shapes.iter().map(|shape| self.codes(shape)).collect()).collect()
    }
}

/// A network with everything that the backend knows: odd shapes, a value that is read twice and is an output too, two outputs.
fn network(arith: Arith, dtype: DType, seed: u64) -> Maker {
    let mut m = Maker::new(arith, dtype, seed);
    let (h, w, c) = (m.random.within(5, 12), m.random.within(10, 15), m.random.within(1, 21));
    let x = m.input(&[1, h, w, c]);
    let channels = [8, 13, 16, 24][m.random.within(0, 4)];
    let stem = m.conv(x, Act::Relu6, channels, [3, 3], 2);
    let left = m.depthwise(stem, Act::Relu, 1, 1);
    let right = m.conv(stem, Act::None, channels, [1, 1], 1);
    let (a, b) = (m.graph.ty(left).shape.clone(), m.graph.ty(right).shape.clone());
    let sum = if a == b { m.add(left, right, Act::Relu) } else { right };
    let twice = m.add(sum, sum, Act::None);
    let wide = m.depthwise(twice, Act::Relu6, 2, 2);
    let top = m.pool(wide, PoolKind::Max, [2, 2], Act::None);
    let mean = m.pool(top, PoolKind::Average, [1, 2], Act::Relu);
    let flat = m.flat(mean);
    let features = m.graph.ty(flat).shape[1];
    let outputs = m.random.within(1, 40);
    let y = m.weighted(Op::Dense { act: Act::Relu }, flat, &[outputs, features]);
    m.graph.outputs.extend([y, sum, flat]);
    m.graph.verify().unwrap();
    m
}

#[test]
fn networks_of_codes_are_the_same_on_the_device_and_in_the_interpreter() {
    for (seed, dtype) in [(1, DType::I8), (2, DType::U8), (3, DType::I8), (4, DType::U8), (5, DType::I8)] {
        for arith in FAMILIES {
            let Some(mut backend) = backend(seed) else { return };
            let mut m = network(arith, dtype, seed);
            for node in &m.graph.nodes {
                backend.supports(&m.graph, node).unwrap_or_else(|why| panic!("{}: {why}", node.name));
            }
            let samples = m.samples(3);
            let mut segment = backend.compile(&m.graph).unwrap();
            let found = segment.run(&samples).unwrap();
            for (sample, found) in samples.iter().zip(found) {
                assert_eq!(interpret(&m.graph, sample).unwrap(), found, "{arith:?} {dtype} {seed}");
            }
            let copied = segment.copied();
            assert_eq!(copied.count, 3 * 4);
            let bytes = m.graph.inputs.iter().chain(&m.graph.outputs).map(|&id| m.graph.ty(id).bytes() as u64);
            assert_eq!(copied.bytes, 3 * bytes.sum::<u64>());
        }
    }
}

#[test]
fn two_segments_on_one_device_do_not_disturb_each_other() {
    let Some(mut backend) = backend(9) else { return };
    let (mut first, mut second) = (network(FAMILIES[0], DType::I8, 11), network(FAMILIES[1], DType::I8, 12));
    let (mut a, mut b) = (backend.compile(&first.graph).unwrap(), backend.compile(&second.graph).unwrap());
    for _ in 0..3 {
        let (x, y) = (first.samples(1), second.samples(1));
        assert_eq!(a.run(&x).unwrap()[0], interpret(&first.graph, &x[0]).unwrap());
        assert_eq!(b.run(&y).unwrap()[0], interpret(&second.graph, &y[0]).unwrap());
    }
    drop(a);
    let y = second.samples(1);
    assert_eq!(b.run(&y).unwrap()[0], interpret(&second.graph, &y[0]).unwrap());
}

#[test]
fn floats_run_where_a_definition_is_of_floats() {
    let Some(mut backend) = backend(3) else { return };
    let f32s = |shape: &[usize]| TensorType::new(DType::F32, shape);
    let mut random = Random::new(5);
    let mut g = Graph::new("floats", Arith::Xnnpack);
    let x = g.add_value("x", f32s(&[1, 5, 6, 20]));
    let w = g.add_constant("w", f32s(&[12, 1, 1, 20]), random.normal_tensor(DType::F32, [12, 1, 1, 20], 0.3));
    let b = g.add_constant("b", f32s(&[12]), random.normal_tensor(DType::F32, [12], 0.3));
    let y = g.add_value("y", f32s(&[1, 5, 6, 12]));
    let point = Conv { stride: vec![1; 2], dilation: vec![1; 2], pad: vec![(0, 0); 2], groups: 1, act: Act::Relu };
    g.add_node("point", Op::Conv(point), [x, w, b], [y]);
    let flat = g.add_value("flat", f32s(&[1, 360]));
    g.add_node("flat", Op::Reshape { shape: vec![1, 360] }, [y], [flat]);
    let v = g.add_constant("v", f32s(&[10, 360]), random.normal_tensor(DType::F32, [10, 360], 0.05));
    let logits = g.add_value("logits", f32s(&[1, 10]));
    g.add_node("dense", Op::Dense { act: Act::None }, [flat, v], [logits]);
    let p = g.add_value("p", f32s(&[1, 10]));
    g.add_node("softmax", Op::Softmax { axis: 1, beta: 1.0, log: false }, [logits], [p]);
    g.inputs.push(x);
    g.outputs.extend([p, y]);
    g.verify().unwrap();
    let sample = vec![random.normal_tensor(DType::F32, [1, 5, 6, 20], 1.0)];
    let expected = interpret(&g, &sample).unwrap();
    let found = backend.compile(&g).unwrap().run(&[sample]).unwrap().remove(0);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.shape(), expected.shape());
        let agree = tandem_ops::operation("gemm.f32").unwrap().def().agree;
        let agreement = agree.compare(found, expected);
        assert!(agree.allows(&agreement), "{agreement:?}");
    }
}

#[test]
fn a_node_that_does_not_run_is_refused_with_the_reason_and_so_is_its_segment() {
    let Some(mut backend) = backend(1) else { return };
    let mut m = Maker::new(FAMILIES[0], DType::I8, 1);
    let x = m.input(&[1, 8]);
    let quant = m.quant(0.1);
    let y = m.node(Op::Unary(UnaryKind::Tanh), &[x], quant);
    m.graph.outputs.push(y);
    assert_eq!(backend.supports(&m.graph, &m.graph.nodes[0]).unwrap_err(), "no kernel computes tanh of i8");
    let error = backend.compile(&m.graph).err().expect("there is no kernel of it");
    assert!(error.to_string().contains("no kernel computes tanh"), "{error}");
    assert_eq!(error.class(), ErrorClass::Unsupported);
    assert_eq!(backend.project(&m.graph, &m.graph.nodes[0]), None);
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let Some(mut backend) = backend(1) else { return };
    let mut m = network(FAMILIES[0], DType::I8, 1);
    let mut segment = backend.compile(&m.graph).unwrap();
    let sample = m.samples(1).remove(0);
    assert_eq!(segment.run(&[vec![]]).unwrap_err().class(), ErrorClass::Invalid);
    let other = Tensor::zeros(DType::U8, sample[0].shape().clone());
    let error = segment.run(&[vec![other]]).unwrap_err();
    assert!(error.to_string().contains("input 0 of the segment is u8"), "{error}");
    assert_eq!(segment.run(std::slice::from_ref(&sample)).unwrap()[0], interpret(&m.graph, &sample).unwrap());
}

#[test]
fn nodes_are_measured_and_projected() {
    let Some(backend) = backend(1) else { return };
    let mut m = network(FAMILIES[1], DType::I8, 2);
    let softmax = {
        let y = m.graph.outputs[0];
        let quant = QuantParams::per_tensor(1.0 / 256.0, -128);
        m.node(Op::Softmax { axis: 1, beta: 1.0, log: false }, &[y], quant)
    };
    m.graph.outputs.push(softmax);
    let limits = Limits::of("NVIDIA H200").unwrap();
    let slow = Limits { memory_bytes: limits.memory_bytes / 1e6, ..limits };
    let projected: Vec<_> = m.graph.nodes.iter().map(|node| backend.project(&m.graph, node)).collect();
    let mut backend = backend.with_limits(slow).with_index(2);
    assert_eq!(backend.device(), Device::Gpu(2));
    let mut seen = 0;
    let taken = backend.measure(&m.graph, &mut || seen += 1).unwrap();
    assert_eq!((seen, taken.len()), (m.graph.nodes.len(), m.graph.nodes.len()));
    for ((node, taken), projected) in m.graph.nodes.iter().zip(&taken).zip(projected) {
        let Ok(taken) = taken else {
            assert_eq!((node.op.name(), projected), ("softmax", None));
            continue;
        };
        assert_eq!(taken.copies.len(), 2 + usize::from(node.op.name() == "add" && node.inputs[0] != node.inputs[1]));
        let slower = backend.project(&m.graph, node).unwrap();
        assert!(node.op.name() == "reshape" || slower > projected.unwrap(), "{}", node.name);
    }
}
