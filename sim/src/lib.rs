//! The functional simulator of the accelerator as a Bus.
