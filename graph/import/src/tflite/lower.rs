//! From the operators of a file to nodes of a graph: what all lowerings share.

use super::flatbuffer::Table;
use super::operators::{self, Lower};
use super::schema::Model;
use crate::builder::{Builder, ResultSpec};
use crate::{ImportError, ImportOptions};
use std::collections::HashMap;
use tandem_graph::ValueId;
use tandem_ops::{Act, Op};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

/// Lists of axes, extents and the like are never longer.
const MAX_INTS: usize = 1024;

/// One operator of the file.
pub(crate) struct OpView<'a> {
    pub kind: String,
    pub lower: Option<Lower>,
    pub node: String,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    /// Tensors that only carry the scales of values inside the operator.
    pub intermediates: Vec<i32>,
    pub options: Option<Table<'a>>,
}

/// The state of an import.
pub(crate) struct Lowering<'a> {
    model: Model<'a>,
    builder: Builder,
    /// The value of each tensor that has one so far.
    values: HashMap<usize, ValueId>,
    /// Bytes that may still be read from the file. Parts of a file can be referred to many times, so that reading is
    /// bounded by a multiple of the file's length.
    budget: usize,
}

/// The lowering of one operator: its operands, options and results.
pub(crate) struct Ctx<'l, 'a> {
    state: &'l mut Lowering<'a>,
    pub op: &'l OpView<'a>,
}

impl<'a> Lowering<'a> {
    pub fn new(model: Model<'a>, builder: Builder, budget: usize) -> Self {
        Self { model, builder, values: HashMap::new(), budget }
    }

    pub fn into_builder(self) -> Builder {
        self.builder
    }

    fn charge(&mut self, bytes: usize) -> Result<(), ImportError> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(ImportError::malformed(
                "TFLite model",
                "its parts are shared so often that the model would be far larger than the file; the file is damaged",
            )),
        }
    }

    /// Imports everything that the outputs need.
    pub fn run(&mut self, options: &ImportOptions) -> Result<(), ImportError> {
        let outputs = self.outputs(options)?;
        for &t in &self.model.inputs.clone() {
            self.model_input(t, options)?;
        }
        for index in self.needed(&outputs)? {
            let Some(table) = self.model.operators.table(index)? else { continue };
            let view = self.view(index, &table)?;
            let Some(lower) = view.lower else {
                return Err(ImportError::unsupported(view.kind, view.node, operators::supported()));
            };
            lower(&mut Ctx { state: self, op: &view })?;
        }
        for t in outputs {
            let id = self.value(t)?;
            self.builder.graph.outputs.push(id);
        }
        Ok(())
    }

    fn outputs(&mut self, options: &ImportOptions) -> Result<Vec<usize>, ImportError> {
        let Some(name) = &options.cut_at else {
            return self.model.outputs.clone().into_iter().map(|t| self.index(t)).collect();
        };
        for t in 0..self.model.tensors.len() {
            let info = self.model.tensor(t)?;
            self.charge(info.name.len())?;
            if &info.name == name {
                return Ok(vec![t]);
            }
        }
        Err(ImportError::malformed(format!("tensor '{name}'"), "the model has no tensor of this name to cut at"))
    }

    fn index(&self, tensor: i32) -> Result<usize, ImportError> {
        usize::try_from(tensor).ok().filter(|&t| t < self.model.tensors.len()).ok_or_else(|| {
            let problem = format!("tensor {tensor} is used but there are {}", self.model.tensors.len());
            ImportError::malformed("TFLite model", problem)
        })
    }

    fn model_input(&mut self, tensor: i32, options: &ImportOptions) -> Result<(), ImportError> {
        let t = self.index(tensor)?;
        let info = self.model.tensor(t)?;
        let place = || format!("input '{}'", info.name);
        let shape = info.known_shape()?;
        if shape.elements() == 0 {
            return Err(ImportError::malformed(place(), format!("its shape {shape} holds no element")));
        }
        let quant = info.quant(Some(&shape))?;
        let ty = TensorType { dtype: info.dtype()?, shape, quant };
        let id = match options.constants.get(&info.name) {
            Some(given) if given.dtype() == ty.dtype && given.shape() == &ty.shape => {
                self.builder.constant(&info.name, given.clone(), ty.quant)
            }
            Some(given) => {
                let problem = format!("it is {ty} but the given constant is {}{}", given.dtype(), given.shape());
                return Err(ImportError::malformed(place(), problem));
            }
            None => self.builder.input(&info.name, ty),
        };
        if self.values.insert(t, id).is_some() {
            return Err(ImportError::malformed(place(), "it is listed twice among the inputs"));
        }
        Ok(())
    }

    /// Operators that the outputs need, in file order.
    fn needed(&mut self, outputs: &[usize]) -> Result<Vec<usize>, ImportError> {
        let mut makers: HashMap<i32, usize> = HashMap::new();
        let mut reads = Vec::with_capacity(self.model.operators.len());
        for i in 0..self.model.operators.len() {
            let Some(operator) = self.model.operators.table(i)? else { continue };
            let (inputs, outputs) = (operator.vector(1, 4)?, operator.vector(2, 4)?);
            self.charge(4 * outputs.len())?;
            for t in outputs.i32s() {
                if makers.insert(t, i).is_some() {
                    let problem = format!("two operators make tensor {t}; the file is damaged");
                    return Err(ImportError::malformed("TFLite model", problem));
                }
            }
            reads.push(inputs);
        }
        let mut needed = vec![false; reads.len()];
        let mut open: Vec<i32> = outputs.iter().filter_map(|&t| i32::try_from(t).ok()).collect();
        while let Some(tensor) = open.pop() {
            let Some(&maker) = makers.get(&tensor) else { continue };
            if let Some(seen) = needed.get_mut(maker)
                && !std::mem::replace(seen, true)
                && let Some(inputs) = reads.get(maker)
            {
                self.charge(4 * inputs.len())?;
                open.extend(inputs.i32s());
            }
        }
        Ok(needed.iter().enumerate().filter(|(_, n)| **n).map(|(i, _)| i).collect())
    }

    fn view(&mut self, index: usize, operator: &Table<'a>) -> Result<OpView<'a>, ImportError> {
        let code = self.model.code(operator)?;
        let (kind, lower) = operators::find(&code);
        let (inputs, outputs) = (operator.vector(1, 4)?, operator.vector(2, 4)?);
        let intermediates = operator.vector(8, 4)?;
        self.charge(4 * (inputs.len() + outputs.len() + intermediates.len()))?;
        let node = match outputs.i32s().next() {
            Some(t) => self.model.tensor(self.index(t)?)?.name,
            None => String::new(),
        };
        self.charge(node.len())?;
        Ok(OpView {
            kind,
            lower,
            node: if node.is_empty() { format!("operator {index}") } else { node },
            inputs: inputs.i32s().collect(),
            outputs: outputs.i32s().collect(),
            intermediates: intermediates.i32s().collect(),
            options: operator.table(4)?,
        })
    }

    /// The value of a tensor that is an input, a constant or already made.
    fn value(&mut self, t: usize) -> Result<ValueId, ImportError> {
        if let Some(&id) = self.values.get(&t) {
            return Ok(id);
        }
        let info = self.model.tensor(t)?;
        let place = || format!("tensor '{}'", info.name);
        if info.is_variable {
            return Err(ImportError::unsupported_model(
                place(),
                "it is a variable that lives from run to run; only models without state are supported",
            ));
        }
        let data = self.model.data(&info)?;
        let shape = info.known_shape()?;
        let data = match data {
            Some(data) => data,
            None if shape.elements() == 0 => &[],
            None => {
                let problem = "nothing before its reader makes it and it has no data; the file is damaged or cyclic";
                return Err(ImportError::malformed(place(), problem));
            }
        };
        self.charge(data.len().saturating_mul(2).saturating_add(info.name.len()))?;
        let tensor = info.tensor(shape.clone(), data)?;
        let quant = info.quant(Some(&shape))?;
        self.charge(quant.as_ref().map_or(0, |q| 8 * q.scale.len()))?;
        let id = self.builder.constant(&info.name, tensor, quant);
        self.values.insert(t, id);
        Ok(id)
    }
}

impl Ctx<'_, '_> {
    /// A refusal of this form of the operator.
    pub fn refuse(&self, why: impl Into<String>) -> ImportError {
        ImportError::unsupported(&self.op.kind, &self.op.node, why)
    }

    /// A contradiction in the operator's operands or options.
    pub fn malformed(&self, problem: impl Into<String>) -> ImportError {
        ImportError::malformed(format!("node '{}' ({})", self.op.node, self.op.kind), problem)
    }

    /// How many operands the file lists.
    pub fn inputs(&self) -> usize {
        self.op.inputs.len()
    }

    /// How many results the file lists.
    pub fn outputs(&self) -> usize {
        self.op.outputs.len()
    }

    /// Operand `i`.
    pub fn input(&mut self, i: usize) -> Result<ValueId, ImportError> {
        self.optional(i)?.ok_or_else(|| self.malformed(format!("operand {i} is missing")))
    }

    /// Operand `i`, when it is there.
    pub fn optional(&mut self, i: usize) -> Result<Option<ValueId>, ImportError> {
        match self.op.inputs.get(i) {
            None | Some(-1) => Ok(None),
            Some(&t) => {
                let t = self.state.index(t)?;
                self.state.value(t).map(Some)
            }
        }
    }

    /// Type of a value.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        self.state.builder.graph.ty(id)
    }

    /// Shape of a value of exactly `N` axes.
    pub fn dims<const N: usize>(&self, id: ValueId) -> Result<[usize; N], ImportError> {
        let shape = &self.ty(id).shape;
        <[usize; N]>::try_from(shape.as_slice())
            .map_err(|_| self.malformed(format!("an operand of shape {shape} stands where {N} axes are needed")))
    }

    /// Elements of a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.state.builder.graph.constant(id).map(|t| t.as_ref())
    }

    /// Operand `i` as known integers; `None` when it is absent.
    pub fn optional_ints(&mut self, i: usize) -> Result<Option<Vec<i64>>, ImportError> {
        let Some(id) = self.optional(i)? else { return Ok(None) };
        match self.constant(id).map(|t| if t.len() > MAX_INTS { None } else { t.to_i64() }) {
            Some(Some(ints)) => Ok(Some(ints)),
            Some(None) => Err(self.malformed(format!("operand {i} must hold at most {MAX_INTS} integers"))),
            None => Err(self
                .refuse(format!("operand {i} is computed while the model runs; only constants are supported there"))),
        }
    }

    /// Operand `i` as known integers.
    pub fn ints(&mut self, i: usize) -> Result<Vec<i64>, ImportError> {
        self.optional_ints(i)?.ok_or_else(|| self.malformed(format!("operand {i} is missing")))
    }

    /// A known axis, from the front.
    pub fn axis(&self, id: ValueId, axis: i64) -> Result<usize, ImportError> {
        let shape = &self.ty(id).shape;
        shape.axis(axis).ok_or_else(|| self.malformed(format!("axis {axis} does not exist in shape {shape}")))
    }

    /// A 32-bit option.
    pub fn option_i32(&self, id: usize, default: i32) -> Result<i32, ImportError> {
        self.op.options.map_or(Ok(default), |t| t.i32(id, default))
    }

    /// A one-byte option.
    pub fn option_i8(&self, id: usize, default: i8) -> Result<i8, ImportError> {
        self.op.options.map_or(Ok(default), |t| t.i8(id, default))
    }

    /// A boolean option, false by default.
    pub fn option_bool(&self, id: usize) -> Result<bool, ImportError> {
        self.op.options.map_or(Ok(false), |t| t.bool(id))
    }

    /// A float option, 0 by default.
    pub fn option_f32(&self, id: usize) -> Result<f32, ImportError> {
        self.op.options.map_or(Ok(0.0), |t| t.f32(id))
    }

    /// An option that is a list of integers.
    pub fn option_i32s(&self, id: usize) -> Result<Vec<i32>, ImportError> {
        self.op.options.map_or(Ok(Vec::new()), |t| Ok(t.vector(id, 4)?.i32s().take(64).collect()))
    }

    /// An option that must be at least 1.
    pub fn option_extent(&self, id: usize, default: i32, name: &str) -> Result<usize, ImportError> {
        let value = self.option_i32(id, default)?;
        match usize::try_from(value) {
            Ok(v) if v > 0 => Ok(v),
            _ => Err(self.malformed(format!("{name} is {value} but must be at least 1"))),
        }
    }

    /// A fused activation.
    pub fn act(&self, id: usize) -> Result<Act, ImportError> {
        Ok(match self.option_i8(id, 0)? {
            0 => Act::None,
            1 => Act::Relu,
            2 => Act::ReluN1To1,
            3 => Act::Relu6,
            other => {
                let name = match other {
                    4 => "TANH",
                    5 => "SIGN_BIT",
                    _ => "unknown",
                };
                let why = format!("its fused activation {name} ({other}) is not NONE, RELU, RELU_N1_TO_1 or RELU6");
                return Err(self.refuse(why));
            }
        })
    }

    /// Dtype and quantisation of result `k` as the file declares them, and its shape when the file knows it.
    pub fn declared(&self, k: usize) -> Result<(DType, Option<QuantParams>, Option<Shape>), ImportError> {
        let Some(&t) = self.op.outputs.get(k) else {
            return Err(self.malformed(format!("result {k} is missing")));
        };
        let info = self.state.model.tensor(self.state.index(t)?)?;
        let shape = if info.shape.iter().all(|&d| d >= 0) { Some(info.known_shape()?) } else { None };
        let quant = info.quant(shape.as_ref())?;
        // Files made by hand, and converters for unranked results, leave the shape empty.
        let unknown = info.dynamic || info.shape.is_empty();
        Ok((info.dtype()?, quant, shape.filter(|_| !unknown)))
    }

    /// Operand `i` as the state of a recurrent layer, which starts as zero: its type.
    pub fn state_type(&self, i: usize) -> Result<TensorType, ImportError> {
        let tensor = self.op.inputs.get(i).copied().unwrap_or(-1);
        let info = self.state.model.tensor(self.state.index(tensor)?)?;
        if !info.is_variable {
            return Err(self.refuse(format!("operand {i}, a state, is no variable that the operator keeps to itself")));
        }
        let shape = info.known_shape()?;
        let quant = info.quant(Some(&shape))?;
        Ok(TensorType { dtype: info.dtype()?, shape, quant })
    }

    /// Quantisation of a value inside the operator.
    pub fn intermediate(&self, i: usize) -> Result<Option<QuantParams>, ImportError> {
        let Some(&tensor) = self.op.intermediates.get(i) else { return Ok(None) };
        self.state.model.tensor(self.state.index(tensor)?)?.quant(None)
    }

    /// Makes result 0 by `op`.
    pub fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Result<(), ImportError> {
        self.emit_to(0, op, inputs)
    }

    /// Makes result `k` by `op`.
    pub fn emit_to(&mut self, k: usize, op: Op, inputs: &[ValueId]) -> Result<(), ImportError> {
        let (dtype, quant, shape) = self.declared(k)?;
        let tensor = self.op.outputs.get(k).copied().unwrap_or(-1);
        let t = self.state.index(tensor)?;
        let name = match k {
            0 => self.op.node.clone(),
            _ => self.state.model.tensor(t)?.name,
        };
        if let Some(declared) = shape {
            let inferred = self.state.builder.shapes(&self.op.node, &op, inputs)?;
            if inferred.first() != Some(&declared) {
                let inferred = inferred.first().cloned().unwrap_or_default();
                return Err(self.malformed(format!(
                    "its result is declared with shape {declared} but its operands give {inferred}; the file is damaged"
                )));
            }
        }
        self.state.charge(name.len() + quant.as_ref().map_or(0, |q| 8 * q.scale.len()) + 8 * inputs.len())?;
        let results = vec![ResultSpec { name, dtype, quant }];
        let id = self.state.builder.node(&self.op.node, op, inputs, results)?;
        self.set(t, id.first().copied())
    }

    /// Makes result 0 a constant.
    pub fn emit_constant(&mut self, tensor: Tensor) -> Result<(), ImportError> {
        let t = self.state.index(self.op.outputs.first().copied().unwrap_or(-1))?;
        let id = self.state.builder.constant(&self.op.node, tensor, None);
        self.set(t, Some(id))
    }

    fn set(&mut self, t: usize, id: Option<ValueId>) -> Result<(), ImportError> {
        let Some(id) = id else { return Err(self.malformed("it makes no result")) };
        if self.state.values.insert(t, id).is_some() {
            return Err(self.malformed("its result is made twice; the file is damaged"));
        }
        Ok(())
    }

    /// An intermediate value, named after the node, with the dtype and quantisation of `like`.
    pub fn temp(&mut self, suffix: &str, op: Op, inputs: &[ValueId], like: ValueId) -> Result<ValueId, ImportError> {
        let like = self.ty(like);
        let (dtype, quant) = (like.dtype, like.quant.clone());
        self.temp_as(suffix, op, inputs, dtype, quant)
    }

    /// An intermediate value, named after the node.
    pub fn temp_as(
        &mut self,
        suffix: &str,
        op: Op,
        inputs: &[ValueId],
        dtype: DType,
        quant: Option<QuantParams>,
    ) -> Result<ValueId, ImportError> {
        let name = format!("{}/{suffix}", self.op.node);
        self.state.charge(2 * name.len() + 8 * inputs.len())?;
        let node = name.clone();
        let ids = self.state.builder.node(&node, op, inputs, vec![ResultSpec { name, dtype, quant }])?;
        ids.first().copied().ok_or_else(|| self.malformed("it makes no result"))
    }

    /// A new constant, named after the node.
    pub fn temp_constant(&mut self, suffix: &str, tensor: Tensor) -> ValueId {
        let name = format!("{}/{suffix}", self.op.node);
        self.state.builder.constant(&name, tensor, None)
    }
}
