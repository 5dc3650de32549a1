//! Networks at random for tests of backends, and the compiler of kernels.
#![allow(dead_code, reason = "no test uses all of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tandem_gpu::{Cache, Compiler};
use tandem_graph::{Graph, ValueId};
use tandem_ops::def::Random;
use tandem_ops::{Act, Arith, BinaryKind, Conv, Op, Pool, PoolKind, infer};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// The compiler. `None` where NVRTC is absent; then the test says so and is done, unless `TANDEM_REQUIRE` names `nvrtc`.
pub fn compiler() -> Option<Arc<Compiler>> {
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

/// A graph at random, of codes of one kind.
pub struct Maker {
    pub graph: Graph,
    pub random: Random,
    dtype: DType,
}

impl Maker {
    pub fn new(arith: Arith, dtype: DType, seed: u64) -> Maker {
        Maker { graph: Graph::new("random", arith), random: Random::new(seed), dtype }
    }

    pub fn quant(&mut self, scale: f64) -> QuantParams {
        let zero = self.random.within(0, 61) as i32 - 30 + if self.dtype == DType::U8 { 128 } else { 0 };
        QuantParams::per_tensor((scale * (0.5 + self.random.unit())) as f32, zero)
    }

    pub fn input(&mut self, shape: &[usize]) -> ValueId {
        let ty = TensorType::new(self.dtype, shape).with_quant(self.quant(0.05));
        let id = self.graph.add_value(format!("v{}", self.graph.values.len()), ty);
        self.graph.inputs.push(id);
        id
    }

    pub fn codes(&mut self, shape: &[usize]) -> Tensor {
        let bytes = self.random.codes(shape.to_vec()).to_le_bytes();
        Tensor::from_le_bytes(self.dtype, shape.to_vec(), &bytes).unwrap()
    }

    /// A node whose result has this quantisation.
    pub fn node(&mut self, op: Op, operands: &[ValueId], quant: QuantParams) -> ValueId {
        let types: Vec<&TensorType> = operands.iter().map(|&id| self.graph.ty(id)).collect();
        let shape = infer(&op, &types).unwrap().remove(0);
        let at = self.graph.values.len();
        let id = self.graph.add_value(format!("v{at}"), TensorType::new(self.dtype, shape).with_quant(quant));
        self.graph.add_node(format!("n{at}"), op, operands.to_vec(), [id]);
        id
    }

    /// Weights and a bias behind x.
    pub fn weighted(&mut self, op: Op, x: ValueId, shape: &[usize]) -> ValueId {
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

    pub fn samples(&mut self, count: usize) -> Vec<Vec<Tensor>> {
        let shapes: Vec<Vec<usize>> = self.graph.inputs.iter().map(|&id| self.graph.ty(id).shape.to_vec()).collect();
        (0..count).map(|_| shapes.iter().map(|shape| self.codes(shape)).collect()).collect()
    }
}

/// A network with everything that the backend knows: odd shapes, a value that is read twice and is an output too, two outputs.
pub fn network(arith: Arith, dtype: DType, seed: u64) -> Maker {
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
