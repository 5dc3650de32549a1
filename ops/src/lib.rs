//! What every kernel computes: definitions, shape rules, references and costs.
