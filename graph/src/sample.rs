//! Small graphs for tests.

use crate::{Graph, ValueId};
use tandem_ops::def::Random;
use tandem_ops::{Act, Arith, BinaryKind, Op, UnaryKind};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// Two dense layers and an unused branch, quantised.
pub(crate) fn chain() -> Graph {
    let mut g = Graph::new("chain", Arith::TfliteRef);
    let q = |s: f32, z: i32| QuantParams::per_tensor(s, z);
    let act = |n: usize| TensorType::new(DType::I8, [1, n]).with_quant(q(0.5, -3));
    let per_channel = |o: usize| QuantParams { scale: vec![0.25; o], zero_point: vec![0; o], axis: Some(0) };
    let x = g.add_value("x", act(4));
    g.inputs.push(x);
    let layer = |g: &mut Graph, x: ValueId, k: usize, o: usize, name: &str| {
        let w = g.add_constant(
            format!("{name}.w"),
            TensorType::new(DType::I8, [o, k]).with_quant(per_channel(o)),
            Tensor::from_vec([o, k], (0..o * k).map(|i| i as i8 - 5).collect()).unwrap(),
        );
        let b = g.add_constant(
            format!("{name}.b"),
            TensorType::new(DType::I32, [o]),
            Tensor::from_vec([o], (0..o as i32).map(|i| i * 1000).collect()).unwrap(),
        );
        let y = g.add_value(name, act(o));
        g.add_node(format!("{name} node"), Op::Dense { act: Act::Relu }, [x, w, b], [y]);
        y
    };
    let hidden = layer(&mut g, x, 4, 6, "hidden");
    let out = layer(&mut g, hidden, 6, 3, "out");
    let unused = g.add_value("unused", act(6));
    g.add_node("unused node", Op::Unary(UnaryKind::Relu), [hidden], [unused]);
    g.outputs.push(out);
    g
}

/// A float graph from a list of numbers; every list gives a valid graph.
pub(crate) fn random(seed: &[u8]) -> Graph {
    let mut g = Graph::new(format!("random \"{}\"\n", seed.len()), Arith::Xnnpack);
    let ty = |dtype| TensorType::new(dtype, [2, 3]);
    let x = g.add_value("x", ty(DType::F32));
    g.inputs.push(x);
    let mut ids = vec![x];
    for (i, &s) in seed.iter().enumerate() {
        let a = ids[s as usize % ids.len()];
        let b = ids[(s as usize / 7) % ids.len()];
        let f = f32::from_bits(u32::from(s).wrapping_mul(0x01f3_5b77) & 0x7f7f_ffff) + f32::MIN_POSITIVE;
        match s % 6 {
            0 => {
                let data = (0..6).map(|k| f * k as f32 - 1.0).collect::<Vec<f32>>();
                ids.push(g.add_constant(
                    format!("c{i} \u{e9}\""),
                    ty(DType::F32),
                    Tensor::from_vec([2, 3], data).unwrap(),
                ));
            }
            1 => {
                let q = QuantParams { scale: vec![f, 0.1, 1e-30], zero_point: vec![1, -2, 3], axis: Some(1) };
                let data = vec![s as i8, -1, 2, 3, -4, 5];
                let t = Tensor::from_vec([2, 3], data).unwrap();
                let c = g.add_constant(format!("q{i}"), ty(DType::I8).with_quant(q), t);
                let y = g.add_value(format!("d{i}"), ty(DType::F32));
                g.add_node(format!("n{i}"), Op::Dequantize, [c], [y]);
                ids.push(y);
            }
            2 => {
                let y = g.add_value(format!("v{i}"), ty(DType::F32));
                g.add_node(format!("n{i}"), Op::Unary(UnaryKind::LeakyRelu { alpha: f }), [a], [y]);
                ids.push(y);
            }
            3 => {
                let y = g.add_value(format!("v{i}"), ty(DType::F32));
                let clip = UnaryKind::Clip { min: Some(f64::from(f) / 3.0), max: None };
                g.add_node(format!("n{i}"), Op::Unary(clip), [a], [y]);
                ids.push(y);
            }
            _ => {
                let y = g.add_value(format!("v{i}"), ty(DType::F32));
                let kind = if s % 2 == 0 { BinaryKind::Add } else { BinaryKind::Mul };
                g.add_node(format!("n{i}"), Op::Binary { kind, act: Act::Relu6 }, [a, b], [y]);
                ids.push(y);
            }
        }
    }
    g.outputs.push(ids[ids.len() - 1]);
    g
}

/// A graph in which passes find something to do, of 8-bit codes or of floats; every seed gives a valid one.
pub(crate) fn layered(seed: u64, quantised: bool, nodes: usize) -> Graph {
    let arith = if seed.is_multiple_of(2) { Arith::TfliteRef } else { Arith::Xnnpack };
    let mut maker =
        Layered { g: Graph::new("layered", arith), values: Vec::new(), random: Random::new(seed), quantised };
    let (rows, channels) = (2 + maker.below(3), 1 + maker.below(3));
    for name in ["x", "y"] {
        let ty = maker.ty([1, rows, rows, channels]);
        let id = maker.g.add_value(name, ty);
        maker.g.inputs.push(id);
        maker.values.push(id);
    }
    while maker.g.nodes.len() < nodes {
        maker.grow();
    }
    let last = maker.values[maker.values.len() - 1];
    let other = maker.pick();
    maker.g.outputs = if other == last { vec![last] } else { vec![last, other] };
    maker.g
}

struct Layered {
    g: Graph,
    values: Vec<ValueId>,
    random: Random,
    quantised: bool,
}

impl Layered {
    fn below(&mut self, n: usize) -> usize {
        self.random.within(0, n)
    }

    /// Late values more often than early ones, so that chains come about.
    fn pick(&mut self) -> ValueId {
        let back = self.below(3).min(self.below(self.values.len()));
        self.values[self.values.len() - 1 - back]
    }

    fn ty(&mut self, shape: impl Into<tandem_tensor::Shape>) -> TensorType {
        if !self.quantised {
            return TensorType::new(DType::F32, shape);
        }
        let (scale, zero) = [(0.5, -3), (0.5, -3), (0.25, -128), (0.0625, 10)][self.below(4)];
        TensorType::new(DType::I8, shape).with_quant(QuantParams::per_tensor(scale, zero))
    }

    fn push(&mut self, op: Op, inputs: &[ValueId], ty: TensorType) -> ValueId {
        let name = format!("v{}", self.g.values.len());
        let id = self.g.add_value(name.clone(), ty);
        self.g.add_node(name, op, inputs, [id]);
        self.values.push(id);
        id
    }

    fn constant(&mut self, ty: TensorType) -> ValueId {
        let values: Vec<f64> = (0..ty.elements()).map(|_| self.below(21) as f64 - 10.0).collect();
        let tensor = Tensor::from_f64(ty.dtype, ty.shape.clone(), &values).unwrap();
        self.g.add_constant(format!("c{}", self.g.values.len()), ty, tensor)
    }

    fn act(&mut self) -> Act {
        [Act::None, Act::None, Act::Relu, Act::Relu6, Act::ReluN1To1][self.below(5)]
    }

    fn grow(&mut self) {
        let x = self.pick();
        let same = self.g.ty(x).clone();
        let shape = same.shape.clone();
        let rank = shape.rank();
        match self.below(13) {
            0 => {
                let ty = if self.below(4) > 0 { same } else { self.ty(shape) };
                let clip = UnaryKind::Clip { min: Some(0.0), max: [None, Some(6.0)][self.below(2)] };
                let leaky = UnaryKind::LeakyRelu { alpha: 0.25 };
                let kinds = [UnaryKind::Relu, UnaryKind::Relu6, UnaryKind::ReluN1To1, clip, leaky, UnaryKind::Abs];
                let kind = kinds[self.below(6)];
                self.push(Op::Unary(kind), &[x], ty);
            }
            1 => {
                self.push(Op::Unary(UnaryKind::Identity), &[x], same);
            }
            2 | 3 => {
                let mut perm: Vec<usize> = (0..rank).collect();
                for i in (1..rank).rev() {
                    perm.swap(i, self.below(i + 1));
                }
                let turned = |perm: &[usize], ty: &TensorType| {
                    let extents: Vec<usize> = perm.iter().map(|&axis| ty.shape[axis]).collect();
                    TensorType { shape: extents.into(), ..ty.clone() }
                };
                let ty = turned(&perm, &same);
                let y = self.push(Op::Transpose { perm: perm.clone() }, &[x], ty.clone());
                if self.below(2) == 0 {
                    let z = self.push(Op::Unary(UnaryKind::Relu), &[y], ty.clone());
                    let back = crate::permute::inverse(&perm);
                    let ty = turned(&back, &ty);
                    self.push(Op::Transpose { perm: back }, &[z], ty);
                }
            }
            4 => {
                let all = shape.elements();
                let extents = [vec![all], shape.0.clone(), vec![1, all], vec![all, 1, 1, 1]][self.below(4)].clone();
                let y = TensorType { shape: extents.clone().into(), ..same.clone() };
                let y = self.push(Op::Reshape { shape: extents }, &[x], y);
                self.push(Op::Reshape { shape: shape.0.clone() }, &[y], same);
            }
            5 | 6 => {
                let alike: Vec<ValueId> =
                    self.values.iter().copied().filter(|&v| self.g.ty(v).shape == shape).collect();
                let b = match self.below(3) {
                    0 => {
                        let ty = self.ty(vec![*shape.last().unwrap_or(&1)]);
                        self.constant(ty)
                    }
                    _ => alike[self.below(alike.len())],
                };
                let kind = [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul][self.below(3)];
                let (act, ty) = (self.act(), self.ty(shape));
                let inputs = if self.below(2) == 0 && self.g.ty(b).shape == ty.shape { [b, x] } else { [x, b] };
                let y = self.push(Op::Binary { kind, act }, &inputs, ty.clone());
                if self.below(3) == 0 {
                    self.push(Op::Binary { kind, act }, &inputs, ty.clone());
                    self.push(Op::Unary(UnaryKind::Relu), &[y], ty);
                }
            }
            7 if self.quantised => {
                let ty = self.ty(shape);
                self.push(Op::Requantize, &[x], ty);
            }
            8 if self.quantised => {
                let real = TensorType::new(DType::F32, shape);
                let y = self.push(Op::Dequantize, &[x], real.clone());
                self.values.pop();
                let y = match self.below(2) {
                    0 => y,
                    _ => self.push(Op::Unary(UnaryKind::Relu), &[y], real.clone()),
                };
                self.values.retain(|&v| self.g.ty(v).dtype == DType::I8);
                let ty = if self.below(2) == 0 { same } else { self.ty(real.shape) };
                self.push(Op::Quantize, &[y], ty);
            }
            9 => {
                let amount: Vec<(i64, i64)> = (0..rank).map(|axis| (i64::from(axis == 1), 0)).collect();
                let extents: Vec<usize> = (0..rank).map(|axis| shape[axis] + usize::from(axis == 1)).collect();
                let ty = TensorType { shape: extents.into(), ..same };
                self.push(Op::Pad { amount, mode: tandem_ops::PadMode::Constant }, &[x], ty);
            }
            10 if rank > 0 && shape.elements() < 200 => {
                let mut extents = shape.0.clone();
                extents[rank - 1] *= 2;
                let ty = TensorType { shape: extents.into(), ..same };
                self.push(Op::Concat { axis: rank - 1, act: Act::None }, &[x, x], ty);
            }
            11 => {
                // A branch of constants alone.
                let ty = self.ty(vec![*shape.last().unwrap_or(&1)]);
                let (a, b) = (self.constant(ty.clone()), self.constant(ty.clone()));
                let add = Op::Binary { kind: BinaryKind::Add, act: Act::None };
                let c = self.push(add.clone(), &[a, b], ty);
                self.values.pop();
                let ty = self.ty(shape);
                self.push(add, &[x, c], ty);
            }
            _ if rank == 4 && shape.elements() < 200 => self.conv(x),
            _ => {}
        }
    }

    /// A convolution, perhaps with padding before it and an activation behind.
    fn conv(&mut self, x: ValueId) {
        let mut x = x;
        let ty = self.g.ty(x).clone();
        let (n, h, w, c) = (ty.shape[0], ty.shape[1], ty.shape[2], ty.shape[3]);
        let (kernel, before) = (1 + self.below(h.min(w).min(3)), self.below(2));
        let mut extent = [h, w];
        if before > 0 {
            extent = extent.map(|e| e + before);
            let pair = (before as i64, 0);
            let padded = TensorType { shape: vec![n, extent[0], extent[1], c].into(), ..ty };
            let amount = vec![(0, 0), pair, pair, (0, 0)];
            x = self.push(Op::Pad { amount, mode: tandem_ops::PadMode::Constant }, &[x], padded);
        }
        let outputs = 1 + self.below(3);
        let weights = match self.quantised {
            true => TensorType::new(DType::I8, [outputs, kernel, kernel, c]).with_quant(QuantParams {
                scale: (0..outputs).map(|o| 0.125 * (o + 1) as f32).collect(),
                zero_point: vec![0; outputs],
                axis: Some(0),
            }),
            false => TensorType::new(DType::F32, [outputs, kernel, kernel, c]),
        };
        let bias = TensorType::new(if self.quantised { DType::I32 } else { DType::F32 }, [outputs]);
        let mut inputs = vec![x, self.constant(weights)];
        if self.below(2) == 0 {
            inputs.push(self.constant(bias));
        }
        let op = Op::Conv(tandem_ops::Conv {
            stride: vec![1, 1],
            dilation: vec![1, 1],
            pad: vec![(0, 0); 2],
            groups: 1,
            act: self.act(),
        });
        let ty = self.ty([n, extent[0] - kernel + 1, extent[1] - kernel + 1, outputs]);
        let y = self.push(op, &inputs, ty.clone());
        if self.below(2) == 0 {
            let kind = [UnaryKind::Relu, UnaryKind::Relu6][self.below(2)];
            self.push(Op::Unary(kind), &[y], ty);
        }
    }
}
