//! The models of an exploration: what the accelerator has to compute of each, and what must come of it.

use crate::options::ModelOptions;
use crate::{model, tools};
use anyhow::{Result, anyhow, bail};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use tandem_graph::{Graph, Interpreter, ValueId};
use tandem_isa::HwConfig;
use tandem_jit::JitError;
use tandem_ops::def::Random;
use tandem_plan::{Device, Segment, extract, partition};
use tandem_tensor::{DType, Tensor, TensorType};

/// Short names of models below the folder of test models.
const KNOWN: [(&str, &str); 4] = [
    ("resnet8", "mlperf-tiny/models/pretrainedResnet_quant.tflite"),
    ("kws", "mlperf-tiny/models/kws_ref_model.tflite"),
    ("vww", "mlperf-tiny/models/vww_96_int8.tflite"),
    ("ad", "mlperf-tiny/models/ad01_int8.tflite"),
];

/// A model with inputs, cut into what the accelerator computes and what the CPU does.
pub struct Subject {
    /// Its short name, or that of its file.
    pub name: String,
    /// What the accelerator computes, in order.
    pub pieces: Vec<Piece>,
    /// Multiply-accumulates of one inference on the accelerator.
    pub macs: u64,
    /// Nodes that the CPU runs.
    pub host_nodes: usize,
    /// Inferences.
    pub samples: usize,
}

/// A part of a model that the accelerator computes in one go.
pub struct Piece {
    /// The nodes.
    pub graph: Graph,
    /// What goes in, for each inference: as the reference interpreter has it there.
    pub inputs: Vec<Vec<Tensor>>,
    /// What the reference interpreter has behind it.
    pub expected: Vec<Vec<Tensor>>,
}

/// The models of a list, with so many inferences of inputs drawn by a seed. `machine` decides which nodes the accelerator runs.
///
/// # Errors
/// One sentence naming the model.
pub fn load(list: &[String], machine: &HwConfig, samples: usize, seed: u64) -> Result<Vec<Subject>> {
    let mut subjects: Vec<Subject> = Vec::new();
    for word in list {
        let (name, path) = find(word)?;
        if subjects.iter().any(|other| other.name == name) {
            bail!("--models: {name} is named twice; name each model once");
        }
        let options = ModelOptions { model: path, arith: None, cut_at: None, dim: Vec::new(), pass: None };
        let graph = model::ready(&options)?;
        let subject = subject(name, &graph, machine, samples, seed).map_err(|e| anyhow!("{word}: {e}"))?;
        subjects.push(subject);
    }
    Ok(subjects)
}

/// The name and the file behind a word.
fn find(word: &str) -> Result<(String, PathBuf)> {
    let Some((name, below)) = KNOWN.iter().find(|(name, _)| *name == word) else {
        let path = Path::new(word);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(word).to_owned();
        if !path.exists() {
            let names = KNOWN.map(|(name, _)| name).join(", ");
            bail!("--models: there is no model and no file {word}; the names are {names}");
        }
        return Ok((stem, path.to_path_buf()));
    };
    let Some(folder) = tools::models() else {
        bail!(
            "--models {word}: the folder of test models is not there; set TANDEM_MODELS, or give the path of a model"
        );
    };
    Ok(((*name).to_owned(), folder.join(below)))
}

fn subject(name: String, graph: &Graph, machine: &HwConfig, samples: usize, seed: u64) -> Result<Subject> {
    let segments = segments(graph, machine)?;
    let mut random = Random::new(seed);
    let runs = (0..samples).map(|_| values(graph, &mut random)).collect::<Result<Vec<_>>>()?;
    let take = |ids: &[ValueId]| -> Result<Vec<Vec<Tensor>>> {
        let one = |run: &HashMap<ValueId, Tensor>, id: &ValueId| {
            run.get(id).cloned().ok_or_else(|| anyhow!("nothing makes the value '{}'", graph.value(*id).name))
        };
        runs.iter().map(|run| ids.iter().map(|id| one(run, id)).collect()).collect()
    };
    let mut pieces = Vec::with_capacity(segments.len());
    for segment in &segments {
        pieces.push(Piece {
            graph: extract(graph, segment),
            inputs: take(&segment.inputs)?,
            expected: take(&segment.outputs)?,
        });
    }
    let nodes: usize = segments.iter().map(|segment| segment.nodes.len()).sum();
    let macs = segments.iter().map(|segment| segment.macs).sum();
    Ok(Subject { name, pieces, macs, host_nodes: graph.nodes.len() - nodes, samples })
}

/// What a machine runs of a graph.
fn segments(graph: &Graph, machine: &HwConfig) -> Result<Vec<Segment>> {
    let mut refused: BTreeSet<String> = BTreeSet::new();
    loop {
        let plan = partition(graph, Device::Vta(0), |node| match refused.contains(&node.name) {
            true => Err("the compiler refuses it".to_owned()),
            false => tandem_jit::supports(graph, node, machine),
        });
        let segments: Vec<Segment> = plan.segments.into_iter().filter(|segment| segment.device.is_vta()).collect();
        if segments.is_empty() {
            bail!("the accelerator can run none of its nodes; quantise it first, see `tandem quantize`");
        }
        let before = refused.len();
        for segment in &segments {
            match tandem_jit::compile(&extract(graph, segment), machine) {
                Ok(_) => {}
                // What the compiler refuses only when it sees it stays on the CPU, for every design.
                Err(JitError::Unsupported { node, .. }) if refused.insert(node.clone()) => break,
                Err(error) => bail!("{error}"),
            }
        }
        if refused.len() == before {
            return Ok(segments);
        }
    }
}

/// The inputs of an inference, drawn, and every value that the reference interpreter makes of them.
fn values(graph: &Graph, random: &mut Random) -> Result<HashMap<ValueId, Tensor>> {
    let inputs = graph.inputs.iter().map(|&id| draw(graph.ty(id), random)).collect::<Result<Vec<_>>>()?;
    let mut values: HashMap<ValueId, Tensor> = graph.inputs.iter().copied().zip(inputs.iter().cloned()).collect();
    Interpreter::new(graph).run_observed(&inputs, |node, results| {
        values.extend(graph.nodes[node.0].outputs.iter().copied().zip(results.iter().cloned()));
    })?;
    Ok(values)
}

/// A tensor of a type: all codes of an integer are equally likely, reals are of the normal distribution.
fn draw(ty: &TensorType, random: &mut Random) -> Result<Tensor> {
    let shape = ty.shape.clone();
    Ok(match ty.dtype {
        DType::I8 => random.codes(shape),
        dtype if dtype.is_float() => random.normal_tensor(dtype, shape, 1.0),
        dtype => {
            let (low, high) = dtype.integer_range().unwrap_or((0, 1));
            let span = (high - low).clamp(1, 255) as usize + 1;
            let codes: Vec<f64> = (0..shape.elements()).map(|_| low as f64 + random.within(0, span) as f64).collect();
            Tensor::from_f64(dtype, shape, &codes)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_cut_into_what_the_accelerator_runs_with_what_must_come_of_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits/digits_int8.tflite");
        let machine = HwConfig::preset("tiny").unwrap();
        let subjects = load(&[path.to_owned()], &machine, 2, 1).unwrap();
        let [subject] = &subjects[..] else { panic!("one model") };
        assert_eq!((subject.name.as_str(), subject.samples), ("digits_int8", 2));
        assert!(subject.macs > 10_000 && !subject.pieces.is_empty());
        for piece in &subject.pieces {
            for (inputs, expected) in piece.inputs.iter().zip(&piece.expected) {
                assert_eq!(&tandem_graph::interpret(&piece.graph, inputs).unwrap(), expected);
            }
            assert_ne!(piece.inputs[0], piece.inputs[1], "two inferences have different inputs");
        }
        let same = load(&[path.to_owned()], &machine, 2, 1).unwrap();
        assert_eq!(same[0].pieces[0].expected, subject.pieces[0].expected);
    }

    #[test]
    fn a_model_that_is_not_there_or_twice_is_refused_by_name() {
        let machine = HwConfig::preset("tiny").unwrap();
        let error = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|word| (*word).to_owned()).collect();
            load(&list, &machine, 1, 1).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(error(&["resnet9"]).contains("the names are resnet8, kws, vww, ad"));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits/digits_int8.tflite");
        assert!(error(&[path, path]).contains("digits_int8 is named twice"));
    }
}
