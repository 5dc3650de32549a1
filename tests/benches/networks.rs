//! Wall time of one inference of each real network: the functional simulator at preset `vta`, and the CPU backend.
//!
//! `cargo bench -p tandem-tests`; the models come from `TANDEM_MODELS`.

use criterion::{Criterion, criterion_group, criterion_main};
use tandem_driver::Device as VtaDevice;
use tandem_import::{ImportOptions, import};
use tandem_isa::HwConfig;
use tandem_plan::{Device, on_cpu, partition};
use tandem_runtime::{Backend, CpuBackend, Executor, VtaBackend};
use tandem_sim::FsimBus;
use tandem_tensor::Tensor;
use tandem_tests::layer::codes;
use tandem_tests::random::Random;

const NETWORKS: [(&str, &str); 4] = [
    ("resnet8", "pretrainedResnet_quant.tflite"),
    ("ds_cnn", "kws_ref_model.tflite"),
    ("mobilenet_vww", "vww_96_int8.tflite"),
    ("autoencoder", "ad01_int8.tflite"),
];

fn networks(criterion: &mut Criterion) {
    let Some(folder) = tandem_tests::models() else { return };
    let config = HwConfig::preset("vta").expect("a preset");
    for (name, file) in NETWORKS {
        let bytes = std::fs::read(folder.join("mlperf-tiny/models").join(file)).expect("the model is in the folder");
        let graph = import(&bytes, &ImportOptions::default()).expect("the model imports");
        let device = VtaDevice::open(Box::new(FsimBus::new(&config)), &config).expect("the simulator answers");
        let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(VtaBackend::new(device)), Box::new(CpuBackend)];
        let vta = partition(&graph, Device::Vta(0), |node| tandem_jit::supports(&graph, node, &config));
        let sample: Vec<Tensor> = graph.inputs.iter().map(|&id| codes(&mut Random::new(1), graph.ty(id))).collect();
        for (device, plan) in [("fsim", vta), ("cpu", on_cpu(&graph, "measured here"))] {
            let mut executor = Executor::new(&graph, &plan, &mut backends).expect("every segment compiles");
            criterion.bench_function(&format!("{name}/{device}"), |b| {
                b.iter(|| executor.run(std::slice::from_ref(&sample)).expect("every segment runs"));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2)).without_plots();
    targets = networks
}
criterion_main!(benches);
