//! Groups of asynchronous copies: each lane commits those that it has started since its last commit.

use crate::alu::WARP;
use crate::fault::Trouble;

use super::warp::lanes;

/// The copies of a warp that are not done, with lane and group.
#[derive(Clone, Debug)]
pub(crate) struct Groups<T> {
    started: Vec<(usize, u32, T)>,
    /// Groups that each lane has committed: the number of the one that is open.
    committed: [u32; WARP],
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { started: Vec::new(), committed: [0; WARP] }
    }
}

impl<T> Groups<T> {
    pub fn start(&mut self, lane: usize, copy: T) {
        self.started.push((lane, self.committed[lane], copy));
    }

    /// Ends the open group of each lane of `exec`.
    pub fn commit(&mut self, exec: u32) {
        lanes(exec).for_each(|l| self.committed[l] += 1);
    }

    /// Whether `lane`, by waiting for all but its last `pending` groups, waits for `group`.
    pub fn due(&self, lane: usize, group: u32, pending: u32) -> bool {
        group.saturating_add(pending) < self.committed[lane]
    }

    /// Calls `finish` with each copy that the lanes of `exec` wait for, and keeps those for which it returns false.
    pub fn wait(
        &mut self,
        pending: u32,
        exec: u32,
        mut finish: impl FnMut(usize, &mut T) -> Result<bool, Trouble>,
    ) -> Result<(), Trouble> {
        for (lane, group, mut copy) in std::mem::take(&mut self.started) {
            let waited = exec >> lane & 1 == 1 && self.due(lane, group, pending);
            if !(waited && finish(lane, &mut copy).map_err(|t| t.at(lane))?) {
                self.started.push((lane, group, copy));
            }
        }
        Ok(())
    }

    /// Takes the copies of a lane, with their groups.
    pub fn take_lane(&mut self, lane: usize) -> Vec<(u32, T)> {
        let (taken, left) = std::mem::take(&mut self.started).into_iter().partition(|(l, ..)| *l == lane);
        self.started = left;
        let taken: Vec<(usize, u32, T)> = taken;
        taken.into_iter().map(|(_, group, copy)| (group, copy)).collect()
    }

    /// Takes all copies.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.started).into_iter().map(|(.., copy)| copy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_the_groups_of_its_lanes_but_the_last_ones() {
        let mut groups = Groups::default();
        for group in 0..3 {
            (0..2).for_each(|lane| groups.start(lane, 10 * lane + group));
            groups.commit(0b11);
        }
        let mut done = Vec::new();
        groups
            .wait(1, 0b10, |_, copy| {
                done.push(*copy);
                Ok(*copy != 11)
            })
            .unwrap();
        assert_eq!(done, [10, 11]);
        assert_eq!(groups.take_lane(1), [(1, 11), (2, 12)]);
        assert_eq!(groups.take(), [0, 1, 2]);
    }
}
