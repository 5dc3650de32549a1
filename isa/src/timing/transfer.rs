//! What LOAD, LOADPAD and STORE move, seen alike.

use crate::{HwConfig, Insn, MemoryType};

use super::rows::Rows;

/// A rectangle of elements in DRAM and the padding around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub memory_type: MemoryType,
    pub sram: u64,
    /// First byte in DRAM.
    pub address: u64,
    pub rows: u64,
    /// Elements in a row.
    pub columns: u64,
    /// Bytes between the starts of two rows.
    pub stride: u64,
    pub elem_bytes: u64,
    pub above: u64,
    pub below: u64,
    pub left: u64,
    pub right: u64,
}

impl Transfer {
    /// Of an instruction that moves something, or only pads.
    pub fn of(insn: &Insn, config: &HwConfig) -> Option<Transfer> {
        macro_rules! transfer {
            ($i:expr, $pads:expr) => {{
                let elem_bytes = config.elem_bytes($i.memory_type) as u64;
                let [above, below, left, right] = $pads.map(u64::from);
                (
                    $i.x_size,
                    Transfer {
                        memory_type: $i.memory_type,
                        sram: $i.sram_base.into(),
                        address: u64::from($i.dram_base) * elem_bytes,
                        rows: $i.y_size.into(),
                        columns: $i.x_size.into(),
                        stride: u64::from($i.x_stride) * elem_bytes,
                        elem_bytes,
                        above,
                        below,
                        left,
                        right,
                    },
                )
            }};
        }
        let (columns, transfer) = match insn {
            Insn::Load(i) => transfer!(i, [i.y_pad_0, i.y_pad_1, i.x_pad_0, i.x_pad_1]),
            Insn::LoadPad(i) => transfer!(i, [i.y_pad_0, i.y_pad_1, i.x_pad_0, i.x_pad_1]),
            Insn::Store(i) => transfer!(i, [0u32; 4]),
            Insn::Gemm(_) | Insn::Finish(_) | Insn::Alu(_) | Insn::Requant(_) | Insn::Lane(_) => return None,
        };
        (columns > 0).then_some(transfer)
    }

    /// Elements of a row in the scratchpad.
    pub fn row_length(&self) -> u64 {
        self.left + self.columns + self.right
    }

    /// Elements in the scratchpad.
    pub fn elements(&self) -> u64 {
        (self.above + self.rows + self.below) * self.row_length()
    }

    /// Bytes of a row in DRAM.
    pub fn row_bytes(&self) -> u64 {
        self.columns * self.elem_bytes
    }

    /// Whether the hardware would stop it, because an element lies beyond its scratchpad.
    pub fn overflows(&self, config: &HwConfig) -> bool {
        self.sram + self.elements() > config.depth(self.memory_type) as u64
    }

    /// Its rows in DRAM.
    pub fn dram_rows(&self, log_bus: u32) -> Rows {
        Rows::new(self.address, self.rows, self.row_bytes(), self.stride, log_bus)
    }
}
