//! Why nodes cannot be placed.

/// Why there is no placement, or none for such a question.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlaceError {
    /// Invalid: a description or a request that breaks a rule; names the thing and the rule.
    #[error("{place}: {problem}")]
    Invalid {
        /// Device, link, value, node or field.
        place: String,
        /// The broken rule, as a phrase with its remedy.
        problem: String,
    },
    /// Unsupported: more devices or nodes than the search is made for.
    #[error("{count} {what} are more than the {limit} that can be placed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Unsupported: no device that may be used runs the node.
    #[error("no device can run node '{node}': {reasons}")]
    Nowhere {
        /// Name of the node.
        node: String,
        /// Each device with its reason.
        reasons: String,
    },
    /// Unsupported: the device of an assignment does not run the node.
    #[error("device '{device}' cannot run node '{node}': {reason}")]
    Refused {
        /// Name of the node.
        node: String,
        /// Name of the device.
        device: String,
        /// Why.
        reason: String,
    },
    /// Unsupported: a value is needed where no link brings it.
    #[error("value '{value}' is made on '{from}' and needed on '{to}', and there is no link between them")]
    NoLink {
        /// Name of the value.
        value: String,
        /// Device that has it.
        from: String,
        /// Device that needs it.
        to: String,
    },
    /// Unsupported: links that are missing leave no assignment.
    #[error(
        "the links between the devices leave no placement: wherever nodes go, a value is needed that no link brings"
    )]
    Unlinked,
    /// Exhausted: the device's memory is too small for an assignment.
    #[error("device '{device}' needs {needed} bytes and has {limit}")]
    Memory {
        /// Name of the device.
        device: String,
        /// Bytes that the assignment needs there.
        needed: u64,
        /// Bytes that there are, or that the request allows.
        limit: u64,
    },
    /// Exhausted: no assignment fits the memories.
    #[error(
        "the memory bounds leave no placement: without them the best one needs {needed} bytes on '{device}', which has {limit}"
    )]
    NoRoom {
        /// Name of the device that overflows most.
        device: String,
        /// Bytes that the best placement needs there when memory does not count.
        needed: u64,
        /// Bytes that there are, or that the request allows.
        limit: u64,
    },
    /// Unsupported: the latency bound of the request is not met by an assignment, or by any.
    #[error("the latency bound of {} is not met: the {which} takes {}", told(*bound, *seconds), told(*seconds, *bound))]
    TooSlow {
        /// The bound, in seconds.
        bound: f64,
        /// Which placement is meant.
        which: &'static str,
        /// Its latency, in seconds.
        seconds: f64,
    },
    /// Exhausted: the search ended without a placement and without a proof that there is none.
    #[error("no placement was found among {labels} partial ones, which does not prove that there is none; allow more")]
    NotFound {
        /// Partial assignments looked at.
        labels: usize,
    },
}

impl PlaceError {
    pub(super) fn invalid(place: impl Into<String>, problem: impl Into<String>) -> Self {
        PlaceError::Invalid { place: place.into(), problem: problem.into() }
    }
}

/// Most significant digits of a time in a message.
const DIGITS: usize = 9;

/// A time in a unit that suits it, with four significant digits, or as many as tell it from another one.
fn told(seconds: f64, other: f64) -> String {
    let texts = |digits| (in_unit(seconds, digits), in_unit(other, digits));
    let (text, _) = (4..DIGITS).map(texts).find(|(a, b)| a != b).unwrap_or_else(|| texts(DIGITS));
    text
}

fn in_unit(seconds: f64, digits: usize) -> String {
    // Rounded first, so that 999.96 us is 1 ms.
    let rounded = format!("{seconds:.*e}", digits - 1).parse().unwrap_or(seconds);
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "us")];
    let (scale, unit) = units.into_iter().find(|(scale, _)| rounded >= *scale).unwrap_or((1e-9, "ns"));
    // Seconds can be too many for the digits after the point to be any.
    let whole = if rounded >= scale { (rounded / scale).log10().floor() as usize + 1 } else { 1 };
    let text = format!("{:.*}", digits.saturating_sub(whole), rounded / scale);
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bound: f64, seconds: f64) -> String {
        PlaceError::TooSlow { bound, which: "placement", seconds }.to_string()
    }

    #[test]
    fn times_have_a_unit_that_suits_them_and_the_digits_that_tell_them_apart() {
        for (bound, seconds, text) in [
            (0.02, 0.025, "20 ms is not met: the placement takes 25 ms"),
            (1e-6, 0.000_123_456_789, "1 us is not met: the placement takes 123.5 us"),
            (0.1 + 0.2, 1234.5678, "300 ms is not met: the placement takes 1235 s"),
            (0.001_999_9, 0.002, "1.9999 ms is not met: the placement takes 2 ms"),
            (0.0, 0.999_99e-3, "0 ns is not met: the placement takes 1 ms"),
            (1e-3, 1e-3 + 1e-15, "1 ms is not met: the placement takes 1 ms"),
            (3e-12, 123_456_789.0, "0.003 ns is not met: the placement takes 123500000 s"),
        ] {
            assert_eq!(said(bound, seconds), format!("the latency bound of {text}"));
        }
    }
}
