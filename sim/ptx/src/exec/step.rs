//! One instruction of one warp.

use super::Env;
use super::access;
use super::alu;
use super::atomic;
use super::barrier;
use super::block::Cluster;
use super::collective;
use super::copy;
use super::matrix;
use super::mbarrier_op::{self, Waited};
use super::schedule::ready;
use super::tensor_copy;
use super::warp::{Park, Split, Warp, lanes};
use super::wgmma;
use crate::fault::{FaultKind, Trouble};
use crate::op::{Inst, LOCAL_WINDOW, Op, Order, PARAM_WINDOW, RANK_SHIFT, SHARED_WINDOW, WINDOW};

/// Whether the warp goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    /// Another warp should have a turn, or none of the lanes can go on.
    Yield,
}

/// Executes one instruction of `warp`; an error comes with the instruction's index.
pub(crate) fn step(env: &mut Env<'_>, cluster: &mut Cluster, warp: &mut Warp) -> Result<Flow, (Option<u32>, Trouble)> {
    let Some(which) = choose(env, cluster, warp) else {
        if !warp.splits.is_empty() && warp.splits.iter().all(|s| s.park == Park::Together) {
            return Err(diverged(warp));
        }
        return Ok(Flow::Yield);
    };
    let Split { pc, mask, park } = warp.splits[which];
    let kernel = env.kernel;
    let Some(inst) = kernel.code.get(pc as usize) else {
        return Err((Some(pc), Trouble::new(FaultKind::Operand, "a branch leaves the kernel")));
    };
    // Lanes that come back from a barrier finish the instruction that they wait at.
    match park {
        Park::Barrier { id, .. } => {
            let op = if let Op::Barrier(b) = &inst.op { Some(&**b) } else { None };
            barrier::leave(cluster, warp, id, op, mask);
            return Ok(advance(warp, which, pc + 1));
        }
        Park::Cluster { .. } => {
            barrier::cluster_leave(cluster, warp);
            return Ok(advance(warp, which, pc + 1));
        }
        Park::Mbarrier { .. } | Park::Together | Park::Run => warp.splits[which].park = Park::Run,
    }
    env.instructions += 1;
    env.counts[inst.name as usize] += 1;
    let exec = match inst.guard {
        None => mask,
        Some(guard) => mask & warp.predicate(guard),
    };
    execute(env, cluster, warp, which, inst, exec).map_err(|t| (Some(pc), t))
}

/// The lanes that run next: those with the smallest program counter, or now and then any that can.
fn choose(env: &mut Env<'_>, cluster: &Cluster, warp: &Warp) -> Option<usize> {
    if let [only] = warp.splits.as_slice() {
        return ready(cluster, warp.block, only.park).then_some(0);
    }
    let first = warp.splits.iter().position(|s| ready(cluster, warp.block, s.park))?;
    if env.random.one_in(16) {
        let any = env.random.below(warp.splits.len());
        if ready(cluster, warp.block, warp.splits[any].park) {
            return Some(any);
        }
    }
    Some(first)
}

/// Moves lanes to `pc`, and joins them with lanes that are there.
fn advance(warp: &mut Warp, which: usize, pc: u32) -> Flow {
    let split = &mut warp.splits[which];
    split.pc = pc;
    split.park = Park::Run;
    if warp.splits.len() > 1 {
        reconverge(warp);
    }
    Flow::On
}

fn reconverge(warp: &mut Warp) {
    warp.splits.retain(|s| s.mask != 0);
    warp.splits.sort_by_key(|s| s.pc);
    let mut at = 0;
    while at + 1 < warp.splits.len() {
        let (a, b) = (warp.splits[at], warp.splits[at + 1]);
        let free = |s: Split| matches!(s.park, Park::Run | Park::Together);
        if a.pc == b.pc && free(a) && free(b) {
            warp.splits[at] = Split { pc: a.pc, mask: a.mask | b.mask, park: Park::Run };
            warp.splits.remove(at + 1);
        } else {
            at += 1;
        }
    }
}

fn park(warp: &mut Warp, which: usize, why: Park) -> Flow {
    warp.splits[which].park = why;
    // Other lanes of the warp may be able to run.
    if warp.splits.len() > 1 { Flow::On } else { Flow::Yield }
}

fn branch(warp: &mut Warp, which: usize, taken: u32, target: u32) -> Flow {
    let Split { pc, mask, .. } = warp.splits[which];
    if taken == 0 {
        return advance(warp, which, pc + 1);
    }
    if taken == mask {
        return advance(warp, which, target);
    }
    warp.splits[which].mask = mask & !taken;
    warp.splits.push(Split { pc: target, mask: taken, park: Park::Run });
    advance(warp, which, pc + 1)
}

fn exit(cluster: &mut Cluster, warp: &mut Warp, which: usize, exec: u32) -> Flow {
    let Split { pc, mask, .. } = warp.splits[which];
    warp.exited |= exec;
    barrier::exit(cluster, warp);
    if exec != mask {
        warp.splits[which].mask = mask & !exec;
        return advance(warp, which, pc + 1);
    }
    warp.splits.remove(which);
    // Lanes that waited for those that are gone may go on.
    for split in &mut warp.splits {
        if split.park == Park::Together {
            split.park = Park::Run;
        }
    }
    if warp.splits.is_empty() { Flow::Yield } else { Flow::On }
}

/// The fault for lanes that wait for each other at different instructions.
fn diverged(warp: &Warp) -> (Option<u32>, Trouble) {
    let at: Vec<String> = warp.splits.iter().map(|s| format!("{:#010x}", s.mask)).collect();
    let message = format!(
        "lanes of the warp have diverged at an instruction that they must execute together (masks {}); let all lanes \
         named by the mask, or all of the warp, reach it",
        at.join(" and ")
    );
    (warp.splits.first().map(|s| s.pc), Trouble::new(FaultKind::Divergence, message))
}

/// Whether all lanes that must are here; an error where one of them skips the instruction.
fn together(warp: &Warp, which: usize, op: &Op, exec: u32) -> Result<bool, Trouble> {
    let mask = warp.splits[which].mask;
    let needed = if op.is_aligned() {
        warp.alive()
    } else if let Some(r) = op.member_mask() {
        let members = warp.uniform(r, exec) as u32;
        if let Some(lane) = lanes(exec).find(|l| warp.lane(r, *l) as u32 != members) {
            let message = "lanes give different masks of those that take part; give all the same";
            return Err(Trouble::new(FaultKind::Divergence, message).at(lane));
        }
        if let Some(lane) = lanes(exec & !members).next() {
            let message = format!("the lane is not in the mask {members:#010x} of those that take part");
            return Err(Trouble::new(FaultKind::Divergence, message).at(lane));
        }
        members & warp.alive()
    } else {
        return Ok(true);
    };
    if needed & !mask != 0 {
        return Ok(false);
    }
    if let Some(lane) = lanes(needed & !exec).next() {
        let message = "a predicate switches the lane off at an instruction that it must execute with others";
        return Err(Trouble::new(FaultKind::Divergence, message).at(lane));
    }
    Ok(true)
}

fn execute(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    which: usize,
    inst: &Inst,
    exec: u32,
) -> Result<Flow, Trouble> {
    let pc = warp.splits[which].pc;
    if env.kernel.wgmma {
        wgmma::follow(env, warp, &inst.op, pc, exec)?;
    }
    if alu::execute(env, cluster, warp, &inst.op, exec) {
        return Ok(advance(warp, which, pc + 1));
    }
    if let Op::Branch { target } = inst.op {
        return Ok(branch(warp, which, exec, target));
    }
    if exec == 0 {
        return Ok(advance(warp, which, pc + 1));
    }
    if !together(warp, which, &inst.op, exec)? {
        // The lanes come back to this instruction; it has not run yet.
        env.instructions -= 1;
        env.counts[inst.name as usize] -= 1;
        return Ok(park(warp, which, Park::Together));
    }
    let mut yielding = false;
    match &inst.op {
        Op::Exit => return Ok(exit(cluster, warp, which, exec)),
        Op::Trap => return Err(Trouble::new(FaultKind::Trap, "the kernel executed trap").at(first(exec))),
        Op::BranchTable { index, targets } => return jump_table(warp, which, *index, targets, exec),
        Op::Load(op) => {
            access::load(env, cluster, warp, op, exec)?;
            yielding = op.order == Order::Strong && env.random.one_in(4);
        }
        Op::Store(op) => access::store(env, cluster, warp, op, exec)?,
        Op::Atomic(op) => {
            atomic::atomic(env, cluster, warp, op, exec)?;
            yielding = env.random.one_in(4);
        }
        Op::IsSpace { p, a, window } => {
            let inside = |x: u64, w: u64| (w..w + WINDOW).contains(&x);
            let mut bits = 0u32;
            for lane in lanes(exec) {
                let x = warp.lane(*a, lane);
                let windowed = [PARAM_WINDOW, LOCAL_WINDOW, SHARED_WINDOW].iter().any(|w| inside(x, *w));
                let yes = if *window == 0 { !windowed } else { inside(x, *window) };
                bits |= u32::from(yes) << lane;
            }
            warp.set_predicate(*p, bits, exec);
        }
        Op::MapAddress { d, a, rank, generic } => {
            for lane in lanes(exec) {
                let (x, rank) = (warp.lane(*a, lane), warp.lane(*rank, lane));
                if rank >= cluster.blocks.len() as u64 {
                    let message = format!("mapa is given rank {rank} in a cluster of {}", cluster.blocks.len());
                    return Err(Trouble::new(FaultKind::Operand, message).at(lane));
                }
                let offset = x & ((1 << RANK_SHIFT) - 1);
                let mapped = (rank + 1) << RANK_SHIFT | offset;
                warp.set(*d, lane, if *generic { SHARED_WINDOW + mapped } else { mapped });
            }
        }
        Op::GetRank { d, a } => {
            for lane in lanes(exec) {
                let rank = (warp.lane(*a, lane) as u32) >> RANK_SHIFT;
                let own = warp.block as u32;
                warp.set(*d, lane, if rank == 0 { own } else { rank - 1 }.into());
            }
        }
        Op::Shuffle { .. } | Op::Vote { .. } | Op::Match { .. } | Op::ReduceWarp { .. } | Op::Elect { .. } => {
            collective::execute(warp, &inst.op, exec);
        }
        Op::ActiveMask { d } => warp.write(*d, &[exec.into(); 32], exec),
        Op::WarpSync { .. } => {
            warp.clock.tick(warp.party);
        }
        Op::Barrier(b) => {
            let why = barrier::arrive(cluster, warp, b, exec)?;
            if why != Park::Run {
                let _ = park(warp, which, why);
                return Ok(Flow::Yield);
            }
            advance(warp, which, pc + 1);
            return Ok(Flow::Yield);
        }
        Op::ClusterArrive { relaxed, .. } => {
            barrier::cluster_arrive(cluster, warp, exec, *relaxed)?;
            yielding = true;
        }
        Op::ClusterWait { .. } => {
            let why = barrier::cluster_wait(warp, exec)?;
            return Ok(park(warp, which, why));
        }
        Op::Fence => {}
        Op::FenceProxy => {
            warp.clock.fence();
            warp.clock.tick(warp.party);
        }
        Op::FenceInit => cluster.blocks.iter_mut().for_each(|b| b.barriers.fence(warp.party)),
        Op::Nanosleep => yielding = true,
        Op::Mbarrier(op) => match mbarrier_op::execute(env, cluster, warp, op, exec)? {
            Waited::Done => {}
            Waited::Yield => yielding = true,
            Waited::Park(why) => {
                env.instructions -= 1;
                env.counts[inst.name as usize] -= 1;
                return Ok(park(warp, which, why));
            }
        },
        Op::AsyncCopy(op) => copy::start(env, cluster, warp, op, exec)?,
        Op::AsyncCommit => warp.copies.loads.commit(exec),
        Op::AsyncWait { pending, all } => copy::wait(env, cluster, warp, *pending, *all, exec)?,
        Op::BulkCopy(op) => tensor_copy::bulk(env, cluster, warp, op, exec)?,
        Op::TensorCopy(op) => tensor_copy::tensor(env, cluster, warp, op, exec)?,
        Op::BulkCommit => warp.copies.stores.commit(exec),
        Op::BulkWait { pending, read } => tensor_copy::wait(env, cluster, warp, *pending, *read, exec)?,
        Op::MatrixLoad { to, addr, transpose } => matrix::load(env, cluster, warp, to, *addr, *transpose)?,
        Op::MatrixStore { from, addr, transpose } => matrix::store(env, cluster, warp, from, *addr, *transpose)?,
        Op::MatrixTranspose { d, a } => matrix::transpose(warp, *d, *a),
        Op::Mma(op) => matrix::mma(env, warp, op),
        Op::Wgmma(op) => wgmma::start(env, cluster, warp, op, pc)?,
        Op::WgmmaFence => warp.wgmma.fence(),
        Op::WgmmaCommit => warp.wgmma.commit(),
        Op::WgmmaWait { pending } => wgmma::wait(env, cluster, warp, *pending)?,
        Op::SetMaxRegisters => {}
        _ => {}
    }
    advance(warp, which, pc + 1);
    Ok(if yielding && (!env.late || env.random.one_in(2)) { Flow::Yield } else { Flow::On })
}

fn first(exec: u32) -> usize {
    exec.trailing_zeros() as usize
}

fn jump_table(warp: &mut Warp, which: usize, index: u32, targets: &[u32], exec: u32) -> Result<Flow, Trouble> {
    let Split { pc, mask, .. } = warp.splits[which];
    let mut splits: Vec<Split> = Vec::new();
    for lane in lanes(exec) {
        let i = warp.lane(index, lane);
        let Some(target) = targets.get(i as usize) else {
            let message = format!("branch index {i} is beyond its {} targets", targets.len());
            return Err(Trouble::new(FaultKind::Operand, message).at(lane));
        };
        match splits.iter_mut().find(|s| s.pc == *target) {
            Some(s) => s.mask |= 1 << lane,
            None => splits.push(Split { pc: *target, mask: 1 << lane, park: Park::Run }),
        }
    }
    warp.splits[which].mask = mask & !exec;
    warp.splits[which].pc = pc + 1;
    warp.splits.extend(splits);
    reconverge(warp);
    Ok(Flow::On)
}
