//! `cp.async`, the operations on `mbarrier` objects, and the landing of copies under way.

use super::Env;
use super::access::{Place, global_trouble, misaligned, resolve};
use super::block::Cluster;
use super::clock::Clock;
use super::shared::Actor;
use super::tensor_copy::{self, Source, Stores};
use super::warp::{Park, Warp, lanes};
use crate::fault::{FaultKind, Trouble};
use crate::op::{Addr, AsyncCopy, Mbarrier, Space};

/// A `cp.async` that has been started.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    lane: u8,
    group: u32,
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
    /// those that wait with an arrival of a smaller `id`.
    Arrive { id: u64, block: usize, addr: u32, copies: Vec<Started>, party: usize, lane: usize, clock: Clock },
    /// A bulk or tensor copy to shared memory that signals bytes at a barrier of the block it goes to.
    Load { block: usize, to: u32, bytes: u32, source: Source, barrier: (usize, u32) },
}

/// The asynchronous copies of a warp.
#[derive(Clone, Debug, Default)]
pub(crate) struct CopyState {
    started: Vec<Started>,
    committed: [u32; 32],
    pub stores: Stores,
}

impl CopyState {
    pub fn commit(&mut self, exec: u32) {
        lanes(exec).for_each(|l| self.committed[l] += 1);
    }

    pub fn bulk_commit(&mut self, exec: u32) {
        self.stores.commit(exec);
    }
}

pub(crate) fn start(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &AsyncCopy,
    exec: u32,
) -> Result<(), Trouble> {
    let ignored = op.ignore.map_or(0, |p| warp.predicate(p));
    let mut traffic = super::access::Traffic::new(op.bytes);
    for lane in lanes(exec) {
        let blame = |t: Trouble| t.at(lane);
        let to = at(warp, op.to, lane);
        let from = at(warp, op.from, lane);
        let Place::Shared(block, to) = resolve(cluster, warp.block, Space::Shared, to).map_err(blame)? else {
            return Err(Trouble::new(FaultKind::OutOfBounds, "cp.async writes shared memory only").at(lane));
        };
        own(warp, block, "cp.async writes").map_err(blame)?;
        let wanted = op.source_bytes.map_or(op.bytes, |r| warp.lane(r, lane) as u32);
        if wanted > op.bytes {
            let message = format!("cp.async is to read {wanted} bytes of {}", op.bytes);
            return Err(Trouble::new(FaultKind::Operand, message).at(lane));
        }
        let bytes = if ignored >> lane & 1 == 1 { 0 } else { wanted };
        for address in [u64::from(to), if bytes > 0 { from } else { 0 }] {
            if !address.is_multiple_of(op.bytes.into()) {
                return Err(misaligned(address, op.bytes).at(lane));
            }
        }
        let from = match resolve(cluster, warp.block, Space::Generic, from).map_err(blame)? {
            Place::Global(a) => a,
            _ if bytes == 0 => 0,
            _ => return Err(Trouble::new(FaultKind::OutOfBounds, "cp.async reads global memory only").at(lane)),
        };
        if bytes > 0 {
            // The address must be good now; what it holds is read when the copy is done.
            env.memory.slice_mut(from, bytes as usize).map_err(|e| global_trouble(e).at(lane))?;
            traffic.add(Place::Global(from));
        }
        let group = warp.copies.committed[lane];
        let copy = Started { lane: lane as u8, group, to, from, bytes, zeros: op.bytes - bytes };
        let actor = warp.actor(env, lane);
        cluster.blocks[block].shared.begin_copy(to, op.bytes, &actor).map_err(blame)?;
        if env.late {
            warp.copies.started.push(copy);
        } else {
            let (party, clock) = (warp.party, warp.clock.clone());
            finish_one(env, cluster, block, &copy, party, &clock).map_err(blame)?;
        }
    }
    traffic.count(env);
    Ok(())
}

/// Refuses the shared memory of another block, which `.shared` and `.shared::cta` do not name.
fn own(warp: &Warp, block: usize, what: &str) -> Result<(), Trouble> {
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

fn at(warp: &Warp, addr: Addr, lane: usize) -> u64 {
    warp.lane(addr.base, lane).wrapping_add(addr.offset as u64)
}

fn finish_one(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    block: usize,
    copy: &Started,
    party: usize,
    clock: &Clock,
) -> Result<(), Trouble> {
    let mut data = [0u8; 16];
    if copy.bytes > 0 {
        let n = copy.bytes as usize;
        data[..n].copy_from_slice(env.memory.slice_mut(copy.from, n).map_err(global_trouble)?);
    }
    let actor = Actor {
        party,
        lane: copy.lane,
        clock,
        moment: clock.seen(party),
        asynchronous: false,
        strong: false,
        races: env.options.races,
        uninitialised: false,
    };
    let total = (copy.bytes + copy.zeros) as usize;
    cluster.blocks[block].shared.end_copy(copy.to, &data[..total], &actor)
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
        warp.copies.commit(exec);
    }
    let mut left = Vec::new();
    for copy in std::mem::take(&mut warp.copies.started) {
        let lane = usize::from(copy.lane);
        if exec >> lane & 1 == 1 && copy.group + pending < warp.copies.committed[lane] {
            finish_one(env, cluster, warp.block, &copy, warp.party, &warp.clock).map_err(|t| t.at(lane))?;
        } else {
            left.push(copy);
        }
    }
    warp.copies.started = left;
    // Copies that a barrier is to be told of are done too once the thread has waited for their group, and the barrier may
    // be told later.
    let mut due = Vec::new();
    for transfer in &mut cluster.flight {
        if let Transfer::Arrive { party, lane, copies, clock, .. } = transfer
            && *party == warp.party
            && exec >> *lane & 1 == 1
        {
            let (done, left) =
                std::mem::take(copies).into_iter().partition(|c| c.group + pending < warp.copies.committed[*lane]);
            *copies = left;
            due.push((*lane, done, clock.clone()));
        }
    }
    for (lane, copies, clock) in due {
        let copies: Vec<Started> = copies;
        for copy in &copies {
            finish_one(env, cluster, warp.block, copy, warp.party, &clock).map_err(|t| t.at(lane))?;
        }
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
                for copy in copies {
                    finish_one(env, cluster, block, copy, party, clock).map_err(|t| t.at(lane))?;
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
            let actor = Actor {
                party,
                lane: 0,
                clock: &clock,
                moment,
                asynchronous: true,
                strong: false,
                races: env.options.races,
                uninitialised: false,
            };
            cluster.blocks[block].shared.end_copy(to, &data, &actor)?;
            cluster.blocks[barrier.0].barriers.get(barrier.1)?.complete(bytes.into(), Some(moment))
        }
    }
}

/// What is left to do, or to complain of, when all warps of a cluster have exited.
pub(crate) fn finish(env: &mut Env<'_>, cluster: &mut Cluster) -> Result<(), Trouble> {
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
    super::wgmma::same_in_warpgroups(&warps)
}

/// What an operation on an `mbarrier` comes to.
pub(crate) enum Waited {
    Done,
    /// Done, and a good moment for others to run.
    Yield,
    Park(Park),
}

/// Executes an operation on an `mbarrier` object.
pub(crate) fn mbarrier(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &Mbarrier,
    exec: u32,
) -> Result<Waited, Trouble> {
    let place = |cluster: &mut Cluster, warp: &Warp, addr: Addr, lane: usize| {
        let address = at(warp, addr, lane);
        // `.shared` may be left out: the address is generic then, and its window tells.
        let space = if address >> 32 == 0 { Space::Shared } else { Space::Generic };
        match resolve(cluster, warp.block, space, address)? {
            Place::Shared(_, a) if a % 8 != 0 => Err(misaligned(a.into(), 8)),
            Place::Shared(block, a) => {
                cluster.visit(block, warp);
                Ok((block, a))
            }
            _ => Err(Trouble::new(FaultKind::OutOfBounds, "an mbarrier lives in shared memory only")),
        }
        .map_err(|t: Trouble| t.at(lane))
    };
    match op {
        Mbarrier::Init { addr, count } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let party = cluster.next_party;
                if party >= usize::from(u16::MAX) {
                    let message = "the cluster has initialised too many mbarrier objects to tell their copies apart";
                    return Err(Trouble::new(FaultKind::Barrier, message).at(lane));
                }
                cluster.next_party += 1;
                let count = warp.lane(*count, lane) as u32;
                let block = &mut cluster.blocks[block];
                block.barriers.init(a, count, party, &warp.clock, warp.party).map_err(|t| t.at(lane))?;
                block.shared.mark_barrier(a, true).map_err(|t| t.at(lane))?;
            }
            warp.clock.tick(warp.party);
        }
        Mbarrier::Invalidate { addr } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                cluster.blocks[block].barriers.invalidate(a).map_err(|t| t.at(lane))?;
                cluster.blocks[block].shared.mark_barrier(a, false).map_err(|t| t.at(lane))?;
            }
        }
        Mbarrier::Arrive { state, addr, count, bytes, drop, relaxed } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let count = count.map_or(1, |r| warp.lane(r, lane) as u32);
                let bytes = bytes.map_or(0, |r| i64::from(warp.lane(r, lane) as u32));
                let clock = (!relaxed).then_some(&warp.clock);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                b.expect(bytes).map_err(|t| t.at(lane))?;
                let done = if *drop { b.drop_arrivals(count, clock) } else { b.arrive(count, clock) };
                let token = done.map_err(|t| t.at(lane))?;
                if let Some(state) = state {
                    warp.set(*state, lane, token);
                }
            }
            warp.clock.tick(warp.party);
            return Ok(Waited::Yield);
        }
        Mbarrier::ExpectTx { addr, bytes } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let bytes = i64::from(warp.lane(*bytes, lane) as u32);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                b.expect(bytes).map_err(|t| t.at(lane))?;
            }
        }
        Mbarrier::CompleteTx { addr, bytes } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let bytes = i64::from(warp.lane(*bytes, lane) as u32);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                b.complete(bytes, None).map_err(|t| t.at(lane))?;
            }
        }
        Mbarrier::Wait { done, addr, value, parity, blocking, relaxed } => {
            let mut passed = 0u32;
            let mut waits = None;
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let value = warp.lane(*value, lane);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                if b.passed(value, *parity) {
                    passed |= 1 << lane;
                    if !relaxed {
                        let known = b.known().clone();
                        warp.clock.join(&known);
                    }
                } else {
                    waits = Some(b.park(block));
                }
            }
            // A try may give up before its phase has passed, and code must then try again: now and then it does.
            if let Some(park) = waits
                && passed == 0
                && *blocking
                && !(env.late && env.random.one_in(4))
            {
                return Ok(Waited::Park(park));
            }
            warp.set_predicate(*done, passed, exec);
            if waits.is_some() {
                return Ok(Waited::Yield);
            }
        }
        Mbarrier::PendingCount { to, state } => {
            for lane in lanes(exec) {
                let pending = warp.lane(*state, lane) & 0xf_ffff;
                warp.set(*to, lane, pending);
            }
        }
        Mbarrier::AsyncArrive { addr, noinc } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                own(warp, block, "cp.async.mbarrier.arrive takes an mbarrier in").map_err(|t| t.at(lane))?;
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                if !noinc {
                    b.increment().map_err(|t| t.at(lane))?;
                }
                let all = std::mem::take(&mut warp.copies.started);
                let (copies, left) = all.into_iter().partition(|c| usize::from(c.lane) == lane);
                warp.copies.started = left;
                let (id, party, clock) = (env.id(), warp.party, warp.clock.clone());
                cluster.flight.push(Transfer::Arrive { id, block, addr: a, copies, party, lane, clock });
                if !env.late {
                    let last = cluster.flight.len() - 1;
                    land(env, cluster, last)?;
                }
            }
            warp.clock.tick(warp.party);
            return Ok(Waited::Yield);
        }
    }
    Ok(Waited::Done)
}
