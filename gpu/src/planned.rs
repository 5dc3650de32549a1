//! Kernels whose launches follow from extents, scalars and addresses alone: operands in device memory, and steps on them.

use crate::device::{Buffer, Device, Function, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance};
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Grade, Kernel, OpDef, Operation, Port, Tensors};
use tandem_tensor::Element;

/// The operands and results of a definition in the memory of a device. Scalars stay on the host.
pub struct Operands {
    buffers: Vec<(&'static str, Buffer)>,
    scalars: Tensors,
}

impl Operands {
    /// Operands copied to the device, and room for the results.
    ///
    /// # Errors
    /// Exhausted, where they do not fit.
    pub fn upload(device: &Device, def: &OpDef, dims: &Dims, inputs: &Tensors) -> Result<Operands> {
        let mut operands = Operands { buffers: Vec::new(), scalars: Tensors::new() };
        for (name, tensor) in inputs.iter() {
            if tensor.shape().rank() == 0 {
                operands.scalars = operands.scalars.with(name, tensor.clone());
            } else {
                operands.buffers.push((name, device.upload(tensor)?));
            }
        }
        for port in def.outputs {
            let ty = def.output_type(port, dims);
            operands.buffers.push((port.name, device.alloc(ty.dtype, ty.elements())?));
        }
        Ok(operands)
    }

    /// Operands that are on the device already, and room for the results, by port; scalars stay on the host.
    pub fn of(buffers: Vec<(&'static str, Buffer)>, scalars: Tensors) -> Operands {
        Operands { buffers, scalars }
    }

    /// The buffer of a port.
    ///
    /// # Errors
    /// Invalid, where there is none.
    pub fn buffer(&self, name: &str) -> Result<&Buffer> {
        self.find(name).ok_or_else(|| GpuError::Invalid(format!("operand {name} is not on the device")))
    }

    /// The numbers of a port of indices or offsets, read back from the device: plans are made on the host.
    ///
    /// # Errors
    /// Invalid, where it is missing or of another dtype.
    pub(crate) fn indices(&self, name: &str) -> Result<Vec<usize>> {
        let buffer = self.buffer(name)?;
        let tensor = buffer.download([buffer.len()])?;
        let numbers = tensor.as_slice::<i32>().map_err(|error| GpuError::Invalid(error.to_string()))?;
        Ok(numbers.iter().map(|&number| number as usize).collect())
    }

    /// The buffer of a port that the definition may have.
    pub fn find(&self, name: &str) -> Option<&Buffer> {
        self.buffers.iter().find(|(other, _)| *other == name).map(|(_, buffer)| buffer)
    }

    /// The value of a scalar port.
    ///
    /// # Errors
    /// Invalid, where it is missing or of another dtype.
    pub fn scalar<T: Element>(&self, name: &str) -> Result<T> {
        self.scalars.scalar(name).map_err(|error| GpuError::Invalid(error.to_string()))
    }

    /// The results, once all work that was asked for before is done.
    ///
    /// # Errors
    /// Fault, where the work failed.
    pub fn download(&self, def: &OpDef, dims: &Dims) -> Result<Tensors> {
        let download =
            |port: &Port| Ok((port.name, self.buffer(port.name)?.download(def.output_type(port, dims).shape)?));
        def.outputs.iter().map(download).collect()
    }
}

/// Launches in their order, ready to be made many times.
#[derive(Default)]
pub struct Steps {
    /// With whether it reads nothing but weights.
    steps: Vec<(Function, Launch, bool)>,
    scratch: Vec<Buffer>,
}

impl Steps {
    /// None: there is nothing to compute.
    pub fn none() -> Steps {
        Steps::default()
    }

    /// One more launch of a kernel, which is made ready here.
    pub(crate) fn step(&mut self, device: &Device, instance: &Instance, launch: Launch) -> Result<()> {
        self.steps.push((device.function(instance)?, launch, false));
        Ok(())
    }

    /// One more launch, which reads nothing but weights: what it computes stays as long as they do.
    pub(crate) fn step_of_weights(&mut self, device: &Device, instance: &Instance, launch: Launch) -> Result<()> {
        self.steps.push((device.function(instance)?, launch, true));
        Ok(())
    }

    /// The launches of another computation behind these.
    pub(crate) fn extend(&mut self, other: Steps) {
        self.steps.extend(other.steps);
        self.scratch.extend(other.scratch);
    }

    /// Keeps a buffer as long as the steps.
    pub(crate) fn keep(&mut self, buffer: Buffer) -> u64 {
        let address = buffer.address();
        self.scratch.push(buffer);
        address
    }

    /// Makes the launches; they may still be running when this returns.
    ///
    /// # Errors
    /// Those of [`Device::launch`].
    pub fn launch(&self, device: &Device) -> Result<()> {
        self.steps.iter().try_for_each(|(function, launch, _)| device.launch(function, launch))
    }

    /// Makes the launches that read nothing but weights, after which [`Steps::launch_prepared`] may be called as long as the weights
    /// stay as they are.
    ///
    /// # Errors
    /// Those of [`Device::launch`].
    pub fn prepare(&self, device: &Device) -> Result<()> {
        let mut weights = self.steps.iter().filter(|(.., weights)| *weights);
        weights.try_for_each(|(function, launch, _)| device.launch(function, launch))
    }

    /// Makes the other launches; they may still be running when this returns.
    ///
    /// # Errors
    /// Those of [`Device::launch`].
    pub fn launch_prepared(&self, device: &Device) -> Result<()> {
        let mut others = self.steps.iter().filter(|(.., weights)| !*weights);
        others.try_for_each(|(function, launch, _)| device.launch(function, launch))
    }
}

/// A definition whose kernels' launches follow from extents, scalars and addresses.
pub(crate) struct Planned {
    /// The definition's name.
    pub(crate) name: &'static str,
    /// The least that its kernels need.
    pub(crate) least: Arch,
    /// Makes the steps for bound dims and operands.
    pub(crate) steps: fn(&Device, &Dims, &Operands) -> Result<Steps>,
}

/// Those of all families.
fn planned() -> impl Iterator<Item = &'static Planned> {
    [
        crate::gemm::PLANS,
        crate::rows::PLANS,
        crate::elementwise::PLANS,
        crate::window::PLANS,
        crate::ibp::PLANS,
        crate::pir::PLANS,
        crate::ivf::PLANS,
        crate::lowbit::PLANS,
        crate::sampling::PLANS,
        crate::tactic::PLANS,
    ]
    .into_iter()
    .flatten()
}

/// The launches that compute a definition on operands in device memory; `None` for a definition that is computed another way.
///
/// # Errors
/// Those of the operands and of making kernels ready.
pub fn steps(device: &Device, def: &OpDef, dims: &Dims, operands: &Operands) -> Result<Option<Steps>> {
    let planned = planned().find(|planned| planned.name == def.name);
    planned.map(|planned| unless_empty(def, dims, || (planned.steps)(device, dims, operands))).transpose()
}

/// How far a device goes with the kernels whose launches [`steps`] gives.
pub fn grade(device: &Device, def: &OpDef) -> Grade {
    match planned().find(|planned| planned.name == def.name) {
        Some(planned) => device.facts().grade(planned.least),
        None => Grade::ReferenceOnly("there is no kernel of the definition"),
    }
}

fn unless_empty(def: &OpDef, dims: &Dims, steps: impl FnOnce() -> Result<Steps>) -> Result<Steps> {
    let empty = def.outputs.iter().all(|port| def.output_type(port, dims).elements() == 0);
    if empty { Ok(Steps::none()) } else { steps() }
}

/// Copies operands to the device, makes the launches on them, and copies the results back.
///
/// # Errors
/// Those of the operands, of the steps, and of the device.
pub(crate) fn compute(
    device: &Device,
    def: &OpDef,
    dims: &Dims,
    inputs: &Tensors,
    steps: impl FnOnce(&Operands) -> Result<Steps>,
) -> std::result::Result<Tensors, OpError> {
    let operands = Operands::upload(device, def, dims, inputs)?;
    unless_empty(def, dims, || steps(&operands))?.launch(device)?;
    Ok(operands.download(def, dims)?)
}

/// A kernel of every definition that has a plan.
pub(crate) fn kernels(device: &Device) -> impl Iterator<Item = Box<dyn Kernel>> {
    let kernel = |planned: &'static Planned| {
        let operation = tandem_ops::operation(planned.name)?;
        Some(Box::new(OnDevice { device: device.clone(), operation, planned }) as Box<dyn Kernel>)
    };
    planned().filter_map(kernel).collect::<Vec<_>>().into_iter()
}

struct OnDevice {
    device: Device,
    operation: &'static dyn Operation,
    planned: &'static Planned,
}

impl Kernel for OnDevice {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        self.device.facts().grade(self.planned.least)
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        let steps = |operands: &Operands| (self.planned.steps)(&self.device, dims, operands);
        compute(&self.device, self.operation.def(), dims, inputs, steps)
    }
}
