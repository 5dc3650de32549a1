//! Micro-operations: the second level of the instruction set.

use crate::{HwConfig, IsaError};

/// Three indices that GEMM, ALU, REQUANT and LANE add their loop offsets to.
///
/// ALU and REQUANT use `dst` and `src`, both of which index ACC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Uop {
    /// ACC index: the low `log_acc_depth` bits.
    pub dst: u32,
    /// INP (GEMM, LANE) or ACC (ALU, REQUANT) index: the next `max(log_acc_depth, log_inp_depth)` bits.
    pub src: u32,
    /// WGT index: the next `log_wgt_depth` bits.
    pub wgt: u32,
}

impl Uop {
    /// Encodes under a configuration.
    ///
    /// # Errors
    /// [`IsaError::UopOverflow`] where an index does not fit.
    pub fn encode(&self, config: &HwConfig) -> Result<u32, IsaError> {
        let values = [self.dst, self.src, self.wgt];
        let mut word = 0u32;
        for ((field, lo, bits), value) in fields(config).into_iter().zip(values) {
            if u64::from(value) >= 1u64 << bits {
                return Err(IsaError::UopOverflow { field, value, bits });
            }
            // The configuration guarantees that the three widths sum to at most 32.
            word |= value << lo;
        }
        Ok(word)
    }

    /// Decodes under a configuration.
    ///
    /// # Errors
    /// [`IsaError::UopReserved`] where bits above the three fields are set.
    pub fn decode(word: u32, config: &HwConfig) -> Result<Uop, IsaError> {
        let [dst, src, wgt] = fields(config).map(|(_, lo, bits)| (u64::from(word) >> lo & ((1u64 << bits) - 1)) as u32);
        let used = config.log_acc_depth() + config.log_src_depth() + config.log_wgt_depth();
        if u64::from(word) >> used != 0 {
            return Err(IsaError::UopReserved { word, hi: 31 - word.leading_zeros(), lo: used });
        }
        Ok(Uop { dst, src, wgt })
    }
}

/// Name, lowest bit and width of the three fields.
pub(crate) fn fields(config: &HwConfig) -> [(&'static str, u32, u32); 3] {
    let (dst, src, wgt) = (config.log_acc_depth(), config.log_src_depth(), config.log_wgt_depth());
    [("dst", 0, dst), ("src", dst, src), ("wgt", dst + src, wgt)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_layout_is_eleven_eleven_ten() {
        let config = HwConfig::preset("vta").unwrap();
        let uop = Uop { dst: 1, src: 2, wgt: 3 };
        assert_eq!(uop.encode(&config).unwrap(), 1 | 2 << 11 | 3 << 22);
        assert_eq!(Uop::decode(u32::MAX, &config).unwrap(), Uop { dst: 2047, src: 2047, wgt: 1023 });
    }

    #[test]
    fn an_index_that_does_not_fit_is_refused_with_its_width() {
        let config = HwConfig::preset("vta").unwrap();
        let error = Uop { dst: 0, src: 0, wgt: 1024 }.encode(&config).unwrap_err();
        assert_eq!(error.to_string(), "uop.wgt is 1024, which does not fit in 10 bits");
        assert!(Uop { dst: u32::MAX, ..Uop::default() }.encode(&config).is_err());
    }

    #[test]
    fn bits_above_the_fields_are_refused() {
        let config = HwConfig::preset("batch").unwrap();
        assert_eq!((config.log_acc_depth(), config.log_src_depth(), config.log_wgt_depth()), (10, 10, 10));
        let error = Uop::decode(0x8000_0000, &config).unwrap_err();
        assert_eq!(error.to_string(), "uop word 0x80000000 has reserved bits 31:30 set");
    }
}
