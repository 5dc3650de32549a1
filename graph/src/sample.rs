//! Small graphs for tests.

use crate::{Graph, ValueId};
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
