//! What pictures share: text, colours of devices, axes.

use std::fmt::Write;

/// Colours of devices, dark enough for white text.
const COLOURS: [&str; 4] = ["#33658a", "#b5523b", "#3c7a57", "#6b4e8e"];

/// The text as SVG and HTML have it; characters that no picture may hold are left out.
pub fn escaped(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control()).collect::<String>();
    printable.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The colour of a device by its index.
pub fn colour(device: usize) -> &'static str {
    COLOURS[device % COLOURS.len()]
}

/// The beginning of a picture of that width and height, up to the first thing that is drawn. `label` says what is in it to those who
/// do not see it.
pub fn begin(width: f64, height: f64, label: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"{}\">\n",
        escaped(label)
    )
}

/// The beginning of a picture with a title, which is its label too, and below it a line on how what it shows was found.
pub fn titled(width: f64, height: f64, (title, how): (&str, &str)) -> String {
    let mut text = begin(width, height, title);
    let _ = writeln!(
        text,
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"4\" y=\"17\" font-size=\"14\" fill=\"#222\">{}</text>\n\
         <text x=\"4\" y=\"34\" fill=\"#444\">{}</text>",
        escaped(title),
        escaped(how)
    );
    text
}

/// From values to places in a picture, with ticks at round numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

impl Axis {
    /// From `low` to `high`, which lie at `from` and `to`.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Axis {
        let high = if high > low { high } else { low + 1.0 };
        Axis { low, high, from, to, is_log: false }
    }

    /// The decades that hold all of these values, each as wide as the others; numbers that have no logarithm count for nothing.
    pub fn decades(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let logs = values.filter(|value| value.is_finite() && *value > 0.0).map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = if low <= high { (low.floor(), high.ceil()) } else { (0.0, 1.0) };
        let high = if high > low { high } else { low + 1.0 };
        Axis { low, high, from, to, is_log: true }
    }

    /// The place of a value; values beyond the ends lie at the ends.
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + part * (self.to - self.from)
    }

    /// The values at both ends.
    pub fn ends(&self) -> (f64, f64) {
        if self.is_log { (10f64.powf(self.low), 10f64.powf(self.high)) } else { (self.low, self.high) }
    }

    /// Round values on the axis, about `count` of them; every decade where it is of decades.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        if self.is_log {
            let (low, high) = (self.low as i32, self.high as i32);
            return (low..=high).map(|exponent| 10f64.powi(exponent)).collect();
        }
        let rough = (self.high - self.low) / count.max(1) as f64;
        let unit = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|of| of * unit).into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|tick| *tick <= self.high + 1e-9 * step).take(100).collect()
    }
}

/// An axis below a picture, with vertical lines up to `top`, ticks in `unit` and what it shows.
pub fn below(text: &mut String, axis: &Axis, (top, bottom): (f64, f64), unit: &str, title: &str) {
    for tick in axis.ticks(8) {
        let x = axis.at(tick);
        let label = escaped(&quantity(tick, unit));
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444\">{label}</text>",
            bottom + 18.0
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222\">{}</text>",
        (axis.from + axis.to) / 2.0,
        bottom + 36.0,
        escaped(title)
    );
}

/// An axis left of a picture, with horizontal lines to `right`, ticks in `unit` and what it shows above it.
pub fn beside(text: &mut String, axis: &Axis, (left, right): (f64, f64), unit: &str, title: &str) {
    for tick in axis.ticks(5) {
        let y = axis.at(tick);
        let label = escaped(&quantity(tick, unit));
        let _ = writeln!(
            text,
            "<line x1=\"{left:.1}\" y1=\"{y:.1}\" x2=\"{right:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">{label}</text>",
            left - 6.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"4\" y=\"{:.1}\" fill=\"#222\">{}</text>",
        axis.at(axis.ends().1) - 12.0,
        escaped(title)
    );
}

/// A number of a unit with three digits and the prefix that suits it: `1.5 Gop/s`, `270 us`.
pub fn quantity(value: f64, unit: &str) -> String {
    if unit == "%" {
        return format!("{value:.0} %");
    }
    let prefixes = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n")];
    // What rounds up to a thousand has the next prefix; a ratio has none for its parts.
    let size = value.abs() * 1.000_5;
    let least = if unit == "op/B" || value == 0.0 { 1.0 } else { 1e-9 };
    let fits = |(factor, _): &(f64, &str)| size >= *factor || *factor <= least;
    let (factor, prefix) = prefixes.into_iter().find(fits).unwrap_or((1.0, ""));
    let scaled = value / factor;
    let digits = if value == 0.0 { 0 } else { (2 - scaled.abs().log10().floor() as i32).clamp(0, 6) as usize };
    let number = format!("{scaled:.digits$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number} {prefix}{unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_cannot_leave_its_place() {
        assert_eq!(escaped("a<b>&\"c\"\u{0}\n"), "a&lt;b&gt;&amp;&quot;c&quot;");
    }

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        let shown = [1.5e9, 2.7e-4, 999.9e3, 12.0, 0.0, -3e-3, 1e15, 4e-12].map(|x| quantity(x, "s"));
        assert_eq!(shown, ["1.5 Gs", "270 us", "1 Ms", "12 s", "0 s", "-3 ms", "1000 Ts", "0.004 ns"]);
        assert_eq!([0.1, 0.333, 250.0].map(|x| quantity(x, "op/B")), ["0.1 op/B", "0.333 op/B", "250 op/B"]);
        assert_eq!((quantity(1234.0, ""), quantity(50.0, "%")), ("1.23 k".into(), "50 %".into()));
    }

    #[test]
    fn ticks_are_round_and_lie_on_the_axis() {
        let axis = Axis::linear(0.0, 0.0123, 100.0, 200.0);
        let ticks = axis.ticks(5);
        assert!(ticks.len() >= 4 && ticks.iter().all(|&t| (100.0..=200.0).contains(&axis.at(t))), "{ticks:?}");
        assert!((ticks[1] - 0.005).abs() < 1e-12 || (ticks[1] - 0.0025).abs() < 1e-12, "{ticks:?}");
        let axis = Axis::decades([0.3, 40.0, 0.0, f64::NAN].into_iter(), 0.0, 300.0);
        assert_eq!(axis.ticks(9), [0.1, 1.0, 10.0, 100.0]);
        assert!((axis.at(1.0) - 100.0).abs() < 1e-9 && axis.at(0.0) == 0.0 && axis.at(1e9) == 300.0);
        assert!(Axis::decades(std::iter::empty(), 0.0, 1.0).ticks(9).len() == 2);
        assert!(Axis::linear(5.0, 5.0, 0.0, 1.0).ticks(5).len() > 1);
    }
}
