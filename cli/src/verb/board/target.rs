//! A model on its devices as what the MLPerf Tiny runner measures.

use crate::session::Session;
use anyhow::{Result, bail};
use indicatif::ProgressBar;
use std::time::Instant;
use tandem_driver::mlperf::Target;
use tandem_tensor::{DType, Tensor, TensorType};

/// What a benchmark sends and wants to have back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benchmark {
    /// Pixels 0..255; the probabilities of the classes.
    Pixels,
    /// The input's own codes or numbers; the outputs.
    Raw,
    /// Reals; the mean square of what the output differs from them.
    Reconstruction,
}

/// A session with the input and the outputs of the last inference.
pub struct ModelTarget {
    session: Session,
    name: String,
    model: String,
    benchmark: Benchmark,
    input: TensorType,
    reals: Vec<f32>,
    loaded: Vec<Tensor>,
    outputs: Option<Vec<Tensor>>,
    start: Instant,
}

impl ModelTarget {
    /// A session under the benchmark's name for its model, which the shape of its input tells where none is given.
    ///
    /// # Errors
    /// A model with several inputs, or none.
    pub fn new(session: Session, name: String, model: Option<String>) -> Result<ModelTarget> {
        let [id] = session.graph.inputs[..] else {
            bail!(
                "{}: the runner sends one input and the model has {}",
                session.graph.name,
                session.graph.inputs.len()
            );
        };
        let input = session.graph.ty(id).clone();
        let model = model.unwrap_or_else(|| model_of(&input).to_owned());
        let benchmark = benchmark(&model, &input);
        let (reals, loaded, outputs, start) = (Vec::new(), Vec::new(), None, Instant::now());
        Ok(ModelTarget { session, name, model, benchmark, input, reals, loaded, outputs, start })
    }

    fn tensor(&mut self, bytes: &[u8]) -> Result<Tensor> {
        let ty = &self.input;
        match self.benchmark {
            Benchmark::Raw => Ok(Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), bytes)?),
            Benchmark::Pixels => {
                let codes = bytes.iter().map(|&pixel| f64::from(pixel) - 128.0).collect::<Vec<_>>();
                Ok(Tensor::from_f64(ty.dtype, ty.shape.clone(), &codes)?)
            }
            Benchmark::Reconstruction => {
                self.reals = bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
                if self.reals.iter().any(|real| !real.is_finite()) {
                    bail!("the input has numbers that are not finite");
                }
                let codes: Vec<f64> = self.reals.iter().map(|&real| code(real, ty)).collect();
                Ok(Tensor::from_f64(ty.dtype, ty.shape.clone(), &codes)?)
            }
        }
    }
}

impl Target for ModelTarget {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn model(&self) -> String {
        self.model.clone()
    }

    fn input_bytes(&self) -> usize {
        match self.benchmark {
            Benchmark::Raw => self.input.bytes(),
            Benchmark::Pixels => self.input.elements(),
            Benchmark::Reconstruction => 4 * self.input.elements(),
        }
    }

    fn load(&mut self, input: &[u8]) -> Result<(), String> {
        self.outputs = None;
        self.loaded = vec![self.tensor(input).map_err(|e| format!("{e:#}"))?];
        Ok(())
    }

    fn infer(&mut self) -> Result<(), String> {
        let bar = ProgressBar::hidden();
        let ran = self.session.step(std::slice::from_ref(&self.loaded), &bar).map_err(|e| e.to_string())?;
        self.outputs = ran.into_iter().next();
        Ok(())
    }

    fn results(&mut self) -> Result<Vec<f32>, String> {
        let outputs = self.outputs.as_ref().ok_or("Nothing has run on this input".to_owned())?;
        let (graph, no_output) = (&self.session.graph, || "The model has no output".to_owned());
        let output = outputs.first().ok_or_else(no_output)?;
        let ty = graph.outputs.first().map(|&id| graph.ty(id)).ok_or_else(no_output)?;
        let reals: Vec<f32> = output.to_f64().into_iter().map(|value| real(value, ty)).collect();
        if self.benchmark != Benchmark::Reconstruction {
            return Ok(reals);
        }
        let squares = reals.iter().zip(&self.reals).map(|(out, given)| (out - given) * (out - given));
        Ok(vec![squares.sum::<f32>() / reals.len().max(1) as f32])
    }

    fn now_us(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The benchmark's name for a model with this input.
fn model_of(input: &TensorType) -> &'static str {
    let shape: Vec<usize> = input.shape.iter().copied().filter(|&extent| extent != 1).collect();
    match shape[..] {
        [32, 32, 3] => "ic01",
        [96, 96, 3] => "vww01",
        [49, 10] | [490] => "kws01",
        [640] => "ad01",
        [30, 40] => "sww01",
        _ => "unknown",
    }
}

fn benchmark(model: &str, input: &TensorType) -> Benchmark {
    match model {
        "ic01" | "vww01" if input.dtype == DType::I8 => Benchmark::Pixels,
        "ad01" => Benchmark::Reconstruction,
        _ => Benchmark::Raw,
    }
}

/// The code of a real number, or itself.
fn code(real: f32, ty: &TensorType) -> f64 {
    match (&ty.quant, ty.dtype.integer_range()) {
        (Some(quant), Some((lo, hi))) => {
            let code = (f64::from(real) / f64::from(quant.scale())).round() + f64::from(quant.zero_point());
            code.clamp(lo as f64, hi as f64)
        }
        _ => f64::from(real),
    }
}

/// The real number of a code, or itself.
fn real(value: f64, ty: &TensorType) -> f32 {
    match &ty.quant {
        Some(quant) => (f64::from(quant.scale()) * (value - f64::from(quant.zero_point()))) as f32,
        None => value as f32,
    }
}
