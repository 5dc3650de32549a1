//! Predicted cycles beside those of the Verilated hardware: every layer of the MLPerf Tiny models on every preset and on the machines
//! of `benches/hw`, and ResNet-18's convolutions at preset `vta`, with both memories.
//!
//! `cargo bench -p tandem-tests --bench predictions -- [OUT.json]`. Cycles are simulated; a file is written where one is named.

use std::path::Path;

use serde_json::{Value, json};
use tandem_graph::Graph;
use tandem_graph::workload::RESNET18;
use tandem_import::{ImportOptions, import};
use tandem_isa::HwConfig;
use tandem_isa::timing::DramModel;
use tandem_sim::tsim::{Model, Variant};
use tandem_tests::prediction::{Row, compare, errors, layers};
use tandem_tests::{models, tool};

const MODELS: [&str; 4] = ["ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "vww_96_int8"];
const FILES: [&str; 2] = ["64.toml", "256.toml"];
const SEED: u64 = 1;

/// Every model by its name, with its layers on a machine.
fn networks(config: &HwConfig) -> Vec<(String, Vec<(String, Graph)>)> {
    let Some(folder) = models() else { return Vec::new() };
    let network = |name: &str| {
        let bytes = std::fs::read(folder.join(format!("mlperf-tiny/models/{name}.tflite"))).expect("a model");
        let graph = import(&bytes, &ImportOptions::default()).expect("a model that is read");
        (name.to_owned(), layers(&graph, config))
    };
    let mut networks: Vec<_> = MODELS.iter().map(|name| network(name)).collect();
    if config.name() == Some("vta") {
        let convolutions = RESNET18.iter().map(|layer| (layer.name.to_owned(), layer.graph(SEED)));
        networks.push(("resnet18".to_owned(), convolutions.collect()));
    }
    networks
}

fn main() {
    let out = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let Some(tools) = tool::verilator() else { return };
    let presets = HwConfig::presets().into_iter().map(|name| HwConfig::preset(name).expect("a preset"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/hw");
    let file = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).expect("a configuration");
        HwConfig::from_toml(&text).expect("a legal configuration")
    };
    let mut all: Vec<Row> = Vec::new();
    let mut entries: Vec<Value> = Vec::new();
    for config in presets.chain(FILES.map(file)) {
        let machine = config.name().unwrap_or_default().to_owned();
        let cache = tool::cache().join("models");
        let model =
            Model::build(&config, &tools, &cache, Variant::default(), &mut |_| {}).expect("the hardware is built");
        for (memory, dram) in [("ideal", DramModel::ideal()), ("zynq", DramModel::zynq())] {
            for (network, layers) in networks(&config) {
                let rows = compare(&layers, &config, &model, dram);
                let (mean, worst) = errors(&rows);
                println!(
                    "{machine:6} {memory:6} {network:24} {:3} layers: mean error {:5.2} %, worst {:5.2} %",
                    rows.len(),
                    100.0 * mean,
                    100.0 * worst
                );
                entries.extend(rows.iter().map(|row| {
                    let Row { layer, predicted, simulated } = row;
                    json!({"hw": machine, "dram": memory, "model": network, "layer": layer, "predicted": predicted,
                        "simulated": simulated})
                }));
                all.extend(rows);
            }
        }
    }
    let (mean, worst) = errors(&all);
    println!("{} layers: mean error {:.2} %, worst {:.2} %", all.len(), 100.0 * mean, 100.0 * worst);
    if let Some(out) = out {
        // A layer a line.
        let layers: Vec<String> = entries.iter().map(|entry| format!("    {entry}")).collect();
        let report = format!(
            "{{\n  \"kind\": \"predictions\",\n  \"cycles\": \"simulated (Verilator) and predicted\",\n  \"mean_error\": {mean},\n  \
             \"worst_error\": {worst},\n  \"layers\": [\n{}\n  ]\n}}\n",
            layers.join(",\n")
        );
        std::fs::write(&out, report).expect("the file is written");
    }
}
