//! Barriers of the block by number, and the barrier of the cluster.

use super::Env;
use super::block::Cluster;
use super::clock::Clock;
use super::warp::{Park, Warp, lanes};
use crate::fault::{FaultKind, Trouble};
use crate::op::{Barrier, Vote};

/// One of the sixteen barriers of a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedBarrier {
    pub generation: u64,
    /// Lanes that have arrived, by warp.
    arrived: Vec<u32>,
    /// Threads that take part, where the instruction says so.
    threads: Option<u32>,
    pending: Clock,
    complete: Clock,
    /// Lanes whose predicate was true, and lanes at all, of a reduction; then its result.
    votes: (u32, u32),
    result: (u32, u32),
}

/// The barrier of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterBarrier {
    pub generation: u64,
    arrived: Vec<u32>,
    pending: Clock,
    complete: Clock,
}

impl ClusterBarrier {
    pub fn new(warps: usize) -> Self {
        Self { arrived: vec![0; warps], ..Self::default() }
    }
}

/// Whether the arrivals of `barrier` complete it.
fn complete(barrier: &NamedBarrier, alive: &[u32]) -> bool {
    if barrier.arrived.iter().all(|a| *a == 0) {
        return false;
    }
    match barrier.threads {
        None => barrier.arrived.iter().zip(alive).all(|(arrived, alive)| alive & !arrived == 0),
        Some(threads) => counted(barrier, alive) >= threads,
    }
}

/// Threads that have arrived; a warp of which every live lane has counts whole.
fn counted(barrier: &NamedBarrier, alive: &[u32]) -> u32 {
    let pairs = barrier.arrived.iter().zip(alive);
    pairs.map(|(a, live)| if *a != 0 && live & !a == 0 { 32 } else { a.count_ones() }).sum()
}

fn finish(barrier: &mut NamedBarrier) {
    barrier.generation += 1;
    barrier.arrived.fill(0);
    barrier.complete = std::mem::take(&mut barrier.pending);
    barrier.result = std::mem::take(&mut barrier.votes);
    barrier.threads = None;
}

/// Executes a barrier instruction for the lanes of `exec`; returns where they wait.
pub(crate) fn arrive(cluster: &mut Cluster, warp: &mut Warp, b: &Barrier, exec: u32) -> Result<Park, Trouble> {
    let id = warp.uniform(b.id, exec) as usize;
    let block = &mut cluster.blocks[warp.block];
    let Some(barrier) = block.named.get_mut(id) else {
        return Err(Trouble::new(FaultKind::Barrier, format!("barrier {id} does not exist; use 0 to 15")));
    };
    let threads = b.threads.map(|t| warp.uniform(t, exec) as u32);
    if let Some(n) = threads.filter(|n| *n == 0 || n % 32 != 0) {
        let message = format!("barrier {id} is given {n} threads, which is no positive multiple of 32");
        return Err(Trouble::new(FaultKind::Barrier, message));
    }
    barrier.arrived.resize(block.alive.len(), 0);
    let fresh = barrier.arrived.iter().all(|a| *a == 0);
    if !fresh && barrier.threads != threads {
        let name = |n: Option<u32>| n.map_or("all".to_owned(), |n| n.to_string());
        let (had, have) = (name(barrier.threads), name(threads));
        let message = format!("barrier {id} is used with {have} threads while others wait at it with {had}");
        return Err(Trouble::new(FaultKind::Barrier, message));
    }
    if barrier.arrived[warp.index] & exec != 0 {
        let message = format!("the warp arrives at barrier {id} again before the barrier has completed");
        return Err(Trouble::new(FaultKind::Barrier, message));
    }
    barrier.threads = threads;
    barrier.arrived[warp.index] |= exec;
    if let Some(reduce) = b.reduce {
        let votes = (warp.predicate(reduce.from) & exec).count_ones();
        barrier.votes = (barrier.votes.0 + votes, barrier.votes.1 + exec.count_ones());
    }
    barrier.pending.join(&warp.clock);
    warp.clock.tick(warp.party);
    let generation = barrier.generation;
    if let Some(n) = threads.filter(|n| counted(barrier, &block.alive) > *n) {
        let message = format!("more threads arrive at barrier {id} than the {n} it is for");
        return Err(Trouble::new(FaultKind::Barrier, message));
    }
    if complete(barrier, &block.alive) {
        finish(barrier);
    }
    Ok(if b.arrive { Park::Run } else { Park::Barrier { id, generation } })
}

/// What a warp learns and gets as it leaves a barrier.
pub(crate) fn leave(cluster: &Cluster, warp: &mut Warp, id: usize, b: Option<&Barrier>, mask: u32) {
    let barrier = &cluster.blocks[warp.block].named[id];
    warp.clock.join(&barrier.complete);
    if let Some(reduce) = b.and_then(|b| b.reduce) {
        let (yes, all) = barrier.result;
        let holds = match reduce.op {
            Vote::All => yes == all,
            _ => yes > 0,
        };
        if let Some(p) = reduce.to_pred {
            warp.set_predicate(p, if holds { u32::MAX } else { 0 }, mask);
        }
        if let Some(r) = reduce.to_count {
            for lane in lanes(mask) {
                warp.set(r, lane, yes.into());
            }
        }
    }
}

pub(crate) fn cluster_arrive(cluster: &mut Cluster, warp: &mut Warp, exec: u32, relaxed: bool) -> Result<(), Trouble> {
    let barrier = &mut cluster.barrier;
    if warp.cluster_arrived.1 & exec != 0 {
        let message = "the warp arrives at the cluster's barrier twice; wait between the arrivals";
        return Err(Trouble::new(FaultKind::Barrier, message));
    }
    barrier.arrived[warp.party] |= exec;
    // Lanes that arrive apart are of one generation, which cannot end without the last of them.
    warp.cluster_arrived = (barrier.generation, warp.cluster_arrived.1 | exec);
    if !relaxed {
        barrier.pending.join(&warp.clock);
    }
    warp.clock.tick(warp.party);
    cluster_check(cluster);
    Ok(())
}

pub(crate) fn cluster_wait(warp: &mut Warp, exec: u32) -> Result<Park, Trouble> {
    let (generation, arrived) = warp.cluster_arrived;
    if exec & !arrived != 0 {
        let message = "the warp waits at the cluster's barrier but has not arrived; arrive first";
        return Err(Trouble::new(FaultKind::Barrier, message));
    }
    warp.cluster_arrived.1 &= !exec;
    Ok(Park::Cluster { generation })
}

pub(crate) fn cluster_leave(cluster: &Cluster, warp: &mut Warp) {
    warp.clock.join(&cluster.barrier.complete);
}

/// Completes the barrier of the cluster if all live lanes have arrived.
fn cluster_check(cluster: &mut Cluster) {
    let alive = cluster.blocks.iter().flat_map(|b| b.alive.iter());
    let barrier = &mut cluster.barrier;
    let some = barrier.arrived.iter().any(|a| *a != 0);
    if some && barrier.arrived.iter().zip(alive).all(|(arrived, alive)| alive & !arrived == 0) {
        barrier.generation += 1;
        barrier.arrived.fill(0);
        barrier.complete.join(&std::mem::take(&mut barrier.pending));
    }
}

/// Takes lanes that have exited out of every barrier's count.
pub(crate) fn exit(cluster: &mut Cluster, warp: &Warp) {
    let block = &mut cluster.blocks[warp.block];
    block.alive[warp.index] = warp.alive();
    for barrier in &mut block.named {
        // Arrivals of a warp that has exited since stay counted.
        if complete(barrier, &block.alive) {
            finish(barrier);
        }
    }
    cluster_check(cluster);
}

/// Which threads a barrier still waits for, in words.
pub(crate) fn missing(env: &Env<'_>, cluster: &Cluster, block: usize, id: usize) -> String {
    let b = &cluster.blocks[block];
    let barrier = &b.named[id];
    let threads: u32 = env.launch.block.iter().product();
    let warps: Vec<String> = barrier
        .arrived
        .iter()
        .zip(&b.alive)
        .enumerate()
        .filter(|(_, (arrived, alive))| *alive & !*arrived != 0)
        .map(|(i, _)| i.to_string())
        .collect();
    let expected = barrier.threads.unwrap_or(threads);
    format!("{} of {expected} threads have arrived, warps {} have not", counted(barrier, &b.alive), warps.join(", "))
}
