//! `wgmma`: asynchronous products of a warpgroup.
//!
//! Each of the four warps computes its own sixteen rows, at a moment of its own: when it waits, in
//! [`Asynchrony::Late`](crate::Asynchrony::Late). Until then its accumulators and its A registers may not be touched.

use std::collections::VecDeque;

use super::Env;
use super::block::Cluster;
use super::clock::Clock;
use super::descriptor::Layout;
use super::matrix::{Numbers, from_registers, multiply};
use super::shared::{Actor, WHOLE_WARP};
use super::warp::Warp;
use crate::alu::WARP;
use crate::fault::{FaultKind, Trouble};
use crate::module::Kernel;
use crate::op::{Element, MatrixA, Op, Reg, Wgmma};

/// Rows that one warp of the warpgroup computes.
const ROWS: usize = 16;

/// A product that has been started: the instruction, and what it was given then.
#[derive(Clone, Debug)]
struct Started {
    pc: u32,
    a: Option<u64>,
    b: u64,
    accumulate: bool,
    clock: Clock,
}

/// The products of a warp.
#[derive(Clone, Debug)]
pub(crate) struct WgmmaState {
    /// Moments at which registers were last written, and of the last fence; empty where the kernel has no `wgmma`.
    written: Vec<u32>,
    now: u32,
    fenced: Option<u32>,
    /// Products in flight that use a register.
    busy: Vec<u16>,
    in_flight: usize,
    open: Vec<Started>,
    groups: VecDeque<Vec<Started>>,
    /// What was executed, to be compared among the warps of a warpgroup.
    trace: u64,
}

impl WgmmaState {
    pub fn new(kernel: &Kernel) -> Self {
        let registers = if kernel.wgmma { kernel.registers as usize } else { 0 };
        Self {
            written: vec![0; registers],
            now: 0,
            fenced: None,
            busy: vec![0; registers],
            in_flight: 0,
            open: Vec::new(),
            groups: VecDeque::new(),
            trace: 0,
        }
    }

    pub fn fence(&mut self) {
        self.fenced = Some(self.now);
        self.now += 1;
    }

    pub fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
    }
}

/// Follows the registers that an instruction reads and writes; refuses those of a product in flight.
pub(crate) fn follow(env: &Env<'_>, warp: &mut Warp, op: &Op, pc: u32, exec: u32) -> Result<(), Trouble> {
    if exec == 0 {
        return Ok(());
    }
    let WgmmaState { written, now, busy, in_flight, .. } = &mut warp.wgmma;
    if let Op::Move { d, a } = op
        && *in_flight == 0
    {
        // A copy is as old as what it copies: the compiler may move one between the fence and the product.
        written[*d as usize] = written[*a as usize];
        return Ok(());
    }
    let mut touched = None;
    for (r, write) in &env.kernel.mentions[pc as usize] {
        if busy[*r as usize] > 0 {
            touched = Some((*r, *write));
        }
        if *write {
            written[*r as usize] = *now;
        }
    }
    match touched {
        None => Ok(()),
        Some((r, write)) => {
            let name = env.kernel.register_names.get(r as usize).map_or("?", String::as_str);
            let what = if write { "written" } else { "read" };
            Err(Trouble::new(
                FaultKind::Wgmma,
                format!(
                    "register {name} is {what} while a wgmma in flight uses it; wait with wgmma.wait_group first, and \
                     tie the registers to the wait, or the compiler moves their uses before it"
                ),
            ))
        }
    }
}

fn a_registers(op: &Wgmma) -> &[Reg] {
    match &op.from {
        MatrixA::Registers(regs) => regs,
        MatrixA::Descriptor(_) => &[],
    }
}

pub(crate) fn start(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &Wgmma,
    pc: u32,
) -> Result<(), Trouble> {
    if warp.index / 4 * 4 + 4 > cluster.blocks[warp.block].alive.len() {
        let message = "wgmma needs a warpgroup of four warps; launch a multiple of 128 threads";
        return Err(Trouble::new(FaultKind::Wgmma, message));
    }
    let fenced = warp.wgmma.fenced;
    for r in op.to.iter().chain(a_registers(op)) {
        if fenced.is_none_or(|at| warp.wgmma.written[*r as usize] > at) {
            let name = env.kernel.register_names.get(*r as usize).map_or("?", String::as_str);
            return Err(Trouble::new(
                FaultKind::Wgmma,
                format!(
                    "register {name} has been written, or none fenced, since the last wgmma.fence; execute it before"
                ),
            ));
        }
    }
    let uniform = |r: Reg| {
        let value = warp.lane(r, 0);
        match (0..WARP).find(|l| warp.lane(r, *l) != value) {
            None => Ok(value),
            Some(lane) => {
                let message = "lanes give different matrix descriptors; all of the warpgroup must give the same";
                Err(Trouble::new(FaultKind::Operand, message).at(lane))
            }
        }
    };
    let a = match op.from {
        MatrixA::Descriptor(r) => Some(uniform(r)?),
        MatrixA::Registers(_) => None,
    };
    let b = uniform(op.desc_b)?;
    let accumulate = match op.accumulate {
        Ok(p) => warp.predicate(p) & 1 == 1,
        Err(constant) => constant,
    };
    let started = Started { pc, a, b, accumulate, clock: warp.clock.clone() };
    warp.clock.tick(warp.party);
    let state = &mut warp.wgmma;
    state.trace = (state.trace ^ (u64::from(pc) + 1)).wrapping_mul(0x100_0000_01b3);
    if !env.late {
        return compute(env, cluster, warp, op, &started);
    }
    for r in op.to.iter().chain(a_registers(op)) {
        state.busy[*r as usize] += 1;
    }
    state.in_flight += 1;
    state.open.push(started);
    Ok(())
}

/// Waits until at most `pending` groups are in flight.
pub(crate) fn wait(env: &mut Env<'_>, cluster: &mut Cluster, warp: &mut Warp, pending: u32) -> Result<(), Trouble> {
    while warp.wgmma.groups.len() > pending as usize {
        for started in warp.wgmma.groups.pop_front().unwrap_or_default() {
            let kernel = env.kernel;
            let Some(Op::Wgmma(op)) = kernel.code.get(started.pc as usize).map(|i| &i.op) else { continue };
            for r in op.to.iter().chain(a_registers(op)) {
                warp.wgmma.busy[*r as usize] -= 1;
            }
            warp.wgmma.in_flight -= 1;
            compute(env, cluster, warp, op, &started)?;
        }
    }
    warp.clock.tick(warp.party);
    Ok(())
}

/// Warps of a warpgroup must have executed the same products.
pub(crate) fn same_in_warpgroups(warps: &[Box<Warp>]) -> Result<(), Trouble> {
    for group in warps.chunks(4) {
        if let Some(other) = group.iter().find(|w| w.block == group[0].block && w.wgmma.trace != group[0].wgmma.trace) {
            return Err(Trouble::new(
                FaultKind::Divergence,
                format!(
                    "warps {} and {} of one warpgroup have executed different wgmma instructions; all four must \
                     execute the same",
                    group[0].index, other.index
                ),
            ));
        }
    }
    Ok(())
}

fn compute(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &Wgmma,
    started: &Started,
) -> Result<(), Trouble> {
    let first_row = warp.index % 4 * ROWS;
    let mut a = match (&op.from, started.a) {
        (MatrixA::Registers(regs), _) => from_registers(warp, op.a, regs, ROWS, op.k),
        (_, desc) => {
            let layout = Layout::new(desc.unwrap_or(0), op.transpose_a)?;
            operand(env, cluster, warp, started, &layout, op.a, first_row..first_row + ROWS, op.k)?
        }
    };
    let layout = Layout::new(started.b, op.transpose_b)?;
    let mut b = operand(env, cluster, warp, started, &layout, op.b, 0..op.n, op.k)?;
    for (numbers, negate) in [(&mut a, op.negate_a), (&mut b, op.negate_b)] {
        if let (Numbers::Float(v), true) = (numbers, negate) {
            v.iter_mut().for_each(|x| *x = -*x);
        }
    }
    multiply(warp, op.d, false, (&a, &b), op.k, started.accumulate.then_some(&op.to), &op.to);
    env.stats.tensor_multiplications += (ROWS * op.n * op.k) as u64;
    Ok(())
}

/// Reads rows of an operand from shared memory through the async proxy.
fn operand(
    env: &Env<'_>,
    cluster: &mut Cluster,
    warp: &Warp,
    started: &Started,
    layout: &Layout,
    kind: Element,
    rows: std::ops::Range<usize>,
    k: usize,
) -> Result<Numbers, Trouble> {
    let actor = Actor {
        lane: WHOLE_WARP,
        clock: &started.clock,
        asynchronous: true,
        uninitialised: false,
        ..warp.actor(env, 0)
    };
    let shared = &mut cluster.blocks[warp.block].shared;
    let mut out = Numbers::new(kind, rows.len() * k);
    let bits = kind.bits() as usize;
    if layout.transposed {
        for column in 0..k {
            for byte in (rows.start * 2..rows.end * 2).step_by(16) {
                let bytes = shared.read(layout.chunk(column as u32, byte as u32), 16, &actor)?;
                for (i, b) in bytes.chunks(2).enumerate() {
                    let row = byte / 2 + i - rows.start;
                    if let (Numbers::Float(v), Element::Float(f)) = (&mut out, kind) {
                        v[row * k + column] = f.decode(u16::from_le_bytes([b[0], b[1]]).into());
                    }
                }
            }
        }
        return Ok(out);
    }
    for (r, row) in rows.enumerate() {
        for byte in (0..k * bits / 8).step_by(16) {
            let bytes = shared.read(layout.chunk(row as u32, byte as u32), 16, &actor)?;
            for (i, b) in bytes.chunks(4).enumerate() {
                let at = r * k + (byte + 4 * i) * 8 / bits;
                out.put(kind, at, u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            }
        }
    }
    Ok(out)
}
