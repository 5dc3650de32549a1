//! Axes, their extents, and extents written in them.

use std::fmt;
use std::ops::Index;

/// A name that shapes are written in, or a choice of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Name, as in `--dims m=64`.
    pub name: &'static str,
    /// Where its extent comes from.
    pub kind: AxisKind,
    /// Extent, or position of the choice, where nothing else is said.
    pub default: usize,
    /// What it counts.
    pub doc: &'static str,
}

impl Axis {
    /// The axes of these lists, one after the other; `N` is how many there are together.
    pub(crate) const fn joined<const N: usize>(lists: &[&[Axis]]) -> [Axis; N] {
        let mut all = [Axis { name: "", kind: AxisKind::Extent, default: 0, doc: "" }; N];
        let (mut list, mut at) = (0, 0);
        while list < lists.len() {
            let mut axis = 0;
            while axis < lists[list].len() {
                all[at] = lists[list][axis];
                (axis, at) = (axis + 1, at + 1);
            }
            list += 1;
        }
        assert!(at == N, "another number of axes");
        all
    }
}

/// Where the extent of an axis comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisKind {
    /// The caller's operands, freely.
    Extent,
    /// The values of a sample: the rows of all requests together, say. Ignored when operands are made.
    Drawn,
    /// No shape shows it: a position in this list, as an activation.
    Choice(&'static [&'static str]),
    /// No shape shows it: a number, as the width of a window.
    Number,
}

/// An extent in a shape.
#[derive(Clone, Copy, Debug)]
pub enum Dim {
    /// That of an axis.
    Axis(&'static str),
    /// An axis and so many more.
    Plus(&'static str, usize),
    /// A number.
    Fixed(usize),
    /// Anything else, with its text.
    Of(&'static str, fn(&Dims) -> usize),
}

impl Dim {
    /// The extent.
    pub fn extent(&self, dims: &Dims) -> usize {
        match *self {
            Dim::Axis(axis) => dims[axis],
            Dim::Plus(axis, more) => dims[axis] + more,
            Dim::Fixed(extent) => extent,
            Dim::Of(_, extent) => extent(dims),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Dim::Axis(axis) => f.write_str(axis),
            Dim::Plus(axis, more) => write!(f, "{axis} + {more}"),
            Dim::Fixed(extent) => write!(f, "{extent}"),
            Dim::Of(text, _) => f.write_str(text),
        }
    }
}

/// Extents and choices by axis.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dims(std::collections::BTreeMap<&'static str, usize>);

impl Dims {
    /// The default of every axis.
    pub fn defaults(axes: &[Axis]) -> Dims {
        Dims(axes.iter().map(|axis| (axis.name, axis.default)).collect())
    }

    /// The extent of an axis, if there is such an axis.
    pub fn find(&self, axis: &str) -> Option<usize> {
        self.0.get(axis).copied()
    }

    /// Sets an extent.
    pub fn set(&mut self, axis: &'static str, extent: usize) {
        self.0.insert(axis, extent);
    }

    /// The same with another extent.
    pub fn with(mut self, axis: &'static str, extent: usize) -> Dims {
        self.set(axis, extent);
        self
    }

    /// Axes and extents in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.0.iter().map(|(&axis, &extent)| (axis, extent))
    }
}

impl Index<&str> for Dims {
    type Output = usize;

    /// The extent of an axis of the definition that these dims belong to.
    fn index(&self, axis: &str) -> &usize {
        self.0.get(axis).unwrap_or_else(|| panic!("the definition has no axis {axis}"))
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.iter().map(|(axis, extent)| format!("{axis}={extent}")).collect();
        f.write_str(&all.join(","))
    }
}
