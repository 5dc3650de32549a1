//! The typed graph over operators, its verifier, text form and reference interpreter.
