//! Graphs of codes on the simulator of CUDA kernels against the interpreter, to the last bit.

mod network;

use network::{Maker, compiler, network};
use tandem_gpu::{Device as Gpu, Limits, Simulation};
use tandem_graph::{Graph, interpret};
use tandem_ops::def::Random;
use tandem_ops::{Act, Arith, Conv, Op, UnaryKind};
use tandem_plan::Device;
use tandem_runtime::{Backend, ErrorClass, GpuBackend};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

const FAMILIES: [Arith; 2] = [Arith::TfliteRef, Arith::Xnnpack];

fn backend(seed: u64) -> Option<GpuBackend> {
    Some(GpuBackend::new(Gpu::sim(compiler()?, Simulation::seeded(seed))))
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
