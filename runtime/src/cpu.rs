//! The CPU backend: the kernels of `tandem-ops`.

use crate::{Backend, Executable, RuntimeError, Work};
use tandem_graph::{Graph, Interpreter};
use tandem_tensor::Tensor;

/// The host.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

struct CpuSegment {
    graph: Graph,
}

impl Backend for CpuBackend {
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        Ok(Box::new(CpuSegment { graph: segment.clone() }))
    }
}

impl Executable for CpuSegment {
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<(Vec<Vec<Tensor>>, Work), RuntimeError> {
        let interpreter = Interpreter::new(&self.graph);
        let results = samples.iter().map(|inputs| interpreter.run(inputs)).collect::<Result<_, _>>()?;
        Ok((results, Work::default()))
    }
}
