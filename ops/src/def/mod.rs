//! What a kernel computes, as data and code that no backend owns: an [`OpDef`] with its axes, ports and agreement rule; named
//! samples; a reference in exact integers or `f64`; and the work that any machine has to do for it.
//!
//! A definition is implemented many times ([`Kernel`]): by the processor with and without SIMD, by CUDA kernels on a GPU or on
//! the PTX simulator. One loop over definitions, kernels and samples is the conformance suite.

mod agree;
mod conform;
mod dims;
mod random;
mod tensors;

pub use agree::{Agree, Agreement};
pub use conform::{Verdict, conform};
pub use dims::{Axis, AxisKind, Dim, Dims};
pub use random::Random;
pub use tensors::Tensors;

use crate::OpError;
use tandem_tensor::{DType, Tensor, TensorType};

/// A definition as data.
#[derive(Debug)]
pub struct OpDef {
    /// `family.form.dtype`, as `gemm.bf16` or `attention.decode.bf16`.
    pub name: &'static str,
    /// What is computed, in one line.
    pub summary: &'static str,
    /// The names that shapes are written in, and the choices that a caller makes.
    pub axes: &'static [Axis],
    /// Operands in order.
    pub inputs: &'static [Port],
    /// Results in order.
    pub outputs: &'static [Port],
    /// What must hold of the axes.
    pub holds: &'static [Constraint],
    /// When a result counts as equal to the reference.
    pub agree: Agree,
    /// How far the FPGA computes it.
    pub fpga: Grade,
}

/// An operand or a result.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Name, one word.
    pub name: &'static str,
    /// Element type.
    pub dtype: DType,
    /// Extent of every axis, outermost first; empty for a scalar.
    pub dims: &'static [Dim],
    /// What it holds, with its unit.
    pub doc: &'static str,
}

/// Something that must hold of the axes.
pub struct Constraint {
    /// As it is written in messages: `hq % hkv == 0`.
    pub text: &'static str,
    /// Whether it holds.
    pub holds: fn(&Dims) -> bool,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// How far a backend computes a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "grade", content = "why")]
pub enum Grade {
    /// Wholly on the unit.
    Native,
    /// The unit does the inner loop and the host the rest, which the text names.
    Split(&'static str),
    /// Only the reference computes it there; the text says why.
    ReferenceOnly(&'static str),
}

/// An input that is worth a name: an edge, or a usual case.
#[derive(Clone, Debug)]
pub struct Sample {
    /// As `empty_request` or `one_token_page`; what is special beyond the extents follows from it.
    pub name: &'static str,
    /// Extents and choices.
    pub dims: Dims,
}

impl Sample {
    /// A sample with these extents and choices; the others have their defaults.
    pub fn new(def: &OpDef, name: &'static str, dims: &[(&'static str, usize)]) -> Sample {
        let mut all = Dims::defaults(def.axes);
        for &(axis, extent) in dims {
            all.set(axis, extent);
        }
        Sample { name, dims: all }
    }
}

/// What has to be done whoever does it: the numerator of every "fraction of the limit".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Work {
    /// Floating-point operations; a multiply-accumulate is two.
    pub flops: u64,
    /// Integer operations on codes; a multiply-accumulate is two.
    pub int_ops: u64,
    /// Bytes between the memory of the device and its caches, each operand and result once.
    pub dram_bytes: u64,
    /// Bytes over the link between host and device, for kernels that fetch from the host.
    pub link_bytes: u64,
}

/// How much work a machine does in a moment. Where bytes limit a definition and not arithmetic, they are more than the caches hold:
/// 64 MB and more on a processor, 256 MB and more on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// A simulator: a million operations.
    Simulator,
    /// A processor: a thousand million.
    Processor,
    /// A GPU: a million million.
    Gpu,
}

/// A definition with the code that belongs to it.
pub trait Operation: Sync + Send {
    /// The data.
    fn def(&self) -> &'static OpDef;

    /// The samples that every implementation has to pass, edges first.
    fn samples(&self) -> Vec<Sample>;

    /// The samples that speeds are quoted for on a machine of this size.
    fn workloads(&self, size: Size) -> Vec<Sample>;

    /// Operands for a sample of this name (any other name: an ordinary random one) with these extents and choices. Axes of the
    /// kind [`AxisKind::Drawn`] follow from the operands and are not read.
    ///
    /// # Errors
    /// Invalid: extents that break a constraint.
    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError>;

    /// What shapes cannot say: that a page index is a page, that offsets ascend. `dims` are those of [`OpDef::bind`].
    ///
    /// # Errors
    /// Invalid, naming port and position.
    fn check(&self, _dims: &Dims, _inputs: &Tensors) -> Result<(), OpError> {
        Ok(())
    }

    /// The results, in exact integers or `f64` before the last rounding. Operands are bound and checked.
    ///
    /// # Errors
    /// When operands break the contract in a way that only computing shows.
    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError>;

    /// The work for these operands.
    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work;
}

/// One implementation of a definition on one backend.
pub trait Kernel: Sync {
    /// The definition.
    fn operation(&self) -> &'static dyn Operation;

    /// How far it goes for these extents and choices: all the way, unless it says otherwise.
    fn grade(&self, _dims: &Dims) -> Grade {
        Grade::Native
    }

    /// The results for operands that [`accept`] has accepted.
    ///
    /// # Errors
    /// The device's, or what the operands' values break.
    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError>;
}

impl OpDef {
    /// The input port of that name.
    pub fn input(&self, name: &str) -> Option<&'static Port> {
        self.inputs.iter().find(|port| port.name == name)
    }

    /// The axes as the shapes of these operands make them; `choices` gives the axes that no shape shows.
    ///
    /// # Errors
    /// Invalid, naming port and axis: a missing operand, another dtype or rank, an extent that contradicts another.
    pub fn bind(&self, choices: &Dims, inputs: &Tensors) -> Result<Dims, OpError> {
        let mut dims = Dims::default();
        // Plain axes first, so that sums and products of them can be checked wherever they stand.
        for port in self.inputs {
            let tensor = inputs.find(port.name).ok_or_else(|| self.wrong(port, "is missing"))?;
            if tensor.dtype() != port.dtype {
                return Err(self.wrong(port, &format!("holds {}, not {}", tensor.dtype(), port.dtype)));
            }
            if tensor.shape().rank() != port.dims.len() {
                let text = format!("has shape {}, not the {} axes {}", tensor.shape(), port.dims.len(), port.shape());
                return Err(self.wrong(port, &text));
            }
            for (at, dim) in port.dims.iter().enumerate() {
                let Dim::Axis(axis) = *dim else { continue };
                let extent = tensor.shape()[at];
                match dims.find(axis) {
                    Some(other) if other != extent => {
                        let text = format!("has {extent} on axis {axis}, where an operand before it has {other}");
                        return Err(self.wrong(port, &text));
                    }
                    _ => dims.set(axis, extent),
                }
            }
        }
        for axis in self.axes {
            let chosen = choices.find(axis.name);
            match (dims.find(axis.name), chosen) {
                (None, chosen) => dims.set(axis.name, chosen.unwrap_or(axis.default)),
                (Some(bound), Some(chosen)) if bound != chosen && !matches!(axis.kind, AxisKind::Drawn) => {
                    let text = format!("{}: the operands have {bound} on axis {}, not {chosen}", self.name, axis.name);
                    return Err(OpError::Invalid(text));
                }
                _ => {}
            }
            if let AxisKind::Choice(names) = axis.kind
                && dims[axis.name] >= names.len()
            {
                let text =
                    format!("{}: {} is {}, but has {} choices", self.name, axis.name, dims[axis.name], names.len());
                return Err(OpError::Invalid(text));
            }
        }
        for port in self.inputs {
            let tensor = inputs.get(port.name)?;
            for (at, dim) in port.dims.iter().enumerate() {
                let (found, expected) = (tensor.shape()[at], dim.extent(&dims));
                if found != expected {
                    let text = format!("has {found} on axis {at}, where {dim} is {expected}");
                    return Err(self.wrong(port, &text));
                }
            }
        }
        self.constrain(&dims)?;
        Ok(dims)
    }

    /// Refuses extents that break a constraint.
    ///
    /// # Errors
    /// Invalid, with the constraint.
    pub fn constrain(&self, dims: &Dims) -> Result<(), OpError> {
        match self.holds.iter().find(|rule| !(rule.holds)(dims)) {
            Some(rule) => Err(OpError::Invalid(format!("{}: {} does not hold for {dims}", self.name, rule.text))),
            None => Ok(()),
        }
    }

    /// The type of a result.
    pub fn output_type(&self, port: &Port, dims: &Dims) -> TensorType {
        TensorType::new(port.dtype, port.dims.iter().map(|dim| dim.extent(dims)).collect::<Vec<_>>())
    }

    /// Zeros for every result.
    pub fn empty_outputs(&self, dims: &Dims) -> Tensors {
        let outputs = self.outputs.iter().map(|port| {
            let ty = self.output_type(port, dims);
            (port.name, Tensor::zeros(ty.dtype, ty.shape))
        });
        outputs.collect()
    }

    fn wrong(&self, port: &Port, text: &str) -> OpError {
        OpError::Invalid(format!("{}: operand {} {text}", self.name, port.name))
    }
}

impl Port {
    /// The shape as text: `[m, k]`.
    pub fn shape(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(ToString::to_string).collect();
        format!("[{}]", dims.join(", "))
    }
}

/// Binds and checks operands: what every caller does before a kernel runs.
///
/// # Errors
/// Those of [`OpDef::bind`] and [`Operation::check`].
pub fn accept(operation: &dyn Operation, choices: &Dims, inputs: &Tensors) -> Result<Dims, OpError> {
    let dims = operation.def().bind(choices, inputs)?;
    operation.check(&dims, inputs)?;
    Ok(dims)
}
