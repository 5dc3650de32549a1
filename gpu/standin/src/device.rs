//! The functions.

use crate::state::{Function, Recorded, enter, state};
use crate::{cubin, status};
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use tandem_ptx::{Module, Swizzle, TensorMap};

/// `CUlaunchConfig`.
#[repr(C)]
pub struct Config {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: *mut c_void,
    attributes: *const Attribute,
    count: c_uint,
}

/// `CUlaunchAttribute`.
#[repr(C)]
pub struct Attribute {
    id: c_uint,
    pad: [u8; 4],
    value: [u32; 16],
}

const CLUSTER_DIMENSION: c_uint = 4;

/// Declares functions: each has the state, returns a status, and is refused where the state says so.
macro_rules! functions {
    ($(fn $name:ident($state:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block)*) => {
        $(
            #[doc = concat!("As NVIDIA documents `", stringify!($name), "`.")]
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($arg: $ty),*) -> c_int {
                #[allow(unused_mut, unused_variables)]
                let mut $state = match enter(stringify!($name)) {
                    Ok(state) => state,
                    Err(code) => return code,
                };
                // SAFETY: the caller keeps the conditions of NVIDIA's documentation: pointers are to variables or arrays of
                // the types and lengths that are given.
                #[allow(unused_unsafe)]
                unsafe { $body }
            }
        )*
    };
}

/// The next call of the function of that name returns this status and does nothing.
///
/// # Safety
/// `name` ends in zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn standin_refuse(name: *const c_char, code: c_int) {
    // SAFETY: the caller's.
    let name = unsafe { CStr::from_ptr(name) };
    state().refused = Some((name.to_string_lossy().into_owned(), code));
}

/// A new device in the place of one that was lost. Handles and memory of the old one are gone.
#[unsafe(no_mangle)]
pub extern "C" fn standin_reset() {
    *state() = crate::state::State::default();
}

/// How many allocations, pinned ones too, modules, graphs, events and contexts are live, in sum.
#[unsafe(no_mangle)]
pub extern "C" fn standin_live() -> c_uint {
    let state = state();
    (state.allocations
        + state.modules.len()
        + state.pinned.len()
        + state.graphs.len()
        + state.events.len()
        + state.contexts) as c_uint
}

functions! {
    fn cuInit(state, _flags: c_uint) {
        status::SUCCESS
    }
    fn cuDriverGetVersion(state, version: *mut c_int) {
        *version = 13000;
        status::SUCCESS
    }
    fn cuDeviceGetCount(state, count: *mut c_int) {
        *count = 1;
        status::SUCCESS
    }
    fn cuDeviceGet(state, device: *mut c_int, index: c_int) {
        *device = index;
        if index == 0 { status::SUCCESS } else { status::NO_DEVICE }
    }
    fn cuDeviceGetName(state, name: *mut c_char, length: c_int, _device: c_int) {
        let text = b"stand-in\0";
        if (length as usize) < text.len() {
            return status::INVALID_VALUE;
        }
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, text.len());
        status::SUCCESS
    }
    fn cuDeviceGetAttribute(state, value: *mut c_int, attribute: c_uint, _device: c_int) {
        // Multiprocessors, second-level cache, capability, shared memory of a block that asks for it.
        *value = match attribute {
            16 => 4,
            38 => 60 << 20,
            75 => 9,
            76 => 0,
            97 => 227 * 1024,
            // Pools of memory: none. Its place on the bus: 1:02:03.
            115 => 0,
            50 => 1,
            33 => 2,
            34 => 3,
            _ => return status::INVALID_VALUE,
        };
        status::SUCCESS
    }
    fn cuDevicePrimaryCtxRetain(state, context: *mut *mut c_void, _device: c_int) {
        state.contexts += 1;
        *context = 0x10 as *mut c_void;
        status::SUCCESS
    }
    fn cuCtxGetCurrent(state, context: *mut *mut c_void) {
        *context = std::ptr::null_mut();
        status::SUCCESS
    }
    fn cuCtxSynchronize(state) {
        status::SUCCESS
    }
    fn cuCtxSetCurrent(state, context: *mut c_void) {
        if context as usize == 0x10 { status::SUCCESS } else { status::INVALID_CONTEXT }
    }
    fn cuStreamCreate(state, stream: *mut *mut c_void, _flags: c_uint) {
        *stream = 0x20 as *mut c_void;
        status::SUCCESS
    }
    fn cuStreamDestroy_v2(state, _stream: *mut c_void) {
        status::SUCCESS
    }
    fn cuStreamSynchronize(state, _stream: *mut c_void) {
        status::SUCCESS
    }
    fn cuStreamBeginCapture_v2(state, _stream: *mut c_void, _mode: c_uint) {
        // A stream that is captured already stays so, with what it has recorded.
        if state.captured.is_some() {
            return status::ILLEGAL_STATE;
        }
        state.captured = Some(Vec::new());
        status::SUCCESS
    }
    fn cuStreamEndCapture(state, _stream: *mut c_void, graph: *mut *mut c_void) {
        let Some(captured) = state.captured.take() else { return status::ILLEGAL_STATE };
        let handle = state.handle();
        state.graphs.insert(handle, captured);
        *graph = handle as *mut c_void;
        status::SUCCESS
    }
    fn cuGraphInstantiateWithFlags(state, executable: *mut *mut c_void, graph: *mut c_void, _flags: c_ulonglong) {
        let Some(recorded) = state.graphs.get(&(graph as usize)).cloned() else { return status::INVALID_HANDLE };
        let handle = state.handle();
        state.graphs.insert(handle, recorded);
        *executable = handle as *mut c_void;
        status::SUCCESS
    }
    fn cuGraphLaunch(state, graph: *mut c_void, _stream: *mut c_void) {
        let Some(recorded) = state.graphs.get(&(graph as usize)).cloned() else { return status::INVALID_HANDLE };
        for launch in recorded {
            let code = state.launch(launch);
            if code != status::SUCCESS {
                return code;
            }
        }
        status::SUCCESS
    }
    fn cuGraphExecDestroy(state, graph: *mut c_void) {
        state.graphs.remove(&(graph as usize)).map_or(status::INVALID_HANDLE, |_| status::SUCCESS)
    }
    fn cuGraphDestroy(state, graph: *mut c_void) {
        state.graphs.remove(&(graph as usize)).map_or(status::INVALID_HANDLE, |_| status::SUCCESS)
    }
    fn cuMemAlloc_v2(state, address: *mut u64, bytes: usize) {
        *address = state.memory.alloc(bytes as u64);
        if *address == 0 {
            return status::OUT_OF_MEMORY;
        }
        state.allocations += 1;
        status::SUCCESS
    }
    fn cuMemFree_v2(state, address: u64) {
        if state.memory.free(address).is_err() {
            return status::INVALID_VALUE;
        }
        state.allocations -= 1;
        status::SUCCESS
    }
    fn cuMemcpyHtoDAsync_v2(state, to: u64, from: *const c_void, bytes: usize, _stream: *mut c_void) {
        let data = std::slice::from_raw_parts(from.cast(), bytes);
        state.memory.write(to, data).map_or(status::INVALID_VALUE, |()| status::SUCCESS)
    }
    fn cuMemcpyDtoHAsync_v2(state, to: *mut c_void, from: u64, bytes: usize, _stream: *mut c_void) {
        let data = std::slice::from_raw_parts_mut(to.cast(), bytes);
        state.memory.read(from, data).map_or(status::INVALID_VALUE, |()| status::SUCCESS)
    }
    fn cuDeviceTotalMem_v2(state, bytes: *mut usize, _device: c_int) {
        *bytes = 1 << 34;
        status::SUCCESS
    }
    fn cuMemHostAlloc(state, address: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        // Words, so that the address is that of any type.
        let memory = vec![0u64; bytes.div_ceil(8)].into_boxed_slice();
        let handle = memory.as_ptr() as usize;
        state.pinned.insert(handle, memory);
        *address = handle as *mut c_void;
        status::SUCCESS
    }
    fn cuMemFreeHost(state, address: *mut c_void) {
        state.pinned.remove(&(address as usize)).map_or(status::INVALID_VALUE, |_| status::SUCCESS)
    }
    fn cuMemsetD8Async(state, to: u64, value: u8, bytes: usize, _stream: *mut c_void) {
        state.memory.write(to, &vec![value; bytes]).map_or(status::INVALID_VALUE, |()| status::SUCCESS)
    }
    fn cuModuleLoadData(state, module: *mut *mut c_void, image: *const c_void) {
        let parsed = cubin::image(image.cast()).and_then(cubin::ptx).and_then(|text| Module::parse(&text).ok());
        let Some(parsed) = parsed else { return status::INVALID_IMAGE };
        let handle = state.handle();
        state.modules.insert(handle, parsed);
        *module = handle as *mut c_void;
        status::SUCCESS
    }
    fn cuModuleUnload(state, module: *mut c_void) {
        state.functions.retain(|_, function| function.module != module as usize);
        state.modules.remove(&(module as usize)).map_or(status::INVALID_HANDLE, |_| status::SUCCESS)
    }
    fn cuModuleGetFunction(state, function: *mut *mut c_void, module: *mut c_void, name: *const c_char) {
        let module = module as usize;
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        let Some(loaded) = state.modules.get(&module) else { return status::INVALID_HANDLE };
        let Some(kernel) = loaded.kernel(&name) else { return status::NOT_FOUND };
        let params = kernel.params().iter().map(|param| (param.offset as usize, param.size as usize)).collect();
        let handle = state.handle();
        state.functions.insert(handle, Function { module, name, params, shared: 48 * 1024 });
        *function = handle as *mut c_void;
        status::SUCCESS
    }
    fn cuFuncSetAttribute(state, function: *mut c_void, attribute: c_uint, value: c_int) {
        let Some(function) = state.functions.get_mut(&(function as usize)) else { return status::INVALID_HANDLE };
        // 8: dynamic shared memory.
        if attribute != 8 || !(0..=227 * 1024).contains(&value) {
            return status::INVALID_VALUE;
        }
        function.shared = value as u32;
        status::SUCCESS
    }
    fn cuLaunchKernelEx(
        state,
        config: *const Config,
        function: *mut c_void,
        arguments: *mut *mut c_void,
        _extra: *mut *mut c_void,
    ) {
        let config = &*config;
        let function = function as usize;
        let Some(kernel) = state.functions.get(&function) else { return status::INVALID_HANDLE };
        let mut params = Vec::new();
        for (index, &(offset, size)) in kernel.params.iter().enumerate() {
            params.resize(offset, 0);
            params.extend_from_slice(std::slice::from_raw_parts((*arguments.add(index)).cast::<u8>(), size));
        }
        let mut cluster = [1, 1, 1];
        for index in 0..config.count as usize {
            let attribute = &*config.attributes.add(index);
            match attribute.id {
                CLUSTER_DIMENSION => cluster.copy_from_slice(&attribute.value[..3]),
                _ => return status::INVALID_VALUE,
            }
        }
        let (grid, block, shared) = (config.grid, config.block, config.shared);
        state.launch(Recorded { function, grid, block, cluster, shared, params })
    }
    fn cuEventCreate(state, event: *mut *mut c_void, _flags: c_uint) {
        let handle = state.handle();
        state.events.insert(handle, 0);
        *event = handle as *mut c_void;
        status::SUCCESS
    }
    fn cuEventRecord(state, event: *mut c_void, _stream: *mut c_void) {
        let now = state.launches;
        state.events.insert(event as usize, now).map_or(status::INVALID_HANDLE, |_| status::SUCCESS)
    }
    fn cuEventSynchronize(state, event: *mut c_void) {
        if state.events.contains_key(&(event as usize)) { status::SUCCESS } else { status::INVALID_HANDLE }
    }
    fn cuEventElapsedTime_v2(state, time: *mut f32, begin: *mut c_void, end: *mut c_void) {
        let (Some(begin), Some(end)) = (state.events.get(&(begin as usize)), state.events.get(&(end as usize))) else {
            return status::INVALID_HANDLE;
        };
        // The clock of this device counts launches.
        *time = *end as f32 - *begin as f32;
        status::SUCCESS
    }
    fn cuEventDestroy_v2(state, event: *mut c_void) {
        state.events.remove(&(event as usize)).map_or(status::INVALID_HANDLE, |_| status::SUCCESS)
    }
}

/// As NVIDIA documents `cuDevicePrimaryCtxRelease`; it also works on a device that is lost.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> c_int {
    let mut state = state();
    state.contexts = state.contexts.saturating_sub(1);
    status::SUCCESS
}

/// As NVIDIA documents `cuTensorMapEncodeTiled`.
///
/// # Safety
/// `map` is to 128 bytes; extents and boxes have `rank` numbers and strides one less.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "NVIDIA's own")]
pub unsafe extern "C" fn cuTensorMapEncodeTiled(
    map: *mut u8,
    dtype: c_uint,
    rank: c_uint,
    address: *mut c_void,
    extents: *const u64,
    strides: *const u64,
    box_extents: *const u32,
    _steps: *const u32,
    _interleave: c_uint,
    swizzle: c_uint,
    _promotion: c_uint,
    _fill: c_uint,
) -> c_int {
    let rank = rank as usize;
    if rank == 0 || rank > 5 {
        return status::INVALID_VALUE;
    }
    let size = match dtype {
        0 => 1,
        1 | 6 | 9 => 2,
        2 | 3 | 7 => 4,
        4 | 5 | 8 => 8,
        _ => return status::INVALID_VALUE,
    };
    // SAFETY: the caller's.
    let (extents, strides, box_extents) = unsafe {
        (
            std::slice::from_raw_parts(extents, rank),
            std::slice::from_raw_parts(strides, rank - 1),
            std::slice::from_raw_parts(box_extents, rank),
        )
    };
    let swizzle = match swizzle {
        0 => Swizzle::None,
        1 => Swizzle::B32,
        2 => Swizzle::B64,
        3 => Swizzle::B128,
        _ => return status::INVALID_VALUE,
    };
    match TensorMap::tiled(size, rank as u32, address as u64, extents, strides, box_extents, swizzle) {
        Ok(bytes) => {
            // SAFETY: the caller's.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), map, bytes.len()) };
            status::SUCCESS
        }
        Err(_) => status::INVALID_VALUE,
    }
}
