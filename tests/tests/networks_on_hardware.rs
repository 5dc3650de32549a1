//! Networks on the hardware, cycle by cycle: the same codes as the functional simulator and as the engines that define them,
//! whatever the timing of the memory.

use std::sync::Arc;

use tandem_driver::{Bus, Device as VtaDevice};
use tandem_graph::Graph;
use tandem_import::{ImportOptions, import};
use tandem_isa::{HwConfig, Queue};
use tandem_ops::Arith;
use tandem_plan::{Device, partition};
use tandem_runtime::{Backend, CpuBackend, Executor, VtaBackend};
use tandem_sim::FsimBus;
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_tensor::Tensor;
use tandem_tests::{models, tool};

const DIGITS: &[u8] = include_bytes!("../../models/digits/digits_int8.tflite");
const DIGITS_INPUTS: &[u8] = include_bytes!("../../models/digits/inputs_i8.bin");
const DIGITS_EXPECTED: &[u8] = include_bytes!("../../models/digits/expected_prob_i8_tflref.bin");

/// The hardware of a preset; `None` where the tools are absent.
fn hardware(config: &HwConfig) -> Option<Arc<Model>> {
    let tools = tool::verilator()?;
    let cache = tool::cache().join("models");
    Some(Model::build(config, &tools, &cache, Variant::default(), &mut |_| {}).unwrap())
}

/// Memories and stress under which results must be the same.
fn timings() -> [TsimOptions; 3] {
    let options = |dram, stress| TsimOptions { dram, stress, dram_limit: 1 << 30, ..TsimOptions::default() };
    [options(DramModel::ideal(), None), options(DramModel::zynq(), None), options(DramModel::ideal(), Some(7))]
}

/// The codes of samples on a bus, and the cycles that the device reports.
fn run(graph: &Graph, config: &HwConfig, bus: Box<dyn Bus + Send>, samples: &[Vec<Tensor>]) -> (Vec<u8>, u64) {
    let plan = partition(graph, Device::Vta(0), |node| tandem_jit::supports(graph, node, config));
    let device = VtaDevice::open(bus, config).unwrap();
    let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(VtaBackend::new(device)), Box::new(CpuBackend)];
    let mut executor = Executor::new(graph, &plan, &mut backends).unwrap();
    let outputs = executor.run(samples).unwrap();
    let bytes = outputs.iter().flatten().flat_map(Tensor::to_le_bytes).collect();
    (bytes, executor.profile().counters(Device::Vta(0)).cycles)
}

/// Runs a network on both simulators, and the hardware under every timing.
fn compare(model: &[u8], inputs: &[u8], expected: &[u8], config: &HwConfig, hardware: &Arc<Model>) {
    let graph = import(model, &ImportOptions { arith: Some(Arith::TfliteRef), ..ImportOptions::default() }).unwrap();
    let ty = graph.ty(graph.inputs[0]);
    let tensor = |bytes: &[u8]| vec![Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), bytes).unwrap()];
    let samples: Vec<Vec<Tensor>> = inputs.chunks_exact(ty.bytes()).map(tensor).collect();
    let (functional, _) = run(&graph, config, Box::new(FsimBus::new(config)), &samples);
    assert!(functional == expected, "{}: the functional simulator differs from the engine", graph.name);
    let mut cycles = Vec::new();
    for options in timings() {
        let what = format!("{}: {:?}, stress {:?}", graph.name, options.dram, options.stress);
        let bus = TsimBus::new(Arc::clone(hardware), options).unwrap();
        let monitor = bus.monitor();
        let (codes, counted) = run(&graph, config, Box::new(bus), &samples);
        assert!(codes == expected, "{what}");
        let activity = monitor.total_activity();
        assert_eq!(activity.cycles, counted, "{what}");
        for unit in Queue::ALL {
            assert_eq!(activity.unit(unit).total(), counted, "{what}: {unit}");
        }
        cycles.push(counted);
    }
    assert!(cycles[0] < cycles[1] && cycles[0] < cycles[2], "{}: {cycles:?}", graph.name);
}

#[test]
fn the_digits_network_is_bit_exact_under_every_timing() {
    let config = HwConfig::preset("edge").unwrap();
    let Some(hardware) = hardware(&config) else { return };
    compare(DIGITS, &DIGITS_INPUTS[..8 * 64], &DIGITS_EXPECTED[..8 * 10], &config, &hardware);
}

#[test]
fn the_first_images_of_resnet_8_are_bit_exact_under_every_timing() {
    let Some(folder) = models() else { return };
    let config = HwConfig::preset("edge").unwrap();
    let Some(hardware) = hardware(&config) else { return };
    let read = |file: &str| std::fs::read(folder.join("mlperf-tiny").join(file)).unwrap();
    let pixels = read("ic01/inputs_u8.bin");
    let codes: Vec<u8> = pixels[..2 * 32 * 32 * 3].iter().map(|pixel| pixel ^ 0x80).collect();
    let expected = read("ic01/expected_prob_i8_tflref.bin");
    compare(&read("models/pretrainedResnet_quant.tflite"), &codes, &expected[..2 * 10], &config, &hardware);
}
