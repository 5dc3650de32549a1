//! A language model: a checkpoint with its tokenizer, run token by token.

use crate::file;
use crate::options::Passes;
use anyhow::{Result, anyhow, bail};
use std::path::{Path, PathBuf};
use tandem_graph::{Graph, pass};
use tandem_import::llama2c::{BEGIN, Checkpoint, Config, State, Tokenizer};
use tandem_ops::def::Random;
use tandem_tensor::Tensor;

/// A checkpoint of llama2.c with the tokenizer of its vocabulary.
pub struct Language {
    model: PathBuf,
    bytes: Vec<u8>,
    config: Config,
    pub tokenizer: Tokenizer,
}

impl Language {
    /// Reads both files. Without one given, the tokenizer is the only file beside the model whose name is `tok*.bin`.
    pub fn open(model: &Path, tokenizer: Option<&Path>) -> Result<Language> {
        let bytes = file::read(model)?;
        let checkpoint = Checkpoint::read(&bytes).map_err(|e| anyhow!("{}: {e}", model.display()))?;
        let config = checkpoint.config().clone();
        let path = match tokenizer {
            Some(path) => path.to_owned(),
            None => beside(model)?,
        };
        let tokenizer = Tokenizer::read(&file::read(&path)?).map_err(|e| anyhow!("{}: {e}", path.display()))?;
        if tokenizer.vocabulary() != config.vocabulary {
            let (found, expected) = (tokenizer.vocabulary(), config.vocabulary);
            let path = path.display();
            bail!("{path}: it has {found} tokens and the model has {expected}; give the tokenizer of this model");
        }
        Ok(Language { model: model.to_owned(), bytes, config, tokenizer })
    }

    /// Extents of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The graph of a step that attends to so many positions, after the passes that keep every bit.
    pub fn step(&self, context: usize) -> Result<Graph> {
        let name = self.model.display();
        let checkpoint = Checkpoint::read(&self.bytes).map_err(|e| anyhow!("{name}: {e}"))?;
        let graph = checkpoint.step(context).map_err(|e| anyhow!("{name}: {e}"))?;
        let Passes(exact) = Passes::exact();
        let (graph, _) = pass::run(&graph, exact).map_err(|e| anyhow!("{name}: {e}"))?;
        Ok(graph)
    }

    /// What the model says of tokens that begin with [`BEGIN`], for a graph of at least as many positions: for every one that it reads, the
    /// inputs of the step and the logits that `run` makes of them go to `each`.
    pub fn read(
        &self,
        tokens: &[usize],
        context: usize,
        mut run: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
        mut each: impl FnMut(&[Tensor], Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        let mut state = State::new(&self.config, context);
        for &token in tokens {
            let full =
                || anyhow!("{}: {} tokens are more than a context of {context}", self.model.display(), tokens.len());
            let inputs = state.inputs(token).ok_or_else(full)?;
            let logits = state.accept(run(&inputs)?)?;
            each(&inputs, logits)?;
        }
        Ok(())
    }

    /// So many tokens, [`BEGIN`] and the rest drawn from the model's own likelihoods, by a graph of at least as many positions.
    pub fn write(
        &self,
        count: usize,
        context: usize,
        seed: u64,
        mut run: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<usize>> {
        let (mut state, mut chooser) = (State::new(&self.config, context), Chooser::new(1.0, seed));
        let mut tokens = vec![BEGIN];
        while tokens.len() < count {
            let last = tokens[tokens.len() - 1];
            let inputs = state.inputs(last).ok_or_else(|| anyhow!("{}: its context is full", self.model.display()))?;
            let logits = state.accept(run(&inputs)?)?;
            let damaged = || anyhow!("{}: its logits are no numbers; its weights are damaged", self.model.display());
            tokens.push(chooser.choose(&logits).ok_or_else(damaged)?);
        }
        Ok(tokens)
    }
}

/// The only tokenizer in the folder of a model.
fn beside(model: &Path) -> Result<PathBuf> {
    let folder = model.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).map_err(|e| anyhow!("{}: {e}", folder.display()))?;
    let named = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("tok") && name.ends_with(".bin"))
    };
    let found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(named).collect();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        found => bail!("{}: {} files beside it are named tok*.bin; give --tokenizer", model.display(), found.len()),
    }
}

/// Chooses tokens.
pub struct Chooser {
    temperature: f64,
    draws: Random,
}

impl Chooser {
    /// 0 takes the likeliest token always; else tokens are drawn, from likelihoods to the power of 1 / temperature.
    pub fn new(temperature: f64, seed: u64) -> Chooser {
        Chooser { temperature, draws: Random::new(seed) }
    }

    /// The next token; `None` where a logit is no number.
    pub fn choose(&mut self, logits: &[f32]) -> Option<usize> {
        let mut best: Option<(usize, f32)> = None;
        for (token, &logit) in logits.iter().enumerate() {
            if logit.is_nan() {
                return None;
            }
            if best.is_none_or(|(_, top)| logit > top) {
                best = Some((token, logit));
            }
        }
        let (likeliest, top) = best?;
        if self.temperature == 0.0 || !top.is_finite() {
            return Some(likeliest);
        }
        let temperature = self.temperature;
        let weights = logits.iter().map(|&logit| (f64::from(logit - top) / temperature).exp());
        let total: f64 = weights.clone().sum();
        let mut left = self.draws.unit() * total;
        for (token, weight) in weights.enumerate() {
            left -= weight;
            if left < 0.0 {
                return Some(token);
            }
        }
        // Rounding may leave a little.
        Some(likeliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_likelihoods_and_the_seed() {
        let logits = [0.0, 3f32.ln(), f32::NEG_INFINITY];
        let count = |temperature: f64, seed: u64| {
            let mut chooser = Chooser::new(temperature, seed);
            (0..10_000).filter_map(|_| chooser.choose(&logits)).fold([0; 3], |mut counts, token| {
                counts[token] += 1;
                counts
            })
        };
        assert_eq!(count(0.0, 1), [0, 10_000, 0]);
        let [first, second, never] = count(1.0, 1);
        assert!((2_300..2_700).contains(&first) && never == 0, "{first} {second}");
        assert_ne!(count(1.0, 1), count(1.0, 2));
        let [first, ..] = count(0.5, 1);
        assert!((850..1_150).contains(&first), "{first}");
        assert_eq!(Chooser::new(1.0, 0).choose(&[0.0, f32::NAN]), None);
    }
}
