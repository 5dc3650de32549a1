//! The host as a backend: the kernels of `ops`.

use crate::{Backend, Executable, RuntimeError};
use tandem_graph::{Graph, Interpreter, Kernels, Node};
use tandem_plan::Device;
use tandem_tensor::Tensor;

/// Runs every operator, with the reference kernels.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn supports(&self, _graph: &Graph, _node: &Node) -> Result<(), String> {
        Ok(())
    }

    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        Ok(Box::new(CpuSegment { kernels: Kernels::new(segment), graph: segment.clone() }))
    }
}

struct CpuSegment {
    graph: Graph,
    kernels: Kernels,
}

impl Executable for CpuSegment {
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let interpreter = Interpreter::with_kernels(&self.graph, &self.kernels);
        samples.iter().map(|inputs| Ok(interpreter.run(inputs)?)).collect()
    }
}
