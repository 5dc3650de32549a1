//! What can be chosen of a machine: axes with their values, and machines that differ along them.

use tandem_isa::{HwConfig, HwFacts};

use super::Random;
use crate::Board;

/// Draws in vain after which there is taken to be nothing more.
const TRIES: usize = 2000;
/// The axes: batch, block_in, block_out, buffers (uop, inp, wgt, acc), bus, queue, ALU, taps of LANE.
const AXES: usize = 11;
const BATCH: usize = 0;
const QUEUE: usize = 8;

/// The place of a machine on every axis.
type Place = [usize; AXES];

/// The machines to choose from: what a board fixes, and the values along each axis.
///
/// Lanes, batch, bus width and queue depth have the values that [`HwConfig`] accepts. Buffers go in powers of two, and so do
/// the lanes of the tensor ALU. What the board's own machine says of its address, its modes of REQUANT and its counters stays.
#[derive(Clone, Debug)]
pub struct Space {
    base: HwFacts,
    axes: [Vec<u32>; AXES],
}

impl Space {
    /// The machines of a board, with at most so many rows in a batch.
    pub fn new(board: &Board, most_rows: u32) -> Space {
        let bytes = |low: u32, high: u32| (low..=high).map(|log| 1 << log).collect::<Vec<u32>>();
        let lanes = vec![4, 8, 16, 32];
        let batch = [1, 2, 4].into_iter().filter(|&rows| rows <= most_rows.max(1)).collect();
        let queues = vec![0, 16, 32, 64, 128, 256, 512];
        let base = HwFacts { name: None, ..board.config.facts().clone() };
        let axes = [
            batch,
            lanes.clone(),
            lanes,
            bytes(10, 15),
            bytes(10, 17),
            bytes(11, 18),
            bytes(11, 18),
            vec![64, 128, 256, 512],
            queues,
            bytes(0, 7),
            vec![1, 4],
        ];
        Space { base, axes }
    }

    /// How many combinations there are, legal or not.
    pub fn combinations(&self) -> u64 {
        self.axes.iter().map(|axis| axis.len() as u64).product()
    }

    /// A machine that fits; `None` where draws find none.
    pub fn draw(&self, random: &mut Random, fits: &dyn Fn(&HwConfig) -> bool) -> Option<HwConfig> {
        let draw = |random: &mut Random| {
            let mut place: Place = [0; AXES];
            place.iter_mut().zip(&self.axes).for_each(|(at, axis)| *at = random.below(axis.len()));
            // Machines without queues are of one kind, and no seventh part of all kinds.
            if self.axes[QUEUE][place[QUEUE]] == 0 && !random.one_in(4) {
                place[QUEUE] += 1;
            }
            place
        };
        (0..TRIES).find_map(|_| self.machine(&draw(random)).filter(fits))
    }

    /// A machine between two others, changed a little; `None` where tries find none that fits and differs from both.
    pub fn cross(
        &self,
        one: &HwConfig,
        other: &HwConfig,
        random: &mut Random,
        fits: &dyn Fn(&HwConfig) -> bool,
    ) -> Option<HwConfig> {
        let (a, b) = (self.place(one), self.place(other));
        let attempt = |random: &mut Random| {
            let mut place = a;
            for at in 0..AXES {
                if random.one_in(2) {
                    place[at] = b[at];
                }
            }
            // One step on average, and more now and then.
            for (at, axis) in place.iter_mut().zip(&self.axes) {
                if random.one_in(AXES) || random.one_in(AXES) {
                    *at = if random.one_in(2) { (*at + 1).min(axis.len() - 1) } else { at.saturating_sub(1) };
                }
            }
            place
        };
        let new = |machine: &HwConfig| machine != one && machine != other && fits(machine);
        (0..TRIES / 10).find_map(|_| self.machine(&attempt(random)).filter(new))
    }

    /// How far two machines are from each other: steps along all axes, each as a part of its axis.
    pub fn distance(&self, one: &HwConfig, other: &HwConfig) -> f64 {
        let steps = self.place(one).into_iter().zip(self.place(other)).zip(&self.axes);
        steps.map(|((a, b), axis)| a.abs_diff(b) as f64 / (axis.len() - 1).max(1) as f64).sum()
    }

    /// The machine at a place, where it is legal.
    fn machine(&self, place: &Place) -> Option<HwConfig> {
        let value = |axis: usize| self.axes[axis][place[axis]];
        let (batch, block_in, block_out) = (value(BATCH), value(1), value(2));
        let facts = HwFacts {
            batch,
            block_in,
            block_out,
            uop_buffer_bytes: value(3),
            inp_buffer_bytes: value(4),
            wgt_buffer_bytes: value(5),
            acc_buffer_bytes: value(6),
            bus_bits: value(7),
            insn_queue_depth: value(QUEUE),
            alu_lanes: Some(value(9).min(batch * block_out)),
            lane_taps: if block_in == block_out { value(10) } else { 1 },
            ..self.base.clone()
        };
        let facts = match facts.insn_queue_depth {
            // What such a machine cannot be, it is not.
            0 => HwFacts {
                batch: 1,
                block_in: block_out,
                bus_bits: 64,
                alu_lanes: Some(1),
                lane_taps: 1,
                packed_weights: false,
                float_requant: false,
                ..facts
            },
            _ => facts,
        };
        HwConfig::new(facts).ok()
    }

    /// Where a machine lies, or what lies nearest to it.
    fn place(&self, machine: &HwConfig) -> Place {
        let facts = machine.facts();
        let values = [
            facts.batch,
            facts.block_in,
            facts.block_out,
            facts.uop_buffer_bytes,
            facts.inp_buffer_bytes,
            facts.wgt_buffer_bytes,
            facts.acc_buffer_bytes,
            facts.bus_bits,
            facts.insn_queue_depth,
            machine.alu_lanes() as u32,
            facts.lane_taps,
        ];
        let mut place: Place = [0; AXES];
        for ((at, axis), value) in place.iter_mut().zip(&self.axes).zip(values) {
            let nearest = (0..axis.len()).min_by_key(|&i| axis[i].abs_diff(value));
            *at = nearest.unwrap_or(0);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        Space::new(&crate::find("ulx3s-85f").unwrap(), 4)
    }

    #[test]
    fn every_machine_that_is_drawn_is_legal_and_keeps_what_the_board_fixes() {
        let (space, mut random) = (space(), Random::new(1));
        let mut queueless = 0;
        for _ in 0..300 {
            let machine = space.draw(&mut random, &|_| true).unwrap();
            assert_eq!((machine.dram_bits(), machine.name()), (25, None));
            assert_eq!(space.machine(&space.place(&machine)).as_ref(), Some(&machine));
            queueless += usize::from(machine.insn_queue_depth().is_none());
        }
        assert!((1..60).contains(&queueless), "{queueless} machines without queues");
    }

    #[test]
    fn a_child_is_new_and_lies_near_its_parents() {
        let (space, mut random) = (space(), Random::new(2));
        let one = space.draw(&mut random, &|_| true).unwrap();
        let other = space.draw(&mut random, &|_| true).unwrap();
        let apart = space.distance(&one, &other);
        assert!(apart > 0.0 && space.distance(&one, &one) == 0.0);
        let children: Vec<HwConfig> =
            (0..40).filter_map(|_| space.cross(&one, &other, &mut random, &|_| true)).collect();
        assert!(children.len() > 30 && children.iter().all(|child| *child != one && *child != other));
        let near = children.iter().map(|child| space.distance(child, &one)).sum::<f64>() / children.len() as f64;
        assert!(near < apart, "{near} from one parent, which are {apart} apart");
    }

    #[test]
    fn rows_of_a_batch_are_limited_and_an_impossible_wish_ends() {
        let space = Space::new(&crate::find("icebreaker").unwrap(), 1);
        let mut random = Random::new(3);
        assert!((0..50).all(|_| space.draw(&mut random, &|_| true).unwrap().batch() == 1));
        assert_eq!(space.draw(&mut random, &|_| false), None);
        assert_eq!(space.combinations(), 4 * 4 * 6 * 8 * 8 * 8 * 4 * 7 * 8 * 2);
    }
}
