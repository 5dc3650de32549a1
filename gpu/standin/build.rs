<<<<<<< HEAD
//! Gives the library the name of the driver's, by which the loader finds it once it is open.
=======
//! Gives the library the name under which the driver is looked for, so that one that is open already is found.
>>>>>>> d-gpu

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
}
