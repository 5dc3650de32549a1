//! The graph of one step.
//!
//! Attention is composed, since the graph has no operator for it: every head of keys is two matrix products around a softmax that
//! all heads share. These, and the products with weights, are instances of the definitions `gemm.f32` and `softmax.f32`.

use super::checkpoint::{Checkpoint, Config, Part};
use crate::ImportError;
use crate::builder::{Builder, ResultSpec};
use tandem_graph::{Graph, ValueId};
use tandem_ops::{Act, Arith, BinaryKind, Op, ReduceKind, UnaryKind};
use tandem_tensor::{DType, Tensor, TensorType};

/// Added to a mean square before its root is taken.
const EPSILON: f32 = 1e-5;
/// Base of the wavelengths of the rotations.
const WAVELENGTHS: f32 = 10_000.0;

impl Checkpoint<'_> {
    /// The graph of one step that attends to at most `context` positions, its own among them.
    ///
    /// # Shapes
    /// Inputs: `token` and `position`, i32 `[1]`; then for every layer `layerN.keys` and `layerN.values`, f32
    /// `[context - 1, kv_dim]`, a row a position, of which those from `position` on may hold any finite numbers. Outputs: `logits`
    /// `[1, vocabulary]`; then for every layer `layerN.key` and `layerN.value` `[1, kv_dim]`, the rows of this position.
    ///
    /// # Errors
    /// [`ImportError`] for a context below 2 or above that of the model, and for weights that are no numbers.
    pub fn step(&self, context: usize) -> Result<Graph, ImportError> {
        let c = self.config();
        if context < 2 || context > c.context {
            let problem = format!("a step attends to 2 positions at least and the model to {} at most", c.context);
            return Err(ImportError::malformed(format!("context {context}"), problem));
        }
        let mut step = Step { checkpoint: self, builder: Builder::new("llama2c", Arith::default(), 0), context };
        step.build()?;
        let graph = step.builder.graph;
        graph.verify()?;
        Ok(graph)
    }
}

struct Step<'c> {
    checkpoint: &'c Checkpoint<'c>,
    builder: Builder,
    context: usize,
}

/// What all layers read.
struct Shared {
    /// Cosines of the angles of this position, `[1, head]`.
    cosines: ValueId,
    /// Their sines, negative for the first element of a pair.
    sines: ValueId,
    /// The other element of every element's pair, `[head]`.
    partners: ValueId,
    /// 0 for positions that are attended to, else minus infinity, `[1, context]`.
    mask: ValueId,
    epsilon: ValueId,
}

type Made = Result<ValueId, ImportError>;

impl Step<'_> {
    fn config(&self) -> &Config {
        self.checkpoint.config()
    }

    fn build(&mut self) -> Result<(), ImportError> {
        let c = self.config().clone();
        let token = self.builder.input("token", TensorType::new(DType::I32, [1]));
        let position = self.builder.input("position", TensorType::new(DType::I32, [1]));
        let embedding = self.weights("embedding", Part::Embedding, 0)?;
        let mut x = self.op("token_embedding", Op::Gather { axis: 0 }, &[embedding, token])?;
        let shared = self.shared(position)?;
        let mut rows = Vec::with_capacity(2 * c.layers);
        for layer in 0..c.layers {
            x = self.layer(layer, x, &shared, &mut rows)?;
        }
        let x = self.norm("norm", Part::FinalNorm, 0, x, &shared)?;
        let classifier = match c.shared_classifier {
            true => embedding,
            false => self.weights("classifier", Part::Classifier, 0)?,
        };
        let logits = self.op("logits", Op::Dense { act: Act::None }, &[x, classifier])?;
        self.builder.graph.outputs.push(logits);
        self.builder.graph.outputs.extend(rows);
        Ok(())
    }

    fn shared(&mut self, position: ValueId) -> Result<Shared, ImportError> {
        let (head, context) = (self.config().head(), self.context);
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in 0..context {
            for element in 0..head {
                let first = element - element % 2;
                let frequency = 1.0 / WAVELENGTHS.powf(first as f32 / head as f32);
                let (sine, cosine) = (position as f32 * frequency).sin_cos();
                cosines.push(cosine);
                sines.push(if element == first { -sine } else { sine });
            }
        }
        let cosines = self.constant("cosines", [context, head], cosines)?;
        let cosines = self.op("cosines_here", Op::Gather { axis: 0 }, &[cosines, position])?;
        let sines = self.constant("sines", [context, head], sines)?;
        let sines = self.op("sines_here", Op::Gather { axis: 0 }, &[sines, position])?;
        let partners = self.constant("partners", [head], (0..head as i32).map(|element| element ^ 1).collect())?;
        // The rows of the past come first and the one of this step, which is always attended to, last.
        let past = (0..context as i32 - 1).chain([-1]).collect();
        let past = self.constant("positions", [1, context], past)?;
        let less = Op::Binary { kind: BinaryKind::Less, act: Act::None };
        let attended = self.op_as("attended", less, &[past, position], DType::Bool)?;
        let zero = self.constant("mask_of_attended", [1, 1], vec![0.0f32])?;
        let never = self.constant("mask_of_others", [1, 1], vec![f32::NEG_INFINITY])?;
        let mask = self.op("mask", Op::Where, &[attended, zero, never])?;
        let epsilon = self.constant("epsilon", [1, 1], vec![EPSILON])?;
        Ok(Shared { cosines, sines, partners, mask, epsilon })
    }

    fn layer(&mut self, layer: usize, x: ValueId, shared: &Shared, rows: &mut Vec<ValueId>) -> Made {
        let at = |name: &str| format!("layer{layer}.{name}");
        let normal = self.norm(&at("attention.norm"), Part::AttentionNorm, layer, x, shared)?;
        let attention = self.attention(layer, normal, shared, rows)?;
        let x = self.binary(&at("attention.sum"), BinaryKind::Add, x, attention)?;
        let normal = self.norm(&at("feed_forward.norm"), Part::FeedForwardNorm, layer, x, shared)?;
        let gate = self.dense(&at("feed_forward.gate"), Part::Gate, layer, normal)?;
        let gate = self.op(&at("feed_forward.silu"), Op::Unary(UnaryKind::Swish { alpha: 1.0 }), &[gate])?;
        let up = self.dense(&at("feed_forward.up"), Part::Up, layer, normal)?;
        let gated = self.binary(&at("feed_forward.gated"), BinaryKind::Mul, gate, up)?;
        let down = self.dense(&at("feed_forward.down"), Part::Down, layer, gated)?;
        self.binary(&at("feed_forward.sum"), BinaryKind::Add, x, down)
    }

    fn attention(&mut self, layer: usize, x: ValueId, shared: &Shared, rows: &mut Vec<ValueId>) -> Made {
        let c = self.config().clone();
        let at = |name: &str| format!("layer{layer}.{name}");
        let query = self.dense(&at("attention.query"), Part::Query, layer, x)?;
        let query = self.rotate(&at("attention.query"), c.heads, query, shared)?;
        let key = self.dense(&at("attention.key"), Part::Key, layer, x)?;
        let key = self.rotate(&at("attention.key"), c.kv_heads, key, shared)?;
        let key = self.reshape(&at("key"), key, [1, c.kv_dim()])?;
        let value = self.dense(&at("value"), Part::Value, layer, x)?;
        rows.extend([key, value]);
        let keys = self.with_past(&at("keys"), key)?;
        let values = self.with_past(&at("values"), value)?;

        // Heads of queries stand in the order of the heads of keys that they share.
        let group = c.heads / c.kv_heads;
        let mut scores = Vec::with_capacity(c.kv_heads);
        for head in 0..c.kv_heads {
            let query =
                self.slice(&at(&format!("attention.query{head}")), query, [head * group, 0], [group, c.head()])?;
            let keys = self.slice(
                &at(&format!("attention.keys{head}")),
                keys,
                [0, head * c.head()],
                [self.context, c.head()],
            )?;
            let product = Op::MatMul { transpose_a: false, transpose_b: true };
            scores.push(self.op(&at(&format!("attention.scores{head}")), product, &[query, keys])?);
        }
        let scores = self.stack(&at("attention.scores"), scores)?;
        let scores = self.binary(&at("attention.masked"), BinaryKind::Add, scores, shared.mask)?;
        let softmax = Op::Softmax { axis: 1, beta: 1.0 / (c.head() as f32).sqrt(), log: false };
        let weights = self.op(&at("attention.weights"), softmax, &[scores])?;
        let mut sums = Vec::with_capacity(c.kv_heads);
        for head in 0..c.kv_heads {
            let own = self.slice(
                &at(&format!("attention.weights{head}")),
                weights,
                [head * group, 0],
                [group, self.context],
            )?;
            let begin = [0, head * c.head()];
            let values =
                self.slice(&at(&format!("attention.values{head}")), values, begin, [self.context, c.head()])?;
            let product = Op::MatMul { transpose_a: false, transpose_b: false };
            sums.push(self.op(&at(&format!("attention.sums{head}")), product, &[own, values])?);
        }
        let sums = self.stack(&at("attention.sums"), sums)?;
        let sums = self.reshape(&at("attention.row"), sums, [1, c.dim])?;
        self.dense(&at("attention.output"), Part::Output, layer, sums)
    }

    /// The rows of the past, an input, and behind them the one of this position.
    fn with_past(&mut self, name: &str, row: ValueId) -> Made {
        let shape = [self.context - 1, self.config().kv_dim()];
        let past = self.builder.input(name, TensorType::new(DType::F32, shape));
        self.op(&format!("{name}.all"), Op::Concat { axis: 0, act: Act::None }, &[past, row])
    }

    /// `x / rms(x) * weights`
    fn norm(&mut self, name: &str, part: Part, layer: usize, x: ValueId, shared: &Shared) -> Made {
        let squares = self.binary(&format!("{name}.squares"), BinaryKind::Mul, x, x)?;
        let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![1], keep_dims: true };
        let mean = self.op(&format!("{name}.mean"), mean, &[squares])?;
        let stable = self.binary(&format!("{name}.stable"), BinaryKind::Add, mean, shared.epsilon)?;
        let inverse = self.op(&format!("{name}.inverse"), Op::Unary(UnaryKind::Rsqrt), &[stable])?;
        let scaled = self.binary(&format!("{name}.scaled"), BinaryKind::Mul, x, inverse)?;
        let weights = self.weights(&format!("{name}.weights"), part, layer)?;
        self.binary(name, BinaryKind::Mul, scaled, weights)
    }

    /// Pairs of neighbours in every head, turned by the angle of this position.
    fn rotate(&mut self, name: &str, heads: usize, x: ValueId, shared: &Shared) -> Made {
        let x = self.reshape(&format!("{name}.heads"), x, [heads, self.config().head()])?;
        let partners = self.op(&format!("{name}.partners"), Op::Gather { axis: 1 }, &[x, shared.partners])?;
        let along = self.binary(&format!("{name}.along"), BinaryKind::Mul, x, shared.cosines)?;
        let across = self.binary(&format!("{name}.across"), BinaryKind::Mul, partners, shared.sines)?;
        self.binary(&format!("{name}.rotated"), BinaryKind::Add, along, across)
    }

    fn dense(&mut self, name: &str, part: Part, layer: usize, x: ValueId) -> Made {
        let weights = self.weights(&format!("{name}.weights"), part, layer)?;
        self.op(name, Op::Dense { act: Act::None }, &[x, weights])
    }

    fn stack(&mut self, name: &str, parts: Vec<ValueId>) -> Made {
        match parts[..] {
            [only] => Ok(only),
            _ => self.op(name, Op::Concat { axis: 0, act: Act::None }, &parts),
        }
    }

    /// A part of a matrix; the matrix itself where that is all of it.
    fn slice(&mut self, name: &str, x: ValueId, begin: [usize; 2], size: [usize; 2]) -> Made {
        if self.builder.graph.ty(x).shape[..] == size {
            return Ok(x);
        }
        let op = Op::Slice { begin: begin.to_vec(), size: size.to_vec(), step: vec![1; 2] };
        self.op(name, op, &[x])
    }

    fn reshape(&mut self, name: &str, x: ValueId, shape: [usize; 2]) -> Made {
        self.op(name, Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    fn binary(&mut self, name: &str, kind: BinaryKind, a: ValueId, b: ValueId) -> Made {
        self.op(name, Op::Binary { kind, act: Act::None }, &[a, b])
    }

    fn op(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Made {
        self.op_as(name, op, inputs, DType::F32)
    }

    fn op_as(&mut self, name: &str, op: Op, inputs: &[ValueId], dtype: DType) -> Made {
        let result = ResultSpec { name: name.to_owned(), dtype, quant: None };
        let results = self.builder.node(name, op, inputs, vec![result])?;
        results.first().copied().ok_or_else(|| ImportError::malformed(name, "the operator has no result"))
    }

    fn weights(&mut self, name: &str, part: Part, layer: usize) -> Made {
        let tensor = self.checkpoint.tensor(part, layer)?;
        Ok(self.builder.constant(name, tensor, None))
    }

    fn constant<T: tandem_tensor::Element, const N: usize>(
        &mut self,
        name: &str,
        shape: [usize; N],
        data: Vec<T>,
    ) -> Made {
        let tensor = Tensor::from_vec(shape, data).map_err(|e| ImportError::malformed(name, e.to_string()))?;
        Ok(self.builder.constant(name, tensor, None))
    }
}
