//! The bus seam, the device on it, its buffers and the register protocol.
