//! Graph segment to [`isa::Program`](tandem_isa::Program): tiling, layout, tokens, micro-ops and the memory plan.
//!
//! A segment is a graph of its own whose every node the accelerator can run ([`supports`] says so, with a reason where it
//! cannot). [`compile`] lowers each node to one layer and schedules the layer tile by tile over two contexts of the
//! scratchpads; the loads of a layer run while the one before it is computed and stored. The crate knows no driver, no
//! simulator and no board.
//!
//! | file | what it knows |
//! |---|---|
//! | `layout.rs` | how an activation lies in DRAM; packing and unpacking |
//! | `lower.rs` | which nodes become which layers, and their constants |
//! | `fold.rs` | first layers with few channels: pixels in blocks |
//! | `tile.rs` | tile sizes that fit the scratchpads |
//! | `window.rs` | convolution, depthwise, dense and pooling: loads, GEMM or LANE, stores |
//! | `constants.rs` | weights and parameters in DRAM |
//! | `eltwise.rs` | addition, multiplication and requantisation of whole activations |
//! | `transfer.rs` | rectangles in DRAM, with padding, as loads and stores |
//! | `nest.rs` | iteration spaces as loops and micro-ops |
//! | `emit.rs` | the instruction stream: what waits for what, and its tokens |
//! | `uop.rs` | the micro-op kernels in DRAM and their cache in the scratchpad |
//! | `merge.rs` | neighbours of a queue become one instruction |
//! | `memory.rs` | which activation lies where in DRAM, and for how long |
//! | `search.rs` | schedules of whole segments by predicted cycles |
//! | `tune/` | the search for good schedules by measured cycles, layer by layer |
#![forbid(unsafe_code)]

mod constants;
mod eltwise;
mod emit;
mod fold;
mod layout;
mod lower;
mod memory;
mod merge;
mod nest;
mod search;
mod tile;
mod transfer;
pub mod tune;
mod uop;
mod window;

pub use layout::Binding;
pub use merge::merge;
pub use search::{Effort, search};
pub use tile::{Order, Tile};

use crate::emit::Emitter;
use crate::fold::Fold;
use crate::layout::Geometry;
use crate::lower::Layer;
use crate::memory::Places;
use crate::tile::Demand;
use std::collections::BTreeMap;
use std::ops::Range;
use tandem_graph::{Graph, Node, ValueId};
use tandem_isa::{HwConfig, IsaError, Program};

/// A compiled segment.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Instructions and DRAM image.
    pub program: Program,
    /// Where and how to write each input of the segment, in the order of the graph's inputs.
    pub inputs: Vec<Binding>,
    /// Where and how to read each output, in the order of the graph's outputs.
    pub outputs: Vec<Binding>,
    /// Samples that one run takes: BATCH when the graph's leading extent is 1, else 1.
    pub samples: usize,
}

/// Why a segment does not compile.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// Unsupported: the node belongs on another device.
    #[error("node '{node}' ({op}) cannot run on the VTA: {reason}; place it on the CPU")]
    Unsupported {
        /// Node name.
        node: String,
        /// Operator name.
        op: &'static str,
        /// Why.
        reason: String,
    },
    /// Invalid: a tensor handed in for packing does not fit its binding.
    #[error("{0}")]
    Invalid(String),
    /// Exhausted: the program needs more than the machine's address space.
    #[error(
        "the program needs {bytes} bytes of DRAM, more than the {limit} that the machine's addresses reach; split the segment"
    )]
    Exhausted {
        /// Bytes needed.
        bytes: u64,
        /// Bytes there are.
        limit: u64,
    },
    /// Invalid: the encoder refused an instruction or micro-op.
    #[error(transparent)]
    Isa(#[from] IsaError),
}

/// Whether `node` of `graph` can run on a machine of this configuration.
///
/// # Errors
/// The reason, as a phrase that completes "it runs on the CPU because ..".
pub fn supports(graph: &Graph, node: &Node, config: &HwConfig) -> Result<(), String> {
    if !config.profile().has_extension() {
        return Err(format!("profile {} has no exact requantisation", config.profile().name()));
    }
    let layer = lower::lower(graph, node)?;
    match layer.modes().into_iter().find(|&mode| !config.has_requant(mode)) {
        Some(mode) => Err(format!("this machine has no REQUANT mode `{}`", mode.name())),
        None => Ok(()),
    }
}

/// The layers that the nodes of a graph become, or why a node becomes none; and the inputs of the graph that a single layer reads
/// and would rather have in blocks.
pub(crate) fn layers(graph: &Graph, config: &HwConfig) -> (Vec<Result<Layer, String>>, BTreeMap<ValueId, Fold>) {
    let lowered = |node| supports(graph, node, config).and_then(|()| lower::lower(graph, node));
    let mut layers: Vec<Result<Layer, String>> = graph.nodes.iter().map(lowered).collect();
    let geometry = Geometry::new(config);
    let mut folds = BTreeMap::new();
    for &input in &graph.inputs {
        let mut readers = (0..layers.len()).filter(|&at| graph.nodes[at].inputs.contains(&input));
        if let (Some(reader), None) = (readers.next(), readers.next())
            && !graph.outputs.contains(&input)
            && let Ok(Layer::Window(window)) = &mut layers[reader]
            && let Some(fold) = fold::fold(window, &geometry, config.bus_bytes())
        {
            folds.insert(input, fold);
        }
    }
    for layer in layers.iter_mut().flatten() {
        if let Layer::Window(window) = layer {
            window.skip_rows();
        }
    }
    (layers, folds)
}

/// How a segment is scheduled; the default leaves every choice to an estimate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Tiles of window layers by the name of the node; the others get the cheapest by an estimate.
    pub tiles: BTreeMap<String, Tile>,
    /// Whether loads, computation and stores follow one another instead of overlapping: what latency hiding is compared with.
    pub serial: bool,
}

/// Compiles a segment with the default schedule.
///
/// # Errors
/// As [`compile_with`].
pub fn compile(graph: &Graph, config: &HwConfig) -> Result<Compiled, JitError> {
    compile_with(graph, config, &Options::default())
}

/// Compiles a segment.
///
/// # Errors
/// [`JitError::Unsupported`] for a node that [`supports`] refuses, [`JitError::Exhausted`] for a segment beyond the address
/// space, [`JitError::Invalid`] for a tile that does not fit the scratchpads or the layer.
pub fn compile_with(graph: &Graph, config: &HwConfig, options: &Options) -> Result<Compiled, JitError> {
    let segment = Lowered::new(graph, config)?;
    let program = segment.program(0..graph.nodes.len(), options)?;
    let binding = |ids: &[ValueId]| -> Vec<Binding> {
        ids.iter()
            .map(|&id| {
                let (ty, fold) = (graph.ty(id), segment.folds.get(&id).cloned());
                let bytes = segment.element_bytes.get(&id).copied().unwrap_or(1);
                let section = segment.places.section_of(id);
                Binding::new(section, &graph.value(id).name, ty, &segment.geometry, segment.samples, bytes, fold)
            })
            .collect()
    };
    let (inputs, outputs) = (binding(&graph.inputs), binding(&graph.outputs));
    let bytes = program.sections.iter().map(|section| section.end()).max().unwrap_or(0);
    let limit = 1u64 << config.dram_bits();
    if bytes > limit {
        return Err(JitError::Exhausted { bytes, limit });
    }
    Ok(Compiled { program, inputs, outputs, samples: segment.samples })
}

/// A segment as layers, with a place for every activation: all that does not depend on the schedule.
pub(crate) struct Lowered<'a> {
    graph: &'a Graph,
    config: &'a HwConfig,
    geometry: Geometry,
    layers: Vec<Layer>,
    folds: BTreeMap<ValueId, Fold>,
    /// Bytes of the elements of what nodes make.
    element_bytes: BTreeMap<ValueId, usize>,
    places: Places,
    samples: usize,
}

impl<'a> Lowered<'a> {
    /// Lowers every node.
    ///
    /// # Errors
    /// As [`compile_with`], but for what is wrong with tiles.
    pub fn new(graph: &'a Graph, config: &'a HwConfig) -> Result<Lowered<'a>, JitError> {
        let (layers, folds) = layers(graph, config);
        let unsupported =
            |node: &Node, reason: String| JitError::Unsupported { node: node.name.clone(), op: node.op.name(), reason };
        let layers =
            graph.nodes.iter().zip(layers).map(|(node, layer)| layer.map_err(|reason| unsupported(node, reason)));
        let layers = layers.collect::<Result<Vec<Layer>, JitError>>()?;
        let geometry = Geometry::new(config);
        let rows = graph.inputs.first().and_then(|&v| layout::dims(&graph.ty(v).shape)).map_or(1, |d| d.n);
        let samples = if rows == 1 { config.batch() } else { 1 };
        let made = graph.nodes.iter().zip(&layers);
        let element_bytes = made.map(|(node, layer)| (node.outputs[0], layer.result_bytes())).collect();
        let places = memory::plan(graph, &geometry, &folds, &element_bytes, emit::section_align(config))?;
        Ok(Lowered { graph, config, geometry, layers, folds, element_bytes, places, samples })
    }

    /// The demand of each node that is a window layer.
    pub fn demands(&self) -> Vec<Option<Demand>> {
        let demand = |layer: &Layer| match layer {
            Layer::Window(layer) => Some(window::demand(self.config, layer)),
            Layer::Alias | Layer::Eltwise(_) => None,
        };
        self.layers.iter().map(demand).collect()
    }

    /// Whether a node becomes instructions.
    pub fn computes(&self, index: usize) -> bool {
        !matches!(self.layers[index], Layer::Alias)
    }

    /// The program of some neighbouring nodes, which finds what the others would have computed where they would have put it.
    ///
    /// # Errors
    /// As [`compile_with`].
    pub fn program(&self, nodes: Range<usize>, options: &Options) -> Result<Program, JitError> {
        let config = self.config;
        let mut emitter = Emitter::new(config, self.places.sections.clone(), options.serial);
        for index in nodes {
            let (node, places) = (&self.graph.nodes[index], &self.places);
            emitter.begin_layer();
            match &self.layers[index] {
                Layer::Alias => continue,
                Layer::Window(layer) => {
                    let demand = window::demand(config, layer);
                    let tile = match options.tiles.get(&node.name) {
                        None => tile::choose(config, &demand, emitter.contexts()),
                        Some(tile) if tile::fits(config, &demand, tile) => *tile,
                        Some(tile) => {
                            return Err(JitError::Invalid(format!(
                                "node '{}' cannot be cut into {tile:?} on this machine; tune it again",
                                node.name
                            )));
                        }
                    };
                    let (input, output) = (places.of(node.inputs[0]), places.of(node.outputs[0]));
                    window::emit(&mut emitter, index, layer, tile, input, output)?;
                }
                Layer::Eltwise(layer) => {
                    let inputs: Vec<u32> = layer.operands.iter().map(|&k| places.of(node.inputs[k])).collect();
                    eltwise::emit(&mut emitter, index, layer, &inputs, places.of(node.outputs[0]))?;
                }
            }
        }
        emitter.finish()
    }
}
