//! CUDA kernels with typed launchers.
