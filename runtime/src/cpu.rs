//! The host as a backend: the kernels of `ops`.

use crate::profile::median;
use crate::{Backend, Executable, RuntimeError, Taken};
use std::time::{Duration, Instant};
use tandem_graph::{Compiled, Graph, GraphError, Interpreter, Kernels, Node, NodeId};
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
        Ok(Box::new(CpuSegment::new(segment)))
    }

    /// The median time of a node in runs of the whole graph: with the caches as its neighbours leave them. What a run takes before its
    /// first node is the first one's, and what it takes behind its last one, for the results, the last one's.
    fn measure(&mut self, graph: &Graph, done: &mut dyn FnMut()) -> Result<Vec<Result<Taken, String>>, RuntimeError> {
        let mut segment = CpuSegment::new(graph);
        let inputs = graph.zero_inputs();
        let mut walls: Vec<Vec<Duration>> = vec![Vec::new(); graph.nodes.len()];
        let start = Instant::now();
        for run in 0..RUNS {
            let mut last = Instant::now();
            segment.run_observed(&inputs, |NodeId(n)| {
                let now = Instant::now();
                walls[n].push(now - last);
                last = now;
                if run == 0 {
                    done();
                }
            })?;
            if let Some(wall) = walls.last_mut().and_then(|walls| walls.last_mut()) {
                *wall += last.elapsed();
            }
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

/// A segment with its kernels prepared.
enum CpuSegment {
    Compiled(Box<Compiled>),
    /// Of which some nodes have no prepared kernel.
    Interpreted {
        graph: Graph,
        kernels: Kernels,
    },
}

impl CpuSegment {
    fn new(graph: &Graph) -> CpuSegment {
        match Compiled::new(graph, Kernels::new(graph)) {
            Ok(compiled) => CpuSegment::Compiled(Box::new(compiled)),
            Err(kernels) => CpuSegment::Interpreted { graph: graph.clone(), kernels },
        }
    }

    fn run_observed(&mut self, inputs: &[Tensor], mut observe: impl FnMut(NodeId)) -> Result<Vec<Tensor>, GraphError> {
        match self {
            CpuSegment::Compiled(compiled) => compiled.run_observed(inputs, observe),
            CpuSegment::Interpreted { graph, kernels } => {
                Interpreter::with_kernels(graph, kernels).run_observed(inputs, |node, _| observe(node))
            }
        }
    }
}

impl Executable for CpuSegment {
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        samples.iter().map(|inputs| Ok(self.run_observed(inputs, |_| {})?)).collect()
    }
}
