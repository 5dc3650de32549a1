//! Kernels whose launches follow from extents, scalars and addresses alone: operands in device memory, and steps on them.

use crate::device::{Buffer, Device, Function, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::Instance;
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Grade, Kernel, OpDef, Operation, Tensors};
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

    /// The buffer of a port.
    ///
    /// # Errors
    /// Invalid, where there is none.
    pub fn buffer(&self, name: &str) -> Result<&Buffer> {
        let found = self.buffers.iter().find(|(other, _)| *other == name);
        found.map(|(_, buffer)| buffer).ok_or_else(|| GpuError::Invalid(format!("operand {name} is not on the device")))
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
            |port| Ok((port_name(port), self.buffer(port_name(port))?.download(def.output_type(port, dims).shape)?));
        def.outputs.iter().map(download).collect()
    }
}

fn port_name(port: &tandem_ops::def::Port) -> &'static str {
    port.name
}

/// Launches in their order, ready to be made many times.
#[derive(Default)]
pub struct Steps {
    steps: Vec<(Function, Launch)>,
    scratch: Vec<Buffer>,
}

impl Steps {
    /// None: there is nothing to compute.
    pub fn none() -> Steps {
        Steps::default()
    }

    /// One more launch of a kernel, which is made ready here.
    pub(crate) fn step(&mut self, device: &Device, instance: &Instance, launch: Launch) -> Result<()> {
        self.steps.push((device.function(instance)?, launch));
        Ok(())
    }

    /// Launches that are ready.
    pub(crate) fn extend(&mut self, launches: Vec<(Function, Launch)>) {
        self.steps.extend(launches);
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
        self.steps.iter().try_for_each(|(function, launch)| device.launch(function, launch))
    }

    /// How many launches there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Makes the steps for bound dims and operands.
pub(crate) type Plan = fn(&Device, &Dims, &Operands) -> Result<Steps>;

/// The plans of all families, by definition.
fn plan_of(name: &str) -> Option<Plan> {
    let families = [crate::rows::PLANS, crate::elementwise::PLANS, crate::window::PLANS];
    families.into_iter().flatten().find(|(other, _)| *other == name).map(|&(_, plan)| plan)
}

/// The launches that compute a definition on operands in device memory; `None` for a definition that is computed another way.
///
/// # Errors
/// Those of the operands and of making kernels ready.
pub fn steps(device: &Device, def: &OpDef, dims: &Dims, operands: &Operands) -> Result<Option<Steps>> {
    let empty = def.outputs.iter().all(|port| def.output_type(port, dims).elements() == 0);
    match plan_of(def.name) {
        Some(_) if empty => Ok(Some(Steps::none())),
        Some(plan) => plan(device, dims, operands).map(Some),
        None => Ok(None),
    }
}

/// A kernel of every definition that has a plan.
pub(crate) fn kernels(device: &Device) -> impl Iterator<Item = Box<dyn Kernel>> {
    let planned = tandem_ops::operations().into_iter().filter(|operation| plan_of(operation.def().name).is_some());
    planned.map(|operation| Box::new(Planned { device: device.clone(), operation }) as Box<dyn Kernel>)
}

struct Planned {
    device: Device,
    operation: &'static dyn Operation,
}

impl Kernel for Planned {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        Grade::Native
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        let def = self.operation.def();
        let operands = Operands::upload(&self.device, def, dims, inputs)?;
        let none = || OpError::Unsupported(format!("{} has no CUDA kernel", def.name));
        let steps = steps(&self.device, def, dims, &operands)?.ok_or_else(none)?;
        steps.launch(&self.device)?;
        Ok(operands.download(def, dims)?)
    }
}
