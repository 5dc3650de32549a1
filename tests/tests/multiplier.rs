//! Every recipe for products computes the product of every two factors.

use tandem_hw::multiplier;
use tandem_tests::block::{Block, Verilator};

/// Sign-extends what a port of 16 bits holds.
fn product(block: &Block, port: &str) -> i32 {
    i32::from(block.get(port) as u16 as i16)
}

#[test]
fn products_by_rows_and_in_pairs_are_exact_for_all_factors() {
    let Some(verilator) = Verilator::find() else { return };
    let module = multiplier::recipes();
    assert_eq!(verilator.lint(module.name(), &module.verilog(), &[]).unwrap(), "");
    let mut block = Block::build(&verilator, &module).unwrap();
    for x in i8::MIN..=i8::MAX {
        block.set("x", u128::from(x as u8));
        for w1 in i8::MIN..=i8::MAX {
            block.set("w_1", u128::from(w1 as u8));
            for w0 in i8::MIN..=i8::MAX {
                block.set("w_0", u128::from(w0 as u8));
                block.clock();
                let (first, second) = (i32::from(x) * i32::from(w0), i32::from(x) * i32::from(w1));
                assert_eq!(product(&block, "pair_0"), first, "{x} * {w0} beside {w1}");
                assert_eq!(product(&block, "pair_1"), second, "{x} * {w1} beside {w0}");
                if w1 == 0 {
                    assert_eq!(product(&block, "rows_0"), first, "{x} * {w0} in rows");
                }
            }
        }
    }
}
