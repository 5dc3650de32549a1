//! Many requests under way on several devices at once: the same answers, in the same order, whatever the devices do.

use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tandem_driver::{BusError, DriverError, Snapshot};
use tandem_graph::{Graph, Node, ValueId, interpret};
use tandem_ops::{Act, Arith, BinaryKind, Op, UnaryKind};
use tandem_plan::{Choice, Device, assign};
use tandem_runtime::{Backend, CpuBackend, ErrorClass, Executable, Executor, Phased, RuntimeError};
use tandem_tensor::{DType, Tensor, TensorType};

/// A device that computes as the CPU does, in phases, and checks that it is used as a device may be.
#[derive(Clone)]
struct Checked {
    device: Device,
    /// Whether something runs, whatever the segment.
    runs: Arc<AtomicBool>,
    /// Runs that are left until it fails.
    life: Arc<AtomicUsize>,
    /// The most runs that were under way in one segment.
    most: Arc<AtomicUsize>,
}

struct CheckedSegment {
    owner: Checked,
    inner: Mutex<Box<dyn Executable>>,
    slots: [Slot; 2],
}

#[derive(Default)]
enum Slot {
    #[default]
    Free,
    Staged(Vec<Vec<Tensor>>),
    Runs(Vec<Vec<Tensor>>),
    Done(Vec<Vec<Tensor>>),
}

impl Checked {
    fn new(device: Device, life: usize) -> Checked {
        let life = Arc::new(AtomicUsize::new(life));
        Checked { device, runs: Arc::default(), life, most: Arc::default() }
    }
}

impl Backend for Checked {
    fn device(&self) -> Device {
        self.device
    }
    fn supports(&self, _graph: &Graph, node: &Node) -> Result<(), String> {
        // The GPU of these tests cannot add.
        let adds = matches!(node.op, Op::Binary { .. });
        if adds && self.device == Device::Gpu(0) { Err("it adds".to_owned()) } else { Ok(()) }
    }
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        let inner = Mutex::new(CpuBackend.compile(segment)?);
        Ok(Box::new(CheckedSegment { owner: self.clone(), inner, slots: Default::default() }))
    }
}

impl Executable for CheckedSegment {
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        panic!("{} samples were to run at once on a device with phases", samples.len());
    }
    fn slots(&mut self, most: usize) -> usize {
        most.min(self.slots.len())
    }
    fn phased(&mut self) -> Option<&mut dyn Phased> {
        Some(self)
    }
}

impl Phased for CheckedSegment {
    fn stage(&mut self, slot: usize, samples: &[Vec<Tensor>]) -> Result<(), RuntimeError> {
        assert!(matches!(self.slots[slot], Slot::Free));
        self.slots[slot] = Slot::Staged(samples.to_vec());
        let under_way = self.slots.iter().filter(|slot| !matches!(slot, Slot::Free)).count();
        self.owner.most.fetch_max(under_way, Ordering::Relaxed);
        Ok(())
    }
    fn start(&mut self, slot: usize) -> Result<(), RuntimeError> {
        let Slot::Staged(samples) = std::mem::take(&mut self.slots[slot]) else { panic!("nothing is staged") };
        assert!(!self.owner.runs.swap(true, Ordering::SeqCst), "the device runs already");
        self.slots[slot] = Slot::Runs(samples);
        Ok(())
    }
    fn wait(&mut self, slot: usize) -> Result<Option<u64>, RuntimeError> {
        let Slot::Runs(samples) = std::mem::take(&mut self.slots[slot]) else { panic!("nothing runs") };
        let alive = self.owner.life.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |life| life.checked_sub(1));
        let results = self.inner.get_mut().unwrap().run(&samples)?;
        assert!(self.owner.runs.swap(false, Ordering::SeqCst));
        if alive.is_err() {
            return Err(cable_is_out());
        }
        self.slots[slot] = Slot::Done(results);
        Ok(Some(1000))
    }
    fn collect(&mut self, slot: usize) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let Slot::Done(results) = std::mem::take(&mut self.slots[slot]) else { panic!("nothing is done") };
        Ok(results)
    }
}

fn cable_is_out() -> RuntimeError {
    let source = BusError::Transfer { action: "waiting".into(), detail: "the cable is out".into() };
    DriverError::Bus { action: "polling the device", source, snapshot: Snapshot::default() }.into()
}

const DEVICES: [Device; 3] = [Device::Cpu, Device::Vta(0), Device::Gpu(0)];

/// Node `i` reads earlier values and is on a device; every value that nobody reads is an output.
fn graph(nodes: &[(usize, usize, usize)]) -> (Graph, Vec<Choice>) {
    let ty = || TensorType::new(DType::F32, [1, 4]);
    let mut g = Graph::new("g", Arith::TfliteRef);
    let x = g.add_value("x", ty());
    g.inputs.push(x);
    let mut choices = Vec::new();
    for (i, &(a, b, device)) in nodes.iter().enumerate() {
        let out = g.add_value(format!("v{i}"), ty());
        let device = DEVICES[device];
        if a == b || device == Device::Gpu(0) {
            g.add_node(format!("n{i}"), Op::Unary(UnaryKind::Tanh), [ValueId(a)], [out]);
        } else {
            let op = Op::Binary { kind: BinaryKind::Add, act: Act::None };
            g.add_node(format!("n{i}"), op, [ValueId(a), ValueId(b)], [out]);
        }
        choices.push(Choice { device, reason: String::new() });
    }
    let consumers = g.consumers();
    g.outputs = (0..g.values.len()).filter(|&v| consumers[v].is_empty()).map(ValueId).collect();
    g.verify().unwrap();
    (g, choices)
}

/// A chain that visits the devices in turn.
fn chain(length: usize) -> (Graph, Vec<Choice>) {
    graph(&(0..length).map(|i| (i, i, i % 3)).collect::<Vec<_>>())
}

fn samples(count: usize) -> Vec<Vec<Tensor>> {
    let sample = |i: usize| {
        vec![Tensor::from_vec([1, 4], (0..4).map(|k| ((i * 7 + k * 3) % 11) as f32 / 7.0).collect::<Vec<_>>()).unwrap()]
    };
    (0..count).map(sample).collect()
}

fn backends(lives: [usize; 2]) -> (Vec<Box<dyn Backend>>, [Checked; 2]) {
    let devices = [Checked::new(Device::Vta(0), lives[0]), Checked::new(Device::Gpu(0), lives[1])];
    let [vta, gpu] = devices.clone();
    (vec![Box::new(vta), Box::new(gpu), Box::new(CpuBackend)], devices)
}

fn expected(g: &Graph, samples: &[Vec<Tensor>]) -> Vec<Vec<Tensor>> {
    samples.iter().map(|sample| interpret(g, sample).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn any_graph_on_three_devices_gives_what_the_interpreter_gives(
        seed in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3usize), 1..16),
        count in 0..12usize,
        in_flight in 1..6usize,
        lives in [prop::option::of(0..8usize), prop::option::of(0..8usize)],
    ) {
        let nodes: Vec<_> = seed.iter().enumerate().map(|(i, (a, b, d))| (a.index(i + 1), b.index(i + 1), *d)).collect();
        let (g, choices) = graph(&nodes);
        let plan = assign(&g, &choices);
        let samples = samples(count);
        let (mut devices, _) = backends(lives.map(|life| life.unwrap_or(usize::MAX)));
        let mut executor = Executor::new(&g, &plan, &mut devices).unwrap().with_spares(devices);
        let mut told = 0;
        let outputs = executor.stream(&samples, 1, in_flight, &mut |done| told += done).unwrap();
        prop_assert_eq!(&outputs, &expected(&g, &samples));
        prop_assert_eq!(told, count);
        // One at a time, with whatever is left of the devices.
        let outputs: Vec<_> = samples.iter().map(|sample| executor.run(std::slice::from_ref(sample)).unwrap().remove(0)).collect();
        prop_assert_eq!(&outputs, &expected(&g, &samples));
        let profile = executor.profile();
        prop_assert_eq!(profile.requests, 2 * count as u64);
        let timeline = profile.replay(&|_| [0.1, 1.0, 0.1]).unwrap();
        prop_assert_eq!(timeline.samples, 2 * count as u64);
    }
}

#[test]
fn inputs_go_to_a_device_while_it_computes() {
    let (g, choices) = graph(&[(0, 0, 1), (1, 1, 0)]);
    let (mut devices, [vta, _]) = backends([usize::MAX; 2]);
    let mut executor = Executor::new(&g, &assign(&g, &choices), &mut devices).unwrap();
    let samples = samples(50);
    assert_eq!(executor.stream(&samples, 1, 8, &mut |_| {}).unwrap(), expected(&g, &samples));
    assert_eq!(vta.most.load(Ordering::Relaxed), 2);
    let vta: Vec<_> = executor.profile().spans.iter().filter(|span| span.segment == 0).collect();
    assert_eq!(vta.len(), 50);
    let beside = vta.windows(2).filter(|pair| pair[1].phases.stage.begin < pair[0].phases.compute.end).count();
    assert!(beside > 0, "no input was staged beside a run");
    assert!(vta.iter().all(|span| span.phases.cycles == Some(1000)));
}

#[test]
fn a_device_that_dies_in_a_pipeline_loses_nothing_and_is_told_once() {
    let (g, choices) = chain(6);
    let plan = assign(&g, &choices);
    let samples = samples(100);
    for life in [0, 1, 37, 100, 199] {
        let (mut devices, _) = backends([life, usize::MAX]);
        let mut executor = Executor::new(&g, &plan, &mut devices).unwrap().with_spares(devices);
        let outputs = executor.stream(&samples, 1, 4, &mut |_| {}).unwrap();
        assert_eq!(outputs, expected(&g, &samples), "after {life} runs");
        let [failure] = executor.failures() else { panic!("{:?}", executor.failures()) };
        // The GPU is the first spare that runs what the accelerator ran.
        assert_eq!((failure.device, failure.fallback), (Device::Vta(0), Device::Gpu(0)));
        assert_eq!(failure.segments, [1, 4]);
    }
}

#[test]
fn what_no_spare_can_take_over_is_an_error_and_nothing_hangs() {
    let (g, choices) = chain(6);
    let (mut devices, _) = backends([10, usize::MAX]);
    let mut executor = Executor::new(&g, &assign(&g, &choices), &mut devices).unwrap();
    let error = executor.stream(&samples(100), 1, 4, &mut |_| {}).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fault);
    assert!(error.to_string().starts_with("segment "), "{error}");
    assert!(executor.failures().is_empty());
}

#[test]
fn two_models_that_share_a_device_take_turns() {
    let (first, second) = (chain(5), chain(8));
    let (mut devices, _) = backends([usize::MAX; 2]);
    let executors = [&first, &second].map(|(g, choices)| Executor::new(g, &assign(g, choices), &mut devices).unwrap());
    let samples = samples(40);
    let [mut a, mut b] = executors;
    for sample in &samples {
        let one = std::slice::from_ref(sample);
        assert_eq!(a.run(one).unwrap(), expected(&first.0, one));
        assert_eq!(b.run(one).unwrap(), expected(&second.0, one));
    }
}
