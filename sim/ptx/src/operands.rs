//! What an instruction asks of its warp: lanes that must execute it together, registers that it reads and writes.

use crate::op::{Mbarrier, Op, Reg};

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

    /// Calls `see` with each register that is read (`false`) or written (`true`).
    pub fn registers(&self, see: &mut dyn FnMut(Reg, bool)) {
        let mut all = |read: &[Reg], written: &[Reg]| {
            read.iter().for_each(|r| see(*r, false));
            written.iter().for_each(|r| see(*r, true));
        };
        match self {
            Self::Lane { d, a, .. } | Self::Flush { d, a, .. } | Self::Lop3 { d, a, .. } => all(a, &[*d]),
            Self::Bfi { d, a, .. } => all(a, &[*d]),
            Self::Convert { d, a, b, .. }
            | Self::Set { d, a, b, .. }
            | Self::SetPacked { d, a, b, .. }
            | Self::Select { d, a, b, .. } => all(&[*a, *b], &[*d]),
            Self::SelectSign { d, a, b, c, .. } => all(&[*a, *b, *c], &[*d]),
            Self::Compare { a, b, .. } | Self::ComparePacked { a, b, .. } => all(&[*a, *b], &[]),
            Self::Special { d, .. } | Self::ActiveMask { d } => all(&[], &[*d]),
            Self::Pack { d, parts, .. } => all(parts, &[*d]),
            Self::Unpack { parts, a, .. } => all(&[*a], parts),
            Self::BranchTable { index, .. } => all(&[*index], &[]),
            Self::Load(l) => {
                all(&[l.addr.base], &[]);
                l.to.iter().for_each(|(r, _)| see(*r, true));
            }
            Self::Store(s) => {
                all(&s.from, &[]);
                all(&[s.addr.base], &[]);
            }
            Self::Atomic(a) => {
                all(&a.from, &a.to);
                all(&[a.addr.base, a.swap.unwrap_or(a.addr.base)], &[]);
            }
            Self::IsSpace { a, .. } => all(&[*a], &[]),
            Self::MapAddress { d, a, rank, .. } => all(&[*a, *rank], &[*d]),
            Self::Move { d, a } | Self::GetRank { d, a } | Self::MatrixTranspose { d, a } => all(&[*a], &[*d]),
            Self::Shuffle { d, a, b, c, .. } => all(&[*a, *b, *c], &[*d]),
            Self::Vote { to, .. } => all(&[], &[*to]),
            Self::Match { d, a, .. } | Self::ReduceWarp { d, a, .. } => all(&[*a], &[*d]),
            Self::Elect { d, .. } => all(&[], &[*d]),
            Self::MatrixLoad { to, addr, .. } => all(&[addr.base], to),
            Self::MatrixStore { from, addr, .. } => {
                all(from, &[]);
                all(&[addr.base], &[]);
            }
            Self::Mma(m) => {
                all(&m.a_regs, &m.to);
                all(&m.b_regs, &[]);
                all(&m.c_regs, &[]);
            }
            Self::AsyncCopy(c) => all(&[c.to.base, c.from.base, c.source_bytes.unwrap_or(c.to.base)], &[]),
            Self::BulkCopy(c) => all(&[c.to.base, c.from.base, c.bytes], &[]),
            Self::TensorCopy(c) => {
                all(&c.coordinates, &[]);
                all(&[c.shared.base, c.map.base], &[]);
            }
            Self::Mbarrier(m) => match &**m {
                Mbarrier::Arrive { state: Some(state), addr, .. } => all(&[addr.base], &[*state]),
                Mbarrier::PendingCount { to, state } => all(&[*state], &[*to]),
                Mbarrier::Wait { addr, value, .. } => all(&[addr.base, *value], &[]),
                _ => {}
            },
            Self::Barrier(b) => {
                if let Some(to) = b.reduce.and_then(|r| r.to_count) {
                    all(&[], &[to]);
                }
            }
            _ => {}
        }
    }
}
