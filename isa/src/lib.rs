//! The two-level VTA instruction set, its configuration, registers, programs and assembly text.
