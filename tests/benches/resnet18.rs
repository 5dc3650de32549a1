//! Wall time of the convolutions of ResNet-18 on the functional simulator at preset `vta`: each layer alone, and all of them as often
//! as the network has them.
//!
//! `cargo bench -p tandem-tests --bench resnet18`. The simulator runs as every user's does, behind the driver and with its default
//! options: tokens, queues, instructions, micro-ops, and all addresses are checked, races are not, and no events are recorded.
//! A run is what an inference needs: the input is written to device memory, the program runs, and the result is read.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tandem_driver::{Device, Loaded};
use tandem_graph::workload::{Layer, RESNET18};
use tandem_isa::HwConfig;
use tandem_sim::{Dram, FsimBus, Kernel, Options};
use tandem_tests::layer::codes;
use tandem_tests::random::Random;

const LIMIT: Duration = Duration::from_secs(60);
const SEED: u64 = 1;

/// A layer in the memory of a device.
struct Ready {
    device: Device,
    loaded: Loaded,
    input: (usize, Vec<u8>),
    output: (usize, Vec<u8>),
}

impl Ready {
    fn new(layer: &Layer, config: &HwConfig, options: Options) -> Ready {
        let graph = layer.graph(SEED);
        let compiled = tandem_jit::compile(&graph, config).expect("the accelerator runs convolutions");
        let bus = FsimBus::with_options(config, options, Dram::DEFAULT_LIMIT);
        let mut device = Device::open(Box::new(bus), config).expect("the simulator answers");
        let loaded = device.load(&compiled.program).expect("the program fits");
        let [input, output] = [&compiled.inputs[0], &compiled.outputs[0]];
        let image = codes(&mut Random::new(SEED), graph.ty(graph.inputs[0]));
        let packed = input.pack(&[&image]).expect("a tensor of the input's type");
        let output = (output.section, vec![0; output.bytes()]);
        Ready { device, loaded, input: (input.section, packed), output }
    }

    fn run(&mut self) {
        let Ready { device, loaded, input, output } = self;
        device.write(loaded, input.0, 0, &input.1).expect("the section has this size");
        device.run(loaded, LIMIT).expect("the program is legal");
        device.read_into(loaded, output.0, 0, &mut output.1).expect("the section has this size");
    }
}

fn resnet18(criterion: &mut Criterion) {
    let config = HwConfig::preset("vta").expect("a preset");
    let layers = |options| RESNET18.iter().map(|layer| Ready::new(layer, &config, options)).collect::<Vec<_>>();
    let mut group = criterion.benchmark_group("resnet18");
    for (layer, ready) in RESNET18.iter().zip(&mut layers(Options::default())) {
        group.throughput(Throughput::Elements(layer.macs()));
        group.bench_function(layer.name, |bencher| bencher.iter(|| ready.run()));
    }
    group.throughput(Throughput::Elements(RESNET18.iter().map(|layer| layer.count * layer.macs()).sum()));
    let best = [("weighted".to_owned(), Options::default())];
    let kernels = Kernel::available().into_iter();
    let others = kernels.map(|kernel| (format!("weighted/{kernel:?}"), Options { kernel, ..Options::default() }));
    for (name, options) in best.into_iter().chain(others) {
        let mut layers = layers(options);
        group.bench_function(name, |bencher| bencher.iter(|| network(&mut layers)));
    }
    group.finish();
}

/// Every layer as often as the network has it.
fn network(layers: &mut [Ready]) {
    for (layer, ready) in RESNET18.iter().zip(layers) {
        (0..layer.count).for_each(|_| ready.run());
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4)).without_plots();
    targets = resnet18
}
criterion_main!(benches);
