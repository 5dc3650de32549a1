//! The scratchpads of a machine.

use tandem_isa::HwConfig;

use crate::cleared::Cleared;
use crate::gemm::{Kernel, Packed};

/// UOP, INP, WGT and ACC; OUT where a compatibility switch separates it from ACC.
///
/// # Shapes
/// Flat, element after element: `inp[element][batch][block_in]`, `wgt[element][block_out][block_in]`,
/// `acc[element][batch][block_out]`. INP and WGT hold two's complement bytes.
#[derive(Clone, Debug)]
pub struct Scratchpads {
    pub(crate) uop: Vec<u32>,
    pub(crate) inp: Vec<u8>,
    pub(crate) wgt: Vec<u8>,
    pub(crate) acc: Vec<i32>,
    pub(crate) out: Option<Vec<u8>>,
    /// What STORE finds where REQUANT has left zero in `acc`.
    pub(crate) cleared: Cleared,
    /// A copy of INP and WGT in the form that the GEMM kernel reads; whatever writes `inp` or `wgt` repacks it.
    pub(crate) packed: Packed,
}

impl Scratchpads {
    pub(crate) fn new(config: &HwConfig, kernel: Kernel, separate_out: bool) -> Scratchpads {
        let acc_lanes = config.acc_depth() * config.out_elem_bytes();
        Scratchpads {
            uop: vec![0; config.uop_depth()],
            inp: vec![0; config.inp_depth() * config.inp_elem_bytes()],
            wgt: vec![0; config.wgt_depth() * config.wgt_elem_bytes()],
            acc: vec![0; acc_lanes],
            out: separate_out.then(|| vec![0; acc_lanes]),
            cleared: Cleared::new(config.acc_depth(), config.out_elem_bytes()),
            packed: Packed::new(config, kernel),
        }
    }

    /// The words of the UOP scratchpad.
    pub fn uop(&self) -> &[u32] {
        &self.uop
    }

    /// The bytes of the INP scratchpad.
    pub fn inp(&self) -> &[u8] {
        &self.inp
    }

    /// The bytes of the WGT scratchpad.
    pub fn wgt(&self) -> &[u8] {
        &self.wgt
    }

    /// The words of the ACC scratchpad.
    pub fn acc(&self) -> &[i32] {
        &self.acc
    }
}
