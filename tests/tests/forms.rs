//! Definitions of kernels on the accelerator, beside their reference: the FPGA forms of the grade "split".

use std::sync::Arc;
use tandem_driver::{Bus, Device};
use tandem_isa::{HwConfig, HwFacts};
use tandem_ops::def::{Grade, Kernel, Sample, conform};
use tandem_runtime::VtaBackend;
use tandem_runtime::forms::{self, Core};
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_sim::{Checks, FsimBus, Options};
use tandem_tests::tool;

/// Memory of the simulated machine.
const DRAM_BYTES: u64 = 256 << 20;

fn core(bus: Box<dyn Bus + Send>, config: &HwConfig) -> Arc<Core> {
    Arc::new(Core::new(VtaBackend::new(Device::open(bus, config).expect("a simulated device"))))
}

fn simulated(config: &HwConfig, seed: u64) -> Vec<Box<dyn Kernel>> {
    let checks = Checks { races: true, uninitialised: true };
    let bus = FsimBus::with_options(config, Options { seed, checks, ..Options::default() }, DRAM_BYTES);
    forms::kernels(&core(Box::new(bus), config))
}

/// A preset that unpacks weights of four bits.
fn packed(name: &str) -> HwConfig {
    let facts = HwConfig::preset(name).expect("a preset").facts().clone();
    HwConfig::new(HwFacts { packed_weights: true, ..facts }).expect("a machine")
}

fn check(kernel: &dyn Kernel, sample: &Sample, seed: u64, what: &str) {
    let name = kernel.operation().def().name;
    let verdict = conform(kernel, sample, seed).unwrap_or_else(|e| panic!("{name} {} on {what}: {e}", sample.name));
    assert!(verdict.agrees, "{name} {} on {what}, seed {seed}: {:?}", sample.name, verdict.results);
}

#[test]
fn forms_agree_with_the_reference_on_every_sample_and_preset() {
    for (seed, name) in HwConfig::presets().iter().enumerate() {
        for config in [HwConfig::preset(name).expect("a preset"), packed(name)] {
            for kernel in simulated(&config, seed as u64) {
                for sample in kernel.operation().samples() {
                    check(&*kernel, &sample, 1 + seed as u64, &config.to_toml());
                }
            }
        }
    }
}

#[test]
fn forms_agree_on_random_machines() {
    for seed in 0..40 {
        let config = HwConfig::sample(seed);
        let config = if seed % 3 == 2 { config.without_queues() } else { config };
        for kernel in simulated(&config, seed) {
            let samples = kernel.operation().samples();
            check(&*kernel, &samples[seed as usize % samples.len()], seed, &config.to_toml());
        }
    }
}

/// A sum that is off by little is rounded to the other side only now and then.
#[test]
fn forms_agree_on_many_seeds() {
    let names = ["few_rows", "odd_outliers", "odd_sum", "one_row", "one_element", "nan_and_inf", "odd_ranks"];
    for kernel in simulated(&HwConfig::preset("edge").expect("a preset"), 1) {
        for sample in kernel.operation().samples().iter().filter(|sample| names.contains(&sample.name)) {
            (1000..1100).for_each(|seed| check(&*kernel, sample, seed, "edge"));
        }
    }
}

#[test]
fn sums_deeper_than_32_bits_hold_are_cut() {
    let kernels = simulated(&HwConfig::preset("vta").expect("a preset"), 1);
    let kernel = kernels.iter().find(|kernel| kernel.operation().def().name == "gemm.bf16").expect("it has a form");
    let sample = Sample::new(kernel.operation().def(), "deep", &[("m", 2), ("n", 3), ("k", 70_000)]);
    check(&**kernel, &sample, 7, "vta");
}

#[test]
fn forms_agree_on_the_hardware() {
    let Some(tools) = tool::verilator() else { return };
    let config = packed("tiny");
    let model = Model::build(&config, &tools, &tool::cache().join("models"), Variant::default(), &mut |_| {});
    let options = TsimOptions { check: true, stress: Some(3), dram: DramModel::zynq(), ..TsimOptions::default() };
    let bus = TsimBus::new(model.expect("a model"), options).expect("a simulation");
    let kernels = forms::kernels(&core(Box::new(bus), &config));
    for (op, sample) in [
        ("gemm.w4a4", "ragged"),
        ("gemm.w4a8", "with_outliers"),
        ("gemm.w4a16", "few_rows"),
        ("sgmv.bf16", "odd_ranks"),
    ] {
        let kernel = kernels.iter().find(|kernel| kernel.operation().def().name == op).expect("it has a form");
        let samples = kernel.operation().samples();
        check(&**kernel, samples.iter().find(|other| other.name == sample).expect("a sample"), 5, "the hardware");
    }
}

#[test]
fn what_has_a_form_is_graded_so() {
    let kernels = simulated(&HwConfig::preset("vta").expect("a preset"), 0);
    assert_eq!(kernels.len(), 9);
    for kernel in kernels {
        let def = kernel.operation().def();
        assert!(matches!(def.fpga, Grade::Split(_)), "{}: {:?}", def.name, def.fpga);
    }
}
