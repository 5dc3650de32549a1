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
    #[error("the latency bound of {bound} s is not met: the {which} takes {seconds} s")]
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
