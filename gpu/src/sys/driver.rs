//! The CUDA driver: one context, its memory, streams, modules, events and graphs.
//!
//! Handles are plain integers and pointers that the driver checks. What is made here is released by the owner's `Drop`.

use super::table;
use crate::error::{GpuError, Result};
use cudarc::driver::sys as cu;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

table! {
    /// The functions of the driver that are used.
    Functions {
        cuInit(c_uint);
        cuDriverGetVersion(*mut c_int);
        cuDeviceGetCount(*mut c_int);
        cuDeviceGet(*mut c_int, c_int);
        cuDeviceGetName(*mut c_char, c_int, c_int);
        cuDeviceGetAttribute(*mut c_int, c_uint, c_int);
        cuDevicePrimaryCtxRetain(*mut cu::CUcontext, c_int);
        cuDevicePrimaryCtxRelease_v2(c_int);
        cuCtxSetCurrent(cu::CUcontext);
        cuStreamCreate(*mut cu::CUstream, c_uint);
        cuStreamDestroy_v2(cu::CUstream);
        cuStreamSynchronize(cu::CUstream);
        cuStreamBeginCapture_v2(cu::CUstream, c_uint);
        cuStreamEndCapture(cu::CUstream, *mut cu::CUgraph);
        cuGraphInstantiateWithFlags(*mut cu::CUgraphExec, cu::CUgraph, c_ulonglong);
        cuGraphLaunch(cu::CUgraphExec, cu::CUstream);
        cuGraphExecDestroy(cu::CUgraphExec);
        cuGraphDestroy(cu::CUgraph);
        cuMemAlloc_v2(*mut cu::CUdeviceptr, usize);
        cuMemFree_v2(cu::CUdeviceptr);
        cuMemcpyHtoDAsync_v2(cu::CUdeviceptr, *const c_void, usize, cu::CUstream);
        cuMemcpyDtoHAsync_v2(*mut c_void, cu::CUdeviceptr, usize, cu::CUstream);
        cuMemsetD8Async(cu::CUdeviceptr, u8, usize, cu::CUstream);
        cuModuleLoadData(*mut cu::CUmodule, *const c_void);
        cuModuleUnload(cu::CUmodule);
        cuModuleGetFunction(*mut cu::CUfunction, cu::CUmodule, *const c_char);
        cuFuncSetAttribute(cu::CUfunction, c_uint, c_int);
        cuLaunchKernelEx(*const cu::CUlaunchConfig, cu::CUfunction, *mut *mut c_void, *mut *mut c_void);
        cuEventCreate(*mut cu::CUevent, c_uint);
        cuEventRecord(cu::CUevent, cu::CUstream);
        cuEventSynchronize(cu::CUevent);
        cuEventElapsedTime_v2(*mut f32, cu::CUevent, cu::CUevent);
        cuEventDestroy_v2(cu::CUevent);
        cuTensorMapEncodeTiled(
            *mut cu::CUtensorMap,
            c_uint,
            c_uint,
            *mut c_void,
            *const u64,
            *const u64,
            *const u32,
            *const u32,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
        );
        cuGetErrorName(c_int, *mut *const c_char);
    }
}

/// A device with its primary context.
pub(crate) struct Driver {
    functions: Functions,
    device: c_int,
    context: cu::CUcontext,
    stream: cu::CUstream,
    /// The first status after which a context answers nothing any more; 0 while there was none.
    lost: AtomicI32,
}

// SAFETY: a context and what belongs to it may be used by any thread that has made it current, which every method does, and
// the driver locks its own state. No method keeps a pointer beyond its call.
unsafe impl Send for Driver {}
// SAFETY: as above; the one field that changes is atomic.
unsafe impl Sync for Driver {}

/// A loaded module and one of its functions.
pub(crate) struct Function {
    module: cu::CUmodule,
    function: cu::CUfunction,
}

// SAFETY: handles of the driver, which may be used by any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// An instantiated graph.
pub(crate) struct Graph(cu::CUgraphExec);

// SAFETY: a handle of the driver, which may be used by any thread.
unsafe impl Send for Graph {}
// SAFETY: as above; it is launched on one stream alone.
unsafe impl Sync for Graph {}

/// An event.
pub(crate) struct Event(cu::CUevent);

// SAFETY: a handle of the driver, which may be used by any thread.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

/// Extents of a launch.
pub(crate) struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared: u32,
    pub(crate) cooperative: bool,
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
    pub(crate) fn open(file: Option<&Path>, index: usize) -> Result<Driver> {
        let names = match file {
            Some(file) => vec![file.as_os_str().to_owned()],
            None => cudarc::get_lib_name_candidates("cuda").into_iter().map(Into::into).collect(),
        };
        // SAFETY: the initialisers of a driver have no conditions.
        let library = names.iter().find_map(|name| unsafe { libloading::Library::new(name) }.ok());
        let library: &'static libloading::Library = Box::leak(Box::new(library.ok_or_else(|| {
            let place = file.map_or_else(|| "on this machine".into(), |file| format!("at {}", file.display()));
            let text = format!(
                "no NVIDIA driver: the library libcuda is not {place}; install the driver, or use the simulator"
            );
            GpuError::Unavailable(text)
        })?));
        // SAFETY: the functions are declared as documented, and the library is never closed.
        let functions = unsafe { Functions::look_up(library) }.map_err(|why| {
            GpuError::Unavailable(format!("the NVIDIA driver is too old or another library has its name: {why}"))
        })?;
        let mut driver = Driver {
            functions,
            device: -1,
            context: std::ptr::null_mut(),
            stream: std::ptr::null_mut(),
            lost: AtomicI32::new(0),
        };
        let absent = |status, what: &str, driver: &Driver| match status {
            0 => Ok(()),
            status => {
                let text = format!("no usable NVIDIA device: {what} says {}", driver.status_name(status));
                Err(GpuError::Unavailable(text))
            }
        };
        let f = &driver.functions;
        let (mut count, mut device) = (0, 0);
        // SAFETY: every pointer is to a variable that lives through its call.
        unsafe {
            absent((f.cuInit)(0), "cuInit", &driver)?;
            absent((f.cuDeviceGetCount)(&mut count), "cuDeviceGetCount", &driver)?;
            let index = c_int::try_from(index).unwrap_or(c_int::MAX);
            if index >= count {
                return Err(GpuError::Unavailable(format!("there is no device {index}: the driver has {count}")));
            }
            absent((f.cuDeviceGet)(&mut device, index), "cuDeviceGet", &driver)?;
            let mut context = std::ptr::null_mut();
            absent((f.cuDevicePrimaryCtxRetain)(&mut context, device), "cuDevicePrimaryCtxRetain", &driver)?;
            (driver.device, driver.context) = (device, context);
        }
        driver.enter()?;
        let mut stream = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable that lives through the call. 1: no order with the default stream.
        let status = unsafe { (driver.functions.cuStreamCreate)(&mut stream, 1) };
        driver.check(status, "creating a stream")?;
        driver.stream = stream;
        Ok(driver)
    }

    /// The device's name.
    pub(crate) fn name(&self) -> Result<String> {
        let mut name = [0u8; 256];
        // SAFETY: the buffer has the length that is given, and is zeroed, so that the last byte ends the text.
        let status = unsafe { (self.functions.cuDeviceGetName)(name.as_mut_ptr().cast(), 255, self.device) };
        self.check(status, "reading the device's name")?;
        Ok(CStr::from_bytes_until_nul(&name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
    }

    /// The version of CUDA that the driver knows, as 13000 for 13.0.
    pub(crate) fn version(&self) -> Result<i32> {
        let mut version = 0;
        // SAFETY: the pointer is to a variable that lives through the call.
        let status = unsafe { (self.functions.cuDriverGetVersion)(&mut version) };
        self.check(status, "reading the driver's version").map(|()| version)
    }

    /// An attribute of the device.
    pub(crate) fn attribute(&self, attribute: cu::CUdevice_attribute) -> Result<u32> {
        let mut value = 0;
        // SAFETY: the pointer is to a variable that lives through the call.
        let status = unsafe { (self.functions.cuDeviceGetAttribute)(&mut value, attribute as c_uint, self.device) };
        self.check(status, "reading a device attribute")?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    pub(crate) fn alloc(&self, bytes: usize) -> Result<u64> {
        self.enter()?;
        let mut address = 0;
        // SAFETY: the pointer is to a variable that lives through the call.
        let status = unsafe { (self.functions.cuMemAlloc_v2)(&mut address, bytes) };
        self.check(status, &format!("allocating {bytes} bytes")).map(|()| address)
    }

    pub(crate) fn free(&self, address: u64) {
        if self.enter().is_ok() {
            // SAFETY: the driver knows its own addresses and refuses others. A failure leaves nothing to do.
            let _ = unsafe { (self.functions.cuMemFree_v2)(address) };
        }
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.enter()?;
        // SAFETY: the source has the length that is given; from pageable memory the call returns once it has been read.
        let status =
            unsafe { (self.functions.cuMemcpyHtoDAsync_v2)(address, bytes.as_ptr().cast(), bytes.len(), self.stream) };
        self.check(status, &format!("copying {} bytes to the device", bytes.len()))
    }

    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.enter()?;
        let length = bytes.len();
        // SAFETY: the target has the length that is given, and lives through the synchronisation below.
        let status =
            unsafe { (self.functions.cuMemcpyDtoHAsync_v2)(bytes.as_mut_ptr().cast(), address, length, self.stream) };
        let copied = self.check(status, &format!("copying {length} bytes from the device"));
        self.synchronise().and(copied)
    }

    pub(crate) fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the driver checks the range against its allocations.
        let status = unsafe { (self.functions.cuMemsetD8Async)(address, 0, bytes, self.stream) };
        self.check(status, &format!("zeroing {bytes} bytes"))
    }

    pub(crate) fn synchronise(&self) -> Result<()> {
        self.enter()?;
        // SAFETY: the stream is live.
        let status = unsafe { (self.functions.cuStreamSynchronize)(self.stream) };
        self.check(status, "waiting for the device")
    }

    pub(crate) fn load(&self, cubin: &[u8], kernel: &str) -> Result<Function> {
        self.enter()?;
        let name = CString::new(kernel).map_err(|_| GpuError::Invalid(format!("{kernel:?} names no kernel")))?;
        let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the image is a cubin of the compiler, whose header has its length; the driver copies it.
        let status = unsafe { (self.functions.cuModuleLoadData)(&mut module, cubin.as_ptr().cast()) };
        self.check(status, &format!("loading the module of {kernel}"))?;
        // SAFETY: the module is live and the name ends in zero.
        let status = unsafe { (self.functions.cuModuleGetFunction)(&mut function, module, name.as_ptr()) };
        if let Err(error) = self.check(status, &format!("looking up {kernel}")) {
            self.unload(&Function { module, function });
            return Err(error);
        }
        Ok(Function { module, function })
    }

    pub(crate) fn unload(&self, function: &Function) {
        if self.enter().is_ok() {
            // SAFETY: the module is live, and its owner uses it no more. A failure leaves nothing to do.
            let _ = unsafe { (self.functions.cuModuleUnload)(function.module) };
        }
    }

    /// Allows a function that much dynamic shared memory.
    pub(crate) fn allow_shared(&self, function: &Function, bytes: u32) -> Result<()> {
        self.enter()?;
        let attribute = cu::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as c_uint;
        // SAFETY: the function is live.
        let status = unsafe { (self.functions.cuFuncSetAttribute)(function.function, attribute, bytes as c_int) };
        self.check(status, &format!("asking for {bytes} bytes of shared memory"))
    }

    /// Launches a function with arguments that lie at these offsets of the bytes.
    pub(crate) fn launch(&self, function: &Function, shape: &Shape, bytes: &[u8], offsets: &[usize]) -> Result<()> {
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
        if shape.cooperative {
            let mut attribute = empty;
            attribute.id = cu::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
            attribute.value.cooperative = 1;
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
            hStream: self.stream,
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as c_uint,
        };
        // The driver reads arguments through these pointers, and copies them before it returns.
        let mut pointers: Vec<*mut c_void> = offsets.iter().map(|&at| bytes[at..].as_ptr().cast_mut().cast()).collect();
        // SAFETY: the caller has compared the layout of the arguments with that of the kernel's parameters.
        let status = unsafe {
            (self.functions.cuLaunchKernelEx)(&config, function.function, pointers.as_mut_ptr(), std::ptr::null_mut())
        };
        self.check(status, "launching a kernel")
    }

    pub(crate) fn begin_capture(&self) -> Result<()> {
        self.enter()?;
        // SAFETY: the stream is live. 2: relaxed, so that other calls of this thread stay allowed.
        let status = unsafe { (self.functions.cuStreamBeginCapture_v2)(self.stream, 2) };
        self.check(status, "beginning to capture a graph")
    }

    pub(crate) fn end_capture(&self) -> Result<Graph> {
        self.enter()?;
        let (mut graph, mut executable) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the stream is live, and the pointer is to a variable that lives through the call.
        let status = unsafe { (self.functions.cuStreamEndCapture)(self.stream, &mut graph) };
        self.check(status, "capturing a graph")?;
        // SAFETY: the graph is live; it is not needed once it is instantiated.
        let status = unsafe {
            let status = (self.functions.cuGraphInstantiateWithFlags)(&mut executable, graph, 0);
            let _ = (self.functions.cuGraphDestroy)(graph);
            status
        };
        self.check(status, "instantiating a graph").map(|()| Graph(executable))
    }

    pub(crate) fn launch_graph(&self, graph: &Graph) -> Result<()> {
        self.enter()?;
        // SAFETY: graph and stream are live.
        let status = unsafe { (self.functions.cuGraphLaunch)(graph.0, self.stream) };
        self.check(status, "launching a graph")
    }

    pub(crate) fn destroy_graph(&self, graph: &Graph) {
        if self.enter().is_ok() {
            // SAFETY: the graph is live, and its owner uses it no more. A failure leaves nothing to do.
            let _ = unsafe { (self.functions.cuGraphExecDestroy)(graph.0) };
        }
    }

    pub(crate) fn record(&self) -> Result<Event> {
        self.enter()?;
        let mut event = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable that lives through the call.
        let status = unsafe { (self.functions.cuEventCreate)(&mut event, 0) };
        self.check(status, "creating an event")?;
        let event = Event(event);
        // SAFETY: event and stream are live.
        let status = unsafe { (self.functions.cuEventRecord)(event.0, self.stream) };
        if let Err(error) = self.check(status, "recording an event") {
            self.destroy_event(&event);
            return Err(error);
        }
        Ok(event)
    }

    pub(crate) fn elapsed_ms(&self, begin: &Event, end: &Event) -> Result<f32> {
        self.enter()?;
        let mut time = 0.0;
        // SAFETY: both events are live, and the pointer is to a variable that lives through the call.
        let status = unsafe {
            match (self.functions.cuEventSynchronize)(end.0) {
                0 => (self.functions.cuEventElapsedTime_v2)(&mut time, begin.0, end.0),
                status => status,
            }
        };
        self.check(status, "timing between two events").map(|()| time)
    }

    pub(crate) fn destroy_event(&self, event: &Event) {
        if self.enter().is_ok() {
            // SAFETY: the event is live, and its owner uses it no more. A failure leaves nothing to do.
            let _ = unsafe { (self.functions.cuEventDestroy_v2)(event.0) };
        }
    }

    pub(crate) fn tensor_map(&self, tiled: &Tiled<'_>) -> Result<[u8; 128]> {
        self.enter()?;
        let mut map = cu::CUtensorMap { opaque: [0; 16] };
        let ones = [1u32; 5];
        // SAFETY: the caller gives as many strides less one, and box extents, as extents, at most five. Promotion 2: 128
        // bytes. Fill 0: zeros outside the tensor.
        let status = unsafe {
            (self.functions.cuTensorMapEncodeTiled)(
                &mut map,
                tiled.dtype as c_uint,
                tiled.extents.len() as c_uint,
                tiled.address as *mut c_void,
                tiled.extents.as_ptr(),
                tiled.strides.as_ptr(),
                tiled.box_extents.as_ptr(),
                ones.as_ptr(),
                0,
                tiled.swizzle as c_uint,
                2,
                0,
            )
        };
        self.check(status, "encoding a tensor map")?;
        let mut bytes = [0; 128];
        for (to, word) in bytes.chunks_exact_mut(8).zip(map.opaque) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        Ok(bytes)
    }

    /// Makes the context current for this thread.
    fn enter(&self) -> Result<()> {
        match self.lost.load(Ordering::Relaxed) {
            0 => {}
            status => {
                let text = format!("the device was lost before ({}); make a new one", self.status_name(status));
                return Err(GpuError::Fault(text));
            }
        }
        // SAFETY: the context is retained until the driver is dropped.
        let status = unsafe { (self.functions.cuCtxSetCurrent)(self.context) };
        self.check(status, "entering the context")
    }

    fn status_name(&self, status: i32) -> String {
        let mut name = std::ptr::null();
        // SAFETY: the pointer is to a variable that lives through the call; the text is static.
        let name = unsafe {
            match (self.functions.cuGetErrorName)(status, &mut name) {
                0 if !name.is_null() => CStr::from_ptr(name).to_string_lossy().into_owned(),
                _ => "an unknown error".into(),
            }
        };
        format!("{name} ({status})")
    }

    fn check(&self, status: i32, what: &str) -> Result<()> {
        // The numbers are those of CUDA's `CUresult`.
        let text = || format!("{what}: the driver says {}", self.status_name(status));
        Err(match status {
            0 => return Ok(()),
            2 | 701 => GpuError::Exhausted(text()),
            // Deinitialised, stub library, no device, invalid device, system driver mismatch, not ready yet.
            3 | 4 | 34 | 100 | 101 | 802 | 803 | 804 => GpuError::Unavailable(text()),
            1 | 200 | 201 | 218 | 300 | 400 | 500 | 720 | 900..=908 => GpuError::Invalid(text()),
            209 | 222 | 223 | 225 | 801 => GpuError::Unsupported(text()),
            _ => {
                // Errors of execution leave a context that answers nothing but them.
                if (46..=46).contains(&status) || (700..=719).contains(&status) || status == 214 {
                    let _ = self.lost.compare_exchange(0, status, Ordering::Relaxed, Ordering::Relaxed);
                }
                GpuError::Fault(text())
            }
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.device < 0 {
            return;
        }
        // SAFETY: what is released is live, and nothing uses it any more. A failure leaves nothing to do.
        unsafe {
            if !self.stream.is_null() {
                let _ = (self.functions.cuCtxSetCurrent)(self.context);
                let _ = (self.functions.cuStreamDestroy_v2)(self.stream);
            }
            let _ = (self.functions.cuDevicePrimaryCtxRelease_v2)(self.device);
        }
    }
}
