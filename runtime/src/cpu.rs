//! The host as a backend: the kernels of `ops`.

use crate::profile::median;
use crate::{Backend, Executable, RuntimeError, Taken};
use std::time::{Duration, Instant};
use tandem_graph::{Graph, Interpreter, Kernels, Node, NodeId};
use tandem_plan::Device;
use tandem_tensor::Tensor;

/// Runs that a measurement takes at most, and the time after which it begins no further one.
const RUNS: usize = 200;
const PATIENCE: Duration = Duration::from_millis(500);

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

    /// The median time of a node in runs of the whole graph: with the caches as its neighbours leave them.
    fn measure(&mut self, graph: &Graph, done: &mut dyn FnMut()) -> Result<Vec<Result<Taken, String>>, RuntimeError> {
        let kernels = Kernels::new(graph);
        let interpreter = Interpreter::with_kernels(graph, &kernels);
        let inputs = graph.zero_inputs();
        let mut walls: Vec<Vec<Duration>> = vec![Vec::new(); graph.nodes.len()];
        let start = Instant::now();
        for run in 0..RUNS {
            let mut last = Instant::now();
            interpreter.run_observed(&inputs, |NodeId(n), _| {
                let now = Instant::now();
                walls[n].push(now - last);
                last = now;
                if run == 0 {
                    done();
                }
            })?;
            if start.elapsed() > PATIENCE {
                break;
            }
        }
        Ok(walls
            .into_iter()
            .map(|walls| Ok(Taken { wall: median(walls).unwrap_or_default(), ..Taken::default() }))
            .collect())
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
