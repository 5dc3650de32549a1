//! The foreign interfaces: NVRTC and the CUDA driver, opened at run time. All unsafe code of the crate is here.
//!
//! Each library is a table of functions that is complete or an error, so that a missing or foreign library never panics.
//! Status codes come back as plain integers: a newer driver may return one that no list here has.

pub(crate) mod driver;
pub(crate) mod nvrtc;

/// Declares a table of foreign functions, each of which returns a status as an `i32`.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($name:ident($($arg:ty),* $(,)?);)* }) => {
        $(#[$doc])*
        #[allow(non_snake_case)]
        pub(crate) struct $table {
            $(pub(crate) $name: unsafe extern "C" fn($($arg),*) -> i32,)*
        }

        impl $table {
            /// Looks up every function.
            ///
            /// # Safety
            /// `library` has functions of these names with the types that NVIDIA documents, and is never closed.
            unsafe fn look_up(library: &libloading::Library) -> std::result::Result<$table, String> {
                Ok($table {
                    $($name: {
                        let name = concat!(stringify!($name), "\0");
                        // SAFETY: the type is that of the documentation, which the caller vouches for.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($arg),*) -> i32>(name.as_bytes())
                        };
                        *symbol.map_err(|_| format!("it has no function {}", stringify!($name)))?
                    },)*
                })
            }
        }
    };
}
pub(crate) use table;
