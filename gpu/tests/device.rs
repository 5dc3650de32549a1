//! Devices that are not there.

mod place;

use std::path::Path;
use std::sync::Arc;
use tandem_gpu::{Compiler, Device, GpuError};

#[test]
fn a_machine_without_a_driver_has_no_device_and_says_so() {
    let Some(libraries) = place::nvrtc() else { return };
    let compiler = Arc::new(Compiler::open(&libraries, None).unwrap());
    // Where there is a driver, the same has to hold of a device that it does not have.
    let error = Device::cuda(1 << 20, Arc::clone(&compiler)).unwrap_err();
    assert!(
        matches!(&error, GpuError::Unavailable(text) if text.contains("no NVIDIA driver") || text.contains("device"))
    );
    let error = Device::cuda_of(Path::new("absent/libcuda.so.1"), 0, compiler).unwrap_err();
    assert!(matches!(&error, GpuError::Unavailable(text) if text.contains("absent/libcuda.so.1")), "{error}");
}
