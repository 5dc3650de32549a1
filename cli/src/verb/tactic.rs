//! `tandem tactic`: how much of its attention a language model keeps when it attends to few keys.

use crate::curves::{self, Curve, Shape};
use crate::language::Language;
use crate::options::Format;
use crate::session::bar;
use crate::table::{grouped, table};
use crate::{Outcome, file, stdout};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use half::bf16;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tandem_graph::{Graph, Interpreter, Kernels, NodeId};
use tandem_ops::cpu::{Level, kernel};
use tandem_ops::def::{Dims, Random, Tensors, accept};
use tandem_ops::ivf::{Metric, Value as _};
use tandem_ops::tactic::{Mass, Probe, mass};
use tandem_tensor::Tensor;

/// Options of `tandem tactic`.
#[derive(Args)]
pub struct Options {
    /// A checkpoint of llama2.c (version 0).
    model: PathBuf,
    /// Its tokenizer [default: the only tok*.bin beside it].
    #[arg(long, value_name = "TOK.bin")]
    tokenizer: Option<PathBuf>,
    /// The text that the model reads [default: text that it writes itself].
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Parts of the attention that are to be kept, separated by commas.
    #[arg(long, value_name = "0..1", value_delimiter = ',', default_value = "0.5,0.6,0.7,0.8,0.9,0.95,0.99", value_parser = part)]
    target: Vec<f32>,
    /// Steps that are measured: the last ones of the model's context [default: an eighth of it].
    #[arg(long, value_name = "N", value_parser = super::run::at_least_one)]
    steps: Option<usize>,
    /// Steps after which keys are clustered anew [default: a sixteenth of the model's context].
    #[arg(long, value_name = "N", value_parser = super::run::at_least_one)]
    every: Option<usize>,
    /// Keys of a cluster, on the mean.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = super::run::at_least_one)]
    cluster: usize,
    /// Turns of k-means.
    #[arg(long, value_name = "N", default_value_t = 10)]
    iterations: usize,
    /// Keys of the best clusters whose weights are computed [default: a 64th of the keys, and 160 at least].
    #[arg(long, value_name = "N")]
    head: Option<usize>,
    /// Keys of each of the two windows behind them, through which the law of the others goes.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = super::run::at_least_one)]
    window: usize,
    /// Where texts and first centroids begin.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Write the part of the attention over the keys attended to as a picture.
    #[arg(long, value_name = "CURVE.svg")]
    plot: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

fn part(text: &str) -> Result<f32, String> {
    let part = text.parse::<f32>().ok().filter(|part| *part > 0.0 && *part <= 1.0);
    part.ok_or_else(|| format!("'{text}' is not a part: give a number above 0, up to 1"))
}

/// What a layer's attention reads in a step: queries of all heads, and keys of all positions up to the step's own.
struct Read {
    q: Vec<bf16>,
    k: Vec<bf16>,
}

/// Extents of a model's attention.
#[derive(Clone, Copy)]
struct Heads {
    queries: usize,
    keys: usize,
    d: usize,
}

/// What came of a target, all heads of all steps together.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    heads: usize,
    reached: usize,
    mass: f64,
    /// Keys that a head asks for, and the fewest that have the target.
    asked: usize,
    fewest: usize,
    /// The same of its whole group, and the mass that the latter have.
    attended: usize,
    fewest_of_group: usize,
    fewest_mass: f64,
    /// Logits that were computed to choose, those of centroids among them, and keys.
    logits: usize,
    keys: usize,
}

impl Sums {
    fn plus(self, other: Sums) -> Sums {
        Sums {
            heads: self.heads + other.heads,
            reached: self.reached + other.reached,
            mass: self.mass + other.mass,
            asked: self.asked + other.asked,
            fewest: self.fewest + other.fewest,
            attended: self.attended + other.attended,
            fewest_of_group: self.fewest_of_group + other.fewest_of_group,
            fewest_mass: self.fewest_mass + other.fewest_mass,
            logits: self.logits + other.logits,
            keys: self.keys + other.keys,
        }
    }

    fn mean(self, sum: usize) -> f64 {
        sum as f64 / self.heads.max(1) as f64
    }
}

/// A number of keys over the fewest that would do.
fn over(keys: usize, fewest: usize) -> f64 {
    keys as f64 / fewest.max(1) as f64
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let language = Language::open(&options.model, options.tokenizer.as_deref())?;
    let (config, name) = (language.config(), options.model.display());
    let heads = Heads { queries: config.heads, keys: config.kv_heads, d: config.head() };
    let context = config.context;
    let steps = options.steps.unwrap_or(context / 8).min(context.saturating_sub(1)).max(1);
    if context < 2 {
        bail!("{name}: it was made for one position, among which there is nothing to choose");
    }
    if let Some(path) = &options.plot {
        file::probe(path)?;
    }
    let every = options.every.unwrap_or((context / 16).max(1));
    let graph = language.step(context)?;
    let kernels = Kernels::new(&graph);
    let interpreter = Interpreter::with_kernels(&graph, &kernels);
    let (source, tokens) = match &options.text {
        Some(path) => {
            let mut tokens = language.tokenizer.encode(&file::read_text(path)?);
            tokens.truncate(context);
            (path.display().to_string(), tokens)
        }
        None => {
            let tokens = language.write(context, context, options.seed, |inputs| Ok(interpreter.run(inputs)?))?;
            (format!("text that the model wrote, seed {}", options.seed), tokens)
        }
    };
    if tokens.len() <= steps {
        bail!(
            "{source}: it has {} tokens, and the last {steps} steps are measured; give --steps or a longer text",
            tokens.len()
        );
    }
    let first = tokens.len() - steps;
    let read = read(&language, &graph, &interpreter, &tokens, first, heads)?;
    let bar = bar(read.len());
    let of_layer = |(layer, steps): (usize, &Vec<Read>)| {
        let sums = measure(options, heads, layer, first, steps, every);
        bar.inc(1);
        sums
    };
    let layers = read.par_iter().enumerate().map(of_layer).collect::<Result<Vec<_>>>()?;
    bar.finish_and_clear();
    let sums: Vec<Sums> = (0..options.target.len())
        .map(|target| layers.iter().map(|sums| sums[target]).fold(Sums::default(), Sums::plus))
        .collect();
    let report = Report { options, source: &source, first, steps, every, layers: read.len(), heads, sums: &sums };
    if let Some(path) = &options.plot {
        file::write(path, report.plot().as_bytes())?;
    }
    stdout::emit(&match options.format {
        Format::Json => format!("{}\n", report.json()),
        Format::Table => report.text(),
    })?;
    Ok(Outcome::Good)
}

/// What every layer reads in the steps from `first` on.
fn read(
    language: &Language,
    graph: &Graph,
    interpreter: &Interpreter<'_>,
    tokens: &[usize],
    first: usize,
    heads: Heads,
) -> Result<Vec<Vec<Read>>> {
    let layers = language.config().layers;
    let named = |wanted: &str| {
        let node = graph.nodes.iter().position(|node| node.outputs.iter().any(|id| graph.value(*id).name == wanted));
        node.map(NodeId).ok_or_else(|| anyhow!("{}: no node of its step makes '{wanted}'", graph.name))
    };
    let queries = (0..layers).map(|layer| named(&format!("layer{layer}.attention.query.rotated")));
    let queries = queries.collect::<Result<Vec<NodeId>>>()?;
    let (mut read, mut position) = ((0..layers).map(|_| Vec::new()).collect::<Vec<_>>(), 0);
    let bar = bar(tokens.len());
    let narrow = |numbers: &[f32]| numbers.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<bf16>>();
    let run = |inputs: &[Tensor]| {
        let mut seen = vec![Vec::new(); layers];
        let mut failed = None;
        let outputs = interpreter.run_observed(inputs, |node, results| {
            let layer = queries.iter().position(|query| *query == node);
            match (layer, results.first().map(|tensor| tensor.as_slice::<f32>())) {
                (Some(layer), Some(Ok(numbers))) => seen[layer] = narrow(numbers),
                (Some(_), Some(Err(error))) => failed = Some(error),
                _ => {}
            }
        })?;
        if let Some(error) = failed {
            bail!("{}: {error}", graph.name);
        }
        if position >= first {
            for (layer, q) in seen.into_iter().enumerate() {
                // Keys and values of the past, a layer after the other, behind the token and its position; rows of this one behind the logits.
                let past = inputs[2 + 2 * layer].as_slice::<f32>()?;
                let mut k = narrow(&past[..position * heads.keys * heads.d]);
                k.extend(narrow(outputs[1 + 2 * layer].as_slice::<f32>()?));
                read[layer].push(Read { q, k });
            }
        }
        position += 1;
        bar.inc(1);
        Ok(outputs)
    };
    language.read(tokens, language.config().context, run, |_, _| Ok(()))?;
    bar.finish_and_clear();
    Ok(read)
}

/// A kernel of the processor, with operands that it takes.
fn compute(name: &str, extents: &[(&'static str, usize)], inputs: &Tensors) -> Result<Tensors> {
    let kernel = kernel(name, Level::best()).ok_or_else(|| anyhow!("there is no kernel of {name}"))?;
    let operation = kernel.operation();
    let choices =
        extents.iter().fold(Dims::defaults(operation.def().axes), |dims, &(axis, extent)| dims.with(axis, extent));
    let dims = accept(operation, &choices, inputs)?;
    Ok(kernel.run(&dims, inputs)?)
}

/// Clusters of the keys of a layer.
struct Clusters {
    count: usize,
    keys: usize,
    tensors: Tensors,
}

fn clusters(options: &Options, heads: Heads, layer: usize, k: &[bf16]) -> Result<Clusters> {
    let keys = k.len() / (heads.keys * heads.d);
    let count = keys.div_ceil(options.cluster);
    let mut random = Random::new(options.seed.wrapping_mul(0x9e37_79b9).wrapping_add((layer << 32 | keys) as u64));
    let mut first = Vec::new();
    for _ in 0..heads.keys {
        // Keys as unlike as can be: no two centroids begin at the same one.
        let mut order: Vec<i32> = (0..keys as i32).collect();
        random.shuffle(&mut order);
        first.extend_from_slice(&order[..count]);
    }
    let inputs = Tensors::new()
        .with("k", Tensor::from_vec([keys, heads.keys, heads.d], k.to_vec())?)
        .with("keys", Tensor::from_vec([keys], (0..keys as i32).collect::<Vec<i32>>())?)
        .with("first", Tensor::from_vec([heads.keys, count], first)?);
    let extents =
        [("n", keys), ("hkv", heads.keys), ("d", heads.d), ("clusters", count), ("iterations", options.iterations)];
    Ok(Clusters { count, keys, tensors: compute("kmeans.bf16", &extents, &inputs)? })
}

/// The steps of a layer, for every target.
fn measure(
    options: &Options,
    heads: Heads,
    layer: usize,
    first: usize,
    steps: &[Read],
    every: usize,
) -> Result<Vec<Sums>> {
    let mut sums = vec![Sums::default(); options.target.len()];
    for (at, steps) in steps.chunks(every).enumerate() {
        // The keys before the first step's own are there when clusters are made.
        let k = &steps[0].k[..(first + at * every) * heads.keys * heads.d];
        let clusters = clusters(options, heads, layer, k)?;
        for read in steps {
            let step = Step::new(options, heads, &clusters, read)?;
            for (sums, &target) in sums.iter_mut().zip(&options.target) {
                *sums = sums.plus(step.choose(target)?);
            }
        }
    }
    Ok(sums)
}

/// A step of a layer.
struct Step {
    heads: Heads,
    inputs: Tensors,
    extents: [(&'static str, usize); 6],
    keys: usize,
    /// Of each head of queries.
    masses: Vec<Mass>,
    /// Logits that a choice computes for a head.
    logits: usize,
}

impl Step {
    fn new(options: &Options, heads: Heads, clusters: &Clusters, read: &Read) -> Result<Step> {
        let Heads { queries, keys: hkv, d } = heads;
        let keys = read.k.len() / (hkv * d);
        let fresh: Vec<i32> = (clusters.keys as i32..keys as i32).collect();
        let scale = 1.0 / (d as f32).sqrt();
        let masses = read.q.chunks_exact(d).enumerate().map(|(query, q)| {
            let head = query / (queries / hkv);
            let row = |key: usize| &read.k[(key * hkv + head) * d..][..d];
            let scores: Vec<f32> = (0..keys).map(|key| bf16::score(Metric::InnerProduct, q, row(key))).collect();
            mass(&scores, scale)
        });
        let masses = masses.collect();
        let head = options.head.unwrap_or((clusters.keys / 64).max(160));
        let probe = Probe::of(clusters.keys, head, options.window);
        let logits = probe.places().count() + fresh.len() + clusters.count;
        let offsets = |end: usize| Tensor::from_vec([2], vec![0, end as i32]);
        let tensor = |name: &str| clusters.tensors.get(name).cloned();
        let inputs = Tensors::new()
            .with("q", Tensor::from_vec([1, queries, d], read.q.clone())?)
            .with("k", Tensor::from_vec([keys, hkv, d], read.k.clone())?)
            .with("centroids", tensor("centroids")?)
            .with("cluster_begin", offsets(clusters.count)?)
            .with("cluster_end", tensor("cluster_end")?)
            .with("slot_begin", offsets(clusters.keys)?)
            .with("members", tensor("members")?)
            .with("fresh_begin", offsets(fresh.len())?)
            .with("fresh_lines", Tensor::from_vec([fresh.len()], fresh)?)
            .with("scale", Tensor::scalar(scale));
        let extents = [("b", 1), ("hq", queries), ("hkv", hkv), ("d", d), ("head", head), ("window", options.window)];
        Ok(Step { heads, inputs, extents, keys, masses, logits })
    }

    fn choose(&self, target: f32) -> Result<Sums> {
        let inputs = self.inputs.clone().with("target", Tensor::scalar(target));
        let found = compute("tactic_select.bf16", &self.extents, &inputs)?;
        let (selected, count) = (found.slice::<i32>("selected")?, found.slice::<i32>("count")?);
        let budget = found.slice::<i32>("budget")?;
        let group = self.heads.queries / self.heads.keys;
        let mut sums = Sums::default();
        for (head, masses) in self.masses.chunks(group).enumerate() {
            let attended = &selected[head * self.keys..][..count[head] as usize];
            let fewest: Vec<Vec<usize>> = masses.iter().map(|mass| mass.fewest(target)).collect();
            let of_group: BTreeSet<usize> = fewest.iter().flatten().copied().collect();
            for (query, mass) in masses.iter().enumerate() {
                let part = mass.part(attended.iter().map(|&line| line as usize));
                sums = sums.plus(Sums {
                    heads: 1,
                    reached: usize::from(part >= f64::from(target)),
                    mass: part,
                    asked: budget[head * group + query] as usize,
                    fewest: fewest[query].len(),
                    attended: attended.len(),
                    fewest_of_group: of_group.len(),
                    fewest_mass: mass.part(of_group.iter().copied()),
                    logits: self.logits,
                    keys: self.keys,
                });
            }
        }
        Ok(sums)
    }
}

/// What was measured.
struct Report<'a> {
    options: &'a Options,
    source: &'a str,
    first: usize,
    steps: usize,
    every: usize,
    layers: usize,
    heads: Heads,
    sums: &'a [Sums],
}

impl Report<'_> {
    fn rows(&self) -> impl Iterator<Item = (f32, Sums)> + '_ {
        self.options.target.iter().copied().zip(self.sums.iter().copied())
    }

    fn json(&self) -> Value {
        let row = |(target, sums): (f32, Sums)| {
            json!({
                "target": target,
                "heads": sums.heads,
                "heads_at_target": sums.reached as f64 / sums.heads.max(1) as f64,
                "mass": sums.mass / sums.heads.max(1) as f64,
                "keys": sums.mean(sums.keys),
                "keys_asked": sums.mean(sums.asked),
                "keys_oracle": sums.mean(sums.fewest),
                "asked_over_oracle": over(sums.asked, sums.fewest),
                "keys_of_group": sums.mean(sums.attended),
                "keys_of_group_oracle": sums.mean(sums.fewest_of_group),
                "group_over_oracle": over(sums.attended, sums.fewest_of_group),
                "logits": sums.mean(sums.logits),
            })
        };
        json!({
            "model": self.options.model.display().to_string(),
            "text": self.source,
            "first_step": self.first,
            "steps": self.steps,
            "layers": self.layers,
            "heads_of_queries": self.heads.queries,
            "heads_of_keys": self.heads.keys,
            "cluster": self.options.cluster,
            "iterations": self.options.iterations,
            "every": self.every,
            "window": self.options.window,
            "seed": self.options.seed,
            "targets": self.rows().map(row).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let percent = |part: f64| format!("{:.1} %", 100.0 * part);
        let rows = self.rows().map(|(target, sums)| {
            vec![
                format!("{target}"),
                percent(sums.mass / sums.heads.max(1) as f64),
                percent(sums.reached as f64 / sums.heads.max(1) as f64),
                format!("{:.1}", sums.mean(sums.asked)),
                format!("{:.1}", sums.mean(sums.fewest)),
                format!("{:.2}", over(sums.asked, sums.fewest)),
                format!("{:.1}", sums.mean(sums.attended)),
                format!("{:.1}", sums.mean(sums.fewest_of_group)),
                format!("{:.2}", over(sums.attended, sums.fewest_of_group)),
                percent(sums.logits as f64 / sums.keys.max(1) as f64),
            ]
        });
        let header = [
            "target",
            "mass kept",
            "heads at it",
            "keys asked",
            "oracle",
            "over it",
            "of the group",
            "oracle",
            "over it",
            "logits",
        ];
        let mut text = table(&header, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], rows);
        let heads = self.sums.first().map_or(0, |sums| sums.heads) as u64;
        let keys = self.sums.first().map_or(0.0, |sums| sums.mean(sums.keys));
        text.push_str(&format!(
            "{} heads: {} layers of {} heads in steps {} to {} of {}; {keys:.0} keys on the mean\n\
             oracle: the fewest keys that have the target of each head; logits: those computed to choose, of keys and of centroids, over keys\n",
            grouped(heads),
            self.layers,
            self.heads.queries,
            self.first,
            self.first + self.steps - 1,
            self.source,
        ));
        text
    }

    /// The part of the attention over the keys that it takes.
    fn plot(&self) -> String {
        let curve = |name: &str, point: &dyn Fn(Sums) -> (f64, f64)| {
            let mut points: Vec<(f64, f64)> = self.sums.iter().map(|&sums| point(sums)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Curve { name: name.to_owned(), points }
        };
        let percent = |sums: Sums, mass: f64| 100.0 * mass / sums.heads.max(1) as f64;
        let curves = [
            curve("oracle", &|sums| (sums.mean(sums.fewest_of_group), percent(sums, sums.fewest_mass))),
            curve("Tactic", &|sums| (sums.mean(sums.attended), percent(sums, sums.mass))),
        ];
        let keys = self.sums.first().map_or(0.0, |sums| sums.mean(sums.keys));
        let how = format!(
            "steps {} to {} of {}, {keys:.0} keys on the mean",
            self.first,
            self.first + self.steps - 1,
            self.source
        );
        curves::svg(
            ("Attention kept by few keys", &how),
            ("keys of a group of heads", "of the attention"),
            Shape::Lines,
            &curves,
        )
    }
}
