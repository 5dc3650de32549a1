//! Small float graphs for tests.

use tandem_graph::{Graph, ValueId};
use tandem_ops::{Act, Arith, BinaryKind, Conv, Op, Pool, PoolKind, UnaryKind};
use tandem_tensor::{DType, Tensor, TensorType};

/// A float graph that grows at its end; weights are made up.
pub(crate) struct Sketch {
    pub graph: Graph,
    pub at: ValueId,
    seed: u32,
}

impl Sketch {
    /// Begins with an image of `size` by `size` and so many channels.
    pub fn image(size: usize, channels: usize) -> Sketch {
        let mut graph = Graph::new("sketch", Arith::TfliteRef);
        let at = graph.add_value("x", TensorType::new(DType::F32, [1, size, size, channels]));
        graph.inputs.push(at);
        Sketch { graph, at, seed: 1 }
    }

    /// Reals of -1 to 1.
    pub fn reals(&mut self, shape: &[usize]) -> Tensor {
        let count = shape.iter().product();
        let mut next = || {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        Tensor::from_vec(shape, (0..count).map(|_| next()).collect::<Vec<f32>>()).unwrap()
    }

    /// An input for the graph.
    pub fn input(&mut self) -> Tensor {
        let shape = self.graph.ty(self.graph.inputs[0]).shape.clone();
        self.reals(&shape)
    }

    fn shape(&self) -> Vec<usize> {
        self.graph.ty(self.at).shape.0.clone()
    }

    fn constant(&mut self, shape: &[usize]) -> ValueId {
        let tensor = self.reals(shape);
        let name = format!("c{}", self.graph.values.len());
        self.graph.add_constant(name, TensorType::new(DType::F32, shape), tensor)
    }

    /// Adds any node behind the last one.
    pub fn node(&mut self, op: Op, more: &[ValueId]) {
        let inputs: Vec<ValueId> = std::iter::once(self.at).chain(more.iter().copied()).collect();
        let types: Vec<&TensorType> = inputs.iter().map(|&id| self.graph.ty(id)).collect();
        let shape = tandem_ops::infer(&op, &types).unwrap().remove(0);
        let n = self.graph.nodes.len();
        self.at = self.graph.add_value(format!("v{n}"), TensorType::new(DType::F32, shape));
        self.graph.add_node(format!("n{n}"), op, inputs, [self.at]);
    }

    pub fn conv(&mut self, outputs: usize, kernel: usize, padded: bool) {
        let channels = self.shape()[3];
        let pad = if padded { (kernel / 2, kernel / 2) } else { (0, 0) };
        let (w, b) = (self.constant(&[outputs, kernel, kernel, channels]), self.constant(&[outputs]));
        let (stride, dilation, pad) = (vec![1; 2], vec![1; 2], vec![pad; 2]);
        self.node(Op::Conv(Conv { stride, dilation, pad, groups: 1, act: Act::None }), &[w, b]);
    }

    pub fn dense(&mut self, outputs: usize) {
        let k = self.shape()[1];
        let (w, b) = (self.constant(&[outputs, k]), self.constant(&[outputs]));
        self.node(Op::Dense { act: Act::None }, &[w, b]);
    }

    pub fn unary(&mut self, kind: UnaryKind) {
        self.node(Op::Unary(kind), &[]);
    }

    /// An operator with a constant for each channel.
    pub fn channels(&mut self, kind: BinaryKind) {
        let channels = self.shape()[3];
        let c = self.constant(&[1, 1, 1, channels]);
        self.node(Op::Binary { kind, act: Act::None }, &[c]);
    }

    pub fn flatten(&mut self) {
        let count = self.shape().iter().product();
        self.node(Op::Reshape { shape: vec![1, count] }, &[]);
    }

    pub fn max_pool(&mut self, size: usize) {
        self.node(
            Op::Pool(Pool {
                kind: PoolKind::Max,
                kernel: vec![size; 2],
                stride: vec![size; 2],
                dilation: vec![1; 2],
                pad: vec![(0, 0); 2],
                ceil: false,
                count_include_pad: false,
                act: Act::None,
            }),
            &[],
        );
    }

    pub fn softmax(&mut self, log: bool) {
        let axis = self.shape().len() - 1;
        self.node(Op::Softmax { axis, beta: 1.0, log }, &[]);
    }

    /// Makes the last value an output besides the one at the end.
    pub fn mark_output(&mut self) {
        self.graph.outputs.push(self.at);
    }

    pub fn finish(&self) -> Graph {
        let mut graph = self.graph.clone();
        graph.outputs.push(self.at);
        graph.verify().unwrap();
        graph
    }
}
