//! `cp.async`, and the landing of copies under way.

use super::Env;
use super::access::{Place, Traffic, global_trouble, place_of};
use super::block::Cluster;
use super::clock::Clock;
use super::groups::Groups;
use super::shared::Actor;
use super::tensor_copy::{self, Source, StoreCopy};
use super::warp::{Warp, lanes};
use crate::fault::{FaultKind, Trouble};
use crate::op::{AsyncCopy, Space};

/// A `cp.async` that has been started.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    lane: u8,
    to: u32,
    from: u64,
    /// Bytes copied, and bytes that become zero after them.
    bytes: u32,
    zeros: u32,
}

/// A copy that lands by itself.
#[derive(Clone, Debug)]
pub(crate) enum Transfer {
    /// An arrival at a barrier of `block` once all earlier `cp.async` of one thread are done: those of `copies`, and
    /// those that wait with an arrival of a smaller `id`. Each copy comes with its group.
    Arrive { id: u64, block: usize, addr: u32, copies: Vec<(u32, Started)>, party: usize, lane: usize, clock: Clock },
    /// A bulk or tensor copy to shared memory that signals bytes at a barrier of the block it goes to.
    Load { block: usize, to: u32, bytes: u32, source: Source, barrier: (usize, u32) },
}

/// The asynchronous copies of a warp.
#[derive(Clone, Debug, Default)]
pub(crate) struct CopyState {
    /// `cp.async`.
    pub loads: Groups<Started>,
    /// Bulk and tensor copies from shared to global memory.
    pub stores: Groups<StoreCopy>,
}

pub(crate) fn start(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &AsyncCopy,
    exec: u32,
) -> Result<(), Trouble> {
    let ignored = op.ignore.map_or(0, |p| warp.predicate(p));
    let mut traffic = Traffic::new(op.bytes);
    for lane in lanes(exec) {
        let blame = |t: Trouble| t.at(lane);
        let Place::Shared(block, to) = place_of(cluster, warp, Space::Shared, op.to, lane, op.bytes)? else {
            return Err(Trouble::new(FaultKind::OutOfBounds, "cp.async writes shared memory only").at(lane));
        };
        own(warp, block, "cp.async writes").map_err(blame)?;
        let wanted = op.source_bytes.map_or(op.bytes, |r| warp.lane(r, lane) as u32);
        if wanted > op.bytes {
            let message = format!("cp.async is to read {wanted} bytes of {}", op.bytes);
            return Err(Trouble::new(FaultKind::Operand, message).at(lane));
        }
        let bytes = if ignored >> lane & 1 == 1 { 0 } else { wanted };
        // A copy of no bytes may give any address.
        let from = if bytes == 0 {
            0
        } else {
            match place_of(cluster, warp, Space::Generic, op.from, lane, op.bytes)? {
                Place::Global(a) => a,
                _ => return Err(Trouble::new(FaultKind::OutOfBounds, "cp.async reads global memory only").at(lane)),
            }
        };
        if bytes > 0 {
            // The address must be good now; what it holds is read when the copy is done.
            env.memory.slice_mut(from, bytes as usize).map_err(|e| global_trouble(e).at(lane))?;
            traffic.add(Place::Global(from));
        }
        let copy = Started { lane: lane as u8, to, from, bytes, zeros: op.bytes - bytes };
        let actor = warp.actor(env, lane);
        cluster.blocks[block].shared.begin_copy(to, op.bytes, &actor).map_err(blame)?;
        if env.late {
            warp.copies.loads.start(lane, copy);
        } else {
            finish(env, cluster, block, &copy, warp.party, &warp.clock)?;
        }
    }
    traffic.count(env);
    Ok(())
}

/// Refuses the shared memory of another block, which `.shared` and `.shared::cta` do not name.
pub(crate) fn own(warp: &Warp, block: usize, what: &str) -> Result<(), Trouble> {
    if block == warp.block {
        return Ok(());
    }
    let (other, own) = (block, warp.block);
    let message = format!(
        "{what} shared memory of its own block only, which is block {own} of the cluster, and is given an address of \
         block {other}; use a bulk copy, or let block {other} do it"
    );
    Err(Trouble::new(FaultKind::OutOfBounds, message))
}

/// Does what a `cp.async` of `party`, started at the moment of `clock`, was started for.
fn finish(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    block: usize,
    copy: &Started,
    party: usize,
    clock: &Clock,
) -> Result<(), Trouble> {
    let mut data = [0u8; 16];
    let blame = |t: Trouble| t.at(copy.lane.into());
    if copy.bytes > 0 {
        let n = copy.bytes as usize;
        data[..n].copy_from_slice(env.memory.slice_mut(copy.from, n).map_err(|e| blame(global_trouble(e)))?);
    }
    let actor = Actor { uninitialised: false, ..Actor::new(party, copy.lane, clock, env.options) };
    let total = (copy.bytes + copy.zeros) as usize;
    cluster.blocks[block].shared.end_copy(copy.to, &data[..total], &actor).map_err(blame)
}

/// Waits until at most `pending` of each lane's groups are not done; for all, the open one too, if `all`.
pub(crate) fn wait(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    pending: u32,
    all: bool,
    exec: u32,
) -> Result<(), Trouble> {
    if all {
        warp.copies.loads.commit(exec);
    }
    let mut loads = std::mem::take(&mut warp.copies.loads);
    loads.wait(pending, exec, |_, copy| {
        finish(env, cluster, warp.block, copy, warp.party, &warp.clock).map(|()| true)
    })?;
    // Copies that a barrier is to be told of are done too once the thread has waited for their group, and the barrier may
    // be told later.
    let mut due: Vec<(Started, Clock)> = Vec::new();
    for transfer in &mut cluster.flight {
        if let Transfer::Arrive { party, lane, copies, clock, .. } = transfer
            && *party == warp.party
            && exec >> *lane & 1 == 1
        {
            let (done, left) = std::mem::take(copies).into_iter().partition(|c| loads.due(*lane, c.0, pending));
            *copies = left;
            let done: Vec<(u32, Started)> = done;
            due.extend(done.into_iter().map(|(_, copy)| (copy, clock.clone())));
        }
    }
    warp.copies.loads = loads;
    for (copy, clock) in &due {
        finish(env, cluster, warp.block, copy, warp.party, clock)?;
    }
    Ok(())
}

/// Lands one of the copies under way.
pub(crate) fn land(env: &mut Env<'_>, cluster: &mut Cluster, which: usize) -> Result<(), Trouble> {
    match cluster.flight.swap_remove(which) {
        Transfer::Arrive { id, block, addr, copies, party, lane, clock } => {
            let mut due = vec![(id, copies, clock.clone())];
            for other in &mut cluster.flight {
                if let Transfer::Arrive { id: i, party: p, lane: l, copies, clock, .. } = other
                    && (*p, *l) == (party, lane)
                    && *i < id
                {
                    due.push((*i, std::mem::take(copies), clock.clone()));
                }
            }
            due.sort_by_key(|(id, ..)| *id);
            for (_, copies, clock) in &due {
                for (_, copy) in copies {
                    finish(env, cluster, block, copy, party, clock)?;
                }
            }
            cluster.blocks[block].barriers.get(addr)?.arrive(1, Some(&clock)).map(|_| ())
        }
        Transfer::Load { block, to, bytes, source, barrier } => {
            let data = tensor_copy::fetch(env, &source, to, bytes)?;
            env.stats.bulk_bytes += u64::from(bytes);
            let b = cluster.blocks[barrier.0].barriers.get(barrier.1)?;
            let (party, moment) = (b.party, b.next_moment());
            let mut clock = Clock::default();
            clock.learn(party, moment);
            let actor = Actor { asynchronous: true, uninitialised: false, ..Actor::new(party, 0, &clock, env.options) };
            cluster.blocks[block].shared.end_copy(to, &data, &actor)?;
            cluster.blocks[barrier.0].barriers.get(barrier.1)?.complete(bytes.into(), Some(moment))
        }
    }
}
