//! What nodes took on devices, stored: the memory of `tandem profile`, which plans are made from later.

use crate::backend::forms_on;
use crate::file;
use crate::limits::Limits;
use crate::machine::{CycleSource, numbered};
use crate::options::{DeviceKind, DeviceOptions, Split};
use crate::placing::{Costs, Measured, line};
use crate::simulation;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tandem_gpu::Facts;
use tandem_graph::{Graph, Node, NodeId};
use tandem_isa::HwConfig;
use tandem_ops::def::Work;
use tandem_plan::{CostModel, Device, Observation, alone, kind};
use tandem_runtime::{Backend, Copied, GpuBackend, Taken, VtaBackend};
use tandem_tensor::{DType, TensorType};

/// The form of the file.
const VERSION: u32 = 1;

/// What was measured, of any number of models.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    version: u32,
    /// When it was measured last, in UTC.
    pub date: String,
    /// The host.
    pub processor: String,
    /// What the host can do at most, by which nodes on it are estimated.
    pub limits: Limits,
    /// The devices by their names on the command line.
    pub devices: Vec<StoredDevice>,
}

/// What was measured on a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredDevice {
    /// Its name on the command line.
    pub name: String,
    /// Where its times come from: measured, estimated, counted or projected.
    pub times: String,
    /// The configuration of an accelerator, as TOML; its nodes are in cycles. Those of any other device are in seconds.
    pub config: Option<String>,
    /// Whether it is the CPU of another machine.
    #[serde(default)]
    pub far_cpu: bool,
    /// Seconds of a copy to the device or from it, and bytes a second beyond that.
    pub copy: (f64, f64),
    /// The nodes.
    pub nodes: Vec<StoredNode>,
}

/// What was measured of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredNode {
    /// The model that it was a node of, and its name there.
    pub model: String,
    /// Its name.
    pub node: String,
    /// What makes nodes of other models the same: operator and types.
    pub key: String,
    /// Estimate and measurement in the unit of the device.
    #[serde(flatten)]
    pub observation: Observation,
    /// Bytes of what it reads and makes as they lie on the device.
    pub bytes: Vec<u64>,
}

/// What nodes are estimated by, before anything is measured.
enum Estimator {
    Cpu(Limits),
    /// The functional simulator of the configuration.
    Vta(Box<VtaBackend>),
    Gpu(Box<GpuBackend>),
}

impl Stored {
    /// Nothing yet, on this host.
    ///
    /// # Errors
    /// One sentence, where the processor cannot be measured.
    pub fn new() -> Result<Stored> {
        let limits = Limits::of_processor(tandem_ops::cpu::Level::best(), rayon::current_num_threads())?;
        let (date, processor) = (crate::date::now(), crate::backend::processor());
        Ok(Stored { version: VERSION, date, processor, limits, devices: Vec::new() })
    }

    /// What a file holds.
    ///
    /// # Errors
    /// One sentence naming the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Stored> {
        let name = path.display();
        let stored: Stored = serde_json::from_str(&file::read_text(path)?)
            .map_err(|e| anyhow!("{name}: it is no costs that `tandem profile` stored: {e}"))?;
        if stored.version != VERSION {
            bail!("{name}: it is of version {} and this program reads {VERSION}; measure again", stored.version);
        }
        Ok(stored)
    }

    /// For the file.
    pub fn to_json(&self) -> String {
        // Numbers, strings and lists only: there is nothing that JSON cannot hold.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Adds what was measured of a model, in place of what is there of the same nodes.
    ///
    /// # Errors
    /// A device of the same name with another configuration.
    pub fn add(&mut self, model: &str, graph: &Graph, costs: &Costs) -> Result<()> {
        self.date = crate::date::now();
        for measured in &costs.devices {
            let config = measured.config.as_ref();
            let text = config.map(HwConfig::to_toml);
            let index = match self.devices.iter().position(|device| device.name == measured.name) {
                Some(index) if self.devices[index].config == text => index,
                Some(_) => bail!("{}: another configuration of it is stored already; use another file", measured.name),
                None => {
                    let (name, times) = (measured.name.clone(), measured.source().name().to_owned());
                    let (far_cpu, copy) = (matches!(measured.device, Device::FarCpu(_)), (0.0, 1e9));
                    self.devices.push(StoredDevice { name, times, config: text, far_cpu, copy, nodes: Vec::new() });
                    self.devices.len() - 1
                }
            };
            let estimates = Estimator::of(measured, &self.limits)?.estimates(graph)?;
            let stored = &mut self.devices[index];
            stored.copy = line(measured.taken.iter().flatten().flat_map(|t| t.copies.iter().copied()), 1.0);
            for (n, (node, taken)) in graph.nodes.iter().zip(&measured.taken).enumerate() {
                let (Ok(taken), Some(estimate)) = (taken, estimates[n]) else { continue };
                let found = taken.cycles.map_or(taken.wall.as_secs_f64(), |cycles| cycles as f64);
                let observation = Observation { kind: kind(graph, node).to_owned(), estimate, measured: found };
                let (model, name, key) = (model.to_owned(), node.name.clone(), key(graph, node));
                let bytes = taken.copies.iter().map(|copied| copied.bytes).collect();
                stored.nodes.retain(|other| (&other.model, &other.node) != (&model, &name));
                stored.nodes.push(StoredNode { model, node: name, key, observation, bytes });
            }
        }
        Ok(())
    }

    /// What nodes of a model take on devices, by what is stored: of the same operator on the same types what it took, and of others
    /// the estimate, corrected by what is stored of its kind.
    ///
    /// # Errors
    /// A device of which nothing is stored.
    pub fn costs(&self, graph: &Graph, options: &DeviceOptions) -> Result<Costs> {
        let mut devices = vec![self.measured(graph, &DeviceKind::Cpu, Device::Cpu, options)?];
        let (mut vtas, mut gpus, mut cpus) = (0, 0, 0);
        for kind in options.device.kinds().iter().filter(|kind| **kind != DeviceKind::Cpu) {
            // What a device of another machine is, the file tells.
            let stored = self.devices.iter().find(|stored| stored.name == kind.name());
            let (count, device): (_, fn(usize) -> Device) = match stored {
                Some(stored) if stored.config.is_some() => (&mut vtas, Device::Vta),
                Some(stored) if stored.far_cpu => (&mut cpus, Device::FarCpu),
                _ => (&mut gpus, Device::Gpu),
            };
            let device = device(*count);
            *count += 1;
            let mut measured = self.measured(graph, kind, device, options)?;
            measured.name = numbered(&measured.name, devices.iter().map(|other| other.name.as_str()));
            devices.push(measured);
        }
        let mut costs = Costs { devices, cpu_times: 1.0, watts: crate::power::Watts::new() };
        if options.device.split == Split::WithoutCpu {
            costs.leave_out_cpu();
        }
        Ok(costs)
    }

    fn measured(
        &self,
        graph: &Graph,
        kind_of: &DeviceKind,
        device: Device,
        options: &DeviceOptions,
    ) -> Result<Measured> {
        let name = kind_of.name();
        let stored = self.devices.iter().find(|stored| stored.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.devices.iter().map(|stored| stored.name.as_str()).collect();
            anyhow!("--costs: nothing is stored of {name}, but of {}; run `tandem profile` with it", names.join(", "))
        })?;
        let config = stored.config.as_deref().map(HwConfig::from_toml).transpose();
        let config = config.with_context(|| format!("--costs: the configuration of {name}"))?;
        let source = match stored.times.as_str() {
            "estimated" => CycleSource::Estimated,
            _ if kind_of.is_simulated() => CycleSource::Simulated,
            _ => CycleSource::Hardware,
        };
        let cycles = config.as_ref().map(|_| (source, options.clock_hz()));
        let projected = stored.times == "projected";
        let mut measured = Measured { device, name, taken: Vec::new(), cycles, projected, config };
        let mut estimator = Estimator::of(&measured, &self.limits)?;
        let model = CostModel::fit(stored.nodes.iter().map(|node| &node.observation));
        let unknown = graph.nodes.iter().any(|node| stored.node(&key(graph, node)).is_none());
        let estimates = if unknown { estimator.estimates(graph)? } else { vec![None; graph.nodes.len()] };
        for (n, node) in graph.nodes.iter().enumerate() {
            let known = stored.node(&key(graph, node));
            measured.taken.push(match estimator.supports(graph, node) {
                Err(reason) => Err(reason),
                Ok(()) => {
                    let by_estimate = || estimates[n].map(|estimate| model.predict(kind(graph, node), estimate));
                    match known.map(|known| known.observation.measured).or_else(by_estimate) {
                        None => Err("nothing is stored of it, and it cannot be estimated".to_owned()),
                        Some(found) => Ok(taken(graph, NodeId(n), stored, known, found)),
                    }
                }
            });
        }
        Ok(measured)
    }
}

impl StoredDevice {
    fn node(&self, key: &str) -> Option<&StoredNode> {
        self.nodes.iter().find(|node| node.key == key)
    }
}

/// A node of which it is known what it takes.
fn taken(graph: &Graph, id: NodeId, stored: &StoredDevice, known: Option<&StoredNode>, found: f64) -> Taken {
    let alone = alone(graph, id);
    let values = alone.inputs.iter().chain(&alone.outputs);
    let copies = values.enumerate().map(|(at, &value)| {
        let bytes = known.and_then(|known| known.bytes.get(at).copied()).unwrap_or(graph.ty(value).bytes() as u64);
        let (latency, rate) = stored.copy;
        Copied { bytes, count: 1, wall: Duration::from_secs_f64(latency + bytes as f64 / rate) }
    });
    let copies = if stored.name == DeviceKind::Cpu.name() { Vec::new() } else { copies.collect() };
    match stored.config {
        Some(_) => Taken { wall: Duration::ZERO, cycles: Some(found.round() as u64), copies },
        None => Taken { wall: Duration::from_secs_f64(found.max(0.0)), cycles: None, copies },
    }
}

/// Operator and types of a node: what decides how long it takes.
fn key(graph: &Graph, node: &Node) -> String {
    let ty = |ty: &TensorType| format!("{}{}", ty.dtype, ty.shape);
    let types = |ids: &[tandem_graph::ValueId]| ids.iter().map(|&id| ty(graph.ty(id))).collect::<Vec<_>>().join(",");
    let op = serde_json::to_string(&node.op).unwrap_or_default();
    format!("{op} {} {} {}", graph.arith.name(), types(&node.inputs), types(&node.outputs))
}

impl Estimator {
    fn of(measured: &Measured, limits: &Limits) -> Result<Estimator> {
        match (measured.device, &measured.config) {
            (Device::Vta(_), Some(config)) => {
                Ok(Estimator::Vta(Box::new(VtaBackend::new(simulation::functional(config)?))))
            }
            (Device::Gpu(_), _) => {
                let forms = forms_on(crate::backend::BackendKind::Ptx, Facts::h200());
                let gpu = forms.into_device().context("there is no device to ask for forms")?;
                Ok(Estimator::Gpu(Box::new(GpuBackend::new(gpu))))
            }
            _ => Ok(Estimator::Cpu(limits.clone())),
        }
    }

    fn supports(&self, graph: &Graph, node: &Node) -> Result<(), String> {
        match self {
            Estimator::Cpu(_) => Ok(()),
            Estimator::Vta(backend) => backend.supports(graph, node),
            Estimator::Gpu(backend) => backend.supports(graph, node),
        }
    }

    /// One entry for each node, in the unit of the device.
    fn estimates(&mut self, graph: &Graph) -> Result<Vec<Option<f64>>> {
        Ok(match self {
            Estimator::Cpu(limits) => graph.nodes.iter().map(|node| roofline(graph, node, limits)).collect(),
            Estimator::Vta(backend) => {
                let all = backend.measure(graph, &mut || {}).map_err(|e| anyhow!("{}: {e}", graph.name))?;
                all.into_iter().map(|taken| Some(taken.ok()?.cycles? as f64)).collect()
            }
            Estimator::Gpu(backend) => {
                let project = |node| Some(backend.project(graph, node)?.as_secs_f64());
                graph.nodes.iter().map(project).collect()
            }
        })
    }
}

/// The work of a node over what the host can do at most, in seconds.
fn roofline(graph: &Graph, node: &Node, limits: &Limits) -> Option<f64> {
    let operands: Vec<&TensorType> = node.inputs.iter().map(|&id| graph.ty(id)).collect();
    let cost = tandem_ops::cost(&node.op, &operands).ok()?;
    let dtype = operands.first().map_or(DType::F32, |ty| ty.dtype);
    let (products, others) = (2 * cost.macs, cost.element_ops);
    let (int_ops, flops) = if dtype.is_float() { (0, products + others) } else { (products + others, 0) };
    let work = Work { flops, int_ops, dram_bytes: cost.bytes_read + cost.bytes_written, link_bytes: 0 };
    Some(limits.seconds(&work, dtype).0)
}

/// What a device of the file tells of estimates and corrected estimates: for every node of a model, in the order of the file.
pub struct Errors<'a> {
    /// The nodes.
    pub nodes: Vec<&'a StoredNode>,
    /// What all nodes of the file that are not the same predict of each.
    pub predicted: Vec<f64>,
}

impl StoredDevice {
    /// How well nodes of a model are predicted by all nodes that are stored of other operators or types.
    pub fn errors(&self, model: &str) -> Errors<'_> {
        let observations: Vec<Observation> = self.nodes.iter().map(|node| node.observation.clone()).collect();
        let predicted = CostModel::held_out(&observations, |i, j| self.nodes[i].key == self.nodes[j].key);
        let own = self.nodes.iter().zip(predicted).filter(|(node, _)| node.model == model);
        let (nodes, predicted) = own.unzip();
        Errors { nodes, predicted }
    }
}

impl Errors<'_> {
    /// Relative errors of what the others predict, and of bare estimates, where something was measured.
    pub fn relative(&self) -> Vec<(f64, f64)> {
        let of = |(node, predicted): (&&StoredNode, &f64)| {
            let Observation { estimate, measured, .. } = node.observation;
            (measured > 0.0).then(|| (predicted / measured - 1.0, estimate / measured - 1.0))
        };
        self.nodes.iter().zip(&self.predicted).filter_map(of).collect()
    }

    /// All nodes together: predicted over measured.
    pub fn total(&self) -> f64 {
        let measured: f64 = self.nodes.iter().map(|node| node.observation.measured).sum();
        self.predicted.iter().sum::<f64>() / measured
    }
}
