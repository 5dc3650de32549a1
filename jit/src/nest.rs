//! Iteration spaces as loop nests of an instruction: two loops over a list of micro-ops.
//!
//! ```text
//! axes (count, steps of dst, src, wgt)            nest
//! 16 input cells     0, 25, 1                     outer 16: dst 0, src 25, wgt 1
//! 5 rows             5,  5, 0  } one axis of 25:  inner 25: dst 1, src 1,  wgt 0
//! 5 columns          1,  1, 0  }                  4 micro-ops, 25 accumulators and 16 weights apart
//! 4 output cells    25,  0, 16
//! ```
//!
//! Axes that continue one another are fused, the longest two become the loops, and the micro-ops enumerate the rest.

use tandem_isa::{HwConfig, Insn, Uop};

/// One axis of an iteration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub count: usize,
    pub dst: usize,
    pub src: usize,
    pub wgt: usize,
}

/// Loops and micro-ops that visit an iteration space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nest {
    pub outer: Axis,
    pub inner: Axis,
    pub uops: Vec<Uop>,
}

/// Most turns of a loop: LANE's outer one has the shortest field.
const TURNS: usize = (1 << 12) - 1;

impl Axis {
    /// An axis that is visited once.
    const ONCE: Axis = Axis { count: 1, dst: 0, src: 0, wgt: 0 };

    pub fn new(count: usize, dst: usize, src: usize, wgt: usize) -> Axis {
        Axis { count, dst, src, wgt }
    }

    /// One axis that visits what this one and `inner` within it visit.
    fn fused(self, inner: Axis) -> Option<Axis> {
        let n = inner.count;
        let continues = (self.dst, self.src, self.wgt) == (n * inner.dst, n * inner.src, n * inner.wgt);
        (continues && self.count * n <= TURNS).then_some(Axis { count: self.count * n, ..inner })
    }
}

impl Nest {
    /// The nest of `axes`, outermost first, from `base`. `micro` are axes that only micro-ops may enumerate, within the others.
    /// Steps of `src` count against `src_depth`.
    pub fn new(config: &HwConfig, src_depth: usize, base: Uop, axes: &[Axis], micro: &[Axis]) -> Nest {
        let mut axes = fuse(axes);
        let fits = |axis: &Axis| {
            axis.dst < config.acc_depth()
                && axis.src < src_depth
                && axis.wgt < config.wgt_depth()
                && axis.count <= TURNS
        };
        let mut take = || {
            let longest =
                (0..axes.len()).filter(|&k| fits(&axes[k])).max_by_key(|&k| (axes[k].count, std::cmp::Reverse(k)));
            longest.map(|k| (k, axes.remove(k)))
        };
        let (first, second) = (take(), take());
        let (outer, inner) = match (first, second) {
            // The second was counted after the first had been taken out.
            (Some((a, first)), Some((b, second))) if b >= a => (first, second),
            (Some((_, first)), Some((_, second))) => (second, first),
            (Some((_, only)), None) => (Axis::ONCE, only),
            _ => (Axis::ONCE, Axis::ONCE),
        };
        let mut uops = vec![base];
        for axis in axes.iter().chain(micro) {
            let steps = 0..axis.count as u32;
            let (dst, src, wgt) = (axis.dst as u32, axis.src as u32, axis.wgt as u32);
            uops = uops
                .iter()
                .flat_map(|u| {
                    steps.clone().map(move |n| Uop { dst: u.dst + n * dst, src: u.src + n * src, wgt: u.wgt + n * wgt })
                })
                .collect();
        }
        Nest { outer, inner, uops }
    }

    /// `insn` with these loops, once for each part of the micro-ops that the scratchpad holds.
    pub fn steps(self, config: &HwConfig, insn: impl Into<Insn>) -> Vec<(Vec<Uop>, Insn)> {
        let mut insn = insn.into();
        let Nest { outer, inner, uops } = self;
        macro_rules! set {
            ($i:ident) => {
                ($i.iter_out, $i.iter_in) = (outer.count as u32, inner.count as u32);
                ($i.dst_factor_out, $i.dst_factor_in) = (outer.dst as u32, inner.dst as u32);
                ($i.src_factor_out, $i.src_factor_in) = (outer.src as u32, inner.src as u32);
            };
            ($i:ident with weights) => {
                set!($i);
                ($i.wgt_factor_out, $i.wgt_factor_in) = (outer.wgt as u32, inner.wgt as u32);
            };
        }
        match &mut insn {
            Insn::Gemm(i) => {
                set!(i with weights);
            }
            Insn::Lane(i) => {
                set!(i with weights);
            }
            Insn::Alu(i) => {
                set!(i);
            }
            Insn::Requant(i) => {
                set!(i);
            }
            Insn::Load(_) | Insn::LoadPad(_) | Insn::Store(_) | Insn::Finish(_) => {}
        }
        let parts = uops.len().div_ceil(config.uop_depth()).max(1);
        let size = uops.len().div_ceil(parts).max(1);
        uops.chunks(size).map(|part| (part.to_vec(), insn)).collect()
    }
}

/// Leaves out axes that are visited once and fuses neighbours.
fn fuse(axes: &[Axis]) -> Vec<Axis> {
    let mut fused: Vec<Axis> = Vec::new();
    for &axis in axes.iter().filter(|axis| axis.count != 1) {
        match fused.last().and_then(|last| last.fused(axis)) {
            Some(both) => *fused.last_mut().expect("there is a last one") = both,
            None => fused.push(axis),
        }
    }
    fused
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_isa::Gemm;

    /// Indices of every execution, in the order of the loops.
    fn visits(nest: &Nest) -> Vec<[usize; 3]> {
        let mut found = Vec::new();
        for y in 0..nest.outer.count {
            for x in 0..nest.inner.count {
                let step = |outer: usize, inner: usize| y * outer + x * inner;
                for uop in &nest.uops {
                    found.push([
                        uop.dst as usize + step(nest.outer.dst, nest.inner.dst),
                        uop.src as usize + step(nest.outer.src, nest.inner.src),
                        uop.wgt as usize + step(nest.outer.wgt, nest.inner.wgt),
                    ]);
                }
            }
        }
        found
    }

    fn config() -> HwConfig {
        HwConfig::preset("tiny").expect("a preset")
    }

    fn nest(axes: &[Axis], micro: &[Axis]) -> Nest {
        Nest::new(&config(), config().inp_depth(), Uop { dst: 3, src: 2, wgt: 1 }, axes, micro)
    }

    #[test]
    fn every_point_is_visited_once_whichever_axes_become_loops() {
        let axes = [Axis::new(2, 0, 30, 4), Axis::new(3, 10, 5, 0), Axis::new(4, 2, 1, 0), Axis::new(2, 1, 0, 8)];
        let mut expected = Vec::new();
        for a in 0..2 {
            for b in 0..3 {
                for c in 0..4 {
                    for d in 0..2 {
                        expected.push([3 + 10 * b + 2 * c + d, 2 + 30 * a + 5 * b + c, 1 + 4 * a + 8 * d]);
                    }
                }
            }
        }
        expected.sort_unstable();
        for split in 0..=axes.len() {
            let mut found = visits(&nest(&axes[..split], &axes[split..]));
            found.sort_unstable();
            assert_eq!(found, expected, "{split} axes may be loops");
        }
    }

    #[test]
    fn axes_that_continue_one_another_are_one_loop() {
        let found = nest(&[Axis::new(16, 0, 25, 1), Axis::new(5, 5, 5, 0), Axis::new(5, 1, 1, 0)], &[]);
        assert_eq!((found.outer, found.inner), (Axis::new(16, 0, 25, 1), Axis::new(25, 1, 1, 0)));
        assert_eq!(found.uops, [Uop { dst: 3, src: 2, wgt: 1 }]);
    }

    #[test]
    fn loops_keep_the_order_of_the_axes() {
        let found = nest(&[Axis::new(4, 45, 4, 0), Axis::new(45, 1, 0, 0)], &[]);
        assert_eq!((found.outer.count, found.inner.count), (4, 45));
        let found = nest(&[Axis::new(45, 4, 4, 0), Axis::new(4, 1, 0, 0)], &[]);
        assert_eq!((found.outer.count, found.inner.count), (45, 4));
    }

    #[test]
    fn a_step_beyond_its_field_and_too_many_turns_are_left_to_micro_ops() {
        let far = config().acc_depth();
        let found = nest(&[Axis::new(3, far, 0, 0), Axis::new(2, 1, 0, 0)], &[]);
        assert_eq!((found.outer.count, found.inner.count, found.uops.len()), (1, 2, 3));
        let found = nest(&[Axis::new(TURNS + 1, 0, 0, 0), Axis::new(2, 1, 0, 0)], &[]);
        assert_eq!((found.inner.count, found.uops.len()), (2, TURNS + 1));
    }

    #[test]
    fn a_list_beyond_the_scratchpad_is_cut() {
        let depth = config().uop_depth();
        let steps = nest(&[], &[Axis::new(2 * depth + 1, 0, 0, 0)]).steps(&config(), Gemm::default());
        let sizes: Vec<usize> = steps.iter().map(|(uops, _)| uops.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 2 * depth + 1);
        assert!(sizes.len() == 3 && sizes.iter().all(|&size| size <= depth), "{sizes:?}");
    }
}
