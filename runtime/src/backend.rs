//! What a device has to offer to run segments.

use crate::RuntimeError;
use tandem_driver::Counters;
use tandem_graph::{Graph, Node};
use tandem_ops::Cost;
use tandem_plan::Device;
use tandem_tensor::{Tensor, TensorType};

/// A device that runs segments.
pub trait Backend: Send {
    /// Which device of a plan it stands for.
    fn device(&self) -> Device;

    /// Whether it runs this node of this graph.
    ///
    /// # Errors
    /// The reason why not, as a phrase.
    fn supports(&self, graph: &Graph, node: &Node) -> Result<(), String>;

    /// What the node costs here; `None` means that it cannot run here.
    fn cost(&self, graph: &Graph, node: &Node) -> Option<Cost> {
        self.supports(graph, node).ok()?;
        let operands: Vec<&TensorType> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
        tandem_ops::cost(&node.op, &operands).ok()
    }

    /// Gets a segment, as a graph of its own, ready to run.
    ///
    /// # Errors
    /// When the device cannot take it, or fails.
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError>;
}

/// A segment on a device, ready to run any number of times.
pub trait Executable: Send {
    /// How many samples one run of the device takes; handing in multiples of it wastes nothing.
    fn samples(&self) -> usize {
        1
    }

    /// The segment's outputs for every sample. A sample is one tensor for every input of the segment.
    ///
    /// # Errors
    /// When samples do not fit or the device fails.
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError>;

    /// Counters of all runs so far, added up; `None` for a device without any.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// Bytes copied to and from the device by all runs so far.
    fn bytes_copied(&self) -> u64 {
        0
    }
}
