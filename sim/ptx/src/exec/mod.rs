//! Executes a launch.

mod access;
mod alu;
mod atomic;
mod barrier;
mod block;
mod clock;
mod collective;
mod copy;
mod descriptor;
mod groups;
mod matrix;
mod mbarrier;
mod mbarrier_op;
mod random;
mod schedule;
mod shared;
mod step;
mod tensor_copy;
mod warp;
mod wgmma;

use std::collections::BTreeMap;

use self::block::Cluster;
use self::random::Random;
use self::warp::Warp;
use crate::fault::{Fault, FaultKind, Trouble};
use crate::launch::{Asynchrony, Launch, Options};
use crate::memory::Memory;
use crate::module::Kernel;
use crate::op::SHARED_BASE;
use crate::stats::Stats;

/// Most bytes of shared memory a block may have on the hardware that runs sm_90a.
const MOST_SHARED: u32 = 227 * 1024;

/// What every step of a launch needs beside the cluster that it runs in.
pub(crate) struct Env<'a> {
    pub memory: &'a mut Memory,
    pub kernel: &'a Kernel,
    pub launch: &'a Launch<'a>,
    pub options: &'a Options,
    pub late: bool,
    pub random: Random,
    pub stats: Stats,
    /// Instructions executed, by the index of their opcode.
    pub counts: Vec<u64>,
    pub instructions: u64,
    /// Where the variables of the module are.
    pub variables: Vec<u64>,
    /// Where dynamic shared memory starts and ends.
    pub dynamic: (u32, u32),
    /// Numbers for transfers.
    pub next_id: u64,
    /// Turns taken, which make the order fair where it is not random.
    pub turns: usize,
}

/// Runs a launch to its end.
///
/// # Errors
///
/// The launch is not possible, or the kernel did something wrong; memory then holds what was written until then.
pub fn run(memory: &mut Memory, launch: &Launch<'_>, options: &Options) -> Result<Stats, Fault> {
    let refuse = |message: String| Fault {
        kind: FaultKind::Launch,
        kernel: launch.kernel.into(),
        block: None,
        warp: None,
        lane: None,
        line: 0,
        source_line: None,
        instruction: "".into(),
        message: message.into(),
    };
    let Some(kernel) = launch.module.kernel(launch.kernel) else {
        let have: Vec<&str> = launch.module.kernels().collect();
        return Err(refuse(format!("the module has no such kernel; it has {}", have.join(", "))));
    };
    let dynamic = check(kernel, launch).map_err(refuse)?;
    let variables = memory.load(launch.module);
    let mut env = Env {
        memory,
        kernel,
        launch,
        options,
        late: options.asynchrony == Asynchrony::Late,
        random: Random::new(options.seed),
        stats: Stats::default(),
        counts: vec![0; kernel.names.len()],
        instructions: 0,
        variables,
        dynamic,
        next_id: 0,
        turns: 0,
    };
    schedule::grid(&mut env)?;
    let mut stats = env.stats;
    let mut opcodes = BTreeMap::new();
    for (name, count) in kernel.names.iter().zip(env.counts).filter(|(_, n)| *n > 0) {
        opcodes.insert(name.clone(), count);
    }
    stats.warp_instructions = env.instructions;
    stats.opcodes = opcodes;
    Ok(stats)
}

/// Checks a launch against its kernel; returns where dynamic shared memory starts and ends.
fn check(kernel: &Kernel, launch: &Launch<'_>) -> Result<(u32, u32), String> {
    let product = |v: [u32; 3]| v.iter().fold(1u64, |n, x| n.saturating_mul((*x).into()));
    let (threads, blocks, ranks) = (product(launch.block), product(launch.grid), product(launch.cluster));
    if threads == 0 || threads > 1024 {
        return Err(format!("a block of {threads} threads is not possible; give it 1 to 1024"));
    }
    if blocks == 0 || blocks > 1 << 31 {
        return Err(format!("a grid of {blocks} blocks is not possible"));
    }
    if let Some(most) = kernel.max_threads().filter(|most| threads > u64::from(*most)) {
        return Err(format!("a block of {threads} threads is more than the {most} the kernel was compiled for"));
    }
    if kernel.required_threads.is_some_and(|r| product(r) != threads) {
        return Err("the block is not the one that the kernel requires".to_owned());
    }
    if ranks == 0
        || ranks > 16
        || (0..3).any(|i| launch.cluster[i] == 0 || !launch.grid[i].is_multiple_of(launch.cluster[i]))
    {
        return Err("the grid must be a multiple of the cluster, and a cluster has at most 16 blocks".to_owned());
    }
    if let Some(required) = kernel.required_cluster.filter(|r| *r != launch.cluster) {
        return Err(format!("the kernel requires clusters of {required:?}, not {:?}", launch.cluster));
    }
    if launch.params.len() != kernel.param_bytes as usize {
        let (have, want) = (launch.params.len(), kernel.param_bytes);
        return Err(format!("{have} bytes of parameters are given where the kernel takes {want}"));
    }
    let start = kernel.static_end.next_multiple_of(kernel.dynamic_align);
    let end = start.saturating_add(launch.dynamic_shared);
    if end - SHARED_BASE > MOST_SHARED {
        let bytes = end - SHARED_BASE;
        return Err(format!("{bytes} bytes of shared memory are more than the {MOST_SHARED} a block may have"));
    }
    Ok((start, end))
}

impl Env<'_> {
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The fault for `trouble` of `warp` at the instruction `pc`.
    pub fn fault(&self, cluster: &Cluster, warp: Option<&Warp>, pc: Option<u32>, trouble: Trouble) -> Fault {
        let inst = pc.and_then(|pc| self.kernel.code.get(pc as usize));
        let block = warp.and_then(|w| cluster.blocks.get(w.block)).or(cluster.blocks.first());
        let source_line = inst.and_then(|i| i.source).map(|(file, line)| {
            let name = self.launch.module.files.iter().find(|(n, _)| *n == file);
            (name.map_or_else(|| format!("file {file}"), |(_, name)| name.clone()), line)
        });
        Fault {
            kind: trouble.kind,
            kernel: self.kernel.name.as_str().into(),
            block: block.map(|b| b.ctaid),
            warp: warp.map(|w| w.index as u32),
            lane: trouble.lane,
            line: inst.map_or(0, |i| i.line),
            source_line,
            instruction: inst.and_then(|i| self.kernel.names.get(i.name as usize)).map_or("", String::as_str).into(),
            message: trouble.message.into(),
        }
    }
}
