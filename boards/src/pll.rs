//! Settings of the PLLs that make the accelerator's clock, within the limits of the data sheets.
//!
//! # Source
//! Lattice FPGA-DS-02012 (ECP5), FPGA-DS-02008 and FPGA-TN-02052 (iCE40 UltraPlus), Gowin DS226 (GW2AR, speed C8/I7).

use crate::BoardError;
use crate::board::Flow;

/// A clock may be this part of itself off what the manifest asks for.
const TOLERANCE: f64 = 0.005;

const MHZ: u64 = 1_000_000;

/// A setting of a PLL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pll {
    /// Lattice ECP5, EHXPLLL: `CLKOP` is the feedback, `CLKOS` the clock.
    Ecp5(Ecp5Pll),
    /// Lattice iCE40, SB_PLL40 with simple feedback.
    Ice40(Ice40Pll),
    /// Gowin, rPLL.
    Gowin(GowinPll),
}

/// EHXPLLL: the VCO runs at `input / clki_div * clkfb_div * clkop_div`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecp5Pll {
    /// Hertz of the input.
    pub input_hz: u64,
    /// Divider of the input, 1 to 128.
    pub clki_div: u64,
    /// Divider of the feedback, 1 to 80.
    pub clkfb_div: u64,
    /// Divider of `CLKOP`, which feeds back, 1 to 128.
    pub clkop_div: u64,
    /// Divider of `CLKOS`, the clock, 1 to 128.
    pub clkos_div: u64,
}

/// SB_PLL40: `input * (divf + 1) / (divr + 1) / 2^divq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ice40Pll {
    /// Hertz of the input.
    pub input_hz: u64,
    /// Divider of the input less one, 0 to 15.
    pub divr: u64,
    /// Divider of the feedback less one, 0 to 127.
    pub divf: u64,
    /// Logarithm of the divider of the output, 1 to 6.
    pub divq: u64,
}

/// rPLL: `input * (fbdiv_sel + 1) / (idiv_sel + 1)`, and the VCO runs `odiv_sel` times as fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GowinPll {
    /// Hertz of the input.
    pub input_hz: u64,
    /// Divider of the input less one, 0 to 63.
    pub idiv_sel: u64,
    /// Divider of the feedback less one, 0 to 63.
    pub fbdiv_sel: u64,
    /// Divider of the VCO.
    pub odiv_sel: u64,
}

impl Pll {
    /// The setting that comes nearest to a clock; of equal ones, that with the fastest phase detector.
    ///
    /// # Errors
    /// [`BoardError::Pll`] where that is more than half a percent off.
    pub fn solve(board: &str, flow: Flow, input_hz: u64, wanted_hz: u64) -> Result<Pll, BoardError> {
        let all: Vec<Pll> = match flow {
            Flow::Ecp5 => ecp5(input_hz, wanted_hz).map(Pll::Ecp5).collect(),
            Flow::Ice40 => ice40(input_hz).map(Pll::Ice40).collect(),
            Flow::Gowin => gowin(input_hz).map(Pll::Gowin).collect(),
            Flow::Vivado => Vec::new(),
        };
        let off = |pll: &Pll| (pll.output() - wanted_hz as f64).abs();
        let best = all.into_iter().min_by(|a, b| off(a).total_cmp(&off(b)).then(b.detector().total_cmp(&a.detector())));
        let fail = |nearest_hz| BoardError::Pll {
            board: board.to_owned(),
            pll: match flow {
                Flow::Ecp5 => "EHXPLLL",
                Flow::Ice40 => "SB_PLL40",
                Flow::Gowin => "rPLL",
                Flow::Vivado => "PLL",
            },
            wanted_hz,
            input_hz,
            nearest_hz,
        };
        let best = best.ok_or_else(|| fail(0))?;
        if off(&best) > TOLERANCE * wanted_hz as f64 { Err(fail(best.output_hz())) } else { Ok(best) }
    }

    /// Hertz of the clock, rounded.
    pub fn output_hz(&self) -> u64 {
        self.output().round() as u64
    }

    /// Hertz of the voltage-controlled oscillator, rounded.
    pub fn vco_hz(&self) -> u64 {
        let hz = match self {
            Pll::Ecp5(p) => self.output() * p.clkos_div as f64,
            Pll::Ice40(p) => self.output() * (1 << p.divq) as f64,
            Pll::Gowin(p) => self.output() * p.odiv_sel as f64,
        };
        hz.round() as u64
    }

    /// The primitive's parameters as Verilog writes them, without those that do not depend on the setting.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        match self {
            Pll::Ecp5(p) => vec![
                ("CLKI_DIV", p.clki_div.to_string()),
                ("CLKFB_DIV", p.clkfb_div.to_string()),
                ("CLKOP_DIV", p.clkop_div.to_string()),
                ("CLKOP_CPHASE", (p.clkop_div - 1).to_string()),
                ("CLKOS_DIV", p.clkos_div.to_string()),
                ("CLKOS_CPHASE", (p.clkos_div - 1).to_string()),
            ],
            Pll::Ice40(p) => vec![
                ("DIVR", format!("4'd{}", p.divr)),
                ("DIVF", format!("7'd{}", p.divf)),
                ("DIVQ", format!("3'd{}", p.divq)),
                ("FILTER_RANGE", format!("3'd{}", p.filter_range())),
            ],
            Pll::Gowin(p) => vec![
                ("FCLKIN", format!("\"{}\"", p.input_hz as f64 / MHZ as f64)),
                ("IDIV_SEL", p.idiv_sel.to_string()),
                ("FBDIV_SEL", p.fbdiv_sel.to_string()),
                ("ODIV_SEL", p.odiv_sel.to_string()),
            ],
        }
    }

    /// Parameters of a second clock of the same frequency whose edges are later by this part of a circle: `CLKOS2` of an ECP5,
    /// `CLKOUTP` of a Gowin. An iCE40 has none.
    pub fn late_parameters(&self, degrees: u32) -> Vec<(&'static str, String)> {
        match self {
            Pll::Ecp5(p) => {
                // In eighths of a cycle of the VCO, after the phase of the clock itself.
                let eighths = (p.clkos_div - 1) * 8 + p.clkos_div * 8 * u64::from(degrees) / 360;
                vec![
                    ("CLKOS2_DIV", p.clkos_div.to_string()),
                    ("CLKOS2_CPHASE", (eighths / 8).to_string()),
                    ("CLKOS2_FPHASE", (eighths % 8).to_string()),
                ]
            }
            Pll::Ice40(_) => Vec::new(),
            // In sixteenths of a cycle; the duty cycle's end is half a cycle later.
            Pll::Gowin(_) => {
                let sixteenths = degrees * 16 / 360 % 16;
                vec![
                    ("PSDA_SEL", format!("\"{sixteenths:04b}\"")),
                    ("DUTYDA_SEL", format!("\"{:04b}\"", (sixteenths + 8) % 16)),
                ]
            }
        }
    }

    fn output(&self) -> f64 {
        let (input, up, down) = match self {
            Pll::Ecp5(p) => (p.input_hz, p.clkfb_div * p.clkop_div, p.clki_div * p.clkos_div),
            Pll::Ice40(p) => (p.input_hz, p.divf + 1, (p.divr + 1) << p.divq),
            Pll::Gowin(p) => (p.input_hz, p.fbdiv_sel + 1, p.idiv_sel + 1),
        };
        input as f64 * up as f64 / down as f64
    }

    /// Hertz of the phase detector.
    fn detector(&self) -> f64 {
        match self {
            Pll::Ecp5(p) => p.input_hz as f64 / p.clki_div as f64,
            Pll::Ice40(p) => p.input_hz as f64 / (p.divr + 1) as f64,
            Pll::Gowin(p) => p.input_hz as f64 / (p.idiv_sel + 1) as f64,
        }
    }
}

impl Ice40Pll {
    /// The loop filter for the phase detector's frequency.
    pub fn filter_range(&self) -> u64 {
        let detector = self.input_hz / (self.divr + 1);
        let borders = [17, 26, 44, 66, 101].map(|mhz| mhz * MHZ);
        1 + borders.iter().filter(|&&border| detector >= border).count() as u64
    }
}

/// Every legal setting whose clock is near.
fn ecp5(input_hz: u64, wanted_hz: u64) -> impl Iterator<Item = Ecp5Pll> {
    let dividers = (1..=128).filter(move |clki_div| (10 * MHZ..=400 * MHZ).contains(&(input_hz / clki_div)));
    let inputs = dividers.filter(move |_| (8 * MHZ..=400 * MHZ).contains(&input_hz));
    let outputs = move |clki_div: u64| (1..=128).map(move |clkos_div| (clki_div, clkos_div));
    inputs.flat_map(outputs).flat_map(move |(clki_div, clkos_div)| {
        let detector = input_hz / clki_div;
        // The VCO runs at a whole multiple of the phase detector, the one that is nearest.
        let multiple = (wanted_hz * clkos_div + detector / 2) / detector;
        let vco = detector * multiple;
        let legal = (400 * MHZ..=800 * MHZ).contains(&vco);
        // The output that feeds back must not be faster than an output may.
        let feedback =
            (2..=80).filter(move |clkop_div| multiple.is_multiple_of(*clkop_div) && vco / clkop_div <= 400 * MHZ);
        let feedback = feedback.filter(move |clkop_div| legal && (1..=80).contains(&(multiple / clkop_div)));
        feedback.map(move |clkop_div| Ecp5Pll {
            input_hz,
            clki_div,
            clkfb_div: multiple / clkop_div,
            clkop_div,
            clkos_div,
        })
    })
}

/// Every legal setting.
fn ice40(input_hz: u64) -> impl Iterator<Item = Ice40Pll> {
    let all = (0..16).flat_map(|divr| (0..128).flat_map(move |divf| (1..=6).map(move |divq| (divr, divf, divq))));
    all.map(move |(divr, divf, divq)| Ice40Pll { input_hz, divr, divf, divq }).filter(move |p| {
        let detector = input_hz / (p.divr + 1);
        let vco = detector * (p.divf + 1);
        (10 * MHZ..=133 * MHZ).contains(&detector)
            && (533 * MHZ..=1066 * MHZ).contains(&vco)
            && (16 * MHZ..=275 * MHZ).contains(&(vco >> p.divq))
    })
}

/// Every legal setting.
fn gowin(input_hz: u64) -> impl Iterator<Item = GowinPll> {
    const ODIV: [u64; 11] = [2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128];
    let all = (0..64).flat_map(|idiv| (0..64).flat_map(move |fbdiv| ODIV.map(|odiv| (idiv, fbdiv, odiv))));
    let all = all.map(move |(idiv_sel, fbdiv_sel, odiv_sel)| GowinPll { input_hz, idiv_sel, fbdiv_sel, odiv_sel });
    all.filter(move |p| {
        let detector = input_hz / (p.idiv_sel + 1);
        let output = detector * (p.fbdiv_sel + 1);
        (3 * MHZ..=500 * MHZ).contains(&detector)
            && (3_906_250..=625 * MHZ).contains(&output)
            && (500 * MHZ..=1250 * MHZ).contains(&(output * p.odiv_sel))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solve(flow: Flow, input_hz: u64, wanted_hz: u64) -> Result<Pll, BoardError> {
        Pll::solve("some-board", flow, input_hz, wanted_hz)
    }

    #[test]
    fn the_clocks_of_the_boards_are_made_exactly_or_nearly() {
        let exact = |flow, input, wanted| assert_eq!(solve(flow, input, wanted).unwrap().output_hz(), wanted);
        for wanted in [50, 60, 75, 100] {
            exact(Flow::Ecp5, 25 * MHZ, wanted * MHZ);
            exact(Flow::Ecp5, 48 * MHZ, wanted * MHZ);
        }
        exact(Flow::Ice40, 12 * MHZ, 24 * MHZ);
        exact(Flow::Gowin, 27 * MHZ, 108 * MHZ);
        // 100 MHz is out of reach from 27 MHz with a phase detector of at least 3 MHz.
        assert_eq!(solve(Flow::Gowin, 27 * MHZ, 100 * MHZ).unwrap().output_hz(), 100_285_714);
    }

    #[test]
    fn a_clock_out_of_reach_is_refused_with_the_nearest() {
        let error = solve(Flow::Ice40, 12 * MHZ, 500 * MHZ).unwrap_err().to_string();
        let words =
            "no setting of the SB_PLL40 makes 500000000 Hz from 12000000 Hz; the nearest that it makes is 270000000 Hz";
        assert!(error.contains(words), "{error}");
        assert!(solve(Flow::Ecp5, 5 * MHZ, 60 * MHZ).is_err(), "the input is too slow for an ECP5");
    }

    #[test]
    fn a_late_clock_is_counted_in_parts_of_a_cycle() {
        let late = |flow, input, wanted, degrees| {
            let parameters = solve(flow, input * MHZ, wanted * MHZ).unwrap().late_parameters(degrees);
            parameters.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        // The VCO runs at 600 MHz: a quarter of a cycle of 60 MHz is two and a half cycles of it.
        assert_eq!(late(Flow::Ecp5, 25, 60, 0), ["10", "9", "0"]);
        assert_eq!(late(Flow::Ecp5, 25, 60, 90), ["10", "11", "4"]);
        assert_eq!(late(Flow::Ecp5, 25, 60, 180), ["10", "14", "0"]);
        assert_eq!(late(Flow::Gowin, 27, 100, 180), ["\"1000\"", "\"0000\""]);
        assert_eq!(late(Flow::Gowin, 27, 100, 225), ["\"1010\"", "\"0010\""]);
    }

    #[test]
    fn the_loop_filter_of_an_ice40_follows_the_phase_detector() {
        let of = |input_hz| Ice40Pll { input_hz, divr: 0, divf: 63, divq: 5 }.filter_range();
        assert_eq!([12, 20, 40, 50, 100, 120].map(|mhz| of(mhz * MHZ)), [1, 2, 3, 4, 5, 6]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_setting_is_near_and_within_the_limits(input in 10_000_000u64..100_000_000, wanted in 20_000_000u64..200_000_000) {
            for flow in [Flow::Ecp5, Flow::Ice40, Flow::Gowin] {
                let Ok(pll) = solve(flow, input, wanted) else { continue };
                let off = (pll.output() / wanted as f64 - 1.0).abs();
                prop_assert!(off <= TOLERANCE, "{pll:?}");
                let vco = pll.vco_hz();
                let (low, high) = match flow { Flow::Ecp5 => (400, 800), Flow::Ice40 => (533, 1066), _ => (500, 1250) };
                // Dividers of whole hertz round down.
                prop_assert!(vco + 200 >= low * MHZ && vco <= high * MHZ + 100_000, "{pll:?}: {vco}");
                match pll {
                    Pll::Ecp5(p) => {
                        prop_assert!((1..=128).contains(&p.clki_div) && (1..=80).contains(&p.clkfb_div));
                        prop_assert!((1..=128).contains(&p.clkop_div) && (1..=128).contains(&p.clkos_div));
                        prop_assert!(input / p.clki_div >= 10 * MHZ && vco / p.clkop_div <= 401 * MHZ);
                    }
                    Pll::Ice40(p) => {
                        prop_assert!(p.divr < 16 && p.divf < 128 && (1..=6).contains(&p.divq));
                        prop_assert!(input / (p.divr + 1) >= 10 * MHZ);
                    }
                    Pll::Gowin(p) => {
                        prop_assert!(p.idiv_sel < 64 && p.fbdiv_sel < 64 && input / (p.idiv_sel + 1) >= 3 * MHZ);
                    }
                }
            }
        }
    }

    #[test]
    fn every_fifth_megahertz_up_to_100_is_within_reach_of_an_ecp5() {
        for mhz in (10..=100).step_by(5) {
            assert!(solve(Flow::Ecp5, 25 * MHZ, mhz * MHZ).is_ok(), "{mhz}");
        }
    }
}
