//! What an instruction asks of its warp: lanes that must execute it together, registers that it reads and writes.

use crate::op::{MatrixA, Mbarrier, Op, Reg};

impl Op {
    /// Whether all lanes of the warp must execute it together.
    pub fn is_aligned(&self) -> bool {
        match self {
            Self::Barrier(b) => b.aligned,
            Self::ClusterArrive { aligned, .. } | Self::ClusterWait { aligned } => *aligned,
            Self::MatrixLoad { .. }
            | Self::MatrixStore { .. }
            | Self::MatrixTranspose { .. }
            | Self::Mma(_)
            | Self::Wgmma(_)
            | Self::WgmmaFence
            | Self::WgmmaCommit
            | Self::WgmmaWait { .. }
            | Self::SetMaxRegisters => true,
            _ => false,
        }
    }

    /// The register with the mask of the lanes that must execute it together.
    pub fn member_mask(&self) -> Option<Reg> {
        match self {
            Self::Shuffle { mask, .. }
            | Self::Vote { mask, .. }
            | Self::Match { mask, .. }
            | Self::ReduceWarp { mask, .. }
            | Self::Elect { mask, .. }
            | Self::WarpSync { mask } => Some(*mask),
            _ => None,
        }
    }

    /// Calls `see` with each register, to be replaced, and whether it is written.
    pub fn each_register(&mut self, see: &mut dyn FnMut(&mut Reg, bool)) {
        match self {
            Self::Nop
            | Self::PredConst { .. }
            | Self::Logic { .. }
            | Self::Branch { .. }
            | Self::Exit
            | Self::Trap
            | Self::CopyLocal { .. }
            | Self::ClusterArrive { .. }
            | Self::ClusterWait { .. }
            | Self::Fence
            | Self::FenceProxy
            | Self::FenceInit
            | Self::Nanosleep
            | Self::AsyncCommit
            | Self::AsyncWait { .. }
            | Self::BulkCommit
            | Self::BulkWait { .. }
            | Self::WgmmaFence
            | Self::WgmmaCommit
            | Self::WgmmaWait { .. }
            | Self::SetMaxRegisters => {}
            Self::Lane { d, a, .. } | Self::Flush { d, a, .. } | Self::Lop3 { d, a, .. } => visit(see, a, [d]),
            Self::Carry(c) => visit(see, &mut c.a, [&mut c.d]),
            Self::Bfi { d, a, .. } => visit(see, a, [d]),
            Self::Move { d, a } | Self::GetRank { d, a } | Self::MatrixTranspose { d, a } => visit(see, [a], [d]),
            Self::Convert { d, a, b, .. }
            | Self::Set { d, a, b, .. }
            | Self::SetPacked { d, a, b, .. }
            | Self::Select { d, a, b, .. } => visit(see, [a, b], [d]),
            Self::SelectSign { d, a, b, c, .. } => visit(see, [a, b, c], [d]),
            Self::Compare { a, b, .. } | Self::ComparePacked { a, b, .. } => visit(see, [a, b], []),
            Self::Special { d, .. } | Self::ActiveMask { d } => visit(see, [], [d]),
            Self::Pack { d, parts, .. } => visit(see, parts, [d]),
            Self::Unpack { parts, a, .. } => visit(see, [a], parts),
            Self::BranchTable { index, .. } => visit(see, [index], []),
            Self::Load(l) => visit(see, [&mut l.addr.base], l.to.iter_mut().map(|(r, _)| r)),
            Self::Store(s) => visit(see, s.from.iter_mut().chain([&mut s.addr.base]), []),
            Self::Atomic(a) => visit(see, a.from.iter_mut().chain([&mut a.addr.base]).chain(&mut a.swap), &mut a.to),
            Self::IsSpace { a, .. } => visit(see, [a], []),
            Self::MapAddress { d, a, rank, .. } => visit(see, [a, rank], [d]),
            Self::Shuffle { d, a, b, c, mask, .. } => visit(see, [a, b, c, mask], [d]),
            Self::Vote { to, mask, .. } => visit(see, [mask], [to]),
            Self::Match { d, a, mask, .. } | Self::ReduceWarp { d, a, mask, .. } => visit(see, [a, mask], [d]),
            Self::Elect { d, mask, .. } => visit(see, [mask], [d]),
            Self::WarpSync { mask } => visit(see, [mask], []),
            Self::Barrier(b) => {
                let to = b.reduce.as_mut().and_then(|r| r.to_count.as_mut());
                visit(see, [&mut b.id].into_iter().chain(&mut b.threads), to);
            }
            Self::Mbarrier(m) => m.each_register(see),
            Self::AsyncCopy(c) => {
                visit(see, [&mut c.to.base, &mut c.from.base].into_iter().chain(&mut c.source_bytes), []);
            }
            Self::BulkCopy(c) => {
                let fixed = [&mut c.to.base, &mut c.from.base, &mut c.bytes];
                let barrier = c.barrier.as_mut().map(|b| &mut b.base);
                visit(see, fixed.into_iter().chain(barrier).chain(&mut c.multicast), []);
            }
            Self::TensorCopy(c) => {
                let fixed = [&mut c.shared.base, &mut c.map.base];
                let barrier = c.barrier.as_mut().map(|b| &mut b.base);
                visit(see, fixed.into_iter().chain(barrier).chain(&mut c.multicast).chain(&mut c.coordinates), []);
            }
            Self::MatrixLoad { to, addr, .. } => visit(see, [&mut addr.base], to),
            Self::MatrixStore { from, addr, .. } => visit(see, from.iter_mut().chain([&mut addr.base]), []),
            Self::Mma(m) => visit(see, m.a_regs.iter_mut().chain(&mut m.b_regs).chain(&mut m.c_regs), &mut m.to),
            Self::Wgmma(w) => {
                let a = match &mut w.from {
                    MatrixA::Descriptor(r) => std::slice::from_mut(r),
                    MatrixA::Registers(regs) => regs,
                };
                visit(see, a.iter_mut().chain([&mut w.desc_b]), &mut w.to);
            }
        }
    }
}

impl Mbarrier {
    fn each_register(&mut self, see: &mut dyn FnMut(&mut Reg, bool)) {
        match self {
            Self::Init { addr, count } => visit(see, [&mut addr.base, count], []),
            Self::Invalidate { addr } | Self::AsyncArrive { addr, .. } => visit(see, [&mut addr.base], []),
            Self::Arrive { state, addr, count, bytes, .. } => {
                visit(see, [&mut addr.base].into_iter().chain(count).chain(bytes), state);
            }
            Self::ExpectTx { addr, bytes } | Self::CompleteTx { addr, bytes } => {
                visit(see, [&mut addr.base, bytes], []);
            }
            Self::Wait { addr, value, .. } => visit(see, [&mut addr.base, value], []),
            Self::PendingCount { to, state } => visit(see, [state], [to]),
        }
    }
}

fn visit<'a>(
    see: &mut dyn FnMut(&mut Reg, bool),
    read: impl IntoIterator<Item = &'a mut Reg>,
    written: impl IntoIterator<Item = &'a mut Reg>,
) {
    read.into_iter().for_each(|r| see(r, false));
    written.into_iter().for_each(|r| see(r, true));
}
