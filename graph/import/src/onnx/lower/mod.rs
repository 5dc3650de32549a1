//! The lowering of one ONNX node to nodes of the graph.
//!
//! Every operator is lowered in ONNX's own axis order. A file here holds a family of operators; each is a function from
//! an [`Item`] to the values of its results.

mod attention;
mod cast;
mod conv;
mod elementwise;
mod linear;
mod move_data;
mod norm;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod shape;

use super::model::label;
use super::proto::{AttributeProto, NodeProto, TensorProto};
use super::tensor::Elem;
use crate::ImportError;
use crate::builder::{Builder, ResultSpec};
use std::collections::{HashMap, HashSet};
use tandem_graph::ValueId;
use tandem_ops::{Act, BinaryKind, Op, ReduceKind, UnaryKind};
use tandem_tensor::{DType, Shape, Tensor};

/// Values of a node's results, in order; `None` for one that nobody asked for.
type Results = Result<Vec<Option<ValueId>>, ImportError>;

/// A lowering under way.
pub(super) struct Lower<'m> {
    /// The graph that grows.
    pub builder: Builder,
    /// Version of the default operator set.
    opset: i64,
    values: HashMap<&'m str, ValueId>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    /// Element types that a dtype does not tell.
    elems: HashMap<ValueId, Elem>,
    /// Values that constants alone determine although they are not folded.
    fixed: HashSet<ValueId>,
    /// Name of the node that is being lowered.
    current: String,
}

/// One ONNX node with its operands looked up.
pub(super) struct Item<'m> {
    node: &'m NodeProto,
    name: String,
    inputs: Vec<Option<ValueId>>,
}

impl<'m> Lower<'m> {
    pub fn new(builder: Builder, opset: i64) -> Self {
        Self {
            builder,
            opset,
            values: HashMap::new(),
            initializers: HashMap::new(),
            elems: HashMap::new(),
            fixed: HashSet::new(),
            current: String::new(),
        }
    }

    pub fn bind(&mut self, name: &'m str, id: ValueId, elem: Option<Elem>) {
        self.values.insert(name, id);
        if let Some(elem) = elem.filter(|e| !matches!(e, Elem::Plain(_))) {
            self.elems.insert(id, elem);
        }
    }

    /// An initialiser becomes a constant when the first node reads it.
    pub fn bind_lazily(&mut self, proto: &'m TensorProto) {
        self.initializers.insert(&proto.name, proto);
    }

    pub fn has_initializer(&self, name: &str) -> bool {
        self.initializers.contains_key(name)
    }

    /// The value of an ONNX name.
    pub fn lookup(&mut self, name: &str) -> Option<ValueId> {
        self.load(name).ok().flatten()
    }

    fn load(&mut self, name: &str) -> Result<Option<ValueId>, ImportError> {
        if let Some(&id) = self.values.get(name) {
            return Ok(Some(id));
        }
        let Some(&proto) = self.initializers.get(name) else { return Ok(None) };
        let (id, elem) = super::model::constant(&mut self.builder, proto)?;
        self.bind(&proto.name, id, Some(elem));
        Ok(Some(id))
    }

    /// Lowers a node; the nodes that make its operands came before.
    pub fn node(&mut self, node: &'m NodeProto) -> Result<(), ImportError> {
        let name = label(node).to_owned();
        let mut inputs = Vec::with_capacity(node.input.len());
        for input in &node.input {
            if input.is_empty() {
                inputs.push(None);
                continue;
            }
            let Some(id) = self.load(input)? else {
                let problem =
                    format!("it reads '{input}', which is no input, initialiser or result; the file is incomplete");
                return Err(ImportError::malformed(format!("node '{name}' ({})", node.op_type), problem));
            };
            inputs.push(Some(id));
        }
        let item = Item { node, name: name.clone(), inputs };
        self.current = name;
        let first_new = self.builder.graph.values.len();
        let coded = |e: &Elem| matches!(e, Elem::Coded(_));
        let knows_codes = matches!(node.op_type.as_str(), "Cast" | "CastLike" | "DequantizeLinear" | "Identity");
        if !knows_codes && item.inputs.iter().flatten().any(|id| self.elems.get(id).is_some_and(coded)) {
            return Err(item.unsupported("floats of 8 bits and fewer can only be cast or dequantised"));
        }
        let results = self.dispatch(&item)?;
        let mut named: HashSet<ValueId> = HashSet::new();
        for (output, result) in node.output.iter().zip(results) {
            let Some(id) = result.filter(|_| !output.is_empty()) else { continue };
            // Aliases keep the name under which the value came to be.
            if id.0 >= first_new && named.insert(id) {
                let unique = self.builder.unique(output);
                if let Some(value) = self.builder.graph.values.get_mut(id.0) {
                    value.name = unique;
                }
            }
            self.values.insert(output, id);
        }
        Ok(())
    }

    fn dispatch(&mut self, n: &Item<'m>) -> Results {
        let microsoft = n.node.domain == "com.microsoft";
        if !matches!(n.node.domain.as_str(), "" | "ai.onnx" | "com.microsoft") {
            return Err(n.unsupported(format!(
                "operators of the domain '{}' are not known; those of ai.onnx and some of com.microsoft are",
                n.node.domain
            )));
        }
        let results = elementwise::lower(self, n)
            .or_else(|| cast::lower(self, n))
            .or_else(|| conv::lower(self, n))
            .or_else(|| pool::lower(self, n))
            .or_else(|| linear::lower(self, n))
            .or_else(|| quantize::lower(self, n))
            .or_else(|| shape::lower(self, n))
            .or_else(|| move_data::lower(self, n))
            .or_else(|| reduce::lower(self, n))
            .or_else(|| norm::lower(self, n))
            .or_else(|| resize::lower(self, n))
            .or_else(|| attention::lower(self, n));
        if let Some(results) = results {
            return results;
        }
        let why = if microsoft {
            "of com.microsoft, only Gelu and the QLinear operators are known"
        } else {
            "supported are convolutions, pools, matrix products, arithmetic, comparisons, activations, reductions, \
             normalisations, attention, resizing, movement of data and the quantised forms; cut the model before it or \
             replace it"
        };
        Err(n.unsupported(why))
    }

    /// Dtype of a value.
    fn dtype(&self, id: ValueId) -> DType {
        self.builder.graph.ty(id).dtype
    }

    /// Shape of a value.
    fn shape(&self, id: ValueId) -> Shape {
        self.builder.graph.ty(id).shape.clone()
    }

    fn elem(&self, id: ValueId) -> Elem {
        self.elems.get(&id).copied().unwrap_or(Elem::Plain(self.dtype(id)))
    }

    fn set_elem(&mut self, id: ValueId, elem: Elem) {
        if !matches!(elem, Elem::Plain(_)) {
            self.elems.insert(id, elem);
        }
    }

    /// Applies an operator; operands that are all constant fold.
    fn emit(&mut self, op: Op, inputs: &[ValueId], dtype: DType) -> Result<ValueId, ImportError> {
        let name = format!("{}/{}", self.current, op.name());
        self.emit_as(&name, op, inputs, dtype)
    }

    /// As [`Lower::emit`] under a name of the caller's choice.
    pub fn emit_as(&mut self, name: &str, op: Op, inputs: &[ValueId], dtype: DType) -> Result<ValueId, ImportError> {
        // Operators that only move elements keep the quantisation of the codes they move.
        let moves = matches!(
            op,
            Op::Reshape { .. }
                | Op::Transpose { .. }
                | Op::Slice { .. }
                | Op::Expand { .. }
                | Op::Unary(UnaryKind::Identity)
        );
        let first = inputs.first().map(|&id| (id, self.builder.graph.ty(id)));
        let quant = first.and_then(|(_, ty)| ty.quant.clone()).filter(|q| moves && q.is_per_tensor());
        let elem = first.filter(|_| moves).and_then(|(id, _)| self.elems.get(&id).copied());
        let spec = ResultSpec { name: name.to_owned(), dtype, quant };
        let node = self.current.clone();
        let fixed = moves && inputs.iter().any(|id| self.fixed.contains(id));
        let ids = self.builder.node(&node, op, inputs, vec![spec])?;
        let id = first_of(&ids, &node)?;
        if fixed {
            self.fixed.insert(id);
        }
        if let Some(elem) = elem {
            self.elems.insert(id, elem);
        }
        Ok(id)
    }

    /// A constant made up by the lowering.
    fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("{}/constant", self.current);
        self.builder.constant(&name, tensor, None)
    }

    /// Refuses a model that makes more constants than its size justifies.
    fn charge(&mut self, n: &Item<'_>, bytes: usize) -> Result<(), ImportError> {
        let problem = "the constants that it and the nodes before it make are out of proportion to the file";
        if self.builder.charge(bytes) { Ok(()) } else { Err(n.malformed(problem)) }
    }

    /// A scalar of a dtype.
    fn scalar(&mut self, dtype: DType, value: f64) -> Result<ValueId, ImportError> {
        let tensor = Tensor::from_f64(dtype, Shape::default(), &[value]);
        Ok(self.constant(tensor.map_err(|e| ImportError::malformed("a scalar", e.to_string()))?))
    }

    /// A constant of integers.
    fn integers(&mut self, shape: impl Into<Shape>, values: Vec<i64>) -> Result<ValueId, ImportError> {
        let tensor = Tensor::from_vec(shape, values);
        Ok(self.constant(tensor.map_err(|e| ImportError::malformed("a constant", e.to_string()))?))
    }

    fn unary(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId, ImportError> {
        let dtype = self.dtype(x);
        self.emit(Op::Unary(kind), &[x], dtype)
    }

    fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId, ImportError> {
        use BinaryKind::*;
        let compares = matches!(kind, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual);
        let dtype = if compares { DType::Bool } else { self.dtype(a) };
        self.emit(Op::Binary { kind, act: Act::None }, &[a, b], dtype)
    }

    /// `a op value` with a scalar of a's dtype.
    fn with_scalar(&mut self, kind: BinaryKind, a: ValueId, value: f64) -> Result<ValueId, ImportError> {
        let b = self.scalar(self.dtype(a), value)?;
        self.binary(kind, a, b)
    }

    fn select(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> Result<ValueId, ImportError> {
        let dtype = self.dtype(a);
        self.emit(Op::Where, &[condition, a, b], dtype)
    }

    fn reduce(
        &mut self,
        kind: ReduceKind,
        x: ValueId,
        axes: Vec<usize>,
        keep_dims: bool,
    ) -> Result<ValueId, ImportError> {
        let dtype = self.dtype(x);
        self.emit(Op::Reduce { kind, axes, keep_dims }, &[x], dtype)
    }

    /// The value itself where the shape is already the wanted one.
    fn reshape(&mut self, x: ValueId, shape: impl Into<Shape>) -> Result<ValueId, ImportError> {
        let shape = shape.into();
        if self.builder.graph.ty(x).shape == shape {
            return Ok(x);
        }
        let dtype = self.dtype(x);
        self.emit(Op::Reshape { shape: shape.0 }, &[x], dtype)
    }

    /// The value itself for the identical permutation.
    fn transpose(&mut self, x: ValueId, perm: Vec<usize>) -> Result<ValueId, ImportError> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        let dtype = self.dtype(x);
        self.emit(Op::Transpose { perm }, &[x], dtype)
    }

    fn expand(&mut self, x: ValueId, shape: impl Into<Shape>) -> Result<ValueId, ImportError> {
        let shape = shape.into();
        if self.builder.graph.ty(x).shape == shape {
            return Ok(x);
        }
        let dtype = self.dtype(x);
        self.emit(Op::Expand { shape: shape.0 }, &[x], dtype)
    }

    /// The value itself where it already has the dtype.
    fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId, ImportError> {
        if self.dtype(x) == to { Ok(x) } else { self.emit(Op::Cast { to, saturate: true }, &[x], to) }
    }

    /// `begin..end` of one axis.
    fn slice(&mut self, x: ValueId, axis: usize, begin: usize, size: usize) -> Result<ValueId, ImportError> {
        let shape = self.shape(x);
        let rank = shape.rank();
        let (mut begins, mut sizes) = (vec![0; rank], shape.0);
        if let (Some(b), Some(s)) = (begins.get_mut(axis), sizes.get_mut(axis)) {
            (*b, *s) = (begin, size);
        }
        let dtype = self.dtype(x);
        self.emit(Op::Slice { begin: begins, size: sizes, step: vec![1; rank] }, &[x], dtype)
    }

    fn concat(&mut self, parts: &[ValueId], axis: usize) -> Result<ValueId, ImportError> {
        let dtype = parts.first().map_or(DType::F32, |&p| self.dtype(p));
        self.emit(Op::Concat { axis, act: Act::None }, parts, dtype)
    }

    /// Elements of an operand that must be known now.
    fn known(&self, n: &Item<'_>, index: usize, what: &str) -> Result<Option<&Tensor>, ImportError> {
        let Some(id) = n.optional(index) else { return Ok(None) };
        match self.builder.graph.constant(id) {
            Some(tensor) => Ok(Some(tensor.as_ref())),
            None => Err(ImportError::NotConstant {
                operator: n.op().to_owned(),
                node: n.name.clone(),
                operand: what.to_owned(),
                value: self.builder.graph.value(id).name.clone(),
            }),
        }
    }

    /// Integers of an operand that must be known now.
    fn known_integers(&self, n: &Item<'_>, index: usize, what: &str) -> Result<Option<Vec<i64>>, ImportError> {
        match self.known(n, index, what)? {
            None => Ok(None),
            Some(t) => match t.to_i64() {
                Some(v) => Ok(Some(v)),
                None => Err(n.malformed(format!("its operand '{what}' is {}, integers are needed", t.dtype()))),
            },
        }
    }

    /// An axis from the front.
    fn axis(&self, n: &Item<'_>, axis: i64, rank: usize) -> Result<usize, ImportError> {
        let from_front = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        match from_front.and_then(|a| usize::try_from(a).ok()).filter(|&a| a < rank) {
            Some(a) => Ok(a),
            None => Err(n.malformed(format!("its axis {axis} does not exist; the operand has {rank} axes"))),
        }
    }

    fn axes(&self, n: &Item<'_>, axes: &[i64], rank: usize) -> Result<Vec<usize>, ImportError> {
        let mut list = Vec::with_capacity(axes.len().min(rank));
        for &a in axes {
            let a = self.axis(n, a, rank)?;
            if list.contains(&a) {
                return Err(n.malformed(format!("its axis {a} is listed twice")));
            }
            list.push(a);
        }
        Ok(list)
    }
}

impl Item<'_> {
    fn op(&self) -> &str {
        &self.node.op_type
    }

    fn is_microsoft(&self) -> bool {
        self.node.domain == "com.microsoft"
    }

    /// An operand that must be there.
    fn input(&self, index: usize) -> Result<ValueId, ImportError> {
        match self.optional(index) {
            Some(id) => Ok(id),
            None => Err(self.malformed(format!("its operand {index} is missing"))),
        }
    }

    /// An operand that may be absent.
    fn optional(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// True when somebody asked for a result.
    fn wants(&self, index: usize) -> bool {
        self.node.output.get(index).is_some_and(|o| !o.is_empty())
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|a| a.i).unwrap_or(default)
    }

    fn flag(&self, name: &str) -> bool {
        self.int(name, 0) != 0
    }

    fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|a| a.f).unwrap_or(default)
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    /// A list of extents.
    fn extents(&self, name: &str) -> Result<Option<Vec<usize>>, ImportError> {
        let Some(list) = self.ints(name) else { return Ok(None) };
        let mut extents = Vec::with_capacity(list.len());
        for &v in list {
            let v = usize::try_from(v)
                .map_err(|_| self.malformed(format!("its attribute '{name}' holds the negative number {v}")))?;
            extents.push(v);
        }
        Ok(Some(extents))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(|a| a.s.as_deref()).and_then(|s| std::str::from_utf8(s).ok())
    }

    fn unsupported(&self, why: impl Into<String>) -> ImportError {
        ImportError::unsupported(self.op(), self.name.as_str(), why)
    }

    fn malformed(&self, problem: impl Into<String>) -> ImportError {
        ImportError::malformed(format!("node '{}' ({})", self.name, self.op()), problem)
    }

    /// A made-up tensor; only an internal mistake in its length can fail.
    fn tensor(&self, tensor: Result<Tensor, tandem_tensor::TensorError>) -> Result<Tensor, ImportError> {
        tensor.map_err(|e| self.malformed(e.to_string()))
    }
}

fn first_of(ids: &[ValueId], node: &str) -> Result<ValueId, ImportError> {
    ids.first().copied().ok_or_else(|| ImportError::malformed(format!("node '{node}'"), "it has no results"))
}

/// The single result of most operators.
fn one(id: ValueId) -> Results {
    Ok(vec![Some(id)])
}
