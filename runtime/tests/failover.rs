//! Devices that fail while a plan runs: the fallback takes over, and every sample has its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tandem_driver::{BusError, DriverError, Snapshot};
use tandem_graph::{Graph, Node, interpret};
use tandem_ops::{Act, Arith, Op};
use tandem_plan::{Device, partition};
use tandem_runtime::{Backend, CpuBackend, ErrorClass, Executable, Executor, RuntimeError};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// Dense, softmax, dense: with the softmax on the CPU there are three segments.
fn graph() -> Graph {
    let i8s = |shape: &[usize], scale, zero| {
        TensorType::new(DType::I8, shape).with_quant(QuantParams::per_tensor(scale, zero))
    };
    let mut g = Graph::new("sandwich", Arith::TfliteRef);
    let x = g.add_value("x", i8s(&[1, 8], 0.5, 3));
    let mut last = x;
    for layer in 0..2 {
        let weights: Vec<i8> = (0..64).map(|i| ((i * 37 + layer * 11) % 255 - 127) as i8).collect();
        let w = g.add_constant(format!("w{layer}"), i8s(&[8, 8], 0.01, 0), Tensor::from_vec([8, 8], weights).unwrap());
        let scale = if layer == 0 { 0.005 } else { 0.01 / 256.0 };
        let bias = TensorType::new(DType::I32, [8]).with_quant(QuantParams::per_tensor(scale, 0));
        let b = g.add_constant(format!("b{layer}"), bias, Tensor::from_vec([8], vec![100i32; 8]).unwrap());
        let y = g.add_value(format!("y{layer}"), i8s(&[1, 8], 0.25, 5));
        g.add_node(format!("dense{layer}"), Op::Dense { act: Act::None }, [last, w, b], [y]);
        last = y;
        if layer == 0 {
            let p = g.add_value("p", i8s(&[1, 8], 1.0 / 256.0, -128));
            g.add_node("softmax", Op::Softmax { axis: 1, beta: 1.0, log: false }, [y], [p]);
            last = p;
        }
    }
    g.inputs.push(x);
    g.outputs.push(last);
    g.verify().unwrap();
    g
}

fn sample(seed: usize) -> Vec<Tensor> {
    let codes: Vec<i8> = (0..8).map(|i| ((i * 29 + seed * 53) % 255) as u8 as i8).collect();
    vec![Tensor::from_vec([1, 8], codes).unwrap()]
}

/// An accelerator that computes what the CPU does, until it has run so often; then every run has this error.
struct Mortal {
    runs: Arc<AtomicUsize>,
    error: fn() -> RuntimeError,
    alive: usize,
}

struct MortalSegment {
    inner: Mutex<Box<dyn Executable>>,
    runs: Arc<AtomicUsize>,
    error: fn() -> RuntimeError,
    alive: usize,
}

impl Backend for Mortal {
    fn device(&self) -> Device {
        Device::Vta(0)
    }
    fn supports(&self, _graph: &Graph, node: &Node) -> Result<(), String> {
        if matches!(node.op, Op::Dense { .. }) { Ok(()) } else { Err("it is not dense".to_owned()) }
    }
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        let inner = Mutex::new(CpuBackend.compile(segment)?);
        Ok(Box::new(MortalSegment { inner, runs: Arc::clone(&self.runs), error: self.error, alive: self.alive }))
    }
}

impl Executable for MortalSegment {
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        if self.runs.fetch_add(1, Ordering::Relaxed) >= self.alive {
            return Err((self.error)());
        }
        self.inner.get_mut().unwrap().run(samples)
    }
}

fn cable_is_out() -> RuntimeError {
    let source = BusError::Transfer { action: "waiting".into(), detail: "the cable is out".into() };
    DriverError::Bus { action: "polling the device", source, snapshot: Snapshot::default() }.into()
}

fn executor(g: &Graph, alive: usize, error: fn() -> RuntimeError) -> (Executor, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mortal = Mortal { runs: Arc::clone(&runs), error, alive };
    let plan = partition(g, Device::Vta(0), |node| mortal.supports(g, node));
    let devices: Vec<Device> = plan.segments.iter().map(|s| s.device).collect();
    assert_eq!(devices, [Device::Vta(0), Device::Cpu, Device::Vta(0)]);
    (Executor::new(g, &plan, &mut [Box::new(CpuBackend), Box::new(mortal)]).unwrap(), runs)
}

#[test]
fn every_request_has_its_answer_whichever_run_of_the_device_is_its_last() {
    let g = graph();
    let expected: Vec<_> = (0..100).map(|i| interpret(&g, &sample(i)).unwrap()).collect();
    // Two runs a request: it fails in the first segment of one and in the last segment of another.
    for (alive, failed_at) in [(0, 0), (74, 37), (75, 37), (199, 99)] {
        let (executor, runs) = executor(&g, alive, cable_is_out);
        let mut executor = executor.with_spares(vec![Box::new(CpuBackend)]);
        for (i, expected) in expected.iter().enumerate() {
            assert_eq!(&executor.run(&[sample(i)]).unwrap()[0], expected, "request {i}");
        }
        // The device is asked once more than it can bear, and never again.
        assert_eq!(runs.load(Ordering::Relaxed), alive + 1);
        let [failure] = executor.failures() else { panic!("{:?}", executor.failures()) };
        assert_eq!((failure.device, failure.fallback), (Device::Vta(0), Device::Cpu));
        assert_eq!((failure.segments.clone(), failure.sample), (vec![0, 2], failed_at));
        let text = failure.to_string();
        let words = ["the VTA failed", "the CPU runs its 2 segments from sample", "the cable is out", "1 dense"];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        let profile = executor.profile();
        let rows: Vec<_> = profile.segments.iter().map(|s| (s.device, s.samples)).collect();
        let (first, last) = (alive.div_ceil(2) as u64, alive as u64 / 2);
        let (vta, cpu) = (Device::Vta(0), Device::Cpu);
        assert_eq!(rows, [(vta, first), (cpu, 100), (vta, last), (cpu, 100 - first), (cpu, 100 - last)]);
        assert_eq!(profile.latencies.len(), 100);
    }
}

#[test]
fn a_batch_is_computed_again_whole() {
    let g = graph();
    let (executor, _) = executor(&g, 1, cable_is_out);
    let mut executor = executor.with_spares(vec![Box::new(CpuBackend)]);
    let samples: Vec<_> = (0..7).map(sample).collect();
    let outputs = executor.run(&samples).unwrap();
    for (inputs, output) in samples.iter().zip(&outputs) {
        assert_eq!(&interpret(&g, inputs).unwrap(), output);
    }
    assert_eq!(executor.failures().len(), 1);
}

#[test]
fn without_a_fallback_and_where_the_program_is_at_fault_the_error_comes_through() {
    let g = graph();
    let (mut plain, _) = executor(&g, 0, cable_is_out);
    assert_eq!(plain.run(&[sample(0)]).unwrap_err().class(), ErrorClass::Fault);
    let (wrong, _) = executor(&g, 0, || RuntimeError::Invalid("the program is wrong".to_owned()));
    let mut wrong = wrong.with_spares(vec![Box::new(CpuBackend)]);
    let error = wrong.run(&[sample(0)]).unwrap_err();
    assert!(error.class() == ErrorClass::Invalid && error.to_string().contains("the program is wrong"), "{error}");
    assert!(wrong.failures().is_empty());
}
