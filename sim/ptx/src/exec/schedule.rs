//! Which block and which warp runs next, and for how long.

use super::Env;
use super::barrier;
use super::block::Cluster;
use super::copy::{self, Transfer};
use super::step::{self, Flow};
use super::tensor_copy;
use super::warp::Park;
use super::wgmma;
use crate::fault::{Fault, FaultKind, Trouble};

/// Clusters that run at the same time where nothing asks for more: enough to meet in global memory.
const RESIDENT: usize = 4;
/// Clusters that are put in random order together.
const SHUFFLED: usize = 1 << 16;
/// Most instructions that a warp runs before another may.
const BUDGET: usize = 96;

/// Runs all blocks of a launch.
pub(crate) fn grid(env: &mut Env<'_>) -> Result<(), Fault> {
    let launch = env.launch;
    let axis = |i: usize| (0..launch.grid[i]).step_by(launch.cluster[i] as usize);
    let mut order = axis(2).flat_map(|z| axis(1).flat_map(move |y| axis(0).map(move |x| [x, y, z])));
    let mut waiting: Vec<[u32; 3]> = Vec::new();
    let most = match (launch.cooperative, env.late) {
        (true, _) => usize::MAX,
        (false, true) => RESIDENT,
        (false, false) => 1,
    };
    let mut resident: Vec<Cluster> = Vec::new();
    loop {
        while resident.len() < most {
            if waiting.is_empty() {
                // A huge grid is shuffled piece by piece.
                waiting.extend(order.by_ref().take(SHUFFLED));
                if env.late {
                    for i in (1..waiting.len()).rev() {
                        waiting.swap(i, env.random.below(i + 1));
                    }
                }
                waiting.reverse();
            }
            let Some(origin) = waiting.pop() else { break };
            resident.push(Cluster::new(env, origin));
        }
        if resident.is_empty() {
            return Ok(());
        }
        turn(env, &mut resident)?;
        let mut i = 0;
        while i < resident.len() {
            if resident[i].done() {
                let mut ended = resident.swap_remove(i);
                env.stats.blocks += ended.blocks.len() as u64;
                finish(env, &mut ended).map_err(|t| env.fault(&ended, None, None, t))?;
            } else {
                i += 1;
            }
        }
    }
}

/// What is left to do, or to complain of, when all warps of a cluster have exited.
fn finish(env: &mut Env<'_>, cluster: &mut Cluster) -> Result<(), Trouble> {
    let loads = cluster.flight.iter().any(|t| matches!(t, Transfer::Load { .. }));
    if loads {
        return Err(Trouble::new(
            FaultKind::InFlight,
            "the block has exited while a bulk copy may still write its shared memory; wait for the copy's mbarrier",
        ));
    }
    let mut warps: Vec<_> = cluster.warps.iter_mut().filter_map(Option::take).collect();
    for warp in &mut warps {
        tensor_copy::end(env, warp)?;
    }
    if env.options.races {
        cluster.check_exits(&warps)?;
    }
    wgmma::same_in_warpgroups(&warps)
}

/// Lets one warp of one cluster run, or lands copies where no warp can.
fn turn(env: &mut Env<'_>, resident: &mut [Cluster]) -> Result<(), Fault> {
    env.turns = env.turns.wrapping_add(1);
    let first = if env.late { env.random.below(resident.len()) } else { env.turns % resident.len() };
    let count = resident.len();
    for i in 0..count {
        let cluster = &mut resident[(first + i) % count];
        if !cluster.flight.is_empty() && env.late && env.random.one_in(4) {
            let which = env.random.below(cluster.flight.len());
            copy::land(env, cluster, which).map_err(|t| env.fault(cluster, None, None, t))?;
        }
        let warps = cluster.warps.len();
        let start = if env.late { env.random.below(warps) } else { env.turns % warps };
        for w in 0..warps {
            let w = (start + w) % warps;
            if runnable(cluster, w) {
                let budget = if env.late { 1 + env.random.below(BUDGET) } else { usize::MAX };
                return run(env, cluster, w, budget);
            }
        }
    }
    // Nobody can run: only copies under way can change that.
    for i in 0..count {
        let cluster = &mut resident[(first + i) % count];
        if !cluster.flight.is_empty() {
            let which = if env.late { env.random.below(cluster.flight.len()) } else { 0 };
            return copy::land(env, cluster, which).map_err(|t| env.fault(cluster, None, None, t));
        }
    }
    Err(deadlock(env, &resident[first]))
}

/// Whether lanes so parked can go on.
pub(crate) fn ready(cluster: &Cluster, block: usize, park: Park) -> bool {
    match park {
        Park::Run => true,
        Park::Together => false,
        Park::Barrier { id, generation } => cluster.blocks[block].named[id].generation > generation,
        Park::Cluster { generation } => cluster.barrier.generation > generation,
        Park::Mbarrier { block, addr, phase } => {
            cluster.blocks[block].barriers.find(addr).is_none_or(|b| b.phase > phase)
        }
    }
}

fn runnable(cluster: &Cluster, w: usize) -> bool {
    cluster.warps[w].as_ref().is_some_and(|warp| {
        warp.splits.iter().any(|s| ready(cluster, warp.block, s.park))
            // Lanes that wait for each other, and no one else, are at fault: the step says so.
            || (!warp.splits.is_empty() && warp.splits.iter().all(|s| s.park == Park::Together))
    })
}

fn run(env: &mut Env<'_>, cluster: &mut Cluster, w: usize, budget: usize) -> Result<(), Fault> {
    let Some(mut warp) = cluster.warps[w].take() else { return Ok(()) };
    let mut left = budget;
    let result = loop {
        if left == 0 {
            break Ok(());
        }
        left -= 1;
        match step::step(env, cluster, &mut warp) {
            Ok(Flow::On) => {}
            Ok(Flow::Yield) => break Ok(()),
            Err((pc, trouble)) => break Err((pc, trouble)),
        }
        if env.instructions > env.options.max_instructions {
            let n = env.options.max_instructions;
            let message = format!("more than {n} instructions have run; the kernel hangs, or raise the limit");
            let pc = warp.splits.first().map(|s| s.pc);
            break Err((pc, Trouble::new(FaultKind::Limit, message)));
        }
    };
    let result = result.map_err(|(pc, trouble)| env.fault(cluster, Some(&warp), pc, trouble));
    cluster.warps[w] = Some(warp);
    result
}

/// The fault for a state in which no warp can go on: who waits for what.
fn deadlock(env: &Env<'_>, cluster: &Cluster) -> Fault {
    let mut waits: Vec<(String, Vec<String>)> = Vec::new();
    let mut blame = None;
    for warp in cluster.warps.iter().flatten() {
        for split in &warp.splits {
            let why = match split.park {
                Park::Run => continue,
                Park::Together => "other lanes of its warp".to_owned(),
                Park::Barrier { id, .. } => {
                    format!("barrier {id} ({})", barrier::missing(env, cluster, warp.block, id))
                }
                Park::Cluster { .. } => "the barrier of the cluster".to_owned(),
                Park::Mbarrier { block, addr, .. } => {
                    let found = cluster.blocks[block].barriers.find(addr);
                    found.map_or_else(|| format!("a lost mbarrier at {addr:#x}"), |b| b.describe())
                }
            };
            blame.get_or_insert((warp, split.pc));
            let who = format!("warp {} of block {}", warp.index, warp.block);
            match waits.iter_mut().find(|(w, _)| *w == why) {
                Some((_, all)) => all.push(who),
                None => waits.push((why, vec![who])),
            }
        }
    }
    let told: Vec<String> = waits.iter().map(|(why, who)| format!("{} wait for {why}", who.join(", "))).collect();
    let message = format!("deadlock: {}", told.join("; "));
    env.fault(cluster, blame.map(|b| &**b.0), blame.map(|b| b.1), Trouble::new(FaultKind::Deadlock, message))
}
