//! What a device has to offer to run segments.

use crate::RuntimeError;
use std::time::Duration;
use tandem_driver::Counters;
use tandem_graph::{Graph, Node};
use tandem_ops::Cost;
use tandem_plan::Device;
use tandem_tensor::{Tensor, TensorType};

/// Runs of a device that are under way at most: one computes, the inputs of two more are with it. Two would do where copies and
/// computing of each run took equally long; where they do not, each waits for the longer of both.
pub const SLOTS: usize = 3;

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

    /// What a node would take on the device at the least, projected from what the device can do; `None` where that is not known, or
    /// the node does not run here.
    fn project(&self, _graph: &Graph, _node: &Node) -> Option<Duration> {
        None
    }

    /// Gets a segment, as a graph of its own, ready to run.
    ///
    /// # Errors
    /// When the device cannot take it, or fails.
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError>;

    /// What each node of the graph takes here, measured on operands of zeros; one entry for each, or why it does not run here.
    /// `done` is called after every node.
    ///
    /// # Errors
    /// When the device fails.
    fn measure(&mut self, graph: &Graph, done: &mut dyn FnMut()) -> Result<Vec<Result<Taken, String>>, RuntimeError> {
        let nothing = graph.nodes.iter().map(|_| {
            done();
            Err("the device measures nothing".to_owned())
        });
        Ok(nothing.collect())
    }
}

/// What a node took, for one sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Time on this host: of the kernel, or of whatever stands for the device.
    pub wall: Duration,
    /// Cycles of the device, where it counts them.
    pub cycles: Option<u64>,
    /// What each tensor that it reads, constants left out, took to the device, and then what each result took back; empty where
    /// nothing is copied.
    pub copies: Vec<Copied>,
}

/// Copies between the host and a device, layout changes included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Copied {
    /// Bytes as they lie on the device.
    pub bytes: u64,
    /// Number of tensors.
    pub count: u64,
    /// Time on this host.
    pub wall: Duration,
}

impl Copied {
    pub(crate) fn add(&mut self, other: Copied) {
        self.bytes += other.bytes;
        self.count += other.count;
        self.wall += other.wall;
    }

    /// What has been copied since, for one of so many tensors at a time.
    pub(crate) fn since(&self, before: &Copied, tensors: u32) -> Copied {
        Copied {
            bytes: (self.bytes - before.bytes) / u64::from(tensors),
            count: (self.count - before.count) / u64::from(tensors),
            wall: (self.wall - before.wall) / tensors,
        }
    }
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

    /// Gets ready for so many runs under way, and gives for how many there is room: none, where a run has no phases.
    fn slots(&mut self, _most: usize) -> usize {
        0
    }

    /// The phases of a run one by one, where the device computes while the host does something else.
    fn phased(&mut self) -> Option<&mut dyn Phased> {
        None
    }

    /// Counters of all runs so far, added up; `None` for a device without any.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// What all runs so far copied to and from the device.
    fn copied(&self) -> Copied {
        Copied::default()
    }
}

/// The phases of a run, in this order: stage, start, wait, collect. Several runs can be under way, each in a slot of its own: while one
/// computes, the inputs of the next go to the device, and while that one computes, the results of the first come back.
///
/// Only one run computes at a time on a device, whatever the segment: whoever starts one waits for it before starting the next.
pub trait Phased {
    /// Brings the inputs of at most [`Executable::samples`] samples to a slot of the device that holds no run.
    ///
    /// # Errors
    /// When samples do not fit or the device fails.
    fn stage(&mut self, slot: usize, samples: &[Vec<Tensor>]) -> Result<(), RuntimeError>;

    /// Has the device compute what was staged.
    ///
    /// # Errors
    /// When the device fails.
    fn start(&mut self, slot: usize) -> Result<(), RuntimeError>;

    /// Waits until it has, and gives the cycles that it took where the device counts them.
    ///
    /// # Errors
    /// When the device fails.
    fn wait(&mut self, slot: usize) -> Result<Option<u64>, RuntimeError>;

    /// Brings the results back; the slot is free then.
    ///
    /// # Errors
    /// When the device fails.
    fn collect(&mut self, slot: usize) -> Result<Vec<Vec<Tensor>>, RuntimeError>;
}
