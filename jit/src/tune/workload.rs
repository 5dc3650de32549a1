//! What a schedule is chosen for: the geometry of a layer, and the machine that it runs on.

use super::Space;
use crate::layout::{Dims, Geometry, SUM_BYTES};
use crate::lower::{Layer, Slide};
use crate::tile::{self, Demand, Params, Tile};
use crate::window;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tandem_graph::Graph;
use tandem_isa::HwConfig;

/// Elements that an activation has at most, and the largest extent of a window.
const ELEMENTS: usize = 1 << 28;
const WINDOW: usize = 1 << 14;

/// Behind the geometry of a layer whose weights have 4 bits in memory.
const PACKED: &str = " weights=4";

/// The geometry of a window layer: layers of equal geometry have the same schedules, whatever their weights are.
///
/// Its text form has a word for what is computed and then one for each fact, such as
/// `gemm in=1x14x14x32 out=1x14x14x64 kernel=3x3 stride=1x1 dilation=1x1 pad=1x1 passes=1 params=vector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Workload(pub(crate) Demand);

/// A layer on a machine, and every schedule that it has there.
pub struct Task {
    workload: Workload,
    config: HwConfig,
    space: Space,
}

impl Workload {
    /// The geometry of each node of a graph as the compiler schedules it there: `None` for a node that is no window layer, or the
    /// reason why the node does not run on the accelerator.
    pub fn of(graph: &Graph, config: &HwConfig) -> Vec<Result<Option<Workload>, String>> {
        let geometry = |layer: Layer| match layer {
            Layer::Window(layer) => Some(Workload(window::demand(config, &layer))),
            Layer::Alias | Layer::Eltwise(_) => None,
        };
        crate::layers(graph, config).0.into_iter().map(|layer| layer.map(geometry)).collect()
    }

    /// Whether a tile cuts the layer into parts that a machine holds.
    pub fn takes(&self, config: &HwConfig, tile: &Tile) -> bool {
        tile::fits(config, &self.0, tile)
    }

    /// Every tile that cuts the layer so, with extents that make nearly equal parts.
    pub fn tiles(&self, config: &HwConfig) -> Vec<Tile> {
        tile::space(config, &self.0)
    }

    /// The tile that the compiler chooses itself.
    pub fn default_tile(&self, config: &HwConfig) -> Tile {
        tile::choose(config, &self.0, tile::contexts(config))
    }

    /// A rough count of the cycles of a schedule, by the formula that the compiler chooses with.
    pub fn estimate(&self, config: &HwConfig, tile: &Tile) -> u64 {
        tile::estimate(config, &Geometry::new(config), &self.0, tile)
    }
}

impl Task {
    /// The schedules of the first node of a graph, which is alone there, on a machine; `None` for a node that is no window layer.
    ///
    /// # Errors
    /// The reason why the node does not run on the accelerator.
    pub fn new(graph: &Graph, config: &HwConfig) -> Result<Option<Task>, String> {
        let workload = Workload::of(graph, config).into_iter().next().ok_or("there is no node")??;
        Ok(workload.map(|workload| {
            let space = Space::new(workload.tiles(config));
            Task { workload, config: config.clone(), space }
        }))
    }

    /// The geometry of the layer.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The machine.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }

    /// The schedules.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// A rough count of the cycles of a schedule.
    pub fn estimate(&self, tile: &Tile) -> u64 {
        self.workload.estimate(&self.config, tile)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workload(Demand { input, output, slide, passes, lanes, uniform, packed, params }) = self;
        let kind = match (lanes, passes) {
            (false, _) => "gemm",
            (true, 0) => "max",
            (true, _) if *uniform => "sum",
            (true, _) => "lane",
        };
        let dims = |d: &Dims| format!("{}x{}x{}x{}", d.n, d.h, d.w, d.c);
        let pair = |[a, b]: [usize; 2]| format!("{a}x{b}");
        let params = match params {
            Params::None => "none".to_owned(),
            Params::Shared => "shared".to_owned(),
            Params::PerVector => "vector".to_owned(),
            Params::Sums { bytes } => format!("sums{bytes}"),
        };
        write!(
            f,
            "{kind} in={} out={} kernel={} stride={} dilation={} pad={} passes={passes} params={params}",
            dims(input),
            dims(output),
            pair(slide.kernel),
            pair(slide.stride),
            pair(slide.dilation),
            pair(slide.pad),
        )?;
        if *packed { f.write_str(PACKED) } else { Ok(()) }
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Workload, String> {
        let (packed, all) = match text.strip_suffix(PACKED) {
            Some(others) => (true, others),
            None => (false, text),
        };
        let mut words = all.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut field = |name: &str| {
            let word = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.map(str::to_owned).ok_or_else(|| format!("'{text}' is no geometry of a layer: {name}=.. is missing"))
        };
        let wrong = |word: &str| format!("'{text}' is no geometry of a layer: '{word}' is out of range");
        let list = |word: String, count: usize, least: usize, most: usize| {
            let numbers: Option<Vec<usize>> =
                word.split('x').map(|n| n.parse().ok().filter(|n| (least..=most).contains(n))).collect();
            numbers.filter(|numbers| numbers.len() == count).ok_or_else(|| wrong(&word))
        };
        let dims = |word: String| -> Result<Dims, String> {
            let d = list(word.clone(), 4, 1, ELEMENTS)?;
            let elements = d.iter().fold(1usize, |n, &extent| n.saturating_mul(extent));
            if elements > ELEMENTS {
                return Err(wrong(&word));
            }
            Ok(Dims { n: d[0], h: d[1], w: d[2], c: d[3] })
        };
        let pair = |word: String, least: usize| list(word, 2, least, WINDOW).map(|v| [v[0], v[1]]);
        let (input, output) = (dims(field("in")?)?, dims(field("out")?)?);
        let slide = Slide {
            kernel: pair(field("kernel")?, 1)?,
            stride: pair(field("stride")?, 1)?,
            dilation: pair(field("dilation")?, 1)?,
            pad: pair(field("pad")?, 0)?,
        };
        let passes = list(field("passes")?, 1, 0, WINDOW)?[0];
        let word = field("params")?;
        let params = match word.as_str() {
            "none" => Params::None,
            "shared" => Params::Shared,
            "vector" => Params::PerVector,
            sums => {
                let bytes = sums.strip_prefix("sums").and_then(|bytes| bytes.parse().ok());
                let bytes = bytes.filter(|bytes| (1..=SUM_BYTES).contains(bytes)).ok_or_else(|| wrong(&word))?;
                Params::Sums { bytes }
            }
        };
        let lanes = match (kind, passes) {
            ("gemm", 1..) => false,
            ("lane", 1..) | ("max", 0) | ("sum", 1) if !packed => true,
            _ => return Err(wrong(kind)),
        };
        if words.next().is_some() {
            return Err(format!("'{text}' is no geometry of a layer: something follows it"));
        }
        Ok(Workload(Demand { input, output, slide, passes, lanes, uniform: kind == "sum", packed, params }))
    }
}

impl TryFrom<String> for Workload {
    type Error = String;

    fn try_from(text: String) -> Result<Workload, String> {
        text.parse()
    }
}

impl From<Workload> for String {
    fn from(workload: Workload) -> String {
        workload.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_graph::workload::RESNET18;

    #[test]
    fn a_geometry_comes_back_from_its_text() {
        let config = HwConfig::preset("vta").unwrap();
        for layer in RESNET18 {
            let graph = layer.graph(1);
            let workload = Workload::of(&graph, &config).remove(0).unwrap().unwrap();
            assert_eq!(workload.to_string().parse(), Ok(workload));
            assert!(workload.takes(&config, &workload.default_tile(&config)));
        }
        let pool = "sum in=1x8x8x64 out=1x1x1x64 kernel=8x8 stride=8x8 dilation=1x1 pad=0x0 passes=1 params=shared";
        assert_eq!(pool.parse::<Workload>().unwrap().to_string(), pool);
        let whole = pool.replace("sum ", "gemm ").replace("shared", "sums3");
        assert_eq!(whole.parse::<Workload>().unwrap().to_string(), whole);
        let packed = format!("{whole} weights=4");
        assert_eq!(packed.parse::<Workload>().unwrap().to_string(), packed);
        assert!(
            packed.parse::<Workload>() != whole.parse() && format!("{pool} weights=4").parse::<Workload>().is_err()
        );
        let layer = RESNET18[0].graph(2);
        let text = Workload::of(&layer, &config).remove(0).unwrap().unwrap().to_string();
        assert_eq!(
            text,
            "gemm in=1x56x56x64 out=1x56x56x64 kernel=3x3 stride=1x1 dilation=1x1 pad=1x1 passes=1 params=vector"
        );
    }

    #[test]
    fn text_that_is_no_geometry_is_refused() {
        let good = "max in=1x8x8x16 out=1x4x4x16 kernel=2x2 stride=2x2 dilation=1x1 pad=0x0 passes=0 params=none";
        assert!(good.parse::<Workload>().is_ok());
        for (from, to) in [
            ("max", "min"),
            ("max", "gemm"),
            ("max", "sum"),
            ("in=1x8", "in=0x8"),
            ("in=1x8x8x16", "in=1x8x8"),
            ("1x8x8x16", "99999x99999x8x16"),
            ("2x2", "2x99999999"),
            ("params=none", "params=some"),
            ("params=none", "params=sums5"),
            (" pad=0x0", ""),
            ("none", "none more"),
            ("stride=2x2", "stride=0x2"),
        ] {
            assert!(good.replacen(from, to, 1).parse::<Workload>().is_err(), "{from} as {to}");
        }
    }
}
