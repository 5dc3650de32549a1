//! A GPU under the CUDA driver.

use super::{Details, Facts, Launch, Swizzle, TensorMap};
use crate::error::Result;
use crate::nvrtc::Compiled;
use crate::sys::driver::{Driver, Shape, Tiled};
use cudarc::driver::{CudaFunction, sys as cu};
use std::sync::atomic::{AtomicU32, Ordering};
use tandem_tensor::DType;

/// A loaded module, unloaded at the end.
pub(super) struct Code {
    function: CudaFunction,
    parameters: Vec<(usize, usize)>,
    /// The most dynamic shared memory that was asked for so far.
    shared: AtomicU32,
}

/// Bytes of dynamic shared memory that need no permission.
const FREE_SHARED: u32 = 48 * 1024;

pub(super) fn facts(driver: &Driver) -> Result<Facts> {
    use cu::CUdevice_attribute as attribute;
    let major = driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(Facts {
        name: driver.name()?,
        capability: (major, minor),
        multiprocessors: driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_per_block: driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        l2: driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?,
    })
}

pub(super) fn details(driver: &Driver) -> Result<Details> {
    use cu::CUdevice_attribute as attribute;
    let domain = driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?;
    let bus = driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?;
    let slot = driver.attribute(attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?;
    let version = driver.version();
    // Newer drivers tell no clocks.
    let clock = |which| driver.attribute(which).ok().filter(|&khz| khz > 0);
    Ok(Details {
        driver_cuda: format!("{}.{}", version / 1000, version % 1000 / 10),
        pci: format!("{domain:08X}:{bus:02X}:{slot:02X}.0"),
        memory: driver.memory()?,
        clock_khz: clock(attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
        memory_clock_khz: clock(attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
    })
}

impl Code {
    pub(super) fn load(driver: &Driver, compiled: &Compiled, kernel: &str) -> Result<Code> {
        let parameters = super::parameters::parameters(compiled, kernel)?;
        let function = driver.load(&compiled.cubin, kernel)?;
        Ok(Code { function, parameters, shared: AtomicU32::new(FREE_SHARED) })
    }

    pub(super) fn launch(&self, driver: &Driver, launch: &Launch) -> Result<()> {
        super::parameters::fits(&self.parameters, launch)?;
        if launch.shared > self.shared.load(Ordering::Relaxed) {
            driver.allow_shared(&self.function, launch.shared)?;
            self.shared.fetch_max(launch.shared, Ordering::Relaxed);
        }
        let Launch { grid, block, cluster, shared, .. } = *launch;
        let offsets: Vec<usize> = launch.args.places().iter().map(|&(offset, _)| offset).collect();
        let shape = Shape { grid, block, cluster, shared };
        driver.launch(&self.function, &shape, launch.args.bytes(), &offsets)
    }
}

pub(super) fn tensor_map(driver: &Driver, map: &TensorMap<'_>) -> Result<[u8; 128]> {
    use cu::CUtensorMapDataType as dtype;
    use cu::CUtensorMapSwizzle as swizzle;
    driver.tensor_map(&Tiled {
        dtype: match map.dtype {
            DType::Bool | DType::I8 | DType::U8 => dtype::CU_TENSOR_MAP_DATA_TYPE_UINT8,
            DType::I16 | DType::U16 => dtype::CU_TENSOR_MAP_DATA_TYPE_UINT16,
            DType::I32 => dtype::CU_TENSOR_MAP_DATA_TYPE_INT32,
            DType::U32 => dtype::CU_TENSOR_MAP_DATA_TYPE_UINT32,
            DType::I64 => dtype::CU_TENSOR_MAP_DATA_TYPE_INT64,
            DType::U64 => dtype::CU_TENSOR_MAP_DATA_TYPE_UINT64,
            DType::F16 => dtype::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            DType::BF16 => dtype::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            DType::F32 => dtype::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
            DType::F64 => dtype::CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
        },
        address: map.address,
        extents: map.extents,
        strides: map.strides,
        box_extents: map.box_extents,
        swizzle: match map.swizzle {
            Swizzle::None => swizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
            Swizzle::Bytes32 => swizzle::CU_TENSOR_MAP_SWIZZLE_32B,
            Swizzle::Bytes64 => swizzle::CU_TENSOR_MAP_SWIZZLE_64B,
            Swizzle::Bytes128 => swizzle::CU_TENSOR_MAP_SWIZZLE_128B,
        },
    })
}
