//! The schedules of a layer as points that differ in knobs.

use crate::tile::Tile;
use std::collections::HashMap;
use tandem_ops::def::Random;

/// Every schedule of a layer. A point is an index; its coordinates are the positions of its knobs among the values that each of
/// them has anywhere.
pub struct Space {
    tiles: Vec<Tile>,
    /// The values of each knob that differs, in ascending order.
    levels: Vec<Vec<usize>>,
    /// The coordinates of the points, one after another.
    coordinates: Vec<u16>,
    index: HashMap<Vec<u16>, usize>,
}

impl Space {
    /// The space of these tiles.
    pub fn new(tiles: Vec<Tile>) -> Space {
        let knobs: Vec<[usize; Tile::KNOBS.len()]> = tiles.iter().map(Tile::knobs).collect();
        let mut columns: Vec<Vec<usize>> = Vec::new();
        for k in 0..Tile::KNOBS.len() {
            let column: Vec<usize> = knobs.iter().map(|knobs| knobs[k]).collect();
            // A knob that is another one in disguise could never change alone.
            let differs = column.iter().any(|value| *value != column[0]);
            if differs && !columns.contains(&column) {
                columns.push(column);
            }
        }
        let levels: Vec<Vec<usize>> = columns
            .iter()
            .map(|column| {
                let mut values = column.clone();
                values.sort_unstable();
                values.dedup();
                values
            })
            .collect();
        let mut coordinates = Vec::with_capacity(tiles.len() * levels.len());
        let mut index = HashMap::with_capacity(tiles.len());
        for point in 0..tiles.len() {
            let at: Vec<u16> = columns
                .iter()
                .zip(&levels)
                .map(|(column, levels)| levels.partition_point(|&value| value < column[point]) as u16)
                .collect();
            coordinates.extend_from_slice(&at);
            index.insert(at, point);
        }
        Space { tiles, levels, coordinates, index }
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
    }

    /// The schedules by point.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// The point of a schedule.
    pub fn find(&self, tile: &Tile) -> Option<usize> {
        self.tiles.iter().position(|other| other == tile)
    }

    /// How many values each knob has that differs anywhere.
    pub fn extents(&self) -> Vec<usize> {
        self.levels.iter().map(Vec::len).collect()
    }

    /// The coordinates of a point.
    pub fn coordinates(&self, point: usize) -> &[u16] {
        let count = self.levels.len();
        &self.coordinates[point * count..(point + 1) * count]
    }

    /// The point of these coordinates.
    pub fn at(&self, coordinates: &[u16]) -> Option<usize> {
        self.index.get(coordinates).copied()
    }

    /// The other points that differ from this one in one knob.
    pub fn neighbours(&self, point: usize) -> Vec<usize> {
        (0..self.levels.len()).flat_map(|knob| self.along(point, knob)).collect()
    }

    /// A point that differs from this one in one knob, all knobs that can change being equally likely; any point where none can.
    pub fn neighbour(&self, point: usize, random: &mut Random) -> usize {
        let mut knobs: Vec<usize> = (0..self.levels.len()).collect();
        while !knobs.is_empty() {
            let knob = knobs.swap_remove(random.within(0, knobs.len()));
            let along = self.along(point, knob);
            if !along.is_empty() {
                return along[random.within(0, along.len())];
            }
        }
        random.within(0, self.len())
    }

    /// A hash of all points in their order, by which stored measurements are known to be of this space.
    pub fn digest(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for knob in self.tiles.iter().flat_map(Tile::knobs) {
            for byte in (knob as u32).to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        hash
    }

    fn along(&self, point: usize, knob: usize) -> Vec<usize> {
        let mut at = self.coordinates(point).to_vec();
        let own = at[knob];
        let others = (0..self.levels[knob].len() as u16).filter(|&level| level != own);
        others
            .filter_map(|level| {
                at[knob] = level;
                self.at(&at)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::sample;

    #[test]
    fn a_point_is_found_by_its_tile_and_by_its_coordinates() {
        let task = sample::task();
        let space = task.space();
        assert!(space.len() > 5000, "{}", space.len());
        for point in [0, 17, space.len() - 1] {
            assert_eq!(space.find(&space.tiles()[point]), Some(point));
            assert_eq!(space.at(space.coordinates(point)), Some(point));
        }
    }

    #[test]
    fn neighbours_differ_in_one_knob_and_reach_everything() {
        let task = sample::task();
        let space = task.space();
        let mut reached = vec![false; space.len()];
        let mut front = vec![0];
        reached[0] = true;
        while let Some(point) = front.pop() {
            for next in space.neighbours(point) {
                let differ = space.coordinates(point).iter().zip(space.coordinates(next)).filter(|(a, b)| a != b);
                assert_eq!(differ.count(), 1);
                if !std::mem::replace(&mut reached[next], true) {
                    front.push(next);
                }
            }
        }
        assert!(reached.iter().all(|&reached| reached));
        let mut random = Random::new(1);
        assert!((0..100).all(|_| space.neighbours(5).contains(&space.neighbour(5, &mut random))));
    }

    #[test]
    fn a_digest_tells_spaces_apart() {
        let tiles = sample::task().space().tiles().to_vec();
        let mut other = tiles.clone();
        other.swap(0, 1);
        assert_eq!(Space::new(tiles.clone()).digest(), Space::new(tiles.clone()).digest());
        assert_ne!(Space::new(tiles).digest(), Space::new(other).digest());
        assert!(Space::new(Vec::new()).is_empty());
    }
}
