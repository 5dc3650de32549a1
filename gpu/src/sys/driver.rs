//! The CUDA driver through `cudarc`: one context, one stream, memory, modules, events and graphs; and the calls that its safe
//! interface lacks, which are launches with attributes and tensor maps.

use crate::error::{GpuError, Result};
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaStream, DriverError, result, sys as cu};
use cudarc::nvrtc::Ptx;
use std::ffi::{c_int, c_uint, c_void};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The oldest driver whose functions are known and that takes cubins of NVRTC 13.0.
const OLDEST: c_int = 13000;

/// The version of CUDA that the driver knows, as 13000 for 13.0; none without a driver.
fn version() -> Option<c_int> {
    // SAFETY: it opens the library, whose initialisers have no conditions.
    if !unsafe { cu::is_culib_present() } {
        return None;
    }
    // SAFETY: it opens the same library once more, and looks a function up with the type that NVIDIA documents.
    let symbol =
        unsafe { cu::culib().get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDriverGetVersion\0") }.ok()?;
    let mut version = 0;
    // SAFETY: the pointer is to a variable that lives through the call.
    (unsafe { symbol(&mut version) } == 0).then_some(version)
}

/// Name and number of a status, without asking the driver, which may be lost.
fn name(error: &DriverError) -> String {
    format!("{:?} ({})", error.0, error.0 as u32)
}

/// A device with its primary context.
pub(crate) struct Driver {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// The first status after which a context answers nothing any more; 0 while there was none.
    lost: AtomicU32,
    version: c_int,
}

/// Pinned memory of the host, freed at the end. Nothing here reads or writes it but copies of the stream that it was made for.
pub(crate) struct Pinned {
    address: *mut c_void,
    bytes: usize,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
}

// SAFETY: the address is used by copies of one stream alone, which are ordered.
unsafe impl Send for Pinned {}
// SAFETY: as above; no reference to the bytes is ever handed out.
unsafe impl Sync for Pinned {}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A copy may be under way. Where the context is lost there is none, and freeing fails, which leaves nothing to do.
        let _ = self.context.bind_to_thread();
        let _ = self.stream.synchronize();
        // SAFETY: the address is of `malloc_host`, is freed once, and no copy uses it any more.
        let _ = unsafe { result::free_host(self.address) };
    }
}

/// Extents of a launch.
pub(crate) struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared: u32,
}

/// A tensor in memory as the driver encodes it.
pub(crate) struct Tiled<'a> {
    pub(crate) dtype: cu::CUtensorMapDataType,
    pub(crate) address: u64,
    pub(crate) extents: &'a [u64],
    pub(crate) strides: &'a [u64],
    pub(crate) box_extents: &'a [u32],
    pub(crate) swizzle: cu::CUtensorMapSwizzle,
}

impl Driver {
    /// Opens the driver, of a file or where the system has it, and takes the primary context of a device.
    ///
    /// A process has one driver: the first that was opened.
    pub(crate) fn open(file: Option<&Path>, index: usize) -> Result<Driver> {
        let none =
            |why: String| GpuError::Unavailable(format!("{why}; install the NVIDIA driver, or use the simulator"));
        if let Some(file) = file {
            // `cudarc` looks libraries up by name, and the loader finds one of that name that is open already.
            let opened = super::open_for_all(file);
            opened.map_err(|error| none(format!("no NVIDIA driver at {}: {error}", file.display())))?;
        }
        // `cudarc` panics where a function is missing, so an older driver, or another library of this name, is asked for none.
        let version = match version() {
            None => return Err(none("no NVIDIA driver: the library libcuda is not on this machine".into())),
            Some(version) if version < OLDEST => {
                let (major, minor) = (version / 1000, version % 1000 / 10);
                return Err(none(format!("the NVIDIA driver knows CUDA {major}.{minor}, and 13.0 is needed")));
            }
            Some(version) => version,
        };
        let open = || -> std::result::Result<Driver, DriverError> {
            let context = CudaContext::new(index)?;
            // SAFETY: all work goes to one stream, so that no event has to order two of them.
            unsafe { context.disable_event_tracking() };
            let stream = context.new_stream()?;
            Ok(Driver { context, stream, lost: AtomicU32::new(0), version })
        };
        open().map_err(|error| none(format!("no usable NVIDIA device {index}: the driver says {}", name(&error))))
    }

    /// The device's name.
    pub(crate) fn name(&self) -> Result<String> {
        self.check(self.context.name(), "reading the device's name")
    }

    /// The version of CUDA that it knows, as 13000 for 13.0.
    pub(crate) fn version(&self) -> u32 {
        self.version.unsigned_abs()
    }

    /// Bytes of the device's memory.
    pub(crate) fn memory(&self) -> Result<u64> {
        Ok(self.check(self.context.total_mem(), "reading the size of the device's memory")? as u64)
    }

    /// An attribute of the device.
    pub(crate) fn attribute(&self, attribute: cu::CUdevice_attribute) -> Result<u32> {
        let value = self.check(self.context.attribute(attribute), "reading a device attribute")?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    pub(crate) fn alloc(&self, bytes: usize) -> Result<u64> {
        self.enter()?;
        // SAFETY: nothing is read before it is written; the owner frees it once.
        let address = unsafe { result::malloc_sync(bytes) };
        self.check(address, &format!("allocating {bytes} bytes"))
    }

    pub(crate) fn free(&self, address: u64) {
        if self.enter().is_ok() {
            // SAFETY: the owner gives up an address of `alloc`. A failure leaves nothing to do.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.enter()?;
        // SAFETY: from pageable memory the call returns once the source has been read; the driver checks the target.
        let done = unsafe { result::memcpy_htod_async(address, bytes, self.stream.cu_stream()) };
        self.check(done, &format!("copying {} bytes to the device", bytes.len()))
    }

    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.enter()?;
        let what = format!("copying {} bytes from the device", bytes.len());
        // SAFETY: the target lives through the synchronisation below; the driver checks the source.
        let done = unsafe { result::memcpy_dtoh_async(bytes, address, self.stream.cu_stream()) };
        let copied = self.check(done, &what);
        self.synchronise().and(copied)
    }

    /// Pinned memory of the host, which is zero.
    pub(crate) fn pinned(&self, bytes: usize) -> Result<Pinned> {
        self.enter()?;
        // SAFETY: the flags are those of ordinary pinned memory.
        let address = unsafe { result::malloc_host(bytes.max(1), 0) };
        let address = self.check(address, &format!("pinning {bytes} bytes of the host"))?;
        // SAFETY: the allocation has as many bytes, and nothing else knows of it.
        unsafe { address.cast::<u8>().write_bytes(0, bytes) };
        Ok(Pinned { address, bytes, context: Arc::clone(&self.context), stream: Arc::clone(&self.stream) })
    }

    /// Copies pinned memory to the device; it may still be copying when this returns.
    pub(crate) fn write_pinned(&self, address: u64, from: &Pinned) -> Result<()> {
        self.enter()?;
        // SAFETY: the memory is freed after the stream is done with it; the driver checks the target. No slice is made of it, since
        // copies to it may be under way, which come first on the stream.
        let status = unsafe { cu::cuMemcpyHtoDAsync_v2(address, from.address, from.bytes, self.stream.cu_stream()) };
        self.check(status.result(), &format!("copying {} pinned bytes to the device", from.bytes))
    }

    /// Copies from the device to pinned memory; it may still be copying when this returns.
    pub(crate) fn read_pinned(&self, to: &Pinned, address: u64) -> Result<()> {
        self.enter()?;
        // SAFETY: the memory lives longer than the copy. Raw, since two copies to it may be asked for before the first is done.
        let status = unsafe { cu::cuMemcpyDtoHAsync_v2(to.address, address, to.bytes, self.stream.cu_stream()) };
        self.check(status.result(), &format!("copying {} bytes from the device to pinned memory", to.bytes))
    }

    pub(crate) fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the driver checks the range against its allocations.
        let done = unsafe { result::memset_d8_async(address, 0, bytes, self.stream.cu_stream()) };
        self.check(done, &format!("zeroing {bytes} bytes"))
    }

    pub(crate) fn synchronise(&self) -> Result<()> {
        self.enter()?;
        self.check(self.stream.synchronize(), "waiting for the device")
    }

    pub(crate) fn load(&self, cubin: &[u8], kernel: &str) -> Result<CudaFunction> {
        self.enter()?;
        if kernel.contains('\0') {
            return Err(GpuError::Invalid(format!("{kernel:?} names no kernel")));
        }
        let module = self.context.load_module(Ptx::from_binary(cubin.to_vec()));
        let module = self.check(module, &format!("loading the module of {kernel}"))?;
        self.check(module.load_function(kernel), &format!("looking up {kernel}"))
    }

    /// Allows a function that much dynamic shared memory.
    pub(crate) fn allow_shared(&self, function: &CudaFunction, bytes: u32) -> Result<()> {
        self.enter()?;
        let attribute = cu::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        self.check(
            function.set_attribute(attribute, bytes as c_int),
            &format!("asking for {bytes} bytes of shared memory"),
        )
    }

    /// Launches a function with arguments that lie at these offsets of the bytes.
    pub(crate) fn launch(&self, function: &CudaFunction, shape: &Shape, bytes: &[u8], offsets: &[usize]) -> Result<()> {
        self.enter()?;
        let mut attributes = Vec::with_capacity(2);
        // SAFETY: all bits zero is a value of both, a struct and a union of integers and pointers.
        let empty: cu::CUlaunchAttribute = unsafe { std::mem::zeroed() };
        if shape.cluster != [1, 1, 1] {
            let mut attribute = empty;
            attribute.id = cu::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
            let [x, y, z] = shape.cluster;
            attribute.value.clusterDim = cu::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
            attributes.push(attribute);
        }
        let config = cu::CUlaunchConfig {
            gridDimX: shape.grid[0],
            gridDimY: shape.grid[1],
            gridDimZ: shape.grid[2],
            blockDimX: shape.block[0],
            blockDimY: shape.block[1],
            blockDimZ: shape.block[2],
            sharedMemBytes: shape.shared,
            hStream: self.stream.cu_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as c_uint,
        };
        // The driver reads arguments through these pointers, and copies them before it returns.
        let mut pointers: Vec<*mut c_void> = offsets.iter().map(|&at| bytes[at..].as_ptr().cast_mut().cast()).collect();
        // SAFETY: the caller has compared the layout of the arguments with that of the kernel's parameters.
        let status = unsafe {
            cu::cuLaunchKernelEx(&config, function.cu_function(), pointers.as_mut_ptr(), std::ptr::null_mut())
        };
        self.check(status.result(), "launching a kernel")
    }

    pub(crate) fn begin_capture(&self) -> Result<()> {
        self.enter()?;
        // Relaxed, so that other calls of this thread stay allowed.
        let mode = cu::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.check(self.stream.begin_capture(mode), "beginning to capture a graph")
    }

    pub(crate) fn end_capture(&self) -> Result<CudaGraph> {
        self.enter()?;
        let graph = self.check(self.stream.end_capture(cu::CUgraphInstantiate_flags(0)), "capturing a graph")?;
        graph.ok_or_else(|| GpuError::Invalid("nothing was captured: the stream was not recording".into()))
    }

    pub(crate) fn launch_graph(&self, graph: &CudaGraph) -> Result<()> {
        self.enter()?;
        self.check(graph.launch(), "launching a graph")
    }

    pub(crate) fn record(&self) -> Result<CudaEvent> {
        self.enter()?;
        let event = self.stream.record_event(Some(cu::CUevent_flags::CU_EVENT_DEFAULT));
        self.check(event, "recording an event")
    }

    pub(crate) fn elapsed_ms(&self, begin: &CudaEvent, end: &CudaEvent) -> Result<f32> {
        self.enter()?;
        self.check(begin.elapsed_ms(end), "timing between two events")
    }

    pub(crate) fn tensor_map(&self, tiled: &Tiled<'_>) -> Result<[u8; 128]> {
        self.enter()?;
        let mut map = cu::CUtensorMap { opaque: [0; 16] };
        let ones = [1u32; 5];
        // SAFETY: the caller gives as many strides less one, and box extents, as extents, at most five.
        let status = unsafe {
            cu::cuTensorMapEncodeTiled(
                &mut map,
                tiled.dtype,
                tiled.extents.len() as c_uint,
                tiled.address as *mut c_void,
                tiled.extents.as_ptr(),
                tiled.strides.as_ptr(),
                tiled.box_extents.as_ptr(),
                ones.as_ptr(),
                cu::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                tiled.swizzle,
                cu::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                cu::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        self.check(status.result(), "encoding a tensor map")?;
        let mut bytes = [0; 128];
        for (to, word) in bytes.chunks_exact_mut(8).zip(map.opaque) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        Ok(bytes)
    }

    /// Makes the context current for this thread.
    fn enter(&self) -> Result<()> {
        match self.lost.load(Ordering::Relaxed) {
            0 => self.check(self.context.bind_to_thread(), "entering the context"),
            status => Err(GpuError::Fault(format!("the device was lost before (status {status}); make a new one"))),
        }
    }

    fn check<T>(&self, done: std::result::Result<T, DriverError>, what: &str) -> Result<T> {
        let error = match done {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let text = format!("{what}: the driver says {}", name(&error));
        // The numbers are those of CUDA's `CUresult`.
        Err(match error.0 as u32 {
            2 | 701 => GpuError::Exhausted(text),
            // Deinitialised, stub library, no device, invalid device, system driver mismatch, not ready yet.
            3 | 4 | 34 | 100 | 101 | 802 | 803 | 804 => GpuError::Unavailable(text),
            1 | 200 | 201 | 218 | 300 | 400 | 401 | 500 | 720 | 900..=908 => GpuError::Invalid(text),
            209 | 222 | 223 | 225 | 801 => GpuError::Unsupported(text),
            status => {
                // Errors of execution leave a context that answers nothing but them.
                if matches!(status, 46 | 214 | 700..=719) {
                    let _ = self.lost.compare_exchange(0, status, Ordering::Relaxed, Ordering::Relaxed);
                }
                GpuError::Fault(text)
            }
        })
    }
}
