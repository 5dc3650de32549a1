//! Real int8 networks with nodes scattered over several devices, two networks interleaved on the same devices: the codes of the CPU alone.

use std::path::Path;
use tandem_driver::Device as VtaDevice;
use tandem_gpu::{Device as Gpu, Simulation};
use tandem_graph::{Graph, Interpreter, Kernels};
use tandem_import::{ImportOptions, import};
use tandem_isa::HwConfig;
use tandem_ops::Arith;
use tandem_ops::def::Random;
use tandem_plan::{Choice, Plan, assign};
use tandem_runtime::{Backend, CpuBackend, Executor, GpuBackend, VtaBackend};
use tandem_sim::FsimBus;
use tandem_tensor::Tensor;
use tandem_tests::{models, tool};

const PAIR: [&str; 2] = ["mlperf-tiny/models/pretrainedResnet_quant.tflite", "mlperf-tiny/models/kws_ref_model.tflite"];

/// Samples in a row of each network, and where a GPU is simulated, which takes a tenth of a second for one.
const ON_ACCELERATORS: usize = 67;
const ON_GPU: usize = 12;

fn graph(folder: &Path, model: &str, arith: Arith) -> Graph {
    let options = ImportOptions { arith: Some(arith), ..ImportOptions::default() };
    let bytes = std::fs::read(folder.join(model)).unwrap_or_else(|e| panic!("{model}: {e}"));
    import(&bytes, &options).unwrap_or_else(|e| panic!("{model}: {e}"))
}

fn fsim(index: usize) -> Box<dyn Backend> {
    let config = HwConfig::preset(["edge", "tiny"][index]).expect("a preset");
    let device = VtaDevice::open(Box::new(FsimBus::new(&config)), &config).expect("the simulator answers");
    Box::new(VtaBackend::new(device).with_index(index))
}

/// Every node on one of the devices that run it, at random.
fn scattered(graph: &Graph, backends: &[Box<dyn Backend>], random: &mut Random) -> Plan {
    let mut choose = |node| {
        let able: Vec<_> = backends.iter().filter(|backend| backend.supports(graph, node).is_ok()).collect();
        let device = able[random.within(0, able.len())].device();
        Choice { device, reason: "the dice".to_owned() }
    };
    let choices: Vec<Choice> = graph.nodes.iter().map(&mut choose).collect();
    assign(graph, &choices)
}

/// Two networks in turns, sample by sample, and then each as a pipeline.
fn interleaved(folder: &Path, mut backends: Vec<Box<dyn Backend>>, count: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut networks = Vec::new();
    for (model, arith) in PAIR.into_iter().zip([Arith::TfliteRef, Arith::Xnnpack]) {
        let graph = graph(folder, model, arith);
        let plan = scattered(&graph, &backends, &mut random);
        let mut devices: Vec<_> = plan.segments.iter().map(|segment| segment.device).collect();
        devices.sort_unstable();
        devices.dedup();
        assert_eq!(devices.len(), backends.len(), "{model}: the dice leave a device out");
        let executor = Executor::new(&graph, &plan, &mut backends).unwrap_or_else(|e| panic!("{model}: {e}"));
        let samples: Vec<Vec<Tensor>> =
            (0..count).map(|_| vec![random.codes(graph.ty(graph.inputs[0]).shape.clone())]).collect();
        let kernels = Kernels::new(&graph);
        let interpreter = Interpreter::with_kernels(&graph, &kernels);
        let expected: Vec<Vec<Tensor>> = samples.iter().map(|s| interpreter.run(s).expect("the CPU runs it")).collect();
        networks.push((model, executor, samples, expected));
    }
    for at in 0..count {
        for (model, executor, samples, expected) in &mut networks {
            let found = executor.run(&samples[at..=at]).unwrap_or_else(|e| panic!("{model}: {e}"));
            assert!(found[0] == expected[at], "{model}, sample {at}");
        }
    }
    for (model, executor, samples, expected) in &mut networks {
        let found = executor.stream(samples, 1, 6, &mut |_| {}).unwrap_or_else(|e| panic!("{model}: {e}"));
        assert!(found == *expected, "{model}, many at once");
    }
}

#[test]
fn two_networks_share_two_accelerators_and_the_cpu() {
    let Some(folder) = models() else { return };
    for seed in 0..3 {
        interleaved(&folder, vec![fsim(0), fsim(1), Box::new(CpuBackend)], ON_ACCELERATORS, seed);
    }
}

#[test]
fn two_networks_share_an_accelerator_a_gpu_and_the_cpu() {
    let (Some(folder), Some(compiler)) = (models(), tool::nvrtc()) else { return };
    let gpu = Box::new(GpuBackend::new(Gpu::sim(compiler, Simulation::default())));
    interleaved(&folder, vec![fsim(0), gpu, Box::new(CpuBackend)], ON_GPU, 5);
}
