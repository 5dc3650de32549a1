//! Predicted cycles against the Verilated hardware. `cargo bench -p tandem-tests --bench predictions` tables all layers.

use tandem_graph::Graph;
use tandem_import::{ImportOptions, import};
use tandem_isa::HwConfig;
use tandem_isa::timing::DramModel;
use tandem_sim::tsim::{Model, Variant};
use tandem_tests::prediction::{Row, compare, errors, layers};
use tandem_tests::{models, tool};

/// What the mean and the worst error may be.
const MEAN: f64 = 0.05;
const WORST: f64 = 0.15;

const DIGITS: &[u8] = include_bytes!("../../models/digits/digits_int8.tflite");

fn graph(bytes: &[u8]) -> Graph {
    import(bytes, &ImportOptions::default()).unwrap()
}

fn check(graphs: &[Graph], machines: &[HwConfig]) {
    let Some(tools) = tool::verilator() else { return };
    let mut all: Vec<Row> = Vec::new();
    for config in machines {
        let cache = tool::cache().join("models");
        let model = Model::build(config, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
        for memory in [DramModel::ideal(), DramModel::zynq()] {
            for graph in graphs {
                let rows = compare(&layers(graph, config), config, &model, memory);
                let worst = rows.iter().max_by(|a, b| a.error().abs().total_cmp(&b.error().abs())).unwrap();
                assert!(worst.error().abs() <= WORST, "{:?}, {memory:?}, {}: {worst:?}", config.name(), graph.name);
                all.extend(rows);
            }
        }
    }
    assert!(errors(&all).0 <= MEAN, "{:?}", errors(&all));
}

#[test]
fn layers_on_every_preset_take_the_cycles_that_are_predicted() {
    let presets: Vec<HwConfig> = HwConfig::presets().into_iter().map(|name| HwConfig::preset(name).unwrap()).collect();
    check(&[graph(DIGITS)], &presets);
}

#[test]
fn layers_of_a_real_model_take_the_cycles_that_are_predicted() {
    let Some(folder) = models() else { return };
    let model = std::fs::read(folder.join("mlperf-tiny/models/kws_ref_model.tflite")).unwrap();
    let machines = ["edge", "vta"].map(|name| HwConfig::preset(name).unwrap());
    check(&[graph(&model)], &machines);
}
