//! Backends, the executor and the profile: the one place where devices differ.
