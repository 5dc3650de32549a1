//! The compiler: what it makes, what it says of a wrong source, how it fails, and its cache.

mod place;

use tandem_gpu::{Arch, Cache, Compiler, GpuError, Instance, Source};

static DOUBLE: Source = Source {
    name: "double.cu",
    text: "#include \"prelude.cuh\"\nextern \"C\" __global__ void twice(float* x, int n) {\n    int i = blockIdx.x * blockDim.x + \
           threadIdx.x;\n    if (i < n) x[i] += x[i];\n}\n",
};
static WRONG: Source =
    Source { name: "wrong.cu", text: "#include \"prelude.cuh\"\n\nextern \"C\" __global__ void k() { missing(); }\n" };

#[test]
fn a_kernel_becomes_ptx_and_cubin_with_what_it_uses_for_both_architectures() {
    let Some(libraries) = place::nvrtc() else { return };
    let compiler = Compiler::open(&libraries, None).unwrap();
    assert!(compiler.version().unwrap() >= (12, 0));
    for arch in [Arch::Sm80, Arch::Sm90a] {
        let compiled = compiler.compile(&Instance::new(&DOUBLE, "twice", arch)).unwrap();
        assert!(compiled.ptx.contains(&format!(".target {arch}")), "{}", compiled.ptx);
        assert!(compiled.ptx.contains(".loc"), "the PTX has no lines of the source");
        assert!(compiled.cubin.starts_with(b"\x7fELF"));
        let usage = compiled.usage("twice").unwrap();
        assert!((2..40).contains(&usage.registers), "{usage:?}");
        assert!(compiled.ptx.contains("\"double.cu\""), "the file is named with a folder");
        assert_eq!((usage.spill_stores, usage.spill_loads, usage.shared), (0, 0, 0));
    }
}

#[test]
fn an_error_in_a_source_names_its_file_and_line() {
    let Some(libraries) = place::nvrtc() else { return };
    let compiler = Compiler::open(&libraries, None).unwrap();
    let error = compiler.compile(&Instance::new(&WRONG, "k", Arch::Sm80)).unwrap_err();
    assert!(matches!(&error, GpuError::Invalid(text) if text.contains("wrong.cu(3): error")), "{error}");
    let error = compiler.compile(&Instance::new(&DOUBLE, "thrice", Arch::Sm80)).unwrap_err();
    assert!(matches!(&error, GpuError::Invalid(text) if text.contains("no kernel thrice")), "{error}");
    let error = compiler.compile(&Instance::new(&DOUBLE, "twice", Arch::Sm80).define("float", "(")).unwrap_err();
    assert!(matches!(error, GpuError::Invalid(_)), "{error}");
}

#[test]
fn a_folder_without_the_compiler_is_unavailable_and_no_panic() {
    let empty = std::env::temp_dir().join(format!("tandem-gpu-no-compiler-{}", std::process::id()));
    std::fs::create_dir_all(&empty).unwrap();
    for name in ["", "libnvrtc-builtins.so.13.0", "libnvrtc.so.13"] {
        if !name.is_empty() {
            // Neither is a library.
            std::fs::write(empty.join(name), b"no library").unwrap();
        }
        let error = Compiler::open(&empty, None).unwrap_err();
        assert!(matches!(&error, GpuError::Unavailable(text) if text.contains("nvidia-cuda-nvrtc")), "{error}");
    }
    let error = Compiler::open(&empty.join("absent"), None).unwrap_err();
    assert!(matches!(error, GpuError::Unavailable(_)), "{error}");
    std::fs::remove_dir_all(empty).unwrap();
}

#[test]
fn a_cache_on_disk_is_read_and_a_damaged_entry_is_built_anew() {
    let Some(libraries) = place::nvrtc() else { return };
    let folder = std::env::temp_dir().join(format!("tandem-gpu-cubins-{}", std::process::id()));
    let cache = Cache::new(&folder);
    let instance = Instance::new(&DOUBLE, "twice", Arch::Sm80);
    let compile = || Compiler::open(&libraries, Some(cache.clone())).unwrap().compile(&instance).unwrap();
    let first = compile();
    let key = Compiler::open(&libraries, None).unwrap().key(&instance, DOUBLE.text).unwrap();
    assert!(cache.load(key).is_some_and(|stored| stored == *first));
    // An entry that is whole is believed: another one in its place shows that the disk was read.
    let marked = tandem_gpu::Compiled { log: "from the disk".into(), ..(*first).clone() };
    cache.store(key, &marked).unwrap();
    assert!(*compile() == marked);
    std::fs::write(cache.path(key), b"tandem-cubin-1\r\nrubbish").unwrap();
    // Logs differ in the time that compiling took.
    let again = compile();
    assert!(again.cubin == first.cubin && again.ptx == first.ptx && again.usage == first.usage);
    assert!(cache.load(key).is_some_and(|stored| stored == *again));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_key_depends_on_source_defines_and_architecture() {
    let Some(libraries) = place::nvrtc() else { return };
    let compiler = Compiler::open(&libraries, None).unwrap();
    let instance = Instance::new(&DOUBLE, "twice", Arch::Sm80);
    let keys = [
        compiler.key(&instance, DOUBLE.text).unwrap(),
        compiler.key(&instance, WRONG.text).unwrap(),
        compiler.key(&instance.clone().define("N", 1), DOUBLE.text).unwrap(),
        compiler.key(&instance.clone().define("N", 11), DOUBLE.text).unwrap(),
        compiler.key(&Instance::new(&DOUBLE, "twice", Arch::Sm90a), DOUBLE.text).unwrap(),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{at}");
    }
}
