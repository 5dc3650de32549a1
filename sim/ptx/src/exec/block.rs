//! Blocks and the clusters that they run in.

use std::collections::HashMap;

use super::Env;
use super::barrier::{ClusterBarrier, NamedBarrier};
use super::clock::Clock;
use super::copy::{CopyState, Transfer};
use super::mbarrier::Barriers;
use super::shared::Shared;
use super::warp::{Park, Split, Warp};
use super::wgmma::WgmmaState;
use crate::alu::WARP;
use crate::fault::{FaultKind, Trouble};
use crate::op::Const;

/// A block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub ctaid: [u32; 3],
    pub shared: Shared,
    pub named: Vec<NamedBarrier>,
    pub barriers: Barriers,
    /// Lanes that have not exited, by warp.
    pub alive: Vec<u32>,
    /// The last moments at which warps of other blocks have accessed its shared memory.
    pub visitors: Clock,
    /// What strong accesses to a shared address have made known.
    published: HashMap<u32, Clock>,
    nothing: Clock,
}

impl Block {
    /// What a strong access to a shared address learns.
    pub fn shared_sync(&self, at: u32) -> &Clock {
        self.published.get(&at).unwrap_or(&self.nothing)
    }

    /// Makes `clock` known to later strong accesses to a shared address.
    ///
    /// Every strong access is taken to release and to acquire, fences or not, so what is found are races that no strong
    /// access at all stands between.
    pub fn publish(&mut self, at: u32, clock: &Clock) {
        self.published.entry(at).or_default().join(clock);
    }
}

/// Blocks that run at the same time and see each other's shared memory; one block where there are no clusters.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Coordinates of its first block.
    pub origin: [u32; 3],
    pub blocks: Vec<Block>,
    /// `None` while a warp runs.
    pub warps: Vec<Option<Box<Warp>>>,
    /// Bulk and tensor copies under way.
    pub flight: Vec<Transfer>,
    pub barrier: ClusterBarrier,
    /// Next party of a clock.
    pub next_party: usize,
}

impl Cluster {
    /// The cluster whose first block is `origin`, ready to run.
    pub fn new(env: &Env<'_>, origin: [u32; 3]) -> Self {
        let size = env.launch.cluster;
        let threads: u32 = env.launch.block.iter().product();
        let warps_per_block = (threads as usize).div_ceil(WARP);
        let count = size.iter().product::<u32>() as usize;
        let total = count * warps_per_block;
        let mut cluster = Self {
            origin,
            blocks: Vec::with_capacity(count),
            warps: Vec::with_capacity(total),
            flight: Vec::new(),
            barrier: ClusterBarrier::new(total),
            next_party: total,
        };
        for rank in 0..count as u32 {
            let ctaid = [
                origin[0] + rank % size[0],
                origin[1] + rank / size[0] % size[1],
                origin[2] + rank / (size[0] * size[1]),
            ];
            let mut alive = Vec::with_capacity(warps_per_block);
            for index in 0..warps_per_block {
                let lanes = (threads - (index * WARP) as u32).min(WARP as u32);
                let valid = if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 };
                alive.push(valid);
                cluster.warps.push(Some(Box::new(warp(env, rank as usize, index, warps_per_block, valid))));
            }
            cluster.blocks.push(Block {
                ctaid,
                shared: Shared::new(env.dynamic.1, total, env.options.races),
                named: vec![NamedBarrier::default(); 16],
                barriers: Barriers::new(env.options.races),
                alive,
                visitors: Clock::default(),
                published: HashMap::new(),
                nothing: Clock::default(),
            });
        }
        cluster
    }

    /// Notes that `warp` accesses the shared memory of `block`, which must not have exited before.
    pub fn visit(&mut self, block: usize, warp: &Warp) {
        if block != warp.block {
            self.blocks[block].visitors.learn(warp.party, warp.clock.seen(warp.party));
        }
    }

    /// Checks that every block, as it exited, knew that other blocks and copies were done with its shared memory.
    pub fn check_exits(&self, warps: &[Box<Warp>]) -> Result<(), Trouble> {
        for (index, block) in self.blocks.iter().enumerate() {
            let mut known = Clock::default();
            warps.iter().filter(|w| w.block == index).for_each(|w| known.join(&w.clock));
            let late = warps.iter().find(|w| block.visitors.seen(w.party) > known.seen(w.party));
            if let Some(visitor) = late {
                return Err(Trouble::new(
                    FaultKind::Race,
                    format!(
                        "block {index} of the cluster may exit while warp {} of block {} still accesses its shared \
                         memory; let all blocks meet at a barrier of the cluster before they exit",
                        visitor.index, visitor.block
                    ),
                ));
            }
            let unseen = block.barriers.copies().find(|(_, party, moment)| *moment > known.seen(*party));
            if let Some((barrier, ..)) = unseen {
                return Err(Trouble::new(
                    FaultKind::InFlight,
                    format!(
                        "the block has exited but has not waited for a bulk copy to its shared memory ({}); wait for \
                         the mbarrier first",
                        barrier.describe()
                    ),
                ));
            }
        }
        Ok(())
    }

    pub fn done(&self) -> bool {
        self.warps.iter().flatten().all(|w| w.done())
    }
}

fn warp(env: &Env<'_>, block: usize, index: usize, per_block: usize, valid: u32) -> Warp {
    let kernel = env.kernel;
    let party = block * per_block + index;
    let mut clock = Clock::default();
    clock.tick(party);
    let mut warp = Warp {
        block,
        index,
        party,
        valid,
        exited: 0,
        splits: vec![Split { pc: 0, mask: valid, park: Park::Run }],
        registers: vec![[0; WARP]; kernel.registers as usize],
        predicates: vec![0; kernel.predicates as usize],
        carry: 0,
        local: vec![crate::memory::POISON; kernel.local_bytes as usize * WARP],
        clock,
        copies: CopyState::default(),
        wgmma: WgmmaState::new(kernel),
        cluster_arrived: (0, 0),
        first_thread: (index * WARP) as u32,
    };
    warp.set_constants(&kernel.constants, |constant| match constant {
        Const::Value(n) => n,
        Const::Variable(i, offset) => env.variables.get(i as usize).copied().unwrap_or(0).wrapping_add(offset as u64),
        Const::Dynamic(offset) => u64::from(env.dynamic.0).wrapping_add(offset as u64),
    });
    warp
}
